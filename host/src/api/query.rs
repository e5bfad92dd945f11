//! Stored readings, newest first.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::describe::aliased;
use super::params::Params;
use super::problem::{self, Problem};
use crate::domain::Timestamp;
use crate::store::{Found, WantedSamples};

/// Readings of the live list.
const LIVE: usize = 30;
/// What is older is not live.
const LIVE_AGE: std::time::Duration = std::time::Duration::from_hours(1);

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(aliased(routes!(query), &["/query"])).routes(routes!(live))
}

/// A stored reading.
#[derive(Serialize, ToSchema)]
struct Reading {
    /// Its metric id.
    id: i64,
    /// The metric.
    name: String,
    /// What was observed.
    value: f64,
    /// Its tags.
    #[schema(value_type = Object)]
    tags: Value,
    /// When it was observed.
    timestamp: Timestamp,
    /// What it is about; `all` where no tag says so.
    target: String,
}

/// Stored readings.
#[derive(Serialize, ToSchema)]
struct Readings {
    /// Always true.
    ok: bool,
    /// How many follow.
    count: usize,
    /// Newest first.
    metrics: Vec<Reading>,
    /// What the list leaves out, if something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

impl From<Found> for Reading {
    fn from(found: Found) -> Self {
        let Found { id, observed_at, value, name, target, tags } = found;
        Self { id, name, value, tags, timestamp: observed_at, target }
    }
}

/// Lists the stored readings of a metric, newest first. One that nobody has sent is an empty list.
#[utoipa::path(get, path = "/api/v1/query", tag = "ingest", security(("token" = ["read"])),
    params(("metric_name" = String, Query, description = "The metric"),
        ("target" = Option<String>, Query, description = "Exactly this target"),
        ("start_time" = Option<String>, Query, description = "Observed then or later: RFC 3339, a date or unix seconds"),
        ("end_time" = Option<String>, Query, description = "Observed then or earlier"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "How many; 100")),
    responses((status = 200, description = "The readings", body = Readings),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn query(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Readings>, Problem> {
    let mut params = Params::new(query);
    let name = params.word("metric_name").trim().to_owned();
    if params.text("metric_name").is_none() {
        params.fault("missing", "metric_name", "Field required");
    } else if name.is_empty() {
        params.fault("value_error", "metric_name", "Value error, metric_name must not be blank");
    }
    let (from, to) = (params.time("start_time"), params.time("end_time"));
    let limit = params.int("limit", 1..=1_000, 100);
    let target = params.word("target");
    params.done()?;
    let limit = usize::try_from(limit).unwrap_or(1);
    let (found, whole) = api.store.samples(&WantedSamples { name, target, from, to, limit }).await?;
    let metrics: Vec<Reading> = found.into_iter().map(Reading::from).collect();
    let warnings = (!whole).then(|| {
        "the search was ended before it had seen everything; give a start_time or a target".to_owned()
    });
    Ok(Json(Readings { ok: true, count: metrics.len(), metrics, warnings: warnings.into_iter().collect() }))
}

/// A reading of a moment ago.
#[derive(Serialize, ToSchema)]
struct LiveReading {
    /// What was observed; never null.
    value: f64,
    /// The metric.
    name: String,
    /// When it was observed.
    timestamp: Timestamp,
    /// What it is about.
    target: String,
}

/// Readings of a moment ago.
#[derive(Serialize, ToSchema)]
struct Live {
    /// Newest first.
    metrics: Vec<LiveReading>,
}

/// Lists the last 30 readings of a metric within an hour, newest first; by default of `cpu_usage`, or of
/// `cpu_percent` where nobody sends that.
#[utoipa::path(get, path = "/metrics/live", tag = "ingest", security(("token" = ["read"])),
    params(("metric_name" = Option<String>, Query, description = "The metric")),
    responses((status = 200, description = "The readings", body = Live),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn live(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Live>, Problem> {
    let params = Params::new(query);
    let wanted = params.word("metric_name").trim().to_owned();
    params.done()?;
    let names =
        if wanted.is_empty() { vec!["cpu_usage".to_owned(), "cpu_percent".to_owned()] } else { vec![wanted] };
    let from = Some(api.clock.now().before(LIVE_AGE));
    for name in names {
        let wanted = WantedSamples { name, target: String::new(), from, to: None, limit: LIVE };
        let (found, _) = api.store.samples(&wanted).await?;
        if !found.is_empty() {
            let metrics = found.into_iter().map(|found| LiveReading {
                value: found.value,
                name: found.name,
                timestamp: found.observed_at,
                target: found.target,
            });
            return Ok(Json(Live { metrics: metrics.collect() }));
        }
    }
    Ok(Json(Live { metrics: Vec::new() }))
}
