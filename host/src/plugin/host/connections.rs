//! `vigil:host/connections`: every effect of a plugin passes here. The order of the checks is the
//! promise: grant, rules, lease, intent, lease again, and only then the wire.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wasmtime::Result;

use super::super::bindings::vigil::host::connections::{
    ConnectionInfo, Host, HttpError, Method as GuestMethod, Request, Response,
};
use super::super::connections::{Call, Checked, Connection, Effect, Failed, Method, Refusal};
use super::super::state::{Attempt, Kill, Sandbox};
use super::super::types::{CallRecord, CallState, Effects, JournalEntry};

/// As much of a path as is kept.
const KEPT_PATH: usize = 1 << 10;

impl Host for Sandbox {
    fn available(&mut self) -> Result<Vec<ConnectionInfo>> {
        let attempt = self.dear("connections.available")?;
        let info = |(slot, connection): (&String, &Arc<Connection>)| ConnectionInfo {
            slot: slot.clone(),
            kind: connection.kind().to_owned(),
        };
        Ok(attempt.connections.iter().map(info).collect())
    }

    async fn send(&mut self, slot: String, request: Request) -> Result<Result<Response, HttpError>> {
        let attempt = Arc::clone(self.dear("connections.send")?);
        Ok(outgoing(&attempt, &slot, request).await?)
    }
}

/// One call from the plugin's request to its answer; the outer error ends the guest.
async fn outgoing(
    attempt: &Attempt,
    slot: &str,
    request: Request,
) -> Result<Result<Response, HttpError>, Kill> {
    let method = method(request.method);
    let at = begin(attempt, slot, method, &request.path);
    let Some(connection) = attempt.connections.get(slot) else {
        let why = format!("no connection fills the slot {slot:?}");
        return Ok(Err(refused(attempt, at, Refusal::NotAllowed(why))));
    };
    let call = call(attempt, method, request);
    let checked = match connection.check(call) {
        Ok(checked) => checked,
        Err(refusal) => return Ok(Err(refused(attempt, at, refusal))),
    };
    let mutating = checked.effect == Effect::Write;
    attempt.record().calls[at].mutating = mutating;
    if mutating && attempt.journal.is_none() {
        let why = Refusal::NotAllowed("`validate` may change nothing".to_owned());
        return Ok(Err(refused(attempt, at, why)));
    }
    lease(attempt, at)?;
    if mutating
        && attempt.effects == Effects::Unsafe
        && let Err(why) = intent(attempt, at).await
    {
        return Ok(Err(refused(attempt, at, Refusal::NotAllowed(why))));
    }
    // Writing the intent took time.
    lease(attempt, at)?;
    let sent = Instant::now();
    let answer = wire(attempt, connection, checked).await;
    Ok(finish(attempt, at, sent, answer))
}

fn method(method: GuestMethod) -> Method {
    match method {
        GuestMethod::Get => Method::Get,
        GuestMethod::Head => Method::Head,
        GuestMethod::Post => Method::Post,
        GuestMethod::Put => Method::Put,
        GuestMethod::Patch => Method::Patch,
        GuestMethod::Delete => Method::Delete,
    }
}

fn call(attempt: &Attempt, method: Method, request: Request) -> Call {
    let left = attempt.deadline.saturating_duration_since(Instant::now());
    Call {
        method,
        path: request.path,
        headers: request.headers,
        body: request.body,
        timeout: request.timeout_ms.map_or(left, |ms| left.min(Duration::from_millis(ms))),
    }
}

/// Writes the call down before anything is decided; the answer is its place in the record.
fn begin(attempt: &Attempt, slot: &str, method: Method, path: &str) -> usize {
    let mut path = path.to_owned();
    path.truncate(path.floor_char_boundary(KEPT_PATH));
    let connection = attempt.connections.get(slot).map_or(slot, |c| c.name());
    let mut record = attempt.record();
    let at = record.calls.len();
    record.calls.push(CallRecord {
        n: u32::try_from(at + 1).unwrap_or(u32::MAX),
        connection: connection.to_owned(),
        method: method.as_str().to_owned(),
        path,
        mutating: method.usual_effect() == Effect::Write,
        started_us: (attempt.now)(),
        duration: Duration::ZERO,
        status: None,
        error: None,
        state: CallState::Intent,
    });
    at
}

fn refused(attempt: &Attempt, at: usize, refusal: Refusal) -> HttpError {
    let mut record = attempt.record();
    let call = &mut record.calls[at];
    call.state = CallState::Refused;
    call.error = Some(refusal.to_string());
    let words = format!("{} {} on connection {:?}: {refusal}", call.method, call.path, call.connection);
    record.refused.push(words);
    match refusal {
        Refusal::Malformed(why) => HttpError::InvalidRequest(why),
        Refusal::NotAllowed(why) => HttpError::Denied(why),
    }
}

fn lease(attempt: &Attempt, at: usize) -> Result<(), Kill> {
    attempt.check().inspect_err(|kill| {
        let mut record = attempt.record();
        record.calls[at].state = CallState::Refused;
        record.calls[at].error = Some(kill.to_string());
    })
}

/// Waits until the intent is durable.
async fn intent(attempt: &Attempt, at: usize) -> Result<(), String> {
    let lost = || "the intent could not be written".to_owned();
    let journal = attempt.journal.as_ref().ok_or_else(lost)?;
    let call = attempt.record().calls[at].clone();
    let (ack, answer) = oneshot::channel();
    journal.send(JournalEntry::Intent { call, ack }).await.map_err(|_| lost())?;
    answer.await.map_err(|_| lost())?
}

async fn wire(attempt: &Attempt, connection: &Connection, checked: Checked) -> Result<Response, Failed> {
    let mut own = Vec::new();
    if checked.effect == Effect::Write {
        let n = attempt.mutations.fetch_add(1, Ordering::Relaxed) + 1;
        own.push(("idempotency-key", format!("{}-{n}", attempt.execution_id)));
        own.push(("vigil-fence", attempt.fence.to_string()));
    }
    let answer = connection.send(checked, &own).await?;
    Ok(Response {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        truncated: answer.truncated,
    })
}

fn finish(
    attempt: &Attempt,
    at: usize,
    sent: Instant,
    answer: Result<Response, Failed>,
) -> Result<Response, HttpError> {
    let mut record = attempt.record();
    let call = &mut record.calls[at];
    call.duration = sent.elapsed();
    call.state = CallState::Done;
    let failed = match answer {
        Ok(response) => {
            call.status = Some(response.status);
            return Ok(response);
        }
        Err(failed) => failed,
    };
    let (error, words, reached) = match failed {
        Failed::Connect(why) => (HttpError::ConnectFailed(why.clone()), why, false),
        Failed::Timeout => (HttpError::Timeout, "no answer in time".to_owned(), true),
        Failed::Other(why) => (HttpError::Failed(why.clone()), why, true),
    };
    call.error = Some(words);
    if reached && call.mutating {
        call.state = CallState::Unknown;
    }
    Err(error)
}

#[cfg(test)]
mod tests {
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
}
