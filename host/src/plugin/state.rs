//! What belongs to one sandbox: its limits, its log and its record of calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::connections::Connection;
use super::types::{CallRecord, CallState, Effects, JournalEntry, LogLevel, LogLine, LogSource};
use crate::domain::plan::{Bound, Passes};

/// The longest printed line; a longer one is split.
const MAX_LINE: usize = 4 << 10;
/// Calls of the cheap host functions (log, clocks, progress) that one attempt may make.
const MAX_CHEAP_CALLS: u32 = 100_000;

/// Why the host ends a guest. It travels through wasmtime as an error and is looked for at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Kill {
    /// Its time is up.
    #[error("the deadline passed")]
    Deadline,
    /// The worker lost its lease.
    #[error("the worker's lease lapsed")]
    Fenced,
    /// Asked to stop, it did not within the grace period.
    #[error("it did not stop when asked to")]
    Cancelled,
    /// It asked for more memory than allowed.
    #[error("{0}")]
    Memory(String),
    /// It went over another limit.
    #[error("{0}")]
    Limit(String),
    /// `describe` called the host.
    #[error("`describe` called {0}: it must call nothing")]
    Impure(&'static str),
}

/// The data of a store.
pub(super) struct Sandbox {
    /// Limits on memory and tables.
    pub(super) limits: Limits,
    /// The running attempt; none while `describe` runs.
    pub(super) attempt: Option<Arc<Attempt>>,
    /// WASI with nothing in it.
    pub(super) wasi: WasiCtx,
    /// WASI's handles.
    pub(super) table: ResourceTable,
}

impl Sandbox {
    /// The attempt, if the guest may call the host now; each call is counted.
    pub(super) fn cheap(&self, what: &'static str) -> Result<&Arc<Attempt>, Kill> {
        let attempt = self.attempt.as_ref().ok_or(Kill::Impure(what))?;
        count(&attempt.cheap_calls, MAX_CHEAP_CALLS, "calls of log and execution")?;
        Ok(attempt)
    }

