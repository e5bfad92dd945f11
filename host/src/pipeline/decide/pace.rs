//! What the plan at hand adds to what has not been seen to help yet.

use serde_json::{Value, json};

use super::{Deciding, Pair};
use crate::domain::decide::{Decision, Handover, Ledger, Violated, next_step};
use crate::engine::Compiled;

impl Deciding<'_> {
    /// Adds it to a ledger.
    pub(super) fn pace(&self, compiled: &Compiled, pair: &Pair, ledger: &mut Ledger) {
        if pair.simulated {
            return;
        }
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        if ledger.incident.as_ref().is_some_and(|incident| incident.actions > 0) {
            // The last one has not helped, or nothing would be decided.
            ledger.pace.helped = 0;
        }
        ledger.pace.unproven += self.reserved.get(&(pair.policy, false)).copied().unwrap_or(0);
        if let Some(tag) = compiled.policy.guardrails.group_tag() {
            let here = ledger.fleet.domains.place(Some(tag));
            let mine = self
                .touched
                .iter()
                .filter(|(target, _)| *target != pair.target && compiled.pattern.matches(target));
            let near = mine.filter(|(_, domains)| domains.place(Some(tag)).counts(&here));
            ledger.pace.grouped += number(near.count());
        }
        for share in ledger.pace.plugins.iter_mut().flatten() {
            share.used += self.spent_on.get(&*share.plugin).copied().unwrap_or(0);
        }
    }

    /// Says of a decision which steps were left out on the way to it.
    pub(super) fn left_out(
        &self,
        (compiled, violated): (&Compiled, Violated),
        ledger: &Ledger,
        decision: &Decision,
        facts: &mut Value,
    ) {
        let policy = &compiled.policy;
        let until = match decision {
            Decision::Act { step } | Decision::Ask { step } => Some(*step),
            Decision::HandOver(Handover::Ineffective) => None,
            Decision::HandOver(_) | Decision::Suppress(_) => return,
        };
        if policy.guardrails.effectiveness.is_none() {
            return;
        }
        let from = next_step(policy, violated, ledger, self.plan.now);
        let left_out = ledger.pace.left_out(policy, from, until);
        if let (Value::Object(facts), false) = (facts, left_out.is_empty()) {
            facts.insert("left_out".to_owned(), json!(left_out));
        }
    }

    /// The plugin that would do what an action on that step of the pair's policy is, where that is limited.
    pub(super) fn served_by(&mut self, pair: &Pair, step: usize) -> Option<String> {
        let share = self.ledgers.get(pair)?.pace.plugins.get(step)?.as_ref()?;
        let plugin = share.plugin.to_string();
        *self.spent_on.entry(plugin.clone()).or_default() += 1;
        Some(plugin)
    }
}
