//! People in the model: they say yes or no to what waits, or nothing.

use super::promises::promise;
use super::{EVERYBODY, Made, TARGETS, World};
use crate::domain::Timestamp;
use crate::domain::decide::Awaiting;
use crate::domain::policy::{Mode, Policy};
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
        let made = &self.actions[at];
        let late = made.waits.is_some_and(|until| now >= until);
        if !late && self.random.below(3) > 0 {
            // It is spent from now on.
            let made = Made { at: now, waits: None, ..self.actions.remove(at) };
            self.actions.push(made);
            return;
        }
        let pair = Pair { policy: made.policy, target: made.target.clone(), simulated: false };
        self.refuse(&pair, now);
    }

    /// A person scales a target, if nothing is against it.
    pub(super) fn by_hand(&mut self) {
        let (now, target) = (self.clock.now(), format!("web-{}", self.random.below(TARGETS as u64)));
        let kind = ["scale-up", "scale-down"][usize::try_from(self.random.below(2)).unwrap_or(0)].to_owned();
        let spent = self.since(now.before(EVERYBODY.1)).count();
        if !self.paused && spent < EVERYBODY.0 as usize && self.undone(&target, &kind, now).is_none() {
            let (incident, step, ended, waits, found) = (0, 0, Some(now), None, None);
            let id = self.actions.len();
            self.actions.push(Made {
                at: now,
                policy: 0,
                target,
                incident,
                step,
                kind,
                ended,
                waits,
                found,
                id,
            });
        }
    }

    /// A policy acts where it may, and asks where it has to, once, and not right after a no.
    pub(super) fn may_ask(
        &self,
        policy: &Policy,
        pair: &Pair,
        asks: bool,
        now: Timestamp,
    ) -> Result<(), String> {
        let mode = if asks { Mode::Approve } else { Mode::Auto };
        promise(policy.mode == mode, "a policy that observes or has to ask acted")?;
        promise(self.waiting(pair).is_none(), "asked twice")?;
        let cooldown = policy.guardrails.cooldown;
        let refused = self.refused.get(pair).is_none_or(|at| now >= at.after(cooldown));
        promise(refused, "asked again right after a no")
    }
}
