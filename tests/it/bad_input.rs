//! Bad input over HTTP: each case is refused with the right status and a body that says why, or taken with
//! a warning; the server lives, answers nobody else later for it, and does not grow.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bodies;
mod keys;
mod policies;
mod queries;
mod wire;

use std::time::Duration;

use serde_json::Value;

use crate::pulse::{Pulse, forget_peak, peak};
use crate::support::{Options, Request, Response, Vigil};

/// Memory that the cases of one test may cost at any moment.
const GROWTH: u64 = 64 << 20;
/// What a healthy client may wait in any case; below it no ratio is looked at.
const SHORT: Duration = Duration::from_millis(250);
/// How much longer it may wait than before.
const RATIO: u32 = 10;

/// A server under bad input, with a healthy client beside it.
struct Siege {
    vigil: Vigil,
    pulse: Option<Pulse>,
    before: Duration,
    memory: u64,
    cases: usize,
}

impl Siege {
    fn start(options: Options) -> Self {
        let vigil = Vigil::start(options);
        // The first requests warm caches and allocator up.
        let _ = Pulse::measure(vigil.port(), Duration::from_millis(300));
        let before = Pulse::measure(vigil.port(), Duration::from_millis(700)).p99();
        forget_peak(vigil.pid());
        let memory = peak(vigil.pid());
        let pulse = Some(Pulse::start(vigil.port()));
        Self { vigil, pulse, before, memory, cases: 0 }
    }

    /// Sends a request and demands this status; a refusal must explain itself.
    #[track_caller]
    fn case(&mut self, name: &str, request: &Request, status: u16) -> Response {
        self.cases += 1;
        let answer = self.vigil.try_send(request);
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}; its log:\n{}", self.vigil.log()));
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let id = answer.header("x-request-id").unwrap_or_default();
        assert!(!id.is_empty(), "{name}: no x-request-id");
        if status >= 400 {
            explained(name, &answer, id);
        }
        self.alive(name);
        answer
    }

    /// The same for a 422, one of whose faults must be of this type; answers that fault.
    #[track_caller]
    fn invalid(&mut self, name: &str, request: &Request, kind: &str) -> Value {
        let answer = self.case(name, request, 422).json();
        let faults = answer["detail"].as_array().unwrap_or_else(|| panic!("{name}: no list: {answer}"));
        for fault in faults {
            assert!(fault["loc"].is_array() && fault["msg"].is_string(), "{name}: {fault}");
        }
        let found = faults.iter().find(|fault| fault["type"] == kind);
        found.unwrap_or_else(|| panic!("{name}: no {kind} in {answer}")).clone()
    }

    #[track_caller]
    fn alive(&self, name: &str) {
        let health = self.vigil.try_send(&Request::get("/health"));
        assert!(
            health.is_ok_and(|answer| answer.status == 200),
            "not alive after {name}:\n{}",
            self.vigil.log()
        );
    }

    /// What must hold after all cases: no 5xx was ever answered, the memory is bounded, the healthy client
    /// was served.
    #[track_caller]
    fn end(mut self, at_least: usize) {
        assert!(self.cases >= at_least, "only {} cases ran", self.cases);
        let times = self.pulse.take().unwrap().stop();
        let p99 = times.p99();
        // A machine that has become busier meanwhile shows it without any bad input, too.
        let calm = self.before.max(Pulse::measure(self.vigil.port(), Duration::from_millis(700)).p99());
        assert!(
            p99 <= SHORT.max(calm * RATIO),
            "a healthy client's p99 went from {calm:?} to {p99:?} ({} requests)",
            times.count()
        );
        let growth = peak(self.vigil.pid()).saturating_sub(self.memory);
        println!("{} cases, {} MiB more at the peak, p99 {p99:?}", self.cases, growth >> 20);
        assert!(growth < GROWTH, "at its peak it had grown by {} MiB", growth >> 20);
        let metrics = self.vigil.get("/metrics").expect(200).text();
        let failed: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("requests_total{") && line.contains("status=\"5"))
            .collect();
        assert!(failed.is_empty(), "5xx were answered: {failed:?}\n{}", self.vigil.log());
    }
}

/// The members that every refusal carries.
#[track_caller]
fn explained(name: &str, answer: &Response, id: &str) {
    let body = answer.json();
    let detail = &body["detail"];
    let said = detail.as_str().is_some_and(|text| !text.is_empty())
        || detail.as_array().is_some_and(|l| !l.is_empty());
    assert!(said, "{name}: no detail in {body}");
    assert_eq!(body["status"], answer.status, "{name}: {body}");
    assert_eq!(body["instance"], format!("urn:vigil:request:{id}"), "{name}: {body}");
    assert!(body["title"].is_string() && body["type"].is_string(), "{name}: {body}");
    assert!(answer.body.len() < 64 << 10, "{name}: its answer has {} bytes", answer.body.len());
}

/// A POST of these bytes as JSON.
fn json_bytes(path: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", path).header("Content-Type", "application/json").body(body)
}

/// A POST of these bytes to the ingest.
fn metric(body: impl Into<Vec<u8>>) -> Request {
    json_bytes("/api/v1/ingest", body)
}
