//! `vigil action plan`: what an action would do.

use std::time::Duration;

use clap::Args;
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Value, json};

use super::{lines, text};
use crate::cli::Error;
use crate::cli::client::Client;
use crate::cli::output::{self, Form};

/// A plugin may take its time, as it would live.
const PATIENCE: Duration = Duration::from_mins(15);

/// Which action.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// An action's number; without it, one that is not made
    #[arg(required_unless_present_all = ["action", "target"], conflicts_with_all = ["action", "target", "params", "namespace"])]
    id: Option<i64>,
    /// What kind of action
    #[arg(long, value_name = "KIND", requires = "target")]
    action: Option<String>,
    /// On what
    #[arg(long, value_name = "NAME", requires = "action")]
    target: Option<String>,
    /// Its parameters, a JSON object
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// The target's namespace
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Show what was found when somebody last asked, and run nothing
    #[arg(long, requires = "id")]
    last: bool,
}

/// Asks, prints, and says by the exit code whether anything would be changed.
pub(super) fn run(options: &Options, client: &Client, form: Form) -> Result<(), Error> {
    let (method, path, body) = asked(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(client.ask_within(PATIENCE, (method, &path), body.as_ref()))?;
    output::line(if form == Form::Json { found.to_string() } else { shown(&found) });
    let plan = &found["plan"];
    if plan["outcome"]["kind"] != "ok" {
        return Err(Error::Failed(format!(
            "the plugin did not come to a good end: {}",
            text(&plan["outcome"]["message"])
        )));
    }
    if plan["mutating"].as_array().is_some_and(|calls| !calls.is_empty()) {
        Err(Error::Changes)
    } else {
        Ok(())
    }
}

fn asked(options: &Options) -> Result<(Method, String, Option<Value>), Error> {
    if let Some(id) = options.id {
        let method = if options.last { Method::GET } else { Method::POST };
        return Ok((method, format!("/api/v1/actions/{id}/plan"), None));
    }
    let params: Value = match &options.params {
        None => json!({}),
        Some(text) => serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| Error::Usage("--params is no JSON object".to_owned()))?,
    };
    let mut body = json!({"action": options.action, "target": options.target, "params": params});
    if let Some(namespace) = &options.namespace {
        body["namespace"] = json!(namespace);
    }
    Ok((Method::POST, "/api/v1/actions/plan".to_owned(), Some(body)))
}

fn shown(found: &Value) -> String {
    let plan = &found["plan"];
    let mut said = Vec::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() && value != "null" {
            said.push(format!("{name:<10} {value}"));
        }
    };
    line("action", format!("{} on {}", text(&plan["action"]), text(&plan["target"])));
    line("params", text(&plan["params"]));
    line(
        "plugin",
        format!("{} {}, sha256:{}", text(&plan["plugin"]), text(&plan["version"]), text(&plan["digest"])),
    );
    line("through", text(&plan["connections"]));
    line("outcome", format!("{}: {}", text(&plan["outcome"]["kind"]), text(&plan["outcome"]["message"])));
    line("hash", text(&plan["hash"]));
    said.push(String::new());
    said.push(calls(plan));
    said.push(String::new());
    said.push(text(&found["note"]));
    said.join("\n")
}

/// All calls, in the order in which they were tried.
fn calls(plan: &Value) -> String {
    let mut all: Vec<(&str, &Value)> = Vec::new();
    for (list, what) in [("passed", "read"), ("mutating", "would change"), ("refused", "refused")] {
        all.extend(plan[list].as_array().into_iter().flatten().map(|call| (what, call)));
    }
    if all.is_empty() {
        return "It makes no call.".to_owned();
    }
    all.sort_by_key(|(_, call)| call["n"].as_u64());
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["N", "", "CONNECTION", "METHOD", "PATH", "ANSWER", "BODY"]);
    for (what, call) in all {
        let or = |member: &str, other: &str| {
            if call[member].is_null() { other.to_owned() } else { text(&call[member]) }
        };
        let answer = if call["status"].is_null() { or("error", "") } else { text(&call["status"]) };
        let body: String = or("body", "").chars().take(160).collect();
        table.add_row([
            call["n"].to_string(),
            what.to_owned(),
            text(&call["connection"]),
            text(&call["method"]),
            text(&call["path"]),
            answer,
            body,
        ]);
    }
    lines(&table)
}
