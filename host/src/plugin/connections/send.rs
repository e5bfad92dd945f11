//! One connection: checks a request against its rules and sends it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Url, redirect, retry};

use super::super::load::revision;
use super::credentials::{Credentials, Ready};
use super::path::Path;
use super::resolve::Filtered;
use super::rules::Rules;
use super::settings::AnswerSettings;
use super::{ConnectionSettings, Effect, Method, Refusal, headers};

/// The longest that dialling may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers close idle connections after 5 s or more; a request on one that is just being closed would
/// have an unknown outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A system that plugins may reach.
#[derive(Debug)]
pub(in super::super) struct Connection {
    name: String,
    revision: String,
    kind: &'static str,
    base: Url,
    rules: Rules,
    credentials: Option<Credentials>,
    client: Client,
    timeout: Duration,
    max_response: usize,
}

/// A request of a plugin.
#[derive(Debug)]
pub(in super::super) struct Call {
    /// Its method.
    pub(in super::super) method: Method,
    /// Path and query.
    pub(in super::super) path: String,
    /// Header fields.
    pub(in super::super) headers: Vec<(String, Vec<u8>)>,
    /// Body; none: no content.
    pub(in super::super) body: Option<Vec<u8>>,
    /// The longest that it may take; the connection's limit holds too.
    pub(in super::super) timeout: Duration,
}

/// A request that passed the rules and can be sent.
#[derive(Debug)]
pub(in super::super) struct Checked {
    /// Whether it may change something.
    pub(in super::super) effect: Effect,
    planned: Option<AnswerSettings>,
    request: reqwest::Request,
}

impl Checked {
    /// What plan mode answers instead of sending it.
    pub(in super::super) fn planned(self) -> Answer {
        let given = self.planned;
        let status = given.as_ref().map_or(202, |given| given.status);
        let kind = given.as_ref().and_then(|given| given.content_type.clone());
        Answer {
            status,
            headers: kind.map(|kind| ("content-type".to_owned(), kind.into_bytes())).into_iter().collect(),
            body: given.map_or_else(Vec::new, |given| given.body.into_bytes()),
            truncated: false,
        }
    }
}

