//! What browsers are told: which pages may read answers, and what an answer may do inside a page.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

/// Methods that a listed page may use.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
/// Headers that a listed page may send.
const HEADERS: &str = "accept, accept-language, authorization, content-encoding, content-language, content-type, \
                       idempotency-key, if-match, if-none-match, last-event-id, x-request-id";
/// Headers that a listed page may read.
const EXPOSED: &str = "etag, location, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, \
                       x-request-id";
/// Seconds for which a browser may keep what it was told.
const MAX_AGE: &str = "600";

/// What the browser said about the page that asks.
#[derive(Debug, Default)]
pub(super) struct Page {
    origin: Option<HeaderValue>,
    preflight: bool,
}

impl Page {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let origin = headers.get(header::ORIGIN).cloned();
        let asks = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Self { preflight: *method == Method::OPTIONS && origin.is_some() && asks, origin }
    }

    /// The answer to a preflight, if this is one. Which page asks is told by [`Page::mark`].
    pub(super) fn preflight(&self) -> Option<Response> {
        self.preflight.then(|| "OK".into_response())
    }

    /// Tells the browser whether the page may see the answer: an origin is named if it is listed, never reflected
    /// and never `null`.
    pub(super) fn mark(&self, answer: &mut HeaderMap, origins: &[String]) {
        let any = origins.iter().any(|listed| listed == "*");
        if !origins.is_empty() && !any {
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.origin.as_ref().filter(|origin| *origin != "null") else { return };
        let listed = origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
        if listed {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            set(answer, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        } else if any {
            set(answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            return;
        }
        if self.preflight {
            set(answer, header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            set(answer, header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            set(answer, header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            set(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// What every answer says about itself. A page of ours that needs more sets its own policy before.
pub(super) fn harden(answer: &mut HeaderMap) {
    set(answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(answer, header::X_FRAME_OPTIONS, "DENY");
    set(answer, header::REFERRER_POLICY, "no-referrer");
    if !answer.contains_key(header::CONTENT_SECURITY_POLICY) {
        set(answer, header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    }
    if !answer.contains_key(header::CACHE_CONTROL) {
        set(answer, header::CACHE_CONTROL, "no-store");
    }
}

fn set(answer: &mut HeaderMap, name: HeaderName, value: &'static str) {
    answer.insert(name, HeaderValue::from_static(value));
}
