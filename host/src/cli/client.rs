//! A server as the commands that speak to one see it: where it is, with which token, over TLS or not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Error;
use crate::config::environment;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 20;

/// Which server, and who asks. The token is never on the command line: others could see it there.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// Where the server is
    #[arg(
        long,
        env = "VIGIL_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000",
        global = true
    )]
    pub url: String,
    /// File with the token to ask with, such as `bootstrap-token` in the server's data directory [default: the
    /// variable `VIGIL_TOKEN`, else none]
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// File with certificates, in PEM, that may have signed the server's [default: the system's]
    #[arg(long, env = "VIGIL_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
}

/// How often a server that asks to wait is waited for, and for how many seconds at most.
const WAITS: usize = 5;
const LONGEST_WAIT: u64 = 60;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    /// The edition of what it tells of: its `ETag`.
    pub edition: Option<String>,
    /// What it tells.
    pub body: Value,
}

/// Asks one server.
pub struct Client {
    host: String,
    port: u16,
    prefix: String,
    tls: Option<TlsConnector>,
    token: Option<String>,
}

impl Server {
    /// Reads what the options name.
    pub fn client(&self) -> Result<Client, Error> {
        let wrong = |why: &str| Error::Failed(format!("--url {}: {why}", self.url));
        let uri: Uri = self.url.parse().map_err(|_| wrong("is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("begins neither with http:// nor with https://")),
        };
        let host = uri.host().ok_or_else(|| wrong("names no host"))?.to_owned();
        Ok(Client {
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls: tls.then(|| self.connector()).transpose()?,
            token: self.token()?,
            host,
        })
    }

    fn token(&self) -> Result<Option<String>, Error> {
        let text = match &self.token_file {
            Some(file) => Some(
                std::fs::read_to_string(file)
                    .map_err(|why| Error::Failed(format!("--token-file {}: {why}", file.display())))?,
            ),
            None => environment("VIGIL_TOKEN"),
        };
        let token = text.map(|text| text.trim().to_owned()).filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Error::Failed("the token holds characters that no token has".into()));
        }
        Ok(token)
    }

    fn connector(&self) -> Result<TlsConnector, Error> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.ca {
            let wrong = |why: String| Error::Failed(format!("--ca {}: {why}", file.display()));
            let found = CertificateDer::pem_file_iter(file).map_err(|why| wrong(why.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|why| wrong(why.to_string()))?;
                roots.add(certificate).map_err(|why| wrong(why.to_string()))?;
            }
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| Error::Failed(why.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl Client {
    /// The answer to a request if it is a success; otherwise the error that the status means.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        Ok(self.tell(method, (path, None), body).await?.body)
    }

    /// The same for what may take longer.
    pub async fn ask_within(
        &self,
        patience: Duration,
        (method, path): (Method, &str),
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let answer = self.once(patience, method, (path, None), body).await?;
        Ok(self.judged(answer)?.body)
    }

    /// The same for a path with the edition that the request is meant for, which must still be there. A server that asks to
    /// wait is waited for, a few times.
    pub async fn tell(
        &self,
        method: Method,
        place: (&str, Option<&str>),
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        for _ in 0..WAITS {
            let answer = self.once(PATIENCE, method.clone(), place, body).await?;
            let wait = answer.body["retry_after"].as_u64().filter(|seconds| *seconds <= LONGEST_WAIT);
            match wait.filter(|_| answer.status == StatusCode::TOO_MANY_REQUESTS) {
                Some(seconds) => {
                    super::output::note(format_args!("The server asks to wait for {seconds} s."));
                    tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
                }
                None => return self.judged(answer),
            }
        }
        let answer = self.once(PATIENCE, method, place, body).await?;
        self.judged(answer)
    }

    async fn once(
        &self,
        patience: Duration,
        method: Method,
        place: (&str, Option<&str>),
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let exchange = tokio::time::timeout(patience, self.exchange(method, place, body));
        exchange
            .await
            .unwrap_or_else(|_| Err(Error::TimedOut(format!("no answer from {} in {patience:?}", self.host))))
    }

    fn judged(&self, answer: Answer) -> Result<Answer, Error> {
        let status = answer.status;
        if status.is_success() {
            return Ok(answer);
        }
        let text = refusal(status, &answer.body);
        Err(match status {
            StatusCode::UNAUTHORIZED if self.token.is_none() => {
                Error::Denied(format!("{text} (set VIGIL_TOKEN or pass --token-file)"))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied(text),
            StatusCode::NOT_FOUND => Error::NotFound(text),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Error::Conflict(text),
            _ => Error::Failed(text),
        })
    }

    async fn exchange(
        &self,
        method: Method,
        (path, edition): (&str, Option<&str>),
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let unreachable = |why: String| Error::Unreachable(format!("{}:{}: {why}", self.host, self.port));
        let bare = self.host.trim_matches(['[', ']']);
        let stream =
            TcpStream::connect((bare, self.port)).await.map_err(|why| unreachable(why.to_string()))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        let request = match edition {
            Some(edition) => request.header(header::IF_MATCH, edition),
            None => request,
        };
        let request = match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let request = request
            .body(Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default())))
            .map_err(|why| Error::Failed(why.to_string()))?;
        match &self.tls {
            None => send(stream, request).await,
            Some(tls) => {
                let name =
                    ServerName::try_from(bare.to_owned()).map_err(|why| unreachable(why.to_string()))?;
                let stream = tls.connect(name, stream).await.map_err(|why| unreachable(why.to_string()))?;
                send(stream, request).await
            }
        }
        .map_err(unreachable)
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|why| why.to_string())?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|why| why.to_string())?;
        let status = answer.status();
        let edition = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = http_body_util::Limited::new(answer.into_body(), ANSWER).collect().await;
        // Without a sender the connection is over, and with it the wait below.
        drop(sender);
        let bytes = body.map_err(|why| why.to_string())?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status, edition, body })
    };
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

/// What the server said of a failure, in one line.
fn refusal(status: StatusCode, body: &Value) -> String {
    let faults = body["detail"].as_array().into_iter().flatten().map(|fault| {
        let loc = fault["loc"].as_array().into_iter().flatten().skip(1);
        let loc: Vec<String> =
            loc.map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect();
        format!("{}: {}", loc.join("."), fault["msg"].as_str().unwrap_or_default())
    });
    let text = match body["detail"].as_str() {
        Some(text) => text.to_owned(),
        None => faults.collect::<Vec<_>>().join("; "),
    };
    if text.is_empty() { format!("the server answered {status}") } else { text }
}
