//! Log lines: one JSON object per line on stderr, or text for people.
//!
//! A line has `timestamp level service logger message module function line`, then the fields of the spans it happened
//! in (`request_id`, `path`, `method`, …), then its own; `error` is written as `exception`. Values of fields named like
//! secrets, and passwords in URLs, are masked. Called once by each sub-command that logs.

mod json;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::clock::Clock;
use crate::config::{Log, LogFormat, LogLevel, MASK, is_secret_name, mask_urls};

/// Changes the level while the program runs.
#[derive(Clone)]
pub struct Handle(reload::Handle<Targets, tracing_subscriber::Registry>);

impl Handle {
    /// From now on lines of this level and above are written.
    pub fn set_level(&self, level: LogLevel) {
        // The subscriber lives as long as the process, so this cannot fail while anyone logs.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts logging to stderr. A second call in one process changes nothing but answers a handle.
#[must_use]
pub fn start(settings: Log, service: &str, clock: Clock) -> Handle {
    let json = match settings.format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let lines = Lines {
        json,
        service: service.to_owned(),
        clock,
        write: Box::new(|line: &[u8]| drop(io::stderr().lock().write_all(line))),
    };
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(lines));
    Handle(handle)
}

/// Other crates say what is of interest to their authors; at `debug`, only ours are heard in full.
fn filter(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Debug => (Level::DEBUG, Level::INFO),
        LogLevel::Info => (Level::INFO, Level::WARN),
        LogLevel::Warning => (Level::WARN, Level::WARN),
        LogLevel::Error | LogLevel::Critical => (Level::ERROR, Level::ERROR),
    };
    Targets::new().with_default(theirs).with_target("vigil_host", ours).with_target("vigil", ours)
}

/// The layer that writes. Spans keep their fields as JSON, ready to be copied into each line.
struct Lines {
    json: bool,
    service: String,
    clock: Clock,
    write: Box<Sink>,
}

/// Takes one line with its end.
type Sink = dyn Fn(&[u8]) + Send + Sync;

/// A span's fields.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.json {
            let mut line = json::Line::default();
            event.record(&mut line);
            let mut function = None;
            for span in context.event_scope(event).into_iter().flatten() {
                function = function.or(Some(span.name()));
                if let Some(fields) = span.extensions().get::<Fields>() {
                    line.inherit(&fields.0);
                }
            }
            // One write per line, so that lines of several threads do not mix.
            return (self.write)(&line.end(event.metadata(), (&self.service, function), self.clock.now()));
        }
        let mut inherited = Map::new();
        for span in
            context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(fields) = span.extensions().get::<Fields>() {
                inherited.extend(fields.0.clone());
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        let message = own.0.remove("message").unwrap_or_default();
        let exception = own.0.remove("error");
        inherited.append(&mut own.0);
        let line = Line { event, message, exception, fields: inherited };
        (self.write)(line.text(&self.clock).as_bytes());
    }
}

/// `critical = true` on an error makes it what needs a person at once; tracing has no such level.
fn level_word(level: Level, critical: bool) -> &'static str {
    match level {
        Level::ERROR if critical => "CRITICAL",
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// A line for people.
struct Line<'a> {
    event: &'a Event<'a>,
    message: Value,
    exception: Option<Value>,
    fields: Map<String, Value>,
}

impl Line<'_> {
    fn text(mut self, clock: &Clock) -> String {
        let critical = self.fields.get("critical") == Some(&Value::Bool(true));
        let level = level_word(*self.event.metadata().level(), critical);
        let mut text = format!("{} {level:<8} {}", clock.now(), plain(&self.message));
        self.fields.remove("critical");
        self.fields.extend(self.exception.take().map(|exception| ("error".to_owned(), exception)));
        for (name, value) in &self.fields {
            let _ = write!(text, " {name}={}", plain(value));
        }
        text + "\n"
    }
}

/// A value without the quotes of JSON, on one line.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.replace(['\n', '\r'], "\\n"))
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        // Raw identifiers such as `r#type` are written without their mark.
        let name = field.name().trim_start_matches("r#");
        let value = match value {
            _ if is_secret_name(name) => Value::from(MASK),
            Value::String(ref text) if text.contains("://") => Value::from(mask_urls(text)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => value,
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, with_causes(value).into());
    }
}

/// An error and what led to it.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{error, info, info_span, warn};

    use super::*;
    use crate::domain::Timestamp;

    /// What `body` logs, line by line.
    fn logged(json: bool, body: impl FnOnce()) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let write = Box::new(move |line: &[u8]| sink.lock().unwrap().extend_from_slice(line));
        let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_393_473));
        let lines = Lines { json, service: "vigil".to_owned(), clock, write };
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(filter(LogLevel::Info)).with(lines),
            body,
        );
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn object(line: &str) -> Value {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_line_has_the_members_of_the_contract() {
        let lines = logged(true, || {
            let span = info_span!(
                "ingest",
                request_id = "r-1",
                path = "/api/v1/ingest",
                status_code = tracing::field::Empty
            );
            span.record("status_code", 201);
            span.in_scope(|| {
                info!(duration_ms = 1.5, policy_name = "cpu", level = "forged", "Request completed");
            });
            warn!("two\nlines");
            error!(critical = true, error = "disk full", "it broke");
            tracing::debug!("not at this level");
        });
        assert_eq!(lines.len(), 3);
        let first = object(&lines[0]);
        assert_eq!(first["timestamp"], "2023-11-14T22:13:20.393473Z");
        assert_eq!((&first["level"], &first["service"]), (&"INFO".into(), &"vigil".into()));
        assert_eq!(first["logger"], "vigil_host::telemetry::tests");
        assert_eq!((&first["message"], &first["function"]), (&"Request completed".into(), &"ingest".into()));
        assert_eq!((&first["request_id"], &first["status_code"]), (&"r-1".into(), &201.into()));
        assert_eq!((&first["duration_ms"], &first["policy_name"]), (&1.5.into(), &"cpu".into()));
        assert!(first["line"].is_u64() && first["module"].is_string() && first.get("exception").is_none());
        assert_eq!(
            (&object(&lines[1])["level"], &object(&lines[1])["function"]),
            (&"WARNING".into(), &Value::Null)
        );
        let last = object(&lines[2]);
        assert_eq!((&last["level"], &last["exception"]), (&"CRITICAL".into(), &"disk full".into()));
        assert!(last.get("critical").is_none());
    }

    #[test]
    fn secrets_are_masked_in_fields_and_urls() {
        let lines = logged(true, || {
            let span = info_span!("call", api_token = "hunter2");
            let _entered = span.enter();
            let url = "redis://u:hunter2@h/";
            info!(password = "hunter2", header.authorization = "hunter2", %url, "connecting to {url}");
        });
        assert!(!lines[0].contains("hunter2"), "{}", lines[0]);
        assert_eq!(object(&lines[0])["url"], "redis://u:***@h/");
    }

    #[test]
    fn text_is_one_line_for_people() {
        let lines = logged(false, || warn!(target_name = "web-01", error = "a\nb", "slow"));
        assert_eq!(lines, ["2023-11-14T22:13:20.393473Z WARNING  slow error=a\\nb target_name=web-01"]);
    }

    #[test]
    fn other_crates_are_heard_from_warnings_on() {
        let lines = logged(true, || {
            tracing::info!(target: "sqlx::query", "chatter");
            tracing::warn!(target: "sqlx::query", "slow statement");
        });
        assert_eq!(lines.len(), 1);
    }
}
