//! Policies over HTTP: made, read, changed, switched on and off, removed, read again from their files.

mod analysis;
mod backtest;
mod edit;
mod effectiveness;
pub mod files;
mod fleet;
mod pace;
mod promote;
mod read;
mod reload;
mod revisions;
mod runner;
mod schema;
mod shape;
mod steps;

use std::sync::PoisonError;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions::Params;
use super::door::Principal;
use super::input;
use super::problem::{self, Problem};
use super::{Api, etag};
use crate::domain::policy::{Mode, Policy, Severity, Source, Spec};
use crate::store::{Change, Edition};

pub use backtest::{Backtest, room as backtest_room};
pub use promote::Said;
pub(super) use read::duration;
pub use read::{Draft, Fault, draft};
pub use schema::schema;
pub(super) use shape::PolicyInfo;
use shape::{Listed, PolicyBody};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(by_severity))
        .routes(routes!(reload::reload))
        .routes(routes!(runner::status))
        .routes(routes!(backtest::run))
        .routes(routes!(show, edit::update, edit::remove))
        .routes(routes!(effectiveness::show))
        .routes(routes!(analysis::show))
        .routes(routes!(revisions::list))
        .routes(routes!(revisions::show))
        .routes(routes!(revisions::rollback))
        .routes(routes!(edit::enable))
        .routes(routes!(edit::disable))
}

/// Most policies of one page.
const PAGE: i64 = 1_000;

/// Lists the policies in the order of registration.
///
/// All of them, or a page where `limit` is given; `next_cursor` leads to the next page.
#[utoipa::path(get, path = "/api/v1/policies", tag = "policies", security(("token" = ["read"])),
    params(("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "Policies of one page; without it, all"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "The policies", body = Listed),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Listed>, Problem> {
    let (policies, _) = api.store.policies().await?;
    page(&api, policies, query)
}

/// Lists the policies of one severity.
#[utoipa::path(get, path = "/api/v1/policies/severity/{severity}", tag = "policies", security(("token" = ["read"])),
    params(("severity" = String, Path, description = "info, warning or critical"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "Policies of one page; without it, all"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "The policies", body = Listed),
        (status = 400, description = "There is no such severity", body = problem::Body),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn by_severity(
    State(api): State<Api>,
    Path(severity): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Listed>, Problem> {
    let Some(severity) = Severity::from_word(&severity) else {
        return Err(Problem::bad("Invalid severity. Must be one of: info, warning, critical"));
    };
    let (mut policies, _) = api.store.policies().await?;
    policies.retain(|policy| policy.severity == severity);
    page(&api, policies, query)
}

/// All of `policies`, or the page that was asked for. A cursor is the id of the last policy before it, so that a
/// page stays where it is while policies come and go.
fn page(api: &Api, policies: Vec<Policy>, query: Option<String>) -> Result<Json<Listed>, Problem> {
    let mut params = Params::new(query);
    let limit = params.int("limit", 1..=PAGE, i64::MAX);
    let cursor = params.text("cursor").filter(|text| !text.is_empty()).map(str::to_owned);
    let after = cursor.as_deref().and_then(|text| text.strip_prefix('p')).and_then(|text| text.parse().ok());
    params.done()?;
    if let (Some(text), None) = (&cursor, after) {
        let loc = vec![json!("query"), json!("cursor")];
        let msg = "Value error, a cursor is the `next_cursor` of the page before";
        return Err(Problem::invalid(vec![problem::Invalid::new("value_error", loc, msg, json!(text))]));
    }
    let (total, enabled_count) = (policies.len(), policies.iter().filter(|policy| policy.enabled).count());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut rest =
        policies.into_iter().skip_while(|policy: &Policy| after.is_some_and(|id: i64| policy.id <= id));
    let page: Vec<Policy> = rest.by_ref().take(limit).collect();
    let next_cursor = page.last().filter(|_| rest.next().is_some()).map(|last| format!("p{}", last.id));
    Ok(Json(Listed::new(api, &page, (total, enabled_count), next_cursor)))
}

/// One policy.
///
/// Its `ETag` goes into the `If-Match` of a change; `If-None-Match` saves reading it again.
#[utoipa::path(get, path = "/api/v1/policies/{policy_name}", tag = "policies", security(("token" = ["read"])),
    params(("policy_name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The policy", body = PolicyInfo, headers(("ETag" = String, description = "Its version"))),
        (status = 304, description = "It is as the client knows it"),
        (status = 404, description = "There is none", body = problem::Body)))]
async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let policy = find(&api, &name).await?;
    let edition = Edition::of(&policy);
    if etag::unchanged(&headers, edition) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag::tag(edition))]).into_response());
    }
    Ok(tagged(&api, StatusCode::OK, &policy, &[]))
}

/// A policy as clients see it, with its tag.
fn tagged(api: &Api, status: StatusCode, policy: &Policy, warnings: &[String]) -> Response {
    let tag = [(header::ETAG, etag::tag(Edition::of(policy)))];
    (status, tag, Json(PolicyInfo::new(api, policy, warnings))).into_response()
}

