//! `vigil token`: who may ask a server for what.

use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Value, json};

use super::client::Asked;
use super::output::Form;
use super::{Error, output};
use crate::clock::Clock;
use crate::domain::access::Role;

/// What to do with tokens, and on which server.
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
    /// Make a token; its text is printed once and kept nowhere
    Create {
        /// What to call it
        name: String,
        /// What it may do: an agent sends metrics and takes tasks and sees nothing; a viewer reads; an operator acts
        /// by hand, too; an author writes policies, too; an admin may do everything
        #[arg(long, value_parser = role)]
        role: Role,
        /// Pattern of the targets it may touch, in which `*` stands for anything; may be given several times
        /// [default: every target]
        #[arg(long = "target", value_name = "PATTERN")]
        targets: Vec<String>,
        /// How long it holds, such as 90d or 12h [default: until it is revoked]
        #[arg(long, value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List all tokens, without their texts
    List,
    /// Refuse a token from now on, on every server within a second
    Revoke {
        /// Its number, as `vigil token list` shows it
        id: i64,
    },
}

fn role(word: &str) -> Result<Role, String> {
    Role::from_word(word).ok_or_else(|| format!("one of {}", Role::ALL.map(Role::word).join(", ")))
}

/// Does it.
pub fn run(options: &Options) -> Result<(), Error> {
    let client = options.asked.server.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ask = |method, path: &str, body: Option<Value>| {
        let (client, path) = (&client, path.to_owned());
        runtime.block_on(async move { client.ask(method, &path, body.as_ref()).await })
    };
    match &options.command {
        Command::Create { name, role, targets, expires_in } => {
            let expires_at = expires_in.map(|span| Clock::System.now().after(span));
            let body = json!({"name": name, "role": role, "targets": targets, "expires_at": expires_at});
            let made = ask(Method::POST, "/api/v1/tokens", Some(body))?;
            if options.asked.output == Form::Json {
                output::line(&made);
                return Ok(());
            }
            let id = &made["id"];
            output::note(format_args!(
                "Token {id} for the role {} is made. This is the only time it is shown:",
                role.word()
            ));
            output::line(made["token"].as_str().unwrap_or_default());
            output::note(format_args!("To refuse it: vigil token revoke {id}"));
        }
        Command::List => {
            let list = ask(Method::GET, "/api/v1/tokens", None)?;
            output::line(if options.asked.output == Form::Json { list.to_string() } else { table(&list) });
        }
        Command::Revoke { id } => {
            let done = ask(Method::DELETE, &format!("/api/v1/tokens/{id}"), None)?;
            output::line(if options.asked.output == Form::Json {
                done.to_string()
            } else {
                done["message"].as_str().unwrap_or_default().to_owned()
            });
        }
    }
    Ok(())
}

fn table(list: &Value) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "NAME", "ROLE", "STATE", "BEGINS WITH", "TARGETS", "EXPIRES", "LAST USED"]);
    for token in list["tokens"].as_array().into_iter().flatten() {
        let text = |member: &str| token[member].as_str().unwrap_or_default().to_owned();
        let time = |member: &str, none: &str| match token[member].as_str() {
            // To the second.
            Some(time) => time.get(..19).unwrap_or(time).replace('T', " "),
            None => none.to_owned(),
        };
        let targets: Vec<&str> =
            token["targets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let targets = if targets.is_empty() { "all".to_owned() } else { targets.join(", ") };
        table.add_row([
            token["id"].to_string(),
            text("name"),
            text("role"),
            text("state"),
            text("prefix"),
            targets,
            time("expires_at", "never"),
            time("last_used_at", "never"),
        ]);
    }
    // Each line begins with the padding of its first cell.
    let text = table.trim_fmt();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}
