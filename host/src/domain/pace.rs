//! How fast a policy may go. What has not been seen to help yet limits what may be begun: by a ramp of the policy, by groups
//! of targets of which only so many are worked on at a time, and by what a step has achieved so far. And what one plugin may
//! do within a window, whoever asks for it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::mutant::{Fault, holds};
use super::policy::Spec;

/// The most that a ramp may end at.
pub const STEEPEST: u32 = 1_024;

/// A policy begins with one action; as long as its actions help, twice as many may be unproven at once as before: 1, 2, 4 …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Ramp {
    /// Where it ends, 1 to 1,024.
    pub most: u32,
    /// What ended longer ago says nothing any more: then it begins with one again.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "1h")]
    pub within: Duration,
}

impl Default for Ramp {
    fn default() -> Self {
        Self { most: 32, within: Duration::from_hours(1) }
    }
}

impl Ramp {
    /// How many may be unproven at once after so many helped in a row: each wave is as large as all before it and one more.
    #[must_use]
    pub fn allows(&self, helped: u32) -> u32 {
        let waves = helped.saturating_add(1).ilog2();
        1_u32.checked_shl(waves).unwrap_or(u32::MAX).min(self.most)
    }
}

/// Of targets that stand for each other only so many are worked on at a time, whoever does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Group {
    /// The tag whose value is theirs in common; targets without it are a group of their own.
    #[schema(example = "cluster")]
    pub per: String,
    /// How many of them, 1 to 1,000.
    #[serde(default = "one")]
    pub max: u32,
}

fn one() -> u32 {
    1
}

/// A step that was tried often enough and helped too seldom is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EffectivenessRail)]
#[serde(default)]
pub struct Effectiveness {
    /// Of a hundred actions so many must have healed.
    pub percent: u32,
    /// With fewer tries than that nothing is said.
    pub tries: u32,
    /// What ended longer ago is not counted, so that it is tried again one day.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "7d")]
    pub within: Duration,
}

impl Default for Effectiveness {
    fn default() -> Self {
        Self { percent: 20, tries: 10, within: Duration::from_hours(7 * 24) }
    }
}

impl Effectiveness {
    /// Whether a step that did so much is worth another try.
    #[must_use]
    pub fn holds(&self, done: Achieved) -> bool {
        done.tried < self.tries
            || u64::from(done.healed) * 100 >= u64::from(done.tried) * u64::from(self.percent)
    }
}

/// What a step has achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Achieved {
    /// Actions after which it was clear.
    pub healed: u32,
    /// Those of which one knows whether it was.
    pub tried: u32,
}

/// A step that is left out, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The step, from 0.
    pub step: usize,
    /// What it has achieved.
    #[serde(flatten)]
    pub done: Achieved,
}

/// What the ledger says of all this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Actions of the policy that have not ended, or ended and are not judged yet.
    pub unproven: u32,
    /// Its latest actions that helped, one after the other.
    pub helped: u32,
    /// Actions on targets of the same group that have not ended or are not judged yet.
    pub grouped: u32,
    /// What each step has achieved, from step 0.
    pub achieved: Arc<[Achieved]>,
    /// What was spent of the plugin that each step needs, where that is limited.
    pub plugins: Vec<Option<Share>>,
}

impl Pace {
    /// What the steps from `from` on have achieved that are left out before `until`; none: all that are left.
    #[must_use]
    pub fn left_out(&self, spec: &Spec, from: usize, until: Option<usize>) -> Vec<LeftOut> {
        let steps = (from..until.unwrap_or(usize::MAX)).take_while(|step| spec.rung(*step).is_some());
        let one = |step| LeftOut { step, done: self.achieved.get(step).copied().unwrap_or_default() };
        steps.map(one).collect()
    }

    /// The first step from `step` on that has not been shown to be in vain; none: all that is left has.
    #[must_use]
    pub fn useful(&self, spec: &Spec, step: usize) -> Option<usize> {
        let Some(asked) = spec.guardrails.effectiveness.as_ref().filter(|_| holds(Fault::Useful)) else {
            return Some(step);
        };
        let done = |step: usize| self.achieved.get(step).copied().unwrap_or_default();
        let last = spec.steps.len();
        (step..=last).take_while(|step| spec.rung(*step).is_some()).find(|step| asked.holds(done(*step)))
    }
}

/// What one plugin has done of what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub plugin: Arc<str>,
    /// Actions that it was to do in the window.
    pub used: u32,
    /// Actions allowed in it.
    pub limit: u32,
    /// When the oldest of them leaves it.
    pub until: Option<Timestamp>,
}

/// How much a plugin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most actions in one window; 0 means none.
    pub max_actions: u32,
    /// The length of that window.
    pub window: Duration,
}

type Router = Box<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// What plugins may do, by their names; and which of them does what, as soon as that is known.
#[derive(Default)]
pub struct Plugins {
    budgets: BTreeMap<String, Budget>,
    router: OnceLock<Router>,
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Plugins").field("budgets", &self.budgets).finish_non_exhaustive()
    }
}

impl Plugins {
    /// Those budgets.
    #[must_use]
    pub fn new(budgets: BTreeMap<String, Budget>) -> Self {
        Self { budgets, router: OnceLock::new() }
    }

    /// Says once and for all who does what: the plugin for a kind of action on a target.
    pub fn route(&self, router: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) {
        // A second one would be the same.
        let _ = self.router.set(Box::new(router));
    }

    /// Whether there is anything to count.
    #[must_use]
    pub fn limited(&self) -> bool {
        !self.budgets.is_empty()
    }

    /// The plugin that would do it and what it may do; none: nothing limits it.
    #[must_use]
    pub fn of(&self, kind: &str, target: &str) -> Option<(&str, Budget)> {
        if self.budgets.is_empty() {
            return None;
        }
        let name = self.router.get()?(kind, target)?;
        self.budgets.get_key_value(&name).map(|(name, budget)| (name.as_str(), *budget))
    }
}

#[cfg(test)]
mod tests {
    use super::{Achieved, Effectiveness, Ramp};

    #[test]
    fn a_ramp_doubles_with_each_wave_that_helped() {
        let ramp = Ramp { most: 8, ..Ramp::default() };
        let allowed: Vec<u32> = (0..20).map(|helped| ramp.allows(helped)).collect();
        assert_eq!(allowed[..8], [1, 2, 2, 4, 4, 4, 4, 8]);
        assert!(allowed[8..].iter().all(|most| *most == 8));
        assert_eq!(Ramp { most: 1_024, ..Ramp::default() }.allows(u32::MAX), 1_024);
    }

    #[test]
    fn a_step_is_judged_by_what_it_did_often_enough() {
        let asked = Effectiveness { percent: 50, tries: 4, ..Effectiveness::default() };
        for (healed, tried, holds) in [(0, 0, true), (0, 3, true), (0, 4, false), (1, 4, false), (2, 4, true)]
        {
            assert_eq!(asked.holds(Achieved { healed, tried }), holds, "{healed} of {tried}");
        }
    }
}
