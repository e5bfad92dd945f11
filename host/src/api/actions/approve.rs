//! Actions that wait for people: what they are asked about, their yes and their no.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{absent, id};
use crate::api::Api;
use crate::api::door::Principal;
use crate::api::input::{self, Fields};
use crate::api::params::unknown;
use crate::api::problem::{self, Problem};
use crate::domain::approval::{ActionPlan, Counted, Refusal, State as Standing};
use crate::domain::{Phase, Timestamp, WireStatus};
use crate::pipeline::approve::{Approve, Approved, Deed, plan_of};
use crate::store::{ActionRow, ApprovalRefused, ApprovalRow};

/// What people are asked, and what they have answered.
#[derive(Serialize, ToSchema)]
#[schema(as = Approval)]
pub(in crate::api) struct ApprovalDetail {
    /// Where the request stands.
    state: Standing,
    /// SHA-256 of the plan: a yes names it. While the request waits it is that of what would run now.
    plan_hash: String,
    /// How many must say yes, each with a token of their own.
    #[schema(minimum = 1)]
    required: u32,
    /// Who has said yes.
    approvals: Vec<Approver>,
    /// When it was asked.
    requested_at: Timestamp,
    /// When no answer is a no.
    expires_at: Timestamp,
    /// When it ended.
    #[schema(required = true)]
    decided_at: Option<Timestamp>,
    /// Who ended it, where that was not enough people's yes.
    #[schema(required = true)]
    decided_by: Option<String>,
    /// What they said.
    #[schema(required = true)]
    note: Option<String>,
    /// What would run, or what was asked about once the request has ended.
    plan: ActionPlan,
    /// How the plan is another one than the one that was asked about.
    changed: Vec<String>,
}

/// Somebody's yes.
#[derive(Serialize, ToSchema)]
struct Approver {
    /// Who.
    by: String,
    /// When.
    at: Timestamp,
    /// What they said.
    note: String,
    /// Whether it is a yes to this plan; one to what the plan was before does not count.
    counts: bool,
}

impl ApprovalDetail {
    /// As it is to be shown; a request that waits is about what would run now.
    pub(in crate::api) fn of(api: &Api, row: &ApprovalRow) -> Result<Self, Problem> {
        let (state, asked) = (row.state()?, row.plan()?);
        let mut plan = asked.clone();
        let mut changed = Vec::new();
        if state == Standing::Waiting {
            let deed = Deed {
                policy: (&asked.policy, asked.policy_id, asked.policy_version),
                kind: &asked.action,
                target: &asked.target,
                params: &asked.params,
            };
            plan = row.recorded(plan_of(Some(&api.plugins), api.remediation.push.is_some(), deed))?;
            changed = asked.changes(&plan);
            if row.policy_now != Some(row.policy_version) {
                let version = row.policy_version;
                changed.push(format!("policy `{}` is not at version {version} any more", asked.policy));
            }
        }
        let plan_hash = if state == Standing::Waiting { plan.hash() } else { row.plan_hash.clone() };
        let approver = |vote: &crate::store::VoteRow| Approver {
            by: vote.actor.clone(),
            at: vote.at(),
            note: vote.note.clone(),
            counts: vote.plan_hash == plan_hash,
        };
        Ok(Self {
            state,
            required: row.required(),
            approvals: row.votes.iter().map(approver).collect(),
            requested_at: row.requested_at(),
            expires_at: row.expires_at(),
            decided_at: row.decided_at(),
            decided_by: row.decided_by.clone(),
            note: row.note.clone().filter(|note| !note.is_empty()),
            plan_hash,
            plan,
            changed,
        })
    }

    /// The answers as sentences, oldest first.
    pub(in crate::api) fn story(&self, action: i64) -> Vec<String> {
        let hash = self.plan_hash.get(..12).unwrap_or_default();
        let mut lines: Vec<String> = self
            .approvals
            .iter()
            .map(|yes| format!("{} {} approved action {action}{}", yes.at, yes.by, said(&yes.note)))
            .collect();
        let by = self.decided_by.as_deref().unwrap_or("enough people");
        let note = said(self.note.as_deref().unwrap_or_default());
        if let Some(at) = self.decided_at {
            lines.push(match self.state {
                Standing::Waiting | Standing::Approved => {
                    format!("{at} action {action} was approved: {} said yes to plan {hash}…", self.required)
                }
                Standing::Rejected => format!("{at} {by} rejected action {action}{note}"),
                Standing::Expired => format!("{at} nobody approved action {action} in time"),
                Standing::Withdrawn => format!("{at} action {action} was withdrawn{note}"),
                Standing::Diverged => format!("{at} action {action} was not run{note}"),
            });
        }
        lines
    }
}

