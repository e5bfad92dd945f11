//! What window functions compute of the histories of a target's series; see [`Function`] for what each means.
//!
//! Series come in the order of their ids and each one's samples in the order of time, so that the sums are the same,
//! to the bit, however the samples arrived.

use std::cmp::Ordering;

use super::history::{History, Sample};
use crate::cel::{Function, Window};
use crate::domain::Timestamp;

/// Weights of `ewma` halve with this part of its window.
const HALVES: f64 = 4.0;

/// The histories that a window reads, by series id, and the window's ends: after `from`, not after `to`.
pub(super) struct Pane<'a> {
    histories: &'a [(i64, &'a History)],
    from: Timestamp,
    to: Timestamp,
}

/// The value of `window` at `now`; none for no-data. `histories` are those of the series that match, by id.
pub(super) fn value(window: &Window, histories: &[(i64, &History)], now: Timestamp) -> Option<f64> {
    let pane = Pane { histories, from: now.before(window.over), to: now };
    let filled = (pane.count() > 0).then_some(&pane);
    match window.function {
        Function::Absent => Some(f64::from(u8::from(filled.is_none()))),
        Function::Count => filled.map(|pane| number(pane.count())),
        Function::Sum => filled.map(Pane::sum),
        Function::Avg => filled.map(Pane::mean),
        Function::Min => pane.samples().map(|sample| sample.value).reduce(f64::min),
        Function::Max => pane.samples().map(|sample| sample.value).reduce(f64::max),
        Function::Last => pane.newest().map(|sample| sample.value),
        Function::Quantile(q) => filled.map(|pane| pane.quantile(q)),
        Function::Ewma => pane.ewma(window.over.as_secs_f64() / HALVES),
        Function::Zscore => pane.zscore(),
        Function::Changes => filled.map(Pane::changes),
        Function::Rate => added(pane.series().filter_map(rate)),
        Function::Delta => added(pane.series().filter_map(delta)),
    }
}

impl<'a> Pane<'a> {
    fn series(&self) -> impl Iterator<Item = impl ExactSizeIterator<Item = &'a Sample>> {
        self.histories.iter().map(|(_, history)| history.between(self.from, self.to))
    }

    fn samples(&self) -> impl Iterator<Item = &'a Sample> {
        self.series().flatten()
    }

    fn count(&self) -> usize {
        self.series().map(|samples| samples.len()).sum()
    }

    fn newest(&self) -> Option<&'a Sample> {
        self.series().filter_map(Iterator::last).max_by_key(|sample| (sample.at, sample.id))
    }

    fn sum(&self) -> f64 {
        total(self.samples().map(|sample| sample.value))
    }

    fn mean(&self) -> f64 {
        self.sum() / number(self.count())
    }

    fn quantile(&self, q: f64) -> f64 {
        let mut values: Vec<f64> = self.samples().map(|sample| sample.value).collect();
        let rank = q * number(values.len().saturating_sub(1));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the rank is between zero and the number of values"
        )]
        let place = rank.floor() as usize;
        if place >= values.len() {
            return f64::NAN;
        }
        let (_, low, above) = values.select_nth_unstable_by(place, f64::total_cmp);
        let low = *low;
        let part = rank - rank.floor();
        match above.iter().copied().reduce(f64::min) {
            Some(high) if part > 0.0 => low * (1.0 - part) + high * part,
            Some(_) | None => low,
        }
    }

    fn ewma(&self, half: f64) -> Option<f64> {
        let newest = self.newest()?.at;
        let weight = |sample: &Sample| (-newest.since(sample.at).as_secs_f64() / half).exp2();
        let weighted = total(self.samples().map(|sample| weight(sample) * sample.value));
        Some(weighted / total(self.samples().map(weight)))
    }

    fn zscore(&self) -> Option<f64> {
        let (newest, count) = (self.newest()?.value, self.count());
        if count < 2 {
            return None;
        }
        // Rounding must not make a deviation out of equal values.
        let first = self.samples().next()?.value;
        if self.samples().all(|sample| sample.value.to_bits() == first.to_bits()) {
            return Some(0.0);
        }
        let mean = self.mean();
        let squares = total(self.samples().map(|sample| (sample.value - mean) * (sample.value - mean)));
        let deviation = (squares / number(count)).sqrt();
        Some(if deviation > 0.0 { (newest - mean) / deviation } else { 0.0 })
    }

    fn changes(&self) -> f64 {
        let mut changes = 0;
        for samples in self.series() {
            let mut before: Option<f64> = None;
            for sample in samples {
                changes += usize::from(
                    before.is_some_and(|value| value.partial_cmp(&sample.value) != Some(Ordering::Equal)),
                );
                before = Some(sample.value);
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
