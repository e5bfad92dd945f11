//! Minutes of a series' history of which the samples themselves are not kept any more.
//!
//! What a minute says must not depend on the order in which its samples came: numbers are compared by a total order
//! and added up without any rounding, so that late samples can be folded in at any time.

use super::history::Sample;
use crate::domain::Timestamp;

/// Microseconds of a minute. They begin where those of the clock do.
const MINUTE: i64 = 60_000_000;

/// The samples of one minute, folded.
#[derive(Debug)]
pub(super) struct Minute {
    /// Minutes since the epoch.
    number: i64,
    pub(super) count: u32,
    pub(super) sum: Exact,
    squares: Exact,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) first: Sample,
    pub(super) last: Sample,
}

impl Minute {
    /// The number of the minute that a sample belongs to.
    pub(super) fn of(sample: Sample) -> i64 {
        sample.at.micros().div_euclid(MINUTE)
    }

    pub(super) fn number(&self) -> i64 {
        self.number
    }

    /// A minute of that one sample.
    pub(super) fn new(sample: Sample) -> Self {
        let mut minute = Self {
            number: Self::of(sample),
            count: 0,
            sum: Exact::default(),
            squares: Exact::default(),
            min: sample.value,
            max: sample.value,
            first: sample,
            last: sample,
        };
        minute.add(sample);
        minute
    }

    pub(super) fn add(&mut self, sample: Sample) {
        let value = sample.value;
        self.count = self.count.saturating_add(1);
        self.sum.add(value);
        self.squares.add_product(value, value);
        self.min = least(self.min, value);
        self.max = greatest(self.max, value);
        if (sample.at, sample.id) < (self.first.at, self.first.id) {
            self.first = sample;
        }
        if (sample.at, sample.id) > (self.last.at, self.last.id) {
            self.last = sample;
        }
    }

    /// Whether all of it lies after `from` and not after `to`.
    pub(super) fn lies_between(&self, from: Timestamp, to: Timestamp) -> bool {
        self.number.saturating_mul(MINUTE) > from.micros() && self.last.at <= to
    }

    /// Whether all of it lies before `cut`.
    pub(super) fn is_before(&self, cut: Timestamp) -> bool {
        self.number.saturating_add(1).saturating_mul(MINUTE) <= cut.micros()
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum.value() / f64::from(self.count)
    }

    /// The sum of the squares of the samples' distances from `mean`, rounded once.
    pub(super) fn squares_around(&self, mean: f64) -> f64 {
        let mut exact = self.squares.clone();
        for part in &self.sum.0 {
            exact.add_product(-2.0 * mean, *part);
        }
        let (square, rest) = product(mean, mean);
        exact.add_product(f64::from(self.count), square);
        exact.add_product(f64::from(self.count), rest);
        exact.value().max(0.0)
    }
}

/// The lesser, by the total order of doubles.
pub(super) fn least(one: f64, other: f64) -> f64 {
    if other.total_cmp(&one).is_lt() { other } else { one }
}

/// The greater, by the total order of doubles.
pub(super) fn greatest(one: f64, other: f64) -> f64 {
    if other.total_cmp(&one).is_gt() { other } else { one }
}

/// A sum of doubles without rounding (Shewchuk): parts that do not overlap, the least first. Mostly two or three.
#[derive(Clone, Debug, Default)]
pub(super) struct Exact(Vec<f64>);

impl Exact {
    pub(super) fn add(&mut self, value: f64) {
        let (mut carry, mut kept) = (value, 0);
        for at in 0..self.0.len() {
            let part = self.0[at];
            let (large, small) = if carry.abs() < part.abs() { (part, carry) } else { (carry, part) };
            carry = large + small;
            let rest = small - (carry - large);
            if rest != 0.0 {
                self.0[kept] = rest;
                kept += 1;
            }
        }
        self.0.truncate(kept);
        self.0.push(carry);
    }

    fn add_product(&mut self, one: f64, other: f64) {
        let (product, rest) = product(one, other);
        self.add(product);
        self.add(rest);
    }

    /// The double next to it; of two equally near ones the even one.
    pub(super) fn value(&self) -> f64 {
        let mut parts = self.0.iter().rev().copied();
        let Some(mut sum) = parts.next() else { return 0.0 };
        while let Some(part) = parts.next() {
            let whole = sum + part;
            let rest = part - (whole - sum);
            sum = whole;
            if rest != 0.0 {
                // Half way between two doubles what comes after decides.
                if let Some(next) = parts.next()
                    && (next < 0.0) == (rest < 0.0)
                {
                    let (twice, further) = (rest * 2.0, sum + rest * 2.0);
                    if (further - sum).total_cmp(&twice).is_eq() {
                        sum = further;
                    }
                }
                break;
            }
        }
        sum
    }
}

/// A product and what rounding took from it.
fn product(one: f64, other: f64) -> (f64, f64) {
    let product = one * other;
    (product, one.mul_add(other, -product))
}
