//! Changes of one policy. Each is made on the edition it was derived from: of two people who change a policy at once,
//! neither undoes what the other did.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::promote::{self, Raise, Said};
use super::shape::{ChangeBody, Done};
use super::{Draft, PolicyInfo, absent, action_warning, approvable, checked, find, read, tagged};
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
const MEMBERS: [&str; 8] =
    ["description", "severity", "target", "enabled", "auto_remediate", "mode", "force", "params"];
/// Members that only a replacement changes.
const WHOLE: [&str; 8] =
    ["condition", "clear", "action", "guardrails", "cooldown", "name", "steps", "approval"];

/// What a request wants of a policy, whatever it looks like.
pub(super) enum Wanted {
    /// Members changed: the body, and whether the mode is forced.
    Members(Value, bool),
    /// Another content under the same name, and whether its mode is forced.
    Whole(Box<Draft>, bool),
    /// What it said before; whether it is on stays as it is.
    Said(Box<Spec>),
    /// On or off.
    Switched(bool),
    /// Gone.
    Removed,
}

impl Wanted {
    /// The change that brings `policy` there, with what its author should know; none: it is there.
    fn of(&self, api: &Api, policy: &Policy) -> Result<(Vec<Change>, Vec<String>), Problem> {
        Ok(match self {
            Self::Members(value, forced) => {
                let (mut spec, enabled, said, mut warnings) = patched(api, policy, value)?;
                let raise = raised(api, policy, (&mut spec, said, policy.mode), *forced, &mut warnings)?;
                (changes(replace(policy, spec, enabled), raise), warnings)
            }
            Self::Whole(draft, forced) => {
                let (mut spec, mut warnings) = (draft.spec.clone(), draft.warnings.clone());
                let said = (&mut spec, draft.said, Mode::Observe);
                let raise = raised(api, policy, said, *forced, &mut warnings)?;
                (changes(replace(policy, spec, draft.enabled), raise), warnings)
            }
            Self::Said(spec) => {
                let differs = policy.spec != **spec;
                let change = differs.then(|| replace(policy, (**spec).clone(), policy.enabled));
                (change.into_iter().collect(), Vec::new())
            }
            Self::Switched(on) => {
                let differs = policy.enabled != *on;
                let change = differs.then(|| replace(policy, policy.spec.clone(), *on));
                (change.into_iter().collect(), Vec::new())
            }
            Self::Removed => {
                let edition = Edition::of(policy);
                (vec![Change::Remove { edition, name: policy.name.clone() }], Vec::new())
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
        let (changes, warnings) = wanted.of(api, &policy)?;
        if let Some(Change::Replace { spec, .. }) = changes.first() {
            principal.touch_pattern(&spec.target)?;
        }
        if changes.is_empty() {
            return Ok((policy, warnings));
        }
        match api.store.change_policies(&changes, &principal.actor(), api.clock.now()).await {
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
        ("force" = Option<bool>, Query, description = "Raises from observe to auto at once, as the member of that name does; it is written down"),
        ("If-Match" = Option<String>, Header, description = "Change only this version")),
    request_body = ChangeBody,
    responses((status = 200, description = "Changed", body = PolicyInfo, headers(("ETag" = String, description = "Its version"))),
        (status = 400, description = "The condition can't be used", body = problem::Body),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 409, description = "Others keep changing it, or its mode would be raised two steps at once", body = problem::Body),
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
    let whole = flag(query.clone(), "replace")?;
    let forced = flag(query, "force")? || forces(&value)?;
    let seen = Seen::of(&headers);
    let wanted = if whole {
        seen.check(Edition::of(&find(&api, &name).await?))?;
        Wanted::Whole(Box::new(replaced(&api, &name, value).await?), forced)
    } else {
        Wanted::Members(value, forced)
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

/// Whether the body asks for the mode to be forced.
fn forces(value: &Value) -> Result<bool, Problem> {
    let Ok(mut fields) = Fields::new(value, vec![json!("body")]) else { return Ok(false) };
    let forced = fields.flag("force").unwrap_or(false);
    if fields.faults.is_empty() { Ok(forced) } else { Err(Problem::invalid(fields.faults)) }
}

/// The mode that the policy is to have, by the rules of promotion.
fn raised(
    api: &Api,
    policy: &Policy,
    (spec, said, fallback): (&mut Spec, Said, Mode),
    forced: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Raise>, Problem> {
    let approvers = api.door.asks_for_tokens();
    let outcome =
        promote::mode(policy.mode, (said, fallback), (approvers, forced)).map_err(Problem::conflict)?;
    if said == Said::Mode(Mode::Approve) {
        approvable(api, Mode::Approve)?;
    }
    spec.mode = outcome.mode;
    warnings.extend(outcome.warning);
    Ok(outcome.raise)
}

/// The change, and what the audit says of a new mode.
fn changes(change: Change, raise: Option<Raise>) -> Vec<Change> {
    let name = match &change {
        Change::Add { spec, .. } | Change::Replace { spec, .. } | Change::Filed { spec, .. } => {
            spec.name.clone()
        }
        Change::Promoted { name, .. } | Change::Remove { name, .. } => name.clone(),
    };
    let raise = raise.map(|Raise { from, to, how }| Change::Promoted { name, from, to, how });
    [change].into_iter().chain(raise).collect()
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
        members.remove("force");
        members.insert("name".to_owned(), json!(name));
    }
    checked(api, value).await
}

/// The policy with the members that this route may change.
fn patched(api: &Api, policy: &Policy, value: &Value) -> Result<(Spec, bool, Said, Vec<String>), Problem> {
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
    let said = read::said(&mut fields);
    let enabled = fields.flag("enabled").unwrap_or(policy.enabled);
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    let mut warnings = unread(policy, &fields);
    warnings.extend(action_warning(api, &spec)?);
    Ok((spec, enabled, said, warnings))
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
