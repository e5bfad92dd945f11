//! The plain values that go into an attempt and come out of it. None of them knows wasmtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::plan::PlannedCall;

/// What the host may do when the outcome of a run is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PluginEffects)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// Run it again.
    Idempotent,
    /// Run it again with the same execution id, which the target deduplicates.
    Keyed,
    /// Never again without a person.
    Unsafe,
}

/// How much harm an action can do, by its author's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// Why an action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person or an API client asked for it.
    Manual,
    /// A policy was violated.
    Alert,
    /// Its time had come.
    Schedule,
    /// A step of a larger plan.
    Workflow,
    /// An operator repeats a failed one.
    Retry,
}

/// What an action is applied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The tag that named it.
    pub kind: String,
    /// What identifies it.
    pub name: String,
    /// The event's namespace, if it had one.
    pub namespace: Option<String>,
    /// The event's tags.
    pub labels: BTreeMap<String, String>,
}

/// One request to carry out an action.
#[derive(Debug, Clone)]
pub struct Request {
    /// Stable across the attempts of one execution.
    pub execution_id: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The action's kind as it was asked for; the plugin is given [`super::Route::action`].
    pub action: String,
    /// What to act on.
    pub target: Target,
    /// An object, already checked by [`super::Plugins::check_params`].
    pub params: Value,
    /// Why it runs.
    pub trigger: Trigger,
    /// The longest that it may take; the host shortens it to its own limit.
    pub timeout: Duration,
    /// When the host stops it, in Unix milliseconds, as told to the plugin.
    pub deadline_unix_ms: u64,
    /// Further facts for the plugin, such as `policy` or `severity`.
    pub attributes: Vec<(String, String)>,
    /// The fencing number of the lease, sent as `Vigil-Fence` with each mutating call.
    pub fence: i64,
}

/// What ties an attempt to the worker that runs it.
pub struct Guard {
    /// An operator cancelled, or the node drains.
    pub cancel: CancellationToken,
    /// Whether this worker still holds its lease; asked before every outgoing call and at every tick.
    pub holds: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Where an intent is written before each mutating call of an unsafe action.
    pub journal: mpsc::Sender<JournalEntry>,
    /// Fired just before the guest's first instruction, for a benchmark.
    pub started: Option<oneshot::Sender<()>>,
    /// The only calls that may change something, in this order; none: whatever the connections' rules allow.
    pub bound: Option<Vec<PlannedCall>>,
}

/// Something that must be durable before an attempt goes on.
#[derive(Debug)]
pub enum JournalEntry {
    /// A mutating call is about to be sent; it is sent once `ack` answers `Ok`, and refused with the
    /// text otherwise.
    Intent {
        /// The call, in state [`CallState::Intent`].
        call: CallRecord,
        /// The answer.
        ack: oneshot::Sender<Result<(), String>>,
    },
}

/// How far an outgoing call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// About to be sent.
    Intent,
    /// It is known what became of it: it was answered, or nothing of it reached the other side (then
    /// `status` is none).
    Done,
    /// It may have reached the other side, and there is no answer.
    Unknown,
    /// The host did not send it.
    Refused,
    /// Plan mode: the host did not send it and answered it itself.
    Planned,
}

/// One outgoing call of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Its number in the attempt, from 1, refused ones included.
    pub n: u32,
    /// The connection's name, or the slot's where no connection fills it.
    pub connection: String,
    /// The HTTP method.
    pub method: String,
    /// Path and query as the plugin gave them; what is beyond 1 KiB is replaced by a hash of the whole.
    pub path: String,
    /// SHA-256 of the body in hexadecimal digits; none: no body.
    pub body_hash: Option<String>,
    /// In plan mode the body's beginning, secrets masked.
    pub body: Option<String>,
    /// Whether the connection's rules class it as a write.
    pub mutating: bool,
    /// When it began, Unix microseconds.
    pub started_us: i64,
    /// How long it took.
    pub duration: Duration,
    /// The answer's status code.
    pub status: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<String>,
    /// How far it came.
    pub state: CallState,
}

