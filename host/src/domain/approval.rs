//! Approvals: an action that a policy asks for and that waits until enough people have said yes to exactly what would be
//! run. A pure state machine, of which the store keeps one row per request.
//!
//! ```text
//! waiting ─► approved      enough distinct principals said yes to one plan, in time
//!        ├─► rejected      one said no
//!        ├─► expired       nobody answered in time: that is a no
//!        ├─► withdrawn     what it was for is over
//!        └─► diverged      the policy that asked is another one now (also an approved one, before its first attempt)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::Timestamp;
use super::mutant::{Fault, holds};
use super::plan::PlannedCall;

/// People that a policy may ask for at most.
pub const PEOPLE: u32 = 5;
/// The longest time that an answer may take.
pub const LONGEST: Duration = Duration::from_hours(24);
/// The shortest.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// How a policy's actions are approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ApprovalTerms)]
#[serde(default)]
pub struct Terms {
    /// How long an answer may take, 1 s to 24 h; then it is no.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "30m")]
    pub within: Duration,
    /// How many people must say yes, each with a token of their own; 1 to 5.
    #[schema(minimum = 1, maximum = 5)]
    pub people: u32,
    /// Whether the one who last changed what the policy says may not be one of them.
    pub not_author: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { within: Duration::from_mins(30), people: 1, not_author: false }
    }
}

/// Everything that a yes is bound to: what would be run, by what, on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionPlan {
    /// The policy that asks.
    pub policy: String,
    /// Its id.
    pub policy_id: i64,
    /// Its version.
    pub policy_version: i64,
    /// The kind of action.
    pub action: String,
    /// On what.
    pub target: String,
    /// Its parameters.
    #[schema(value_type = Object)]
    pub params: Value,
    /// The plugin that serves it, or `remediator` where it is pushed; null: nobody here.
    pub plugin: Option<String>,
    /// The plugin's digest.
    pub digest: Option<String>,
    /// The plugin's own name for the action.
    pub plugin_action: Option<String>,
    /// The revision of what the plugin is granted; null: no connections at all.
    pub grant: Option<String>,
    /// The plugin's slots, and the connection that fills each with the revision of its settings: `NAME@REVISION`.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub connections: BTreeMap<String, String>,
    /// The calls that change something, as plan mode has recorded them; then nothing else may be changed, and in no
    /// other order. Absent: they were not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub calls: Option<Vec<PlannedCall>>,
}

impl ActionPlan {
    /// SHA-256 over all of it, in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        // Members stand in the order of the struct and maps are sorted, so that equal plans are equal texts.
        let text = serde_json::to_string(self).unwrap_or_default();
        let digest = Sha256::new().chain_update(b"vigil plan 1\n").chain_update(text).finalize();
        digest.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
    }

    /// How `now` is another plan than this one, in words; nothing where it is the same.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if (self.policy_id, self.policy_version) != (now.policy_id, now.policy_version) {
            let (before, after) = (self.policy_version, now.policy_version);
            changes.push(format!("policy `{}` was at version {before} and is at {after}", self.policy));
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        for (what, before, after) in [
            ("the plugin", &self.plugin, &now.plugin),
            ("the plugin's digest", &self.digest, &now.digest),
            ("the plugin's action", &self.plugin_action, &now.plugin_action),
            ("the plugin's grant", &self.grant, &now.grant),
        ] {
            if before != after {
                changes.push(format!("{what} was {} and is {}", text(before), text(after)));
            }
        }
        let slots: BTreeSet<&String> = self.connections.keys().chain(now.connections.keys()).collect();
        for slot in slots {
            let (before, after) = (self.connections.get(slot).cloned(), now.connections.get(slot).cloned());
            if before != after {
                changes.push(format!("connection `{slot}` was {} and is {}", text(&before), text(&after)));
            }
        }
        if (&self.action, &self.target, &self.params) != (&now.action, &now.target, &now.params) {
            changes.push("the action, its target or its parameters".to_owned());
        }
        if self.calls != now.calls {
            let count = |calls: &Option<Vec<PlannedCall>>| match calls {
                None => "not recorded".to_owned(),
                Some(calls) => format!("{} recorded", calls.len()),
            };
            let (before, after) = (count(&self.calls), count(&now.calls));
            changes.push(format!("the calls that change something were {before} and are {after}"));
        }
        changes
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ApprovalState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not enough people have answered.
    Waiting,
    /// Enough said yes.
    Approved,
    /// One said no.
    Rejected,
    /// Nobody answered in time.
    Expired,
    /// What it was for is over.
    Withdrawn,
    /// What would run is not what was asked for, or not what was approved.
    Diverged,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Approved, Self::Rejected, Self::Expired, Self::Withdrawn, Self::Diverged];

    /// Its word in the database and on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Diverged => "diverged",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The reason that stands in its incident once a request has ended without an action.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Waiting | Self::Approved => "awaiting_approval",
            Self::Rejected => "approval_rejected",
            Self::Expired => "approval_expired",
            Self::Withdrawn => "approval_withdrawn",
            Self::Diverged => "plan_diverged",
        }
    }
}

