//! Drifts: reported by gitopsd or a script, stored as events that policies may read, and listed in the shape of
//! actions. Vigil looks for none by itself.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::describe::aliased;
use super::door::Principal;
use super::input::{self, Fields};
use super::problem::{self, Problem};
use super::{Api, ingest};
use crate::domain::Timestamp;
use crate::domain::event::{Event, Mark, Series, Tags, Target, normal_name};
use crate::pipeline::ingest::Request;
use crate::store::{DriftRow, Drifted};

/// Drifts listed.
const LISTED: i64 = 50;
/// Most bytes of a drift's details.
const DETAILS: usize = 8 << 10;

pub(super) fn router() -> OpenApiRouter<Api> {
    let others = ["/api/v1/ingest/gitopsd/events", "/ingest/gitopsd/events"];
    OpenApiRouter::new().routes(aliased(routes!(gitopsd), &others)).routes(routes!(list, report))
}

/// What gitopsd reports. Any JSON object is taken; what is left out has the value in brackets.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `drift_of` reads")]
struct GitopsEvent {
    /// When it was seen, unix seconds (now).
    #[schema(required = false, value_type = Option<Value>)]
    timestamp: Option<Value>,
    /// `drift_detected` or `drift_resolved` (the first).
    #[schema(required = false, value_type = Option<Value>)]
    event_type: Option<Value>,
    /// What has drifted (`unknown`).
    #[schema(required = false, value_type = Option<Value>, example = "Deployment/vigil-api")]
    resource: Option<Value>,
    /// Where (`default`).
    #[schema(required = false, value_type = Option<Value>)]
    namespace: Option<Value>,
    /// The manifest that says what should be.
    #[schema(required = false, value_type = Option<Value>)]
    manifest_path: Option<Value>,
    /// `missing`, `mismatch` or `unexpected` (`unknown`).
    #[schema(required = false, value_type = Option<Value>)]
    drift_type: Option<Value>,
    /// Further facts, such as `reason`.
    #[schema(required = false, value_type = Option<Value>)]
    details: Option<Value>,
    /// `low`, `medium` or `high` (`low`).
    #[schema(required = false, value_type = Option<Value>)]
    severity: Option<Value>,
}

/// A recorded report.
#[derive(Serialize, ToSchema)]
struct Recorded {
    /// Always true.
    ok: bool,
    /// Always `recorded`.
    status: &'static str,
    /// For people.
    message: &'static str,
    /// The event that was stored for it.
    event_id: String,
}

async fn object(api: &Api, headers: &HeaderMap, sent: Body) -> Result<Value, Problem> {
    let value = input::json(api, headers, sent).await?;
    Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    Ok(value)
}

/// Takes what gitopsd reports. The same drift reported again is one drift.
#[utoipa::path(post, path = "/api/v1/actions/gitopsd/events", tag = "ingest", security(("token" = ["ingest"])),
    request_body = GitopsEvent,
    responses((status = 201, description = "Recorded", body = Recorded),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "It is no JSON object", body = problem::Body)))]
async fn gitopsd(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<(StatusCode, Json<Recorded>), Problem> {
    let value = object(&api, &headers, sent).await?;
    let resolved = value["event_type"].as_str() == Some("drift_resolved");
    let kind = word(&value["drift_type"], if resolved { "" } else { "unknown" });
    let known =
        json!({"reason": kind, "manifest_path": value["manifest_path"], "severity": value["severity"]});
    let drift = Drifted {
        resource: word(&value["resource"], "unknown"),
        namespace: word(&value["namespace"], "default"),
        severity: word(&value["severity"], "low"),
        manifest: word(&value["manifest_path"], ""),
        details: details(known, &value["details"]),
        kind,
        event_id: 0,
        action_id: None,
        resolved,
    };
    let event_id = store(&api, &principal, drift, input::time(&value["timestamp"])).await?;
    let message = "Event recorded";
    Ok((StatusCode::CREATED, Json(Recorded { ok: true, status: "recorded", message, event_id })))
}

/// Text of a member of any type, in a form that can be a tag; `default` where there is none.
fn word(value: &Value, default: &str) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    let clean: String = text.chars().filter(|c| !c.is_control()).take(255).collect();
    // Composed characters are fewer, not more.
    normal_name(&clean).unwrap_or_else(|_| default.to_owned())
}

/// Details as JSON with a `reason`, in which what the reporter said comes first.
fn details(known: Value, said: &Value) -> String {
    let mut all = match known {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    match said {
        Value::Object(members) => all.extend(members.clone()),
        Value::Null => {}
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            all.insert(
                "reason".to_owned(),
                json!(other.as_str().map_or_else(|| other.to_string(), str::to_owned)),
            );
        }
    }
    let text = Value::Object(all.clone()).to_string();
    if text.len() <= DETAILS { text } else { json!({"reason": all["reason"], "cut": true}).to_string() }
}

