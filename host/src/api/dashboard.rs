//! The page for people: what is open and what was done lately, and where the rest is.

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::describe::aliased;

/// The page; its script asks the API and is the only one that may run on it.
const PAGE: &str = include_str!("dashboard/page.html");

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(aliased(routes!(page), &["/ui/dashboard"])).routes(routes!(root))
}

/// What the page may do: run its own script and style, and ask this server.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let inside = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let text =
            PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map_or("", |(t, _)| t);
        base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text))
    };
    format!(
        "default-src 'none'; connect-src 'self'; script-src 'sha256-{}'; style-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        inside("script"),
        inside("style")
    )
});

/// The page for people.
#[utoipa::path(get, path = "/dashboard", tag = "service", security(("token" = ["read"])),
    responses((status = 200, description = "The page", body = String, content_type = "text/html; charset=utf-8")))]
async fn page() -> Response {
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response();
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Leads to the page for people.
#[utoipa::path(get, path = "/", tag = "service", security(("token" = ["read"])),
    responses((status = 307, description = "It is at /dashboard")))]
async fn root() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/dashboard")]).into_response()
}
