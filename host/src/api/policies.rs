//! Policies over HTTP: made, read, changed, switched on and off, removed.

pub mod files;
mod read;

use std::sync::PoisonError;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::door::Principal;
use super::input::{self, Fields};
use super::problem::{self, Problem};
use crate::domain::policy::{Mode, Policy, Severity, Source, Spec};
use crate::engine::Compiled;
use crate::store::Change;

pub use read::{Draft, Fault, draft};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(by_severity))
        .routes(routes!(show, update, remove))
        .routes(routes!(enable))
        .routes(routes!(disable))
}

/// A policy as clients see it.
pub(super) fn info(policy: &Policy, warnings: &[String]) -> Value {
    let cel = Compiled::new(policy.clone()).map(|compiled| compiled.program.source().to_owned()).ok();
    json!({
        "name": policy.name,
        "description": policy.description,
        "severity": policy.severity,
        "target": policy.target,
        "enabled": policy.enabled,
        "params": policy.params,
        "auto_remediate": policy.mode == Mode::Auto,
        "condition": policy.condition,
        "action": policy.action,
        "mode": policy.mode,
        "guardrails": policy.guardrails,
        "steps": [],
        "cel": cel,
        "version": policy.version,
        "source": policy.source,
        "warnings": warnings,
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
    })
}

/// Policies under their names, in the order of registration: a map of ours, since JSON's own sorts.
struct Listing(Vec<Policy>);

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|policy| (&policy.name, info(policy, &[]))))
    }
}

#[derive(Serialize)]
struct Listed {
    ok: bool,
    total: usize,
    enabled_count: usize,
    policies: Listing,
}

fn listing(policies: Vec<Policy>) -> Json<Listed> {
    let enabled_count = policies.iter().filter(|policy| policy.enabled).count();
    Json(Listed { ok: true, total: policies.len(), enabled_count, policies: Listing(policies) })
}

/// Lists the policies.
#[utoipa::path(get, path = "/api/v1/policies", tag = "policies", security(("token" = ["read"])),
    responses((status = 200, description = "In the order of registration", body = Value)))]
async fn list(State(api): State<Api>) -> Result<Json<Listed>, Problem> {
    let (policies, _) = api.store.policies().await?;
    Ok(listing(policies))
}

/// Lists the policies of one severity.
#[utoipa::path(get, path = "/api/v1/policies/severity/{severity}", tag = "policies", security(("token" = ["read"])), params(("severity" = String, Path)),
    responses((status = 200, description = "In the order of registration", body = Value)))]
async fn by_severity(State(api): State<Api>, Path(severity): Path<String>) -> Result<Json<Listed>, Problem> {
    let Some(severity) = Severity::from_word(&severity) else {
        return Err(Problem::bad("Invalid severity. Must be one of: info, warning, critical"));
    };
    let (mut policies, _) = api.store.policies().await?;
    policies.retain(|policy| policy.severity == severity);
    Ok(listing(policies))
}

pub(super) async fn find(api: &Api, name: &str) -> Result<Policy, Problem> {
    let (policies, _) = api.store.policies().await?;
    policies.into_iter().find(|policy| policy.name == name).ok_or_else(|| absent(name))
}

fn absent(name: &str) -> Problem {
    Problem::missing(format!("Policy '{name}' not found"))
}

/// One policy.
#[utoipa::path(get, path = "/api/v1/policies/{policy_name}", tag = "policies", security(("token" = ["read"])), params(("policy_name" = String, Path)),
    responses((status = 200, description = "The policy", body = Value), (status = 404, description = "There is none", body = problem::Body)))]
async fn show(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(info(&find(&api, &name).await?, &[])))
}

pub(super) async fn body(api: &Api, headers: &HeaderMap, body: Body) -> Result<Value, Problem> {
    if let input::Media::Lines = input::media(headers)? {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send one JSON object"));
    }
    let bytes = input::collect(body, api.limits.json_body, api.limits.body_timeout).await?;
    input::parse(&bytes)
}

