//! `vigil`: one match over the sub-commands.

use std::process::ExitCode;

use clap::Parser;
use vigil_host::cli::{self, Cli, Command, Error};

// The default allocator of a static musl build is several times slower under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::CompileComponent(options) = &command {
        return cli::compile::run(options);
    }
    cli::finish(run(command))
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Serve(settings) => cli::serve::run(&settings.load()?),
        Command::Migrate(settings) => cli::migrate::run(&settings.load()?),
        Command::Config(command) => cli::config::run(command),
        Command::Token(options) => cli::token::run(&options),
        Command::Pause(options) => cli::pause::run(&options),
        Command::Policy(command) => cli::policy::run(&command),
        Command::Resume(options) => cli::pause::resume(&options),
        Command::Action(options) => cli::action::run(&options),
        Command::Approve(options) => cli::action::approve(&options),
        Command::Reject(options) => cli::action::reject(&options),
        Command::Silence(options) => cli::silence::run(&options),
        Command::Demo(options) => cli::demo::run(&options),
        Command::DemoService(options) => cli::demo::service(&options),
        Command::Tethered(options) => cli::demo::tethered(&options),
        Command::CompileComponent(_) => Ok(()),
    }
}