fn said(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(": {note}") }
}

/// A yes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `approve` reads")]
pub(super) struct ApproveBody {
    /// The hash of the plan that it is a yes to, as `GET /api/v1/actions/{action_id}` shows it.
    #[schema(min_length = 64, max_length = 64)]
    plan_hash: String,
    /// Why, for the audit.
    #[schema(required = false, max_length = 1000)]
    note: Option<String>,
}

/// A no.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `reject` reads")]
pub(super) struct RejectBody {
    /// Why, for the audit.
    #[schema(required = false, max_length = 1000)]
    note: Option<String>,
}

/// What came of an answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ApprovalAnswer)]
pub(super) struct Answered {
    /// Always true.
    ok: bool,
    /// The action.
    action_id: i64,
    /// For people.
    message: String,
    /// Its status.
    status: WireStatus,
    /// The finer state.
    state: Phase,
    /// How the request stands now.
    approval: ApprovalDetail,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Says yes to exactly one plan.
///
/// The last yes that is needed lets the action into the queue, if the condition is still met on a fresh sample and the
/// policy would ask for the very same now; else 409 names why not. A token counts once; to say it again changes nothing.
#[utoipa::path(post, path = "/api/v1/actions/{action_id}/approve", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)), request_body = ApproveBody,
    responses((status = 200, description = "It counts", body = Answered),
        (status = 403, description = "This token may not, or nobody can tell who asks", body = problem::Body),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 409, description = "It has been answered, its plan is another one, or what it was for is not so any more", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn approve(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Answered>, Problem> {
    let id = id(&text, "action")?;
    let value = input::json(&api, &headers, sent).await?;
    let mut fields =
        Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let hash = fields.text("plan_hash", 64..=64, true);
    let note = fields.text("note", 0..=1000, false).unwrap_or_default();
    let warnings = unknown(fields.strangers(&["plan_hash", "note"]));
    let (Some(hash), true) = (hash, fields.faults.is_empty()) else {
        return Err(Problem::invalid(fields.faults));
    };
    let row = api.store.action(id).await?.ok_or_else(|| absent("action", &text))?;
    principal.touch(&row.target)?;
    let by = match &principal {
        Principal::Anonymous => None,
        Principal::Token(_) => Some(principal.key()),
    };
    let (actor, target) = (principal.actor(), row.target.clone());
    let yes = Approve { action: id, target, by, actor, hash: hash.to_ascii_lowercase(), note };
    let (counted, took) = match api.ingest.approve(yes).await? {
        Approved::Done { counted, took, .. } => (counted, took),
        Approved::Missing => return Err(needs_none(&text)),
        Approved::Refused { refusal, changes } => {
            return Err(refused(&api, id, (refusal, &changes)).await);
        }
        Approved::Blocked { reason, until } => return Err(blocked(reason, until)),
    };
    if let Some(took) = took {
        api.metrics.approved(took);
        api.metrics.queue_operation("enqueue");
    }
    answered(&api, id, warnings, |approval| match counted {
        Counted::Again => "You have approved this plan before; that counts once".to_owned(),
        Counted::Waiting => {
            let counting = approval.approvals.iter().filter(|yes| yes.counts).count();
            format!("Approved: {counting} of {}; it waits for more", approval.required)
        }
        Counted::Enough => "Approved; the action is in the queue".to_owned(),
    })
    .await
}

/// Says no; nothing is done, and the policy does not ask anew before its cooldown is over.
#[utoipa::path(post, path = "/api/v1/actions/{action_id}/reject", tag = "actions", security(("token" = ["operate"])),
    params(("action_id" = i64, Path)),
    request_body(content = Option<RejectBody>, description = "May be absent"),
    responses((status = 200, description = "It is not done", body = Answered),
        (status = 403, description = "This token may not touch its target", body = problem::Body),
        (status = 404, description = "There is none", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 409, description = "It has been answered", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn reject(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Answered>, Problem> {
    let id = id(&text, "action")?;
    let value = input::optional(&api, &headers, sent).await?.filter(|value| !value.is_null());
    let value = value.unwrap_or_else(|| json!({}));
    let mut fields =
        Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let note = fields.text("note", 0..=1000, false).unwrap_or_default();
    let warnings = unknown(fields.strangers(&["note"]));
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    let row = api.store.action(id).await?.ok_or_else(|| absent("action", &text))?;
    principal.touch(&row.target)?;
    let how = (Standing::Rejected, &*principal.actor(), note.as_str());
    match api.store.refuse_approval(id, how, api.clock.now()).await? {
        ApprovalRefused::Done(moved) => api.metrics.moved([moved.words()]),
        ApprovalRefused::Missing => return Err(needs_none(&text)),
        ApprovalRefused::Not(refusal) => return Err(refused(&api, id, (refusal, &[])).await),
    }
    answered(&api, id, warnings, |_| "Rejected; nothing is done".to_owned()).await
}

async fn answered(
    api: &Api,
    id: i64,
    warnings: Vec<String>,
    message: impl FnOnce(&ApprovalDetail) -> String,
) -> Result<Json<Answered>, Problem> {
    let (row, approval) = (api.store.action(id).await?, shown(api, id).await?);
    let (Some(row), Some(approval)) = (row, approval) else {
        return Err(absent("action", &id.to_string()));
    };
    let (phase, message) = (row.phase()?, message(&approval));
    let status = phase.wire();
    Ok(Json(Answered { ok: true, action_id: id, message, status, state: phase, approval, warnings }))
}

async fn shown(api: &Api, id: i64) -> Result<Option<ApprovalDetail>, Problem> {
    let row = api.store.approvals(&[id]).await?.remove(&id);
    row.map(|row| ApprovalDetail::of(api, &row)).transpose()
}

/// The requests of those actions that have one, as they are to be shown.
pub(in crate::api) async fn of_actions(
    api: &Api,
    rows: &[ActionRow],
) -> Result<std::collections::HashMap<i64, ApprovalDetail>, Problem> {
    // Only what a policy has made can need one.
    let ids: Vec<i64> = rows.iter().filter(|row| row.policy_name.is_some()).map(|row| row.id).collect();
    let found = api.store.approvals(&ids).await?;
    found.into_iter().map(|(id, row)| Ok((id, ApprovalDetail::of(api, &row)?))).collect()
}

fn needs_none(id: &str) -> Problem {
    Problem::conflict(format!("Action {id} asks for no approval"))
}

/// Why nothing would be asked now, in words.
fn blocked(reason: &str, until: Option<Timestamp>) -> Problem {
    let until = until.map_or_else(String::new, |until| format!(", until {until}"));
    let why = match reason {
        "cleared" => "the condition is not met any more".to_owned(),
        "stale" => "no sample is fresh enough to tell whether the condition is still met".to_owned(),
        "paused" => "all automation is paused; DELETE /api/v1/pause lets it go on".to_owned(),
        other => format!("the policy would not act now, for the reason `{other}`"),
    };
    Problem::conflict(format!("{reason}: {why}{until}"))
}

/// Why an answer does not count, in words.
async fn refused(api: &Api, id: i64, (refusal, changes): (Refusal, &[String])) -> Problem {
    let forbidden = |text: &str| Problem::new(StatusCode::FORBIDDEN, text);
    match refusal {
        Refusal::Ended(state) => {
            Problem::conflict(format!("Action {id} does not wait for an approval: it is {}", state.word()))
        }
        Refusal::Late => Problem::conflict(format!("Action {id} was not answered in time: that is a no")),
        Refusal::Changed => {
            let now = shown(api, id).await.ok().flatten();
            let hash = now.map_or_else(String::new, |now| format!("; the plan is now {}", now.plan_hash));
            let what = if changes.is_empty() {
                "the hash is not that of the plan".to_owned()
            } else {
                changes.join("; ")
            };
            Problem::conflict(format!("plan_changed: {what}{hash}"))
        }
        Refusal::Author => {
            forbidden("not_author: who last changed this policy may not approve what it asks for")
        }
        Refusal::Nobody => {
            forbidden("with authentication off nobody can tell who approves; set auth.mode = \"token\"")
        }
    }
}
