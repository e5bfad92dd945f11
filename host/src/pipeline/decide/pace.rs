//! What the plan at hand adds to what has not been seen to help yet.

use super::{Deciding, Pair};
use crate::domain::decide::Ledger;
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
            let mine = self.touched.iter().filter(|(target, _)| {
                *target != pair.target && compiled.pattern.matches(target)
            });
            let near = mine.filter(|(_, domains)| domains.place(Some(tag)).counts(&here));
            ledger.pace.grouped += number(near.count());
        }
        for share in ledger.pace.plugins.iter_mut().flatten() {
            share.used += self.spent_on.get(&*share.plugin).copied().unwrap_or(0);
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