/// Makes a policy.
#[utoipa::path(post, path = "/api/v1/policies", tag = "policies", security(("token" = ["author"])), request_body = Value,
    responses((status = 201, description = "Made", body = Value), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let value = body(&api, &headers, sent).await?;
    let draft = checked(&api, value).await?;
    principal.touch_pattern(&draft.spec.target)?;
    let name = draft.spec.name.clone();
    let taken = || Problem::bad(format!("Policy '{name}' already exists"));
    if find(&api, &name).await.is_ok() {
        return Err(taken());
    }
    let change = Change::Add { spec: Box::new(draft.spec), enabled: draft.enabled, source: Source::Api };
    match api.store.change_policies(&[change], &principal.actor(), api.clock.now()).await {
        Ok(_) => {}
        Err(crate::store::Error::Conflict) => return Err(taken()),
        Err(other) => return Err(other.into()),
    }
    let policy = find(&api, &name).await?;
    Ok((StatusCode::CREATED, Json(info(&policy, &draft.warnings))).into_response())
}

/// Reads a whole policy, compiles it, and asks the plugin that would act whether it takes the parameters.
async fn checked(api: &Api, value: Value) -> Result<Draft, Problem> {
    // Compiling parses on a thread of its own and takes milliseconds.
    let draft = tokio::task::spawn_blocking(move || draft(&value)).await;
    let mut draft =
        draft.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the check ended early"))??;
    draft.warnings.extend(action_warning(api, &draft.spec)?);
    Ok(draft)
}

/// An action nobody serves is worth a warning, wrong parameters are a fault.
fn action_warning(api: &Api, spec: &Spec) -> Result<Option<String>, Problem> {
    let route = match api.plugins.route(&spec.action, &spec.target) {
        Ok(route) => route,
        Err(wrong) => return Ok(Some(crate::pipeline::worker::refusal(&spec.action, &wrong))),
    };
    check_params(api, &route, &Value::Object(spec.params.clone()))?;
    Ok(None)
}

/// Whether the plugin that would act takes the parameters; each problem is named with its place.
pub(super) fn check_params(api: &Api, route: &crate::plugin::Route, params: &Value) -> Result<(), Problem> {
    api.plugins.check_params(route, params).map_err(|problems| {
        let faults = problems.into_iter().map(|fault| {
            let mut loc = vec![json!("body"), json!("params")];
            loc.extend(fault.pointer.split('/').filter(|part| !part.is_empty()).map(|part| json!(part)));
            problem::Invalid::new("value_error", loc, fault.message, params.clone())
        });
        Problem::invalid(faults.collect())
    })
}

#[derive(Deserialize)]
struct Replace {
    #[serde(default)]
    replace: Option<String>,
}

