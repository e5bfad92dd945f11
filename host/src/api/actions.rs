//! Actions over HTTP: listed, made by hand, queued, cancelled, resolved.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::describe::aliased;
use super::door::Principal;
use super::ingest::Part;
use super::input::{self, Fields};
use super::problem::{self, Invalid, Problem};
use crate::domain::action::Step;
use crate::domain::event::normal_name;
use crate::domain::policy::Priority;
use crate::domain::{Phase, WireStatus};
use crate::store::{ActionFilter, ActionRow, Cancelled, NewAction};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(aliased(routes!(list, create), &["/actions"]))
        .routes(routes!(health))
        .routes(routes!(by_status))
        .routes(aliased(routes!(show), &["/actions/{action_id}"]))
        .routes(routes!(attempts))
        .routes(routes!(cancel))
        .routes(routes!(queue))
        .routes(routes!(resolve))
}

/// That actions are served.
#[utoipa::path(get, path = "/api/v1/actions/health", tag = "actions", security(()),
    responses((status = 200, description = "They are", body = Part)))]
async fn health() -> Json<Part> {
    Json(Part { status: "healthy", service: "actions" })
}

fn detail(row: &ActionRow) -> Result<Value, Problem> {
    let phase = row.phase()?;
    let next = (phase == Phase::Scheduled).then(|| row.run_at());
    Ok(json!({
        "id": row.id,
        "target": row.target,
        "action": row.kind,
        "status": phase.wire(),
        "state": phase,
        "details": row.details,
        "error_message": row.error_message,
        "started_at": row.created_at(),
        "completed_at": row.completed_at(),
        "created_at": row.created_at(),
        "running_since": row.running_since(),
        "origin": row.origin,
        "policy_name": row.policy_name,
        "incident_id": row.incident_id,
        "event_id": row.event_id,
        "namespace": row.namespace,
        "priority": Priority::from_number(row.priority),
        "params": row.params(),
        "attempts": row.attempts,
        "max_attempts": row.max_attempts,
        "next_attempt_at": next,
        "plugin": row.plugin,
        "digest": row.digest,
        "effects": row.effects,
        "execution_id": row.execution_id,
        "verdict": null,
        "queued": row.queued,
        "simulated": row.simulated,
    }))
}

/// An id in a path: an integer that no row has is 404, anything else 422.
pub(super) fn id(text: &str, what: &str) -> Result<i64, Problem> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let loc = vec![json!("path"), json!(format!("{what}_id"))];
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        return Err(Problem::invalid(vec![Invalid::new("int_parsing", loc, msg, json!(text))]));
    }
    text.parse().map_err(|_| absent(what, text))
}

pub(super) fn absent(what: &str, id: &str) -> Problem {
    let mut name = what.to_owned();
    if let Some(first) = name.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    Problem::missing(format!("{name} with id {id} not found"))
}

/// Query parameters, decoded, the last of a name wins, with the faults they have.
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    faults: Vec<Invalid>,
}

