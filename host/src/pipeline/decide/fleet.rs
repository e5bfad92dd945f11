//! What the plan at hand adds to what the database knows of a policy's targets.

use std::sync::Arc;

use super::{Deciding, Pair};
use crate::domain::decide::{Fleet, Ledger, storms};
use crate::domain::fleet::Domains;
use crate::engine::Compiled;

impl Deciding<'_> {
    /// Adds it to a ledger; and a storm it finds is noted.
    pub(super) fn fleet(&mut self, compiled: &Compiled, pair: &Pair, ledger: &mut Ledger) {
        if pair.simulated {
            // Nothing simulated can hurt anybody, and nothing real is to hold it back.
            ledger.fleet = Fleet { known: u32::MAX, ..Fleet::default() };
            return;
        }
        let (rails, number) = (&compiled.policy.guardrails, |count| u32::try_from(count).unwrap_or(u32::MAX));
        let (here, watch) =
            (ledger.fleet.domains.place(rails.blast_tag()), ledger.fleet.domains.place(rails.mass_tag()));
        let storm = (pair.policy, watch.name().to_owned());
        ledger.fleet.sick += self.sickened.get(&storm).copied().unwrap_or(0);
        let limit = rails.blast_radius.allows(ledger.fleet.known);
        // Matching them one by one is only worth it where it can matter.
        if number(self.touched.len()).saturating_add(ledger.fleet.touched) >= limit {
            let mine = self.touched.iter().filter(|(target, _)| compiled.pattern.matches(target));
            let mine = mine.filter(|(_, domains)| domains.place(rails.blast_tag()).counts(&here));
            ledger.fleet.touched += number(mine.count());
        }
        // Who only observes has nothing to stop, and its fleet was not counted.
        let acts = compiled.policy.mode.acts();
        if acts && storms(&compiled.policy, ledger) && !self.plan.storms.contains(&storm) {
            self.plan.storms.push(storm);
        }
    }

    /// Where that pair's target is.
    pub(super) fn place(&self, pair: &Pair) -> Arc<Domains> {
        self.ledgers.get(pair).map(|ledger| Arc::clone(&ledger.fleet.domains)).unwrap_or_default()
    }

    /// That pair's incident has just opened.
    pub(super) fn sicken(&mut self, compiled: &Compiled, pair: &Pair) {
        if !pair.simulated {
            let place = self.place(pair).place(compiled.policy.guardrails.mass_tag());
            *self.sickened.entry((pair.policy, place.name().to_owned())).or_default() += 1;
        }
    }
}
