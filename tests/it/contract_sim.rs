//! What makes up events, over HTTP: the simulator, the policy tester and the pure evaluation. Nothing of it reaches
//! outside or is mixed up with what is real.

mod apart;
mod evaluate;
mod simulator;
mod tester;

use serde_json::{Value, json};

use crate::support::{CountingTarget, Options, Postgres, Vigil};

/// A server whose `restart` goes to a target that counts, and whose tick is short.
fn served(target: &CountingTarget) -> Options {
    Options::default().config(format!(
        "[policies]\ntick = \"1s\"\n[connections.hook]\nurl = \"http://{}\"\nallow = [\"POST /**\", \"POST /\"]\n\
         [[routes]]\naction = \"restart\"\nplugin = \"webhook\"\nplugin_action = \"custom\"\nconnections = {{ webhook = \"hook\" }}\n",
        target.address()
    ))
}

/// Runs a test on both databases.
fn on_both(test: fn(&CountingTarget, Options)) {
    let target = CountingTarget::start();
    test(&target, served(&target));
    let target = CountingTarget::start();
    test(&target, served(&target).database(Postgres::shared().database()));
}

/// A policy that restarts what it is violated on; `more` replaces or adds members.
#[track_caller]
fn make(vigil: &Vigil, name: &str, condition: Value, more: Value) -> Value {
    let mut policy =
        json!({"name": name, "condition": condition, "action": "restart", "auto_remediate": true});
    if let Value::Object(members) = more {
        for (member, value) in members {
            policy[member] = value;
        }
    }
    vigil.post("/api/v1/policies", &policy).expect(201).json()
}

fn exceeds(metric: &str, threshold: f64) -> Value {
    json!({"type": "metric_exceeds", "metric": metric, "threshold": threshold})
}

fn below(metric: &str, threshold: f64) -> Value {
    json!({"type": "metric_below", "metric": metric, "threshold": threshold})
}

/// One reading of a service, as any client sends it.
#[track_caller]
fn post(vigil: &Vigil, name: &str, service: &str, value: f64) -> Value {
    let metric = json!({"name": name, "value": value, "tags": {"service": service}});
    vigil.post("/api/v1/ingest", &metric).expect(201).json()
}

/// The first fault of a 422, as type and place.
#[track_caller]
fn fault(answer: &Value) -> (String, String) {
    let first = &answer["detail"][0];
    let loc: Vec<String> = first["loc"]
        .as_array()
        .unwrap_or_else(|| panic!("no list of faults: {answer}"))
        .iter()
        .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
        .collect();
    (first["type"].as_str().unwrap_or_default().to_owned(), loc.join("."))
}
