//! `vigil pause` and `vigil resume`: the switch that stops all automation.

use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::client::Asked;
use super::output::Form;
use super::{Error, output};

/// How to stop everything, and on which server.
#[derive(Args, Debug)]
pub struct Options {
    /// All policies on all targets; there is no smaller pause, and this says so
    #[arg(long, required = true)]
    all: bool,
    /// Why, for those who find it paused
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// How long, such as 2h [default: until `vigil resume`]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
    duration: Option<Duration>,
    /// Cancel what is running, too; else it finishes
    #[arg(long)]
    now: bool,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// On which server to go on.
#[derive(Args, Debug)]
pub struct Resume {
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Stops everything.
pub fn run(options: &Options) -> Result<(), Error> {
    let mut body = json!({"reason": options.reason, "cancel_running": options.now});
    if let Some(span) = options.duration {
        body["duration"] = json!(span.as_secs().max(1));
    }
    ask(&options.asked, Method::POST, Some(&body))
}

/// Lets it go on.
pub fn resume(options: &Resume) -> Result<(), Error> {
    ask(&options.asked, Method::DELETE, None)
}

fn ask(asked: &Asked, method: Method, body: Option<&Value>) -> Result<(), Error> {
    let client = asked.server.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(client.ask(method, "/api/v1/pause", body))?;
    if asked.output == Form::Json {
        output::line(&done);
        return Ok(());
    }
    output::line(done["message"].as_str().unwrap_or_default());
    if let Some(until) = done["until"].as_str() {
        output::note(format_args!("It goes on by itself at {until}."));
    } else if done["paused"] == true {
        output::note(format_args!("To let it go on: vigil resume"));
    }
    Ok(())
}
