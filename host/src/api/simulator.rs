//! The simulator over HTTP: started, stopped, watched.

mod run;

use std::ops::RangeInclusive;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::describe::aliased;
use super::input::{self, Fields};
use super::problem::{self, Problem};
use super::{Api, production};
use crate::domain::Timestamp;
use crate::pipeline::simulate::{Mode, Shape};
use run::{Ended, State};

pub use run::{Orders, Simulator, run};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(aliased(routes!(start), &["/api/v1/ui/simulator/start"]))
        .routes(aliased(routes!(stop), &["/api/v1/ui/simulator/stop"]))
        .routes(aliased(routes!(status), &["/api/v1/ui/simulator/status"]))
        .routes(aliased(routes!(health), &["/api/v1/ui/simulator/health"]))
}

/// What a run was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatorConfiguration)]
struct Configuration {
    /// Events per minute.
    rate: u32,
    /// How they are spread over time.
    mode: Mode,
    /// Of a hundred events, so many are refused by the pipeline.
    failure_percent: f64,
    /// So many never arrive.
    timeout_percent: f64,
    /// So many are no events at all.
    malformed_percent: f64,
}

impl From<Shape> for Configuration {
    fn from(shape: Shape) -> Self {
        Self {
            rate: shape.rate,
            mode: shape.mode,
            failure_percent: shape.failure,
            timeout_percent: shape.timeout,
            malformed_percent: shape.malformed,
        }
    }
}

/// The simulator runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatorStarted)]
struct Started {
    /// Always true.
    ok: bool,
    /// Whether it was started now, or ran already.
    message: &'static str,
    /// Always true.
    running: bool,
    /// What it was started with.
    configuration: Configuration,
}

/// What a run came to.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = SimulatorSummary)]
struct Summary {
    /// How long it ran.
    runtime_seconds: f64,
    /// All events.
    total_events: u64,
    /// Stored.
    events_succeeded: u64,
    /// Refused by the pipeline.
    events_failed: u64,
    /// Never arrived.
    events_timeout: u64,
    /// Were no events.
    events_malformed: u64,
    /// Refused since too much was waiting.
    events_rate_limited: u64,
    /// Of a hundred events, how many were stored.
    success_rate: f64,
    /// Events per minute.
    actual_rate: f64,
}

/// The simulator does not run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatorStopped)]
struct Stopped {
    /// Always true.
    ok: bool,
    /// Whether it was stopped now, or did not run.
    message: &'static str,
    /// Always false.
    running: bool,
    /// What the run came to; zeros where there was none.
    summary: Summary,
}

/// What the simulator is doing, or last did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatorStatus)]
struct Status {
    /// It sends events.
    running: bool,
    /// Events per minute that it was last asked for.
    rate: u32,
    /// How they are spread over time.
    mode: Mode,
    /// Events of this run, or the last one.
    events_generated: u64,
    /// Stored.
    events_succeeded: u64,
    /// Refused by the pipeline.
    events_failed: u64,
    /// Refused since too much was waiting.
    events_rate_limited: u64,
    /// Never arrived.
    events_timeout: u64,
    /// Were no events.
    events_malformed: u64,
    /// When it was last started.
    started_at: Option<Timestamp>,
    /// When it last sent something.
    last_event_at: Option<Timestamp>,
    /// How long it has been running; 0 where it does not.
    uptime_seconds: f64,
}

/// Whether the simulator can be used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatorHealth)]
struct Health {
    /// Always `healthy`.
    status: &'static str,
    /// Always `simulator`.
    service: &'static str,
    /// It sends events.
    running: bool,
    /// The environment that this server is set to.
    environment: String,
    /// It can't be started here, since this is production.
    production_blocked: bool,
}

impl From<Ended> for Problem {
    fn from(Ended: Ended) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Vigil is ending").retry_after(2)
    }
}

