//! Signs of life, and the numbers.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(health))
        .route("/health/ready", get(ready))
        .route("/api/v1/health", get(health))
        .route("/metrics", get(metrics))
}

/// Liveness: touches nothing that could be away.
async fn health(State(api): State<Api>) -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "service": "vigil",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
    }))
}

/// Readiness: whether new work should be sent here. Without Redis work goes on, by polling: degraded.
async fn ready(State(api): State<Api>) -> Response {
    let database = tokio::time::timeout(Duration::from_secs(2), api.store.ping()).await;
    let database = matches!(database, Ok(Ok(())));
    let redis = api.queue.connected();
    let ending = api.ending.is_cancelled();
    let status = match (database && !ending, redis) {
        (false, _) => "unhealthy",
        (true, Some(false)) => "degraded",
        (true, Some(true) | None) => "healthy",
    };
    let code = if status == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "status": status,
        "database": {"kind": api.store.kind(), "up": database},
        "redis": redis.map(|up| json!({"up": up})),
        "draining": ending,
        "policies": api.in_force().len(),
    });
    (code, Json(body)).into_response()
}

async fn metrics(State(api): State<Api>) -> Response {
    if !api.settings.now().metrics_enabled {
        return super::problem::not_found().await.into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.metrics.encode())
        .into_response()
}
