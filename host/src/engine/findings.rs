//! What the engine found in a batch or a tick, for the writer to decide about.

use std::sync::Arc;

use super::partition::{SeriesKey, Truth};
use crate::domain::Timestamp;

/// What the writer has to decide about.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Position in the policy set.
    pub policy: u32,
    /// The target's name; [`None`] where the event names none.
    pub target: Option<Arc<str>>,
    /// What the condition says.
    pub truth: Truth,
    /// Met for as long as the policy asks.
    pub violated: bool,
    /// An incident of this policy and target may be standing.
    pub standing: bool,
    /// When the sample that led to it was observed, and its id.
    pub observed_at: Timestamp,
    /// The metric id of that sample.
    pub event_id: i64,
    /// The values that the condition's reads had.
    pub saw: Vec<(String, Option<f64>)>,
    /// The series of that sample.
    pub key: SeriesKey,
    /// The sample is a simulated one.
    pub simulated: bool,
}

/// What the engine found in one batch.
#[derive(Debug, Default)]
pub struct Findings {
    /// What has to be decided about, in order.
    pub list: Vec<Finding>,
    /// Evaluations by policy position and result: met, clear, no data, failed.
    tally: Vec<[u32; 4]>,
    /// The policies that were evaluated: of ten thousand a batch concerns few.
    evaluated: Vec<u32>,
}

impl Findings {
    pub(super) fn count(&mut self, policy: u32, truth: Truth) {
        let at = policy as usize;
        if self.tally.len() <= at {
            self.tally.resize(at + 1, [0; 4]);
        }
        let tally = &mut self.tally[at];
        if *tally == [0; 4] {
            self.evaluated.push(policy);
        }
        tally[truth as usize] += 1;
    }

    /// How many evaluations there were.
    #[must_use]
    pub fn evaluations(&self) -> i64 {
        let of =
            |policy: &u32| self.tally[*policy as usize].iter().map(|count| i64::from(*count)).sum::<i64>();
        self.evaluated.iter().map(of).sum()
    }

    /// Empties it for the next batch and tells how often each policy was evaluated, by result: met, clear, no
    /// data, failed.
    pub fn clear(&mut self, mut each: impl FnMut(u32, [u32; 4])) {
        self.list.clear();
        for policy in self.evaluated.drain(..) {
            each(policy, std::mem::take(&mut self.tally[policy as usize]));
        }
    }
}
