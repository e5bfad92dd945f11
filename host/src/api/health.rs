//! Signs of life, and the numbers.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::describe::aliased;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(aliased(
            routes!(health),
            &["/health/live", "/api/v1/health", "/ui/health", "/api/v1/ui/health"],
        ))
        .routes(routes!(ready))
        .routes(routes!(metrics))
}

/// That it lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `healthy`.
    status: &'static str,
    /// Always `vigil`.
    service: &'static str,
    /// Of this binary.
    version: &'static str,
    /// Since it began.
    uptime_seconds: u64,
}

/// Liveness: touches nothing that could be away.
#[utoipa::path(get, path = "/health", tag = "service", security(()),
    responses((status = 200, description = "It lives", body = Alive)))]
async fn health(State(api): State<Api>) -> Json<Alive> {
    Json(Alive {
        status: "healthy",
        service: "vigil",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: api.started.elapsed().as_secs(),
    })
}

/// Whether it can take work, and what it stands on.
#[derive(Serialize, ToSchema)]
struct Readiness {
    /// `healthy`, `degraded` (Redis is away, work goes on by polling) or `unhealthy`.
    status: &'static str,
    /// The database.
    database: Database,
    /// Redis; null: none is configured.
    redis: Option<Redis>,
    /// Whether it is ending.
    draining: bool,
    /// Policies in force.
    policies: usize,
}

/// The database.
#[derive(Serialize, ToSchema)]
struct Database {
    /// `sqlite` or `postgres`.
    kind: &'static str,
    /// Whether it answers.
    up: bool,
}

/// Redis.
#[derive(Serialize, ToSchema)]
struct Redis {
    /// Whether it answers.
    up: bool,
}

/// Readiness: whether new work should be sent here. Without Redis work goes on, by polling: degraded.
#[utoipa::path(get, path = "/health/ready", tag = "service", security(()),
    responses((status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness)))]
async fn ready(State(api): State<Api>) -> Response {
    let database = tokio::time::timeout(Duration::from_secs(2), api.store.ping()).await;
    let database = matches!(database, Ok(Ok(())));
    let redis = api.queue.connected();
    let draining = api.ending.is_cancelled();
    let status = match (database && !draining, redis) {
        (false, _) => "unhealthy",
        (true, Some(false)) => "degraded",
        (true, Some(true) | None) => "healthy",
    };
    let code = if status == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = Readiness {
        status,
        database: Database { kind: api.store.kind(), up: database },
        redis: redis.map(|up| Redis { up }),
        draining,
        policies: api.in_force().len(),
    };
    (code, Json(body)).into_response()
}

/// The numbers, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", security(("token" = ["read"])),
    responses((status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        (status = 404, description = "They are switched off", body = super::problem::Body)))]
async fn metrics(State(api): State<Api>) -> Response {
    if !api.settings.now().metrics_enabled {
        return super::problem::not_found().await.into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.metrics.encode())
        .into_response()
}
