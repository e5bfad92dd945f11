//! What a request leaves in the log: that it was answered and, where audit logging is on, an entry of who asked what.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Method;

use crate::pipeline::settings::Live;

/// A request that was answered.
pub(super) struct Answered<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// Its method.
    pub(super) method: &'a Method,
    /// Its path.
    pub(super) path: &'a str,
    /// Who asked, as far as anybody knows.
    pub(super) client: Option<IpAddr>,
    /// The answer's status.
    pub(super) status: u16,
    /// From its head to its answer.
    pub(super) took: Duration,
}

/// Writes its lines: a warning from 400 on.
pub(super) fn note(settings: &Live, answered: &Answered<'_>) {
    let Answered { id, method, path, client, status, took } = answered;
    let client = client.map(tracing::field::display);
    let duration_ms = took.as_secs_f64() * 1e3;
    if *status >= 400 {
        tracing::warn!(
            request_id = id, %method, path, client_ip = client, status_code = status, duration_ms,
            "Request completed"
        );
    } else {
        tracing::info!(
            request_id = id, %method, path, client_ip = client, status_code = status, duration_ms,
            "Request completed"
        );
    }
    if settings.now().audit_logging_enabled {
        tracing::info!(
            request_id = id, %method, path, client_ip = client, status_code = status, duration_ms,
            "Audit log entry"
        );
    }
}
