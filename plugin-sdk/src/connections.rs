//! HTTP through a connection that the operator put into one of the plugin's
//! slots. Base address, TLS and credentials are the host's.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Path, sys};

/// HTTP request methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the header fields only.
    Head,
    /// Everything that the others are not.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// No grant for this slot, method or path.
    Denied(String),
    /// The request itself is malformed.
    InvalidRequest(String),
    /// Nothing reached the other side.
    ConnectFailed(String),
    /// It may have reached the other side.
    Timeout,
    /// Milliseconds until the host lets the next one through.
    RateLimited(Option<u64>),
    /// The circuit breaker is open; milliseconds as above.
    CircuitOpen(Option<u64>),
    /// It may have reached the other side.
    Failed(String),
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(why) => Self::permanent("connection-denied", why),
            HttpError::InvalidRequest(why) => Self::permanent("invalid-request", why),
            HttpError::ConnectFailed(why) => Self::retryable("connect-failed", why),
            HttpError::Timeout => {
                Self::retryable("connection-timeout", "the other side did not answer in time")
            }
            HttpError::RateLimited(ms) => {
                Self::retry_after("rate-limited", "the connection's rate limit", ms)
            }
            HttpError::CircuitOpen(ms) => {
                Self::retry_after("circuit-open", "the connection's circuit breaker is open", ms)
            }
            HttpError::Failed(why) => Self::retryable("connection-failed", why),
        }
    }
}

/// One HTTP request; nothing is sent before [`Call::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) slot: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) timeout_ms: Option<u64>,
}

/// A request through the connection in `slot`.
#[must_use]
pub fn call(slot: &str, method: Method, path: &Path) -> Call {
    Call {
        slot: slot.to_owned(),
        method,
        path: path.to_string(),
        headers: Vec::new(),
        body: None,
        timeout_ms: None,
    }
}

/// A `GET` through the connection in `slot`.
#[must_use]
pub fn get(slot: &str, path: &Path) -> Call {
    call(slot, Method::Get, path)
}

/// A `POST` through the connection in `slot`.
#[must_use]
pub fn post(slot: &str, path: &Path) -> Call {
    call(slot, Method::Post, path)
}

impl Call {
    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    /// Sets a JSON body.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Error> {
        let text = serde_json::to_vec(body)
            .map_err(|cause| Error::permanent("invalid-request", format!("not JSON: {cause}")))?;
        Ok(self.body("application/json", text))
    }

    /// Sets a time limit; the host shortens it to its own.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.timeout_ms = Some(ms);
        self
    }

    /// Sends it and waits for the whole answer. 4xx and 5xx are answers.
    pub fn send(self) -> Result<Response, HttpError> {
        sys::send(self)
    }
}

/// Any answer of the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Without content coding.
    pub body: Vec<u8>,
    /// The body was cut at the connection's limit.
    pub truncated: bool,
}

impl Response {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first field of that name that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as text, invalid bytes replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|cause| Error::permanent("invalid-response", format!("not the JSON expected: {cause}")))
    }

    /// `Retry-After` in seconds, as milliseconds. The form with a date is
    /// read as absent: a guest's clock may be a recording.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.header("retry-after")?.trim().parse::<u64>().ok()?.checked_mul(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str, value: &str) -> Response {
        Response { status: 429, headers: vec![(name.to_owned(), value.into())], ..Response::default() }
    }

    #[test]
    fn retry_after_is_in_seconds() {
        assert_eq!(answer("retry-after", " 7 ").retry_after_ms(), Some(7000));
        assert_eq!(answer("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT").retry_after_ms(), None);
        assert_eq!(answer("retry-after", &u64::MAX.to_string()).retry_after_ms(), None);
        assert_eq!(Response::default().retry_after_ms(), None);
    }

    #[test]
    fn what_is_not_granted_is_for_good_and_a_lost_answer_is_not() {
        assert!(matches!(Error::from(HttpError::Denied("x".into())), Error::Permanent(_)));
        assert!(matches!(Error::from(HttpError::Timeout), Error::Retryable { .. }));
        let Error::Retryable { retry_after_ms, .. } = HttpError::RateLimited(Some(9)).into() else {
            panic!()
        };
        assert_eq!(retry_after_ms, Some(9));
    }

    #[test]
    fn outside_the_sandbox_nothing_is_granted() {
        let sent = post("any", &Path::root()).send();
        assert!(matches!(sent, Err(HttpError::Denied(_))), "{sent:?}");
    }
}
