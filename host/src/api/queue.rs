//! The queue in numbers, and tasks injected into it. The numbers come from the database: Redis only carries hints.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::input::{self, Fields};
use super::lax::Whole;
use super::problem::{self, Problem};
use crate::config::Environment;
use crate::domain::Timestamp;
use crate::store::QueueNumbers;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(health))
        .routes(routes!(record))
        .routes(routes!(tasks))
        .routes(routes!(stats))
        .routes(routes!(inject))
}

/// Samples in the status.
const SAMPLES: i64 = 60;
/// Samples in the stats.
const DEPTHS: i64 = 5;

/// The action that ended last.
#[derive(Serialize, ToSchema)]
#[schema(as = QueueLastTask)]
struct LastTask {
    /// Its id as text.
    task_id: String,
    /// Its id.
    action_id: i64,
    /// On what.
    target: String,
    /// When it ended.
    timestamp: Timestamp,
}

/// One sample of the queue's length.
#[derive(Serialize, ToSchema)]
#[schema(as = QueueSample)]
struct Sample {
    /// When.
    time: Timestamp,
    /// How many waited.
    depth: i64,
}

/// The six numbers under their documented names.
#[derive(Clone, Copy, Serialize, ToSchema)]
struct QueueSix {
    /// Queued and not leased.
    queue_depth: i64,
    /// Put in the queue, each retry again.
    tasks_enqueued: i64,
    /// Taken out to be run, each retry again.
    tasks_dequeued: i64,
    /// Queued actions that completed.
    tasks_completed: i64,
    /// Queued actions that failed.
    tasks_failed: i64,
    /// Completed in percent of ended, to one decimal.
    success_rate: f64,
}

/// The six, and the names under which older clients know them.
#[derive(Serialize, ToSchema)]
struct Numbers {
    #[serde(flatten)]
    six: QueueSix,
    /// The same as `queue_depth`.
    queue_length: i64,
    /// The same as `tasks_completed`.
    completed: i64,
    /// The same as `tasks_failed`.
    failed: i64,
    /// The action that ended last.
    #[schema(required = true)]
    last_processed_task: Option<LastTask>,
}

/// The queue since the installation.
#[derive(Serialize, ToSchema)]
struct QueueStatus {
    /// Always `remediation_queue`.
    queue_name: &'static str,
    #[serde(flatten)]
    numbers: Numbers,
    /// A sample every 5 seconds, the last 60 of them, oldest first.
    history: Vec<Sample>,
}

/// The queue for dashboards.
#[derive(Serialize, ToSchema)]
struct QueueStats {
    /// Always true.
    ok: bool,
    /// The six numbers under their documented names.
    queue: QueueSix,
    #[serde(flatten)]
    numbers: Numbers,
    /// The last five samples of the length, oldest first.
    history: Vec<i64>,
}

/// How the queue is doing.
#[derive(Serialize, ToSchema)]
struct QueueHealth {
    /// `healthy`; `degraded` while Redis is configured and away; `unhealthy` while the database is away.
    status: &'static str,
    /// Always `queue`.
    service: &'static str,
    /// Whether Redis answers; false where none is configured.
    redis_connected: bool,
    /// Queued and not leased; 0 while the database is away.
    queue_depth: i64,
}

/// A sample was taken.
#[derive(Serialize, ToSchema)]
#[schema(as = QueueRecorded)]
struct Recorded {
    /// Always `recorded`.
    status: &'static str,
    /// In words.
    message: String,
}

/// A background loop.
#[derive(Serialize, ToSchema)]
struct LoopInfo {
    /// Its stable name.
    name: &'static str,
    /// It has come to its end.
    done: bool,
    /// It was stopped before its end.
    cancelled: bool,
}

/// The background loops of this process.
#[derive(Serialize, ToSchema)]
struct LoopList {
    /// How many.
    count: usize,
    /// Each of them.
    tasks: Vec<LoopInfo>,
}

/// Tasks were injected.
#[derive(Serialize, ToSchema)]
#[schema(as = QueueInjected)]
#[expect(clippy::struct_field_names, reason = "the name on the wire")]
struct Injected {
    /// Always true.
    ok: bool,
    /// How many.
    injected: usize,
    /// How many wait in the queue now.
    queue_depth: i64,
    /// In words.
    message: String,
}

/// How many tasks to inject.
#[derive(ToSchema)]
#[schema(as = InjectTasks)]
#[expect(dead_code, reason = "it describes what is read member by member")]
struct InjectBody {
    /// From 1 to 50; 5 if absent.
    count: Option<Whole>,
}

fn rate(numbers: &QueueNumbers) -> f64 {
    let ended = numbers.completed + numbers.failed;
    if ended == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let percent = numbers.completed as f64 * 100.0 / ended as f64;
    (percent * 10.0).round() / 10.0
}

fn last(numbers: &QueueNumbers) -> Option<LastTask> {
    numbers.last.as_ref().map(|(id, target, timestamp)| LastTask {
        task_id: id.to_string(),
        action_id: *id,
        target: target.clone(),
        timestamp: *timestamp,
    })
}

impl Numbers {
    fn of(read: &QueueNumbers) -> Self {
        let six = QueueSix {
            queue_depth: read.depth,
            tasks_enqueued: read.enqueued,
            tasks_dequeued: read.dequeued,
            tasks_completed: read.completed,
            tasks_failed: read.failed,
            success_rate: rate(read),
        };
        let last_processed_task = last(read);
        Self {
            six,
            queue_length: read.depth,
            completed: read.completed,
            failed: read.failed,
            last_processed_task,
        }
    }
}