fn allowed(api: &Api) -> Result<(), Problem> {
    if production(api) {
        let text = "The simulator is switched off in production (settings: environment)";
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    Ok(())
}

/// A number, or a text or boolean that is one.
#[derive(Serialize, ToSchema)]
#[schema(as = LaxNumber)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read by hand")]
enum Number {
    /// Itself.
    Plain(f64),
    /// In digits.
    Text(String),
    /// 1 or 0.
    Bool(bool),
}

/// What to send. Each share has two names, and the first that is given counts.
#[derive(ToSchema)]
#[schema(as = SimulatorRun)]
#[expect(dead_code, reason = "it describes what `shape` reads")]
struct Run {
    /// Events per minute, a whole number from 1 to 10,000; without it 100.
    #[schema(required = false)]
    rate: Option<Number>,
    /// How they are spread over time.
    #[schema(required = false)]
    mode: Option<Mode>,
    /// Of a hundred events, so many are refused by the pipeline; without it 5.
    #[schema(required = false)]
    failure_percent: Option<Number>,
    /// The same.
    #[schema(required = false)]
    failure_rate: Option<Number>,
    /// So many take two seconds and come to nothing; without it 2.
    #[schema(required = false)]
    timeout_percent: Option<Number>,
    /// The same.
    #[schema(required = false)]
    timeout_rate: Option<Number>,
    /// So many are no events at all; without it 1.
    #[schema(required = false)]
    malformed_percent: Option<Number>,
    /// The same.
    #[schema(required = false)]
    malformed_rate: Option<Number>,
}

/// Starts sending made-up events through the real pipeline, marked as simulated.
#[utoipa::path(post, path = "/api/v1/simulator/start", tag = "simulator", security(("token" = ["operate"])),
    request_body = Run,
    responses((status = 200, description = "It runs, since now or since before", body = Started),
        (status = 403, description = "Not in production, or the role is too low", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn start(Shared(api): Shared<Api>, headers: HeaderMap, sent: Body) -> Result<Json<Started>, Problem> {
    allowed(&api)?;
    let shape = shape(&input::json(&api, &headers, sent).await?)?;
    let (fresh, shape) = api.simulator.start(shape).await?;
    let message = if fresh { "Simulator started" } else { "Simulator is already running" };
    Ok(Json(Started { ok: true, message, running: true, configuration: shape.into() }))
}

/// Stops it and sums up.
#[utoipa::path(post, path = "/api/v1/simulator/stop", tag = "simulator", security(("token" = ["operate"])),
    responses((status = 200, description = "It does not run", body = Stopped),
        (status = 403, description = "Not in production, or the role is too low", body = problem::Body)))]
async fn stop(Shared(api): Shared<Api>) -> Result<Json<Stopped>, Problem> {
    allowed(&api)?;
    let (message, summary) = match api.simulator.stop().await? {
        Some(state) => ("Simulator stopped", summary(&state)),
        None => ("Simulator is not running", Summary::default()),
    };
    Ok(Json(Stopped { ok: true, message, running: false, summary }))
}

/// What it is doing, or last did, in the process that answers.
#[utoipa::path(get, path = "/api/v1/simulator/status", tag = "simulator", security(("token" = ["read"])),
    responses((status = 200, description = "Counts of this run, or the last one", body = Status)))]
async fn status(Shared(api): Shared<Api>) -> Json<Status> {
    let state = api.simulator.state();
    Json(Status {
        running: state.running,
        rate: state.shape.rate,
        mode: state.shape.mode,
        events_generated: state.tally.generated,
        events_succeeded: state.tally.succeeded,
        events_failed: state.tally.failed,
        events_rate_limited: state.tally.limited,
        events_timeout: state.tally.timeout,
        events_malformed: state.tally.malformed,
        started_at: state.started_at,
        last_event_at: state.last_event_at,
        uptime_seconds: if state.running { round(state.runtime().as_secs_f64(), 3) } else { 0.0 },
    })
}

/// Whether it can be used.
#[utoipa::path(get, path = "/api/v1/simulator/health", tag = "simulator", security(()),
    responses((status = 200, description = "Whether it runs, and may", body = Health)))]
