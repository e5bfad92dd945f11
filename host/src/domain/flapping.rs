//! Incidents that open again and again: what is done about them does not last, so nothing is done until it is quiet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::mutant::{Fault, holds};

/// Openings that a policy may wait for.
pub const MOST: u32 = 1_000;

/// When a policy and a target are flapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Flapping {
    /// So many incidents have opened
    pub changes: u32,
    /// within this time. It is over when none has for as long.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "1h")]
    pub within: Duration,
}

impl Default for Flapping {
    fn default() -> Self {
        Self { changes: 6, within: Duration::from_hours(1) }
    }
}

/// What is known of a pair's earlier incidents when one opens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flaps {
    /// Those that opened within the time.
    pub openings: u32,
    /// Until when it was flapping, had no more opened.
    pub until: Option<Timestamp>,
}

/// A pair is flapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Until when, if no more open.
    pub until: Timestamp,
    /// It was not before.
    pub begins: bool,
}

impl Flaps {
    /// One more incident opens: whether that is flapping.
    pub fn open(&mut self, rails: Flapping, now: Timestamp) -> Option<Flaw> {
        self.openings += 1;
        let goes_on = self.until.is_some_and(|until| until > now);
        if !(goes_on || self.openings >= rails.changes) || !holds(Fault::Flapping) {
            return None;
        }
        let until = now.after(rails.within);
        self.until = Some(until);
        Some(Flaw { until, begins: !goes_on })
    }
}
