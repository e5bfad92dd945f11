//! Actions over HTTP: listed, shown, made by hand, queued, cancelled, resolved.

mod approve;
mod change;
mod create;
mod detail;
mod plan;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::describe::aliased;
use super::ingest::Part;
use super::lax;
use super::params::Paging;
pub(super) use super::params::{Params, absent, id};
use super::problem::{self, Problem};
use crate::domain::policy::Priority;
use crate::domain::{Phase, WireStatus};
use crate::store::{ActionFilter, AttemptRow, Place};
pub(super) use approve::{ApprovalDetail, of_actions};
pub(super) use create::{made, manual, plain, target};
pub(super) use detail::ActionDetail;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(aliased(routes!(list, create::create), &["/actions"]))
        .routes(routes!(health))
        .routes(routes!(plan::plan_new))
        .routes(routes!(plan::plan, plan::planned))
        .routes(routes!(by_status))
        .routes(aliased(routes!(show), &["/actions/{action_id}"]))
        .routes(routes!(attempts))
        .routes(routes!(change::cancel))
        .routes(routes!(change::set_status))
        .routes(routes!(change::queue))
        .routes(routes!(change::resolve))
        .routes(routes!(approve::approve))
        .routes(routes!(approve::reject))
}

/// That actions are served.
#[utoipa::path(get, path = "/api/v1/actions/health", tag = "actions", security(()),
    responses((status = 200, description = "They are", body = Part)))]
async fn health() -> Json<Part> {
    Json(Part { status: "healthy", service: "actions" })
}

/// A page of actions, newest first.
#[derive(Serialize, ToSchema)]
struct ActionList {
    /// How many follow.
    count: usize,
    /// How many there are on all pages.
    total: i64,
    /// This page's number, from 1.
    page: i64,
    /// Most actions of a page.
    page_size: i64,
    /// Names the next page; null: this is the last one.
    next_cursor: Option<String>,
    /// Them.
    actions: Vec<ActionDetail>,
}

fn phases(status: WireStatus) -> Vec<Phase> {
    Phase::ALL.into_iter().filter(|phase| phase.wire() == status).collect()
}

fn status(word: &str) -> Result<WireStatus, Problem> {
    WireStatus::from_word(word).ok_or_else(|| {
        Problem::bad("Invalid status. Must be one of: pending, running, completed, failed, cancelled")
    })
}

/// Where an action can come from.
const ORIGINS: [&str; 4] = ["policy", "api", "pull", "simulator"];

fn filter(params: &mut Params) -> Result<ActionFilter, Problem> {
    let (from, to) = (params.time("start_time"), params.time("end_time"));
    let mut filter = ActionFilter {
        target: params.word("target"),
        kind: params.word("action"),
        policy: params.word("policy_name"),
        origin: params.word("origin"),
        from,
        to,
        ..ActionFilter::default()
    };
    if params.text("incident_id").is_some_and(|text| !text.is_empty()) {
        filter.incident = Some(params.int("incident_id", 0..=i64::MAX, 0));
    }
    if !filter.origin.is_empty() && !ORIGINS.contains(&filter.origin.as_str()) {
        let msg = format!("Value error, origin is one of {}", ORIGINS.join(", "));
        params.fault("value_error", "origin", msg);
    }
    let priority = params.word("priority");
    filter.priority = Priority::from_word(&priority).map(Priority::number);
    if !priority.is_empty() && filter.priority.is_none() {
        let msg = "Value error, priority is one of low, medium, high";
        params.fault("value_error", "priority", msg);
    }
    let mut phases_wanted: Option<Vec<Phase>> = None;
    if let Some(word) = params.text("status").filter(|word| !word.is_empty()) {
        phases_wanted = Some(phases(status(word)?));
    }
    if let Some(word) = params.text("state").filter(|word| !word.is_empty()) {
        let phase =
            Phase::from_word(word).ok_or_else(|| Problem::bad(format!("there is no state `{word}`")))?;
        let both = phases_wanted.is_none_or(|wanted| wanted.contains(&phase));
        phases_wanted = Some(if both { vec![phase] } else { Vec::new() });
    }
    filter.phases = phases_wanted;
    Ok(filter)
}

