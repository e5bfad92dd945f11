//! One remediation and the states it goes through.
//!
//! ```text
//! held ──┐                ┌─ retry ── scheduled ─┐
//!        ├─► blocked ─► ready ─► running ─► succeeded | dead | uncertain
//!        └────────────────┘         └─ given back ─► ready
//! ```
//! `approval` leads to `blocked` or `ready` as `held` does, by a yes alone; and from every state that has not ended:
//! cancelled, expired.

use serde::Serialize;

/// Where an action stands. On the wire this is `state`; [`Phase::wire`] is `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Recorded, not queued: waits for a person.
    Held,
    /// Waits for an approval.
    Approval,
    /// Failed with attempts left; waits for its next one and keeps its slot.
    Scheduled,
    /// Another action has the target's slot.
    Blocked,
    /// Runnable now.
    Ready,
    /// Under a lease.
    Running,
    /// Its plugin said it is done.
    Succeeded,
    /// Failed for good.
    Dead,
    /// Withdrawn.
    Cancelled,
    /// Too old to run.
    Expired,
    /// It may or may not have happened; only a person may say.
    Uncertain,
}

/// What can happen to an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is put in the queue and its target is free.
    Enqueue,
    /// It is put in the queue behind another action.
    Block,
    /// Enough people have said yes, and its target is free.
    Approve,
    /// Its turn has come.
    Promote,
    /// A worker takes it.
    Claim,
    /// The attempt did it.
    Succeed,
    /// The attempt failed; there will be another.
    Retry,
    /// The attempt failed for good.
    Fail,
    /// Nobody knows what the attempt did.
    LoseTrack,
    /// The worker gives it back untouched.
    GiveBack,
    /// Somebody withdraws it.
    Cancel,
    /// It is too old to run.
    Expire,
    /// A person says how an uncertain action ended: it was done.
    ResolveDone,
    /// A person says it was not done.
    ResolveFailed,
    /// A person wants it tried again.
    ResolveRetry,
}

/// The five statuses of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WireStatus {
    /// Not started, or waiting for its next attempt.
    Pending,
    /// An attempt is running.
    Running,
    /// Done.
    Completed,
    /// Not done, or nobody knows.
    Failed,
    /// Withdrawn or expired.
    Cancelled,
}

impl WireStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Held,
        Self::Approval,
        Self::Scheduled,
        Self::Blocked,
        Self::Ready,
        Self::Running,
        Self::Succeeded,
        Self::Dead,
        Self::Cancelled,
        Self::Expired,
        Self::Uncertain,
    ];

    /// Its word, in the database and as `state` on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Approval => "approval",
            Self::Scheduled => "scheduled",
            Self::Blocked => "blocked",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Uncertain => "uncertain",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// The status that the wire knows it by.
    #[must_use]
    pub fn wire(self) -> WireStatus {
        match self {
            Self::Held | Self::Approval | Self::Scheduled | Self::Blocked | Self::Ready => {
                WireStatus::Pending
            }
            Self::Running => WireStatus::Running,
            Self::Succeeded => WireStatus::Completed,
            Self::Dead | Self::Uncertain => WireStatus::Failed,
            Self::Cancelled | Self::Expired => WireStatus::Cancelled,
        }
    }

    /// Nothing will happen to it any more by itself.
    #[must_use]
    pub fn ended(self) -> bool {
        match self {
            Self::Succeeded | Self::Dead | Self::Cancelled | Self::Expired | Self::Uncertain => true,
            Self::Held | Self::Approval | Self::Scheduled | Self::Blocked | Self::Ready | Self::Running => {
                false
            }
        }
    }

    /// Where `step` leads from here, or None if it may not happen here.
    #[must_use]
    pub fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Held, Step::Enqueue)
            | (Self::Approval, Step::Approve)
            | (Self::Blocked | Self::Scheduled, Step::Promote)
            | (Self::Running, Step::GiveBack)
            | (Self::Uncertain, Step::ResolveRetry) => Some(Self::Ready),
            (Self::Held | Self::Approval, Step::Block) => Some(Self::Blocked),
            (Self::Ready, Step::Claim) => Some(Self::Running),
            (Self::Running, Step::Succeed) | (Self::Uncertain, Step::ResolveDone) => Some(Self::Succeeded),
            (Self::Running, Step::Retry) => Some(Self::Scheduled),
            (Self::Running, Step::Fail) | (Self::Uncertain, Step::ResolveFailed) => Some(Self::Dead),
            (Self::Running, Step::LoseTrack) => Some(Self::Uncertain),
            (
                Self::Held | Self::Approval | Self::Scheduled | Self::Blocked | Self::Ready | Self::Running,
                Step::Cancel,
            ) => Some(Self::Cancelled),
            (
                Self::Held | Self::Approval | Self::Scheduled | Self::Blocked | Self::Ready | Self::Running,
                Step::Expire,
            ) => Some(Self::Expired),
            (
                Self::Held
                | Self::Approval
                | Self::Scheduled
                | Self::Blocked
                | Self::Ready
                | Self::Running
                | Self::Succeeded
                | Self::Dead
                | Self::Cancelled
                | Self::Expired
                | Self::Uncertain,
                _,
            ) => None,
        }
    }
}

/// What may be done when the outcome of a run is unknown, as its plugin declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// Run it again.
    Idempotent,
    /// Run it again with the same execution id, which the target deduplicates.
    Keyed,
    /// Never again without a human.
    Unsafe,
}

impl Effects {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idempotent => "idempotent",
            Self::Keyed => "keyed",
            Self::Unsafe => "unsafe",
        }
    }

    /// The effects of that word; what we do not know is treated as unsafe.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        [Self::Idempotent, Self::Keyed].into_iter().find(|e| e.word() == word).unwrap_or(Self::Unsafe)
    }

    /// What becomes of an attempt whose end nobody saw. `called`: it had begun a call that changes something.
    #[must_use]
    pub fn unseen_end(self, called: bool) -> Step {
        match self {
            Self::Unsafe if called => Step::LoseTrack,
            Self::Idempotent | Self::Keyed | Self::Unsafe => Step::Retry,
        }
    }
}

/// A worker that dies with an action this often never gets it again.
pub const MAX_CRASHES: i64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_states_stay_ended_but_for_a_person_resolving() {
        let steps = [Step::Enqueue, Step::Block, Step::Promote, Step::Claim, Step::Succeed, Step::Retry];
        let more = [Step::Fail, Step::LoseTrack, Step::GiveBack, Step::Cancel, Step::Expire];
        for phase in Phase::ALL.into_iter().filter(|phase| phase.ended()) {
            for step in steps.into_iter().chain(more) {
                assert_eq!(phase.after(step), None, "{phase:?} {step:?}");
            }
        }
        assert_eq!(Phase::Uncertain.after(Step::ResolveRetry), Some(Phase::Ready));
    }

    #[test]
    fn words_come_back() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_word(phase.word()), Some(phase));
        }
    }

    #[test]
    fn an_unsafe_call_is_never_made_twice_by_us() {
        assert_eq!(Effects::Unsafe.unseen_end(true), Step::LoseTrack);
        assert_eq!(Effects::Unsafe.unseen_end(false), Step::Retry);
        assert_eq!(Effects::Keyed.unseen_end(true), Step::Retry);
        assert_eq!(Effects::from_word("whatever"), Effects::Unsafe);
    }
}
