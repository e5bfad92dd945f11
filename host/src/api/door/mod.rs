//! What every request passes, in this order: its id; a head of bearable size; a name that is ours; who may ask from
//! where; who asks and whether they may; how often; whether there is room; its body uncompressed. Behind the handler:
//! the rendering of what went wrong, the headers of every answer, the count and the log line.

mod cors;
mod decode;
mod identity;
mod permission;
mod rate;
mod room;
mod scope;
mod site;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, Limited};

use self::decode::Encoding;
use super::journal::{self, Answered};
use super::problem::{Carried, Problem, wants_problem_json};
use super::{Api, Limits, input};
use crate::config::{AuthMode, Config};
use crate::domain::access::Permission;

pub use identity::{Principal, Tokens};
pub use rate::Shared as SharedRate;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long the body of a refused request may take to its end.
const DRAIN: Duration = Duration::from_secs(1);

/// The two ends of a connection, as the listener tells the door.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// Who connected.
    pub remote: Option<SocketAddr>,
    /// The address that was connected to.
    pub local: Option<SocketAddr>,
    /// Whether it was let in only because some requests must always get through.
    pub reserve: bool,
}

/// What a request counts as where there are limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Class {
    /// Never limited: signs of life, numbers, and what stops things.
    Exempt,
    /// Metrics coming in.
    Ingest,
    /// Actions.
    Actions,
    /// Everything else.
    Other,
}

/// What the door knows and counts.
#[derive(Debug)]
pub struct Door {
    mode: AuthMode,
    /// The tokens that are let in.
    pub tokens: Tokens,
    /// How often a client may ask; may be changed while the server runs.
    pub rate: SharedRate,
    counts: rate::Counts,
    rooms: room::Rooms,
    proxies: Vec<ipnet::IpNet>,
}

impl Door {
    /// The door that the settings describe.
    #[must_use]
    pub fn new(config: &Config, tokens: Tokens) -> Self {
        let limits = &config.limits;
        Self {
            mode: config.auth.mode,
            tokens,
            rate: Arc::new(arc_swap::ArcSwap::from_pointee(limits.rate)),
            counts: rate::Counts::default(),
            rooms: room::Rooms::new(limits.ingest_in_flight, limits.in_flight, limits.bodies),
            proxies: config.server.trusted_proxies.clone(),
        }
    }

    /// Whether tokens are asked for.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        self.mode == AuthMode::Token
    }
}

/// The door.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers()).unwrap_or_else(|| api.clock.id());
    let problem_json = wants_problem_json(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let page = cors::Page::of(&method, request.headers());
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let address = site::client(request.headers(), peer, &api.door.proxies);
    let client = address.as_ref().ok().copied().flatten();
    let template = request.extensions().get::<MatchedPath>().map(|matched| matched.as_str().to_owned());
    let (parts, body) = request.into_parts();
    let mut left = None;
    let mut response =
        match admit(&api, (parts, body, address), (&page, template.as_deref(), &mut left)).await {
            // The room is given back when the answer is made, not when it has been read.
            Ok(Admitted::In(request, _held)) => next.run(request).await,
            Ok(Admitted::Answered(response)) => response,
            Err(problem) => problem.into_response(),
        };
    response = shaped(response, &id, problem_json);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(left) = left {
        left.tell(headers);
    }
    page.mark(headers, &api.limits.origins);
    cors::harden(headers);
    let took = began.elapsed();
    let status = response.status().as_u16();
    api.metrics.request(method.as_str(), template.as_deref().unwrap_or("unmatched"), status, took);
    let answered = Answered { id: &id, method: &method, path: &path, client, status, took };
    journal::note(&api.settings, &answered);
    response
}

/// Problems rendered, and what the framework refuses by itself brought into our shape.
fn shaped(mut response: Response, id: &str, problem_json: bool) -> Response {
    if let Some(Carried(problem)) = response.extensions_mut().remove::<Carried>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        if let Some(problem) = problem.lock().unwrap_or_else(PoisonError::into_inner).take() {
            response = problem.render(id, problem_json);
        }
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    } else if response.status().is_client_error()
        && response.headers().get(header::CONTENT_TYPE).is_none_or(is_text)
    {
        let status = response.status();
        response =
            Problem::new(status, status.canonical_reason().unwrap_or("Bad Request")).render(id, problem_json);
    }
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

enum Admitted {
    /// To the handler, with the room it has until it answers.
    In(Request, room::Held),
    Answered(Response),
}

