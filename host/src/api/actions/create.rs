//! An action made by hand: read, checked, made once under each idempotency key.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::door::Principal;
use crate::api::input::{self, Fields};
use crate::api::lax::Flag;
use crate::api::params::{key, unknown};
use crate::api::problem::{self, Problem};
use crate::api::{Api, policies, silences};
use crate::domain::decide::Reason;
use crate::domain::event::normal_name;
use crate::domain::policy::Priority;
use crate::domain::{Phase, Timestamp, WireStatus};
use crate::store::{Created, Keyed, Making, NewAction};

/// Members that are read.
const MEMBERS: [&str; 9] = [
    "target",
    "action",
    "action_type",
    "status",
    "details",
    "queue_immediately",
    "priority",
    "params",
    "namespace",
];

/// An action to make. One of `action` and `action_type` is needed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `draft` reads")]
pub(super) struct NewActionBody {
    /// On what.
    #[schema(min_length = 1, max_length = 255, example = "web-01")]
    target: String,
    /// What kind of action.
    #[schema(required = false, min_length = 1, max_length = 255, example = "restart")]
    action: Option<String>,
    /// The same under its other name; `action` goes before it.
    #[schema(required = false, min_length = 1, max_length = 255)]
    action_type: Option<String>,
    /// Checked and then ignored: an action always begins as `pending`.
    #[schema(required = false)]
    status: Option<WireStatus>,
    /// For people.
    #[schema(required = false, max_length = 4096)]
    details: Option<String>,
    /// Whether it goes to the queue at once; false: it is held.
    #[schema(required = false)]
    queue_immediately: Option<Flag>,
    /// In which order it is claimed.
    #[schema(required = false)]
    priority: Option<Priority>,
    /// Parameters, as they reach whoever carries it out.
    #[schema(required = false, value_type = Option<Object>)]
    params: Option<Value>,
    /// The target's namespace.
    #[schema(required = false, min_length = 1, max_length = 255)]
    namespace: Option<String>,
}

/// A new action.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedAnswer {
    /// Always true.
    ok: bool,
    /// Its id.
    action_id: i64,
    /// For people.
    message: &'static str,
    /// On what.
    target: String,
    /// What kind of action.
    action_type: String,
    /// Always `pending`.
    status: WireStatus,
    /// The finer state.
    state: Phase,
    /// Whether it is in the queue.
    queued: bool,
    /// When it was made.
    created_at: Timestamp,
    /// Why it is held though it was to be queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    suppressed: Option<Suppressed>,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Why an action does not start.
#[derive(Serialize, ToSchema)]
pub(super) struct Suppressed {
    /// The reason's word: `paused`, `opposite` or `global_budget`.
    reason: &'static str,
    /// Until when, where that is known.
    until: Option<Timestamp>,
    /// The action whose opposite this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    action_id: Option<i64>,
}

impl Suppressed {
    fn by(reason: &Reason) -> Self {
        Self { reason: reason.word(), until: reason.until(), action_id: reason.action_id() }
    }
}

/// Makes an action by hand. It passes the same guardrails as those that policies make.
#[utoipa::path(post, path = "/api/v1/actions", tag = "actions", security(("token" = ["operate"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key and body gets the first answer; kept 24 h")),
    request_body = NewActionBody,
    responses((status = 201, description = "Made", body = CreatedAnswer),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn create(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let bytes = input::json_bytes(&api, &headers, sent).await?;
    let key = key("actions", &principal, &headers, &bytes)?;
    let (mut draft, mut warnings) = draft(&api, &input::parse(&bytes)?)?;
    principal.touch(&draft.target)?;
    let now = api.clock.now();
    warnings.extend(silences::warning(&api, &draft.target, &draft.kind, now).await?);
    let (target, kind, queued) = (draft.target.clone(), draft.kind.clone(), draft.queued);
    let answer = move |created: &Created| {
        let queued = queued && created.held.is_none();
        let answer = CreatedAnswer {
            ok: true,
            action_id: created.id,
            message: if queued {
                "Action created successfully and queued for execution"
            } else {
                "Action created successfully"
            },
            target: target.clone(),
            action_type: kind.clone(),
            status: WireStatus::Pending,
            state: created.phase,
            queued,
            created_at: now,
            suppressed: created.held.as_ref().map(Suppressed::by),
            warnings: warnings.clone(),
        };
        serde_json::to_string(&answer).unwrap_or_default()
    };
    let keyed = key.as_ref().map(|key| Keyed {
        scope: &key.scope,
        key: &key.key,
        body_hash: &key.body_hash,
        answer: &answer,
    });
    let text = match api.store.create_action(&mut draft, keyed, &principal.actor(), now).await? {
        Making::New(created) => {
            made(&api, &draft);
            answer(&created)
        }
        Making::Again(text) => text,
        Making::KeyReused => return Err(crate::pipeline::ingest::Refused::KeyReused.into()),
    };
    Ok((StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], Bytes::from(text)).into_response())
}

