//! `vigil policy plan`: what would have to change?

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::diff::{self, Change, Plan};
use super::judge;
use super::remote::{Asked, Remote};
use super::source::Sources;
use crate::cli::Error;
use crate::cli::output::{self, Form, Paint};

/// Which files and which server.
#[derive(Args, Debug)]
pub struct Options {
    /// What is compared.
    #[command(flatten)]
    wanted: Wanted,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Files that a server is to say.
#[derive(Args, Debug)]
pub(super) struct Wanted {
    /// Policy file, or directory of them; may be given several times
    #[arg(short = 'f', long = "files", required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Remove the server's policies that stand in none of them; those of the server's own files stay
    #[arg(long)]
    prune: bool,
}

/// Compares, and says so.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let plan = made(&options.wanted, &Remote::of(&options.asked.server)?)?;
    print(&plan, options.asked.output);
    if plan.changes.is_empty() { Ok(()) } else { Err(Error::Changes) }
}

/// What the files say against what the server has. Faults in files are said before anything is asked.
pub(super) fn made(wanted: &Wanted, remote: &Remote) -> Result<Plan, Error> {
    let sources = Sources::sound(&wanted.files)?;
    if wanted.prune && sources.policies.is_empty() {
        let why =
            "these files hold no policy, and --prune would remove every one that a file has ever brought";
        return Err(Error::Failed(format!(
            "{why}; nothing was changed. Remove them with `vigil policy delete`"
        )));
    }
    let server = remote.all()?;
    let mut plan = diff::plan(&sources.policies, &server, wanted.prune);
    let removed = |name: &str| plan.is(name, |change| matches!(change, Change::Remove { .. }));
    let stays = |policy: &&Value| !policy["name"].as_str().is_some_and(removed);
    let others: Vec<Value> = server.iter().filter(stays).cloned().collect();
    let written = |name: &str| plan.is(name, |_| true);
    let found = judge::warnings(&sources.policies, &others, written);
    plan.notes.extend(sources.warnings.iter().chain(&found).map(|finding| format!("{finding} (warning)")));
    Ok(plan)
}

/// Prints it.
pub(super) fn print(plan: &Plan, form: Form) {
    match form {
        Form::Json => output::line(plan.json()),
        Form::Table => {
            output::data(&plan.text(Paint::stdout()));
            for note in &plan.notes {
                output::note(note);
            }
        }
    }
}
