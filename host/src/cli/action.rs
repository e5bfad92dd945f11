//! `vigil action`, `vigil approve` and `vigil reject`: what was done and waits to be done, and people's yes and no to it.

mod plan;

use std::io::{self, BufRead, IsTerminal};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, Server};
use super::output::Form;
use super::{Error, output};

/// What to see of actions, and of which server.
#[derive(Args, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List actions, newest first
    List {
        /// Only in this state, such as approval, ready, running or dead
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only on this target
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
        /// Only made by this policy
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
        /// How many, 1 to 500
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u16,
    },
    /// Show one action, with what people are asked about it
    Show {
        /// Its number
        id: i64,
    },
    /// Show what an action would do: its plugin runs, reads pass, and nothing is changed
    ///
    /// Ends with 0 if it would change nothing, with 2 if it would, with 1 if its plugin comes to no good end, with another
    /// number if it can't be told.
    Plan(plan::Options),
}

/// Which server, and how its answer is printed.
#[derive(Args, Debug)]
struct Asked {
    /// The server.
    #[command(flatten)]
    server: Server,
    /// How to print what there is
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table, global = true)]
    output: Form,
}

/// A yes.
#[derive(Args, Debug)]
pub struct Approve {
    /// The action's number, as `vigil action list --state approval` shows it
    id: i64,
    /// The hash of the plan that you have seen; another plan is not approved [default: that of the plan as it is now]
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
    /// Why, for the audit
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Do not ask on the terminal
    #[arg(short, long)]
    yes: bool,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// A no.
#[derive(Args, Debug)]
pub struct Reject {
    /// The action's number, as `vigil action list --state approval` shows it
    id: i64,
    /// Why, for the audit
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "")]
    note: String,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Shows actions.
pub fn run(options: &Options) -> Result<(), Error> {
    let path = match &options.command {
        Command::List { state, target, policy, limit } => {
            let mut path = format!("/api/v1/actions?limit={limit}");
            for (name, value) in [("state", state), ("target", target), ("policy_name", policy)] {
                if let Some(value) = value {
                    path.extend(["&", name, "=", &encoded(value)]);
                }
            }
            path
        }
        Command::Show { id } => format!("/api/v1/actions/{id}"),
        Command::Plan(wanted) => {
            return plan::run(wanted, &options.asked.server.client()?, options.asked.output);
        }
    };
    let found = ask(&options.asked.server.client()?, Method::GET, &path, None)?;
    output::line(match (options.asked.output, &options.command) {
        (Form::Json, _) => found.to_string(),
        (Form::Table, Command::List { .. }) => list(&found),
        (Form::Table, Command::Show { .. } | Command::Plan(_)) => shown(&found),
    });
    Ok(())
}

/// Says yes, after a look at what that is.
pub fn approve(options: &Approve) -> Result<(), Error> {
    let client = options.asked.server.client()?;
    let path = format!("/api/v1/actions/{}", options.id);
    let action = ask(&client, Method::GET, &path, None)?;
    let Some(current) = action["approval"]["plan_hash"].as_str() else {
        return Err(Error::Conflict(format!("action {} asks for no approval", options.id)));
    };
    let hash = options.hash.as_deref().unwrap_or(current);
    if !options.yes {
        if !io::stdin().is_terminal() {
            let text = "nobody can be asked: stdin is no terminal; pass --yes, best with --hash";
            return Err(Error::Failed(text.to_owned()));
        }
        output::note(shown(&action));
        output::note("\nRun exactly this? Type yes:");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Err(Error::Failed("not approved; it still waits".to_owned()));
        }
    }
    let body = json!({"plan_hash": hash, "note": options.note});
    let done = ask(&client, Method::POST, &format!("{path}/approve"), Some(&body))?;
    tell(&done, options.asked.output);
    Ok(())
}