/// Counts a new action and tells the workers.
pub(in crate::api) fn made(api: &Api, draft: &NewAction) {
    if draft.phase == Phase::Ready {
        api.queue.announce(&[(draft.id, draft.priority)]);
    }
    if draft.queued {
        api.metrics.queue_operation("enqueue");
    }
    api.metrics.action(&draft.target, &draft.kind, draft.phase.wire().word());
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

/// A target's name, in its one form.
pub(in crate::api) fn target(fields: &mut Fields<'_>, member: &str) -> Option<String> {
    let given = fields.text(member, 1..=255, true)?;
    match normal_name(&given) {
        Ok(name) => Some(name),
        Err(why) => {
            fields.fault("value_error", member, format!("Value error, {member} {why}"));
            None
        }
    }
}

pub(super) fn draft(api: &Api, value: &Value) -> Result<(NewAction, Vec<String>), Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let target = target(&mut fields, "target");
    let member = if fields.get("action").is_none() && fields.get("action_type").is_some() {
        "action_type"
    } else {
        "action"
    };
    let kind = fields.text(member, 1..=255, true);
    if member == "action" {
        // Not taken, and a text all the same.
        let _ = fields.text("action_type", 1..=255, false);
    }
    if let Some(word) = fields.text("status", 1..=32, false)
        && WireStatus::from_word(&word).is_none()
    {
        let msg = "Value error, status is one of pending, running, completed, failed, cancelled";
        fields.fault("value_error", "status", msg);
    }
    let details = fields.text("details", 0..=4096, false);
    let queued = fields.flag("queue_immediately").unwrap_or(false);
    let priority = priority(&mut fields);
    let params = fields.object("params").unwrap_or_default();
    let namespace = fields.text("namespace", 1..=255, false);
    let warnings = unknown(fields.strangers(&MEMBERS));
    let (Some(target), Some(kind), true) = (target, kind, fields.faults.is_empty()) else {
        return Err(Problem::invalid(fields.faults));
    };
    let made = manual(api, (kind, target), params)?;
    Ok((NewAction { queued, priority: priority.number(), details, namespace, ..made }, warnings))
}

/// An action of that kind on that target, held; its parameters pass the schema of the plugin that serves it.
pub(in crate::api) fn manual(
    api: &Api,
    (kind, target): (String, String),
    params: Map<String, Value>,
) -> Result<NewAction, Problem> {
    if let Ok(route) = api.plugins.route(&kind, &target) {
        policies::check_params(api, &route, &Value::Object(params.clone()))?;
    }
    Ok(plain(api, (kind, target), params))
}

/// An action of that kind on that target, held, as it is when nothing else is said.
pub(in crate::api) fn plain(
    api: &Api,
    (kind, target): (String, String),
    params: Map<String, Value>,
) -> NewAction {
    NewAction {
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
        namespace: None,
        labels: "{}".to_owned(),
        params: Value::Object(params).to_string(),
        step: None,
        tells: false,
        priority: Priority::default().number(),
        max_attempts: api.settings.max_attempts(),
        timeout: None,
        queued: false,
        expires_at: None,
        details: None,
        plugin: None,
        approval: None,
    }
}
