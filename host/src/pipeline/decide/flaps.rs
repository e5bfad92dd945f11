//! Incidents that open again and again.

use serde_json::{Value, json};

use super::{Deciding, Pair};
use crate::domain::Timestamp;
use crate::domain::policy::Mode;
use crate::engine::{Compiled, Finding};
use crate::pipeline::notice::{Told, notice};
use crate::store::Which;

impl Deciding<'_> {
    /// An incident opens, the next of the plan's. Until when its pair is flapping, if it is; when that begins, a human is
    /// told.
    pub(super) fn flaps(
        &mut self,
        compiled: &Compiled,
        finding: &Finding,
        pair: &Pair,
        evidence: &mut Value,
    ) -> Option<Timestamp> {
        let (policy, rails) = (&compiled.policy, compiled.policy.guardrails.flapping);
        if policy.mode == Mode::Observe {
            return None;
        }
        let flaps = &mut self.ledgers.entry(pair.clone()).or_default().flaps;
        let flaw = flaps.open(rails, self.plan.now)?;
        let (openings, within) = (flaps.openings, rails.within.as_secs_f64());
        evidence["flapping"] = json!({"openings": openings, "changes": rails.changes, "within_seconds": within,
            "until": flaw.until});
        if let Some(step) = policy.notify().filter(|_| flaw.begins && !pair.simulated) {
            let why =
                format!("{} on {} is flapping: {openings} incidents in {within} s", policy.name, pair.target);
            let incident = Which::New(self.plan.opened.len());
            let told = Told { incident, target: &pair.target, event_id: finding.event_id, why };
            let draft = notice(policy, step, told, (self.max_attempts, self.clock.id()));
            self.plan.actions.push(draft);
        }
        Some(flaw.until)
    }
}
