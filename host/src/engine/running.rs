//! A sum that moves along with its window, so that a mean over a day costs an event no more than one over a second.
//!
//! It is exact, so what comes and goes leaves nothing behind: the value is the one that adding up afresh has.

use std::collections::VecDeque;
use std::time::Duration;

use super::folded::Exact;
use super::history::Sample;
use crate::domain::Timestamp;

/// The sum of a history's samples after `from` and not after `to`.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) over: Duration,
    from: Timestamp,
    to: Timestamp,
    sum: Exact,
}

impl Running {
    /// A sum of nothing.
    pub(super) fn new(over: Duration) -> Self {
        let never = Timestamp::from_micros(i64::MIN);
        Self { over, from: never, to: never, sum: Exact::default() }
    }

    /// A sample has come.
    pub(super) fn add(&mut self, sample: Sample) {
        if sample.at > self.from && sample.at <= self.to {
            self.sum.add(sample.value);
        }
    }

    /// A sample has gone.
    pub(super) fn remove(&mut self, sample: Sample) {
        if sample.at > self.from && sample.at <= self.to {
            self.sum.add(-sample.value);
        }
    }

    /// Moves the window's end to `now`.
    pub(super) fn slide(&mut self, samples: &VecDeque<Sample>, now: Timestamp) {
        let from = now.before(self.over);
        let place = |at: Timestamp| samples.partition_point(|sample| sample.at <= at);
        if from >= self.to || now < self.to || !self.sum.value().is_finite() {
            self.sum = Exact::default();
            let (begin, end) = (place(from), place(now));
            samples.range(begin.min(end)..end).for_each(|sample| self.sum.add(sample.value));
        } else {
            let gone = place(self.from)..place(from).max(place(self.from));
            samples.range(gone).for_each(|sample| self.sum.add(-sample.value));
            samples.range(place(self.to)..place(now)).for_each(|sample| self.sum.add(sample.value));
        }
        (self.from, self.to) = (from, now);
    }

    /// The sum of the samples after `from` and not after `to`, if those are the ones it has.
    pub(super) fn value(&self, samples: &VecDeque<Sample>, from: Timestamp, to: Timestamp) -> Option<f64> {
        let place = |at: Timestamp| samples.partition_point(|sample| sample.at <= at);
        let same = (from, to) == (self.from, self.to)
            || (self.to > self.from && place(from) == place(self.from) && place(to) == place(self.to));
        same.then(|| self.sum.value()).filter(|sum| sum.is_finite())
    }
}
