//! What window functions compute of the histories of a target's series; see [`Function`] for what each means.
//!
//! Series come in the order of their ids and each one's samples in the order of time, so that the sums are the same,
//! to the bit, however the samples arrived. Of a series with more than [`MOST`](super::history::MOST) samples the
//! older ones come as minutes: `avg`, `sum`, `count`, `min`, `max`, `zscore`, `delta` and `last` lose nothing by it but
//! the part of a minute at the window's beginning; for `rate` and `changes` a minute is its first and last sample, for
//! `quantile` as many samples of its mean, for `ewma` all of them at the time of the last.

use std::cmp::Ordering;
use std::time::Duration;

use super::folded::{Minute, greatest, least};
use super::history::{History, Sample};
use crate::cel::{Function, Window};
use crate::domain::Timestamp;

/// Weights of `ewma` halve with this part of its window.
const HALVES: f64 = 4.0;

/// The histories that a window reads, by series id, and the window's ends: after `from`, not after `to`.
struct Pane<'a> {
    histories: &'a [(i64, &'a History)],
    over: Duration,
    from: Timestamp,
    to: Timestamp,
}

/// The value of `window` at `now`; none for no-data. `histories` are those of the series that match, by id.
pub(super) fn value(window: &Window, histories: &[(i64, &History)], now: Timestamp) -> Option<f64> {
    let pane = Pane { histories, over: window.over, from: now.before(window.over), to: now };
    let filled = || (pane.count() > 0).then_some(&pane);
    match window.function {
        // It looks through them itself.
        Function::Quantile(q) => pane.quantile(q),
        Function::Absent => Some(f64::from(u8::from(filled().is_none()))),
        Function::Count => filled().map(|pane| number(pane.count())),
        Function::Sum => filled().map(Pane::sum),
        Function::Avg => filled().map(Pane::mean),
        Function::Min => pane.minutes().map(|minute| minute.min).chain(pane.values()).reduce(least),
        Function::Max => pane.minutes().map(|minute| minute.max).chain(pane.values()).reduce(greatest),
        Function::Last => pane.newest().map(|sample| sample.value),
        Function::Ewma => pane.ewma(window.over.as_secs_f64() / HALVES),
        Function::Zscore => pane.zscore(),
        Function::Changes => filled().map(Pane::changes),
        Function::Rate => added(pane.series().filter_map(rate)),
        Function::Delta => added(pane.series().filter_map(delta)),
    }
}

