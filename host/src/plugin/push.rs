//! The remediator that actions are pushed to where no plugin serves them: one POST per attempt.
//!
//! Its address comes from the operator's file alone. What it answered decides what may be done next: a refusal
//! is final, an overload or a connection that was never made is tried again, silence after sending is an
//! unknown outcome.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Url, redirect, retry};
use serde_json::Value;

/// The longest that dialling may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers close idle connections after 5 s or more; a request on one that is just being closed would have an
/// unknown outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Most bytes of an answer that are read.
const ANSWER: usize = 64 << 10;
/// The installation that pushes: a server that is asked by itself refuses.
pub const INSTALLATION: &str = "vigil-installation";

/// Where actions are pushed to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Remediator {
    client: Client,
    url: Url,
    installation: String,
}

/// One action on its way out.
#[derive(Clone, Debug)]
pub struct Push {
    /// The same over all attempts of one action.
    pub request_id: String,
    /// The fence of the lease.
    pub fence: i64,
    /// What is asked for.
    pub body: Value,
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq)]
pub enum Pushed {
    /// It answered with this status and, as far as it is JSON, this body.
    Answered(u16, Value),
    /// Nothing reached it.
    NotSent(String),
    /// It may have reached it, and there is no answer.
    Unknown(String),
}

impl Remediator {
    /// Checks the address; nothing is dialled. An address without a path gets `/remediate`.
    pub fn open(url: &str, timeout: Duration, installation: &str) -> Result<Self, String> {
        let mut url = Url::parse(url).map_err(|why| format!("{url:?}: {why}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(format!("{:?} is no http or https address", url.as_str()));
        }
        if url.path() == "/" && url.query().is_none() {
            url.set_path("/remediate");
        }
        super::connections::tls_ready();
        let mut builder = Client::builder();
        if url.scheme() == "http" {
            // Then no TLS is spoken, and no certificates are looked for.
            builder = builder.tls_certs_only(Vec::new());
        }
        let client = builder
            .user_agent(concat!("vigil/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
            .map_err(|why| format!("{why}: {:?}", std::error::Error::source(&why)))?;
        Ok(Self { client, url, installation: installation.to_owned() })
    }

    /// Whether a server that listens on `listen` would push to itself.
    #[must_use]
    pub fn is_at(&self, listen: std::net::SocketAddr) -> bool {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>().ok();
        let local = host.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
        let ours = if listen.ip().is_unspecified() || listen.ip().is_loopback() {
            local
        } else {
            address == Some(listen.ip())
        };
        ours && self.url.port_or_known_default() == Some(listen.port())
    }

    /// The path that is posted to.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// Posts one action and waits for the answer.
    pub async fn push(&self, push: &Push) -> Pushed {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            ("x-request-id", push.request_id.clone()),
            ("idempotency-key", push.request_id.clone()),
            ("vigil-fence", push.fence.to_string()),
            (INSTALLATION, self.installation.clone()),
        ] {
            match HeaderValue::from_str(&value) {
                Ok(value) => fields.insert(name, value),
                Err(why) => return Pushed::NotSent(format!("{name}: {why}")),
            };
        }
        let sent =
            self.client.post(self.url.clone()).headers(fields).body(push.body.to_string()).send().await;
        match sent {
            Ok(response) => read(response).await,
            Err(wrong) if wrong.is_connect() || wrong.is_builder() => Pushed::NotSent(words(&wrong)),
            Err(wrong) if wrong.is_timeout() => Pushed::Unknown("it did not answer in time".to_owned()),
            Err(wrong) => Pushed::Unknown(words(&wrong)),
        }
    }
}

/// The status is the answer; a body that can't be read takes nothing from it.
async fn read(mut response: reqwest::Response) -> Pushed {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < ANSWER {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        body.extend_from_slice(&chunk);
    }
    Pushed::Answered(status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// The innermost cause of an error, in words.
fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = cause {
        words = inner.to_string();
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_one_and_our_own_is_known() {
        let open = |url: &str| Remediator::open(url, Duration::from_secs(1), "x");
        for (url, path) in [
            ("http://r:8081", "/remediate"),
            ("http://r:8081/", "/remediate"),
            ("http://r:8081/a/b", "/a/b"),
            ("http://r:8081/remediate", "/remediate"),
        ] {
            assert_eq!(open(url).unwrap().path(), path, "{url}");
        }
        for url in ["", "ftp://r/", "r:8081", "http://"] {
            assert!(open(url).is_err(), "{url}");
        }
        let ours = "127.0.0.1:8000".parse().unwrap();
        for url in ["http://localhost:8000/remediate", "http://127.0.0.1:8000", "http://[::1]:8000/x"] {
            assert!(open(url).unwrap().is_at(ours), "{url}");
        }
        for url in ["http://127.0.0.1:8081/remediate", "http://r:8000"] {
            assert!(!open(url).unwrap().is_at(ours), "{url}");
        }
    }
}
