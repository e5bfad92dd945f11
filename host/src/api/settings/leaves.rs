//! Every setting that may be changed: its place, its type and range, and what it means. Validation and the schema
//! both come from this one table.

use serde_json::{Map, Value, json};

use crate::api::input::Fields;
use crate::api::problem::{Invalid, Problem};
use crate::config::Settings;

/// What a setting takes.
#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Whole(i64, i64),
    Number(f64, f64),
    Word(&'static [&'static str]),
    Url,
}

/// Section (empty: none), name, kind, meaning.
type Leaf = (&'static str, &'static str, Kind, &'static str);

const SECTIONS: [&str; 4] = ["remediation", "retry", "rate_limit", "policy"];
const LEVELS: &[&str] = &["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
const LEAVES: [Leaf; 25] = [
    ("", "log_level", Kind::Word(LEVELS), "Least severe level that is logged"),
    (
        "",
        "environment",
        Kind::Word(&["development", "staging", "production"]),
        "Where this installation stands; production is not relaxed over HTTP",
    ),
    ("", "debug", Kind::Flag, "Logs at DEBUG whatever log_level says"),
    ("", "metrics_enabled", Kind::Flag, "Whether the metrics answer"),
    ("", "audit_logging_enabled", Kind::Flag, "Whether each request leaves an audit line in the log"),
    ("", "agent_interval", Kind::Number(1.0, 3600.0), "Seconds; shown to agents"),
    ("", "gitopsd_interval", Kind::Number(1.0, 3600.0), "Seconds; shown to gitopsd"),
    ("remediation", "remediator_url", Kind::Url, "Where a remediator would be pushed to; shown"),
    ("remediation", "max_concurrent", Kind::Whole(1, 100), "Attempts at once on each node"),
    ("remediation", "task_queue_size", Kind::Whole(10, 10_000), "Shown; the queue has no such bound"),
    ("remediation", "interval", Kind::Whole(1, 3600), "Longest wait of an idle worker, in seconds"),
    ("retry", "max_attempts", Kind::Whole(1, 10), "Attempts of a new action in all"),
    ("retry", "backoff", Kind::Word(&["exponential", "linear", "constant"]), "How the delay grows"),
    ("retry", "base_delay", Kind::Number(0.1, 60.0), "Seconds before the first retry"),
    ("retry", "max_delay", Kind::Number(1.0, 300.0), "Longest delay, in seconds"),
    ("rate_limit", "enabled", Kind::Flag, "Whether requests are limited"),
    ("rate_limit", "requests", Kind::Whole(1, 10_000), "Requests of one window"),
    ("rate_limit", "ingest_requests", Kind::Whole(1, 10_000), "Ingest requests of one window"),
    ("rate_limit", "actions_requests", Kind::Whole(1, 10_000), "Action requests of one window"),
    (
        "rate_limit",
        "period",
        Kind::Whole(1, 3600),
        "Seconds of every window, unless the next two say otherwise",
    ),
    ("rate_limit", "ingest_period", Kind::Whole(1, 3600), "Seconds of the ingest window"),
    ("rate_limit", "actions_period", Kind::Whole(1, 3600), "Seconds of the action window"),
    ("policy", "enabled", Kind::Flag, "Whether the scheduled evaluation runs"),
    ("policy", "interval", Kind::Number(1.0, 3600.0), "Seconds between two evaluations of a target"),
    ("policy", "batch_size", Kind::Whole(1, 1_000), "Rows of one database read"),
];

/// The settings that a body asks for, in their own types, and what nobody reads.
pub(super) fn read(body: &Value) -> Result<(Value, Vec<String>), Problem> {
    let one = |fault: Invalid| Problem::invalid(vec![fault]);
    let mut outer = Fields::new(body, vec![json!("body")]).map_err(one)?;
    let mut warnings: Vec<String> = outer.strangers(&["settings"]).iter().map(|name| unread(name)).collect();
    let Some(given) = outer.need("settings") else { return Err(Problem::invalid(outer.faults)) };
    let place = vec![json!("body"), json!("settings")];
    let mut fields = Fields::new(given, place.clone()).map_err(|mut fault| {
        (fault.kind, fault.msg) = ("dict_type", "Input should be a valid dictionary".to_owned());
        one(fault)
    })?;
    let mut asked = Map::new();
    let mut known: Vec<&str> = SECTIONS.to_vec();
    known.extend(leaves("").map(|leaf| leaf.1));
    warnings.extend(fields.strangers(&known).iter().map(|name| unread(&format!("settings.{name}"))));
    take(&mut fields, "", &mut asked);
    let mut faults = std::mem::take(&mut fields.faults);
    for section in SECTIONS {
        let Some(members) = fields.object(section).map(Value::Object) else { continue };
        let mut loc = place.clone();
        loc.push(json!(section));
        let Ok(mut below) = Fields::new(&members, loc) else { continue };
        let known: Vec<&str> = leaves(section).map(|leaf| leaf.1).collect();
        let strangers = below.strangers(&known);
        warnings.extend(strangers.iter().map(|name| unread(&format!("settings.{section}.{name}"))));
        let mut found = Map::new();
        take(&mut below, section, &mut found);
        faults.extend(below.faults);
        if section == "rate_limit" {
            every_window(&mut found);
        }
        if !found.is_empty() {
            asked.insert(section.to_owned(), Value::Object(found));
        }
    }
    faults.extend(fields.faults);
    if faults.is_empty() { Ok((Value::Object(asked), warnings)) } else { Err(Problem::invalid(faults)) }
}

fn unread(name: &str) -> String {
    format!("unknown member `{name}` is ignored")
}

/// The seed knows one period for all windows.
fn every_window(found: &mut Map<String, Value>) {
    if let Some(period) = found.get("period").cloned() {
        for window in ["ingest_period", "actions_period"] {
            found.entry(window).or_insert_with(|| period.clone());
        }
    }
}

fn leaves(section: &str) -> impl Iterator<Item = &'static Leaf> {
    LEAVES.iter().filter(move |leaf| leaf.0 == section)
}

fn take(fields: &mut Fields<'_>, section: &str, into: &mut Map<String, Value>) {
    for (_, name, kind, _) in leaves(section) {
        if fields.get(name).is_none() {
            continue;
        }
        let value = match kind {
            Kind::Flag => fields.flag(name).map(Value::from),
            Kind::Whole(least, most) => whole(fields, name, (*least, *most)).map(Value::from),
            Kind::Number(least, most) => number(fields, name, (*least, *most)).map(Value::from),
            Kind::Word(words) => word(fields, name, words).map(Value::from),
            Kind::Url => url(fields, name).map(Value::from),
        };
        if let Some(value) = value {
            into.insert((*name).to_owned(), value);
        }
    }
}

/// An integer within a range, in any of its lax forms.
pub(in crate::api) fn whole(fields: &mut Fields<'_>, name: &str, (least, most): (i64, i64)) -> Option<i64> {
    let exact = |number: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range by the guard")]
        (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
    };
    let (kind, read) = match fields.get(name)? {
        Value::Number(number) => ("int_parsing", number.as_i64().or_else(|| number.as_f64().and_then(exact))),
        Value::Bool(yes) => ("int_parsing", Some(i64::from(*yes))),
        Value::String(text) => ("int_parsing", text.trim().parse().ok()),
        Value::Null | Value::Array(_) | Value::Object(_) => ("int_type", None),
    };
    let Some(read) = read else {
        fields.fault(kind, name, "Input should be a valid integer");
        return None;
    };
    #[expect(clippy::cast_precision_loss, reason = "bounds of settings are small")]
    within(fields, name, read as f64, (json!(least), json!(most))).then_some(read)
}

fn number(fields: &mut Fields<'_>, name: &str, (least, most): (f64, f64)) -> Option<f64> {
    let read = fields.number(name)?;
    within(fields, name, read, (json!(least), json!(most))).then_some(read)
}

fn within(fields: &mut Fields<'_>, name: &str, read: f64, (least, most): (Value, Value)) -> bool {
    if read < least.as_f64().unwrap_or(f64::MIN) {
        fields.fault("greater_than_equal", name, format!("Input should be greater than or equal to {least}"));
        fields.last_ctx(json!({"ge": least}));
        return false;
    }
    if read > most.as_f64().unwrap_or(f64::MAX) {
        fields.fault("less_than_equal", name, format!("Input should be less than or equal to {most}"));
        fields.last_ctx(json!({"le": most}));
        return false;
    }
    true
}

/// One of the words, in any case.
fn word(fields: &mut Fields<'_>, name: &str, words: &[&'static str]) -> Option<&'static str> {
    let Some(Value::String(text)) = fields.get(name) else {
        fields.fault("string_type", name, "Input should be a valid string");
        return None;
    };
    let found = words.iter().copied().find(|word| word.eq_ignore_ascii_case(text.trim()));
    if found.is_none() {
        let expected = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
        fields.fault("enum", name, format!("Input should be {expected}"));
        fields.last_ctx(json!({"expected": expected}));
    }
    found
}

