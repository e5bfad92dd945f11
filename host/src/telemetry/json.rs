//! A log line as JSON, written as its fields are seen: a line is written for every request.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Metadata;
use tracing::field::{Field, Visit};

use super::{level_word, with_causes};
use crate::config::{MASK, is_secret_name, mask_urls};

/// Members that a line has by itself: a field cannot pose as one of them.
const OURS: [&str; 10] = [
    "timestamp",
    "level",
    "service",
    "logger",
    "message",
    "module",
    "function",
    "line",
    "exception",
    "critical",
];

/// A line in the making.
#[derive(Default)]
pub(super) struct Line {
    /// `,"name":value` for each field.
    fields: Vec<u8>,
    names: Vec<Cow<'static, str>>,
    message: Vec<u8>,
    exception: Vec<u8>,
    critical: bool,
    scratch: String,
}

impl Line {
    /// The fields of a span around; what is there already, by the event or an inner span, stays.
    pub(super) fn inherit(&mut self, fields: &Map<String, Value>) {
        for (name, value) in fields {
            let name = name.as_str();
            if !OURS.contains(&name) && !self.names.iter().any(|known| known == name) {
                self.names.push(Cow::Owned(name.to_owned()));
                member(&mut self.fields, name, value);
            }
        }
    }

    /// The whole line, with its end.
    pub(super) fn end(
        mut self,
        place: &Metadata<'_>,
        (service, function): (&str, Option<&str>),
        now: impl fmt::Display,
    ) -> Vec<u8> {
        let mut line = Vec::with_capacity(256 + self.message.len() + self.fields.len());
        let level = level_word(*place.level(), self.critical);
        let _ = write!(line, "{{\"timestamp\":\"{now}\",\"level\":\"{level}\"");
        member(&mut line, "service", service);
        member(&mut line, "logger", &place.target());
        line.extend_from_slice(b",\"message\":");
        line.extend_from_slice(if self.message.is_empty() { b"null" } else { &self.message });
        member(&mut line, "module", &place.module_path());
        member(&mut line, "function", &function);
        member(&mut line, "line", &place.line());
        if !self.exception.is_empty() {
            line.extend_from_slice(b",\"exception\":");
            line.append(&mut self.exception);
        }
        line.append(&mut self.fields);
        line.extend_from_slice(b"}\n");
        line
    }

    fn add<T: Serialize + ?Sized>(&mut self, field: &Field, value: &T) {
        // Raw identifiers such as `r#type` are written without their mark.
        let name = field.name().trim_start_matches("r#");
        match name {
            "message" => put(&mut self.message, value),
            "error" => put(&mut self.exception, value),
            _ if OURS.contains(&name) || self.names.iter().any(|known| known == name) => {}
            _ => {
                self.names.push(Cow::Borrowed(name));
                if is_secret(name) {
                    member(&mut self.fields, name, MASK);
                } else {
                    member(&mut self.fields, name, value);
                }
            }
        }
    }
}

thread_local! {
    /// What [`is_secret_name`] said of the names of fields, which are few and written down in the program.
    static KNOWN: RefCell<Vec<(&'static str, bool)>> = const { RefCell::new(Vec::new()) };
}

fn is_secret(name: &'static str) -> bool {
    KNOWN.with_borrow_mut(|known| {
        if let Some((_, secret)) = known.iter().find(|(seen, _)| std::ptr::eq(*seen, name)) {
            return *secret;
        }
        let secret = is_secret_name(name);
        if known.len() < 64 {
            known.push((name, secret));
        }
        secret
    })
}

/// `,"name":value`.
fn member<T: Serialize + ?Sized>(line: &mut Vec<u8>, name: &str, value: &T) {
    line.push(b',');
    put(line, name);
    line.push(b':');
    put(line, value);
}

fn put<T: Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) {
    // Texts and numbers can be written, and memory takes them.
    let _ = serde_json::to_writer(line, value);
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
        self.scratch = text;
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if value.contains("://") {
            self.add(field, &mask_urls(value));
        } else {
            self.add(field, value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "critical" {
            self.critical = value;
        }
        self.add(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &with_causes(value));
    }
}
