//! What became of a request that worked.

use serde_json::Value;

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeStatus {
    /// Done, and seen to be done.
    Applied,
    /// The other side accepted it and carries it out in its own time.
    Requested,
    /// It was so already.
    NoChange,
}

/// One thing that was changed, or was found to need no change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What was changed, such as `process/web:web_00`.
    pub subject: String,
    /// How far it has come.
    pub status: ChangeStatus,
    /// State before, where known.
    pub before: Option<Value>,
    /// State after, where known.
    pub after: Option<Value>,
}

impl Change {
    /// A change of `subject` without its states.
    #[must_use]
    pub fn new(subject: &str, status: ChangeStatus) -> Self {
        Self { subject: subject.to_owned(), status, before: None, after: None }
    }

    /// Sets the state before.
    #[must_use]
    pub fn before(mut self, state: Value) -> Self {
        self.before = Some(state);
        self
    }

    /// Sets the state after.
    #[must_use]
    pub fn after(mut self, state: Value) -> Self {
        self.after = Some(state);
        self
    }
}

/// The result of an action that worked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One line for people. Must hold no secret.
    pub summary: String,
    /// In the order in which they were made.
    pub changes: Vec<Change>,
    /// Result data for later steps.
    pub output: Option<Value>,
    /// Handed back to a rollback; at most 64 KiB.
    pub checkpoint: Option<Vec<u8>>,
    /// Further facts.
    pub attributes: Vec<(String, String)>,
}

impl Outcome {
    /// An outcome that changed nothing yet.
    #[must_use]
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }

    /// Adds a change.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Adds changes.
    #[must_use]
    pub fn changes(mut self, changes: Vec<Change>) -> Self {
        self.changes.extend(changes);
        self
    }

    /// Sets the result data.
    #[must_use]
    pub fn output(mut self, output: Value) -> Self {
        self.output = Some(output);
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        self.attributes.push((key.to_owned(), value.to_owned()));
        self
    }
}
