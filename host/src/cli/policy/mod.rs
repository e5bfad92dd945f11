//! `vigil policy`: what policies would do.

pub mod backtest;
pub mod test;

use clap::Subcommand;

use super::Error;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See what policies would have decided about the stored history, or a file of samples
    Backtest(backtest::Options),
    /// Run files of tests: series in, expected incidents, decisions and actions out
    Test(test::Options),
}

/// Does it.
pub fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::Backtest(options) => backtest::run(options),
        Command::Test(options) => test::run(options),
    }
}
