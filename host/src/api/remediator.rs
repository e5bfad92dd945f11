//! The pull side: remediators take tasks under a lease and report what came of them.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::describe::aliased;
use super::door::Principal;
use super::input::{self, Fields};
use super::params::{Params, hash, unknown};
use super::problem::{self, Problem};
use super::{Api, actions};
use crate::domain::policy::Priority;
use crate::domain::{Phase, Timestamp, WireStatus};
use crate::store::{Ask, Lent, Moved, Offer, Report, Reported, Task};

/// Longest name of a remediator.
const NAME: usize = 255;
/// Members of a result that are read.
const MEMBERS: [&str; 13] = [
    "task_id",
    "timestamp",
    "status",
    "resource",
    "namespace",
    "action",
    "duration",
    "error_message",
    "details",
    "remediator_id",
    "remediator_version",
    "retry_attempts",
    "attempt",
];

pub(super) fn router() -> OpenApiRouter<Api> {
    let results = ["/api/v1/remediator/results", "/remediator/results"];
    let tasks = ["/api/v1/remediator/tasks", "/remediator/tasks"];
    OpenApiRouter::new()
        .routes(aliased(routes!(tasks_for), &tasks))
        .routes(aliased(routes!(result_of), &results))
        .routes(routes!(health))
}

/// What the owners of all leases begin with that a caller can have; its name follows.
fn prefix(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "remediator:".to_owned(),
        Principal::Token(_) => format!("remediator:{}:", principal.key()),
    }
}

/// That this process can carry out actions.
#[derive(Serialize, ToSchema)]
struct RemediatorHealth {
    /// Always `healthy`.
    status: &'static str,
    /// This process.
    remediator_id: String,
    /// Of this binary.
    version: &'static str,
    /// Attempts running here.
    active_tasks: usize,
}

/// That this process lives, in the words of a remediator.
#[utoipa::path(get, path = "/remediator/health", tag = "remediator", security(()),
    responses((status = 200, description = "It lives", body = RemediatorHealth)))]
async fn health(State(api): State<Api>) -> Json<RemediatorHealth> {
    Json(RemediatorHealth {
        status: "healthy",
        remediator_id: format!("vigil-{}", api.node),
        version: env!("CARGO_PKG_VERSION"),
        active_tasks: api.running.ids().len(),
    })
}

/// What a remediator may do now.
#[derive(Serialize, ToSchema)]
struct Tasks {
    /// High priority first, then the oldest.
    tasks: Vec<PullTask>,
}

/// One action, in a remediator's words, lent to it until `lease_until`.
#[derive(Serialize, ToSchema)]
struct PullTask {
    /// The action's id as text: `task_id` of the result.
    id: String,
    /// When the action was made, unix seconds.
    timestamp: i64,
    /// On what.
    resource: String,
    /// The target's namespace, or `default`.
    namespace: String,
    /// What to do, in the vocabulary of the Go remediator where it has a word for it.
    action: String,
    /// The policy's and the action's parameters.
    parameters: Map<String, Value>,
    /// `high`, `medium` or `low`.
    priority: Priority,
    /// The policy that made it; empty where none did.
    policy_id: String,
    /// Seconds for one try.
    timeout: u64,
    /// Tries.
    max_retries: u32,
    /// The kind of action as it was asked for.
    vigil_action: String,
    /// Until when a result counts.
    lease_until: Timestamp,
    /// Which attempt this is, from 1.
    attempt: i64,
}

