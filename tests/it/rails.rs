//! What holds actions back, one guardrail after the other: that it does, says so with its numbers, and lets go in the end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attempts;
mod books;
mod clear;
mod domains;
mod flapping;
mod opposites;
mod pace;

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, config};
use crate::support::{CountingTarget, Vigil, wait_until};

const LONG: Duration = Duration::from_secs(40);

/// A server whose `custom` goes to a target that counts, and whose tick is short.
struct Scene {
    target: CountingTarget,
    vigil: Vigil,
    backend: Backend,
}

impl Scene {
    fn new(setting: Setting, change: impl Fn(String) -> String) -> Self {
        let (target, backend) = (CountingTarget::start(), Backend::new(setting));
        let config = change(config(&target.url()).replace("tick = \"2s\"", "tick = \"500ms\""));
        let vigil = Vigil::start(backend.options(&config));
        Self { target, vigil, backend }
    }

    /// A policy on `heat` over 90 whose guardrails hold nothing back but what is said here.
    fn policy(&self, name: &str, target: &str, rails: Value, more: Value) {
        let mut policy = crate::stage::open_policy(name, target, "custom");
        merge(&mut policy["guardrails"], rails);
        merge(&mut policy, more);
        self.vigil.post("/api/v1/policies", &policy).expect(201);
    }

    /// One reading; what each policy decided about it.
    fn reading(&self, metric: &str, target: &str, value: f64) -> Vec<String> {
        let metric = json!({"name": metric, "value": value, "tags": {"service": target}});
        let answer = self.vigil.post_json("/api/v1/ingest", &metric);
        let words = answer["violations"].as_array().unwrap().iter();
        words.map(|violation| violation["decision"].as_str().unwrap().to_owned()).collect()
    }

    fn incidents(&self, query: &str) -> Vec<Value> {
        let list = self.vigil.get_json(&format!("/api/v1/incidents?{query}"));
        list["incidents"].as_array().unwrap().clone()
    }

    fn why(&self, incident: &Value) -> Value {
        self.vigil.get_json(&format!("/api/v1/incidents/{}/why", incident["id"]))
    }

    /// Waits until so many actions have succeeded.
    fn done(&self, count: u64) {
        wait_until(LONG, &format!("{count} actions"), || {
            self.vigil.get_json("/api/v1/actions?state=succeeded&limit=1")["total"] == count
        });
    }
}

fn merge(into: &mut Value, from: Value) {
    for (member, value) in from.as_object().unwrap() {
        into[member] = value.clone();
    }
}

fn cel(expression: &str) -> Value {
    json!({"type": "cel", "expression": expression})
}
