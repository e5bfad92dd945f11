//! Reading bodies: JSON with bounds, the seed's lax coercions, and every fault named with its place.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value, json};

use super::Api;
use super::door::Undecodable;
use super::problem::{Invalid, Problem};
use crate::domain::Timestamp;

/// Deepest nesting of a JSON body.
const NESTING: usize = 32;

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
        Ok(Err(wrong)) if cause::<Undecodable>(&*wrong).is_some() => {
            Err(Problem::bad(cause::<Undecodable>(&*wrong).map_or_else(String::new, ToString::to_string)))
        }
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
    if let Some(at) = too_deep(bytes) {
        return Err(refused(at, format!("nested deeper than {NESTING}")));
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

/// The first place that is nested too deep, found without recursion.
pub(super) fn too_deep(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
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
                if depth > NESTING {
                    return Some(at);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
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

/// Reads members of one object and keeps every fault, in the order of the fields.
pub(super) struct Fields<'a> {
    members: &'a Map<String, Value>,
    loc: Vec<Value>,
    /// What was wrong so far.
    pub faults: Vec<Invalid>,
}

impl<'a> Fields<'a> {
    /// The members of `value` at `loc`; another type of value is the only fault.
    pub(super) fn new(value: &'a Value, loc: Vec<Value>) -> Result<Self, Invalid> {
        match value {
            Value::Object(members) => Ok(Self { members, loc, faults: Vec::new() }),
            other
            @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(Invalid::new(
                    "model_attributes_type",
                    loc,
                    "Input should be a valid dictionary or object to extract fields from",
                    other.clone(),
                ))
            }
        }
    }

    /// The place of a member.
    pub(super) fn at(&self, member: &str) -> Vec<Value> {
        let mut loc = self.loc.clone();
        loc.push(json!(member));
        loc
    }

    /// Notes a fault of a member.
    pub(super) fn fault(&mut self, kind: &'static str, member: &str, msg: impl Into<String>) {
        let input = self.members.get(member).cloned().unwrap_or(Value::Null);
        let loc = self.at(member);
        self.faults.push(Invalid::new(kind, loc, msg, input));
    }

    /// A member as it is; null counts as absent.
    pub(super) fn get(&self, member: &str) -> Option<&'a Value> {
        self.members.get(member).filter(|value| !value.is_null())
    }

    /// A member that must be there.
    pub(super) fn need(&mut self, member: &str) -> Option<&'a Value> {
        if let Some(value) = self.members.get(member) {
            return Some(value);
        }
        let loc = self.at(member);
        let whole = Value::Object(self.members.clone());
        self.faults.push(Invalid::new("missing", loc, "Field required", whole));
        None
    }

    /// A text of `min..=max` characters after trimming.
    pub(super) fn text(
        &mut self,
        member: &str,
        range: std::ops::RangeInclusive<usize>,
        needed: bool,
    ) -> Option<String> {
        let value = if needed { self.need(member)? } else { self.get(member)? };
        let Value::String(text) = value else {
            self.fault("string_type", member, "Input should be a valid string");
            return None;
        };
        let text = text.trim();
        let (min, max) = (*range.start(), *range.end());
        let count = text.chars().count();
        if count == 0 && min > 0 && !value.as_str().unwrap_or("").is_empty() {
            self.fault("value_error", member, format!("Value error, {member} must not be blank"));
            return None;
        }
        if count < min {
            self.fault("string_too_short", member, format!("String should have at least {min} character(s)"));
            self.last_ctx(json!({"min_length": min}));
            return None;
        }
        if count > max {
            self.fault("string_too_long", member, format!("String should have at most {max} characters"));
            self.last_ctx(json!({"max_length": max}));
            return None;
        }
        Some(text.to_owned())
    }

    /// Adds numbers to the last fault.
    pub(super) fn last_ctx(&mut self, ctx: Value) {
        if let Some(last) = self.faults.last_mut() {
            last.ctx = Some(ctx);
        }
    }

    /// A finite number, or a text or bool that is one.
    pub(super) fn number(&mut self, member: &str) -> Option<f64> {
        let number = match self.need(member)? {
            Value::Number(number) => number.as_f64(),
            Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
            Value::String(text) => {
                if let Ok(number) = text.trim().parse::<f64>() {
                    Some(number)
                } else {
                    self.fault(
                        "float_parsing",
                        member,
                        "Input should be a valid number, unable to parse string as a number",
                    );
                    return None;
                }
            }
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.fault("float_type", member, "Input should be a valid number");
                return None;
            }
        };
        if let Some(number) = number.filter(|number| number.is_finite()) {
            Some(number)
        } else {
            self.fault("finite_number", member, "Input should be a finite number");
            None
        }
    }

    /// An integer in `range`, or a text, a bool or a whole number that is one.
    pub(super) fn int(&mut self, member: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range by the check before it")]
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
        let number = match self.get(member)? {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
            Value::Bool(yes) => Some(i64::from(*yes)),
            Value::String(text) => {
                let number = text.trim().parse::<i64>().ok();
                if number.is_none() {
                    let msg = "Input should be a valid integer, unable to parse string as an integer";
                    self.fault("int_parsing", member, msg);
                    return None;
                }
                number
            }
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let Some(number) = number else {
            self.fault("int_type", member, "Input should be a valid integer");
            return None;
        };
        if number < *range.start() {
            let least = range.start();
            self.fault(
                "greater_than_equal",
                member,
                format!("Input should be greater than or equal to {least}"),
            );
            self.last_ctx(json!({"ge": least}));
        } else if number > *range.end() {
            let most = range.end();
            self.fault("less_than_equal", member, format!("Input should be less than or equal to {most}"));
            self.last_ctx(json!({"le": most}));
        }
        range.contains(&number).then_some(number)
    }

    /// A bool, or a word or number for one.
    pub(super) fn flag(&mut self, member: &str) -> Option<bool> {
        let read = match self.get(member)? {
            Value::Bool(yes) => Some(*yes),
            Value::Number(number) => match number.as_f64() {
                Some(1.0) => Some(true),
                Some(0.0) => Some(false),
                _ => None,
            },
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.fault("bool_type", member, "Input should be a valid boolean");
                return None;
            }
        };
        if read.is_none() {
            self.fault("bool_parsing", member, "Input should be a valid boolean, unable to interpret input");
        }
        read
    }

    /// An object.
    pub(super) fn object(&mut self, member: &str) -> Option<Map<String, Value>> {
        if let Value::Object(members) = self.get(member)? {
            Some(members.clone())
        } else {
            self.fault("dict_type", member, "Input should be a valid dictionary");
            None
        }
    }

    /// Names of members that nobody reads.
    pub(super) fn strangers(&self, known: &[&str]) -> Vec<String> {
        self.members.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect()
    }
}

/// A time as clients write it: text of several forms, or unix seconds.
pub(super) fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => number.as_f64().and_then(Timestamp::from_unix_seconds),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
