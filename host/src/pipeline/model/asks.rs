//! People in the model: they say yes or no to what waits, or nothing.

use std::time::Duration;

use super::{Made, World};
use crate::domain::Timestamp;
use crate::domain::decide::Awaiting;
use crate::domain::incident::State;
use crate::engine::Finding;
use crate::pipeline::decide::Pair;

impl Made {
    /// It is one of its incident's actions: nobody is asked any more.
    pub(super) fn is_its(&self) -> bool {
        self.waits.is_none()
    }

    /// It has begun and not ended.
    pub(super) fn runs(&self) -> bool {
        self.ended.is_none() && self.is_its()
    }

    fn is_of(&self, pair: &Pair) -> bool {
        self.policy == pair.policy && self.target == pair.target
    }
}

impl World {
    /// The request of a pair that waits.
    pub(super) fn waiting(&self, pair: &Pair) -> Option<Awaiting> {
        let until = self.actions.iter().find_map(|made| made.waits.filter(|_| made.is_of(pair)))?;
        Some(Awaiting { until, policy_version: 1 })
    }

    /// The request of a pair comes to nothing: its reservation is given back.
    pub(super) fn refuse(&mut self, pair: &Pair, now: Timestamp) {
        self.actions.retain(|made| made.is_its() || !made.is_of(pair));
        self.refused.insert(pair.clone(), now);
    }

    /// Somebody answers, if anything waits; what nobody has answered in time is over.
    pub(super) fn answer(&mut self) {
        let now = self.clock.now();
        let waiting: Vec<usize> = (0..self.actions.len()).filter(|at| !self.actions[*at].is_its()).collect();
        if waiting.is_empty() {
            return;
        }
        let at = waiting[usize::try_from(self.random.below(waiting.len() as u64)).unwrap_or(0)];
        let made = &mut self.actions[at];
        let late = made.waits.is_some_and(|until| now >= until);
        if !late && self.random.below(3) > 0 {
            made.waits = None;
            return;
        }
        let pair = Pair { policy: made.policy, target: made.target.clone(), simulated: false };
        self.refuse(&pair, now);
    }

    /// An incident ended: only by what was observed after its last action had settled.
    pub(super) fn closed(&mut self, at: usize, finding: &Finding, pair: &Pair) -> Result<(), String> {
        if self.waiting(pair).is_some() {
            return Err("a request outlived its incident".to_owned());
        }
        let incident = self.incidents.remove(pair).ok_or("closed what is not open")?;
        let last = self.actions.iter().rev().find(|made| made.incident == incident.id);
        let Some(last) = last.filter(|_| incident.state == State::Open) else { return Ok(()) };
        let settle = self.policies[at].policy.rung(last.step).map_or(Duration::ZERO, |rung| rung.settle);
        match last.ended {
            Some(ended) if finding.observed_at > ended.after(settle) => {
                self.healed.insert(pair.clone(), (last.step, self.clock.now()));
                Ok(())
            }
            _ => Err("healed by what was observed before".to_owned()),
        }
    }
}