    /// The same for a call that costs the host something.
    pub(super) fn dear(&self, what: &'static str) -> Result<&Arc<Attempt>, Kill> {
        let attempt = self.attempt.as_ref().ok_or(Kill::Impure(what))?;
        count(&attempt.dear_calls, attempt.host_calls, "host calls (plugins.host_calls)")?;
        Ok(attempt)
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What wasmtime asks before it gives memory: summed over all memories of the sandbox.
#[derive(Debug)]
pub(super) struct Limits {
    /// Bytes over all memories.
    pub(super) memory: u64,
    /// Elements of one table.
    pub(super) table_elements: usize,
    /// Core instances.
    pub(super) instances: usize,
    /// Bytes now.
    pub(super) used: u64,
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.used.saturating_add(desired.saturating_sub(current) as u64);
        if after > self.memory {
            // Ending it says why; refusing would leave the guest to a panic of its own.
            let limit = self.memory >> 20;
            let text = format!("it asked for {} KiB of memory; the limit is {limit} MiB", after >> 10);
            return Err(Kill::Memory(text).into());
        }
        self.used = after;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.table_elements {
            let limit = self.table_elements;
            let text =
                format!("a table of {desired} elements; the limit is {limit} (plugins.table_elements)");
            return Err(Kill::Limit(text).into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances * 2
    }

    fn memories(&self) -> usize {
        8
    }
}

/// One attempt as the host functions see it. It outlives the store, so that nothing is lost when the
/// guest is dropped in the middle of a call.
pub(super) struct Attempt {
    /// The execution's id.
    pub(super) execution_id: String,
    /// The lease's fencing number.
    pub(super) fence: i64,
    /// What the action declares.
    pub(super) effects: Effects,
    /// When the host ends it.
    pub(super) deadline: Instant,
    /// Asked to stop.
    pub(super) cancel: CancellationToken,
    /// Whether the lease still holds.
    pub(super) holds: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Where intents go; none: a `validate`, which may not write, or plan mode.
    pub(super) journal: Option<mpsc::Sender<JournalEntry>>,
    /// Plan mode: what is sent all the same.
    pub(super) plan: Option<Passes>,
    /// The only calls that may change something.
    pub(super) bound: Option<Mutex<Bound>>,
    /// Slots and what fills them.
    pub(super) connections: BTreeMap<String, Arc<Connection>>,
    /// The plugin's configuration.
    pub(super) config: Arc<serde_json::Map<String, serde_json::Value>>,
    /// Unix microseconds.
    pub(super) now: fn() -> i64,
    /// Bytes of log that are kept.
    pub(super) log_bytes: u64,
    /// Dear host calls.
    pub(super) host_calls: u32,
    /// How many there were.
    pub(super) dear_calls: AtomicU32,
    /// How many cheap ones.
    pub(super) cheap_calls: AtomicU32,
    /// Mutating calls so far: the `n` of the idempotency key.
    pub(super) mutations: AtomicU64,
    /// The guest was told of a cancellation.
    pub(super) told: AtomicBool,
    /// Log and calls.
    pub(super) record: Mutex<Record>,
}

/// What an attempt leaves behind.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Log lines that fit.
    pub(super) logs: Vec<LogLine>,
    /// Bytes of them.
    pub(super) log_used: u64,
    /// Lines that did not fit.
    pub(super) logs_dropped: u64,
    /// Outgoing calls.
    pub(super) calls: Vec<CallRecord>,
    /// Calls that were refused, in words.
    pub(super) refused: Vec<String>,
    /// The first call that was none of the approved plan.
    pub(super) diverged: Option<String>,
    /// What was printed since the last end of a line.
    partial: Vec<u8>,
    /// Where to.
    partial_of: LogSource,
}

impl Record {
    fn push(&mut self, line: LogLine, limit: u64) {
        let size = line.message.len() + line.fields.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
        // A line costs something even if it is empty.
        let after = self.log_used + size as u64 + 32;
        if after > limit {
            self.logs_dropped += 1;
        } else {
            self.log_used = after;
            self.logs.push(line);
        }
    }

    /// Keeps the whole lines of what was printed, and what is left too if it is `all` there will be.
    fn print(&mut self, source: LogSource, rest: &mut Vec<u8>, all: bool, attempt: &Attempt) {
        let mut done = 0;
        while let Some(left) = rest.get(done..).filter(|left| !left.is_empty()) {
            let end = left.iter().position(|b| *b == b'\n');
            let take = match end {
                Some(end) => end.min(MAX_LINE),
                None if all || left.len() >= MAX_LINE => left.len().min(MAX_LINE),
                None => break,
            };
            let level = if source == LogSource::Stderr { LogLevel::Warn } else { LogLevel::Info };
            let message = String::from_utf8_lossy(&left[..take]).trim_end().to_owned();
            done += take + usize::from(end == Some(take));
            if !message.is_empty() {
                let line = LogLine { at_us: (attempt.now)(), level, source, message, fields: Vec::new() };
                self.push(line, attempt.log_bytes);
            }
        }
        rest.drain(..done);
    }
}

fn count(counter: &AtomicU32, limit: u32, what: &str) -> Result<(), Kill> {
    if counter.fetch_add(1, Ordering::Relaxed) >= limit {
        return Err(Kill::Limit(format!("more than {limit} {what}")));
    }
    Ok(())
}

impl Attempt {
    /// The log and the calls.
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a line if it fits.
    pub(super) fn log(
        &self,
        level: LogLevel,
        source: LogSource,
        message: &str,
        fields: Vec<(String, String)>,
    ) {
        let line = LogLine { at_us: (self.now)(), level, source, message: message.to_owned(), fields };
        self.record().push(line, self.log_bytes);
    }

    /// Takes what was printed, line by line.
    pub(super) fn print(&self, source: LogSource, bytes: &[u8]) {
        let mut record = self.record();
        let mut rest = std::mem::take(&mut record.partial);
        if record.partial_of != source {
            let before = std::mem::replace(&mut record.partial_of, source);
            record.print(before, &mut rest, true, self);
        }
        rest.extend_from_slice(bytes);
        record.print(source, &mut rest, false, self);
        record.partial = rest;
    }

    /// Whether the guest must end now.
    pub(super) fn check(&self) -> Result<(), Kill> {
        if Instant::now() >= self.deadline {
            return Err(Kill::Deadline);
        }
        if !(self.holds)() {
            return Err(Kill::Fenced);
        }
        Ok(())
    }

    /// Takes out what was recorded; a call that the guest was cut off from has an unknown outcome.
    pub(super) fn take_record(&self) -> Record {
        let mut record = std::mem::take(&mut *self.record());
        let mut rest = std::mem::take(&mut record.partial);
        record.print(record.partial_of, &mut rest, true, self);
        for call in record.calls.iter_mut().filter(|c| c.state == CallState::Intent) {
            call.state = if call.mutating { CallState::Unknown } else { CallState::Done };
            call.error.get_or_insert_with(|| "the attempt ended during the call".to_owned());
        }
        record
    }
}
