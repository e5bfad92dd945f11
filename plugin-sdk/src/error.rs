//! What became of a request that did not work: each arm is something else
//! that the host does next.

use serde_json::Value;

use crate::{Change, ParamProblem};

/// An action that did not work.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Stable and machine-readable, such as `target-not-found`.
    pub code: String,
    /// One line for people. Must hold no secret.
    pub message: String,
    /// More about it.
    pub details: Option<Value>,
    /// What had already been changed when it failed.
    pub changes: Vec<Change>,
    /// Handed back to a rollback; at most 64 KiB.
    pub checkpoint: Option<Vec<u8>>,
}

impl Failure {
    /// A failure before anything was changed.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            details: None,
            changes: Vec::new(),
            checkpoint: None,
        }
    }
}

/// How an action failed. Failures are boxed, so that a result costs no more
/// than what it is when all goes well.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The parameters cannot work: never retried.
    Invalid(Vec<ParamProblem>),
    /// Failed for good: never retried.
    Permanent(Box<Failure>),
    /// May pass later: retried within the host's retry policy.
    Retryable {
        /// What went wrong.
        failure: Box<Failure>,
        /// The host waits at least this long.
        retry_after_ms: Option<u64>,
    },
    /// Saw a cancellation request and stopped cleanly.
    Cancelled(Box<Failure>),
}

impl Error {
    /// One parameter cannot work.
    #[must_use]
    pub fn invalid(pointer: &str, message: &str) -> Self {
        Self::Invalid(vec![ParamProblem::new(pointer, message)])
    }

    /// Failed for good.
    #[must_use]
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self::Permanent(Box::new(Failure::new(code, message)))
    }

    /// May pass later.
    #[must_use]
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self::Retryable { failure: Box::new(Failure::new(code, message)), retry_after_ms: None }
    }

    /// May pass after the given time.
    #[must_use]
    pub fn retry_after(code: &str, message: impl Into<String>, ms: Option<u64>) -> Self {
        Self::Retryable { failure: Box::new(Failure::new(code, message)), retry_after_ms: ms }
    }

    /// Stopped on request.
    #[must_use]
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::Cancelled(Box::new(Failure::new("cancelled", message)))
    }

    /// Adds what had already been changed, so that a failure half way through
    /// hides nothing.
    #[must_use]
    pub fn after(mut self, done: Vec<Change>) -> Self {
        match &mut self {
            Self::Invalid(_) => {}
            Self::Permanent(failure) | Self::Cancelled(failure) | Self::Retryable { failure, .. } => {
                failure.changes.splice(0..0, done);
            }
        }
        self
    }
}
