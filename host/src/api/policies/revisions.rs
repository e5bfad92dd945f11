//! What a policy has said before, and the way back there.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::edit::{Wanted, change};
use super::{absent, action_warning, find, tagged};
use crate::api::Api;
use crate::api::door::Principal;
use crate::api::etag::{self, Seen};
use crate::api::input::{self, Fields};
use crate::api::problem::{self, Problem};
use crate::domain::Timestamp;
use crate::domain::policy::{Mode, Policy, Source, Spec};
use crate::engine::Compiled;
use crate::store::{Change, KEPT_REVISIONS, Revision};

/// One change of a policy.
#[derive(Serialize, ToSchema)]
struct RevisionInfo {
    /// The version it made; a deletion counts as one.
    version: i64,
    /// created, updated or deleted; found: older than the history.
    what: String,
    /// Who did it, as the audit trail names it.
    actor: String,
    /// When.
    at: Timestamp,
    /// Whether the policy was enabled then.
    enabled: bool,
    /// Where it came from.
    source: Source,
    /// The members that differ from the version before it; empty of the oldest that is kept.
    changed: Vec<String>,
}

/// The history of a policy.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyRevisions)]
pub(super) struct History {
    /// Its name.
    policy_name: String,
    /// The most that are kept; older ones are forgotten.
    kept: i64,
    /// Newest first.
    revisions: Vec<RevisionInfo>,
}

/// A policy as it was at one version.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyRevision)]
pub(super) struct Past {
    /// The version.
    version: i64,
    /// created, updated or deleted; found: older than the history.
    what: String,
    /// Who made it so.
    actor: String,
    /// When.
    at: Timestamp,
    /// Whether it was enabled.
    enabled: bool,
    /// Where it came from.
    source: Source,
    /// What it said; of a deletion, what it had said until then.
    #[schema(value_type = Object)]
    policy: Spec,
}

/// Where to go back to.
#[derive(ToSchema)]
#[schema(as = PolicyRollback)]
#[expect(dead_code, reason = "it describes what is read member by member")]
pub(super) struct RollbackBody {
    /// A version that is kept.
    #[schema(minimum = 1)]
    version: i64,
}

/// Lists what a policy has said, newest first: each accepted change with who made it and when. The newest 100 are kept, also
/// of a policy that is gone, whose last change is its deletion.
#[utoipa::path(get, path = "/api/v1/policies/{policy_name}/revisions", tag = "policies", security(("token" = ["read"])),
    params(("policy_name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Its history", body = History),
        (status = 404, description = "There is and was none", body = problem::Body)))]
pub(super) async fn list(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<History>, Problem> {
    let all = api.store.revisions(&known(&name)?).await?;
    if all.is_empty() {
        return Err(absent(&name));
    }
    let befores = all.iter().skip(1).map(Some).chain([None]);
    let changed: Vec<Vec<String>> =
        all.iter().zip(befores).map(|(one, before)| changed(one, before)).collect();
    let infos = all.into_iter().zip(changed).map(|(one, changed)| RevisionInfo {
        version: one.version,
        what: one.what,
        actor: one.actor,
        at: one.at,
        enabled: one.enabled,
        source: one.source,
        changed,
    });
    Ok(Json(History { policy_name: name, kept: KEPT_REVISIONS, revisions: infos.collect() }))
}

fn changed(one: &Revision, before: Option<&Revision>) -> Vec<String> {
    let Some(before) = before else { return Vec::new() };
    let mut members = one.spec.differs(&before.spec);
    if one.enabled != before.enabled {
        members.push("enabled".to_owned());
        members.sort();
    }
    members
}

/// A policy as it was at one version.
#[utoipa::path(get, path = "/api/v1/policies/{policy_name}/revisions/{version}", tag = "policies", security(("token" = ["read"])),
    params(("policy_name" = String, Path, description = "Its name"),
        ("version" = i64, Path, description = "Which version")),
    responses((status = 200, description = "What it said", body = Past),
        (status = 404, description = "There is and was none, or that version is not kept", body = problem::Body),
        (status = 422, description = "The version is no number", body = problem::Body)))]
