//! What an action would do: its plugin in plan mode.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::create::{NewActionBody, draft};
use super::{absent, id};
use crate::api::Api;
use crate::api::door::Principal;
use crate::api::input;
use crate::api::problem::{self, Problem};
use crate::domain::approval::State as Standing;
use crate::domain::plan::PlanReport;
use crate::pipeline::preview::{Preview, Wanted, preview};
use crate::pipeline::worker::refusal;
use crate::plugin::RouteError;
use crate::store::Task;

/// What an action would do.
#[derive(Serialize, ToSchema)]
#[schema(as = PlanAnswer)]
pub(super) struct Answer {
    /// Always true.
    ok: bool,
    /// It.
    plan: PlanReport,
    /// How far it can be believed.
    note: String,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

impl Answer {
    fn of(plan: PlanReport, warnings: Vec<String>) -> Json<Self> {
        let note = match (plan.holds_up_to, plan.mutating.first()) {
            (Some(n), _) => format!(
                "As long as what it reads stays the same, the live run does the same up to call {n}, the first that would \
                 change something; what follows rests on the answers that the host made up in place of the other side's"
            ),
            (None, Some(_)) => {
                "As long as what it reads stays the same, the live run does the same to the end, by the word \
                 of the plugin's author"
                    .to_owned()
            }
            (None, None) => {
                "As long as what it reads stays the same, the live run changes nothing".to_owned()
            }
        };
        Json(Self { ok: true, plan, note, warnings })
    }
}

/// Tells what an action would do, without making it.
///
/// The plugin runs in the same sandbox with the same code and the same limits, and is not told: calls that read are made,
/// calls that change something are written down in order and answered by the host. Nothing outside is changed. The body is
/// that of an action to make.
#[utoipa::path(post, path = "/api/v1/actions/plan", tag = "actions", security(("token" = ["operate"])),
    request_body = NewActionBody,
    responses((status = 200, description = "What it would do", body = Answer),
        (status = 403, description = "This token may not touch its target", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 409, description = "No plugin here carries it out", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body),
        (status = 429, description = "Enough plans are being made here", body = problem::Body)))]
pub(super) async fn plan_new(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Answer>, Problem> {
    let value = input::json(&api, &headers, sent).await?;
    let (draft, warnings) = draft(&api, &value)?;
    principal.touch(&draft.target)?;
    let task = Task::made_up(&draft, api.clock.now());
    Ok(Answer::of(made(&api, (&task, None), ("", 0, 0), &principal).await?, warnings))
}

/// Tells what an action that exists would do now, and keeps it with the action in place of what was found before.
///
/// Who approves an action that waits is shown the calls that were found, and a yes is then bound to them. Otherwise as for an
/// action that is not made.
#[utoipa::path(post, path = "/api/v1/actions/{action_id}/plan", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)),
    responses((status = 200, description = "What it would do", body = Answer),
        (status = 403, description = "This token may not touch its target", body = problem::Body),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 409, description = "No plugin here carries it out", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body),
        (status = 429, description = "Enough plans are being made here", body = problem::Body)))]
pub(super) async fn plan(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
) -> Result<Json<Answer>, Problem> {
    let id = id(&text, "action")?;
    let task = api.store.task(id).await?.ok_or_else(|| absent("action", &text))?;
    principal.touch(&task.target)?;
    // A yes is bound to the policy that asks for it, and so is what it sees.
    let asked = match task.approval() {
        Some(approval) if approval.state == Standing::Waiting => Some(approval.plan),
        Some(_) | None => None,
    };
    let policy = match &asked {
        Some(plan) => (plan.policy.as_str(), plan.policy_id, plan.policy_version),
        None => (task.policy_name.as_deref().unwrap_or_default(), 0, 0),
    };
    Ok(Answer::of(made(&api, (&task, Some(id)), policy, &principal).await?, Vec::new()))
}

/// What an action would do, as it was found when somebody last asked.
#[utoipa::path(get, path = "/api/v1/actions/{action_id}/plan", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)),
    responses((status = 200, description = "What was found", body = Answer),
        (status = 403, description = "This token may not touch its target", body = problem::Body),
        (status = 404, description = "There is none, or nobody has asked", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
pub(super) async fn planned(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
) -> Result<Json<Answer>, Problem> {
    let id = id(&text, "action")?;
    let row = api.store.action(id).await?.ok_or_else(|| absent("action", &text))?;
    principal.touch(&row.target)?;
    if let Some(report) = api.store.plan_of(id).await? {
        return Ok(Answer::of(report, Vec::new()));
    }
    Err(Problem::missing(format!("Nobody has asked yet what action {id} would do: POST to the same path")))
}

async fn made(
    api: &Api,
    (task, id): (&Task, Option<i64>),
    policy: (&str, i64, i64),
    principal: &Principal,
) -> Result<PlanReport, Problem> {
    let pushes = api.remediation.push.is_some();
    let route = match api.plugins.route(&task.kind, &task.target) {
        Ok(route) if route.bound() || !pushes => route,
        Ok(_) | Err(RouteError::NoPlugin) if pushes => {
            let why =
                "no_plugin: it is pushed to a remediator, and what that would do cannot be seen from here";
            return Err(Problem::conflict(why));
        }
        Ok(_) => return Err(Problem::conflict(refusal(&task.kind, &RouteError::NoPlugin))),
        Err(wrong) => return Err(Problem::conflict(refusal(&task.kind, &wrong))),
    };
    let wanted = Wanted { task, id, policy, route, by: principal.actor() };
    let Some(Preview { report, basis }) =
        preview(&api.plugins, &api.clock, wanted, api.ending.child_token()).await
    else {
        let busy = "Other plans are being made on this server; ask again when they are done";
        return Err(Problem::limited(StatusCode::TOO_MANY_REQUESTS, busy, 5));
    };
    api.store.keep_plan(&report, &basis).await?;
    Ok(report)
}