/// Lends waiting actions to a remediator: held ones, and queued ones that no plugin here serves. Nobody else
/// gets a lent action while its lease holds.
#[utoipa::path(get, path = "/api/v1/actions/remediator/tasks", tag = "remediator", security(("token" = ["pull"])),
    params(("limit" = Option<i64>, Query, minimum = 1, maximum = 50, description = "Most tasks; 10"),
        ("remediator_id" = Option<String>, Query, description = "Who asks")),
    responses((status = 200, description = "The tasks, now its own", body = Tasks),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn tasks_for(
    State(api): State<Api>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Json<Tasks>, Problem> {
    let mut params = Params::new(query);
    let limit = params.int("limit", 1..=50, 10);
    let name = params.word("remediator_id").trim().to_owned();
    if name.chars().count() > NAME || name.chars().any(char::is_control) {
        params.fault(
            "value_error",
            "remediator_id",
            "Value error, a name has at most 255 printable characters",
        );
    }
    params.done()?;
    let owner = format!("{}{name}", prefix(&principal));
    let limit = usize::try_from(limit).unwrap_or(1);
    let ask = Ask { owner: &owner, limit, lease: api.remediation.lease() };
    let offer = |task: &Task| match principal.touch(&task.target) {
        Ok(()) => api.remediation.offer(&api.plugins, task),
        Err(_) => Offer::Keep,
    };
    let (lent, claimed) = api.store.pull(ask, api.clock.now(), offer).await?;
    api.queue.announce(&claimed.ready);
    api.metrics.moved(claimed.moved.iter().map(Moved::words));
    for _ in lent.iter().filter(|lent| !lent.task.held()) {
        api.metrics.queue_operation("dequeue");
    }
    Ok(Json(Tasks { tasks: lent.into_iter().map(|lent| task(&api, lent)).collect() }))
}

fn task(api: &Api, lent: Lent) -> PullTask {
    let task = lent.task;
    let params = serde_json::from_str(&task.params).unwrap_or_else(|_| json!({}));
    let (action, parameters) = api.remediation.told(&task.kind, &task.target, &params);
    PullTask {
        id: task.id.to_string(),
        timestamp: task.created_at.div_euclid(1_000_000),
        resource: task.target,
        namespace: task.namespace.unwrap_or_else(|| "default".to_owned()),
        action,
        parameters,
        priority: Priority::from_number(task.priority),
        policy_id: task.policy_name.unwrap_or_default(),
        timeout: api.remediation.task_timeout.as_secs(),
        max_retries: api.remediation.task_retries,
        vigil_action: task.kind,
        lease_until: lent.until,
        attempt: lent.attempt,
    }
}

/// What came of a task.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `read` reads")]
struct ResultBody {
    /// `id` of the task.
    #[schema(min_length = 1, max_length = 255)]
    task_id: String,
    /// When it ended, unix seconds.
    timestamp: i64,
    /// `success`, `failed`, `timeout` or `partial`.
    status: String,
    /// On what.
    #[schema(min_length = 1, max_length = 255)]
    resource: String,
    /// The target's namespace.
    #[schema(required = false, max_length = 255)]
    namespace: Option<String>,
    /// What was done.
    #[schema(min_length = 1, max_length = 255)]
    action: String,
    /// How long it took, in milliseconds.
    #[schema(required = false, default = 0)]
    duration: Option<i64>,
    /// Why it failed.
    #[schema(required = false, max_length = 4096)]
    error_message: Option<String>,
    /// Further facts.
    #[schema(required = false, value_type = Option<Object>)]
    details: Option<Value>,
    /// Who reports.
    #[schema(required = false, max_length = 255)]
    remediator_id: Option<String>,
    /// Its version.
    #[schema(required = false, max_length = 255)]
    remediator_version: Option<String>,
    /// Tries beyond the first.
    #[schema(required = false, default = 0)]
    retry_attempts: Option<i64>,
    /// `attempt` of the task, so that a result of an earlier one can't be taken for it.
    #[schema(required = false)]
    attempt: Option<i64>,
}

/// What became of a result.
#[derive(Serialize, ToSchema)]
struct ResultAnswer {
    /// Always true.
    ok: bool,
    /// The action it is about: the task's own, or a new one where the task is unknown.
    action_id: i64,
    /// For people.
    message: &'static str,
    /// That action's status now.
    status: WireStatus,
    /// Whether this result decided it; false where its lease is over or the action was ended meanwhile.
    applied: bool,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// One result as it was read.
struct Read {
    task_id: String,
    status: String,
    resource: String,
    namespace: Option<String>,
    action: String,
    duration: i64,
    error: Option<String>,
    details: Map<String, Value>,
    remediator: Option<String>,
    version: Option<String>,
    retries: i64,
    attempt: Option<i64>,
    timestamp: Timestamp,
}

/// Takes a result. It counts for the action that is under the reporter's lease, once; the same result sent again
/// changes nothing; a result for a task that nobody gave out is recorded as a new, finished action.
#[utoipa::path(post, path = "/api/v1/actions/remediator/results", tag = "remediator", security(("token" = ["pull"])),
    request_body = ResultBody,
    responses((status = 200, description = "Recorded", body = ResultAnswer),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn result_of(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<ResultAnswer>, Problem> {
    let (read, warnings) = read(&input::json(&api, &headers, sent).await?)?;
    principal.touch(&read.resource)?;
    let prefix = prefix(&principal);
    let owner = read.remediator.as_deref().map(|name| format!("{prefix}{name}"));
    let sent = reported(&api, &read, (owner.as_deref(), &prefix));
    let report = api.store.report(sent, api.clock.now()).await?;
    let Report { id, phase, applied, ready, moved } = report;
    api.queue.announce(&ready);
    api.metrics.moved(moved.as_ref().map(Moved::words));
    let message = "Result recorded successfully";
    Ok(Json(ResultAnswer { ok: true, action_id: id, message, status: phase.wire(), applied, warnings }))
}

fn read(value: &Value) -> Result<(Read, Vec<String>), Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let task_id = fields.text("task_id", 1..=255, true);
    let timestamp = match fields.need("timestamp").map(input::time) {
        Some(None) => {
            fields.fault("int_parsing", "timestamp", "Input should be unix seconds");
            None
        }
        other => other.flatten(),
    };
    let status = fields.text("status", 1..=32, true).and_then(|word| {
        if ["success", "failed", "timeout", "partial"].contains(&word.as_str()) {
            return Some(word);
        }
        let msg = "Value error, status is one of success, failed, timeout, partial";
        fields.fault("value_error", "status", msg);
        None
    });
    let resource = actions::target(&mut fields, "resource");
    let namespace = fields.text("namespace", 0..=255, false).filter(|text| !text.is_empty());
    let action = fields.text("action", 1..=255, true);
    let duration = fields.int("duration", 0..=i64::MAX).unwrap_or(0);
    let error = fields.text("error_message", 0..=4096, false).filter(|text| !text.is_empty());
    let details = fields.object("details").unwrap_or_default();
    let remediator = fields.text("remediator_id", 0..=NAME, false).filter(|text| !text.is_empty());
    let version = fields.text("remediator_version", 0..=NAME, false).filter(|text| !text.is_empty());
    let retries = fields.int("retry_attempts", 0..=i64::MAX).unwrap_or(0);
    let attempt = fields.int("attempt", 1..=i64::MAX);
    let warnings = unknown(fields.strangers(&MEMBERS));
    let needed = (task_id, timestamp, status, resource, action);
    let ((Some(task_id), Some(timestamp), Some(status), Some(resource), Some(action)), true) =
        (needed, fields.faults.is_empty())
    else {
        return Err(Problem::invalid(fields.faults));
    };
    let read = Read {
        task_id,
        status,
        resource,
        namespace,
        action,
        duration,
        error,
        details,
        remediator,
        version,
        retries,
        attempt,
        timestamp,
    };
    Ok((read, warnings))
}

fn reported<'a>(api: &Api, read: &Read, (owner, prefix): (Option<&'a str>, &'a str)) -> Reported<'a> {
    let success = read.status == "success";
    let outcome = match read.status.as_str() {
        "success" => "success",
        "timeout" => "timeout",
        "partial" => "partial",
        _ => "failed",
    };
    let error = (!success)
        .then(|| read.error.clone().unwrap_or_else(|| format!("The remediator reported: {}", read.status)));
    let result = json!({
        "status": read.status, "timestamp": read.timestamp, "resource": read.resource,
        "namespace": read.namespace, "action": read.action, "duration_ms": read.duration,
        "error_message": read.error, "details": read.details, "remediator_id": read.remediator,
        "remediator_version": read.version, "retry_attempts": read.retries,
    });
    let text = details(read);
    let mut draft = actions::plain(api, (read.action.clone(), read.resource.clone()), Map::new());
    draft.origin = "pull";
    draft.namespace.clone_from(&read.namespace);
    draft.details = Some(text.clone());
    Reported {
        action: read.task_id.parse().ok(),
        owner,
        prefix,
        attempt: read.attempt,
        phase: if success { Phase::Succeeded } else { Phase::Dead },
        outcome,
        details: text,
        error,
        key: hash(&json!([read.task_id, result])),
        result,
        draft,
    }
}

/// The result in one line, as older clients know it.
fn details(read: &Read) -> String {
    let mut parts = Vec::new();
    if !read.details.is_empty() {
        parts.push(format!("Details: {}", Value::Object(read.details.clone())));
    }
    if let Some(remediator) = &read.remediator {
        parts.push(format!("Remediator: {remediator}"));
    }
    if let Some(version) = &read.version {
        parts.push(format!("Version: {version}"));
    }
    parts.push(format!("Duration: {}ms", read.duration));
    parts.push(format!("Retries: {}", read.retries));
    parts.join(" | ")
}