pub(super) async fn find(api: &Api, name: &str) -> Result<Policy, Problem> {
    // A name that no policy can have, such as one with a NUL, never reaches the database.
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(absent(name));
    }
    api.store.policy(name).await?.ok_or_else(|| absent(name))
}

fn absent(name: &str) -> Problem {
    Problem::missing(format!("Policy '{name}' not found"))
}

/// Makes a policy.
///
/// It is in force on this node before the answer, and on every other within a second.
#[utoipa::path(post, path = "/api/v1/policies", tag = "policies", security(("token" = ["author"])), request_body = PolicyBody,
    responses((status = 201, description = "Made", body = PolicyInfo, headers(("ETag" = String, description = "Its version"))),
        (status = 400, description = "The name is taken, or the condition can't be used", body = problem::Body),
        (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let value = input::json(&api, &headers, sent).await?;
    let draft = checked(&api, value).await?;
    principal.touch_pattern(&draft.spec.target)?;
    let name = draft.spec.name.clone();
    let change = Change::Add {
        spec: Box::new(draft.spec),
        enabled: draft.enabled,
        source: Source::Api,
        declared: None,
    };
    let rev = match api.store.change_policies(&[change], &principal.actor(), api.clock.now()).await {
        Ok(rev) => rev,
        Err(crate::store::Error::Conflict) => {
            return Err(Problem::bad(format!("Policy '{name}' already exists")));
        }
        Err(other) => return Err(other.into()),
    };
    api.ingest.policies_changed(rev).await;
    let policy = find(&api, &name).await?;
    let mut warnings = draft.warnings;
    warnings.extend(analysis::warnings(&api, &policy).await);
    Ok(tagged(&api, StatusCode::CREATED, &policy, &warnings))
}

/// Reads a whole policy, compiles it, and asks the plugin that would act whether it takes the parameters.
async fn checked(api: &Api, value: Value) -> Result<Draft, Problem> {
    // Compiling parses on a thread of its own and takes milliseconds.
    let draft = tokio::task::spawn_blocking(move || draft(&value)).await;
    let mut draft =
        draft.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the check ended early"))??;
    draft.warnings.extend(action_warning(api, &draft.spec)?);
    approvable(api, draft.spec.mode)?;
    Ok(draft)
}

/// A policy asks people only where people can be told apart.
fn approvable(api: &Api, mode: Mode) -> Result<(), Problem> {
    if mode != Mode::Approve || api.door.asks_for_tokens() {
        return Ok(());
    }
    let msg = "Value error, with authentication off there is no approver, so `approve` can't be used; set auth.mode = \
               \"token\", or use observe or auto";
    let loc = vec![json!("body"), json!("mode")];
    Err(Problem::invalid(vec![problem::Invalid::new("value_error", loc, msg, json!("approve"))]))
}

/// An action nobody serves is worth a warning, wrong parameters are a fault.
fn action_warning(api: &Api, spec: &Spec) -> Result<Option<String>, Problem> {
    let route = match api.plugins.route(&spec.action, &spec.target) {
        Ok(route) => route,
        Err(wrong) => return Ok(Some(crate::pipeline::worker::refusal(&spec.action, &wrong))),
    };
    check_params(api, &route, &Value::Object(spec.params.clone()))?;
    for (at, step) in spec.steps.iter().enumerate() {
        match api.plugins.route(&step.action, &spec.target) {
            Ok(route) => check_step(api, &route, (at, &step.params))?,
            Err(wrong) => return Ok(Some(crate::pipeline::worker::refusal(&step.action, &wrong))),
        }
    }
    Ok(None)
}

/// Whether the plugin that would act takes the parameters; each problem is named with its place.
pub(super) fn check_params(api: &Api, route: &crate::plugin::Route, params: &Value) -> Result<(), Problem> {
    params_at(api, route, params, &[json!("body"), json!("params")])
}

fn check_step(
    api: &Api,
    route: &crate::plugin::Route,
    (at, params): (usize, &Map<String, Value>),
) -> Result<(), Problem> {
    // What only this step is given when it tells of an incident is not known yet.
    let loc = [json!("body"), json!("steps"), json!(at), json!("params")];
    params_at(api, route, &Value::Object(params.clone()), &loc)
}

fn params_at(api: &Api, route: &crate::plugin::Route, params: &Value, at: &[Value]) -> Result<(), Problem> {
    api.plugins.check_params(route, params).map_err(|problems| {
        let faults = problems.into_iter().map(|problem| {
            let mut loc = at.to_vec();
            loc.extend(problem.pointer.split('/').filter(|part| !part.is_empty()).map(|part| json!(part)));
            problem::Invalid::new("value_error", loc, problem.message, params.clone())
        });
        Problem::invalid(faults.collect())
    })
}

impl Api {
    /// The policies that the writer works with at this moment.
    #[must_use]
    pub fn in_force(&self) -> std::sync::Arc<crate::engine::PolicySet> {
        std::sync::Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }
}