impl Params {
    pub(super) fn new(query: Option<String>) -> Self {
        let query = query.unwrap_or_default();
        let url = reqwest::Url::parse(&format!("http://localhost/?{query}"));
        let pairs: Vec<(String, String)> =
            url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
        // No database keeps a NUL, and not every one takes it as a value to compare with.
        let nul = pairs.iter().filter(|(_, value)| value.contains('\0')).map(|(name, value)| {
            let loc = vec![json!("query"), json!(name)];
            Invalid::new("value_error", loc, "Value error, a text must not hold NUL", json!(value))
        });
        let faults = nul.collect();
        Self { pairs, faults }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn int(&mut self, name: &str, range: std::ops::RangeInclusive<i64>, default: i64) -> i64 {
        let Some(text) = self.text(name).map(str::to_owned) else { return default };
        let loc = vec![json!("query"), json!(name)];
        let Ok(number) = text.trim().parse::<i64>() else {
            let msg = "Input should be a valid integer, unable to parse string as an integer";
            self.faults.push(Invalid::new("int_parsing", loc, msg, json!(text)));
            return default;
        };
        if number < *range.start() {
            let (msg, ctx) = (
                format!("Input should be greater than or equal to {}", range.start()),
                json!({"ge": range.start()}),
            );
            self.faults.push(Invalid::new("greater_than_equal", loc, msg, json!(text)).ctx(ctx));
        } else if number > *range.end() {
            let (msg, ctx) = (
                format!("Input should be less than or equal to {}", range.end()),
                json!({"le": range.end()}),
            );
            self.faults.push(Invalid::new("less_than_equal", loc, msg, json!(text)).ctx(ctx));
        }
        number
    }

    fn time(&mut self, name: &str) -> Option<crate::domain::Timestamp> {
        let text = self.text(name).filter(|text| !text.is_empty())?.to_owned();
        let time = crate::domain::Timestamp::parse(&text);
        if time.is_none() {
            let msg = "Input should be a valid datetime";
            let loc = vec![json!("query"), json!(name)];
            self.faults.push(Invalid::new("datetime_from_date_parsing", loc, msg, json!(text)));
        }
        time
    }

    pub(super) fn done(self) -> Result<(), Problem> {
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

fn phases(status: WireStatus) -> Vec<Phase> {
    Phase::ALL.into_iter().filter(|phase| phase.wire() == status).collect()
}

fn status(word: &str) -> Result<WireStatus, Problem> {
    WireStatus::from_word(word).ok_or_else(|| {
        Problem::bad("Invalid status. Must be one of: pending, running, completed, failed, cancelled")
    })
}

/// Lists actions, newest first.
#[utoipa::path(get, path = "/api/v1/actions", tag = "actions", security(("token" = ["read"])),
    responses((status = 200, description = "Newest first", body = Value), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut params = Params::new(query);
    let (limit, page) = (params.int("limit", 1..=500, 50), params.int("page", 1..=i64::MAX / 1_000, 1));
    let (from, to) = (params.time("start_time"), params.time("end_time"));
    let mut filter = ActionFilter {
        target: params.text("target").filter(|target| !target.is_empty()).map(str::to_owned),
        from,
        to,
        limit,
        offset: (page - 1).saturating_mul(limit),
        ..ActionFilter::default()
    };
    if let Some(word) = params.text("status").filter(|word| !word.is_empty()) {
        filter.phases = phases(status(word)?);
    }
    if let Some(word) = params.text("state").filter(|word| !word.is_empty()) {
        let phase =
            Phase::from_word(word).ok_or_else(|| Problem::bad(format!("there is no state `{word}`")))?;
        filter.phases = vec![phase];
    }
    params.done()?;
    page_of(&api, &filter, page).await
}

async fn page_of(api: &Api, filter: &ActionFilter, page: i64) -> Result<Json<Value>, Problem> {
    let (rows, total) = api.store.actions(filter).await?;
    let actions = rows.iter().map(detail).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({
        "count": actions.len(), "total": total, "page": page, "page_size": filter.limit, "actions": actions,
    })))
}

/// Lists actions of one status.
#[utoipa::path(get, path = "/api/v1/actions/status/{action_status}", tag = "actions", security(("token" = ["read"])), params(("action_status" = String, Path)),
    responses((status = 200, description = "Newest first", body = Value), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn by_status(
    State(api): State<Api>,
    Path(word): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut params = Params::new(query);
    let limit = params.int("limit", i64::MIN..=i64::MAX, 50).clamp(1, 500);
    params.done()?;
    let filter = ActionFilter { phases: phases(status(&word)?), limit, ..ActionFilter::default() };
    page_of(&api, &filter, 1).await
}

/// One action.
#[utoipa::path(get, path = "/api/v1/actions/{action_id}", tag = "actions", security(("token" = ["read"])), params(("action_id" = i64, Path)),
    responses((status = 200, description = "The action", body = Value), (status = 404, description = "There is none", body = problem::Body), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn show(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Value>, Problem> {
    let row = api.store.action(id(&text, "action")?).await?.ok_or_else(|| absent("action", &text))?;
    Ok(Json(detail(&row)?))
}

/// The attempts of an action.
#[utoipa::path(get, path = "/api/v1/actions/{action_id}/attempts", tag = "actions", security(("token" = ["read"])), params(("action_id" = i64, Path)),
    responses((status = 200, description = "Each run", body = Value), (status = 404, description = "There is none", body = problem::Body), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn attempts(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Value>, Problem> {
    let id = id(&text, "action")?;
    api.store.action(id).await?.ok_or_else(|| absent("action", &text))?;
    Ok(Json(json!({"action_id": id, "attempts": api.store.attempts(id).await?})))
}

async fn body(api: &Api, headers: &HeaderMap, sent: Body, needed: bool) -> Result<Value, Problem> {
    input::media(headers)?;
    let bytes = input::collect(sent, api.limits.json_body, api.limits.body_timeout).await?;
    if !needed && bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    input::parse(&bytes)
}

/// Makes an action by hand.
#[utoipa::path(post, path = "/api/v1/actions", tag = "actions", security(("token" = ["operate"])), request_body = Value,
    responses((status = 201, description = "Made", body = Value), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let value = body(&api, &headers, sent, true).await?;
    let draft = draft(&api, &value)?;
    principal.touch(&draft.target)?;
    let (target, kind, priority, queued) =
        (draft.target.clone(), draft.kind.clone(), draft.priority, draft.queued);
    let now = api.clock.now();
    let created = api.store.create_action(draft, &principal.actor(), now).await?;
    if created.phase == Phase::Ready {
        api.queue.announce(&[(created.id, priority)]);
    }
    if queued {
        api.metrics.queue_operation("enqueue");
    }
    api.metrics.action(&target, &kind, created.phase.wire().word());
    let message = if queued {
        "Action created successfully and queued for execution"
    } else {
        "Action created successfully"
    };
    let answer = json!({
        "ok": true, "action_id": created.id, "message": message, "target": target, "action_type": kind,
        "status": "pending", "queued": queued, "created_at": now,
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

fn priority(fields: &mut Fields<'_>) -> Priority {
    match fields.text("priority", 1..=32, false) {
        None => Priority::default(),
        Some(word) => Priority::from_word(&word).unwrap_or_else(|| {
            fields.fault("value_error", "priority", "Value error, priority is one of low, medium, high");
            Priority::default()
        }),
    }
}

fn draft(api: &Api, value: &Value) -> Result<NewAction, Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let target = fields.text("target", 1..=255, true);
    let target = target.and_then(|target| match normal_name(&target) {
        Ok(name) => Some(name),
        Err(why) => {
            fields.fault("value_error", "target", format!("Value error, target {why}"));
            None
        }
    });
    let member = if fields.get("action").is_none() && fields.get("action_type").is_some() {
        "action_type"
    } else {
        "action"
    };
    let kind = fields.text(member, 1..=255, true);
    if let Some(word) = fields.text("status", 1..=32, false)
        && WireStatus::from_word(&word).is_none()
    {
        fields.fault(
            "value_error",
            "status",
            "Value error, status is one of pending, running, completed, failed, cancelled",
        );
    }
    let priority = priority(&mut fields);
    let queued = fields.flag("queue_immediately").unwrap_or(false);
    let params = fields.object("params").unwrap_or_default();
    let details = fields.text("details", 0..=4096, false);
    let namespace = fields.text("namespace", 1..=255, false);
    let (Some(target), Some(kind), true) = (target, kind, fields.faults.is_empty()) else {
        return Err(Problem::invalid(fields.faults));
    };
    let params = Value::Object(params);
    if let Ok(route) = api.plugins.route(&kind, &target) {
        super::policies::check_params(api, &route, &params)?;
    }
    Ok(NewAction {
        id: 0,
        phase: Phase::Held,
        execution_id: api.clock.id(),
        incident: None,
        policy: None,
        event_id: None,
        origin: "api",
        simulated: false,
        kind,
        target,
        target_kind: None,
        namespace,
        labels: "{}".to_owned(),
        params: params.to_string(),
        priority: priority.number(),
        max_attempts: api.settings.max_attempts(),
        queued,
        expires_at: None,
        details,
    })
}

/// Renders what became of a change, and tells the workers what it made ready.
fn changed(api: &Api, text: &str, done: Cancelled) -> Result<(Phase, Phase), Problem> {
    match done {
        Cancelled::Missing => Err(absent("action", text)),
        Cancelled::Refused(phase) => {
            Err(Problem::bad(format!("Action {text} can't be changed: it is {}", phase.word())))
        }
        Cancelled::Done { before, after, ready } => {
            api.queue.announce(&ready);
            Ok((before, after))
        }
    }
}

/// Cancels an action that has not ended.
#[utoipa::path(put, path = "/api/v1/actions/{action_id}/cancel", tag = "actions", security(("token" = ["operate"])), params(("action_id" = i64, Path)),
    responses((status = 200, description = "Cancelled", body = Value), (status = 404, description = "There is none", body = problem::Body), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn cancel(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Value>, Problem> {
    let id = id(&text, "action")?;
    let value = body(&api, &headers, sent, false).await?;
    let mut fields =
        Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let reason = fields.text("reason", 0..=500, false).unwrap_or_default();
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    let done = api.store.cancel_action(id, &reason, &principal.actor(), api.clock.now()).await?;
    let (before, _) = changed(&api, &text, done)?;
    api.running.revoke(id);
    Ok(Json(json!({
        "ok": true, "action_id": id, "message": "Action cancelled successfully", "previous_status": before.wire(),
    })))
}

/// Queues a held action.
#[utoipa::path(post, path = "/api/v1/actions/{action_id}/queue", tag = "actions", security(("token" = ["operate"])), params(("action_id" = i64, Path)),
    responses((status = 200, description = "Queued", body = Value), (status = 404, description = "There is none", body = problem::Body), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn queue(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id(&text, "action")?;
    let done = api.store.queue_action(id, &principal.actor(), api.clock.now()).await?;
    let (_, after) = changed(&api, &text, done)?;
    api.metrics.queue_operation("enqueue");
    Ok(Json(json!({"ok": true, "action_id": id, "message": "Action queued", "state": after})))
}

/// Says what came of an action whose outcome is unknown.
#[utoipa::path(post, path = "/api/v1/actions/{action_id}/resolve", tag = "actions", security(("token" = ["operate"])), params(("action_id" = i64, Path)), request_body = Value,
    responses((status = 200, description = "Resolved", body = Value), (status = 404, description = "There is none", body = problem::Body), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn resolve(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Value>, Problem> {
    let id = id(&text, "action")?;
    let value = body(&api, &headers, sent, true).await?;
    let mut fields =
        Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let note = fields.text("note", 0..=1000, false).unwrap_or_default();
    let step = match fields.text("outcome", 1..=32, true).as_deref() {
        Some("completed") => Some(Step::ResolveDone),
        Some("failed") => Some(Step::ResolveFailed),
        Some("retry") => Some(Step::ResolveRetry),
        Some(_) => {
            fields.fault("value_error", "outcome", "Value error, outcome is one of completed, failed, retry");
            None
        }
        None => None,
    };
    let (Some(step), true) = (step, fields.faults.is_empty()) else {
        return Err(Problem::invalid(fields.faults));
    };
    let done = api.store.resolve_action(id, step, &note, &principal.actor(), api.clock.now()).await?;
    let (_, after) = changed(&api, &text, done)?;
    Ok(Json(
        json!({"ok": true, "action_id": id, "message": "Action resolved", "state": after, "status": after.wire()}),
    ))
}
