//! `vigil policy apply`: a server is brought to what files say.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::check::counted;
use super::diff::{Change, Plan};
use super::plan::{self, Wanted};
use super::remote::{Asked, Remote, path};
use crate::cli::Error;
use crate::cli::output::{self, Form};

/// Which files and which server.
#[derive(Args, Debug)]
pub struct Options {
    /// What is compared.
    #[command(flatten)]
    wanted: Wanted,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    /// Raise policies from observe to auto at once; it is written down
    #[arg(long)]
    force: bool,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Shows the plan, asks, and does it. Each change is made on the version that the plan was made of.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let remote = Remote::of(&options.asked.server)?;
    let plan = plan::made(&options.wanted, &remote)?;
    plan::print(&plan, options.asked.output);
    if plan.changes.is_empty() {
        return Ok(());
    }
    let editions = editions(&remote, &plan)?;
    if !options.yes && !agreed()? {
        return Err(Error::Failed("nothing was changed".to_owned()));
    }
    for (at, ((name, change), edition)) in plan.changes.iter().zip(&editions).enumerate() {
        let done = one(&remote, (name, change), edition.as_deref(), options.force);
        let answer = done.map_err(|error| stopped(error, &plan, at))?;
        for warning in super::remote::texts(&answer["warnings"]) {
            output::note(format_args!("{name}: {warning}"));
        }
    }
    if options.asked.output == Form::Table {
        output::note(format_args!("Applied {}.", counted(plan.changes.len(), "change")));
    }
    Ok(())
}

/// The edition of each policy that is to change or go; it must be the version that the plan saw.
fn editions(remote: &Remote, plan: &Plan) -> Result<Vec<Option<String>>, Error> {
    let edition = |(name, change): &(String, Change)| match change {
        Change::Add { .. } => Ok(None),
        Change::Edit { version, .. } | Change::Remove { version } => {
            let answer = remote.one(name)?;
            if answer.body["version"] == *version {
                return Ok(answer.edition);
            }
            Err(Error::Conflict(format!("{name}: was changed while the plan was made; nothing was changed")))
        }
    };
    plan.changes.iter().map(edition).collect()
}

fn one(
    remote: &Remote,
    (name, change): (&str, &Change),
    edition: Option<&str>,
    force: bool,
) -> Result<Value, Error> {
    let answer = match change {
        Change::Add { body, .. } => remote.tell(Method::POST, ("/api/v1/policies", None), Some(body))?,
        Change::Edit { body, .. } => {
            let force = if force { "&force=true" } else { "" };
            let whole = format!("{}?replace=true{force}", path(name));
            remote.tell(Method::PUT, (&whole, edition), Some(body))?
        }
        Change::Remove { .. } => remote.tell(Method::DELETE, (&path(name), edition), None)?,
    };
    Ok(answer.body)
}

/// Why it ended in the middle, and what is done and what is not.
fn stopped(error: Error, plan: &Plan, at: usize) -> Error {
    let rest: Vec<&str> = plan.changes.iter().skip(at).map(|(name, _)| name.as_str()).collect();
    let of = plan.changes.len();
    output::note(format_args!("{at} of {} applied; not: {}", counted(of, "change"), rest.join(", ")));
    let name = rest.first().copied().unwrap_or_default();
    match error {
        Error::Conflict(why) | Error::NotFound(why) => Error::Conflict(format!("{name}: {why}")),
        Error::Failed(why) => Error::Failed(format!("{name}: {why}")),
        Error::Denied(why) => Error::Denied(format!("{name}: {why}")),
        other @ (Error::Settings(_)
        | Error::Changes
        | Error::Usage(_)
        | Error::TimedOut(_)
        | Error::Unreachable(_)
        | Error::Interrupted) => other,
    }
}

/// Asks a person; where there is none, `--yes` must have been said.
fn agreed() -> Result<bool, Error> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let why = "there is no terminal to ask at; say --yes to apply this. Nothing was changed";
        return Err(Error::Usage(why.to_owned()));
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "Apply this? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "yes" | "y"))
}
