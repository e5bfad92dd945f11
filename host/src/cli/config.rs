//! `vigil config`: are the settings right, and what are they.

use clap::Subcommand;

use super::{Error, Settings, output};
use crate::config::{Config, DEFAULTS};

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the settings as `vigil serve` would, and name everything that is wrong
    ///
    /// Prints the settings in force, secrets hidden, each with where it came from.
    Check(Settings),
    /// Print the settings in force, or the documented defaults
    Show {
        /// Print every key with its default and what it means
        #[arg(long)]
        defaults: bool,
        /// What the command line says.
        #[command(flatten)]
        settings: Settings,
    },
}

/// Prints settings, or fails with all their problems.
pub fn run(command: Command) -> Result<(), Error> {
    let text = match command {
        Command::Show { defaults: true, .. } => DEFAULTS.to_owned(),
        Command::Check(settings) | Command::Show { settings, .. } => Config::show(&settings.inputs())?,
    };
    output::data(&text);
    Ok(())
}