/// The queue since the installation.
#[utoipa::path(get, path = "/api/v1/queue/status", tag = "queue", security(("token" = ["read"])),
    responses((status = 200, description = "Its numbers", body = QueueStatus)))]
async fn status(State(api): State<Api>) -> Result<Json<QueueStatus>, Problem> {
    let read = api.store.queue_numbers(SAMPLES).await?;
    Ok(Json(QueueStatus {
        queue_name: "remediation_queue",
        numbers: Numbers::of(&read),
        history: read
            .history
            .iter()
            .rev()
            .map(|(time, depth)| Sample { time: *time, depth: *depth })
            .collect(),
    }))
}

/// The queue for dashboards.
#[utoipa::path(get, path = "/api/v1/ui/queue/stats", tag = "queue", security(("token" = ["read"])),
    responses((status = 200, description = "Its numbers", body = QueueStats)))]
async fn stats(State(api): State<Api>) -> Result<Json<QueueStats>, Problem> {
    let read = api.store.queue_numbers(DEPTHS).await?;
    let numbers = Numbers::of(&read);
    let history = read.history.iter().rev().map(|(_, depth)| *depth).collect();
    Ok(Json(QueueStats { ok: true, queue: numbers.six, numbers, history }))
}

/// How the queue is doing; always 200.
#[utoipa::path(get, path = "/api/v1/queue/health", tag = "queue", security(()),
    responses((status = 200, description = "How it is doing", body = QueueHealth)))]
async fn health(State(api): State<Api>) -> Json<QueueHealth> {
    let asked = tokio::time::timeout(Duration::from_secs(2), api.store.gauges()).await;
    let depth = asked.ok().and_then(Result::ok).map(|(_, depth)| depth);
    let redis = api.queue.connected();
    let status = match (depth, redis) {
        (None, _) => "unhealthy",
        (Some(_), Some(false)) => "degraded",
        (Some(_), Some(true) | None) => "healthy",
    };
    let redis_connected = redis == Some(true);
    Json(QueueHealth { status, service: "queue", redis_connected, queue_depth: depth.unwrap_or(0) })
}

/// Takes a sample of the queue's length now, beside those of every 5 seconds.
#[utoipa::path(post, path = "/api/v1/queue/record-history", tag = "queue", security(("token" = ["operate"])),
    responses((status = 200, description = "It was taken", body = Recorded)))]
async fn record(State(api): State<Api>) -> Result<Json<Recorded>, Problem> {
    api.store.sample_queue(api.clock.now()).await?;
    Ok(Json(Recorded { status: "recorded", message: "Queue depth recorded in history".to_owned() }))
}

/// The background loops of this process.
#[utoipa::path(get, path = "/api/v1/queue/debug/tasks", tag = "queue", security(("token" = ["read"])),
    responses((status = 200, description = "Each of them", body = LoopList)))]
async fn tasks(State(api): State<Api>) -> Json<LoopList> {
    let tasks: Vec<LoopInfo> = api
        .loops
        .list()
        .into_iter()
        .map(|known| LoopInfo { name: known.name, done: known.done, cancelled: known.cancelled })
        .collect();
    Json(LoopList { count: tasks.len(), tasks })
}

/// Injects simulated tasks.
///
/// They are real rows, marked as simulated, and done by nobody: no plugin is called. Not in production.
#[utoipa::path(post, path = "/api/v1/ui/queue/inject-tasks", tag = "queue", security(("token" = ["operate"])),
    request_body(content = Option<InjectBody>, description = "May be absent"),
    responses((status = 200, description = "Injected", body = Injected),
        (status = 403, description = "Not in production", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn inject(State(api): State<Api>, headers: HeaderMap, sent: Body) -> Result<Json<Injected>, Problem> {
    if api.settings.now().environment == Environment::Production {
        return Err(Problem::new(StatusCode::FORBIDDEN, "Task injection is disabled in production"));
    }
    let count = count(&api, &headers, sent).await?;
    let ids: Vec<String> = (0..count).map(|_| api.clock.id()).collect();
    api.store.inject_actions(&ids, api.clock.now()).await?;
    for at in 1..=count {
        let target = format!("simulated-{at}");
        for status in ["pending", "completed"] {
            api.metrics.action(&target, "custom", status);
        }
    }
    let (_, queue_depth) = api.store.gauges().await?;
    let message = format!("Injected {count} simulated tasks");
    Ok(Json(Injected { ok: true, injected: count, queue_depth, message }))
}

/// `count` of the body, which may be absent or null.
async fn count(api: &Api, headers: &HeaderMap, sent: Body) -> Result<usize, Problem> {
    let Some(value) = input::optional(api, headers, sent).await? else { return Ok(5) };
    if value.is_null() {
        return Ok(5);
    }
    let mut fields =
        Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let count = match fields.get("count") {
        None => Some(5),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => None,
        Some(_) => super::settings::whole(&mut fields, "count", (1, 50)),
    };
    if let Some(count) = count.and_then(|count| usize::try_from(count).ok()) {
        return Ok(count);
    }
    if fields.faults.is_empty() {
        fields.fault("int_type", "count", "Input should be a valid integer");
    }
    Err(Problem::invalid(fields.faults))
}
