//! Labels whose values come from outside.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// The label value that stands for all that did not fit.
pub const OTHER: &str = "other";

/// Keeps a label's values few: the first `limit` of them, then [`OTHER`].
#[derive(Debug)]
pub struct Bounded {
    label: &'static str,
    limit: usize,
    seen: RwLock<HashSet<Box<str>>>,
    warned: AtomicBool,
}

impl Bounded {
    /// A guard of a label.
    #[must_use]
    pub fn new(label: &'static str, limit: usize) -> Self {
        Self { label, limit, seen: RwLock::default(), warned: AtomicBool::new(false) }
    }

    /// The value itself while there is room for it, else [`OTHER`]; the first refusal is logged.
    pub fn admit<'a>(&self, value: &'a str) -> &'a str {
        // A guard poisoned by a panic still holds a sound set.
        if self.seen.read().unwrap_or_else(PoisonError::into_inner).contains(value) {
            return value;
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(value) || seen.len() < self.limit {
            seen.insert(value.into());
            return value;
        }
        drop(seen);
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                label = self.label,
                limit = self.limit,
                "Label has too many values; new ones count as other"
            );
        }
        OTHER
    }
}
