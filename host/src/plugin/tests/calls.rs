//! The webhook plugin against a real server: what the wire sees, and what is kept of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request as Incoming;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::super::{
    CallState, ConnectionSettings, CredentialSettings, Ended, Plugins, Report, RouteError, RouteSettings,
    Status,
};
use super::{Host, connected, guard, request, small};

/// A server that keeps what it was sent.
struct Server {
    address: SocketAddr,
    seen: Seen,
    _tasks: JoinSet<()>,
}

/// Request lines and fields.
type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

fn answers<F>(answer: F) -> (Router, Seen)
where
    F: Fn(&HeaderMap) -> Response + Clone + Send + Sync + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Incoming| {
        let line = format!("{} {}", request.method(), request.uri());
        let response = answer(request.headers());
        kept.lock().unwrap().push((line, request.headers().clone()));
        async move { response }
    });
    (router, seen)
}

impl Server {
    async fn start<F>(answer: F) -> Self
    where
        F: Fn(&HeaderMap) -> Response + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, seen) = answers(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, _tasks: tasks }
    }

    fn connection(&self) -> ConnectionSettings {
        at(&format!("http://{}/hook", self.address))
    }
}

fn at(url: &str) -> ConnectionSettings {
    toml::from_str(&format!("url = {url:?}\nallow = [\"POST /\"]\ntimeout = \"1s\"")).unwrap()
}

async fn notify(plugins: &Plugins) -> Report {
    let route = plugins.route("notify", "web").unwrap();
    plugins.execute(&route, request(&route), guard()).await
}

fn ok() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

#[tokio::test]
async fn the_host_adds_its_own_fields() {
    let server = Server::start(|_| ok()).await;
    let data = tempfile::tempdir().unwrap();
    let token = data.path().join("token");
    std::fs::write(&token, "a-very-secret-token\n").unwrap();
    let connection = ConnectionSettings {
        credentials: Some(CredentialSettings::BearerFile(token)),
        ..server.connection()
    };
    let host = Host::with(connected("webhook", connection), &[]).await;
    let report = notify(&host.plugins).await;
    assert_eq!(report.result.kind(), "ok", "{:?}", report.result);

    let seen = server.seen.lock().unwrap();
    let (line, fields) = &seen[0];
    assert_eq!(line, "POST /hook");
    assert_eq!(fields["idempotency-key"], "e-1-1");
    assert_eq!(fields["vigil-fence"], "7");
    assert_eq!(fields["authorization"], "Bearer a-very-secret-token");
    assert_eq!(fields["accept-encoding"], "identity");
    let call = &report.calls[0];
    assert_eq!((call.n, call.state, call.status, call.mutating), (1, CallState::Done, Some(204), true));
    assert_eq!((call.connection.as_str(), call.path.as_str()), ("webhook", "/"));
}

#[tokio::test]
async fn an_echoed_credential_is_cut() {
    let server = Server::start(|fields| {
        let echo = fields["authorization"].to_str().unwrap().to_owned();
        (StatusCode::BAD_REQUEST, [("x-echo", echo.clone())], echo).into_response()
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let token = data.path().join("token");
    std::fs::write(&token, "a-very-secret-token\n").unwrap();
    let connection = ConnectionSettings {
        credentials: Some(CredentialSettings::BearerFile(token)),
        ..server.connection()
    };
    let host = Host::with(connected("webhook", connection), &[]).await;
    let report = notify(&host.plugins).await;
    let said = format!("{report:?}");
    assert_eq!(report.result.kind(), "permanent", "{said}");
    assert!(said.contains("[redacted]") && !said.contains("a-very-secret"), "{said}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let elsewhere = Server::start(|_| ok()).await;
    let to = format!("http://{}/", elsewhere.address);
    let server =
        Server::start(move |_| (StatusCode::FOUND, [("location", to.clone())]).into_response()).await;
    let host = Host::with(connected("webhook", server.connection()), &[]).await;
    let report = notify(&host.plugins).await;
    assert_eq!(report.calls[0].status, Some(302));
    assert!(elsewhere.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_never_left_is_told_from_what_may_have_arrived() {
    // Nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let host = Host::with(connected("webhook", at(&format!("http://{free}/"))), &[]).await;
    let report = notify(&host.plugins).await;
    let call = &report.calls[0];
    assert_eq!((call.state, call.status), (CallState::Done, None), "{call:?}");
    assert!(call.error.as_ref().unwrap().contains("refused"), "{call:?}");

    // Takes the request and closes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 16]).await;
        }
    });
    let host = Host::with(connected("webhook", at(&format!("http://{address}/"))), &[]).await;
    let report = notify(&host.plugins).await;
    assert_eq!(report.calls[0].state, CallState::Unknown, "{:?}", report.calls[0]);

    // Takes it and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let slow = ConnectionSettings { timeout: Duration::from_millis(200), ..at(&url) };
    let host = Host::with(connected("webhook", slow), &[]).await;
    let report = notify(&host.plugins).await;
    assert_eq!(report.calls[0].state, CallState::Unknown);
    assert_eq!(report.calls[0].error.as_deref(), Some("no answer in time"));
}

#[tokio::test]
async fn a_call_that_the_deadline_cuts_off_is_unknown() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let settings = connected("webhook", ConnectionSettings { timeout: Duration::from_secs(9), ..at(&url) });
    let host = Host::with(settings, &[]).await;
    let route = host.plugins.route("notify", "web").unwrap();
    let lease = super::Guard { holds: lapses_after(Duration::from_millis(150)), ..guard() };
    let report = host.plugins.execute(&route, request(&route), lease).await;
    assert_eq!(report.result, Ended::Fenced);
    assert_eq!(report.calls[0].state, CallState::Unknown, "{:?}", report.calls);
}

fn lapses_after(time: Duration) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let begun = std::time::Instant::now();
    Arc::new(move || begun.elapsed() < time)
}

