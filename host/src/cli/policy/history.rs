//! `vigil policy history` and `rollback`: what a policy has said, and the way back there.

use clap::Args;
use hyper::Method;
use serde_json::json;

use super::remote::{Asked, Remote, path, table, texts, time};
use crate::cli::Error;
use crate::cli::output::{self, Form};

/// Of which policy.
#[derive(Args, Debug)]
pub struct Show {
    /// Its name
    name: String,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Of which policy, and where to.
#[derive(Args, Debug)]
pub struct Rollback {
    /// Its name
    name: String,
    /// The version to go back to, as `vigil policy history` shows it
    #[arg(long, value_name = "VERSION")]
    to: i64,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Lists its versions.
pub(super) fn show(options: &Show) -> Result<(), Error> {
    let remote = Remote::of(&options.asked.server)?;
    let history = remote.tell(Method::GET, (&format!("{}/revisions", path(&options.name)), None), None)?.body;
    if options.asked.output == Form::Json {
        output::line(&history);
        return Ok(());
    }
    let rows = history["revisions"].as_array().into_iter().flatten().map(|one| {
        let text = |member: &str| one[member].as_str().unwrap_or_default().to_owned();
        let state = if one["enabled"] == true { "on" } else { "off" };
        let changed = texts(&one["changed"]).join(", ");
        vec![
            one["version"].to_string(),
            time(&one["at"]),
            text("actor"),
            text("what"),
            state.to_owned(),
            if changed.is_empty() { "-".to_owned() } else { changed },
        ]
    });
    output::line(table(&["VERSION", "AT", "BY", "WHAT", "STATE", "CHANGED"], rows));
    Ok(())
}

/// Goes back to one of them.
pub(super) fn rollback(options: &Rollback) -> Result<(), Error> {
    let remote = Remote::of(&options.asked.server)?;
    // Of two people who change it at once, neither undoes what the other did.
    let edition = match remote.one(&options.name) {
        Ok(answer) => answer.edition,
        Err(Error::NotFound(_)) => None,
        Err(other) => return Err(other),
    };
    let place = format!("{}/rollback", path(&options.name));
    let body = json!({"version": options.to});
    let policy = remote.tell(Method::POST, (&place, edition.as_deref()), Some(&body))?.body;
    for warning in texts(&policy["warnings"]) {
        output::note(warning);
    }
    output::line(if options.asked.output == Form::Json {
        policy.to_string()
    } else {
        let (name, to, version) = (&options.name, options.to, &policy["version"]);
        format!("Policy '{name}' says again what it said at version {to}: it is version {version}")
    });
    Ok(())
}