pub(super) async fn show(
    State(api): State<Api>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Past>, Problem> {
    let loc = vec![json!("path"), json!("version")];
    let version = version.parse::<i128>().map_err(|_| {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        Problem::invalid(vec![problem::Invalid::new("int_parsing", loc, msg, json!(version))])
    })?;
    let version = i64::try_from(version).map_err(|_| forgotten(&name, version))?;
    let past = revision(&api, &name, version).await?;
    Ok(Json(Past {
        version: past.version,
        what: past.what,
        actor: past.actor,
        at: past.at,
        enabled: past.enabled,
        source: past.source,
        policy: past.spec,
    }))
}

/// A name that a policy can have; others never reach the database.
fn known(name: &str) -> Result<String, Problem> {
    let possible = !name.is_empty() && !name.chars().any(char::is_control);
    possible.then(|| name.to_owned()).ok_or_else(|| absent(name))
}

fn forgotten(name: &str, version: impl std::fmt::Display) -> Problem {
    Problem::missing(format!(
        "Version {version} of policy '{name}' is not kept; its newest {KEPT_REVISIONS} are"
    ))
}

async fn revision(api: &Api, name: &str, version: i64) -> Result<Revision, Problem> {
    let found = api.store.revision(&known(name)?, version).await?;
    match found {
        Some(found) => Ok(found),
        None if api.store.revisions(name).await?.is_empty() => Err(absent(name)),
        None => Err(forgotten(name, version)),
    }
}

/// Makes a policy say again what it said at a version.
///
/// It is a new version, made as any other change is. Whether it is enabled stays as it is, and a policy that only observes
/// goes on observing. A policy that is gone is made again, with the history of its own that begins then.
#[utoipa::path(post, path = "/api/v1/policies/{policy_name}/rollback", tag = "policies", security(("token" = ["author"])),
    params(("policy_name" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "Change only this version")),
    request_body = RollbackBody,
    responses((status = 200, description = "It says that again", body = super::PolicyInfo, headers(("ETag" = String, description = "Its version"))),
        (status = 400, description = "What it said can't be used any more", body = problem::Body),
        (status = 404, description = "There is and was none, or that version is not kept", body = problem::Body),
        (status = 409, description = "Others keep changing it", body = problem::Body),
        (status = 412, description = "It is not the version that If-Match names", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn rollback(
    State(api): State<Api>,
    principal: Principal,
    Path(name): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let value = input::json(&api, &headers, sent).await?;
    let version = wanted(&value)?;
    let past = revision(&api, &name, version).await?;
    usable(&past).await?;
    let seen = Seen::of(&headers);
    let mut warnings = Vec::new();
    match api.store.policy(&name).await? {
        Some(now) => {
            let mut spec = past.spec;
            // The past raises no policy, and leaves no approval behind.
            if now.mode != Mode::Auto && spec.mode != now.mode {
                spec.mode = now.mode;
                let goes_on = match now.mode {
                    Mode::Observe => "it only observes now, and goes on observing",
                    Mode::Approve | Mode::Auto => "it asks for approvals now, and goes on asking",
                };
                warnings.push(format!("{goes_on}; change `mode` by itself"));
            }
            if spec.mode != now.mode {
                super::approvable(&api, spec.mode)?;
            }
            warnings.extend(action_warning(&api, &spec)?);
            change((&api, &principal), &name, &seen, &Wanted::Said(Box::new(spec))).await?;
        }
        None if !seen.may_look_again() => return Err(etag::stale()),
        None => {
            warnings.extend(action_warning(&api, &past.spec)?);
            super::approvable(&api, past.spec.mode)?;
            again(&api, &principal, past).await?;
        }
    }
    let policy = find(&api, &name).await?;
    warnings.extend(super::analysis::warnings(&api, &policy).await);
    Ok(tagged(&api, StatusCode::OK, &policy, &warnings))
}

fn wanted(value: &Value) -> Result<i64, Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let version = fields.int("version", 1..=i64::MAX);
    if version.is_none() && fields.faults.is_empty() {
        fields.fault("missing", "version", "Field required");
    }
    for stranger in fields.strangers(&["version"]) {
        fields.fault("extra_forbidden", &stranger, "Extra inputs are not permitted");
    }
    match version {
        Some(version) if fields.faults.is_empty() => Ok(version),
        Some(_) | None => Err(Problem::invalid(fields.faults)),
    }
}

/// An older version of this program may have taken what this one does not.
async fn usable(past: &Revision) -> Result<(), Problem> {
    let policy = Policy {
        id: 0,
        version: past.version,
        enabled: past.enabled,
        declared: None,
        filed: None,
        source: past.source,
        created_at: past.at,
        updated_at: past.at,
        spec: past.spec.clone(),
    };
    let compiled = tokio::task::spawn_blocking(move || Compiled::new(policy).map(|_| ())).await;
    let compiled =
        compiled.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the check ended early"))?;
    compiled.map_err(|why| Problem::bad(format!("Version {} can't be used any more: {why}", past.version)))
}

/// A policy that is gone, as it was.
async fn again(api: &Api, principal: &Principal, past: Revision) -> Result<(), Problem> {
    principal.touch_pattern(&past.spec.target)?;
    let change =
        Change::Add { spec: Box::new(past.spec), enabled: past.enabled, source: Source::Api, declared: None };
    let rev = api.store.change_policies(&[change], &principal.actor(), api.clock.now()).await?;
    api.ingest.policies_changed(rev).await;
    Ok(())
}
