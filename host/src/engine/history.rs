//! What is kept of a series for the windows that read it.
//!
//! What is kept depends on the samples alone, not on their order of arrival nor on when the process started: the
//! newest lie here one by one, sorted by time (of one moment by id), and where there are more, the older ones are
//! folded by whole minutes of the clock. So a window's value is the same, to the bit, after the history has been read
//! back from the store.

use std::collections::VecDeque;
use std::time::Duration;

use super::folded::{Exact, Minute};
use super::partition::Observed;
use super::running::Running;
use crate::domain::Timestamp;

/// The newest samples of one series, kept one by one, 24 bytes each. Beyond it there are at most a day's minutes.
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
    /// All of them older than any of the samples.
    minutes: VecDeque<Minute>,
    samples: VecDeque<Sample>,
    /// The sums of the samples in the windows of `sum` and `avg`.
    sums: Vec<Running>,
}

impl History {
    pub(super) fn new(over: Duration) -> Self {
        Self { over, minutes: VecDeque::new(), samples: VecDeque::new(), sums: Vec::new() }
    }

    /// From now on this is the longest window, and sums are asked for over those. What a longer one needs has to be
    /// read back.
    pub(super) fn serve(&mut self, over: Duration, sums: &[Duration]) {
        self.over = over;
        self.sums = sums.iter().map(|over| Running::new(*over)).collect();
    }

    /// Brings the sums to that time: then asking for them costs nothing.
    pub(super) fn slide(&mut self, now: Timestamp) {
        for sum in &mut self.sums {
            sum.slide(&self.samples, now);
        }
    }

    /// Takes a sample in, in its place. One that is too old for any window is ignored.
    pub(super) fn insert(&mut self, sample: Observed, now: Timestamp) {
        let cut = now.before(self.over).before(MARGIN);
        while self.samples.front().is_some_and(|first| first.at <= cut) {
            self.pop();
        }
        while self.minutes.front().is_some_and(|first| first.is_before(cut)) {
            self.minutes.pop_front();
        }
        if sample.at <= cut {
            return;
        }
        let key = (sample.at, sample.id);
        let sample = Sample { at: sample.at, id: sample.id, value: sample.value };
        if self.samples.back().is_none_or(|last| (last.at, last.id) < key) {
            self.samples.push_back(sample);
        } else {
            let place = self.samples.partition_point(|other| (other.at, other.id) < key);
            if place == 0 && self.samples.len() >= MOST {
                return self.fold(sample);
            }
            self.samples.insert(place, sample);
        }
        self.sums.iter_mut().for_each(|sum| sum.add(sample));
        if self.samples.len() > MOST
            && let Some(oldest) = self.pop()
        {
            self.fold(oldest);
        }
    }

    /// Takes the oldest sample away.
    fn pop(&mut self) -> Option<Sample> {
        let oldest = self.samples.pop_front()?;
        self.sums.iter_mut().for_each(|sum| sum.remove(oldest));
        Some(oldest)
    }

    /// Adds a sample to its minute.
    fn fold(&mut self, sample: Sample) {
        let number = Minute::of(sample);
        match self.minutes.binary_search_by_key(&number, Minute::number) {
            Ok(place) => self.minutes[place].add(sample),
            Err(place) => self.minutes.insert(place, Minute::new(sample)),
        }
    }

    /// The samples after `from` and not after `to`, in the order of time.
    pub(super) fn samples(&self, from: Timestamp, to: Timestamp) -> impl ExactSizeIterator<Item = &Sample> {
        let begin = self.samples.partition_point(|sample| sample.at <= from);
        let end = self.samples.partition_point(|sample| sample.at <= to);
        self.samples.range(begin.min(end)..end)
    }

    /// Their sum, rounded once; `over` is how long the window lasts.
    pub(super) fn sum(&self, over: Duration, from: Timestamp, to: Timestamp) -> f64 {
        let running = self.sums.iter().find(|sum| sum.over == over);
        running.and_then(|sum| sum.value(&self.samples, from, to)).unwrap_or_else(|| {
            let mut sum = Exact::default();
            self.samples(from, to).for_each(|sample| sum.add(sample.value));
            sum.value()
        })
    }

    /// The minutes that lie there as a whole, in the order of time; before all of those samples.
    pub(super) fn minutes(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &Minute> {
        self.minutes.iter().filter(move |minute| minute.lies_between(from, to))
    }
}
