//! `vigil policy list`, `get` and `delete`: what a server has.

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::remote::{Asked, Remote, path, table, texts};
use crate::cli::Error;
use crate::cli::output::{self, Form};

/// Which server.
#[derive(Args, Debug)]
pub struct List {
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Which policy of which server.
#[derive(Args, Debug)]
pub struct Get {
    /// Its name
    name: String,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Which policy of which server.
#[derive(Args, Debug)]
pub struct Delete {
    /// Its name
    name: String,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Lists them.
pub(super) fn list(options: &List) -> Result<(), Error> {
    let all = Remote::of(&options.asked.server)?.all()?;
    if options.asked.output == Form::Json {
        output::line(json!(all));
        return Ok(());
    }
    let header = ["NAME", "MODE", "STATE", "SEVERITY", "TARGET", "ACTION", "SOURCE", "VERSION", "DRIFTED"];
    let rows = all.iter().map(|policy| {
        let text = |member: &str| policy[member].as_str().unwrap_or_default().to_owned();
        let state = if policy["enabled"] == true { "on" } else { "off" };
        let drifted = texts(&policy["drifted"]).join(", ");
        vec![
            text("name"),
            text("mode"),
            state.to_owned(),
            text("severity"),
            text("target"),
            text("action"),
            text("source"),
            policy["version"].to_string(),
            if drifted.is_empty() { "-".to_owned() } else { drifted },
        ]
    });
    output::line(table(&header, rows));
    Ok(())
}

/// What a server adds to what an author writes.
const NOT_WRITTEN: [&str; 8] =
    ["auto_remediate", "cel", "created_at", "drifted", "source", "updated_at", "version", "warnings"];

/// Prints it as a policy file, or as the server says it.
pub(super) fn get(options: &Get) -> Result<(), Error> {
    let policy = Remote::of(&options.asked.server)?.one(&options.name)?.body;
    if options.asked.output == Form::Json {
        output::line(&policy);
        return Ok(());
    }
    let mut written = policy.clone();
    if let Value::Object(members) = &mut written {
        members.retain(|name, _| !NOT_WRITTEN.contains(&name.as_str()));
    }
    let file = json!({"policies": [written]});
    let text = serde_saphyr::to_string(&file).map_err(|why| Error::Failed(why.to_string()))?;
    output::data(&text);
    let text = |member: &str| policy[member].as_str().unwrap_or_default().to_owned();
    output::note(format_args!(
        "Version {}, source {}, changed {}",
        policy["version"],
        text("source"),
        text("updated_at")
    ));
    let drifted = texts(&policy["drifted"]).join(", ");
    if !drifted.is_empty() {
        output::note(format_args!("Changed over the API since its file was last read: {drifted}"));
    }
    Ok(())
}

/// Removes it.
pub(super) fn delete(options: &Delete) -> Result<(), Error> {
    let remote = Remote::of(&options.asked.server)?;
    let done = remote.tell(Method::DELETE, (&path(&options.name), None), None)?.body;
    if options.asked.output == Form::Json {
        output::line(&done);
        return Ok(());
    }
    output::line(done["message"].as_str().unwrap_or_default());
    output::note("To have it again: vigil policy history NAME, then vigil policy rollback NAME --to VERSION");
    Ok(())
}
