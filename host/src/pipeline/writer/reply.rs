//! What each request of a batch has come to, and the answer it gets.

use serde_json::Value;

use crate::engine::PolicySet;
use crate::pipeline::answer::{ActionTriggered, Answer, LISTED, Violation};
use crate::pipeline::ingest::{Reply, Request};
use crate::store::{Error, Plan, Which, Writing};

/// What one request has come to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) settled: Option<Reply>,
    /// The metric ids, in the order of the request's events.
    pub(super) ids: Vec<i64>,
    pub(super) fresh: bool,
    pub(super) violations: Vec<(Violation, Which)>,
    pub(super) total: usize,
    pub(super) actions: Vec<usize>,
    pub(super) warnings: Vec<String>,
}

impl Outcome {
    pub(super) fn violated(&mut self, violation: Violation, incident: Which, action: Option<usize>) {
        self.total += 1;
        if self.violations.len() < LISTED {
            self.violations.push((violation, incident));
        }
        self.actions.extend(action);
    }
}

pub(super) async fn answers(
    tx: &mut Writing,
    requests: &[&Request],
    outcomes: Vec<Outcome>,
    plan: &Plan,
    policies: &PolicySet,
) -> Result<Vec<Reply>, Error> {
    let mut replies = Vec::with_capacity(requests.len());
    for (request, outcome) in requests.iter().zip(outcomes) {
        if let Some(settled) = outcome.settled {
            replies.push(settled);
            continue;
        }
        let answer = answer(request, outcome, plan, policies);
        let text = serde_json::to_string(&answer).map_err(|wrong| Error::Data(wrong.to_string()))?;
        if let Some(key) = &request.key {
            tx.remember((&key.scope, &key.key), &key.body_hash, &text, plan.now).await?;
        }
        replies.push(Ok(text.into()));
    }
    Ok(replies)
}

fn answer(request: &Request, outcome: Outcome, plan: &Plan, policies: &PolicySet) -> Answer {
    let first = outcome.ids.first().copied().unwrap_or(0);
    let violations = outcome.violations.into_iter().map(|(mut violation, incident)| {
        violation.incident_id = match incident {
            Which::New(at) => plan.opened[at].id,
            Which::Known(id) => id,
        };
        violation
    });
    let triggered = |at: &usize| {
        let action = &plan.actions[*at];
        let params = action.policy.as_ref().and_then(|policy| policies.by_id(policy.0));
        ActionTriggered {
            action: action.kind.clone(),
            target: action.target.clone(),
            status: action.phase.wire().word(),
            params: params.map_or(Value::Null, |compiled| Value::Object(compiled.policy.params.clone())),
            action_id: action.id,
            policy_name: action.policy.as_ref().map(|policy| policy.1.clone()).unwrap_or_default(),
        }
    };
    let target = request.events.first().and_then(|event| event.series.target.as_ref());
    Answer {
        ok: true,
        metric_id: first,
        accepted: request.many.then_some(outcome.ids.len()),
        metric_ids: request.many.then_some(outcome.ids),
        message: "Metric ingested successfully",
        status: if outcome.fresh { "stored" } else { "duplicate" },
        policies_evaluated: true,
        violations: violations.collect(),
        violations_total: outcome.total,
        actions_triggered: outcome.actions.iter().map(triggered).collect(),
        target: target.filter(|_| !request.many).map(|target| target.name.clone()),
        event_id: first.to_string(),
        warnings: request.warnings.iter().cloned().chain(outcome.warnings).collect(),
    }
}