#[tokio::test]
async fn sockets_and_large_answers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (router, seen) = answers(|_| (StatusCode::CONFLICT, "x".repeat(5_000)).into_response());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let connection =
        ConnectionSettings { max_response_bytes: 20, ..at(&format!("unix://{}", path.display())) };
    let host = Host::with(connected("webhook", connection), &[]).await;
    let report = notify(&host.plugins).await;
    assert_eq!(report.calls[0].status, Some(409), "{:?}", report.calls);
    assert_eq!(seen.lock().unwrap()[0].1["host"], "localhost");
    let said = super::super::report::words(&report.result);
    assert!(said.contains(&"x".repeat(20)) && !said.contains(&"x".repeat(21)), "{said}");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_in_words() {
    let server = Server::start(|_| ok()).await;
    let host = Host::with(small(), &[]).await;
    let report = notify(&host.plugins).await;
    let Ended::Denied(said) = &report.result else { panic!("{:?}", report.result) };
    assert!(said.contains("no connection fills the slot \"webhook\""), "{said}");
    assert_eq!(report.calls[0].state, CallState::Refused);

    let none = ConnectionSettings { allow: Vec::new(), ..server.connection() };
    let host = Host::with(connected("webhook", none), &[]).await;
    let report = notify(&host.plugins).await;
    let Ended::Denied(said) = &report.result else { panic!("{:?}", report.result) };
    assert!(said.contains("no rule allows this method and path"), "{said}");
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_resolves_inside_is_not_dialled() {
    let server = Server::start(|_| ok()).await;
    let port = server.address.port();
    let host = Host::with(connected("webhook", at(&format!("http://localhost:{port}/"))), &[]).await;
    assert_eq!(notify(&host.plugins).await.result.kind(), "ok", "localhost was named");
}

#[tokio::test]
async fn a_file_needs_a_grant_with_its_digest() {
    let server = Server::start(|_| ok()).await;
    let (name, bytes) = super::super::embedded::EMBEDDED[1];
    assert_eq!(name, "webhook");
    let mut settings = connected("hook", server.connection());
    settings.replace = vec!["webhook".to_owned()];
    settings.grants = vec![super::super::Grant {
        plugin: "webhook".to_owned(),
        digest: Some("sha256:00".to_owned()),
        connections: BTreeMap::from([("webhook".to_owned(), "hook".to_owned())]),
        config: serde_json::Map::new(),
    }];
    let host = Host::with(settings.clone(), &[("mine", bytes.to_vec())]).await;
    let info = |host: &Host, status| {
        host.plugins.list().into_iter().find(|p| p.name == "webhook" && p.status == status).unwrap()
    };
    assert_eq!(info(&host, Status::Replaced).digest, info(&host, Status::Active).digest);
    let reason = info(&host, Status::Active).reason.unwrap();
    assert!(reason.contains("another digest"), "{reason}");
    assert_eq!(notify(&host.plugins).await.result.kind(), "denied");

    settings.grants[0].digest = info(&host, Status::Active).digest;
    let host = Host::with(settings, &[("mine", bytes.to_vec())]).await;
    assert_eq!(info(&host, Status::Active).connections[0].bound.as_deref(), Some("hook"));
    assert_eq!(notify(&host.plugins).await.result.kind(), "ok");
}

#[tokio::test]
async fn routes_decide_before_declarations() {
    let (one, two) = (Server::start(|_| ok()).await, Server::start(|_| ok()).await);
    let mut settings = connected("webhook", one.connection());
    settings.connections.insert("other".to_owned(), two.connection());
    settings.routes = vec![
        toml::from_str::<RouteSettings>(
            "action = \"page\"\ntarget = \"db-*\"\nplugin = \"webhook\"\nplugin_action = \"notify\"\n\
             connections = { webhook = \"other\" }",
        )
        .unwrap(),
    ];
    let host = Host::with(settings, &[]).await;
    let route = host.plugins.route("page", "db-1").unwrap();
    assert_eq!(route.bindings["webhook"], "other");
    let report = host.plugins.execute(&route, request(&route), guard()).await;
    assert_eq!(report.result.kind(), "ok", "{:?}", report.result);
    assert_eq!((one.seen.lock().unwrap().len(), two.seen.lock().unwrap().len()), (0, 1));
    assert_eq!(host.plugins.route("page", "web").unwrap_err(), RouteError::NoPlugin);
    assert_eq!(host.plugins.route("restart-service", "x").unwrap().action, "restart");
}

#[tokio::test]
async fn parameters_are_checked() {
    let host = Host::with(small(), &[]).await;
    let route = host.plugins.route("restart", "web").unwrap();
    assert!(host.plugins.check_params(&route, &serde_json::json!({"process": "web"})).is_ok());
    let problems = host.plugins.check_params(&route, &serde_json::json!({"timeout": "soon"})).unwrap_err();
    assert_eq!(problems[0].pointer, "/timeout");
    assert!(host.plugins.validate(&route, &request(&route)).await.is_ok());
}
