//! Actions that wait for people: nothing runs without enough people's yes to exactly what would be run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod command;
mod modes;
mod nodes;
mod planned;
mod reload;
mod requests;

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, config};
use crate::support::{CountingTarget, Request, Response, Vigil, wait_for, wait_until};

const LONG: Duration = Duration::from_mins(1);

/// A server that asks for tokens, with a target that counts what is done to it.
struct Scene {
    target: CountingTarget,
    backend: Backend,
    vigil: Vigil,
    admin: String,
    /// Operators.
    ann: String,
    bob: String,
    /// An author and a viewer.
    author: String,
    viewer: String,
}

impl Scene {
    fn new(setting: Setting, more: &str) -> Self {
        Self::with(setting, more, &[])
    }

    fn with(setting: Setting, more: &str, env: &[(&str, &str)]) -> Self {
        let target = CountingTarget::start();
        let backend = Backend::new(setting);
        let config = config(&target.url()).replace("tick = \"2s\"", "tick = \"300ms\"");
        let options = backend.options(&format!("{config}{more}")).env("VIGIL_AUTH__MODE", "token");
        let vigil =
            Vigil::start(env.iter().fold(options, |options, (name, value)| options.env(*name, *value)));
        let admin = std::fs::read_to_string(vigil.data_dir().join("bootstrap-token")).unwrap();
        let admin = admin.trim().to_owned();
        let make = |name: &str, role: &str| {
            let body = json!({"name": name, "role": role});
            let made = vigil.send(&signed(&admin, Request::post("/api/v1/tokens", &body)));
            made.expect(201).json()["token"].as_str().unwrap().to_owned()
        };
        let (ann, bob) = (make("ann", "operator"), make("bob", "operator"));
        let (author, viewer) = (make("author", "author"), make("viewer", "viewer"));
        Self { target, backend, vigil, admin, ann, bob, author, viewer }
    }

    #[track_caller]
    fn send(&self, token: &str, request: Request) -> Response {
        self.vigil.send(&signed(token, request))
    }

    #[track_caller]
    fn post(&self, token: &str, path: &str, body: &Value) -> Response {
        self.send(token, Request::post(path, body))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.send(&self.admin, Request::get(path)).expect(200).json()
    }

    /// A policy that asks, with open guardrails; `more` goes over it.
    #[track_caller]
    fn policy(&self, name: &str, target: &str, more: &Value) {
        self.post(&self.author, "/api/v1/policies", &asks(name, target, more)).expect(201);
    }

    /// One reading; what each policy decided about it.
    #[track_caller]
    fn reading(&self, target: &str, value: f64) -> Vec<String> {
        let metric = json!({"name": "heat", "value": value, "tags": {"service": target}});
        let answer = self.post(&self.admin, "/api/v1/ingest", &metric).expect(201).json();
        let words = answer["violations"].as_array().unwrap().iter();
        words.map(|violation| violation["decision"].as_str().unwrap().to_owned()).collect()
    }

    /// A reading that is asked about; the action that waits.
    #[track_caller]
    fn asked(&self, target: &str) -> Value {
        assert_eq!(self.reading(target, 95.0), ["ask"], "on {target}");
        self.waiting(target)
    }

    /// The one action on that target that waits.
    #[track_caller]
    fn waiting(&self, target: &str) -> Value {
        let list = self.get(&format!("/api/v1/actions?state=approval&target={target}"));
        assert_eq!(list["total"], 1, "{list}");
        list["actions"][0].clone()
    }

    #[track_caller]
    fn action(&self, id: &Value) -> Value {
        self.get(&format!("/api/v1/actions/{id}"))
    }

    #[track_caller]
    fn approve(&self, token: &str, action: &Value) -> Response {
        let hash = action["approval"]["plan_hash"].clone();
        self.post(
            token,
            &format!("/api/v1/actions/{}/approve", action["id"]),
            &json!({"plan_hash": hash, "note": "go"}),
        )
    }

    #[track_caller]
    fn reject(&self, token: &str, action: &Value) -> Response {
        self.post(token, &format!("/api/v1/actions/{}/reject", action["id"]), &json!({"note": "not now"}))
    }

    #[track_caller]
    fn until(&self, id: &Value, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        wait_for(LONG, what, || {
            let action = self.action(id);
            done(&action).then_some(action)
        })
    }

    #[track_caller]
    fn why(&self, incident: &Value) -> Value {
        self.get(&format!("/api/v1/incidents/{incident}/why"))
    }

    /// One series of `/metrics` by its text up to the value; 0 if it is absent.
    #[track_caller]
    fn metric(&self, series: &str) -> f64 {
        let text = self.send(&self.admin, Request::get("/metrics")).expect(200).text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0.0)
    }

    /// What the audit says of an action, oldest first.
    #[track_caller]
    fn deeds(&self, action: &Value) -> Vec<String> {
        let why = self.get(&format!("/api/v1/actions/{action}/why"));
        let entries = why["audit"].as_array().unwrap().iter();
        entries.map(|entry| entry["verb"].as_str().unwrap().to_owned()).collect()
    }
}

fn asks(name: &str, target: &str, more: &Value) -> Value {
    let mut policy = crate::stage::open_policy(name, target, "custom");
    policy.as_object_mut().unwrap().remove("auto_remediate");
    policy["mode"] = json!("approve");
    for (member, value) in more.as_object().unwrap() {
        policy[member] = value.clone();
    }
    policy
}

fn signed(token: &str, request: Request) -> Request {
    request.header("Authorization", format!("Bearer {token}"))
}

/// What a refusal says.
fn said(answer: &Response) -> String {
    answer.json()["detail"].as_str().unwrap_or_default().to_owned()
}
