//! Policies over HTTP and from files, and what they come to: each decision's reason is visible.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod decisions;
mod files;
mod life;

use serde_json::{Value, json};

use crate::support::{Request, Response, Vigil};

/// A policy that restarts `web-*` when the cpu is above 90; `more` replaces or adds members.
fn policy(name: &str, more: Value) -> Value {
    let condition = json!({"type": "metric_exceeds", "metric": "cpu", "threshold": 90});
    let mut policy = json!({"name": name, "condition": condition, "action": "restart", "target": "web-*"});
    if let Value::Object(members) = more {
        for (member, value) in members {
            policy[member] = value;
        }
    }
    policy
}

#[track_caller]
fn make(vigil: &Vigil, name: &str, more: Value) -> Value {
    vigil.post("/api/v1/policies", &policy(name, more)).expect(201).json()
}

#[track_caller]
fn put(vigil: &Vigil, path: &str, body: &Value) -> Response {
    vigil.send(&Request::new("PUT", path).json(body))
}

/// One reading of the cpu of a host; answers the ingest's answer.
#[track_caller]
fn cpu(vigil: &Vigil, host: &str, value: f64) -> Value {
    let metric = json!({"name": "cpu", "value": value, "tags": {"host": host}});
    vigil.post("/api/v1/ingest", &metric).expect(201).json()
}

/// What was decided about each violation of an ingest's answer, by policy.
fn decided(answer: &Value) -> Vec<(&str, &str)> {
    let violations = answer["violations"].as_array().unwrap();
    violations.iter().map(|v| (v["policy_name"].as_str().unwrap(), v["decision"].as_str().unwrap())).collect()
}

/// The reasons in the story of an incident, oldest first; `act` where it acted.
#[track_caller]
fn reasons(vigil: &Vigil, incident: &Value) -> Vec<String> {
    let why = vigil.get_json(&format!("/api/v1/incidents/{incident}/why"));
    let word = |decision: &Value| {
        let word = decision["reason"].as_str().or(decision["decision"].as_str());
        word.unwrap_or_else(|| panic!("no word in {decision}")).to_owned()
    };
    why["decisions"].as_array().unwrap_or_else(|| panic!("no decisions in {why}")).iter().map(word).collect()
}
