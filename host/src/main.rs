//! `vigil`: one match over the sub-commands.

use std::process::ExitCode;

use clap::Parser;
use vigil_host::cli::{self, Cli, Command, Error};

// The default allocator of a static musl build is several times slower under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::finish(run(Cli::parse()))
}

fn run(cli: Cli) -> Result<(), Error> {
    match cli.command {
        Command::Serve(settings) => cli::serve::run(&settings.load()?),
        Command::Migrate(settings) => cli::migrate::run(&settings.load()?),
        Command::Config(command) => cli::config::run(command),
        Command::Demo(options) => cli::demo::run(&options),
        Command::DemoService(options) => cli::demo::service(&options),
        Command::Tethered(options) => cli::demo::tethered(&options),
        Command::CompileComponent(options) => cli::compile::run(&options),
    }
}
