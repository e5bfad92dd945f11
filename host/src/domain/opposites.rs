//! Actions that undo each other. Of two on one target within a window the second is stopped, and whoever made the first one
//! stops there, too: automation does not duel, neither with itself nor with people.

use std::time::Duration;

use serde::Serialize;

use super::Timestamp;
use super::mutant::{Fault, holds};
use super::policy::Spec;

/// Pairs that the list of opposites may have.
pub const MOST: usize = 64;

/// Which actions undo each other, and for how long that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opposites {
    pairs: Vec<(String, String)>,
    /// How long after an action its opposite is stopped.
    pub window: Duration,
}

/// `scale_up` and `scale-up` are one.
fn plain(kind: &str) -> String {
    kind.replace('_', "-")
}

impl Opposites {
    /// Pairs of kinds of actions.
    #[must_use]
    pub fn new(pairs: &[(String, String)], window: Duration) -> Self {
        Self { pairs: pairs.iter().map(|(one, other)| (plain(one), plain(other))).collect(), window }
    }

    /// Whether one undoes the other.
    #[must_use]
    pub fn are(&self, one: &str, other: &str) -> bool {
        let (one, other) = (plain(one), plain(other));
        self.pairs.iter().any(|(a, b)| (*a == one && *b == other) || (*a == other && *b == one))
    }

    /// Whether one of the policy's steps has an opposite at all.
    #[must_use]
    pub fn any(&self, spec: &Spec) -> bool {
        let steps = spec.steps.iter().map(|step| &step.action);
        std::iter::once(&spec.action).chain(steps).any(|kind| self.concern(kind))
    }

    /// Whether that kind has an opposite at all.
    #[must_use]
    pub fn concern(&self, kind: &str) -> bool {
        let kind = plain(kind);
        self.pairs.iter().any(|(a, b)| *a == kind || *b == kind)
    }
}

/// An action: one of the database, or of the plan at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Of {
    /// Its id.
    #[serde(rename = "action_id")]
    Known(i64),
    /// Its place in the plan; it has no id yet.
    #[serde(rename = "in_plan")]
    New(usize),
}

/// What was lately done to a target.
#[derive(Clone, Debug)]
pub struct Act {
    /// Which action.
    pub action: Of,
    /// The policy's id; 0: a person.
    pub policy: i64,
    /// What.
    pub kind: String,
    /// When it was reserved.
    pub at: Timestamp,
}

/// A stopped duel over a target: its parties wait until it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duel {
    /// The action that was first.
    pub action: Of,
    /// Whose it was, and whose the opposite would have been; 0: a person.
    pub policies: [i64; 2],
    /// What each was.
    pub kinds: [String; 2],
    /// When it is over.
    pub until: Timestamp,
}

/// Why an action is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The action that was first.
    #[serde(flatten)]
    pub action: Of,
    /// What that was.
    pub done: String,
    /// What is not done.
    pub wanted: String,
    /// When its window ends.
    pub until: Timestamp,
    /// What both parties are told by this; none: they were before.
    #[serde(skip)]
    pub duel: Option<Duel>,
}

/// What is known of a target's opposites.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// What was done to it in the window.
    pub acts: Vec<Act>,
    /// Duels that are not over.
    pub duels: Vec<Duel>,
}

impl Lately {
    /// Why `policy` (0: a person) may not do `kind` to the target now.
    #[must_use]
    pub fn stops(
        &self,
        opposites: &Opposites,
        (policy, kind): (i64, &str),
        now: Timestamp,
    ) -> Option<Conflict> {
        let stands = |by: &dyn Fn(&&Duel) -> bool| {
            let duel = self.duels.iter().filter(|duel| duel.until > now).find(by)?;
            let (action, until, done) = (duel.action, duel.until, duel.kinds[0].clone());
            Some(Conflict { action, done, wanted: kind.to_owned(), until, duel: None })
        };
        // A party of one duel is in no other before that is over; who comes with one of its kinds alone may begin one.
        let party = |duel: &&Duel| policy != 0 && duel.policies.contains(&policy) && holds(Fault::Duel);
        let alike = |duel: &&Duel| duel.kinds.iter().any(|of| plain(of) == plain(kind));
        stands(&party).or_else(|| self.undoes(opposites, (policy, kind), now)).or_else(|| stands(&alike))
    }

    /// The latest action that `kind` would undo, and the duel that is stopped by not doing that.
    fn undoes(&self, opposites: &Opposites, (policy, kind): (i64, &str), now: Timestamp) -> Option<Conflict> {
        let mut acts = self.acts.iter().rev().filter(|act| act.at.after(opposites.window) > now);
        let first = acts.find(|act| opposites.are(&act.kind, kind)).filter(|_| holds(Fault::Opposite))?;
        let until = first.at.after(opposites.window);
        let (done, wanted) = (first.kind.clone(), kind.to_owned());
        let kinds = [done.clone(), wanted.clone()];
        let duel = Duel { action: first.action, policies: [first.policy, policy], kinds, until };
        Some(Conflict { action: first.action, done, wanted, until, duel: Some(duel) })
    }
}
