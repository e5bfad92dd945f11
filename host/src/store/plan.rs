//! What one transaction of the writer is to record, as values.

use serde_json::Value;

use super::{Moved, NewSample, NewSeries, PartitionSeq};
use crate::domain::approval::{self, ActionPlan, Terms};
use crate::domain::fleet::Alive;
use crate::domain::incident::State;
use crate::domain::opposites::{Duel, Of};
use crate::domain::{Phase, Timestamp};

/// Everything of one transaction.
#[derive(Debug, Default)]
pub struct Plan {
    /// This transaction's own id.
    pub batch: String,
    /// When it was accepted.
    pub now: Timestamp,
    /// The policies' revision it was decided under.
    pub policy_rev: i64,
    /// What each partition gets: its new sequence number and the range of its sample ids.
    pub partitions: Vec<(PartitionSeq, i64, i64)>,
    /// Partitions that were ticked.
    pub ticked: Vec<u16>,
    /// New series.
    pub series: Vec<NewSeries>,
    /// New samples, in the order of `partitions`, their ids consecutive.
    pub samples: Vec<NewSample>,
    /// Real targets that send samples, to be noted once an hour.
    pub seen: Vec<Alive>,
    /// Policies of which too many targets are violated, and the part of the fleet in which they are.
    pub storms: Vec<(i64, String)>,
    /// New incidents.
    pub opened: Vec<IncidentDraft>,
    /// What happens to incidents, in order.
    pub changes: Vec<IncidentChange>,
    /// New actions.
    pub actions: Vec<ActionDraft>,
    /// Actions that waited for an approval and were withdrawn; known when it is recorded.
    pub withdrawn: Vec<Moved>,
    /// Duels that were stopped, each with its target.
    pub duels: Vec<(String, Duel)>,
}

impl Plan {
    /// The id of an action, which those of the plan have once they are recorded.
    #[must_use]
    pub fn action_id(&self, action: Of) -> i64 {
        match action {
            Of::Known(id) => id,
            Of::New(at) => self.actions[at].id,
        }
    }

    /// Whether samples are all there is.
    pub(super) fn only_samples(&self) -> bool {
        self.ticked.is_empty()
            && self.series.is_empty()
            && self.seen.is_empty()
            && self.opened.is_empty()
            && self.changes.is_empty()
            && self.actions.is_empty()
    }
}

/// An incident to open.
#[derive(Debug)]
pub struct IncidentDraft {
    /// Given when recorded.
    pub id: i64,
    /// Whose.
    pub policy_id: i64,
    /// Its name.
    pub policy_name: String,
    /// Its version.
    pub policy_version: i64,
    /// Its severity's word.
    pub severity: &'static str,
    /// On what.
    pub target: String,
    /// Whether that is the simulated target of that name.
    pub simulated: bool,
    /// The event that opened it.
    pub event_id: i64,
    /// When that was observed.
    pub observed_at: Timestamp,
    /// Until when its pair is flapping, if it is.
    pub flapping_until: Option<Timestamp>,
    /// The values the condition saw.
    pub evidence: Value,
}

/// An incident of this plan or of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The n-th of `opened`.
    New(usize),
    /// One that stands in the database.
    Known(i64),
}

/// What a decision came to.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The n-th of `actions` was made.
    Act(usize),
    /// The n-th of `actions` was made, and waits for an approval.
    Ask(usize),
    /// Nothing, for that reason.
    Suppress {
        /// The reason's word.
        reason: &'static str,
        /// Until when it holds.
        until: Option<Timestamp>,
        /// The silence, where it is one.
        silence: Option<i64>,
    },
    /// Handed to a human, for that reason.
    HandOver(&'static str),
}

/// A change of an incident.
#[derive(Clone, Debug)]
pub enum IncidentChange {
    /// It was violated (again) and decided about.
    Decided {
        /// Which.
        incident: Which,
        /// By which event; the latest one where the same decision repeats.
        event_id: i64,
        /// What was decided.
        verdict: Verdict,
        /// The same decision as the one before it: counted, not written again.
        repeat: bool,
        /// How often, in this plan.
        times: i64,
        /// The values that led to it.
        facts: Value,
    },
    /// Its request for an approval is for nothing any more.
    Withdrawn {
        /// Which.
        incident: Which,
        /// [`approval::State::Withdrawn`] or [`approval::State::Diverged`].
        state: approval::State,
        /// Why, in words.
        why: String,
    },
    /// It is clear, or not any more.
    Clearing {
        /// Which.
        incident: Which,
        /// Since when; none: it is not.
        since: Option<Timestamp>,
    },
    /// Its condition is clear while an action of it waits or runs.
    Calm {
        /// Which.
        incident: Which,
    },
    /// It is over.
    Closed {
        /// Which.
        incident: Which,
        /// [`State::Healed`] or [`State::Expired`].
        state: State,
        /// By which event, if one.
        event_id: Option<i64>,
        /// What was seen then, where the policy says of its own when it is over; else null.
        saw: Value,
        /// When it opened, where it has acted and healed.
        repaired_since: Option<Timestamp>,
    },
}

impl IncidentChange {
    /// What it is about.
    pub(super) fn incident(&self) -> Which {
        match self {
            Self::Decided { incident, .. }
            | Self::Withdrawn { incident, .. }
            | Self::Clearing { incident, .. }
            | Self::Calm { incident }
            | Self::Closed { incident, .. } => *incident,
        }
    }
}

/// An action to make.
#[derive(Debug)]
pub struct ActionDraft {
    /// Given when recorded.
    pub id: i64,
    /// Whether it may run at once; set when recorded.
    pub phase: Phase,
    /// Stable over its attempts.
    pub execution_id: String,
    /// Its incident.
    pub incident: Option<Which>,
    /// Its policy: id, name, version.
    pub policy: Option<(i64, String, i64)>,
    /// The event that led to it.
    pub event_id: Option<i64>,
    /// `policy`, `api` or `simulator`.
    pub origin: &'static str,
    /// It is finished in the transaction that makes it and never takes a slot, a reservation or a plugin.
    pub simulated: bool,
    /// What to do.
    pub kind: String,
    /// On what.
    pub target: String,
    /// The tag that named the target.
    pub target_kind: Option<String>,
    /// The target's namespace.
    pub namespace: Option<String>,
    /// The event's tags as JSON.
    pub labels: String,
    /// Its parameters as JSON.
    pub params: String,
    /// The step of its policy's ladder that it is, from 0.
    pub step: Option<i64>,
    /// It tells a human of its incident, and is none of the incident's own.
    pub tells: bool,
    /// See [`Priority`](crate::domain::policy::Priority).
    pub priority: i64,
    /// Attempts it may use.
    pub max_attempts: i64,
    /// How long one may take at most, where that is said.
    pub timeout: Option<std::time::Duration>,
    /// Whether it goes to the queue or is held.
    pub queued: bool,
    /// After this it is not started any more.
    pub expires_at: Option<Timestamp>,
    /// For people.
    pub details: Option<String>,
    /// The plugin that would do it, where that is limited.
    pub plugin: Option<String>,
    /// It waits until people have said yes.
    pub approval: Option<Asked>,
}

/// What people are asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who must answer, and by when.
    pub terms: Terms,
    /// What they are asked about; the writer fills it in.
    pub plan: Option<ActionPlan>,
    /// It is for nothing any more: in the same transaction something else has come up.
    pub withdrawn: Option<(approval::State, String)>,
}