impl<'a> Pane<'a> {
    fn minutes(&self) -> impl Iterator<Item = &'a Minute> {
        self.histories.iter().flat_map(|(_, history)| history.minutes(self.from, self.to))
    }

    fn samples(&self) -> impl Iterator<Item = &'a Sample> {
        self.histories.iter().flat_map(|(_, history)| history.samples(self.from, self.to))
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.samples().map(|sample| sample.value)
    }

    /// Series by series what is known of single samples.
    fn series(&self) -> impl Iterator<Item = impl Iterator<Item = &'a Sample>> {
        self.histories.iter().map(|(_, history)| {
            let ends = history.minutes(self.from, self.to).flat_map(|minute| [&minute.first, &minute.last]);
            ends.chain(history.samples(self.from, self.to))
        })
    }

    fn count(&self) -> usize {
        let samples = self.histories.iter().map(|(_, history)| history.samples(self.from, self.to).len());
        samples.sum::<usize>() + self.minutes().map(|minute| minute.count as usize).sum::<usize>()
    }

    fn newest(&self) -> Option<&'a Sample> {
        let last = |history: &'a History| {
            let single = history.samples(self.from, self.to).last();
            single.or_else(|| history.minutes(self.from, self.to).last().map(|minute| &minute.last))
        };
        let newest = self.histories.iter().filter_map(|(_, history)| last(history));
        newest.max_by_key(|sample| (sample.at, sample.id))
    }

    fn sum(&self) -> f64 {
        let samples = self.histories.iter().map(|(_, history)| history.sum(self.over, self.from, self.to));
        total(self.minutes().map(|minute| minute.sum.value()).chain(samples))
    }

    fn mean(&self) -> f64 {
        self.sum() / number(self.count())
    }

    /// The same of single samples alone: those before the rank need not be in order.
    fn quantile_of_samples(&self, q: f64) -> Option<f64> {
        let mut values: Vec<f64> = self.values().collect();
        if values.is_empty() {
            return None;
        }
        let rank = q * number(values.len().saturating_sub(1));
        let (low, part) = (rank.floor(), rank - rank.floor());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank among them")]
        let (_, lower, above) = values.select_nth_unstable_by(low as usize, f64::total_cmp);
        let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(*lower);
        Some(if part > 0.0 { *lower * (1.0 - part) + upper * part } else { *lower })
    }

    fn quantile(&self, q: f64) -> Option<f64> {
        if self.minutes().next().is_none() {
            return self.quantile_of_samples(q);
        }
        let minutes = self.minutes().map(|minute| (minute.mean(), minute.count as usize));
        let mut values: Vec<(f64, usize)> = minutes.chain(self.values().map(|value| (value, 1))).collect();
        values.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        let rank = q * number(self.count().saturating_sub(1));
        let (low, part) = (rank.floor(), rank - rank.floor());
        let mut before = 0;
        let (mut lower, mut upper) = (f64::NAN, f64::NAN);
        for (value, count) in values {
            before += count;
            if lower.is_nan() && number(before) > low {
                lower = value;
            }
            upper = value;
            if number(before) > low + 1.0 {
                break;
            }
        }
        Some(if part > 0.0 { lower * (1.0 - part) + upper * part } else { lower })
    }

    fn ewma(&self, half: f64) -> Option<f64> {
        let newest = self.newest()?.at;
        let weight = |at: Timestamp| (-newest.since(at).as_secs_f64() / half).exp2();
        let sums = self.minutes().map(|minute| weight(minute.last.at) * minute.sum.value());
        let counts = self.minutes().map(|minute| weight(minute.last.at) * f64::from(minute.count));
        let weighted = total(sums.chain(self.samples().map(|sample| weight(sample.at) * sample.value)));
        Some(weighted / total(counts.chain(self.samples().map(|sample| weight(sample.at)))))
    }

    fn zscore(&self) -> Option<f64> {
        let (newest, count) = (self.newest()?.value, self.count());
        if count < 2 {
            return None;
        }
        // Rounding must not make a deviation out of equal values.
        let equal = |value: f64| value.to_bits() == newest.to_bits();
        if self.minutes().all(|minute| equal(minute.min) && equal(minute.max)) && self.values().all(equal) {
            return Some(0.0);
        }
        let mean = self.mean();
        let squares = self.minutes().map(|minute| minute.squares_around(mean));
        let squares = total(squares.chain(self.values().map(|value| (value - mean) * (value - mean))));
        let deviation = (squares / number(count)).sqrt();
        Some(if deviation > 0.0 { (newest - mean) / deviation } else { 0.0 })
    }

    fn changes(&self) -> f64 {
        let mut changes = 0;
        for samples in self.series() {
            let mut before: Option<f64> = None;
            for Sample { value, .. } in samples {
                let differs = |before: f64| before.partial_cmp(value) != Some(Ordering::Equal);
                changes += usize::from(before.is_some_and(differs));
                before = Some(*value);
            }
        }
        number(changes)
    }
}

/// A counter's increase per second between the first sample and the last.
fn rate<'a>(mut samples: impl Iterator<Item = &'a Sample>) -> Option<f64> {
    let first = samples.next()?;
    let mut last = first;
    let steps = samples.map(|sample| {
        let step = sample.value - last.value;
        last = sample;
        if step < 0.0 { sample.value } else { step }
    });
    let increase = total(steps);
    let seconds = last.at.since(first.at).as_secs_f64();
    (seconds > 0.0).then(|| increase / seconds)
}

fn delta<'a>(mut samples: impl Iterator<Item = &'a Sample>) -> Option<f64> {
    let first = samples.next()?;
    Some(samples.last()?.value - first.value)
}

/// What the series that have a value come to; none where none has.
fn added(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values = values.peekable();
    values.peek()?;
    Some(total(values))
}

/// How many, as a double.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A sum that loses nothing to the order of magnitude of what came before (Neumaier).
fn total(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    let exact = sum + lost;
    if exact.is_nan() { sum } else { exact }
}
