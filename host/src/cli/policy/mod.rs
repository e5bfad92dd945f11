//! `vigil policy`: policies as files, checked, compared with a server and brought there; and the server's own, with their
//! history. One file per sub-command; what a file says is read by the server's own reader.

mod analyze;
mod apply;
pub mod backtest;
mod check;
mod diff;
mod fmt;
mod history;
mod judge;
mod plan;
mod remote;
mod show;
mod source;
pub mod test;
mod yaml;

use clap::Subcommand;

use super::Error;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read policy files as a server would, and name everything that is wrong with its place
    ///
    /// Needs no server. Ends with 0 if all is well, with 1 if something is wrong.
    Check(check::Options),
    /// Write policy files in one form, with the same meaning
    ///
    /// Prints the files that change. One with comments or anchors, which would be lost, is named and left as it is.
    Fmt(fmt::Options),
    /// Print the JSON Schema of a policy file, for editors
    Schema,
    /// Show what would have to change for a server to say what files say
    ///
    /// Ends with 0 if there is nothing to do, with 2 if there is, with another number if it can't be told.
    Plan(plan::Options),
    /// Bring a server to what files say; asks before it changes anything
    Apply(apply::Options),
    /// Run files of tests: series in, expected incidents, decisions and actions out
    Test(test::Options),
    /// See what policies would have decided about the stored history, or a file of samples
    Backtest(backtest::Options),
    /// List a server's policies
    List(show::List),
    /// Print one policy of a server
    Get(show::Get),
    /// Remove a policy from a server; its history stays
    Delete(show::Delete),
    /// Show what a policy has said, by whom and when
    History(history::Show),
    /// Make a policy say again what it said
    Rollback(history::Rollback),
    /// Show what a policy may do at worst, and what it gets in the way of
    Analyze(analyze::Options),
}

/// Does it.
pub fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::Check(options) => check::run(options),
        Command::Fmt(options) => fmt::run(options),
        Command::Schema => {
            super::output::line(format_args!("{:#}", crate::api::policies::schema()));
            Ok(())
        }
        Command::Plan(options) => plan::run(options),
        Command::Apply(options) => apply::run(options),
        Command::Test(options) => test::run(options),
        Command::Backtest(options) => backtest::run(options),
        Command::List(options) => show::list(options),
        Command::Get(options) => show::get(options),
        Command::Delete(options) => show::delete(options),
        Command::History(options) => history::show(options),
        Command::Rollback(options) => history::rollback(options),
        Command::Analyze(options) => analyze::run(options),
    }
}
