//! `vigil silence`: what is to be left alone, and when.

use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, Server};
use super::output::Form;
use super::{Error, output};

/// What to do with silences, and on which server.
#[derive(Args, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// The server.
    #[command(flatten)]
    server: Server,
    /// How to print what there is
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table, global = true)]
    output: Form,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Leave alone what matches, for a time or on certain days and hours
    Add(Box<Adding>),
    /// List silences, newest first; without a state those that are not over
    List {
        /// pending, active, expired or all
        #[arg(long, value_parser = ["pending", "active", "expired", "all"])]
        state: Option<String>,
    },
    /// Show one silence
    Show {
        /// Its number, as `vigil silence list` shows it
        id: i64,
    },
    /// End a silence now; it stays readable
    Expire {
        /// Its number, as `vigil silence list` shows it
        id: i64,
    },
}

/// What to leave alone.
#[derive(Args, Debug)]
struct Adding {
    /// NAME=VALUE, or with !=, =~ or !~; all must match. A name is policy, target, severity, action or tags.NAME
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    /// How long, such as 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
    duration: Option<Duration>,
    /// From when on [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME", conflicts_with = "duration")]
    until: Option<String>,
    /// Every week: weekdays, times, or both, such as `sat,sun 00:00-06:00` or `mon-fri 22:00-06:00`; may be given
    /// several times
    #[arg(long, value_name = "WHEN")]
    weekly: Vec<String>,
    /// Every month: days, times, or both, such as `1,-1 02:00-04:00`; -1 is the last day; may be given several times
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    monthly: Vec<String>,
    /// Only in these months, such as `dec` or `jun-aug`
    #[arg(long, value_name = "MONTHS", value_delimiter = ',')]
    months: Vec<String>,
    /// Whose clock `--weekly` and `--monthly` mean, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Why, for those who find it
    #[arg(long, value_name = "TEXT")]
    comment: String,
    /// Only show what it would hold back
    #[arg(long)]
    preview: bool,
}

/// Does it.
pub fn run(options: &Options) -> Result<(), Error> {
    let client = options.server.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(&client, options))
}

async fn ask(client: &Client, options: &Options) -> Result<(), Error> {
    let json = options.output == Form::Json;
    let print = |answer: &Value, text: String| output::line(if json { answer.to_string() } else { text });
    match &options.command {
        Command::Add(adding) if adding.preview => {
            let body = body(adding)?;
            let seen = client.ask(Method::POST, "/api/v1/silences/preview", Some(&body)).await?;
            print(&seen, previewed(&seen));
        }
        Command::Add(adding) => {
            let body = body(adding)?;
            let made = client.ask(Method::POST, "/api/v1/silences", Some(&body)).await?;
            let id = &made["id"];
            print(&made, format!("Silence {id} is {}", standing(&made)));
            if !json {
                output::note(format_args!("To end it: vigil silence expire {id}"));
            }
        }
        Command::List { state } => {
            let all = list(client, state.as_deref()).await?;
            let text = table(&all);
            print(&json!({"silences": all}), text);
        }
        Command::Show { id } => {
            let one = client.ask(Method::GET, &format!("/api/v1/silences/{id}"), None).await?;
            print(&one, shown(&one));
        }
        Command::Expire { id } => {
            let done = client.ask(Method::DELETE, &format!("/api/v1/silences/{id}"), None).await?;
            print(&done, done["message"].as_str().unwrap_or_default().to_owned());
        }
    }
    Ok(())
}

