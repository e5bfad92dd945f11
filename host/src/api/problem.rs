//! The only error response: the seed's `detail`, and RFC 9457's members beside it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::pipeline::ingest::Refused;
use crate::store;

/// What went wrong, for the person who asked.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Value,
    retry_after: Option<u32>,
    extra: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of every answer of 400 and above.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// In words; for 422 a list of faults.
    detail: Detail,
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Names the request in the log.
    instance: String,
    /// A fixed text that older clients look for (429 and 500).
    #[schema(required = false)]
    error: Option<String>,
    /// Seconds to wait (429).
    #[schema(required = false)]
    retry_after: Option<u64>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Detail {
    /// In words.
    Text(String),
    /// Each fault with its place.
    Faults(Vec<Fault>),
}

/// One fault of a request.
#[derive(Serialize, ToSchema)]
pub struct Fault {
    /// What kind of fault.
    #[serde(rename = "type")]
    kind: String,
    /// Where: `body`, `query`, `path` or `header`, then the members down to it.
    loc: Vec<Value>,
    /// In words.
    msg: String,
    /// The offending value; long ones are cut, members named like secrets are masked.
    input: Value,
    /// Numbers that explain it.
    #[schema(required = false, value_type = Object)]
    ctx: Option<Value>,
}

/// One entry of a 422's list.
#[derive(Debug)]
pub struct Invalid {
    /// What kind of fault, as the seed names it.
    pub kind: &'static str,
    /// Where: `body`, `query` or `path`, then the members down to it.
    pub loc: Vec<Value>,
    /// In words.
    pub msg: String,
    /// The offending value.
    pub input: Value,
    /// Numbers that explain it.
    pub ctx: Option<Value>,
}

/// One fault as whoever wrote the document looks for it.
#[derive(Debug)]
pub struct Placed {
    /// The members and positions that lead to it, from the document's root.
    pub loc: Vec<Value>,
    /// In words.
    pub msg: String,
    /// Line and column, from 1, inside the expression that stands there.
    pub within: Option<(usize, usize)>,
}

impl Problem {
    /// A status with a text for people.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = Value::String(detail.into());
        Self { status, detail, retry_after: None, extra: Vec::new(), headers: Vec::new() }
    }

    /// A client that asks too much: come back in so many seconds.
    pub fn limited(status: StatusCode, detail: impl Into<String>, seconds: u32) -> Self {
        let mut problem = Self::new(status, detail).retry_after(seconds);
        problem.extra = vec![("error", json!("Rate limit exceeded")), ("retry_after", json!(seconds))];
        problem
    }

    /// 404.
    pub fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 400.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422 with its list, at most 100 entries.
    pub fn invalid(faults: Vec<Invalid>) -> Self {
        let list: Vec<Value> = faults.into_iter().take(100).map(Invalid::json).collect();
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            detail: Value::Array(list),
            retry_after: None,
            extra: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The faults of one item of a list: its position stands after `body` in their places.
    #[must_use]
    pub fn of_item(mut self, at: usize) -> Self {
        for fault in self.detail.as_array_mut().into_iter().flatten() {
            if let Some(loc) = fault["loc"].as_array_mut() {
                loc.insert(1.min(loc.len()), json!(at));
            }
        }
        self
    }

    /// The faults of one item of the list in a member of the body.
    #[must_use]
    pub fn of_item_in(self, member: &str, at: usize) -> Self {
        let mut inner = self.of_item(at);
        for fault in inner.detail.as_array_mut().into_iter().flatten() {
            if let Some(loc) = fault["loc"].as_array_mut() {
                loc.insert(1.min(loc.len()), json!(member));
            }
        }
        inner
    }

    /// Come back in so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With a header beside it.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Each fault with its place below the body and where in an expression it is; one without a place where there is
    /// no list of faults.
    #[must_use]
    pub fn faults(&self) -> Vec<Placed> {
        let Some(list) = self.detail.as_array() else {
            return vec![Placed { loc: Vec::new(), msg: self.text(), within: None }];
        };
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        list.iter()
            .map(|entry| Placed {
                loc: entry["loc"].as_array().into_iter().flatten().skip(1).cloned().collect(),
                msg: entry["msg"].as_str().unwrap_or_default().to_owned(),
                within: number(&entry["ctx"]["line"]).zip(number(&entry["ctx"]["column"])),
            })
            .collect()
    }

    /// What went wrong, in one line: for logs and files.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.detail {
            Value::String(text) => text.clone(),
            Value::Array(list) => {
                let one = |entry: &Value| {
                    let loc: Vec<String> = entry["loc"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .skip(1)
                        .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
                        .collect();
                    format!("{}: {}", loc.join("."), entry["msg"].as_str().unwrap_or(""))
                };
                list.iter().map(one).collect::<Vec<_>>().join("; ")
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => other.to_string(),
        }
    }

    /// As a response for a request of that id, in the media type that the client asked for.
    #[must_use]
    pub fn render(self, request_id: &str, problem_json: bool) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body = json!({
            "detail": self.detail,
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "instance": format!("urn:vigil:request:{request_id}"),
        });
        for (member, value) in self.extra {
            body[member] = value;
        }
        let kind = if problem_json { "application/problem+json" } else { "application/json" };
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

impl Invalid {
    /// A fault at `loc`.
    pub fn new(kind: &'static str, loc: Vec<Value>, msg: impl Into<String>, input: Value) -> Self {
        Self { kind, loc, msg: msg.into(), input, ctx: None }
    }

    /// With numbers that explain it.
    #[must_use]
    pub fn ctx(mut self, ctx: Value) -> Self {
        self.ctx = Some(ctx);
        self
    }

    fn json(self) -> Value {
        let mut entry =
            json!({"type": self.kind, "loc": self.loc, "msg": self.msg, "input": shown(&self.input, 0)});
        if let Some(ctx) = self.ctx {
            entry["ctx"] = ctx;
        }
        entry
    }
}

/// An input as it may be shown again: texts cut, members named like secrets masked, nothing large.
fn shown(value: &Value, depth: usize) -> Value {
    match value {
        Value::String(text) if text.chars().count() > 256 => Value::String(text.chars().take(256).collect()),
        Value::Array(items) if depth > 3 || items.len() > 20 => json!(format!("[{} items]", items.len())),
        Value::Array(items) => items.iter().map(|item| shown(item, depth + 1)).collect(),
        Value::Object(members) if depth > 3 || members.len() > 40 => {
            json!(format!("{{{} members}}", members.len()))
        }
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| {
                    let value = if crate::config::is_secret_name(key) {
                        Value::String(crate::config::MASK.to_owned())
                    } else {
                        shown(value, depth + 1)
                    };
                    (key.clone(), value)
                })
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// A handler's error, rendered by the door, which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Carried(std::sync::Arc::new(std::sync::Mutex::new(Some(self)))));
        response
    }
}