async fn health(Shared(api): Shared<Api>) -> Json<Health> {
    Json(Health {
        status: "healthy",
        service: "simulator",
        running: api.simulator.state().running,
        environment: super::environment(&api),
        production_blocked: production(&api),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run")]
fn summary(state: &State) -> Summary {
    let (tally, seconds) = (state.tally, state.runtime().as_secs_f64());
    let total = tally.generated as f64;
    Summary {
        runtime_seconds: round(seconds, 3),
        total_events: tally.generated,
        events_succeeded: tally.succeeded,
        events_failed: tally.failed,
        events_timeout: tally.timeout,
        events_malformed: tally.malformed,
        events_rate_limited: tally.limited,
        success_rate: round(100.0 * tally.succeeded as f64 / total.max(1.0), 1),
        actual_rate: if seconds > 0.0 { round(60.0 * total / seconds, 1) } else { 0.0 },
    }
}

fn round(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

fn shape(value: &Value) -> Result<Shape, Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let plain = Shape::default();
    let rate = rate(&mut fields).unwrap_or(plain.rate);
    let mode = mode(&mut fields).unwrap_or(plain.mode);
    let shape = Shape {
        rate,
        mode,
        failure: percent(&mut fields, ["failure_percent", "failure_rate"]).unwrap_or(plain.failure),
        timeout: percent(&mut fields, ["timeout_percent", "timeout_rate"]).unwrap_or(plain.timeout),
        malformed: percent(&mut fields, ["malformed_percent", "malformed_rate"]).unwrap_or(plain.malformed),
    };
    if fields.faults.is_empty() { Ok(shape) } else { Err(Problem::invalid(fields.faults)) }
}

/// A whole number, or a text, bool or float that is one.
fn rate(fields: &mut Fields<'_>) -> Option<u32> {
    let (kind, msg) = ("int_type", "Input should be a valid integer");
    let number = match fields.get("rate")? {
        Value::Number(number) => number.as_f64().filter(|number| number.fract() == 0.0).ok_or((kind, msg)),
        Value::Bool(yes) => Ok(f64::from(u8::from(*yes))),
        Value::String(text) => text.trim().parse::<i32>().map(f64::from).map_err(|_| {
            ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => Err((kind, msg)),
    };
    match number {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, 1 to 10,000")]
        Ok(number) => within(fields, "rate", number, 1.0..=10_000.0).map(|number| number as u32),
        Err((kind, msg)) => {
            fields.fault(kind, "rate", msg);
            None
        }
    }
}

fn mode(fields: &mut Fields<'_>) -> Option<Mode> {
    let mode = fields.get("mode")?.as_str().and_then(Mode::from_word);
    if mode.is_none() {
        let expected = "'steady', 'burst', 'ramp' or 'chaos'";
        fields.fault("enum", "mode", format!("Input should be {expected}"));
        fields.last_ctx(json!({"expected": expected}));
    }
    mode
}

/// A share in percent, under either of its names; the first that is given counts.
fn percent(fields: &mut Fields<'_>, names: [&'static str; 2]) -> Option<f64> {
    // Both are looked at: a fault of the one that does not count is a fault all the same.
    let mut share = |name: &'static str| {
        fields.get(name)?;
        let number = fields.number(name)?;
        within(fields, name, number, 0.0..=100.0)
    };
    let [first, second] = names.map(&mut share);
    first.or(second)
}

fn within(fields: &mut Fields<'_>, name: &str, number: f64, range: RangeInclusive<f64>) -> Option<f64> {
    let (low, high) = (range.start(), range.end());
    if number < *low {
        let msg = format!("Input should be greater than or equal to {low}");
        fields.fault("greater_than_equal", name, msg);
        fields.last_ctx(json!({"ge": low}));
        return None;
    }
    if number > *high {
        fields.fault("less_than_equal", name, format!("Input should be less than or equal to {high}"));
        fields.last_ctx(json!({"le": high}));
        return None;
    }
    Some(number)
}