/// A yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The principal, not its name: two tokens of one name are two, one token is one.
    pub by: String,
    /// The plan it is a yes to.
    pub hash: String,
}

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request has ended.
    Ended(State),
    /// Its time is over.
    Late,
    /// It is a yes to another plan than the one that would run now.
    Changed,
    /// Its author may not.
    Author,
    /// Nobody knows who it is: with authentication off there is no approver.
    Nobody,
}

/// What a yes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The same principal has said so before: it counts once.
    Again,
    /// It is one more, and not enough.
    Waiting,
    /// That is enough.
    Enough,
}

/// A request for an approval.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where it stands.
    pub state: State,
    /// How many must say yes.
    pub required: u32,
    /// Who may not, if anybody: a principal.
    pub barred: Option<String>,
    /// When it is too late.
    pub expires_at: Timestamp,
    /// Who said yes, and to what.
    pub votes: Vec<Vote>,
    /// The hash of the plan that was approved, or that was last seen.
    pub hash: String,
}

impl Request {
    /// A yes of `by` to the plan of hash `to`, `current` being the hash of what would run now.
    pub fn approve(
        &mut self,
        by: Option<&str>,
        (to, current): (&str, &str),
        now: Timestamp,
    ) -> Result<Counted, Refusal> {
        let by = by.ok_or(Refusal::Nobody)?;
        let again = self.votes.iter().any(|vote| vote.by == by && vote.hash == to);
        match self.state {
            State::Waiting => {}
            State::Approved if again && self.hash == to => return Ok(Counted::Again),
            other @ (State::Approved
            | State::Rejected
            | State::Expired
            | State::Withdrawn
            | State::Diverged) => {
                return Err(Refusal::Ended(other));
            }
        }
        if now >= self.expires_at && holds(Fault::ApprovalExpiry) {
            return Err(Refusal::Late);
        }
        if self.barred.as_deref() == Some(by) && holds(Fault::ApprovalAuthor) {
            return Err(Refusal::Author);
        }
        if to != current && holds(Fault::ApprovalHash) {
            return Err(Refusal::Changed);
        }
        if again && holds(Fault::ApprovalPeople) {
            return Ok(Counted::Again);
        }
        if holds(Fault::ApprovalPeople) {
            self.votes.retain(|vote| vote.by != by);
        }
        self.votes.push(Vote { by: by.to_owned(), hash: to.to_owned() });
        to.clone_into(&mut self.hash);
        if self.count(to) < self.required as usize {
            return Ok(Counted::Waiting);
        }
        self.state = State::Approved;
        Ok(Counted::Enough)
    }

    /// How many have said yes to that plan. A yes to a plan that is another one now does not count.
    #[must_use]
    pub fn count(&self, hash: &str) -> usize {
        self.votes.iter().filter(|vote| vote.hash == hash || !holds(Fault::ApprovalVotes)).count()
    }

    /// Ends a request that waits, with one of the states in which nothing is run.
    pub fn end(&mut self, state: State, now: Timestamp) -> Result<(), Refusal> {
        if self.state != State::Waiting {
            return Err(Refusal::Ended(self.state));
        }
        if state == State::Rejected && now >= self.expires_at {
            return Err(Refusal::Late);
        }
        self.state = state;
        Ok(())
    }

    /// Ends a request that nobody has answered in time. False: it has ended, or there is time left.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        now >= self.expires_at && self.end(State::Expired, now).is_ok()
    }
}

/// Whether what would run now is what was approved: asked each time before an attempt begins.
#[must_use]
pub fn may_run(state: State, approved: &str, current: &str) -> bool {
    (state == State::Approved || !holds(Fault::ApprovalState))
        && (approved == current || !holds(Fault::ApprovalPlan))
}

#[cfg(test)]
mod tests;
