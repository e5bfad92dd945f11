//! A yes to what a policy has asked for. The same engine and the same decision are asked again: whether the condition is
//! met on a fresh sample, and whether the policy would ask for the very same now.

use std::collections::HashMap;
use std::sync::Arc;

use super::Writer;
use crate::domain::approval::{Counted, Refusal, Request};
use crate::domain::event::partition_of;
use crate::domain::{Phase, Timestamp};
use crate::engine::{Compiled, Finding, Findings, Truth};
use crate::pipeline::approve::{Approve, Approved, Deed, plan_of};
use crate::pipeline::decide::{About, Came, Deciding, Pair};
use crate::pipeline::ingest::Refused;
use crate::store::{ActionDraft, Error, IncidentChange, Pending, Plan, Verdict, Which, Writing, Yes};

/// Why nothing would be asked now, and until when.
type Blocked = (&'static str, Option<Timestamp>);

impl Writer {
    /// Counts somebody's yes, and lets the action into the queue if it is enough.
    pub(in crate::pipeline) async fn approve(&mut self, asked: &Approve) -> Result<Approved, Refused> {
        match self.approved(asked).await {
            Ok((approved, ready)) => {
                self.parts.queue.announce(&ready);
                Ok(approved)
            }
            Err(wrong) => {
                self.forget(&[partition_of(&asked.target)]);
                tracing::warn!(error = %wrong, action_id = asked.action, "an approval was not stored");
                Err(super::refused(&wrong))
            }
        }
    }

    async fn approved(&mut self, asked: &Approve) -> Result<(Approved, Vec<(i64, i64)>), Error> {
        let home = partition_of(&asked.target);
        let (mut tx, seqs, rev) = self.parts.store.begin_partitions(&[home], None).await?;
        self.refresh(&mut tx, rev).await?;
        self.catch_up(&mut tx, &seqs).await?;
        let nothing = |approved| Ok((approved, Vec::new()));
        let Some(pending) = tx.pending(asked.action).await? else { return nothing(Approved::Missing) };
        let now = self.now();
        let mut request = pending.row.request()?;
        let policy = self.policies.by_id(pending.row.policy_id).cloned();
        let deed = Deed {
            policy: (&pending.policy, pending.row.policy_id, pending.row.policy_version),
            kind: &pending.kind,
            target: &pending.row.target,
            params: &pending.params,
        };
        let plan = pending.row.recorded(plan_of(self.parts.plugins.as_ref(), self.parts.pushes, deed))?;
        let current = plan.hash();
        let version = policy.as_ref().map_or(0, |compiled| compiled.policy.version);
        let counted = match answered(&mut request, asked, (&current, version), (&pending, now)) {
            Ok(counted) => counted,
            Err(refusal) => {
                let mut changes = pending.row.plan()?.changes(&plan);
                if version != pending.row.policy_version {
                    changes.push(outdated(&pending, version));
                }
                return nothing(Approved::Refused { refusal, changes });
            }
        };
        if counted == Counted::Again {
            let phase = if request.state == crate::domain::approval::State::Waiting {
                Phase::Approval
            } else {
                Phase::Ready
            };
            return nothing(Approved::Done { counted, phase, took: None });
        }
        let Some(policy) = policy else { return nothing(Approved::Missing) };
        let start_by = match self.asks_again(&mut tx, (&policy, home), &pending, now).await? {
            Ok(observed_at) => observed_at.after(policy.policy.guardrails.max_event_age),
            Err((reason, until)) => return nothing(Approved::Blocked { reason, until }),
        };
        let by = (asked.by.as_deref().unwrap_or_default(), asked.actor.as_str());
        let yes = Yes { by, note: &asked.note, plan: &plan, counted, start_by };
        let (phase, ready) = tx.yes(&pending, yes, now).await?;
        self.commit(tx, &Plan::default()).await?;
        let took = (counted == Counted::Enough).then(|| now.since(pending.row.requested_at()));
        Ok((Approved::Done { counted, phase, took }, ready))
    }

    /// When the newest sample was observed on which the policy would ask for the same again; else why it would not.
    async fn asks_again(
        &mut self,
        tx: &mut Writing,
        (policy, home): (&Arc<Compiled>, u16),
        pending: &Pending,
        now: Timestamp,
    ) -> Result<Result<Timestamp, Blocked>, Error> {
        let finding = match self.latest(tx, (policy, home), &pending.row.target, now).await? {
            Ok(finding) => finding,
            Err(why) => return Ok(Err(why)),
        };
        let mut findings = Findings::default();
        findings.list.push(finding.clone());
        let mut ledgers = self.ledgers(tx, &findings, now).await?;
        // Without the request itself: its reservation is set aside.
        for ledger in ledgers.values_mut() {
            ledger.awaiting = None;
        }
        let mut plan = Plan { now, policy_rev: self.policies.rev, ..Plan::default() };
        let came = self.would(policy, &finding, ledgers, &mut plan);
        Ok(match came {
            Came::Violated { action: Some(at), incident: Which::Known(incident), .. }
                if incident == pending.row.incident_id
                    && plan.actions.get(at).is_some_and(|draft| same(draft, pending)) =>
            {
                Ok(finding.observed_at)
            }
            Came::Violated { decision, action: None, .. } => Err((decision, until(&plan))),
            Came::Violated { .. } | Came::Cleared | Came::Nothing => Err(("cleared", None)),
        })
    }

    /// What the tick would find of that policy on that target.
    async fn latest(
        &mut self,
        tx: &mut Writing,
        (policy, home): (&Arc<Compiled>, u16),
        target: &str,
        now: Timestamp,
    ) -> Result<Result<Finding, Blocked>, Error> {
        self.standing(tx, &[home]).await?;
        let (policies, limits) = (Arc::clone(&self.policies), self.parts.limits);
        let mut findings = Findings::default();
        self.partitions[usize::from(home)].tick(&policies, (now, limits), &mut findings);
        let found = findings.list.into_iter().find(|finding| {
            let of = policies.get(finding.policy).policy.id == policy.policy.id;
            of && !finding.simulated && finding.target.as_deref() == Some(target)
        });
        Ok(match found {
            Some(finding) if finding.violated => Ok(finding),
            Some(finding) if matches!(finding.truth, Truth::NoData | Truth::Failed) => Err(("stale", None)),
            Some(_) => Err(("cleared", None)),
            None => Err(("stale", None)),
        })
    }

    /// What the decision would come to; nothing of it is kept.
    fn would(
        &mut self,
        policy: &Arc<Compiled>,
        finding: &Finding,
        ledgers: HashMap<Pair, crate::domain::decide::Ledger>,
        plan: &mut Plan,
    ) -> Came {
        let clock = self.parts.clock.clone();
        let mut deciding = Deciding::new(plan, ledgers, self.parts.settings.max_attempts(), &clock);
        let target = finding.target.as_deref().unwrap_or_default();
        let partition = &mut self.partitions[usize::from(partition_of(target))];
        let (tags, kind, namespace) = partition.labels(finding.key);
        deciding.finding(policy, finding, About { tags, kind, namespace })
    }

    /// Says of each action that waits for an approval what people are asked about.
    pub(super) fn bind(&self, plan: &mut Plan) {
        for action in plan.actions.iter_mut().filter(|action| !action.simulated) {
            let (Some(asked), Some((id, name, version))) = (&mut action.approval, &action.policy) else {
                continue;
            };
            let params = serde_json::from_str(&action.params).unwrap_or_default();
            let policy = (name.as_str(), *id, *version);
            let deed = Deed { policy, kind: &action.kind, target: &action.target, params: &params };
            asked.plan = Some(plan_of(self.parts.plugins.as_ref(), self.parts.pushes, deed));
        }
    }
}

/// What the rules say of a yes. A policy that says something else now does not ask for this any more.
fn answered(
    request: &mut Request,
    asked: &Approve,
    (current, version): (&str, i64),
    (pending, now): (&Pending, Timestamp),
) -> Result<Counted, Refusal> {
    let counted = request.approve(asked.by.as_deref(), (&asked.hash, current), now)?;
    let outdated = version != pending.row.policy_version;
    if outdated && counted != Counted::Again { Err(Refusal::Changed) } else { Ok(counted) }
}

fn outdated(pending: &Pending, version: i64) -> String {
    let (name, before) = (&pending.policy, pending.row.policy_version);
    if version == 0 {
        return format!("policy `{name}` is gone or off");
    }
    format!(
        "policy `{name}` is at version {version}, and version {before} asked; it asks anew if it still has to"
    )
}

/// Whether that is what people were asked about.
fn same(draft: &ActionDraft, pending: &Pending) -> bool {
    let params: serde_json::Value = serde_json::from_str(&draft.params).unwrap_or_default();
    draft.approval.is_some()
        && draft.step == Some(pending.step)
        && draft.kind == pending.kind
        && draft.target == pending.row.target
        && params == pending.params
}

/// Until when the reason holds for which nothing would be asked.
fn until(plan: &Plan) -> Option<Timestamp> {
    plan.changes.iter().rev().find_map(|change| match change {
        IncidentChange::Decided { verdict: Verdict::Suppress { until, .. }, .. } => *until,
        IncidentChange::Decided { .. }
        | IncidentChange::Withdrawn { .. }
        | IncidentChange::Calm { .. }
        | IncidentChange::Clearing { .. }
        | IncidentChange::Closed { .. } => None,
    })
}
