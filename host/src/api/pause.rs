//! The pause: one switch that stops all automation on every server, and stays until somebody lets it go on.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::door::Principal;
use super::input::{self, Fields};
use super::params::unknown;
use super::policies::duration;
use super::problem::{self, Problem};
use crate::domain::Timestamp;
use crate::store::{Cancelled, Moved, Pause};

/// The longest time that may be given; what is to last longer is ended by hand.
const LONGEST: Duration = Duration::from_hours(24 * 365);

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, pause, resume))
}

/// Why and for how long.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `pause` reads")]
struct PauseBody {
    /// Why, for those who find it.
    #[schema(required = false, max_length = 500)]
    reason: Option<String>,
    /// How long, such as `2h`, or a number of seconds; absent: until somebody lets it go on.
    #[schema(required = false, value_type = Option<Object>)]
    duration: Option<Value>,
    /// Whether attempts that run now are stopped as well; else they finish.
    #[schema(required = false)]
    cancel_running: Option<super::lax::Flag>,
}

/// Whether automation is stopped.
#[derive(Serialize, ToSchema)]
#[schema(as = Pause)]
struct Standing {
    /// Whether it is.
    paused: bool,
    /// Since when.
    since: Option<Timestamp>,
    /// When it goes on by itself.
    until: Option<Timestamp>,
    /// Who stopped it.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// What came of a change.
#[derive(Serialize, ToSchema)]
#[schema(as = PauseChanged)]
struct Changed {
    /// Always true.
    ok: bool,
    /// For people.
    message: String,
    /// Actions that were running, or the running ones that were cancelled.
    actions: Vec<i64>,
    /// How it stands now.
    #[serde(flatten)]
    standing: Standing,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

impl Standing {
    fn of(pause: Option<Pause>) -> Self {
        let paused = pause.is_some();
        let (since, until, by, reason) = pause.map_or((None, None, None, None), |pause| {
            (Some(pause.since), pause.until, Some(pause.actor), Some(pause.reason))
        });
        Self { paused, since, until, by, reason: reason.filter(|reason| !reason.is_empty()) }
    }
}

/// Whether all automation is stopped.
#[utoipa::path(get, path = "/api/v1/pause", tag = "pause", security(("token" = ["read"])),
    responses((status = 200, description = "How it stands", body = Standing)))]
async fn show(State(api): State<Api>) -> Result<Json<Standing>, Problem> {
    Ok(Json(Standing::of(api.store.paused(api.clock.now()).await?)))
}

/// Stops all automation, on every server at once and over restarts: no policy acts, nothing that waits is started. What
/// runs finishes, unless it is to be cancelled. Said again, it replaces reason and end.
#[utoipa::path(post, path = "/api/v1/pause", tag = "pause", security(("token" = ["operate"])),
    request_body(content = Option<PauseBody>, description = "May be absent"),
    responses((status = 200, description = "It is stopped", body = Changed),
        (status = 403, description = "A token for some targets cannot stop everything", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn pause(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Changed>, Problem> {
    principal.touch_pattern("*")?;
    let value = input::optional(&api, &headers, sent).await?.filter(|value| !value.is_null());
    let value = value.unwrap_or_else(|| json!({}));
    let asked = read(&value)?;
    let now = api.clock.now();
    let until = asked.duration.map(|span| now.after(span));
    let (pause, running) = api.store.pause(until, (&principal.actor(), &asked.reason), now).await?;
    let actions = if asked.cancel { cancel(&api, &principal, running).await? } else { running };
    let message = match (actions.len(), asked.cancel) {
        (0, _) => "All automation is paused; nothing was running".to_owned(),
        (count, true) => format!("All automation is paused; running actions cancelled: {count}"),
        (count, false) => format!("All automation is paused; actions still running to their end: {count}"),
    };
    let standing = Standing::of(Some(pause));
    Ok(Json(Changed { ok: true, message, actions, standing, warnings: asked.warnings }))
}

/// Lets automation go on.
#[utoipa::path(delete, path = "/api/v1/pause", tag = "pause", security(("token" = ["operate"])),
    responses((status = 200, description = "It goes on, or was not stopped", body = Changed),
        (status = 403, description = "A token for some targets cannot do that", body = problem::Body)))]
async fn resume(State(api): State<Api>, principal: Principal) -> Result<Json<Changed>, Problem> {
    principal.touch_pattern("*")?;
    let before = api.store.resume(&principal.actor(), api.clock.now()).await?;
    let message = match before {
        Some(pause) => format!("Automation goes on; it was paused since {}", pause.since),
        None => "Automation was not paused".to_owned(),
    };
    let (actions, standing) = (Vec::new(), Standing::of(None));
    Ok(Json(Changed { ok: true, message, actions, standing, warnings: Vec::new() }))
}

struct Asked {
    reason: String,
    duration: Option<Duration>,
    cancel: bool,
    warnings: Vec<String>,
}

fn read(value: &Value) -> Result<Asked, Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let reason = fields.text("reason", 0..=500, false).unwrap_or_default();
    let given = fields.get("duration");
    let span = given.and_then(duration).filter(|span| !span.is_zero() && *span <= LONGEST);
    if given.is_some() && span.is_none() {
        let msg = "Value error, a duration is a text such as \"2h\" or a number of seconds, more than none and at \
                   most a year";
        fields.fault("value_error", "duration", msg);
    }
    let cancel = fields.flag("cancel_running").unwrap_or(false);
    let warnings = unknown(fields.strangers(&["reason", "duration", "cancel_running"]));
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    Ok(Asked { reason, duration: span, cancel, warnings })
}

/// Withdraws what is running. Answers those that were.
async fn cancel(api: &Api, principal: &Principal, running: Vec<i64>) -> Result<Vec<i64>, Problem> {
    let mut cancelled = Vec::new();
    for id in running {
        let why = "all automation was paused";
        let done = api.store.cancel_action(id, why, &principal.actor(), api.clock.now()).await?;
        if let Cancelled::Done { ready, moved, .. } = done {
            api.running.revoke(id);
            api.queue.announce(&ready);
            api.metrics.moved(moved.as_ref().map(Moved::words));
            cancelled.push(id);
        }
    }
    Ok(cancelled)
}
