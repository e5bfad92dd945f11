//! Changes of one policy. Each is made on the edition it was derived from: of two people who change a policy at once,
//! neither undoes what the other did.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::shape::{ChangeBody, Done};
use super::{Draft, PolicyInfo, absent, action_warning, checked, find, read, tagged};
use crate::api::Api;
use crate::api::actions::Params;
use crate::api::door::Principal;
use crate::api::etag::{self, Seen};
use crate::api::input::{self, Fields};
use crate::api::problem::{self, Problem};
use crate::domain::policy::{Mode, Policy, Source, Spec};
use crate::store::{Change, Edition, Error};

/// How often a change that met a newer edition is derived again.
const TRIES: usize = 20;
/// Members of a change that are read.
const MEMBERS: [&str; 6] = ["description", "severity", "target", "enabled", "auto_remediate", "params"];
/// Members that only a replacement changes.
const WHOLE: [&str; 8] = ["condition", "clear", "action", "mode", "guardrails", "cooldown", "name", "steps"];

/// What a request wants of a policy, whatever it looks like.
pub(super) enum Wanted {
    /// Members changed: the body.
    Members(Value),
    /// Another content under the same name.
    Whole(Box<Draft>),
    /// What it said before; whether it is on stays as it is.
    Said(Box<Spec>),
    /// On or off.
    Switched(bool),
    /// Gone.
    Removed,
}

impl Wanted {
    /// The change that brings `policy` there, with what its author should know; none: it is there.
    fn of(&self, api: &Api, policy: &Policy) -> Result<(Option<Change>, Vec<String>), Problem> {
        Ok(match self {
            Self::Members(value) => {
                let (spec, enabled, warnings) = patched(api, policy, value)?;
                (Some(replace(policy, spec, enabled)), warnings)
            }
            Self::Whole(draft) => {
                let change = replace(policy, draft.spec.clone(), draft.enabled);
                (Some(change), draft.warnings.clone())
            }
            Self::Said(spec) => {
                let differs = policy.spec != **spec;
                let change = differs.then(|| replace(policy, (**spec).clone(), policy.enabled));
                (change, Vec::new())
            }
            Self::Switched(on) => {
                let differs = policy.enabled != *on;
                (differs.then(|| replace(policy, policy.spec.clone(), *on)), Vec::new())
            }
            Self::Removed => {
                let edition = Edition::of(policy);
                (Some(Change::Remove { edition, name: policy.name.clone() }), Vec::new())
            }
        })
    }
}

/// Makes a change of the policy as it is, and answers what it was. With `If-Match` it is made on that edition or
/// not at all; without, it is derived again from whatever is there.
pub(super) async fn change(
    (api, principal): (&Api, &Principal),
    name: &str,
    seen: &Seen,
    wanted: &Wanted,
) -> Result<(Policy, Vec<String>), Problem> {
    for _ in 0..TRIES {
        let policy = find(api, name).await?;
        seen.check(Edition::of(&policy))?;
        let (change, warnings) = wanted.of(api, &policy)?;
        if let Some(Change::Replace { spec, .. }) = &change {
            principal.touch_pattern(&spec.target)?;
        }
        let Some(change) = change else { return Ok((policy, warnings)) };
        match api.store.change_policies(&[change], &principal.actor(), api.clock.now()).await {
            Ok(rev) => {
                api.ingest.policies_changed(rev).await;
                return Ok((policy, warnings));
            }
            Err(Error::Conflict) if seen.may_look_again() => {}
            Err(Error::Conflict) => {
                return Err(if find(api, name).await.is_ok() { etag::stale() } else { absent(name) });
            }
            Err(other) => return Err(other.into()),
        }
    }
    Err(Problem::conflict("others keep changing this policy; try again"))
}

/// Changes a policy.
///
/// Members left out stay as they are. `condition` and `action` are changed by `replace=true`, with which the body is a
/// whole policy.
#[utoipa::path(put, path = "/api/v1/policies/{policy_name}", tag = "policies", security(("token" = ["author"])),
    params(("policy_name" = String, Path, description = "Its name"),
        ("replace" = Option<bool>, Query, description = "The body is the whole policy"),
        ("If-Match" = Option<String>, Header, description = "Change only this version")),
    request_body = ChangeBody,
    responses((status = 200, description = "Changed", body = PolicyInfo, headers(("ETag" = String, description = "Its version"))),
        (status = 400, description = "The condition can't be used", body = problem::Body),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 409, description = "Others keep changing it", body = problem::Body),
        (status = 412, description = "It is not the version that If-Match names", body = problem::Body),
        (status = 422, description = "A member or parameter can't be used", body = problem::Body)))]
pub(super) async fn update(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let value = input::json(&api, &headers, sent).await?;
    let whole = flag(query, "replace")?;
    let seen = Seen::of(&headers);
    let wanted = if whole {
        seen.check(Edition::of(&find(&api, &name).await?))?;
        Wanted::Whole(Box::new(replaced(&api, &name, value).await?))
    } else {
        Wanted::Members(value)
    };
    let (_, mut warnings) = change((&api, &principal), &name, &seen, &wanted).await?;
    let policy = find(&api, &name).await?;
    warnings.extend(super::analysis::warnings(&api, &policy).await);
    Ok(tagged(&api, StatusCode::OK, &policy, &warnings))
}