/// One problem with one parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamProblem {
    /// JSON Pointer into the parameters; empty for the whole document.
    pub pointer: String,
    /// One line for people.
    pub message: String,
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeStatus {
    /// Done, and seen to be done.
    Applied,
    /// Accepted by the other side.
    Requested,
    /// It was so already.
    NoChange,
}

/// One thing that was changed, or was found to need no change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What was changed.
    pub subject: String,
    /// How far it has come.
    pub status: ChangeStatus,
    /// State before, where known.
    pub before: Option<Value>,
    /// State after, where known.
    pub after: Option<Value>,
}

/// The result of an action that worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// One line for people.
    pub summary: String,
    /// In the order in which they were made.
    pub changes: Vec<Change>,
    /// Result data for later steps; text that is no JSON is kept as a string.
    pub output: Option<Value>,
    /// Handed back to `rollback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Vec<u8>>,
    /// Further facts.
    pub attributes: Vec<(String, String)>,
}

/// An action that did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable and machine-readable.
    pub code: String,
    /// One line for people.
    pub message: String,
    /// More about it.
    pub details: Option<Value>,
    /// What had already been changed when it failed.
    pub changes: Vec<Change>,
    /// Handed back to `rollback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Vec<u8>>,
}

/// How one attempt ended: exactly one of these.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It worked.
    Ok(Outcome),
    /// The plugin refused the parameters.
    Invalid(Vec<ParamProblem>),
    /// The plugin failed for good.
    Permanent(Failure),
    /// The plugin failed and thinks that it may pass; the host waits at least so long.
    Retryable(Failure, Option<Duration>),
    /// It was asked to stop and did, or was stopped after the grace period.
    Cancelled(Failure),
    /// The guest trapped.
    Trap(String),
    /// It did not end in time.
    Deadline,
    /// It asked for more memory than allowed.
    Memory(String),
    /// It went over another limit, by name.
    Limit(String),
    /// It failed after the host had refused one of its calls.
    Denied(String),
    /// The worker's lease lapsed while it ran.
    Fenced,
    /// The host's own fault.
    Host(String),
}

impl Ended {
    /// Every name that [`Ended::kind`] can give.
    pub const KINDS: [&'static str; 12] = [
        "ok",
        "invalid",
        "permanent",
        "retryable",
        "cancelled",
        "trap",
        "deadline",
        "memory",
        "limit",
        "denied",
        "fenced",
        "host",
    ];

    /// One word for it: a metric label and a column value.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Invalid(_) => "invalid",
            Self::Permanent(_) => "permanent",
            Self::Retryable(..) => "retryable",
            Self::Cancelled(_) => "cancelled",
            Self::Trap(_) => "trap",
            Self::Deadline => "deadline",
            Self::Memory(_) => "memory",
            Self::Limit(_) => "limit",
            Self::Denied(_) => "denied",
            Self::Fenced => "fenced",
            Self::Host(_) => "host",
        }
    }
}

/// Severity of a plugin's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For the plugin's author.
    Debug,
    /// For the operator.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// Where a log line comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// The host's `log` interface.
    #[default]
    Log,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// `execution.report-progress`.
    Progress,
}

/// One line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Unix microseconds.
    pub at_us: i64,
    /// Its severity; standard output is `info`, standard error `warn`.
    pub level: LogLevel,
    /// Where it comes from.
    pub source: LogSource,
    /// The text.
    pub message: String,
    /// Key/value pairs.
    pub fields: Vec<(String, String)>,
}

/// Everything there is to know about one attempt.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub result: Ended,
    /// Its log, in order.
    pub logs: Vec<LogLine>,
    /// Lines that did not fit.
    pub logs_dropped: u64,
    /// Its outgoing calls, in order.
    pub calls: Vec<CallRecord>,
    /// Units of fuel that the guest used.
    pub fuel_used: u64,
    /// From the fresh sandbox to its end.
    pub duration: Duration,
    /// The most linear memory that it had, in bytes.
    pub peak_memory: u64,
}

impl Report {
    /// Nothing but how it ended, after so long.
    #[must_use]
    pub fn only(result: Ended, duration: Duration) -> Self {
        Self {
            result,
            logs: Vec::new(),
            logs_dropped: 0,
            calls: Vec::new(),
            fuel_used: 0,
            duration,
            peak_memory: 0,
        }
    }
}
