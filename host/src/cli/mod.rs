//! The command line: one file per sub-command. What is typed, not what is done.
//!
//! Data goes to stdout and everything else to stderr; [`Error`] says with which exit code a command ends.

pub mod action;
pub mod client;
pub mod compile;
pub mod config;
pub mod demo;
pub mod migrate;
pub mod output;
pub mod pause;
pub mod policy;
pub mod serve;
pub mod silence;
pub mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Inputs, Problems};

/// Keeps services healthy: metrics come in, policies decide, sandboxed plugins act.
#[derive(Debug, Parser)]
#[command(name = "vigil", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: take metrics, evaluate policies, heal
    Serve(Settings),
    /// Bring the database to this version's form and end
    Migrate(Settings),
    /// Check or show the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Make, list and revoke the tokens of a running server
    Token(token::Options),
    /// Stop all automation, on every server and until `vigil resume`
    Pause(pause::Options),
    /// Check, test, plan, apply and roll back policies, and see what they would have done
    #[command(subcommand)]
    Policy(policy::Command),
    /// Let automation go on
    Resume(pause::Resume),
    /// List and show actions
    Action(action::Options),
    /// Say yes to an action that waits for it, exactly as it would run
    Approve(action::Approve),
    /// Say no to an action that waits for a yes
    Reject(action::Reject),
    /// Leave alone what matches, for a time or on certain days and hours
    Silence(silence::Options),
    /// Break a small service and watch it being healed
    Demo(demo::Options),
    /// The service the demo breaks
    #[command(hide = true)]
    DemoService(demo::ServiceOptions),
    /// Run vigil with other arguments, and die with the parent
    #[command(hide = true)]
    Tethered(demo::Tether),
    /// Compile a plugin in a process of its own, under limits
    #[command(hide = true)]
    CompileComponent(compile::Options),
}

/// Settings on the command line; they win over everything else.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// Settings file [default: ./vigil.toml, else /etc/vigil/vigil.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on (server.listen)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Directory of everything that is kept (`server.data_dir`)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// `sqlite:FILE` or `postgres://HOST/NAME`; a password belongs into `VIGIL_DATABASE__URL` (database.url)
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// `redis://HOST`; a password belongs into `VIGIL_REDIS__URL` (redis.url)
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Directory of plugins (plugins.dir)
    #[arg(long, value_name = "DIR")]
    pub plugins_dir: Option<String>,
    /// Listen beyond the loopback without tokens or without TLS (server.insecure)
    #[arg(long)]
    pub insecure: bool,
    /// debug, info, warning, error or critical (log.level)
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl Settings {
    /// Everything this process was given.
    #[must_use]
    pub fn inputs(self) -> Inputs {
        let named = [
            ("server.listen", self.listen),
            ("server.data_dir", self.data_dir),
            ("database.url", self.database),
            ("redis.url", self.redis),
            ("plugins.dir", self.plugins_dir),
            ("server.insecure", self.insecure.then(|| "true".to_owned())),
            ("log.level", self.log_level),
        ];
        let flags: BTreeMap<_, _> =
            named.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Inputs::of_process(self.config, flags)
    }

    /// The settings in force.
    pub fn load(self) -> Result<Config, Error> {
        Ok(Config::load(&self.inputs())?)
    }
}

/// Why a command did not do what was asked. Each arm is an exit code of its own; 2, wrong usage, is clap's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It failed: 1.
    #[error("{0}")]
    Failed(String),
    /// The settings cannot work: 1.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// There is something to be changed, which was asked about and is said already: 2, as terraform has it.
    #[error("there are changes")]
    Changes,
    /// It can't be asked for like that: 2, as clap has it.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing: 4.
    #[error("{0}")]
    NotFound(String),
    /// Not allowed to: 5.
    #[error("{0}")]
    Denied(String),
    /// Something else changed it meanwhile: 6.
    #[error("{0}")]
    Conflict(String),
    /// It took too long: 7.
    #[error("{0}")]
    TimedOut(String),
    /// The server does not answer: 8.
    #[error("{0}")]
    Unreachable(String),
    /// Ctrl-C: 130, and nothing to say.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The number a script sees.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Settings(_) => 1,
            Self::Changes | Self::Usage(_) => 2,
            Self::NotFound(_) => 4,
            Self::Denied(_) => 5,
            Self::Conflict(_) => 6,
            Self::TimedOut(_) => 7,
            Self::Unreachable(_) => 8,
            Self::Interrupted => 130,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Says what went wrong, if anything did, and answers the exit code.
#[must_use]
pub fn finish(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, Error::Interrupted | Error::Changes) {
                output::note(format_args!("vigil: {error}"));
            }
            ExitCode::from(error.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_settings() {
        let cli = Cli::parse_from(["vigil", "serve", "--listen", "127.0.0.1:1", "--plugins-dir", "/p"]);
        let Command::Serve(settings) = cli.command else { panic!("not serve") };
        let flags = settings.inputs().flags;
        assert_eq!(flags.len(), 2);
        assert_eq!(flags["server.listen"], "127.0.0.1:1");
    }
}
