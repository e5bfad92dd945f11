//! The end of an incident: when it has been clear for long enough, on what was observed after its last action.

use serde_json::{Value, json};

use super::{Came, Deciding, Pair, settle};
use crate::domain::Timestamp;
use crate::domain::approval;
use crate::domain::decide::clears;
use crate::domain::incident::State;
use crate::domain::mutant::{Fault, holds};
use crate::engine::{Compiled, Finding, Truth};
use crate::store::IncidentChange;

impl Deciding<'_> {
    /// What a finding that is no violation means for an incident that stands.
    pub(super) fn unviolated(&mut self, compiled: &Compiled, finding: &Finding, pair: &Pair) -> Came {
        let clear = match finding.truth {
            // Neither: what has been clear for a while may go on to be so.
            Truth::NoData | Truth::Failed if holds(Fault::NoDataClears) => return Came::Nothing,
            Truth::Clear | Truth::NoData | Truth::Failed => true,
            Truth::Between => !holds(Fault::Between),
            Truth::Met => false,
        };
        let standing = self.ledgers.get(pair).and_then(|ledger| ledger.incident.clone());
        let Some(incident) = standing.filter(|_| clear) else {
            self.clearing(pair, None);
            if finding.truth == Truth::Between {
                self.unmet(pair);
            }
            return if clear { Came::Cleared } else { Came::Nothing };
        };
        let (keep, now) = (compiled.policy.guardrails.keep, self.plan.now);
        let settle = settle(compiled, Some(&incident));
        if clears(&incident, settle, finding.observed_at, (keep, now)) {
            let saw = saw(compiled, finding, incident.clear_since);
            self.close(pair, State::Healed, Some((finding.event_id, saw)));
            return Came::Cleared;
        }
        self.unmet(pair);
        if !keep.is_zero() {
            self.clearing(pair, incident.clear_since.or(Some(now)));
        }
        Came::Nothing
    }

    /// What waits for its turn is not started while the condition is not met.
    fn unmet(&mut self, pair: &Pair) {
        let standing = self.ledgers.get(pair).and_then(|ledger| ledger.incident.as_ref());
        if standing.is_some_and(|incident| incident.busy && !incident.calm) {
            self.calm(pair);
        }
    }

    /// Notes since when an incident has been clear; none: it is not.
    pub(super) fn clearing(&mut self, pair: &Pair, since: Option<Timestamp>) {
        let standing = self.ledgers.get_mut(pair).and_then(|ledger| ledger.incident.as_mut());
        if let (Some(open), Some(incident)) = (self.open.get(pair), standing)
            && incident.clear_since != since
        {
            incident.clear_since = since;
            self.plan.changes.push(IncidentChange::Clearing { incident: open.which, since });
        }
    }

    /// Ends an incident: by an event and what was seen then, or because it has seen no data for too long, or its policy is
    /// gone.
    pub fn close(&mut self, pair: &Pair, state: State, by: Option<(i64, Value)>) {
        let why =
            if state == State::Healed { "the condition is not met any more" } else { "its incident is over" };
        self.withdraw(pair, (approval::State::Withdrawn, why.to_owned()));
        if let Some(open) = self.open.remove(pair) {
            let standing = self.ledgers.get(pair).and_then(|ledger| ledger.incident.as_ref());
            let acted = standing.filter(|standing| {
                state == State::Healed && standing.state == State::Open && standing.actions > 0
            });
            let repaired_since = acted.filter(|_| !pair.simulated).map(|standing| standing.opened_at);
            let (event_id, saw) = by.unzip();
            let closed = IncidentChange::Closed {
                incident: open.which,
                state,
                event_id,
                saw: saw.unwrap_or_default(),
                repaired_since,
            };
            self.plan.changes.push(closed);
        }
        if let Some(ledger) = self.ledgers.get_mut(pair) {
            ledger.incident = None;
        }
    }
}

/// What ended an incident, where the policy says when that is; null where it says nothing of its own.
fn saw(compiled: &Compiled, finding: &Finding, since: Option<Timestamp>) -> Value {
    let keep = compiled.policy.guardrails.keep;
    if compiled.clear.is_none() && keep.is_zero() {
        return Value::Null;
    }
    let values: serde_json::Map<String, Value> =
        finding.saw.iter().map(|(metric, value)| (metric.clone(), json!(value))).collect();
    json!({
        "clear": compiled.over(),
        "values": values,
        "observed_at": finding.observed_at,
        "clear_since": since,
        "keep_seconds": keep.as_secs_f64(),
    })
}
