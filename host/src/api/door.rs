//! What every request passes: its id, who may ask from where, the count and the log line, and the rendering
//! of what went wrong.

use std::sync::PoisonError;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::journal::{self, Answered};
use super::problem::{Carried, Problem, wants_problem_json};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Headers by which a proxy speaks for somebody else; from a proxy nobody configured they are a lie.
const FORWARDING: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// The door.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers()).unwrap_or_else(|| api.clock.id());
    let problem_json = wants_problem_json(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let template = request.extensions().get::<MatchedPath>().map(|matched| matched.as_str().to_owned());
    let endpoint = template.unwrap_or_else(|| "unmatched".to_owned());
    let mut response = match admit(&api, &request) {
        Ok(None) => next.run(request).await,
        Ok(Some(redirect)) => redirect,
        Err(problem) => problem.into_response(),
    };
    if let Some(Carried(problem)) = response.extensions_mut().remove::<Carried>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        if let Some(problem) = problem.lock().unwrap_or_else(PoisonError::into_inner).take() {
            response = problem.render(&id, problem_json);
        }
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    } else if response.status().is_client_error()
        && response.headers().get(header::CONTENT_TYPE).is_none_or(is_text)
    {
        // What the framework refuses by itself, in our shape.
        let status = response.status();
        response = Problem::new(status, status.canonical_reason().unwrap_or("Bad Request"))
            .render(&id, problem_json);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = began.elapsed();
    let status = response.status().as_u16();
    api.metrics.request(method.as_str(), &endpoint, status, took);
    let answered = Answered { id: &id, method: &method, path: &path, client: "", status, took };
    journal::note(&api.settings, &answered);
    response
}

fn is_text(kind: &HeaderValue) -> bool {
    kind.as_bytes().starts_with(b"text/plain")
}

/// An incoming id is used only if it can do no harm in a log.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&REQUEST_ID)?.to_str().ok()?;
    ((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| id.to_owned())
}

/// With authentication off, a browser on this machine is a stranger: only our own names are served, and
/// another site's page may change nothing.
fn admit(api: &Api, request: &Request) -> Result<Option<Response>, Problem> {
    let headers = request.headers();
    host(headers, request.uri(), &api.limits.hosts)?;
    if let Some(name) = FORWARDING.iter().find(|name| headers.contains_key(**name)) {
        let text = format!("{name} is believed only from a configured proxy");
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads {
        same_site(headers, &api.limits)?;
    }
    let path = request.uri().path();
    if path.len() > 1 && path.ends_with('/') {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("/{}{query}", path.trim_matches('/'));
        if let Ok(target) = HeaderValue::from_str(&target) {
            return Ok(Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()));
        }
    }
    Ok(None)
}

fn host(headers: &HeaderMap, uri: &Uri, ours: &[String]) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let first = hosts.next().and_then(|host| host.to_str().ok()).or_else(|| uri.host());
    let Some(host) = first.filter(|_| hosts.next().is_none()) else {
        return Err(Problem::bad("exactly one Host header is needed"));
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    let known = ["localhost", "127.0.0.1", "[::1]"].contains(&name.as_str()) || ours.contains(&name);
    if known {
        return Ok(());
    }
    let text = "this server does not answer for that name; add it to server.allowed_hosts if it should";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, text))
}

fn same_site(headers: &HeaderMap, limits: &super::Limits) -> Result<(), Problem> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(&header::ORIGIN);
    let listed = origin.is_some_and(|origin| {
        origin != "null"
            && (limits.origins.iter().any(|allowed| allowed == origin) || ours(origin, text(&header::HOST)))
    });
    let crossing = matches!(text(&FETCH_SITE), Some("cross-site" | "same-site"));
    if (origin.is_some() || crossing) && !listed {
        let text =
            "another site's page may not change anything here; list its origin in server.allowed_origins";
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    Ok(())
}

/// Whether an origin is the very address that the request was sent to.
fn ours(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some() && authority == host
}
