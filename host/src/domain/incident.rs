//! One episode of one policy on one target.

use serde::Serialize;

use super::Timestamp;

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = IncidentState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The condition was met and is not known to be over.
    Open,
    /// Clear on samples observed after its last action ended.
    Healed,
    /// No data for an hour.
    Expired,
    /// Automation has done what it may; a human must look. Nothing more happens until it clears.
    HandedOver,
}

impl State {
    /// Its word in the database and on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Healed => "healed",
            Self::Expired => "expired",
            Self::HandedOver => "handed_over",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Healed, Self::Expired, Self::HandedOver].into_iter().find(|s| s.word() == word)
    }
}

/// What [`decide`](super::decide) needs to know of an incident that has not cleared.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its id.
    pub id: i64,
    /// [`State::Open`] or [`State::HandedOver`].
    pub state: State,
    /// When it opened.
    pub opened_at: Timestamp,
    /// Actions it has made.
    pub actions: i64,
    /// The step of the ladder it stands on, from 0.
    pub step: usize,
    /// Actions it has made on that step.
    pub tries: u32,
    /// The last of them has not ended.
    pub busy: bool,
    /// When the last of them ended.
    pub last_ended_at: Option<Timestamp>,
    /// Since when it has been clear without a break.
    pub clear_since: Option<Timestamp>,
    /// Until when its pair is flapping, if it was when it opened.
    pub flapping_until: Option<Timestamp>,
    /// When the condition was last seen violated.
    pub last_violated_at: Timestamp,
    /// The word of its latest decision, to count repeats.
    pub reason: Option<String>,
    /// The silence that decision named.
    pub silence: Option<i64>,
    /// The condition is clear since it was last seen violated, while the last action had not ended.
    pub calm: bool,
}

impl Standing {
    /// When what its last action did can be seen; none: it has made none, or that has not ended.
    #[must_use]
    pub fn settled_at(&self, settle: std::time::Duration) -> Option<Timestamp> {
        self.last_ended_at.filter(|_| !self.busy).map(|ended| ended.after(settle))
    }
}
