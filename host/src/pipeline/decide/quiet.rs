//! What keeps a decision from leading to something without being a limit: silences, and a condition that is clear again.

use serde_json::{Value, json};

use super::{Deciding, Pair};
use crate::domain::Timestamp;
use crate::domain::decide::{Ledger, Violated, step_ahead};
use crate::domain::event::Tags;
use crate::domain::silence::{Held, Subject};
use crate::engine::{Compiled, Finding};
use crate::store::IncidentChange;

impl Deciding<'_> {
    /// Notes that the condition is clear although the incident's action has not ended: one that waits is not started.
    pub(super) fn calm(&mut self, pair: &Pair) {
        if let Some(open) = self.open.get_mut(pair) {
            self.plan.changes.push(IncidentChange::Calm { incident: open.which });
            // What comes after this is not to be counted with what came before.
            open.last_change = None;
        }
        if let Some(incident) = self.ledgers.get_mut(pair).and_then(|ledger| ledger.incident.as_mut()) {
            incident.calm = true;
        }
    }
}

/// The silence that holds back what would be done now.
pub(super) fn silenced(
    compiled: &Compiled,
    (pair, tags): (&Pair, &Tags),
    violated: Violated,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Held> {
    let policy = &compiled.policy;
    let rung = policy.rung(step_ahead(policy, violated, ledger, now)).map(|rung| rung.action);
    let told = || policy.notify().map_or(policy.action.as_str(), |step| &step.action);
    let (severity, action) = (policy.severity.word(), rung.unwrap_or_else(told));
    ledger.silences.holding(&Subject { policy: &policy.name, target: &pair.target, severity, action, tags })
}

/// What the decision saw, for `why`.
pub(super) fn facts(compiled: &Compiled, finding: &Finding) -> Value {
    let values: serde_json::Map<String, Value> =
        finding.saw.iter().map(|(metric, value)| (metric.clone(), json!(value))).collect();
    json!({
        "condition": compiled.program.source(),
        "values": values,
        "event_id": finding.event_id,
        "observed_at": finding.observed_at,
    })
}