async fn admit(
    api: &Api,
    (mut parts, body, address): (Parts, Body, Result<Option<IpAddr>, Problem>),
    (page, template, left): (&cors::Page, Option<&str>, &mut Option<rate::Left>),
) -> Result<Admitted, Problem> {
    let door = &*api.door;
    let peer = parts.extensions.get::<Peer>().copied().unwrap_or_default();
    site::head(&parts)?;
    site::host(&parts, peer, &api.limits.hosts)?;
    let address = address?;
    if let Some(answer) = page.preflight() {
        return Ok(Admitted::Answered(answer));
    }
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        site::same_site(&parts.headers, &api.limits)?;
    }
    if let Some(redirect) = without_slash(&parts) {
        return Ok(Admitted::Answered(redirect));
    }
    // No such route: the router says so.
    let Some(template) = template else { return to_fallback(peer, parts, body) };
    let permission = permission::needed(&api.permissions, &parts.method, template)?;
    let class = class(permission, template);
    if peer.reserve && class != Class::Exempt {
        return Err(crowded());
    }
    let principal = match door.mode {
        AuthMode::Token if permission != Permission::Public => door.tokens.authenticate(&parts.headers)?,
        AuthMode::Token | AuthMode::None => Principal::Anonymous,
    };
    permission::check(permission, &principal)?;
    let client = match &principal {
        Principal::Anonymous => rate::Client::at(address),
        Principal::Token(token) => rate::Client::Token(token.id),
    };
    let counted = door.counts.count(&door.rate.load(), (client, class, template), Instant::now());
    *left = match counted {
        Ok(left) => left,
        Err(none) => Some(none),
    };
    counted.map_err(rate::Left::refusal)?;
    scope::check(api, &principal, &mut parts).await?;
    let (encoding, sizes) = (decode::encoding(&parts.headers)?, Sizes::of(class, &api.limits));
    let mut held = match door.rooms.enter(class, sizes.sent(&body)).await {
        Ok(held) => held,
        Err(refusal) => {
            drained(body, sizes.wire).await;
            return Err(refusal);
        }
    };
    parts.extensions.insert(principal);
    let body = match encoding {
        Encoding::Plain => body,
        Encoding::Gzip | Encoding::Deflate => undone(api, body, (encoding, sizes), &mut held).await?,
    };
    Ok(Admitted::In(Request::from_parts(parts, body), held))
}

/// A compressed body as the handlers read it, with the room that it takes.
async fn undone(
    api: &Api,
    body: Body,
    (encoding, sizes): (Encoding, Sizes),
    held: &mut room::Held,
) -> Result<Body, Problem> {
    let bytes = input::collect(body, sizes.wire, api.limits.body_timeout).await?;
    let size = decode::counted(&bytes, encoding, sizes.decoded).await?;
    api.door.rooms.grow(held, size).await?;
    Ok(decode::decoded(bytes, encoding, size).await?.into())
}

/// Reads a body that nobody wants to its end, within a second and its limit: a client that is still sending when the
/// connection closes would never see the answer that says when to come back.
async fn drained(body: Body, limit: usize) {
    if body.size_hint().lower() > limit as u64 {
        return;
    }
    let mut body = Limited::new(body, limit);
    let whole = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whoever takes longer is hung up on.
    let _ = tokio::time::timeout(DRAIN, whole).await;
}

fn to_fallback(peer: Peer, parts: Parts, body: Body) -> Result<Admitted, Problem> {
    if peer.reserve {
        return Err(crowded());
    }
    Ok(Admitted::In(Request::from_parts(parts, body), room::Held::default()))
}

fn crowded() -> Problem {
    let text = "there are too many connections; only health, cancel, pause, approve and reject are answered";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, text)
        .retry_after(1)
        .header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// 307 to the same path without its last slash.
fn without_slash(parts: &Parts) -> Option<Response> {
    let path = parts.uri.path();
    if path.len() < 2 || !path.ends_with('/') {
        return None;
    }
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = HeaderValue::from_str(&format!("/{}{query}", path.trim_matches('/'))).ok()?;
    Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response())
}

/// What a route counts as.
fn class(permission: Permission, template: &str) -> Class {
    let last = template.rsplit('/').next().unwrap_or_default();
    let stops = matches!(last, "cancel" | "pause" | "approve" | "reject");
    let signs = last == "health" || template.starts_with("/health") || template == "/metrics";
    let path = template.trim_start_matches("/api/v1");
    if stops || signs {
        Class::Exempt
    } else if permission == Permission::Ingest {
        Class::Ingest
    } else if path.starts_with("/actions") || path.starts_with("/remediator") {
        Class::Actions
    } else {
        Class::Other
    }
}

/// How large a body of a class may be.
#[derive(Clone, Copy)]
struct Sizes {
    wire: usize,
    decoded: usize,
}

impl Sizes {
    fn of(class: Class, limits: &Limits) -> Self {
        match class {
            Class::Ingest => Self { wire: limits.ingest_body, decoded: limits.ingest_decoded },
            Class::Exempt | Class::Actions | Class::Other => {
                Self { wire: limits.json_body, decoded: limits.json_body }
            }
        }
    }

    /// The bytes that will arrive, as far as it is known.
    fn sent(self, body: &Body) -> usize {
        let sent = body.size_hint().exact().and_then(|exact| usize::try_from(exact).ok());
        sent.unwrap_or(self.wire).min(self.wire)
    }
}
