//! The demo's HTTP client: one small JSON exchange after another.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::Error;

/// Talks to one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub address: SocketAddr,
}

impl Client {
    /// Whether the server answers.
    pub(super) async fn is_up(self) -> bool {
        self.send(Method::GET, "/health", None).await.is_ok_and(|(status, _)| status == StatusCode::OK)
    }

    pub(super) async fn get(self, path: &str) -> Result<Value, Error> {
        self.good(Method::GET, path, None).await
    }

    pub(super) async fn post(self, path: &str, body: &Value) -> Result<Value, Error> {
        self.good(Method::POST, path, Some(body)).await
    }

    /// The body of a success. A demo that is broken often meets the rate limit, and waits.
    async fn good(self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        loop {
            match self.send(method.clone(), path, body).await? {
                (StatusCode::TOO_MANY_REQUESTS, _) => tokio::time::sleep(Duration::from_secs(1)).await,
                (status, body) if status.is_success() => return Ok(body),
                (status, body) => return Err(Error::Failed(format!("{method} {path}: {status}: {body}"))),
            }
        }
    }

    async fn send(
        self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let exchange = tokio::time::timeout(Duration::from_secs(10), self.exchange(method, path, body));
        exchange.await.unwrap_or_else(|_| Err(Error::TimedOut(format!("no answer to {path}"))))
    }

    async fn exchange(
        self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let failed = |error: hyper::Error| Error::Unreachable(format!("{path}: {error}"));
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|error| Error::Unreachable(format!("{}: {error}", self.address)))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let text = body.map(Value::to_string).unwrap_or_default();
        let request =
            Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        let request =
            request.header(header::CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(text)));
        let request = request.map_err(|error| Error::Failed(error.to_string()))?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let bytes = answer.into_body().collect().await?.to_bytes();
            // Without a sender the connection is over, and with it the wait below.
            drop(sender);
            Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
        };
        let (answer, _) = tokio::join!(answer, connection);
        answer.map_err(failed)
    }
}
