//! The numbers that comparisons with constants leave.

use crate::cel::Relation;

/// Everything between two ends, which may belong to it, but for single numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Interval {
    low: End,
    high: End,
    holes: Vec<f64>,
}

/// An end, and whether it belongs to the interval.
#[derive(Clone, Copy, Debug, PartialEq)]
struct End {
    at: f64,
    within: bool,
}

impl Interval {
    /// Every number, the infinities included.
    pub(super) fn everything() -> Self {
        let end = |at| End { at, within: true };
        Self { low: end(f64::NEG_INFINITY), high: end(f64::INFINITY), holes: Vec::new() }
    }

    /// The numbers that stand so to that one.
    pub(super) fn of(relation: Relation, number: f64) -> Self {
        let mut all = Self::everything();
        let end = |within| End { at: number, within };
        match relation {
            Relation::Less => all.high = end(false),
            Relation::AtMost => all.high = end(true),
            Relation::Greater => all.low = end(false),
            Relation::AtLeast => all.low = end(true),
            Relation::Equal => (all.low, all.high) = (end(true), end(true)),
            Relation::Unequal => all.holes.push(number),
        }
        all
    }

    /// Leaves what is in both.
    pub(super) fn meet(&mut self, other: &Self) {
        self.at_least(other);
        self.at_most(other);
        self.holes.extend(&other.holes);
    }

    /// Leaves what is not below all of the other.
    pub(super) fn at_least(&mut self, other: &Self) {
        let (mine, theirs) = (self.low, other.low);
        if theirs.at > mine.at || (theirs.at >= mine.at && !theirs.within) {
            self.low = theirs;
        }
    }

    /// Leaves what is not above all of the other.
    pub(super) fn at_most(&mut self, other: &Self) {
        let (mine, theirs) = (self.high, other.high);
        if theirs.at < mine.at || (theirs.at <= mine.at && !theirs.within) {
            self.high = theirs;
        }
    }

    /// Whether nothing is in it. A single number between two that lie next to each other in memory is taken to be there.
    pub(super) fn is_empty(&self) -> bool {
        let (low, high) = (self.low, self.high);
        if low.at > high.at {
            return true;
        }
        if low.at < high.at {
            return false;
        }
        !low.within || !high.within || self.holes.contains(&low.at)
    }

    /// Whether no gap is between the two: they have a number in common, or their ends are the same.
    pub(super) fn touches(&self, other: &Self) -> bool {
        self.low.at.max(other.low.at) <= self.high.at.min(other.high.at)
    }
}
