//! Words and numbers of rows back to types, and rows that several readers share.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Result;
use super::ingest::broken;
use crate::domain::{Phase, Timestamp, WireStatus};

/// The phase a row names.
pub(super) fn phase(word: &str) -> Result<Phase> {
    Phase::from_word(word).ok_or_else(|| broken(format!("the action state {word}")))
}

/// A count as a database number.
pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// JSON kept as text.
pub(super) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// An optional time.
pub(super) fn time(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

/// An action that changed its status, for whoever counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// On what.
    pub target: String,
    /// What to do.
    pub kind: String,
    /// Its new status.
    pub status: WireStatus,
}

impl Moved {
    /// Target, kind and the word of the new status.
    #[must_use]
    pub fn words(&self) -> (&str, &str, &'static str) {
        (&self.target, &self.kind, self.status.word())
    }

    pub(super) fn to(target: &str, kind: &str, status: WireStatus) -> Self {
        Self { target: target.to_owned(), kind: kind.to_owned(), status }
    }
}

/// One attempt of an action, as history shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttemptRow {
    /// 1 for the first.
    pub attempt: i64,
    /// The fence it ran under.
    pub fence: i64,
    /// The process that ran it.
    pub worker: String,
    /// The plugin it ran.
    pub plugin: Option<String>,
    /// The plugin's digest.
    pub digest: Option<String>,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended, in one word.
    pub outcome: Option<String>,
    /// How it ended, in one line.
    pub message: Option<String>,
    /// What the plugin answered.
    pub result: Value,
    /// What it logged.
    pub logs: Value,
    /// What it asked of connections.
    pub calls: Vec<CallRow>,
}

/// One call of an attempt through a connection.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct CallRow {
    /// Fence of its attempt.
    pub fence: i64,
    /// 1 for the attempt's first.
    pub n: i64,
    /// The connection's name.
    pub connection: String,
    /// GET, POST and so on.
    pub method: String,
    /// Without the base address.
    pub path: String,
    /// Whether it may change something.
    pub mutating: bool,
    /// `intent`, `done`, `unknown` or `refused`.
    pub state: String,
    /// What the other side answered.
    pub status: Option<i64>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// How long it took, in microseconds.
    pub duration_us: Option<i64>,
    /// SHA-256 of its body in hexadecimal digits; null: it had none.
    pub body_hash: Option<String>,
}
