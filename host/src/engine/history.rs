//! What is kept of a series for the windows that read it.
//!
//! What is kept depends on the samples alone, not on their order of arrival nor on when the process started: the
//! samples lie sorted by time (of one moment by id), and where there are too many, the newest stay. So a window's
//! value is the same, to the bit, after the history has been read back from the store.

use std::collections::VecDeque;
use std::time::Duration;

use super::partition::Observed;
use crate::domain::Timestamp;

/// Samples of one series that windows see: of more, the newest. At 24 bytes each this is what bounds its memory.
pub(super) const MOST: usize = 4_096;

/// How much longer than the longest window samples are kept: two nodes' clocks may be so far apart.
pub(super) const MARGIN: Duration = Duration::from_mins(1);

/// A sample in a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Timestamp,
    pub(super) id: i64,
    pub(super) value: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    /// The longest window that reads the series.
    over: Duration,
    samples: VecDeque<Sample>,
}

impl History {
    pub(super) fn new(over: Duration) -> Self {
        Self { over, samples: VecDeque::new() }
    }

    /// From now on this is the longest window. What a longer one needs has to be read back.
    pub(super) fn set_over(&mut self, over: Duration) {
        self.over = over;
    }

    /// Takes a sample in, in its place. One that is too old for any window is ignored, and so is one that is here
    /// already.
    pub(super) fn insert(&mut self, sample: Observed, now: Timestamp) {
        let cut = now.before(self.over).before(MARGIN);
        while self.samples.front().is_some_and(|first| first.at <= cut) {
            self.samples.pop_front();
        }
        if sample.at <= cut {
            return;
        }
        let (key, new) =
            ((sample.at, sample.id), Sample { at: sample.at, id: sample.id, value: sample.value });
        if self.samples.back().is_none_or(|last| (last.at, last.id) < key) {
            self.samples.push_back(new);
        } else {
            let place = self.samples.partition_point(|other| (other.at, other.id) < key);
            let known = self.samples.get(place).is_some_and(|other| (other.at, other.id) == key);
            let too_old = place == 0 && self.samples.len() >= MOST;
            if known || too_old {
                return;
            }
            self.samples.insert(place, new);
        }
        if self.samples.len() > MOST {
            self.samples.pop_front();
        }
    }

    /// The samples after `from` and not after `to`, in the order of time.
    pub(super) fn between(&self, from: Timestamp, to: Timestamp) -> impl ExactSizeIterator<Item = &Sample> {
        let begin = self.samples.partition_point(|sample| sample.at <= from);
        let end = self.samples.partition_point(|sample| sample.at <= to);
        self.samples.range(begin.min(end)..end)
    }
}
