//! `vigil policy backtest`: what policies would have decided, before they are allowed to.

mod samples;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Value, json};

use super::test::stage;
use crate::cli::client::Server;
use crate::cli::output::{Form, Paint};
use crate::cli::{Error, output};
use crate::clock::Clock;
use crate::domain::Timestamp;

/// How long a server may take for a back-test: a little longer than it allows itself.
const PATIENCE: Duration = Duration::from_secs(630);
/// Rows of a table.
const ROWS: usize = 40;

/// What to look at.
#[derive(Args, Debug)]
pub struct Options {
    /// Stored policies [default: all that are in force]
    names: Vec<String>,
    /// File or directory of policies that may not be on the server yet; each takes the place of the stored one of its name
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// How far back to begin, such as 30d [default: 1d]
    #[arg(long, value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration, conflicts_with = "from")]
    last: Option<Duration>,
    /// When to begin
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// When to end [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// How long an action is assumed to take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime_serde::re::humantime::parse_duration)]
    action_takes: Duration,
    /// Hold it beside what was decided live
    #[arg(long)]
    compare: bool,
    /// Keep each policy's own mode [default: look at all as if they were `auto`]
    #[arg(long)]
    as_is: bool,
    /// Decisions and incidents to list
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Instead of a server's history: a file with one JSON sample a line, as they are posted, each with its `timestamp`.
    /// No server is asked; policies come from `--file`
    #[arg(long, value_name = "FILE", requires = "file", conflicts_with_all = ["names", "compare"])]
    samples: Option<PathBuf>,
    /// Settings file whose guardrails and intervals hold for `--samples` [default: the built-in values]
    #[arg(long, value_name = "FILE", requires = "samples")]
    config: Option<PathBuf>,
    /// The server.
    #[command(flatten)]
    server: Server,
    /// How to print what came of it
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    output: Form,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write it like 2026-01-31T08:00:00Z".to_owned())
}

/// Looks back.
pub fn run(options: &Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let work = async {
            match &options.samples {
                Some(file) => samples::run(options, file, &stage(options.config.as_deref())?).await,
                None => ask(options).await,
            }
        };
        Box::pin(with_progress(work)).await
    })?;
    if options.output == Form::Json {
        output::line(&answer);
    } else {
        print(&answer);
    }
    if answer["live"]["same"] == false {
        return Err(Error::Failed("the back-test differs from what was decided live".to_owned()));
    }
    Ok(())
}

/// Says on a terminal that it is at work, and since when.
async fn with_progress<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let (begun, told) = (Instant::now(), std::io::stderr().is_terminal());
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                if told {
                    output::over("");
                }
                return done;
            }
            _ = beat.tick() => {
                if told && begun.elapsed() > Duration::from_secs(1) {
                    output::over(&format!("looking back … {} s", begun.elapsed().as_secs()));
                }
            }
        }
    }
}

async fn ask(options: &Options) -> Result<Value, Error> {
    let mut body = json!({"limit": options.limit, "compare": options.compare,
        "action_takes": options.action_takes.as_secs_f64()});
    if options.compare || options.as_is {
        body["as_auto"] = json!(false);
    }
    if !options.names.is_empty() {
        body["names"] = json!(options.names);
    }
    let policies = policies(&options.file)?;
    if !policies.is_empty() {
        body["policies"] = json!(policies);
    }
    let to = options.to.unwrap_or_else(|| Clock::System.now());
    body["to"] = json!(to);
    let last = options.last.unwrap_or(Duration::from_hours(24));
    body["from"] = json!(options.from.unwrap_or_else(|| to.before(last)));
    let path = "/api/v1/policies/backtest";
    options.server.client()?.ask_within(PATIENCE, (Method::POST, path), Some(&body)).await
}

/// The policies of those files as their authors wrote them; they were read once to find their faults here.
fn policies(paths: &[PathBuf]) -> Result<Vec<Value>, Error> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let nothing = (PathBuf::new(), Vec::new());
    let files = crate::api::policies::files::drafts(paths, nothing);
    files.map_err(|faults| Error::Failed(faults.join("\n")))?;
    crate::api::policies::files::entries(paths).map_err(|faults| Error::Failed(faults.join("\n")))
}

fn print(answer: &Value) {
    let paint = Paint::stdout();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    output::line(format_args!(
        "{} to {}: {} samples, {} scheduled evaluations, {} ms",
        text(&answer["from"]),
        text(&answer["to"]),
        answer["samples"],
        answer["evaluations"],
        answer["took_ms"]
    ));
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["POLICY", "VIOLATIONS", "ACTIONS", "HELD BACK"]);
    for policy in answer["policies"].as_array().into_iter().flatten() {
        let held = policy["decisions"].as_object().into_iter().flatten().filter(|(word, _)| *word != "act");
        let held: Vec<String> = held.map(|(word, count)| format!("{word} {count}")).collect();
        table.add_row([
            text(&policy["name"]),
            policy["violations"].to_string(),
            policy["actions"].to_string(),
            held.join(", "),
        ]);
    }
    output::line(table);
    incidents(answer, &text);
    actions(answer, &text);
    if let Some(live) = answer["live"].as_object() {
        let (recorded, rehearsed) = (&live["recorded"], &live["rehearsed"]);
        if live["same"] == true {
            output::line(paint.good(&format!("The {recorded} decisions made live are the same.")));
        } else {
            output::line(paint.bad(&format!(
                "Live there were {recorded} decisions, here {rehearsed}; the first that differs:"
            )));
            output::line(format_args!(
                "live: {}\nhere: {}",
                text(&live["first_recorded"]),
                text(&live["first_rehearsed"])
            ));
        }
    }
    for note in answer["notes"].as_array().into_iter().flatten() {
        output::note(format_args!("note: {}", text(note)));
    }
}

fn incidents(answer: &Value, text: &dyn Fn(&Value) -> String) {
    let all = answer["incidents"].as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return;
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["INCIDENT", "POLICY", "TARGET", "LASTED", "STATE", "ACTIONS"]);
    for row in all.iter().take(ROWS) {
        let lasted = Duration::from_secs_f64(row["seconds"].as_f64().unwrap_or(0.0).round().max(0.0));
        table.add_row([
            text(&row["opened_at"]),
            text(&row["policy_name"]),
            text(&row["target"]),
            humantime_serde::re::humantime::format_duration(lasted).to_string(),
            text(&row["state"]),
            row["actions"].to_string(),
        ]);
    }
    output::line(format_args!("\n{table}"));
    more(all.len());
}

fn actions(answer: &Value, text: &dyn Fn(&Value) -> String) {
    let all: Vec<&Value> =
        answer["decisions"].as_array().into_iter().flatten().filter(|row| row["decision"] == "act").collect();
    if all.is_empty() {
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "WOULD ACT",
        "POLICY",
        "TARGET",
        "ACTION",
        "PARAMETERS",
        "SAW",
    ]);
    for row in all.iter().take(ROWS) {
        table.add_row([
            text(&row["at"]),
            text(&row["policy_name"]),
            text(&row["target"]),
            text(&row["action"]),
            row["params"].to_string(),
            row["saw"].to_string(),
        ]);
    }
    output::line(format_args!("\n{table}"));
    more(all.len());
}

fn more(count: usize) {
    if count > ROWS {
        output::line(format_args!("… and {} more; `-o json` has them", count - ROWS));
    }
}

/// Where a sample stands, for people.
pub(super) fn place(file: &Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}
