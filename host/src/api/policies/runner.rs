//! How the scheduled evaluation is doing.

use axum::Json;
use axum::extract::State;

use super::shape::{Runner, RunnerStatus};
use crate::api::Api;
use crate::api::problem::Problem;

/// The scheduled evaluation and how it is doing.
#[utoipa::path(get, path = "/api/v1/policies/runner/status", tag = "policies", security(("token" = ["read"])),
    responses((status = 200, description = "How it is doing", body = RunnerStatus)))]
pub(super) async fn status(State(api): State<Api>) -> Result<Json<RunnerStatus>, Problem> {
    let (settings, last) = (api.settings.now(), api.store.last_run().await?);
    let interval = api.settings.tick();
    let fresh = last.as_ref().is_some_and(|run| api.clock.now().since(run.at) < interval.saturating_mul(3));
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one run are far below 2^52")]
    let last_duration_ms = last.as_ref().map(|run| run.took_us as f64 / 1e3);
    let runner = Runner {
        enabled: settings.policy.enabled,
        running: settings.policy.enabled && fresh,
        interval_seconds: settings.policy.interval,
        batch_size: settings.policy.batch_size,
        last_run_at: last.as_ref().map(|run| run.at),
        last_duration_ms,
        leader: last.as_ref().map(|run| run.node.clone()),
        evaluated: last.as_ref().map(|run| run.evaluated),
    };
    Ok(Json(RunnerStatus { ok: true, runner }))
}