/// Says no.
pub fn reject(options: &Reject) -> Result<(), Error> {
    let client = options.asked.server.client()?;
    let path = format!("/api/v1/actions/{}/reject", options.id);
    let done = ask(&client, Method::POST, &path, Some(&json!({"note": options.note})))?;
    tell(&done, options.asked.output);
    Ok(())
}

fn ask(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(client.ask(method, path, body))
}

fn tell(done: &Value, form: Form) {
    output::line(if form == Form::Json {
        done.to_string()
    } else {
        done["message"].as_str().unwrap_or_default().to_owned()
    });
}

/// A value as it stands in a query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            all.extend(format!("%{byte:02X}").chars());
        }
        all
    })
}

/// What a server sends may hold anything; a terminal gets no control characters.
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// To the second.
fn time(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.get(..19).unwrap_or(text).replace('T', " ")
}

/// The votes that count, of those that are needed, as `1 of 2`.
fn progress(approval: &Value) -> String {
    let votes = approval["approvals"].as_array().into_iter().flatten();
    format!("{} of {}", votes.filter(|vote| vote["counts"] == true).count(), approval["required"])
}

fn list(found: &Value) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "STATE", "ACTION", "TARGET", "POLICY", "MADE", "YES", "UNTIL", "PLAN"]);
    for action in found["actions"].as_array().into_iter().flatten() {
        let approval = &action["approval"];
        let waits = approval["state"] == "waiting";
        let of = |text: String| if waits { text } else { String::new() };
        let policy =
            if action["policy_name"].is_null() { String::new() } else { text(&action["policy_name"]) };
        table.add_row([
            action["id"].to_string(),
            text(&action["state"]),
            text(&action["action"]),
            text(&action["target"]),
            policy,
            time(&action["created_at"]),
            of(progress(approval)),
            of(time(&approval["expires_at"])),
            of(text(&approval["plan_hash"]).chars().take(12).collect()),
        ]);
    }
    lines(&table)
}

/// A table as it is printed: each line begins with the padding of its first cell, which goes.
fn lines(table: &Table) -> String {
    let text = table.trim_fmt();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn shown(action: &Value) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() && value != "null" {
            lines.push(format!("{name:<10} {value}"));
        }
    };
    line("action", format!("{} {}", action["id"], text(&action["action"])));
    line("target", text(&action["target"]));
    line("state", format!("{} ({})", text(&action["state"]), text(&action["status"])));
    line("params", text(&action["params"]));
    line("policy", text(&action["policy_name"]));
    line("incident", text(&action["incident_id"]));
    line("made", time(&action["created_at"]));
    line("ended", time(&action["completed_at"]));
    line("error", text(&action["error_message"]));
    let approval = &action["approval"];
    if approval.is_object() {
        let plan = &approval["plan"];
        let name =
            |member: &str| if plan[member].is_null() { "none".to_owned() } else { text(&plan[member]) };
        line("approval", format!("{}, {} said yes", text(&approval["state"]), progress(approval)));
        line("until", time(&approval["expires_at"]));
        line("version", format!("{} of policy {}", plan["policy_version"], name("policy")));
        line("plugin", format!("{}, sha256:{}", name("plugin"), name("digest")));
        line("calls", text(&plan["connections"]));
        line("plan", text(&approval["plan_hash"]));
        for call in plan["calls"].as_array().into_iter().flatten() {
            let (method, path) = (text(&call["method"]), text(&call["path"]));
            let body: String = text(&call["body_hash"]).chars().take(12).collect();
            line("changes", format!("{method} {path} on {}, body sha256:{body}", text(&call["connection"])));
        }
        for vote in approval["approvals"].as_array().into_iter().flatten() {
            let counts = if vote["counts"] == true { "" } else { " (to another plan)" };
            line(
                "yes",
                format!("{} {}{counts} {}", time(&vote["at"]), text(&vote["by"]), text(&vote["note"])),
            );
        }
        for change in approval["changed"].as_array().into_iter().flatten() {
            line("changed", text(change));
        }
    } else {
        line("details", text(&action["details"]));
    }
    lines.join("\n")
}
