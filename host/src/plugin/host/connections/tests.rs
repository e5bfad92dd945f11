//! The order of the checks, with a server that counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32};

use axum::Router;
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::plugin::connections;

/// A server that counts, and an unsafe attempt that may use it.
struct Scene {
    hits: Arc<AtomicU32>,
    held: Arc<AtomicBool>,
    entries: mpsc::Receiver<JournalEntry>,
    attempt: Attempt,
    _tasks: JoinSet<()>,
}

impl Scene {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = format!(
            "url = \"http://{}\"\nallow = [\"POST /**\", \"GET /**\"]",
            listener.local_addr().unwrap()
        );
        let hits = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&hits);
        let router = Router::new().fallback(move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::ready(StatusCode::OK)
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = BTreeMap::from([("api".to_owned(), toml::from_str(&text).unwrap())]);
        let (journal, entries) = mpsc::channel(1);
        let held = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&held);
        let attempt = Attempt {
            execution_id: "e".to_owned(),
            fence: 1,
            effects: Effects::Unsafe,
            deadline: Instant::now() + Duration::from_secs(5),
            cancel: CancellationToken::new(),
            holds: Arc::new(move || seen.load(Ordering::Relaxed)),
            journal: Some(journal),
            plan: None,
            bound: None,
            connections: connections::open(&settings, &|_| None).unwrap(),
            config: Arc::default(),
            now: || 0,
            log_bytes: 0,
            host_calls: 10,
            dear_calls: AtomicU32::new(0),
            cheap_calls: AtomicU32::new(0),
            mutations: 0.into(),
            told: AtomicBool::new(false),
            record: std::sync::Mutex::default(),
        };
        Self { hits, held, entries, attempt, _tasks: tasks }
    }

    fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// One POST, with what happens when its intent is to be written.
    async fn post(
        &mut self,
        answer: impl FnOnce(&CallRecord, u32) -> Result<(), String>,
    ) -> Result<Result<Response, HttpError>, Kill> {
        let (entries, hits) = (&mut self.entries, Arc::clone(&self.hits));
        let journal = async {
            let JournalEntry::Intent { call, ack } = entries.recv().await.unwrap();
            ack.send(answer(&call, hits.load(Ordering::Relaxed))).unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = outgoing(&self.attempt, "api", request(GuestMethod::Post)) => result,
            () = journal => panic!("the journal ended first"),
        }
    }

    fn state(&self) -> CallState {
        self.attempt.record().calls.last().unwrap().state
    }
}

fn request(method: GuestMethod) -> Request {
    Request { method, path: "/x".to_owned(), headers: Vec::new(), body: None, timeout_ms: None }
}

#[tokio::test]
async fn an_intent_is_written_before_the_wire() {
    let mut scene = Scene::new().await;
    let response = scene.post(|call, hits| {
        assert_eq!((call.state, call.mutating, hits), (CallState::Intent, true, 0));
        Ok(())
    });
    assert_eq!(response.await.unwrap().unwrap().status, 200);
    assert_eq!((scene.hits(), scene.state()), (1, CallState::Done));
}

#[tokio::test]
async fn an_intent_that_is_not_written_keeps_the_call_back() {
    let mut scene = Scene::new().await;
    let refused = scene.post(|_, _| Err("the disk is full".to_owned())).await.unwrap();
    assert!(matches!(refused, Err(HttpError::Denied(why)) if why == "the disk is full"));
    assert_eq!((scene.hits(), scene.state()), (0, CallState::Refused));

    scene.entries.close();
    let lost = outgoing(&scene.attempt, "api", request(GuestMethod::Post)).await.unwrap();
    assert!(matches!(lost, Err(HttpError::Denied(_))));
    assert_eq!((scene.hits(), scene.state()), (0, CallState::Refused));
}

#[tokio::test]
async fn a_lease_that_lapses_while_the_intent_is_written_keeps_the_call_back() {
    let mut scene = Scene::new().await;
    let held = Arc::clone(&scene.held);
    let killed = scene.post(move |_, _| {
        held.store(false, Ordering::Relaxed);
        Ok(())
    });
    assert!(matches!(killed.await, Err(Kill::Fenced)));
    assert_eq!((scene.hits(), scene.state()), (0, CallState::Refused));
}

#[tokio::test]
async fn a_read_needs_no_intent_but_a_lease() {
    let scene = Scene::new().await;
    let read = outgoing(&scene.attempt, "api", request(GuestMethod::Get)).await.unwrap();
    assert_eq!(read.unwrap().status, 200);
    scene.held.store(false, Ordering::Relaxed);
    let read = outgoing(&scene.attempt, "api", request(GuestMethod::Get)).await;
    assert!(matches!(read, Err(Kill::Fenced)));
    assert_eq!(scene.hits(), 1);
}

#[tokio::test]
async fn validate_may_read_only() {
    let mut scene = Scene::new().await;
    scene.attempt.journal = None;
    scene.attempt.effects = Effects::Idempotent;
    let read = outgoing(&scene.attempt, "api", request(GuestMethod::Get)).await.unwrap();
    assert!(read.is_ok());
    let write = outgoing(&scene.attempt, "api", request(GuestMethod::Post)).await.unwrap();
    assert!(matches!(write, Err(HttpError::Denied(_))));
    assert_eq!(scene.hits(), 1);
}
