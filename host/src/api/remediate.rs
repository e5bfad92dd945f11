//! The push side, received: a worker elsewhere posts an action, and waits for what comes of it. Off unless
//! switched on in the configuration.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::describe::aliased;
use super::door::Principal;
use super::input::{self, Fields};
use super::params::{hash, unknown};
use super::problem::{self, Problem};
use super::{Api, actions};
use crate::domain::policy::Severity;
use crate::domain::{Phase, WireStatus};
use crate::plugin::INSTALLATION;
use crate::store::{ActionRow, Created, Keyed, Making, NewAction};

/// The longest that a worker is kept waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Members that are read.
const MEMBERS: [&str; 10] = [
    "action",
    "target",
    "severity",
    "policy_id",
    "alert_id",
    "action_id",
    "request_id",
    "params",
    "attempt",
    "namespace",
];

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(aliased(routes!(remediate), &["/remediate/remediate"]))
}

/// An action that a worker elsewhere wants carried out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `read` reads")]
struct PushBody {
    /// What kind of action.
    #[schema(min_length = 1, max_length = 255)]
    action: String,
    /// On what.
    #[schema(min_length = 1, max_length = 255)]
    target: String,
    /// `info`, `warning` or `critical`: its priority.
    #[schema(required = false)]
    severity: Option<String>,
    /// The policy there.
    #[schema(required = false, value_type = Option<Value>)]
    policy_id: Option<Value>,
    /// The alert there.
    #[schema(required = false, value_type = Option<Value>)]
    alert_id: Option<Value>,
    /// The action there.
    #[schema(required = false, value_type = Option<Value>)]
    action_id: Option<Value>,
    /// The same over all tries of one action: it is carried out once. Without it, the header X-Request-ID.
    #[schema(required = false, max_length = 255)]
    request_id: Option<String>,
    /// Parameters.
    #[schema(required = false, value_type = Option<Object>)]
    params: Option<Value>,
    /// Which try this is.
    #[schema(required = false, value_type = Option<Value>)]
    attempt: Option<Value>,
    /// The target's namespace.
    #[schema(required = false, max_length = 255)]
    namespace: Option<String>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
struct PushAnswer {
    /// Whether it was done, or may still be.
    ok: bool,
    /// The action made here.
    action_id: i64,
    /// Its status.
    status: WireStatus,
    /// Why it failed.
    error_message: Option<String>,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Carries out an action for a worker elsewhere: makes and queues it, once per request id, and waits for its end
/// for at most 30 s. 404 unless `remediation.accept` is switched on.
#[utoipa::path(post, path = "/remediate", tag = "remediator", security(("token" = ["operate"])),
    request_body = PushBody,
    responses((status = 200, description = "It is done", body = PushAnswer),
        (status = 202, description = "It is still running; ask again with the same request id", body = PushAnswer),
        (status = 404, description = "Pushed actions are not taken here", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 409, description = "A server does not push to itself", body = problem::Body),
        (status = 422, description = "A member can't be used, or nobody here serves the action", body = problem::Body),
        (status = 502, description = "It failed or was cancelled", body = PushAnswer)))]
