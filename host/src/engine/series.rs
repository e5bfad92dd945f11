//! What a partition keeps of a target: its series' last samples, and where each policy stands on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::history::History;
use super::partition::{Observed, Truth};
use super::policies::PolicySet;
use crate::domain::Timestamp;
use crate::domain::event::Tags;
use crate::domain::fleet::Domains;
use crate::domain::mutant::{Fault, holds};

/// Samples with a time of their own that a series remembers, to know a repeat.
const REMEMBERED: usize = 128;

#[derive(Debug)]
pub(super) struct Series {
    pub(super) id: i64,
    pub(super) name: Arc<str>,
    pub(super) tags: Arc<Tags>,
    pub(super) value: f64,
    pub(super) last_at: Timestamp,
    pub(super) last_id: i64,
    pub(super) timed: VecDeque<(Timestamp, f64, i64)>,
    pub(super) policies: Box<[u32]>,
    pub(super) rev: i64,
    /// The policies' revision at which its target's parts of fleets were looked up.
    pub(super) placed: i64,
    /// Its samples, where a policy's window reads them.
    pub(super) history: Option<Box<History>>,
}

#[derive(Debug)]
pub(super) struct TargetState {
    pub(super) name: Arc<str>,
    pub(super) named: bool,
    pub(super) simulated: bool,
    pub(super) kind: String,
    pub(super) namespace: String,
    /// When it was last said to be alive, and where it was then.
    pub(super) noted: (Timestamp, Domains),
    /// At which revision of the policies it was found out whether one that concerns it has windows, and whether it has.
    pub(super) windowed: (i64, bool),
    pub(super) series: Vec<Series>,
    pub(super) pairs: Vec<Pair>,
}

/// Where one policy stands on one target. Kept only while there is something to remember.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) policy_id: i64,
    met_since: Option<Timestamp>,
    pub(super) standing: bool,
}

impl Series {
    /// A series of which nothing has been observed.
    pub(super) fn new(id: i64, name: &str, tags: Arc<Tags>) -> Self {
        Self {
            id,
            name: name.into(),
            tags,
            value: 0.0,
            last_at: Timestamp::from_micros(i64::MIN),
            last_id: 0,
            timed: VecDeque::new(),
            policies: Box::default(),
            rev: -1,
            placed: -1,
            history: None,
        }
    }

    /// Takes a sample in. Before it, [`Series::resolve`] must have told whether a window reads the series.
    pub(super) fn take(&mut self, sample: Observed, now: Timestamp) {
        if sample.timed {
            if self.timed.len() == REMEMBERED {
                self.timed.pop_front();
            }
            self.timed.push_back((sample.at, sample.value, sample.id));
        }
        self.remember(sample, now);
        self.slide(now);
    }

    /// Brings the history to the time of an evaluation.
    pub(super) fn slide(&mut self, now: Timestamp) {
        if let Some(history) = &mut self.history {
            history.slide(now);
        }
    }

    /// Takes a stored sample into the history, and as the last one if it is.
    pub(super) fn remember(&mut self, sample: Observed, now: Timestamp) {
        if (sample.at, sample.id) >= (self.last_at, self.last_id) {
            (self.last_at, self.last_id, self.value) = (sample.at, sample.id, sample.value);
        }
        if let Some(history) = &mut self.history {
            history.insert(sample, now);
        }
    }

    pub(super) fn resolve(&mut self, policies: &PolicySet, target: Option<&str>) {
        if self.rev != policies.rev {
            self.policies = policies.concerned(&self.name, target);
            self.rev = policies.rev;
            self.keep(policies.kept(&self.policies, &self.name, &self.tags));
        }
    }

    /// Empties the history.
    pub(super) fn forget(&mut self) {
        if let Some(history) = &mut self.history {
            **history = History::new(Duration::ZERO);
        }
        // The next sample brings the policies and the window's length.
        self.rev = -1;
    }

    /// Keeps a history for windows of that length at most, and sums over some lengths; or none.
    pub(super) fn keep(&mut self, kept: Option<(Duration, Vec<Duration>)>) {
        match kept {
            None => self.history = None,
            Some((over, sums)) => {
                let new = || Box::new(History::new(over));
                self.history.get_or_insert_with(new).serve(over, &sums);
            }
        }
    }
}

impl TargetState {
    /// Whether a look at it, with no new sample, may find what the last look did not: something stands or is met, a
    /// policy has windows, or a sample has become too old since (`aged` are the ages of then and now).
    pub(super) fn restless(
        &mut self,
        policies: &PolicySet,
        (before, now): (Option<Timestamp>, Timestamp),
    ) -> bool {
        if !self.pairs.is_empty() || before.is_none_or(|before| before >= now) {
            return true;
        }
        if self.windowed.0 != policies.rev {
            let named = self.named.then_some(&*self.name);
            let mut concerned = self.series.iter().flat_map(|series| policies.concerned(&series.name, named));
            self.windowed = (policies.rev, concerned.any(|at| !policies.get(at).window.is_zero()));
        }
        self.windowed.1
            || self
                .series
                .iter()
                .any(|series| series.last_at < now && before.is_some_and(|then| series.last_at >= then))
    }

    /// Whether an incident of that policy may be standing here.
    pub(super) fn stands(&self, policy_id: i64) -> bool {
        self.pairs.iter().any(|pair| pair.standing && pair.policy_id == policy_id)
    }

    pub(super) fn pair(&mut self, policy_id: i64) -> &mut Pair {
        let at = self.pairs.iter().position(|pair| pair.policy_id == policy_id).unwrap_or_else(|| {
            self.pairs.push(Pair { policy_id, met_since: None, standing: false });
            self.pairs.len() - 1
        });
        &mut self.pairs[at]
    }

    /// Violated now, and whether an incident may be standing.
    pub(super) fn advance(
        &mut self,
        policy_id: i64,
        truth: Truth,
        hold: Duration,
        now: Timestamp,
    ) -> (bool, bool) {
        match truth {
            Truth::Met => {
                let pair = self.pair(policy_id);
                let since = *pair.met_since.get_or_insert(now);
                let violated = now.since(since) >= hold;
                let standing = pair.standing;
                pair.standing |= violated;
                (violated, standing)
            }
            Truth::Clear | Truth::Between => {
                let Some(at) = self.pairs.iter().position(|pair| pair.policy_id == policy_id) else {
                    return (false, false);
                };
                // Another node's tick may have opened an incident that this engine has not seen: a condition
                // that was met before is always looked up.
                if self.pairs[at].standing {
                    self.pairs[at].met_since = None;
                } else {
                    self.pairs.swap_remove(at);
                }
                (false, true)
            }
            // Neither met nor clear: it does not reset `for`.
            Truth::NoData | Truth::Failed => {
                if !holds(Fault::NoDataResets) {
                    self.pairs.iter_mut().for_each(|pair| pair.met_since = None);
                }
                if !holds(Fault::NoDataIsMet) {
                    self.pair(policy_id).met_since.get_or_insert(now);
                }
                (false, self.pairs.iter().any(|pair| pair.policy_id == policy_id && pair.standing))
            }
        }
    }
}
