//! `POST /api/v1/ingest`: one metric, an array, or lines of JSON.

mod fast;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::describe::aliased;
use super::door::Principal;
use super::input::{self, Fields, Media};
use super::params::key;
use super::problem::{self, Invalid, Problem};
use super::{Api, Limits};
use crate::domain::Timestamp;
use crate::domain::event::{Event, Mark, Series, Tags, Target};
use crate::pipeline::answer::Answer;
use crate::pipeline::ingest::{Key, Request};

/// A reading from further ahead than this carries the receive time instead.
pub(super) const AHEAD: std::time::Duration = std::time::Duration::from_mins(1);
/// Members of a metric that are read.
const MEMBERS: [&str; 5] = ["name", "value", "tags", "labels", "timestamp"];
/// Warnings listed in one answer.
const WARNINGS: usize = 100;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(aliased(routes!(ingest), &["/ingest"]))
        .routes(aliased(routes!(health), &["/ingest/health"]))
}

/// That a part of the API is served.
#[derive(Serialize, ToSchema)]
pub(super) struct Part {
    /// Always `healthy`.
    pub(super) status: &'static str,
    /// The part's name.
    pub(super) service: &'static str,
}

/// One reading. Numbers may be sent as text, times as RFC 3339, dates or unix seconds.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `event` reads")]
struct Metric {
    /// The metric's name, trimmed.
    #[schema(min_length = 1, max_length = 255, example = "cpu_percent")]
    name: String,
    /// What was observed: finite.
    #[schema(value_type = f64)]
    value: f64,
    /// What it is about. The target is the first of `target`, `service`, `pod`, `instance`, `host`.
    #[schema(required = false, value_type = Option<std::collections::BTreeMap<String, String>>)]
    tags: Option<BTreeMap<String, String>>,
    /// Tags too, where `tags` lacks the key; values that are no text become text.
    #[schema(required = false, value_type = Option<std::collections::BTreeMap<String, Value>>)]
    labels: Option<BTreeMap<String, Value>>,
    /// When it was observed. Without it, now.
    #[schema(required = false, value_type = Option<Value>)]
    timestamp: Option<Value>,
}

/// What may be posted: one reading or a list of at most 10,000.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what `read` reads")]
enum Metrics {
    /// One.
    One(Metric),
    /// Several: all or none are stored.
    Many(Vec<Metric>),
}

/// That readings are taken.
#[utoipa::path(get, path = "/api/v1/ingest/health", tag = "ingest", security(()),
    responses((status = 200, description = "They are", body = Part)))]
async fn health() -> Json<Part> {
    Json(Part { status: "healthy", service: "ingest" })
}

/// Takes readings, decides about each, and answers once everything is on disk.
#[utoipa::path(post, path = "/api/v1/ingest", tag = "ingest", security(("token" = ["ingest"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key and body gets the first answer; kept 24 h")),
    request_body(content((Metrics = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 201, description = "Stored, or known already", body = Answer),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "Nothing was stored: each fault is named", body = problem::Body)))]
async fn ingest(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = match read(&api, &principal, &headers, body).await {
        Ok(request) => request,
        Err(problem) => {
            api.metrics.ingest_rejected(problem.status().as_str());
            return Err(problem);
        }
    };
    match api.ingest.accept(request).await {
        Ok(answer) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            Ok((StatusCode::CREATED, kind, answer).into_response())
        }
        Err(refused) => {
            let problem = Problem::from(refused);
            api.metrics.ingest_rejected(problem.status().as_str());
            Err(problem)
        }
    }
}

async fn read(api: &Api, principal: &Principal, headers: &HeaderMap, body: Body) -> Result<Request, Problem> {
    let media = input::media(headers)?;
    // Undone by the door, which also bounds what arrives.
    let compressed = headers.contains_key(header::CONTENT_ENCODING);
    let limit = if compressed { api.limits.ingest_decoded } else { api.limits.ingest_body };
    let bytes = input::collect(body, limit, api.limits.body_timeout).await?;
    let key = key("ingest", principal, headers, &bytes)?;
    let request = requested(&bytes, matches!(media, Media::Lines), key, (api, api.clock.now()))?;
    touched(principal, &request.events)?;
    Ok(request)
}

/// What the bytes of a body ask for: JSON, or lines of it.
pub(super) fn requested(
    bytes: &[u8],
    lines: bool,
    key: Option<Key>,
    (api, now): (&Api, Timestamp),
) -> Result<Request, Problem> {
    let limits = &api.limits;
    if let Some(read) = fast::read(bytes, lines, (limits, api.ingest.known()), now) {
        return Ok(Request { events: read.events, many: read.many, warnings: Vec::new(), key });
    }
    let (values, many) = if lines { (lines_of(bytes)?, true) } else { listed(input::parse(bytes)?) };
    let (events, warnings) = events(&values, many, limits, now)?;
    Ok(Request { events, many, warnings, key })
}

/// Whether the sender may touch what all of the events are about.
pub(super) fn touched(principal: &Principal, events: &[Event]) -> Result<(), Problem> {
    events.iter().try_for_each(|event| principal.touch_event(event.series.target.as_ref()))
}