/// Lists actions, newest first. Filters combine; a page that lies past the end is empty.
#[utoipa::path(get, path = "/api/v1/actions", tag = "actions", security(("token" = ["read"])),
    params(("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "Actions of a page; 50"),
        ("page" = Option<i64>, Query, minimum = 1, description = "Which page; 1"),
        ("cursor" = Option<String>, Query, description = "Instead of a page: `next_cursor` of the answer before, with the same filters"),
        ("status" = Option<String>, Query, description = "pending, running, completed, failed or cancelled; another is 400"),
        ("state" = Option<String>, Query, description = "The finer state; an unknown one is 400"),
        ("target" = Option<String>, Query, description = "Exactly this target"),
        ("action" = Option<String>, Query, description = "Exactly this kind"),
        ("policy_name" = Option<String>, Query, description = "Made by this policy"),
        ("incident_id" = Option<lax::Whole>, Query, description = "Of this incident; empty is none"),
        ("origin" = Option<String>, Query, description = "policy, api, pull or simulator"),
        ("priority" = Option<String>, Query, description = "low, medium or high"),
        ("start_time" = Option<String>, Query, description = "Made then or later: RFC 3339, a date or unix seconds"),
        ("end_time" = Option<String>, Query, description = "Made then or earlier")),
    responses((status = 200, description = "The page", body = ActionList),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<ActionList>, Problem> {
    let mut params = Params::new(query);
    let paging = params.paging("actions");
    let filter = filter(&mut params)?;
    params.done()?;
    page_of(&api, &filter, &paging).await
}

async fn page_of(api: &Api, filter: &ActionFilter, paging: &Paging) -> Result<Json<ActionList>, Problem> {
    let (mut rows, total) = api.store.actions(filter, paging.part()).await?;
    let next_cursor = paging.cut(&mut rows, |row| Place { at: row.created_at().micros(), id: row.id });
    let mut approvals = of_actions(api, &rows).await?;
    let detail = |row| ActionDetail::of(row).map(|detail| detail.with(approvals.remove(&row.id)));
    let actions = rows.iter().map(detail).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(ActionList {
        count: actions.len(),
        total,
        page: paging.page,
        page_size: paging.limit,
        next_cursor,
        actions,
    }))
}

/// Lists actions of one status, newest first.
#[utoipa::path(get, path = "/api/v1/actions/status/{action_status}", tag = "actions", security(("token" = ["read"])),
    params(("action_status" = String, Path, description = "pending, running, completed, failed or cancelled; another is 400"),
        ("limit" = Option<i64>, Query, description = "How many; 50, cut to 1 to 500")),
    responses((status = 200, description = "The newest of them; `next_cursor` continues in /api/v1/actions?status=…", body = ActionList),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn by_status(
    State(api): State<Api>,
    Path(word): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<ActionList>, Problem> {
    let mut params = Params::new(query);
    let limit = params.int("limit", i64::MIN..=i64::MAX, 50).clamp(1, 500);
    params.done()?;
    let filter = ActionFilter { phases: Some(phases(status(&word)?)), ..ActionFilter::default() };
    let paging = Params::new(Some(format!("status={word}&limit={limit}"))).paging("actions");
    page_of(&api, &filter, &paging).await
}

/// One action.
#[utoipa::path(get, path = "/api/v1/actions/{action_id}", tag = "actions", security(("token" = ["read"])),
    params(("action_id" = i64, Path)),
    responses((status = 200, description = "The action", body = ActionDetail),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
async fn show(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<ActionDetail>, Problem> {
    let row = api.store.action(id(&text, "action")?).await?.ok_or_else(|| absent("action", &text))?;
    let approval = of_actions(&api, std::slice::from_ref(&row)).await?.remove(&row.id);
    Ok(Json(ActionDetail::of(&row)?.with(approval)))
}

/// The runs of an action.
#[derive(Serialize, ToSchema)]
struct Attempts {
    /// The action.
    action_id: i64,
    /// In order.
    attempts: Vec<AttemptRow>,
}

/// The attempts of an action, with what each asked of connections.
#[utoipa::path(get, path = "/api/v1/actions/{action_id}/attempts", tag = "actions", security(("token" = ["read"])),
    params(("action_id" = i64, Path)),
    responses((status = 200, description = "Each run", body = Attempts),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
async fn attempts(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Attempts>, Problem> {
    let id = id(&text, "action")?;
    api.store.action(id).await?.ok_or_else(|| absent("action", &text))?;
    Ok(Json(Attempts { action_id: id, attempts: api.store.attempts(id).await? }))
}
