//! What Prometheus scrapes. One registry per process; every series is written through a method that names its labels.
//!
//! The names without `vigil_` are those the project's older boards and clients query, kept unchanged. Labels whose
//! values come from outside are bounded: what is new after the limit is counted under `other`.

mod approvals;
mod books;
mod bounded;
mod buckets;
mod held;
mod maker;

use std::time::Duration;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use books::{Books, Underway};
pub use bounded::{Bounded, OTHER};
use buckets::{
    ATTEMPT_SECONDS, BATCH_SIZES, COMMIT_SECONDS, DRIFT_SECONDS, REPAIR_SECONDS, REQUEST_SECONDS,
    START_SECONDS,
};
use maker::Maker;

/// The statuses an action has on the wire; each has a series from the first action of its kind on.
pub const ACTION_STATUSES: [&str; 5] = ["pending", "running", "completed", "failed", "cancelled"];

/// The results of an evaluation.
pub const EVALUATION_RESULTS: [&str; 4] = ["violation", "ok", "no_data", "error"];
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    targets: Bounded,
    names: Bounded,
    /// Policies, plugins, kinds of action, of drift: what only operators name.
    words: [Bounded; 4],
    requests: IntCounterVec,
    request_latency: HistogramVec,
    actions: IntCounterVec,
    ingest: IntCounterVec,
    violations: IntCounterVec,
    evaluations: IntCounterVec,
    worker_tasks: IntCounterVec,
    queue_operations: IntCounterVec,
    queue_lengths: [IntGauge; 2],
    worker_active: IntGauge,
    drift_latency: HistogramVec,
    decisions: IntCounterVec,
    plugin_refused: IntCounterVec,
    plugin_loads: IntCounterVec,
    stale_commits: IntCounter,
    hint_errors: IntCounter,
    redis_up: IntGauge,
    incidents_open: IntGauge,
    held: held::Held,
    detected: Histogram,
    repaired: Histogram,
    attempt_duration: HistogramVec,
    event_to_start: Histogram,
    ingest_batch: Histogram,
    commit: Histogram,
    ingest_rejected: IntCounterVec,
    unreadable: IntGauge,
    approvals: approvals::Approvals,
    books: Books,
}

/// Index into [`Metrics::words`].
const POLICY: usize = 0;
const PLUGIN: usize = 1;
const KIND: usize = 2;
const DRIFT: usize = 3;

/// The series of one policy.
#[derive(Clone, Debug)]
pub struct PolicySeries {
    violations: IntCounter,
    evaluations: [IntCounter; 4],
}

impl PolicySeries {
    /// An arriving event violated it.
    pub fn violation(&self) {
        self.violations.inc();
    }

    /// It was evaluated so often, by result in the order of [`EVALUATION_RESULTS`].
    pub fn evaluated(&self, times: [u32; 4]) {
        for (counter, times) in self.evaluations.iter().zip(times).filter(|(_, times)| *times > 0) {
            counter.inc_by(u64::from(times));
        }
    }
}