/// What the other side answered.
#[derive(Debug)]
pub(in super::super) struct Answer {
    /// HTTP status code.
    pub(in super::super) status: u16,
    /// Header fields that a plugin may see.
    pub(in super::super) headers: Vec<(String, Vec<u8>)>,
    /// The body, up to the connection's limit.
    pub(in super::super) body: Vec<u8>,
    /// Whether it was longer.
    pub(in super::super) truncated: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Failed {
    /// Nothing reached the other side.
    Connect(String),
    /// No answer in time; it may have reached the other side.
    Timeout,
    /// It may have reached the other side.
    Other(String),
}

impl Connection {
    /// Checks the operator's settings; nothing is dialled.
    pub(super) fn open(
        name: &str,
        settings: &ConnectionSettings,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut base = Url::parse(&settings.url).map_err(|e| format!("url {:?}: {e}", settings.url))?;
        let odd = !base.username().is_empty() || base.password().is_some();
        if odd || base.query().is_some() || base.fragment().is_some() {
            return Err("url: it must have no user, password, query or fragment".to_owned());
        }
        let kind = match base.scheme() {
            "http" => "http",
            "https" => "https",
            "unix" => "unix",
            other => return Err(format!("url: {other:?} is not one of http, https, unix")),
        };
        let socket = (kind == "unix").then(|| PathBuf::from(base.path()));
        if let Some(path) = &socket {
            if base.host_str().is_some_and(|h| !h.is_empty()) || !path.is_absolute() {
                return Err("url: a socket is written unix:///path".to_owned());
            }
            // The other side sees this as its Host field.
            base = Url::parse("http://localhost").map_err(|e| e.to_string())?;
        }
        let credentials = settings.credentials.as_ref().map(|c| Credentials::open(c, env)).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            // Where secrets are read from is among the settings; they themselves are not.
            revision: revision(&serde_json::to_vec(settings).map_err(|e| e.to_string())?),
            kind,
            base,
            rules: Rules::new(&settings.allow)?,
            credentials,
            client: client(settings, kind, socket)?,
            timeout: settings.timeout,
            max_response: usize::try_from(settings.max_response_bytes).unwrap_or(usize::MAX),
        })
    }

    /// Its name in the configuration.
    pub(in super::super) fn name(&self) -> &str {
        &self.name
    }

    /// The revision of its settings.
    pub(in super::super) fn revision(&self) -> &str {
        &self.revision
    }

    /// `http`, `https` or `unix`.
    pub(in super::super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Checks a request and makes it ready; nothing is sent.
    pub(in super::super) fn check(&self, call: Call) -> Result<Checked, Refusal> {
        let path = Path::parse(&call.path)?;
        let own = self.credentials.as_ref().map(Credentials::field);
        let mut fields = headers::check(&call.headers, own)?;
        let rule = self.rules.check(call.method, &path, call.body.as_deref().unwrap_or_default())?;
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let method = reqwest::Method::from_bytes(call.method.as_str().as_bytes())
            .map_err(|e| Refusal::Malformed(e.to_string()))?;
        let mut request = reqwest::Request::new(method, self.url(&path));
        *request.headers_mut() = fields;
        *request.body_mut() = call.body.map(Into::into);
        *request.timeout_mut() = Some(call.timeout.min(self.timeout));
        Ok(Checked { effect: rule.effect(call.method), planned: rule.plan().cloned(), request })
    }

    fn url(&self, path: &Path<'_>) -> Url {
        let mut url = self.base.clone();
        if path.raw != "/" {
            let base = self.base.path().trim_end_matches('/');
            url.set_path(&format!("{base}{}", path.raw));
        }
        url.set_query(path.query);
        url
    }

    /// Sends a checked request with the host's own fields and waits for the whole answer.
    pub(in super::super) async fn send(
        &self,
        checked: Checked,
        own: &[(&'static str, String)],
    ) -> Result<Answer, Failed> {
        let mut request = checked.request;
        for (name, value) in own {
            let value = HeaderValue::from_str(value).map_err(|e| Failed::Connect(e.to_string()))?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let ready = match &self.credentials {
            None => None,
            Some(credentials) => Some(credentials.ready().map_err(|why| {
                tracing::warn!(connection = self.name, %why, "credential cannot be read");
                Failed::Connect("the host cannot read the connection's credential".to_owned())
            })?),
        };
        if let (Some(ready), Some(credentials)) = (&ready, &self.credentials) {
            request.headers_mut().insert(credentials.field(), ready.value.clone());
        }
        let mut response = self.client.execute(request).await.map_err(|e| failed(&e))?;
        let status = response.status().as_u16();
        let headers = visible(response.headers(), ready.as_deref());
        let reach = ready.as_ref().map_or(0, |r| r.redactor.reach());
        let enough = self.max_response.saturating_add(reach).saturating_add(1);
        let mut body = Vec::new();
        while body.len() < enough {
            let Some(chunk) = response.chunk().await.map_err(|e| failed(&e))? else { break };
            body.extend_from_slice(&chunk);
        }
        let truncated = body.len() > self.max_response;
        body.truncate(enough);
        let mut body = match &ready {
            Some(ready) => ready.redactor.cut(body),
            None => body,
        };
        body.truncate(self.max_response);
        Ok(Answer { status, headers, body, truncated })
    }
}

fn visible(fields: &HeaderMap, ready: Option<&Ready>) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .filter(|(name, _)| headers::visible(name))
        .map(|(name, value)| {
            let value = value.as_bytes().to_vec();
            let value = match ready {
                Some(ready) => ready.redactor.cut(value),
                None => value,
            };
            (name.as_str().to_owned(), value)
        })
        .collect()
}

/// Whether anything may have reached the other side decides what may be done next.
fn failed(error: &reqwest::Error) -> Failed {
    let mut words = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(e) = cause {
        words = e.to_string();
        cause = e.source();
    }
    if error.is_connect() || error.is_builder() {
        Failed::Connect(words)
    } else if error.is_timeout() {
        Failed::Timeout
    } else {
        Failed::Other(words)
    }
}

fn client(settings: &ConnectionSettings, kind: &str, socket: Option<PathBuf>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("vigil/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Filtered { private: settings.private });
    if let Some(path) = socket {
        builder = builder.unix_socket(path);
    }
    if kind == "https" && settings.ca_file.is_none() {
        builder = builder.https_only(true);
    } else {
        builder = builder.tls_certs_only(authorities(settings)?);
    }
    builder.build().map_err(|e| format!("{e}: {:?}", std::error::Error::source(&e)))
}

/// The certificates of `ca_file`; none where there is none: then no TLS is spoken either.
fn authorities(settings: &ConnectionSettings) -> Result<Vec<Certificate>, String> {
    let Some(file) = &settings.ca_file else { return Ok(Vec::new()) };
    let bad = |why: String| format!("ca_file {}: {why}", file.display());
    let pem = std::fs::read(file).map_err(|e| bad(e.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|e| bad(e.to_string()))?;
    if found.is_empty() { Err(bad("it holds no certificate".to_owned())) } else { Ok(found) }
}