fn listed(value: Value) -> (Vec<Value>, bool) {
    match value {
        Value::Array(items) => (items, true),
        one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            (vec![one], false)
        }
    }
}

fn lines_of(bytes: &[u8]) -> Result<Vec<Value>, Problem> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
        .enumerate()
        .map(|(at, line)| input::parse(line).map_err(|problem| problem.of_item(at)))
        .collect()
}

/// All of the events, or every fault of all of them.
fn events(
    values: &[Value],
    many: bool,
    limits: &Limits,
    now: Timestamp,
) -> Result<(Vec<Event>, Vec<String>), Problem> {
    if let Some(problem) = count_fault(values.len(), limits) {
        return Err(problem);
    }
    let mut warnings = Vec::new();
    let mut faults = Vec::new();
    let mut events = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let loc = if many { vec![json!("body"), json!(at)] } else { vec![json!("body")] };
        match event(value, loc, limits, now, &mut warnings) {
            Ok(event) => events.push(event),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    warnings.truncate(WARNINGS);
    Ok((events, warnings))
}

fn count_fault(count: usize, limits: &Limits) -> Option<Problem> {
    let loc = vec![json!("body")];
    if count == 0 {
        let msg = "List should have at least 1 item";
        return Some(Problem::invalid(vec![
            Invalid::new("too_short", loc, msg, json!([])).ctx(json!({"min_length": 1})),
        ]));
    }
    (count > limits.batch).then(|| {
        let msg = format!("List should have at most {} items, not {count}", limits.batch);
        let ctx = json!({"max_length": limits.batch, "actual_length": count});
        Problem::invalid(vec![Invalid::new("too_long", loc, msg, Value::Null).ctx(ctx)])
    })
}

fn event(
    value: &Value,
    loc: Vec<Value>,
    limits: &Limits,
    now: Timestamp,
    warnings: &mut Vec<String>,
) -> Result<Event, Vec<Invalid>> {
    let mut fields = Fields::new(value, loc).map_err(|fault| vec![fault])?;
    let name = fields.text("name", 1..=255, true);
    if name.as_deref().is_some_and(|name| name.chars().any(char::is_control)) {
        fields.fault("value_error", "name", "Value error, name must not hold control characters");
    }
    let number = fields.number("value");
    let tags = tags(&mut fields, limits);
    let target = match Target::resolve(&tags) {
        Ok(target) => target,
        Err((tag, why)) => {
            fields.fault("value_error", "tags", format!("Value error, the target tag `{tag}` {why}"));
            None
        }
    };
    let given = fields.get("timestamp");
    let read = given.and_then(input::time);
    if given.is_some() && read.is_none() {
        warnings.push("timestamp can't be read; the receive time is used".to_owned());
    }
    if read.is_some_and(|at| at > now.after(AHEAD)) {
        warnings.push("timestamp is more than 60 s ahead; the receive time is used".to_owned());
    }
    let observed = read.filter(|at| *at <= now.after(AHEAD));
    for stranger in fields.strangers(&MEMBERS) {
        warnings
            .push(format!("unknown member `{}` is ignored", stranger.chars().take(64).collect::<String>()));
    }
    match (name, number) {
        (Some(name), Some(value)) if fields.faults.is_empty() => Ok(Event {
            series: Arc::new(Series::new(name, tags, target)),
            value,
            observed_at: observed.unwrap_or(now),
            timed: observed.is_some(),
            mark: Mark::Real,
        }),
        _ => Err(fields.faults),
    }
}

/// `tags`, and what `labels` adds to them.
fn tags(fields: &mut Fields<'_>, limits: &Limits) -> Tags {
    let mut tags: Tags = BTreeMap::new();
    for (key, value) in fields.object("tags").unwrap_or_default() {
        match value {
            Value::String(text) => {
                tags.insert(key, text);
            }
            other
            @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                let mut loc = fields.at("tags");
                loc.push(json!(key));
                fields.faults.push(Invalid::new("string_type", loc, "Input should be a valid string", other));
            }
        }
    }
    for (key, value) in fields.object("labels").unwrap_or_default() {
        tags.entry(key).or_insert_with(|| match value {
            Value::String(text) => text,
            other
            @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                other.to_string()
            }
        });
    }
    if let Some(why) = tag_fault(&tags, limits) {
        fields.fault("value_error", "tags", format!("Value error, {why}"));
    }
    tags
}

/// What is wrong with a set of tags.
fn tag_fault(tags: &Tags, limits: &Limits) -> Option<String> {
    if tags.len() > limits.tags {
        return Some(format!("an event has at most {} tags, not {}", limits.tags, tags.len()));
    }
    for (key, value) in tags {
        if key.is_empty() || key.len() > limits.tag_name {
            return Some(format!("a tag's name has 1 to {} bytes", limits.tag_name));
        }
        if value.len() > limits.tag_value {
            return Some(format!("the value of the tag `{key}` has more than {} bytes", limits.tag_value));
        }
        if key.chars().any(char::is_control) {
            return Some("a tag's name must not hold control characters".to_owned());
        }
    }
    None
}
