//! The contract's rows of policies, settings and the queue, over HTTP and on both databases; the environment; and the
//! seed's defects that belong here, each with the test that would catch it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod editors;
mod environment;
mod logs;
mod nodes;
mod policies;
mod queue;
mod reload;
mod runner;
mod samples;
mod settings;
mod settings_work;
mod stalls;

use serde_json::{Value, json};

use crate::support::{Options, Postgres, Request, Response, Vigil};

/// Runs a check on either database, each as a test of its own.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(crate::contract_control::limitless()) })*
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(crate::contract_control::on_postgres()) })*
        }
    };
}
pub(crate) use on_both;

/// A server that limits nobody, so that a test may ask as often as it needs: as all of them in these tests.
pub(crate) fn limitless() -> Options {
    Options::default()
}

pub(crate) fn on_postgres() -> Options {
    limitless().database(Postgres::shared().database())
}

/// A policy that only observes `heat` over 90, with members replaced or added.
pub(crate) fn policy(name: &str, more: Value) -> Value {
    let condition = json!({"type": "metric_exceeds", "metric": "heat", "threshold": 90});
    let mut policy = json!({"name": name, "condition": condition, "action": "custom"});
    if let Value::Object(members) = more {
        for (member, value) in members {
            policy[member] = value;
        }
    }
    policy
}

#[track_caller]
pub(crate) fn make(vigil: &Vigil, name: &str, more: Value) -> Value {
    vigil.post("/api/v1/policies", &policy(name, more)).expect(201).json()
}

pub(crate) fn call(vigil: &Vigil, method: &str, path: &str, body: &Value) -> Response {
    let request = Request::new(method, path);
    vigil.send(&if body.is_null() { request } else { request.json(body) })
}

pub(crate) fn matched(vigil: &Vigil, method: &str, path: &str, tag: &str, body: &Value) -> Response {
    let request = Request::new(method, path).header("If-Match", tag);
    vigil.send(&if body.is_null() { request } else { request.json(body) })
}

/// One reading of `heat` on a host.
#[track_caller]
pub(crate) fn heat(vigil: &Vigil, host: &str, value: f64) -> Value {
    vigil.post_json("/api/v1/ingest", &json!({"name": "heat", "value": value, "tags": {"host": host}}))
}

/// Names of the policies that an answer's violations name.
pub(crate) fn violated(answer: &Value) -> Vec<String> {
    let list = answer["violations"].as_array().unwrap();
    list.iter().map(|violation| violation["policy_name"].as_str().unwrap().to_owned()).collect()
}