/// Stores a report: as an event, and as a drift or the end of one.
async fn store(
    api: &Api,
    principal: &Principal,
    mut drift: Drifted,
    at: Option<Timestamp>,
) -> Result<String, Problem> {
    principal.touch(&drift.resource)?;
    let now = api.clock.now();
    let observed = at.filter(|at| *at <= now.after(ingest::AHEAD));
    let mut tags: Tags = [
        ("target", &drift.resource),
        ("namespace", &drift.namespace),
        ("drift_type", &drift.kind),
        ("severity", &drift.severity),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), value.clone()))
    .collect();
    tags.insert("source".to_owned(), "gitopsd".to_owned());
    let namespace = Some(drift.namespace.clone());
    let target = Target { name: drift.resource.clone(), kind: "target".to_owned(), namespace };
    let event = Event {
        series: Arc::new(Series::new("drift_detected".to_owned(), tags, Some(target))),
        value: if drift.resolved { 0.0 } else { 1.0 },
        observed_at: observed.unwrap_or(now),
        timed: observed.is_some(),
        mark: Mark::Real,
    };
    let request = Request { events: vec![event], many: false, warnings: Vec::new(), key: None };
    let answer: Value = serde_json::from_slice(&api.ingest.accept(request).await?).unwrap_or(Value::Null);
    drift.event_id = answer["metric_id"].as_i64().unwrap_or(0);
    drift.action_id = answer["actions_triggered"][0]["action_id"].as_i64();
    api.store.drifted(&drift, now).await?;
    Ok(drift.event_id.to_string())
}

/// A drift in the shape of an action.
#[derive(Serialize, ToSchema)]
struct DriftAction {
    /// Its id.
    id: i64,
    /// What has drifted.
    target: String,
    /// Always `reconcile`.
    action: &'static str,
    /// `pending` while it is open, `completed` once it is resolved, else that of the action a policy made of it.
    status: &'static str,
    /// JSON with `reason`.
    details: String,
    /// When it was first reported.
    started_at: Timestamp,
    /// When it was resolved, or its action ended.
    completed_at: Option<Timestamp>,
}

/// The last drifts.
#[derive(Serialize, ToSchema)]
struct Drifts {
    /// Newest first.
    actions: Vec<DriftAction>,
    /// How many follow.
    count: usize,
}

/// Lists the last 50 drifts, newest first.
#[utoipa::path(get, path = "/drift", tag = "ingest", security(("token" = ["read"])),
    responses((status = 200, description = "They", body = Drifts)))]
async fn list(State(api): State<Api>) -> Result<Json<Drifts>, Problem> {
    let rows = api.store.drifts(LISTED).await?;
    let actions = rows.into_iter().map(shown).collect::<Result<Vec<_>, Problem>>()?;
    Ok(Json(Drifts { count: actions.len(), actions }))
}

fn shown(row: DriftRow) -> Result<DriftAction, Problem> {
    Ok(DriftAction {
        status: row.status()?,
        started_at: row.opened_at(),
        completed_at: row.completed_at(),
        id: row.id,
        target: row.resource,
        action: "reconcile",
        details: row.details,
    })
}

/// A drift that a script reports.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `report` reads")]
struct DriftReport {
    /// The manifest.
    #[schema(min_length = 1, max_length = 255)]
    path: String,
    /// `manifest_path`, `timestamp`, `resource_kind`, `resource_name`, `drift_type`.
    #[schema(required = false, value_type = Option<Object>)]
    metadata: Option<Value>,
}

/// A recorded drift.
#[derive(Serialize, ToSchema)]
struct DriftRecorded {
    /// Always true.
    ok: bool,
    /// Always `drift_recorded`.
    status: &'static str,
    /// The manifest.
    manifest: String,
    /// The event that was stored for it.
    event_id: String,
}

/// Takes a drift that a script reports.
#[utoipa::path(post, path = "/drift", tag = "ingest", security(("token" = ["ingest"])),
    request_body = DriftReport,
    responses((status = 201, description = "Recorded", body = DriftRecorded),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn report(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<(StatusCode, Json<DriftRecorded>), Problem> {
    let value = object(&api, &headers, sent).await?;
    let mut fields =
        Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let path = fields.text("path", 1..=255, true);
    let metadata = Value::Object(fields.object("metadata").unwrap_or_default());
    let (Some(path), true) = (path, fields.faults.is_empty()) else {
        return Err(Problem::invalid(fields.faults));
    };
    let manifest = word(&metadata["manifest_path"], &path);
    let (kind, name) = (word(&metadata["resource_kind"], ""), word(&metadata["resource_name"], ""));
    let resource = match (kind.is_empty(), name.is_empty()) {
        (false, false) => word(&json!(format!("{kind}/{name}")), &path),
        (true, false) => name,
        (_, true) => word(&json!(path), "unknown"),
    };
    let drift_type = word(&metadata["drift_type"], "unknown");
    let severity = match drift_type.as_str() {
        "missing" => "high",
        "mismatch" => "medium",
        _ => "low",
    };
    let drift = Drifted {
        resource,
        namespace: word(&metadata["namespace"], "default"),
        severity: severity.to_owned(),
        manifest: manifest.clone(),
        details: details(json!({"reason": drift_type, "manifest_path": manifest}), &metadata),
        kind: drift_type,
        event_id: 0,
        action_id: None,
        resolved: false,
    };
    let event_id = store(&api, &principal, drift, input::time(&metadata["timestamp"])).await?;
    Ok((StatusCode::CREATED, Json(DriftRecorded { ok: true, status: "drift_recorded", manifest, event_id })))
}