async fn remediate(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    if !api.remediation.accept {
        let text =
            "this server takes no pushed actions; remediation.accept in its configuration switches it on";
        return Err(Problem::missing(text));
    }
    let from = headers.get(INSTALLATION).and_then(|from| from.to_str().ok());
    if from == Some(api.remediation.installation.as_str()) {
        return Err(Problem::conflict("a server does not push to itself; see remediation.url"));
    }
    let value = input::json(&api, &headers, sent).await?;
    let (mut draft, request_id, warnings) = read(&api, &headers, &value)?;
    principal.touch(&draft.target)?;
    if api.store.paused(api.clock.now()).await?.is_some() {
        let text = "all automation is paused here; nothing is carried out until it goes on";
        return Err(Problem::limited(StatusCode::SERVICE_UNAVAILABLE, text, 30));
    }
    let id = once(&api, &principal, &mut draft, &request_id).await?;
    let begun = tokio::time::Instant::now();
    loop {
        let row = api.store.action(id).await?.ok_or_else(|| actions::absent("action", &id.to_string()))?;
        let phase = row.phase()?;
        if phase.ended() || begun.elapsed() >= PATIENCE || api.ending.is_cancelled() {
            return Ok(answer(row, phase, warnings));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn answer(row: ActionRow, phase: Phase, warnings: Vec<String>) -> Response {
    let (code, ok) = match phase.wire() {
        WireStatus::Completed => (StatusCode::OK, true),
        WireStatus::Pending | WireStatus::Running => (StatusCode::ACCEPTED, true),
        WireStatus::Failed | WireStatus::Cancelled => (StatusCode::BAD_GATEWAY, false),
    };
    let error_message =
        row.error_message.or_else(|| row.details.filter(|_| phase.wire() == WireStatus::Cancelled));
    let body = PushAnswer { ok, action_id: row.id, status: phase.wire(), error_message, warnings };
    (code, Json(body)).into_response()
}

/// Makes the action, unless that was done before under this request's id. Answers its id.
async fn once(
    api: &Api,
    principal: &Principal,
    draft: &mut NewAction,
    request_id: &str,
) -> Result<i64, Problem> {
    let answer = |created: &Created| created.id.to_string();
    let body_hash = hash(&json!([draft.kind, draft.target, draft.params]));
    let scope = format!("{}/remediate", principal.key());
    let keyed = Keyed { scope: &scope, key: request_id, body_hash: &body_hash, answer: &answer };
    match api.store.create_action(draft, Some(keyed), &principal.actor(), api.clock.now()).await? {
        Making::New(created) => {
            actions::made(api, draft);
            Ok(created.id)
        }
        Making::Again(text) => {
            text.parse().map_err(|_| Problem::conflict("this request id was used for something else"))
        }
        Making::KeyReused => Err(Problem::conflict("this request id was used for another action")),
    }
}

fn read(api: &Api, headers: &HeaderMap, value: &Value) -> Result<(NewAction, String, Vec<String>), Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let kind = fields.text("action", 1..=255, true);
    let target = actions::target(&mut fields, "target");
    let severity = fields.text("severity", 0..=32, false).filter(|word| !word.is_empty());
    let priority = match severity.as_deref().map(Severity::from_word) {
        None => Severity::default().priority(),
        Some(Some(severity)) => severity.priority(),
        Some(None) => {
            let msg = "Value error, severity is one of info, warning, critical";
            fields.fault("value_error", "severity", msg);
            Severity::default().priority()
        }
    };
    let request_id = fields.text("request_id", 0..=255, false).filter(|id| !id.is_empty());
    let params = fields.object("params").unwrap_or_default();
    let namespace = fields.text("namespace", 0..=255, false).filter(|text| !text.is_empty());
    let warnings = unknown(fields.strangers(&MEMBERS));
    let facts: Vec<String> = ["policy_id", "alert_id", "action_id"]
        .into_iter()
        .filter_map(|member| Some(format!("{member} {}", fields.get(member)?)))
        .map(|fact| fact.chars().take(256).collect())
        .collect();
    let (Some(kind), Some(target), true) = (kind, target, fields.faults.is_empty()) else {
        return Err(Problem::invalid(fields.faults));
    };
    // What we would push on would come back to us by some other way.
    let served = api.plugins.route(&kind, &target).is_ok_and(|route| route.bound());
    if api.remediation.push.is_some() && !served {
        let msg = "Value error, no plugin here serves this action, and what is pushed here is not pushed on";
        fields.fault("value_error", "action", msg);
        return Err(Problem::invalid(fields.faults));
    }
    let sent = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let sent = sent.filter(|id| (1..=255).contains(&id.len())).map(str::to_owned);
    let request_id = request_id.or(sent).unwrap_or_else(|| api.clock.id());
    let made = actions::manual(api, (kind, target), params)?;
    let details = Some(format!("Pushed as request {request_id}; {}", facts.join(", ")));
    let draft = NewAction { queued: true, priority: priority.number(), namespace, details, ..made };
    Ok((draft, request_id, warnings))
}