/// All silences of that state, page by page; without one those that are not over.
async fn list(client: &Client, state: Option<&str>) -> Result<Vec<Value>, Error> {
    let states: &[&str] = match state {
        None => &["active", "pending"],
        Some("all") => &[""],
        Some(one) => &[one],
    };
    let mut all = Vec::new();
    for state in states {
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/silences?limit=500&state={state}&cursor={cursor}");
            let page = client.ask(Method::GET, &path, None).await?;
            all.extend(page["silences"].as_array().into_iter().flatten().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
    }
    Ok(all)
}

fn body(adding: &Adding) -> Result<Value, Error> {
    let mut body = json!({"matchers": adding.matchers, "comment": adding.comment});
    if let Some(span) = adding.duration {
        body["duration"] = json!(span.as_secs().max(1));
    }
    for (member, given) in [("starts_at", &adding.from), ("ends_at", &adding.until)] {
        if let Some(text) = given {
            body[member] = json!(text);
        }
    }
    let weekly = adding.weekly.iter().map(|text| interval(text, "weekdays", &adding.months));
    let monthly = adding.monthly.iter().map(|text| interval(text, "days_of_month", &adding.months));
    let intervals: Vec<Value> = weekly.chain(monthly).collect();
    if intervals.is_empty() && (adding.zone.is_some() || !adding.months.is_empty()) {
        return Err(Error::Failed("--zone and --months go with --weekly or --monthly".to_owned()));
    }
    if !intervals.is_empty() {
        body["recurring"] = json!({"zone": adding.zone.as_deref().unwrap_or("UTC"), "intervals": intervals});
    }
    Ok(body)
}

/// `sat,sun 00:00-06:00` as an interval: what has a clock's colon and a dash is a time, the rest are days.
fn interval(text: &str, days: &str, months: &[String]) -> Value {
    let entries = text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
    let clock = |entry: &&str| entry.contains(':') && entry.trim_start_matches('-').contains('-');
    let (times, days_of): (Vec<&str>, Vec<&str>) = entries.partition(|entry| {
        // `-7:-1` are days of a month.
        clock(entry) && !entry.starts_with('-') && entry.matches(':').count() == 2
    });
    json!({"times": times, days: days_of, "months": months})
}

fn standing(one: &Value) -> String {
    let time = |member: &str| one[member].as_str().map(seconds);
    match (one["state"].as_str().unwrap_or_default(), time("holds_from"), time("holds_until")) {
        ("active", _, Some(until)) => format!("active until {until}"),
        ("pending", Some(from), Some(until)) => format!("pending: from {from} until {until}"),
        (state, _, _) => state.to_owned(),
    }
}

/// A time to the second.
fn seconds(time: &str) -> String {
    format!("{} UTC", time.get(..19).unwrap_or(time).replace('T', " "))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn table(all: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "STATE", "MATCHERS", "AUTHOR", "COMMENT"]);
    for one in all {
        let text = |member: &str| one[member].as_str().unwrap_or_default().to_owned();
        let matchers = texts(&one["matchers"]).join(" ");
        table.add_row([one["id"].to_string(), standing(one), matchers, text("author"), text("comment")]);
    }
    // Each line begins with the padding of its first cell.
    let text = table.trim_fmt();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn shown(one: &Value) -> String {
    let mut lines = vec![format!("Silence {} is {}", one["id"], standing(one))];
    let mut row = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
    row("matchers", texts(&one["matchers"]).join(" "));
    row("author", one["author"].as_str().unwrap_or_default().to_owned());
    row("comment", one["comment"].as_str().unwrap_or_default().to_owned());
    row("starts", one["starts_at"].as_str().map(seconds).unwrap_or_default());
    row("ends", one["ends_at"].as_str().map_or_else(|| "when somebody ends it".to_owned(), seconds));
    if let Some(zone) = one["recurring"]["zone"].as_str() {
        for hours in one["recurring"]["intervals"].as_array().into_iter().flatten() {
            let lists = ["months", "days_of_month", "weekdays", "times"];
            let words: Vec<String> = lists.iter().map(|list| texts(&hours[list]).join(",")).collect();
            let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let words = if words.is_empty() { "every day".to_owned() } else { words.join(" ") };
            row("again", format!("{words} in {zone}"));
        }
    }
    if let Some(at) = one["expired_at"].as_str() {
        row("ended", seconds(at));
    }
    lines.join("\n")
}

fn previewed(seen: &Value) -> String {
    let mut lines = vec![format!("It would match {} targets known of late", seen["targets"])];
    for times in seen["intervals"].as_array().into_iter().flatten() {
        let time = |member: &str| times[member].as_str().map(seconds).unwrap_or_default();
        lines.push(format!("  from {} until {}", time("from"), time("until")));
    }
    for policy in seen["policies"].as_array().into_iter().flatten() {
        let name = policy["name"].as_str().unwrap_or_default();
        lines.push(format!("  policy {name} on {} targets", policy["targets"]));
    }
    for incident in seen["incidents"].as_array().into_iter().flatten() {
        let text = |member: &str| incident[member].as_str().unwrap_or_default();
        lines.push(format!("  incident {}: {} on {}", incident["id"], text("policy_name"), text("target")));
    }
    lines.join("\n")
}
