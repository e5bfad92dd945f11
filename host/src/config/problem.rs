//! What is wrong with the settings, all of it at once.

use std::fmt;

use figment::error::Kind;
use figment::value::{Dict, Value};

use super::is_secret_name;
use super::sources::{OPEN, Sources, documentation};
use crate::domain::spelling::did_you_mean;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, `server.listen`; empty where a whole file is meant.
    pub key: String,
    /// Where the value stands: a file, a variable, the command line.
    pub from: String,
    /// What is wrong with it.
    pub what: String,
    /// What would follow, or what the key is for.
    pub consequence: String,
}

impl Problem {
    pub(super) fn file(name: &str, what: &str) -> Self {
        let consequence = "None of its settings is known, so Vigil does not start.".to_owned();
        Self { key: String::new(), from: name.to_owned(), what: what.to_owned(), consequence }
    }

    /// A value that is of the right type but cannot work.
    pub(super) fn value(sources: &Sources, key: &str, what: impl Into<String>) -> Self {
        let consequence = documentation(key).unwrap_or_default();
        Self { key: key.to_owned(), from: sources.origin_of(key), what: what.into(), consequence }
    }

    /// A value that could not be read.
    pub(super) fn unreadable(sources: &Sources, key: &str, error: &figment::Error) -> Self {
        let hidden = is_secret_name(key) || key.ends_with("url");
        let what = if let Kind::UnknownField(field, known) = &error.kind {
            format!("unknown key `{field}`{}", did_you_mean(field, known.iter().copied()))
        } else if hidden && matches!(&error.kind, Kind::InvalidType(..) | Kind::InvalidValue(..)) {
            // The full message quotes the value.
            "is not of the right type".to_owned()
        } else {
            error.kind.to_string()
        };
        let mut problem = Self::value(sources, key, what);
        if !error.path.is_empty() && key.len() < error.path.join(".").len() {
            problem.key = path_of(&error.path, key);
        }
        if let Some(layer) = &error.metadata {
            problem.from = layer.name.to_string();
        }
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, from, what, consequence } = self;
        match key.as_str() {
            "" => write!(f, "{from}: {what}")?,
            key => write!(f, "{key} ({from}): {what}")?,
        }
        if consequence.is_empty() { Ok(()) } else { write!(f, "\n    {consequence}") }
    }
}

/// Everything that is wrong.
#[derive(Debug, thiserror::Error)]
pub struct Problems(
    /// Never empty.
    pub Vec<Problem>,
);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, s) = (self.0.len(), if self.0.len() == 1 { "" } else { "s" });
        write!(f, "the configuration has {count} problem{s}:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// Keys that no layer but ours could have meant.
pub(super) fn unknown_keys(sources: &Sources, known: &Dict) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(sources, &sources.all(), known, "", &mut problems);
    problems
}

/// Where in the file an error is: figment puts the key that was asked for behind the path below it.
fn path_of(path: &[String], key: &str) -> String {
    let asked: Vec<&str> = key.split('.').collect();
    let mut parts: Vec<&str> = path.iter().map(String::as_str).collect();
    if parts.ends_with(&asked) {
        parts.rotate_right(asked.len());
    }
    parts.join(".")
}

fn walk(sources: &Sources, dict: &Dict, known: &Dict, path: &str, problems: &mut Vec<Problem>) {
    for (name, value) in dict {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if OPEN.contains(&key.as_str()) {
            continue;
        }
        match (known.get(name), value) {
            (Some(Value::Dict(_, below)), Value::Dict(_, dict)) => walk(sources, dict, below, &key, problems),
            (Some(Value::Dict(..)), _) => problems.push(Problem {
                from: sources.origin(value.tag()),
                what: format!("is a section, not a value; write `[{key}]`"),
                consequence: "None of the section's settings is known, so Vigil does not start.".into(),
                key,
            }),
            (Some(_), _) => {}
            (None, _) => problems.push(unknown(sources, value, known, path, key)),
        }
    }
}

fn unknown(sources: &Sources, value: &Value, known: &Dict, path: &str, key: String) -> Problem {
    let name = key.rsplit('.').next().unwrap_or_default();
    let hint = did_you_mean(
        name,
        known.keys().map(String::as_str).chain(if path.is_empty() { OPEN } else { [""; 4] }),
    );
    // A value three levels down has no tag of its own; its first leaf tells the layer.
    let from = sources.origin(leaf(value).tag());
    let kind = if path.is_empty() && matches!(value, Value::Dict(..)) { "section" } else { "key" };
    let consequence =
        "It would have no effect, which is not what its author wanted, so Vigil does not start.";
    Problem { from, what: format!("unknown {kind}{hint}"), consequence: consequence.into(), key }
}

fn leaf(value: &Value) -> &Value {
    match value {
        Value::Dict(_, dict) => dict.values().next().map_or(value, leaf),
        Value::String(..)
        | Value::Char(..)
        | Value::Bool(..)
        | Value::Num(..)
        | Value::Empty(..)
        | Value::Array(..) => value,
    }
}