/// A problem on its way from a handler to the door.
#[derive(Clone)]
pub struct Carried(pub std::sync::Arc<std::sync::Mutex<Option<Problem>>>);

impl From<store::Error> for Problem {
    fn from(wrong: store::Error) -> Self {
        match wrong {
            store::Error::Conflict => Self::conflict("it exists already, or somebody changed it meanwhile"),
            store::Error::Full(_) => {
                tracing::error!(error = %wrong, "the database has no room left");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "the database has no room left; nothing was stored",
                )
                .retry_after(30)
            }
            store::Error::Unavailable(_) | store::Error::CommitUnknown(_) => {
                tracing::warn!(error = %wrong, "the database does not answer");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again")
                    .retry_after(1)
            }
            store::Error::Data(_) | store::Error::Broken(_) => {
                tracing::error!(error = %wrong, "an unexpected answer of the database");
                let mut problem =
                    Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong inside Vigil");
                problem.extra.push(("error", json!("Internal server error")));
                problem
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overloaded => {
                let text = "too many events are waiting to be stored; come back in a second";
                Self::limited(StatusCode::TOO_MANY_REQUESTS, text, 1)
            }
            Refused::Unavailable => {
                let text = "the event could not be stored: the database does not answer; send it again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(1)
            }
            Refused::Closing => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Vigil is ending; send it again").retry_after(2)
            }
            Refused::Full => {
                let text = "the event could not be stored: the database has no room left";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, text).retry_after(30)
            }
            Refused::KeyReused => Self::invalid(vec![Invalid::new(
                "value_error",
                vec![json!("header"), json!("Idempotency-Key")],
                "this key was used with another body",
                Value::Null,
            )]),
            Refused::Data(why) => {
                tracing::error!(error = %why, "the database refused a checked event");
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the database can't keep this event")
            }
        }
    }
}

/// No such route.
pub async fn not_found() -> Problem {
    Problem::missing("Not Found")
}

/// No such method on this route.
pub async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

/// Whether the client reads `application/problem+json`.
#[must_use]
pub fn wants_problem_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/problem+json")))
}
