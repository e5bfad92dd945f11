//! `vigil policy`: policies as files, checked, formatted, compared with a server and brought there. One file per
//! sub-command; what a file says is read by the server's own reader.

mod check;
mod source;
mod yaml;

use clap::{Args, Subcommand};

use super::Error;

/// What to do with policies.
#[derive(Args, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read policy files as a server would, and name everything that is wrong with its place
    ///
    /// Needs no server. Ends with 0 if all is well, with 1 if something is wrong.
    Check(check::Options),
}

/// Does it.
pub fn run(options: &Options) -> Result<(), Error> {
    match &options.command {
        Command::Check(options) => check::run(options),
    }
}
