//! The pace in the model: what the store would say of it, and what was promised.

use std::time::Duration;

use super::promises::promise;
use super::scene::zone;
use super::{Made, TARGETS, World};
use crate::domain::Timestamp;
use crate::domain::incident::State;
use crate::domain::pace::{Achieved, Pace, Share};
use crate::pipeline::decide::Pair;

/// What the one plugin that is limited may do: scale so often in so long.
const SCALES: (u32, Duration) = (3, Duration::from_mins(10));

/// What was found of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Helped,
    DidNot,
    /// Nobody knows how it ended.
    Uncertain,
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl World {
    /// It is at work, or what it did has not been seen.
    fn unproven(&self, made: &Made, now: Timestamp) -> bool {
        let last = || {
            let open = self.incidents.values().find(|open| open.id == made.incident);
            let later = |other: &&Made| other.incident == made.incident && other.is_its();
            let last = self.actions.iter().rev().find(later);
            open.is_some_and(|open| open.state == State::Open) && last.is_some_and(|last| last.at == made.at)
        };
        match (made.ended, made.found) {
            (None, _) => true,
            (Some(ended), Some(Found::Uncertain)) => now < ended.after(Duration::from_mins(30)),
            (Some(_), Some(_)) => false,
            (Some(_), None) => made.policy != 0 && last(),
        }
    }

    fn unproven_elsewhere(&self, target: &str, now: Timestamp) -> impl Iterator<Item = &Made> {
        self.actions.iter().filter(move |made| made.target != target && self.unproven(made, now))
    }

    /// The policy's actions of which something was found, the last one that ended first.
    fn found(&self, policy: i64, since: Timestamp) -> Vec<(&Made, Found)> {
        let mine = self.actions.iter().filter(|made| made.policy == policy);
        let mut found: Vec<(&Made, Found)> = mine
            .filter(|made| made.ended.is_some_and(|ended| ended > since))
            .filter_map(|made| Some((made, made.found?)))
            .collect();
        found.sort_by_key(|(made, _)| std::cmp::Reverse((made.ended, made.id)));
        found
    }

    fn achieved(&self, at: usize, step: usize, now: Timestamp) -> Achieved {
        let policy = &self.policies[at].policy;
        let within = policy.guardrails.effectiveness.as_ref().map_or(Duration::ZERO, |asked| asked.within);
        let found = self.found(policy.id, now.before(within));
        let mine = found.iter().filter(|(made, found)| made.step == step && *found != Found::Uncertain);
        let healed = mine.clone().filter(|(_, found)| *found == Found::Helped).count();
        Achieved { healed: number(healed), tried: number(mine.count()) }
    }

    fn scaled(&self, now: Timestamp) -> u32 {
        number(self.since(now.before(SCALES.1)).filter(|made| made.kind.starts_with("scale")).count())
    }

    /// What the store would say.
    pub(super) fn pace(&self, at: usize, pair: &Pair, now: Timestamp) -> Pace {
        let (compiled, rails) = (&self.policies[at], &self.policies[at].policy.guardrails);
        let within = rails.ramp.as_ref().map_or(Duration::ZERO, |ramp| ramp.within);
        let found = self.found(pair.policy, now.before(within));
        let helped = found.iter().take_while(|(_, found)| *found == Found::Helped).count();
        let elsewhere = || self.unproven_elsewhere(&pair.target, now);
        let near =
            |made: &&Made| compiled.pattern.matches(&made.target) && zone(&made.target) == zone(&pair.target);
        let steps = || (0..).map_while(|step| compiled.policy.rung(step).map(|rung| (step, rung.action)));
        let share = |kind: &str| {
            let (used, limit, until) = (self.scaled(now), SCALES.0, None);
            kind.starts_with("scale").then(|| Share { plugin: "scaler".into(), used, limit, until })
        };
        Pace {
            unproven: number(elsewhere().filter(|made| made.policy == pair.policy).count()),
            helped: number(helped),
            grouped: number(elsewhere().filter(near).count()),
            achieved: steps().map(|(step, _)| self.achieved(at, step, now)).collect::<Vec<_>>().into(),
            plugins: steps().map(|(_, kind)| share(kind)).collect(),
        }
    }

    /// The incident's last action is judged.
    pub(super) fn judge(&mut self, incident: i64, found: Found) {
        let last = self.actions.iter_mut().rev().find(|made| made.incident == incident && made.is_its());
        if let Some(made) = last.filter(|made| made.found.is_none() && made.ended.is_some()) {
            made.found = Some(found);
        }
    }

    /// Whether all steps between the last one and this were left out because they are in vain.
    pub(super) fn skipped_in_vain(&self, at: usize, (last, step): (usize, usize), now: Timestamp) -> bool {
        step > last && (last + 1..step).all(|left_out| self.in_vain(at, left_out, now))
    }

    fn in_vain(&self, at: usize, step: usize, now: Timestamp) -> bool {
        let asked = self.policies[at].policy.guardrails.effectiveness.as_ref();
        let Achieved { healed, tried } = self.achieved(at, step, now);
        asked.is_some_and(|asked| tried >= asked.tries && healed * 100 < tried * asked.percent)
    }

    /// A human is given it because nothing is worth a try: so it is.
    pub(super) fn all_in_vain(&self, at: usize, now: Timestamp) -> Result<(), String> {
        let steps = (0..).take_while(|step| self.policies[at].policy.rung(*step).is_some());
        let vain = steps.filter(|step| self.in_vain(at, *step, now)).count();
        promise(vain > 0, "a human was given what could have been tried")
    }

    /// An action of that policy is about to be made.
    pub(super) fn in_pace(
        &self,
        at: usize,
        pair: &Pair,
        (step, kind, first): (usize, &str, bool),
        now: Timestamp,
    ) -> Result<(), String> {
        let (compiled, rails) = (&self.policies[at], &self.policies[at].policy.guardrails);
        promise(!self.in_vain(at, step, now), "did again what never helps")?;
        promise(!kind.starts_with("scale") || self.scaled(now) < SCALES.0, "over the plugin's budget")?;
        if let Some(group) = &rails.group {
            let names: Vec<String> = (0..TARGETS).map(|n| format!("web-{n}")).collect();
            let near = |name: &&String| {
                compiled.pattern.matches(name) && zone(name) == zone(&pair.target) && **name != pair.target
            };
            let busy = |name: &String| {
                number(self.unproven_elsewhere(&pair.target, now).filter(|made| made.target == *name).count())
            };
            let busy: u32 = names.iter().filter(near).map(busy).sum();
            promise(busy < group.max, "worked on more of a group than may be at once")?;
        }
        let Some(ramp) = &rails.ramp else { return Ok(()) };
        let found = self.found(pair.policy, now.before(ramp.within));
        let mut left = found.iter().position(|(_, found)| *found != Found::Helped).unwrap_or(found.len());
        // Its last one has just been seen not to help.
        left = if first { left } else { 0 };
        let mut wave = 1;
        while left >= wave {
            (left, wave) = (left - wave, wave * 2);
        }
        let mine = self.unproven_elsewhere(&pair.target, now).filter(|made| made.policy == pair.policy);
        promise(number(mine.count()) < number(wave).min(ramp.most), "went faster than its ramp")
    }
}

/// Some policies gather pace, or work in groups, or leave out what is in vain.
pub(super) fn rails(random: &mut super::scene::Random) -> crate::domain::guardrails::Guardrails {
    use crate::domain::pace::{Effectiveness, Group, Ramp};
    let most = u32::try_from(random.below(4)).unwrap_or(1) + 1;
    let ramp = Ramp { most, within: Duration::from_mins(20) };
    let max = u32::try_from(random.below(2)).unwrap_or(0) + 1;
    let group = Group { per: "zone".to_owned(), max };
    let asked = Effectiveness { percent: 50, tries: 2, within: Duration::from_mins(40) };
    crate::domain::guardrails::Guardrails {
        ramp: (random.below(3) == 0).then_some(ramp),
        group: (random.below(4) == 0).then_some(group),
        effectiveness: (random.below(3) == 0).then_some(asked),
        ..Default::default()
    }
}
