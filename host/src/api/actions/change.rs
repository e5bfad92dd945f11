//! Actions changed by hand: cancelled, given a status, queued, resolved.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{absent, id};
use crate::api::door::Principal;
use crate::api::input::{self, Fields};
use crate::api::params::unknown;
use crate::api::problem::{self, Problem};
use crate::api::{Api, silences};
use crate::domain::action::Step;
use crate::domain::decide::Reason;
use crate::domain::opposites::{Conflict, Of};
use crate::domain::rail::Rail;
use crate::domain::{Phase, WireStatus};
use crate::store::{Cancelled, Moved, StatusSet, Wanted};

fn fields(value: &Value) -> Result<Fields<'_>, Problem> {
    Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))
}

/// Counts what became of a change, and tells the workers what it made ready.
fn settle(api: &Api, ready: &[(i64, i64)], moved: Option<&Moved>) {
    api.queue.announce(ready);
    api.metrics.moved(moved.map(Moved::words));
}

/// Renders what became of a change.
fn changed(api: &Api, text: &str, done: Cancelled) -> Result<(Phase, Phase), Problem> {
    match done {
        Cancelled::Missing => Err(absent("action", text)),
        Cancelled::Refused(phase) => {
            let (status, state) = (phase.wire().word(), phase.word());
            Err(Problem::bad(format!("Action {text} can't be changed: it is {status} ({state})")))
        }
        Cancelled::Held(reason) => Err(Problem::conflict(held(&reason))),
        Cancelled::Done { before, after, ready, moved } => {
            settle(api, &ready, moved.as_ref());
            Ok((before, after))
        }
    }
}

/// Why an action may not be queued, in words.
fn held(reason: &Reason) -> String {
    let until = reason.until().map_or_else(String::new, |until| format!(", until {until}"));
    if matches!(reason, Reason::Paused { .. }) {
        return format!("all automation is paused{until}; DELETE /api/v1/pause lets it go on");
    }
    if let Reason::Rail(Rail::Opposite(Conflict { action: Of::Known(id), done, wanted, .. })) = reason {
        return format!(
            "{wanted} is the opposite of {done}, action {id}, which was just done to this target{until}"
        );
    }
    format!("policies and people together have made as many actions as guardrails.max_actions allows{until}")
}

/// Why an action is cancelled.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `cancel` reads")]
pub(super) struct CancelBody {
    /// In words.
    #[schema(required = false, max_length = 500)]
    reason: Option<String>,
}

