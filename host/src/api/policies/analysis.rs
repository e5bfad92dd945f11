//! What a policy may do at worst, and whom it gets in the way of.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::find;
use crate::api::Api;
use crate::api::problem::{self, Problem};
use crate::domain::policy::Policy;
use crate::domain::worst::Worst;
use crate::engine::Compiled;
use crate::engine::analysis::{Analysis, Met, Oscillation, Overlap, analyze};

/// What can be known of a policy without an event.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyAnalysis)]
pub(super) struct Analyzed {
    /// The policy.
    policy_name: String,
    /// Whether it acts by itself; what is said of its actions else holds if it did.
    acts: bool,
    /// Its actions in an hour at worst.
    worst_case: Worst,
    /// Whether its condition can be met, as far as that is certain.
    condition: Met,
    /// Enabled policies that have targets in common with it: the first 100.
    overlaps: Vec<Overlap>,
    /// How many there are.
    #[schema(minimum = 0)]
    overlaps_total: usize,
    /// Those that would undo what it does, and be undone by it: the first 100.
    oscillates: Vec<Oscillation>,
    /// The same in words, as a change of the policy is answered.
    warnings: Vec<String>,
}

/// What a policy may do at worst, which policies share targets with it, which can oscillate with it, and whether its condition
/// can be met at all. It says nothing of which it is not certain.
#[utoipa::path(get, path = "/api/v1/policies/{policy_name}/analysis", tag = "policies", security(("token" = ["read"])),
    params(("policy_name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What is known of it", body = Analyzed),
        (status = 400, description = "Its condition can't be used by this version any more", body = problem::Body),
        (status = 404, description = "There is none", body = problem::Body)))]
pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Analyzed>, Problem> {
    let analysis = of(&api, find(&api, &name).await?).await?;
    let warnings = analysis.warnings();
    Ok(Json(Analyzed {
        policy_name: name,
        acts: analysis.acts,
        worst_case: analysis.worst,
        condition: analysis.met,
        overlaps: analysis.overlaps,
        overlaps_total: analysis.overlaps_total,
        oscillates: analysis.oscillates,
        warnings,
    }))
}

/// What the author of a policy that has just been saved should know; nothing where it can't be told.
pub(super) async fn warnings(api: &Api, policy: &Policy) -> Vec<String> {
    of(api, policy.clone()).await.map(|analysis| analysis.warnings()).unwrap_or_default()
}

async fn of(api: &Api, policy: Policy) -> Result<Analysis, Problem> {
    let (set, everywhere) = (api.in_force(), api.store.everywhere().clone());
    let known = set.by_id(policy.id).filter(|known| known.policy.version == policy.version).map(Arc::clone);
    // It may take a while among thousands of policies.
    let work = tokio::task::spawn_blocking(move || {
        let one = match known {
            Some(known) => known,
            None => Arc::new(Compiled::new(policy)?),
        };
        Ok(analyze(&one, set.all().map(|other| &**other), Some(&everywhere)))
    });
    let done = work.await;
    let done = done.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the check ended early"))?;
    done.map_err(|why: crate::engine::Fault| Problem::bad(why.to_string()))
}