fn url(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    let text = fields.text(name, 1..=2048, false)?;
    let parsed = is_url(&text);
    if parsed {
        Some(text)
    } else {
        fields.fault("value_error", name, "Value error, it is no URL that begins with http:// or https://");
        fields.last_ctx(json!({"error": {}}));
        None
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.starts_with(['/', ':', '?', '#']) && !rest.is_empty())
        && text.parse::<axum::http::Uri>().is_ok()
}

/// The JSON Schema of `settings`, with the configuration's values as defaults.
pub(super) fn schema(base: &Settings) -> Value {
    let defaults = serde_json::to_value(base).unwrap_or_default();
    let mut properties = section("", &defaults);
    for name in SECTIONS {
        let below = section(name, &defaults[name]);
        properties.insert(
            name.to_owned(),
            json!({"type": ["object", "null"], "properties": below, "additionalProperties": true}),
        );
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings",
        "type": "object",
        "properties": properties,
        "additionalProperties": true,
    })
}

fn section(name: &str, defaults: &Value) -> Map<String, Value> {
    let one = |(_, name, kind, meaning): &Leaf| {
        let mut schema = match kind {
            Kind::Flag => json!({"type": ["boolean", "null"]}),
            Kind::Whole(least, most) => {
                json!({"type": ["integer", "null"], "minimum": least, "maximum": most})
            }
            Kind::Number(least, most) => {
                json!({"type": ["number", "null"], "minimum": least, "maximum": most})
            }
            Kind::Word(words) => {
                let mut all: Vec<Value> = words.iter().map(|word| json!(word)).collect();
                all.push(Value::Null);
                json!({"type": ["string", "null"], "enum": all})
            }
            Kind::Url => json!({"type": ["string", "null"], "format": "uri", "maxLength": 2048}),
        };
        schema["description"] = json!(meaning);
        schema["default"] = defaults[*name].clone();
        ((*name).to_owned(), schema)
    };
    leaves(name).map(one).collect()
}