/// A cancelled action.
#[derive(Serialize, ToSchema)]
pub(super) struct CancelAnswer {
    /// Always true.
    ok: bool,
    /// The action.
    action_id: i64,
    /// For people.
    message: &'static str,
    /// Its status before.
    previous_status: WireStatus,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Cancels an action that has not ended (400 otherwise). A running attempt is stopped; its result changes
/// nothing any more.
#[utoipa::path(put, path = "/api/v1/actions/{action_id}/cancel", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)),
    request_body(content = Option<CancelBody>, description = "May be absent"),
    responses((status = 200, description = "Cancelled", body = CancelAnswer),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn cancel(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<CancelAnswer>, Problem> {
    let id = id(&text, "action")?;
    let value = input::optional(&api, &headers, sent).await?.filter(|value| !value.is_null());
    let value = value.unwrap_or_else(|| json!({}));
    let mut fields = fields(&value)?;
    let reason = fields.text("reason", 0..=500, false).unwrap_or_default();
    let warnings = unknown(fields.strangers(&["reason"]));
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    let done = api.store.cancel_action(id, &reason, &principal.actor(), api.clock.now()).await?;
    let (before, _) = changed(&api, &text, done)?;
    api.running.revoke(id);
    let message = "Action cancelled successfully";
    Ok(Json(CancelAnswer { ok: true, action_id: id, message, previous_status: before.wire(), warnings }))
}

/// The status an action is to have.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `set_status` reads")]
pub(super) struct StatusBody {
    /// One of the five.
    status: WireStatus,
    /// For people; absent: as it was.
    #[schema(required = false, max_length = 1000)]
    details: Option<String>,
    /// Why it failed.
    #[schema(required = false, max_length = 1000)]
    error_message: Option<String>,
}

/// An action with another status.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusAnswer {
    /// Always true.
    ok: bool,
    /// The action.
    action_id: i64,
    /// For people.
    message: &'static str,
    /// Its status before.
    previous_status: WireStatus,
    /// Its status now.
    new_status: WireStatus,
    /// The finer state.
    state: Phase,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Gives an action a status. Pending and running may become any other, failed becomes pending again, completed
/// and cancelled are final; an action under a lease can only be cancelled.
#[utoipa::path(put, path = "/api/v1/actions/{action_id}/status", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)), request_body = StatusBody,
    responses((status = 200, description = "It has that status", body = StatusAnswer),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 409, description = "Not from the status it has, or not under a lease", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn set_status(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<StatusAnswer>, Problem> {
    let id = id(&text, "action")?;
    let value = input::json(&api, &headers, sent).await?;
    let mut fields = fields(&value)?;
    let word = fields.text("status", 1..=32, true);
    let status = word.as_deref().and_then(WireStatus::from_word);
    if word.is_some() && status.is_none() {
        let msg = "Value error, status is one of pending, running, completed, failed, cancelled";
        fields.fault("value_error", "status", msg);
    }
    let details = fields.text("details", 0..=1000, false);
    let error = fields.text("error_message", 0..=1000, false);
    let warnings = unknown(fields.strangers(&["status", "details", "error_message"]));
    let (Some(status), true) = (status, fields.faults.is_empty()) else {
        return Err(Problem::invalid(fields.faults));
    };
    let actor = principal.actor();
    let wanted = Wanted { status, details, error, max_attempts: api.settings.max_attempts(), actor: &actor };
    match api.store.set_status(id, wanted, api.clock.now()).await? {
        StatusSet::Missing => Err(absent("action", &text)),
        StatusSet::Refused(why) => Err(Problem::conflict(why)),
        StatusSet::Held(reason) => Err(Problem::conflict(held(&reason))),
        StatusSet::Done { before, after, ready, moved } => {
            settle(&api, &ready, moved.as_ref());
            if after == Phase::Cancelled {
                api.running.revoke(id);
            }
            if matches!(after, Phase::Ready | Phase::Blocked) && moved.is_some() {
                api.metrics.queue_operation("enqueue");
            }
            Ok(Json(StatusAnswer {
                ok: true,
                action_id: id,
                message: "Action status updated",
                previous_status: before,
                new_status: after.wire(),
                state: after,
                warnings,
            }))
        }
    }
}

/// An action and where it stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Stands {
    /// Always true.
    ok: bool,
    /// The action.
    action_id: i64,
    /// For people.
    message: &'static str,
    /// Its status.
    status: WireStatus,
    /// The finer state.
    state: Phase,
    /// A silence that is about it; it is not held back by that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Puts a held action in the queue.
#[utoipa::path(post, path = "/api/v1/actions/{action_id}/queue", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)),
    responses((status = 200, description = "It is in the queue", body = Stands),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 409, description = "All automation is paused, or its actions in this window are used up", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
pub(super) async fn queue(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
) -> Result<Json<Stands>, Problem> {
    let id = id(&text, "action")?;
    let done = api.store.queue_action(id, &principal.actor(), api.clock.now()).await?;
    let (_, after) = changed(&api, &text, done)?;
    api.metrics.queue_operation("enqueue");
    let warnings = match api.store.action(id).await? {
        Some(row) => silences::warning(&api, &row.target, &row.kind, api.clock.now()).await?,
        None => None,
    };
    Ok(Json(Stands {
        ok: true,
        action_id: id,
        message: "Action queued",
        status: after.wire(),
        state: after,
        warnings: warnings.into_iter().collect(),
    }))
}

/// What came of an action whose outcome nobody knew.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `resolve` reads")]
pub(super) struct ResolveBody {
    /// `completed`, `failed` or `retry`.
    outcome: String,
    /// For the audit.
    #[schema(required = false, max_length = 1000)]
    note: Option<String>,
}

/// Says what came of an action whose outcome is unknown (400 where it is known).
#[utoipa::path(post, path = "/api/v1/actions/{action_id}/resolve", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)), request_body = ResolveBody,
    responses((status = 200, description = "Resolved", body = Stands),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn resolve(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Stands>, Problem> {
    let id = id(&text, "action")?;
    let value = input::json(&api, &headers, sent).await?;
    let mut fields = fields(&value)?;
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
    Ok(Json(Stands {
        ok: true,
        action_id: id,
        message: "Action resolved",
        status: after.wire(),
        state: after,
        warnings: Vec::new(),
    }))
}
