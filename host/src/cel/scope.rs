//! What an expression may see: the event, its target and the series it reads.
//!
//! The engine implements [`Scope`] over its own data; nothing here owns or copies anything. All methods are called
//! during one evaluation and must answer the same each time within it.

use super::windows::Window;
use std::collections::BTreeMap;

/// Position of a [`Read`](super::Read) in [`Program::reads`](super::Program::reads), so that the engine resolves a
/// name to its series once and not at every evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadIx(pub(super) u16);

impl ReadIx {
    /// The position as an index into `reads()`.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Text to text, as the tags of an event and the labels of a target are. Keys are unique.
pub trait Labels {
    /// The value of `key`.
    fn get(&self, key: &str) -> Option<&str>;
    /// How many there are.
    fn count(&self) -> usize;
    /// The key at `position < count()`, in any fixed order.
    fn key(&self, position: usize) -> Option<&str>;
}

impl Labels for [(String, String)] {
    fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    fn count(&self) -> usize {
        self.len()
    }
    fn key(&self, position: usize) -> Option<&str> {
        <[_]>::get(self, position).map(|(k, _)| k.as_str())
    }
}

impl Labels for BTreeMap<String, String> {
    fn get(&self, key: &str) -> Option<&str> {
        Self::get(self, key).map(String::as_str)
    }
    fn count(&self) -> usize {
        self.len()
    }
    fn key(&self, position: usize) -> Option<&str> {
        self.keys().nth(position).map(String::as_str)
    }
}

/// The event: `metric` in an expression.
#[derive(Debug)]
pub struct MetricView<'a, L: ?Sized> {
    /// `metric.name`
    pub name: &'a str,
    /// `metric.value`
    pub value: f64,
    /// `metric.tags`
    pub tags: &'a L,
}

/// The target: `target` in an expression. What is unknown is the empty string.
#[derive(Debug)]
pub struct TargetView<'a, L: ?Sized> {
    /// `target.name`
    pub name: &'a str,
    /// `target.kind`
    pub kind: &'a str,
    /// `target.namespace`
    pub namespace: &'a str,
    /// `target.labels`
    pub labels: &'a L,
}

/// Everything one evaluation reads.
///
/// Keep the methods small and inlined: an ordinary expression costs a few nanoseconds and they are most of it.
pub trait Scope {
    /// How tags and labels are stored.
    type Labels: Labels + ?Sized;
    /// The event, or `None` on the scheduled tick: every use of `metric` is then no-data.
    fn metric(&self) -> Option<MetricView<'_, Self::Labels>>;
    /// The target that is judged.
    fn target(&self) -> TargetView<'_, Self::Labels>;
    /// `last(..)`: the newest fresh sample of the series; `None` if there is no fresh one (then `absent(..)` is true).
    fn last(&self, read: ReadIx) -> Option<f64>;
    /// `highest(..)`: the greatest fresh last value of the target's series of this metric.
    fn highest(&self, read: ReadIx) -> Option<f64>;
    /// `lowest(..)`: the least of them.
    fn lowest(&self, read: ReadIx) -> Option<f64>;
    /// A window function's value, `None` for no-data; of `absent` 1 or 0, and never `None`.
    fn window(&self, window: &Window) -> Option<f64>;
}