impl Metrics {
    /// All of them at zero. Fails only if a name or label in this file is malformed or used twice.
    #[expect(clippy::too_many_lines, reason = "one list, one line per metric")]
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let make = Maker(&registry);
        let info =
            make.keep(IntGaugeVec::new(Opts::new("vigil_build_info", "The running version"), &["version"])?)?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let queue_length = "Actions ready to run and not yet leased";
        Ok(Self {
            targets: Bounded::new("target", 200),
            names: Bounded::new("metric_name", 1_000),
            words: ["policy_name", "plugin", "action", "manifest_type"].map(|label| Bounded::new(label, 500)),
            requests: make.counters(
                "requests_total",
                "Requests answered",
                &["method", "endpoint", "status"],
            )?,
            request_latency: make.histograms(
                ("request_latency_seconds", "From a request's head to its answer"),
                &REQUEST_SECONDS,
                &["endpoint"],
            )?,
            actions: make.counters(
                "actions_total",
                "Actions made, and their changes of status",
                &["target", "action", "status"],
            )?,
            ingest: make.counters("ingest_total", "Events accepted", &["metric_name"])?,
            violations: make.counters(
                "vigil_policy_violations_total",
                "Events that violated a policy",
                &["policy_name"],
            )?,
            evaluations: make.counters(
                "policy_evaluation_total",
                "Evaluations of policies",
                &["policy_name", "result"],
            )?,
            worker_tasks: make.counters(
                "worker_tasks_total",
                "Attempts ended on this process",
                &["status"],
            )?,
            queue_operations: make.counters(
                "queue_operations_total",
                "Actions put into and leased from the queue",
                &["operation"],
            )?,
            queue_lengths: [
                make.gauge("vigil_queue_length", queue_length)?,
                make.gauge("queue_length", queue_length)?,
            ],
            worker_active: make.gauge("worker_active", "1 while workers run on this process")?,
            drift_latency: make.histograms(
                ("drift_detection_latency_seconds", "Age of a drift when it was reported"),
                &DRIFT_SECONDS,
                &["manifest_type", "status"],
            )?,
            decisions: make.counters(
                "vigil_decisions_total",
                "Decisions on violations",
                &["decision", "reason"],
            )?,
            plugin_refused: make.counters(
                "vigil_plugin_refused_total",
                "Plugin files that were not loaded",
                &[],
            )?,
            plugin_loads: make.counters("vigil_plugin_loads_total", "Plugin files that were loaded", &[])?,
            stale_commits: make.counter(
                "vigil_stale_commits_total",
                "Outcomes refused since their lease had been taken away",
            )?,
            hint_errors: make
                .counter("vigil_queue_hint_errors_total", "Wake-up hints that could not be sent or read")?,
            redis_up: make
                .gauge("vigil_redis_up", "1 while Redis answers; 0 also where none is configured")?,
            incidents_open: make.gauge("vigil_incidents_open", "Incidents not yet closed")?,
            held: held::Held::new(&make)?,
            attempt_duration: make.histograms(
                ("vigil_attempt_duration_seconds", "Run time of an attempt"),
                &ATTEMPT_SECONDS,
                &["plugin", "outcome"],
            )?,
            event_to_start: make.histogram(
                "vigil_event_to_start_seconds",
                "From an event's acceptance to the start of the plugin",
                &START_SECONDS,
            )?,
            detected: make.histogram(
                "vigil_time_to_detect_seconds",
                "From the observation of the sample that opened an incident to its opening",
                &START_SECONDS,
            )?,
            repaired: make.histogram(
                "vigil_time_to_repair_seconds",
                "From an incident's opening to its healing, where it acted",
                &REPAIR_SECONDS,
            )?,
            ingest_batch: make.histogram(
                "vigil_ingest_batch_size",
                "Events written in one transaction",
                &BATCH_SIZES,
            )?,
            commit: make.histogram(
                "vigil_commit_seconds",
                "Time of one ingest transaction",
                &COMMIT_SECONDS,
            )?,
            ingest_rejected: make.counters(
                "vigil_ingest_rejected_total",
                "Ingest requests that were not accepted",
                &["reason"],
            )?,
            unreadable: make.gauge(
                "vigil_safety_state_unreadable",
                "Parts of what limits actions that can't be read: nothing is done where one is",
            )?,
            approvals: approvals::Approvals::new(&make)?,
            books: Books::new(&make)?,
            registry,
        })
    }

    /// All series in the text format 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only for a metric without a name, of which there is none.
        let _ = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }

    /// The content type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// A request was answered. `endpoint` is the route's template, `unmatched` where no route matched.
    pub fn request(&self, method: &str, endpoint: &str, status: u16, took: Duration) {
        let method = if METHODS.contains(&method) { method } else { OTHER };
        self.requests.with_label_values(&[method, endpoint, &status.to_string()]).inc();
        self.request_latency.with_label_values(&[endpoint]).observe(took.as_secs_f64());
    }

    /// `count` events of this name were accepted.
    pub fn ingest(&self, name: &str, count: u64) {
        self.ingest.with_label_values(&[self.names.admit(name)]).inc_by(count);
    }

    /// An ingest request was refused; `reason` is one of our own words.
    pub fn ingest_rejected(&self, reason: &str) {
        self.ingest_rejected.with_label_values(&[reason]).inc();
    }

    /// So many events were written in one transaction, which took this long.
    pub fn ingest_committed(&self, events: usize, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 events")]
        self.ingest_batch.observe(events as f64);
        self.commit.observe(took.as_secs_f64());
    }

    /// A drift of this kind was reported so long after it began.
    pub fn drift(&self, manifest_type: &str, status: &str, seconds: f64) {
        let labels = [self.words[DRIFT].admit(manifest_type), self.words[DRIFT].admit(status)];
        self.drift_latency.with_label_values(&labels).observe(seconds);
    }

    /// A policy exists: its series start at zero, so that the first violation is an increase. They are looked
    /// up here once, since each event asks for them.
    #[must_use]
    pub fn policy(&self, name: &str) -> PolicySeries {
        let name = self.words[POLICY].admit(name);
        PolicySeries {
            violations: self.violations.with_label_values(&[name]),
            evaluations: EVALUATION_RESULTS.map(|result| self.evaluations.with_label_values(&[name, result])),
        }
    }

    /// A violation was decided on: `act` or `ask` and an empty reason, or `suppress` and why.
    pub fn decision(&self, decision: &str, reason: &str) {
        self.decisions.with_label_values(&[decision, reason]).inc();
    }

    /// An action was made with this status, or changed to it. Its other statuses' series then start at zero.
    pub fn action(&self, target: &str, action: &str, status: &str) {
        let (target, action) = (self.targets.admit(target), self.words[KIND].admit(action));
        for known in ACTION_STATUSES {
            self.actions.with_label_values(&[target, action, known]);
        }
        self.actions.with_label_values(&[target, action, status]).inc();
    }

    /// Actions changed their status: target, kind and new status of each.
    pub fn moved<'a>(&self, changes: impl IntoIterator<Item = (&'a str, &'a str, &'static str)>) {
        for (target, kind, status) in changes {
            self.action(target, kind, status);
        }
    }

    /// An incident was opened so long after what opened it was observed.
    pub fn detected(&self, took: Duration) {
        self.detected.observe(took.as_secs_f64());
    }

    /// An incident healed so long after it opened.
    pub fn repaired(&self, took: Duration) {
        self.repaired.observe(took.as_secs_f64());
    }

    /// So many incidents are open.
    pub fn incidents_open(&self, count: i64) {
        self.incidents_open.set(count);
    }

    /// An attempt ended: `completed` or `failed`.
    pub fn worker_task(&self, status: &str) {
        self.worker_tasks.with_label_values(&[status]).inc();
    }

    /// How long an attempt took, by plugin and by our word for its outcome.
    pub fn attempt(&self, plugin: &str, outcome: &str, took: Duration) {
        let labels = [self.words[PLUGIN].admit(plugin), outcome];
        self.attempt_duration.with_label_values(&labels).observe(took.as_secs_f64());
    }

    /// How long it took from an event to the plugin's start.
    pub fn event_to_start(&self, took: Duration) {
        self.event_to_start.observe(took.as_secs_f64());
    }

    /// `enqueue` or `dequeue`.
    pub fn queue_operation(&self, operation: &str) {
        self.queue_operations.with_label_values(&[operation]).inc();
    }

    /// So many actions are ready and not leased.
    pub fn queue_length(&self, length: i64) {
        for gauge in &self.queue_lengths {
            gauge.set(length);
        }
    }

    /// Whether workers run here.
    pub fn worker_active(&self, active: bool) {
        self.worker_active.set(active.into());
    }

    /// A hint could not be sent or read.
    pub fn queue_hint_error(&self) {
        self.hint_errors.inc();
    }

    /// Whether Redis answers.
    pub fn redis_up(&self, up: bool) {
        self.redis_up.set(up.into());
    }

    /// So many parts of what limits actions can't be read.
    pub fn unreadable(&self, count: usize) {
        self.unreadable.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// An outcome came after its lease had been taken away.
    pub fn stale_commit(&self) {
        self.stale_commits.inc();
    }

    /// Plugins put into service and refused since the start, as the plugin host counts them.
    pub fn plugins(&self, loads: u64, refused: u64) {
        for (counter, now) in [(&self.plugin_loads, loads), (&self.plugin_refused, refused)] {
            let counter = counter.with_label_values::<&str>(&[]);
            counter.inc_by(now.saturating_sub(counter.get()));
        }
    }
}

#[cfg(test)]
mod tests;
