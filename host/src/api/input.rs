//! Reading bodies: JSON with bounds, the seed's lax coercions, and every fault named with its place.

mod fields;

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};

use super::Api;
use super::problem::{Invalid, Problem};

pub(super) use fields::{Fields, time};

/// Deepest nesting of a JSON body.
const NESTING: usize = 32;
/// Most values in a JSON body: what the largest batch of readings with all their tags has. Each takes some 32 bytes of
/// memory when read, and as few as two of the body.
const VALUES: usize = 1_000_000;

/// Collects a body within `limit` bytes and `patience`.
pub(super) async fn collect(body: Body, limit: usize, patience: Duration) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {limit} bytes"));
    // What announces itself as too large is not waited for.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(wrong)) if cause::<LengthLimitError>(&*wrong).is_some() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad("the body could not be read to its end")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

/// What an error comes from, if it comes from a `T`.
fn cause<'a, T: Error + 'static>(wrong: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(wrong);
    while let Some(wrong) = next {
        if let Some(found) = wrong.downcast_ref() {
            return Some(found);
        }
        next = wrong.source();
    }
    None
}

/// The bytes of a body that is to be one JSON value.
pub(super) async fn json_bytes(api: &Api, headers: &HeaderMap, sent: Body) -> Result<Bytes, Problem> {
    match media(headers)? {
        Media::Json => collect(sent, api.limits.json_body, api.limits.body_timeout).await,
        Media::Lines => Err(not_json("application/x-ndjson")),
    }
}

/// A body that is to be one JSON value.
pub(super) async fn json(api: &Api, headers: &HeaderMap, sent: Body) -> Result<Value, Problem> {
    parse(&json_bytes(api, headers, sent).await?)
}

/// A body that may be absent, which may then have any type. None: it is.
pub(super) async fn optional(api: &Api, headers: &HeaderMap, sent: Body) -> Result<Option<Value>, Problem> {
    let bytes = collect(sent, api.limits.json_body, api.limits.body_timeout).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    match media(headers)? {
        Media::Json => parse(&bytes).map(Some),
        Media::Lines => Err(not_json("application/x-ndjson")),
    }
}

/// The media types a JSON body may have.
pub(super) enum Media {
    /// `application/json`, or none given.
    Json,
    /// `application/x-ndjson`.
    Lines,
}

/// What the body claims to be. No type at all is JSON only where no page sent it.
pub(super) fn media(headers: &HeaderMap) -> Result<Media, Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return if headers.contains_key(header::ORIGIN) { Err(not_json("")) } else { Ok(Media::Json) };
    };
    let kind = kind.to_str().unwrap_or("").to_ascii_lowercase();
    let (kind, parameters) = kind.split_once(';').unwrap_or((&kind, ""));
    if parameters.contains("charset") && !parameters.contains("utf-8") {
        return Err(not_json(parameters));
    }
    match kind.trim() {
        "application/json" => Ok(Media::Json),
        "application/x-ndjson" => Ok(Media::Lines),
        other => Err(not_json(other)),
    }
}

fn not_json(kind: &str) -> Problem {
    let msg = "Input should be a valid dictionary: send application/json in UTF-8";
    Problem::invalid(vec![Invalid::new("model_attributes_type", vec![json!("body")], msg, json!(kind))])
}

/// Parses JSON text. Deeper than 32, a NUL in a text, or not JSON: 422.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::invalid(vec![Invalid::new(
            "missing",
            vec![json!("body")],
            "Field required",
            Value::Null,
        )]));
    }
    let refused = |at: usize, why: String| {
        Problem::invalid(vec![
            Invalid::new(
                "json_invalid",
                vec![json!("body"), json!(at)],
                format!("JSON decode error: {why}"),
                json!({}),
            )
            .ctx(json!({"error": why})),
        ])
    };
    match too_much(bytes) {
        None => {}
        Some(TooMuch::Deep(at)) => return Err(refused(at, format!("nested deeper than {NESTING}"))),
        Some(TooMuch::Values) => return Err(too_many()),
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|wrong| refused(offset(bytes, &wrong), wrong.to_string()))?;
    if holds_nul(&value) {
        let at = bytes.windows(6).position(|six| six == b"\\u0000").unwrap_or(0);
        return Err(refused(at, "a text holds NUL, which no database can keep".to_owned()));
    }
    Ok(value)
}

/// Where in the bytes an error is.
fn offset(bytes: &[u8], wrong: &serde_json::Error) -> usize {
    let before: usize = bytes
        .split(|byte| *byte == b'\n')
        .take(wrong.line().saturating_sub(1))
        .map(|line| line.len() + 1)
        .sum();
    (before + wrong.column().saturating_sub(1)).min(bytes.len())
}

fn too_many() -> Problem {
    let msg = format!("Body should have at most {VALUES} values");
    let fault = Invalid::new("too_long", vec![json!("body")], msg, Value::Null);
    Problem::invalid(vec![fault.ctx(json!({"max_length": VALUES}))])
}

/// What of a text is too much to be read.
pub(super) enum TooMuch {
    /// The first place that is nested too deep.
    Deep(usize),
    /// The values.
    Values,
}

/// Whether JSON text is too much, found without recursion and before anything is kept.
pub(super) fn too_much(bytes: &[u8]) -> Option<TooMuch> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut values = 1_usize;
    for (at, byte) in bytes.iter().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                depth += 1;
                values += 1;
                if depth > NESTING {
                    return Some(TooMuch::Deep(at));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
    }
    (values > VALUES).then_some(TooMuch::Values)
}

/// Whether a text in it holds NUL.
pub(super) fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
