//! A target that counts: what was called, with which key, when it began and ended, and what ran at the same time.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::target_http;

/// How calls are answered from now on; may be changed at any time.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    /// How long a call "works" before it answers. It goes on working when the caller hangs up, as a real one would.
    pub delay: Duration,
    /// Answer this many more calls with `fail_status` …
    pub fail_first: usize,
    /// … which is this one.
    pub fail_status: u16,
    /// And the others with this.
    pub answer: Answer,
}

impl Default for Behaviour {
    fn default() -> Self {
        let answer = Answer::Text(200, r#"{"status":"completed"}"#.into());
        Self { delay: Duration::ZERO, fail_first: 0, fail_status: 503, answer }
    }
}

/// What an answer is.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status and this body, as `application/json`.
    Text(u16, String),
    /// 200 and the request as JSON: `method`, `path`, `headers` (names in lower case), `body`.
    Echo,
    /// 200 and this many bytes of `x`.
    Huge(u64),
    /// 302 to this place.
    Redirect(String),
    /// Nothing, until the caller hangs up.
    Hang,
    /// The connection is closed without an answer.
    Close,
}

/// One call as it arrived. A retry is a call of its own.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whom it works on: the member `target` of a JSON body, or else the path.
    pub target: String,
    pub began: Instant,
    /// `None` while it works.
    pub ended: Option<Instant>,
    /// The status sent; 0 while none was.
    pub status: u16,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.header("idempotency-key")
    }
}

#[derive(Default)]
pub(crate) struct Shared {
    calls: Mutex<Vec<Call>>,
    behaviour: Mutex<Behaviour>,
    pub(super) stopped: AtomicBool,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap()
    }

    /// Notes the begin of a call; answers its number and how to treat it.
    pub(super) fn begin(&self, call: Call) -> (usize, Behaviour) {
        let mut calls = self.calls();
        calls.push(call);
        let mut behaviour = self.behaviour.lock().unwrap();
        let now = behaviour.clone();
        behaviour.fail_first = behaviour.fail_first.saturating_sub(1);
        (calls.len() - 1, now)
    }

    /// Notes the end of its work, before the answer goes out.
    pub(super) fn end(&self, number: usize, status: u16) {
        let mut calls = self.calls();
        calls[number].ended = Some(Instant::now());
        calls[number].status = status;
    }
}

/// An HTTP server on 127.0.0.1. Dropping it closes its door; calls under way end with their connections.
pub(crate) struct CountingTarget {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl CountingTarget {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        thread::spawn(move || target_http::accept(&listener, &state));
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL without a trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// All calls so far, in the order they arrived.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.calls().len()
    }

    /// Forgets the calls so far. Not while one is under way.
    pub(crate) fn forget(&self) {
        self.shared.calls().clear();
    }

    pub(crate) fn count_by_path(&self) -> HashMap<String, usize> {
        self.count_by(|call| Some(call.path.clone()))
    }

    pub(crate) fn count_by_target(&self) -> HashMap<String, usize> {
        self.count_by(|call| Some(call.target.clone()))
    }

    /// Calls per `Idempotency-Key`; calls without one are left out.
    pub(crate) fn count_by_key(&self) -> HashMap<String, usize> {
        self.count_by(|call| call.key().map(str::to_owned))
    }

    fn count_by(&self, name: impl Fn(&Call) -> Option<String>) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for name in self.shared.calls().iter().filter_map(name) {
            *counts.entry(name).or_insert(0) += 1;
        }
        counts
    }

    /// Pairs of calls that worked on one target at the same time: (target, earlier, later).
    pub(crate) fn overlaps(&self) -> Vec<(String, Call, Call)> {
        let mut last: HashMap<String, Call> = HashMap::new();
        let mut found = Vec::new();
        for call in self.calls() {
            if let Some(before) = last.get(&call.target)
                && before.ended.is_none_or(|ended| ended > call.began)
            {
                found.push((call.target.clone(), before.clone(), call.clone()));
            }
            // Kept is the one that ends last, so that a short call inside a long one hides nothing.
            let later = |old: &Call| old.ended.is_none() || (call.ended.is_some() && old.ended > call.ended);
            if !last.get(&call.target).is_some_and(later) {
                last.insert(call.target.clone(), call);
            }
        }
        found
    }

    /// Fails the test if two calls ever worked on one target at the same time.
    #[track_caller]
    pub(crate) fn assert_never_two_at_once(&self) {
        let overlaps = self.overlaps();
        assert!(overlaps.is_empty(), "{} overlaps, the first: {:#?}", overlaps.len(), overlaps[0]);
    }
}

impl Drop for CountingTarget {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which then sees that it is over.
        let _ = std::net::TcpStream::connect(self.address);
    }
}

/// Whom a call works on.
pub(super) fn target_of(path: &str, body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let target = &value["target"];
    let name = target.as_str().or_else(|| target["name"].as_str());
    name.map_or_else(|| path.split('?').next().unwrap_or_default().to_owned(), str::to_owned)
}
