//! Actions as the contract has them, a case or more for each of its rows, and the defects of the project before
//! it that are not repeated. Where storage is involved, on both databases.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod defects;
mod lists;
mod nodes;
mod numbers;
mod pull;
mod push;
mod rows;
mod states;

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, config};
use crate::support::{CountingTarget, Options, Request, Response, Vigil};

const LONG: Duration = Duration::from_secs(30);

/// A server, and a target that the webhook plugin calls for `custom`.
struct Scene {
    vigil: Vigil,
    target: CountingTarget,
    backend: Backend,
}

impl Scene {
    fn new(setting: Setting, more: &str) -> Self {
        Self::with(setting, more, |options| options)
    }

    fn with(setting: Setting, more: &str, change: impl FnOnce(Options) -> Options) -> Self {
        let target = CountingTarget::start();
        let backend = Backend::new(setting);
        let options = backend.options(&format!("{}\n{more}", config(&target.url())));
        Self { vigil: Vigil::start(change(options)), target, backend }
    }

    #[track_caller]
    fn make(&self, body: &Value) -> i64 {
        self.vigil.post("/api/v1/actions", body).expect(201).json()["action_id"].as_i64().unwrap()
    }

    /// An action that is held: nobody touches it.
    #[track_caller]
    fn held(&self, target: &str) -> i64 {
        self.make(&json!({"target": target, "action": "reboot-rack"}))
    }

    #[track_caller]
    fn show(&self, id: i64) -> Value {
        self.vigil.get_json(&format!("/api/v1/actions/{id}"))
    }

    /// Waits until an action has ended.
    #[track_caller]
    fn ended(&self, id: i64) -> Value {
        self.vigil.wait_json(&format!("/api/v1/actions/{id}"), LONG, |action| {
            ["completed", "failed", "cancelled"].iter().any(|status| action["status"] == *status)
        })
    }

    #[track_caller]
    fn set(&self, id: i64, status: &str) -> Response {
        self.put(&format!("/api/v1/actions/{id}/status"), &json!({"status": status}))
    }

    #[track_caller]
    fn put(&self, path: &str, body: &Value) -> Response {
        self.vigil.send(&Request::new("PUT", path).json(body))
    }

    #[track_caller]
    fn total(&self) -> i64 {
        self.vigil.get_json("/api/v1/actions?limit=1")["total"].as_i64().unwrap()
    }
}

/// The kinds of fault of a 422, in order, each with the last part of its place.
#[track_caller]
fn faults(answer: &Response) -> Vec<(String, String)> {
    let body = answer.json();
    let list = body["detail"].as_array().unwrap_or_else(|| panic!("no list in {body}"));
    list.iter()
        .map(|fault| {
            let place = fault["loc"].as_array().unwrap().last().unwrap();
            let place = place.as_str().map_or_else(|| place.to_string(), str::to_owned);
            (fault["type"].as_str().unwrap().to_owned(), place)
        })
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}
