//! Opposite actions within the plan at hand, and the duels that it stops.

use super::{Deciding, Pair};
use crate::domain::decide::{Ledger, Reason};
use crate::domain::opposites::{Act, Of};
use crate::domain::rail::Rail;

impl Deciding<'_> {
    /// What this plan has done to the target, and the duels over it that it has stopped.
    pub(super) fn lately(&self, pair: &Pair, ledger: &mut Ledger) {
        if pair.simulated {
            return;
        }
        let here = self.acts.iter().filter(|(target, _)| *target == pair.target);
        ledger.lately.acts.extend(here.map(|(_, act)| act.clone()));
        let here = self.plan.duels.iter().filter(|(target, _)| *target == pair.target);
        ledger.lately.duels.extend(here.map(|(_, duel)| duel.clone()));
    }

    /// An action is about to be added to the plan.
    pub(super) fn did(&mut self, pair: &Pair, kind: &str) {
        let opposites = self.ledgers.get(pair).map(|ledger| &ledger.opposites);
        if opposites.is_some_and(|opposites| opposites.concern(kind)) {
            let action = Of::New(self.plan.actions.len());
            let act = Act { action, policy: pair.policy, kind: kind.to_owned(), at: self.plan.now };
            self.acts.push((pair.target.clone(), act));
        }
    }

    /// An action is not made for that reason.
    pub(super) fn stopped(&mut self, pair: &Pair, reason: Reason) {
        if let Reason::Rail(Rail::Opposite(conflict)) = reason {
            self.plan.duels.extend(conflict.duel.map(|duel| (pair.target.clone(), duel)));
        }
    }
}