fn replace(policy: &Policy, spec: Spec, enabled: bool) -> Change {
    let source = policy.source;
    Change::Replace { edition: Edition::of(policy), spec: Box::new(spec), enabled, source, declared: None }
}

/// A yes or no in the query; empty counts as yes.
fn flag(query: Option<String>, name: &str) -> Result<bool, Problem> {
    let params = Params::new(query);
    let word = params.text(name).map(str::to_ascii_lowercase);
    params.done()?;
    match word.as_deref() {
        None | Some("false" | "no" | "off" | "0") => Ok(false),
        Some("" | "true" | "yes" | "on" | "1") => Ok(true),
        Some(other) => {
            let loc = vec![json!("query"), json!(name)];
            let msg = "Input should be a valid boolean, unable to interpret input";
            Err(Problem::invalid(vec![problem::Invalid::new("bool_parsing", loc, msg, json!(other))]))
        }
    }
}

/// The body as a whole policy under the name of the path.
async fn replaced(api: &Api, name: &str, mut value: Value) -> Result<Draft, Problem> {
    if let Value::Object(members) = &mut value {
        members.insert("name".to_owned(), json!(name));
    }
    checked(api, value).await
}

/// The policy with the members that this route may change.
fn patched(api: &Api, policy: &Policy, value: &Value) -> Result<(Spec, bool, Vec<String>), Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let mut spec = policy.spec.clone();
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
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    let mut warnings = unread(policy, &fields);
    warnings.extend(action_warning(api, &spec)?);
    Ok((spec, enabled, warnings))
}

/// What was sent and is not done, in words.
fn unread(policy: &Policy, fields: &Fields<'_>) -> Vec<String> {
    let now = serde_json::to_value(&policy.spec).unwrap_or_default();
    let differs = |member: &&str| fields.get(member).is_some_and(|sent| now.get(*member) != Some(sent));
    let mut warnings: Vec<String> = WHOLE
        .iter()
        .filter(|member| differs(member))
        .map(|member| {
            format!("`{member}` is not changed by this route; send the whole policy with ?replace=true")
        })
        .collect();
    let known: Vec<&str> = MEMBERS.iter().chain(&WHOLE).copied().collect();
    warnings.extend(
        fields.strangers(&known).into_iter().map(|name| format!("unknown member `{name}` is ignored")),
    );
    warnings
}

/// Removes a policy.
#[utoipa::path(delete, path = "/api/v1/policies/{policy_name}", tag = "policies", security(("token" = ["author"])),
    params(("policy_name" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "Remove only this version")),
    responses((status = 200, description = "Removed", body = Done),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 409, description = "Others keep changing it", body = problem::Body),
        (status = 412, description = "It is not the version that If-Match names", body = problem::Body)))]
pub(super) async fn remove(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Done>, Problem> {
    let (gone, _) = change((&api, &principal), &name, &Seen::of(&headers), &Wanted::Removed).await?;
    let mut message = format!("Policy '{name}' deleted");
    if gone.source == Source::File {
        message.push_str(
            "; it stands in a policy file, and a reload or restart that finds it there makes it again",
        );
    }
    Ok(Json(Done { ok: true, message }))
}

/// Switches a policy on.
#[utoipa::path(put, path = "/api/v1/policies/{policy_name}/enable", tag = "policies", security(("token" = ["author"])),
    params(("policy_name" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "Change only this version")),
    responses((status = 200, description = "It is on", body = Done, headers(("ETag" = String, description = "Its version"))),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 409, description = "Others keep changing it", body = problem::Body),
        (status = 412, description = "It is not the version that If-Match names", body = problem::Body)))]
pub(super) async fn enable(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch((&api, &principal), &name, &headers, true).await
}

/// Switches a policy off.
#[utoipa::path(put, path = "/api/v1/policies/{policy_name}/disable", tag = "policies", security(("token" = ["author"])),
    params(("policy_name" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "Change only this version")),
    responses((status = 200, description = "It is off", body = Done, headers(("ETag" = String, description = "Its version"))),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 409, description = "Others keep changing it", body = problem::Body),
        (status = 412, description = "It is not the version that If-Match names", body = problem::Body)))]
pub(super) async fn disable(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch((&api, &principal), &name, &headers, false).await
}

async fn switch(
    (api, principal): (&Api, &Principal),
    name: &str,
    headers: &HeaderMap,
    enabled: bool,
) -> Result<Response, Problem> {
    let (before, _) = change((api, principal), name, &Seen::of(headers), &Wanted::Switched(enabled)).await?;
    let version = before.version + i64::from(before.enabled != enabled);
    let word = if enabled { "enabled" } else { "disabled" };
    let done = Done { ok: true, message: format!("Policy '{name}' {word}") };
    let tag = [(header::ETAG, etag::tag(Edition { id: before.id, version }))];
    Ok((tag, Json(done)).into_response())
}
