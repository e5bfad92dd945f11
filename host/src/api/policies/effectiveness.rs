//! Whether what a policy does helps.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::find;
use crate::api::Api;
use crate::api::problem::{self, Problem};
use crate::store::Effect;

/// What one step has achieved.
#[derive(Serialize, ToSchema)]
struct StepEffect {
    /// The step, from 0: the policy's own action.
    step: i64,
    /// The kind of action.
    action: String,
    /// Actions it has made, those that are not judged yet included.
    made: i64,
    /// Those after which the condition was clear.
    healed: i64,
    /// Those after which it was met.
    not_healed: i64,
    /// Those after which nothing was observed.
    unknown: i64,
    /// Healed among those that were judged; null: none was.
    effectiveness: Option<f64>,
}

/// What a policy's steps have achieved.
#[derive(Serialize, ToSchema)]
pub(super) struct Effectiveness {
    /// The policy.
    policy_name: String,
    /// Each step that has made an action.
    steps: Vec<StepEffect>,
}

/// What each step of a policy has achieved since the policy was made: actions, and how many of them helped. Simulated ones
/// do not count.
#[utoipa::path(get, path = "/api/v1/policies/{policy_name}/effectiveness", tag = "policies", security(("token" = ["read"])),
    params(("policy_name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Per step", body = Effectiveness),
        (status = 404, description = "There is none", body = problem::Body)))]
pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Effectiveness>, Problem> {
    let policy = find(&api, &name).await?;
    let steps = api.store.effects(policy.id).await?.into_iter().map(step).collect();
    Ok(Json(Effectiveness { policy_name: name, steps }))
}

fn step(effect: Effect) -> StepEffect {
    let judged = effect.healed + effect.not_healed + effect.unknown;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let effectiveness = (judged > 0).then(|| effect.healed as f64 / judged as f64);
    StepEffect {
        step: effect.step,
        action: effect.kind,
        made: effect.made,
        healed: effect.healed,
        not_healed: effect.not_healed,
        unknown: effect.unknown,
        effectiveness,
    }
}