/// Changes a policy.
#[utoipa::path(put, path = "/api/v1/policies/{policy_name}", tag = "policies", security(("token" = ["author"])), params(("policy_name" = String, Path)), request_body = Value,
    responses((status = 200, description = "Changed", body = Value), (status = 404, description = "There is none", body = problem::Body), (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
async fn update(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
    Query(query): Query<Replace>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Value>, Problem> {
    let value = body(&api, &headers, sent).await?;
    let policy = find(&api, &name).await?;
    let whole = query.replace.is_some_and(|word| ["true", "1", "yes", "on"].contains(&word.as_str()));
    let (spec, enabled, warnings) = if whole {
        let mut value = value;
        if let Value::Object(members) = &mut value {
            members.insert("name".to_owned(), json!(name));
        }
        let draft = checked(&api, value).await?;
        (draft.spec, draft.enabled, draft.warnings)
    } else {
        let (spec, enabled, mut warnings) = patched(&policy, &value)?;
        warnings.extend(action_warning(&api, &spec)?);
        (spec, enabled, warnings)
    };
    principal.touch_pattern(&spec.target)?;
    let change = Change::Replace { spec: Box::new(spec), enabled, source: policy.source };
    let (_, touched) = api.store.change_policies(&[change], &principal.actor(), api.clock.now()).await?;
    if touched == 0 {
        return Err(absent(&name));
    }
    Ok(Json(info(&find(&api, &name).await?, &warnings)))
}

/// The policy with the members that this route may change.
fn patched(policy: &Policy, value: &Value) -> Result<(Spec, bool, Vec<String>), Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let mut spec = policy.spec.clone();
    let mut warnings = Vec::new();
    if let Some(text) = fields.text("description", 0..=4096, false) {
        spec.description = text;
    }
    if let Some(severity) = read::severity(&mut fields) {
        spec.severity = severity;
    }
    if let Some(target) = read::target(&mut fields) {
        spec.target = target;
    }
    if let Some(params) = fields.object("params") {
        spec.params = params;
    }
    if let Some(auto) = fields.flag("auto_remediate") {
        spec.mode = if auto { Mode::Auto } else { Mode::Observe };
    }
    let enabled = fields.flag("enabled").unwrap_or(policy.enabled);
    for (member, now) in [("condition", &spec.condition), ("action", &json!(spec.action))] {
        if fields.get(member).is_some_and(|sent| sent != now) {
            warnings.push(format!(
                "`{member}` is not changed by this route; send the whole policy with ?replace=true"
            ));
        }
    }
    if fields.faults.is_empty() {
        Ok((spec, enabled, warnings))
    } else {
        Err(Problem::invalid(fields.faults))
    }
}

/// Removes a policy.
#[utoipa::path(delete, path = "/api/v1/policies/{policy_name}", tag = "policies", security(("token" = ["author"])), params(("policy_name" = String, Path)),
    responses((status = 200, description = "Removed", body = Value), (status = 404, description = "There is none", body = problem::Body)))]
async fn remove(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    // A name that no policy can have, such as one with a NUL, never reaches the database.
    find(&api, &name).await?;
    let change = Change::Remove { name: name.clone() };
    let (_, touched) = api.store.change_policies(&[change], &principal.actor(), api.clock.now()).await?;
    if touched == 0 {
        return Err(absent(&name));
    }
    Ok(Json(json!({"ok": true, "message": format!("Policy '{name}' deleted")})))
}

/// Switches a policy on.
#[utoipa::path(put, path = "/api/v1/policies/{policy_name}/enable", tag = "policies", security(("token" = ["author"])), params(("policy_name" = String, Path)),
    responses((status = 200, description = "Enabled", body = Value), (status = 404, description = "There is none", body = problem::Body)))]
async fn enable(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    switch(&api, &principal, &name, true).await
}

/// Switches a policy off.
#[utoipa::path(put, path = "/api/v1/policies/{policy_name}/disable", tag = "policies", security(("token" = ["author"])), params(("policy_name" = String, Path)),
    responses((status = 200, description = "Disabled", body = Value), (status = 404, description = "There is none", body = problem::Body)))]
async fn disable(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    switch(&api, &principal, &name, false).await
}

async fn switch(api: &Api, principal: &Principal, name: &str, enabled: bool) -> Result<Json<Value>, Problem> {
    let policy = find(api, name).await?;
    if policy.enabled != enabled {
        let change = Change::Replace { spec: Box::new(policy.spec), enabled, source: policy.source };
        api.store.change_policies(&[change], &principal.actor(), api.clock.now()).await?;
    }
    let word = if enabled { "enabled" } else { "disabled" };
    Ok(Json(json!({"ok": true, "message": format!("Policy '{name}' {word}")})))
}

impl Api {
    /// The policies that the writer works with at this moment.
    #[must_use]
    pub fn in_force(&self) -> std::sync::Arc<crate::engine::PolicySet> {
        std::sync::Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }
}
