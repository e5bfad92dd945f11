//! Row 25, and the scheduled evaluation: what only it can see, and how often it acts on it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{call, heat, limitless, make, on_both};
use crate::support::{Options, Vigil, wait_until};

on_both!(the_status_tells_the_truth, it_sees_what_no_event_shows, a_chatty_metric_hides_nothing);

const STATUS: &str = "/api/v1/policies/runner/status";

fn settings(vigil: &Vigil, policy: &Value) {
    call(vigil, "PUT", "/api/v1/settings", &json!({"settings": {"policy": policy}})).expect(200);
}

fn the_status_tells_the_truth(options: Options) {
    let vigil = Vigil::start(options.config("[policies]\ntick = \"1s\"\n"));
    heat(&vigil, "h", 1.0);
    make(&vigil, "p", json!({}));
    let status = vigil.wait_json(STATUS, Duration::from_secs(10), |status| {
        status["runner"]["evaluated"].as_i64().is_some_and(|count| count > 0)
    });
    let runner = &status["runner"];
    assert_eq!(status["ok"], true);
    for (member, expected) in [
        ("enabled", json!(true)),
        ("running", json!(true)),
        ("interval_seconds", json!(1)),
        ("batch_size", json!(100)),
    ] {
        assert_eq!(runner[member], expected, "{member} of {runner}");
    }
    assert!(runner["last_run_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{runner}");
    assert!(runner["last_duration_ms"].as_f64().is_some_and(|took| took > 0.0), "{runner}");
    assert!(runner["leader"].as_str().is_some_and(|node| !node.is_empty()), "{runner}");
    settings(&vigil, &json!({"enabled": false, "interval": 2.5, "batch_size": 7}));
    let now = vigil.get_json(STATUS)["runner"].clone();
    assert_eq!((&now["enabled"], &now["running"]), (&json!(false), &json!(false)), "{now}");
    assert_eq!((&now["interval_seconds"], &now["batch_size"]), (&json!(2.5), &json!(7)), "{now}");
    std::thread::sleep(Duration::from_millis(700));
    let stopped = vigil.get_json(STATUS)["runner"]["last_run_at"].clone();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(vigil.get_json(STATUS)["runner"]["last_run_at"], stopped, "it does not run any more");
    settings(&vigil, &json!({"enabled": true, "interval": 1}));
    vigil.wait_json(STATUS, Duration::from_secs(5), |status| status["runner"]["last_run_at"] != stopped);
}

/// The seed's defects 8 and 9: blind after silence; a new action at every round.
fn it_sees_what_no_event_shows(options: Options) {
    let vigil = Vigil::start(options.config("[policies]\ntick = \"300ms\"\n"));
    // A sample that no policy reads, then many rounds of silence.
    heat(&vigil, "h", 95.0);
    std::thread::sleep(Duration::from_secs(4));
    make(&vigil, "late", json!({"auto_remediate": true}));
    wait_until(Duration::from_millis(1_500), "the scheduled evaluation to act", || {
        vigil.get_json("/api/v1/actions")["total"] == 1
    });
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(vigil.get_json("/api/v1/actions")["total"], 1, "one sample, a dozen rounds: one action");
    let violations = vigil.metric("vigil_policy_violations_total{policy_name=\"late\"}");
    assert!(violations == 0.0, "rounds are no violating events: {violations}");
}

/// The seed's defect 11.
fn a_chatty_metric_hides_nothing(options: Options) {
    let vigil = Vigil::start(options.config("[policies]\ntick = \"300ms\"\n"));
    settings(&vigil, &json!({"batch_size": 1, "interval": 1}));
    heat(&vigil, "quiet", 95.0);
    let chatter: Vec<Value> = (0..10_000)
        .map(|at| json!({"name": "chatter", "value": at, "tags": {"host": format!("c{}", at % 50)}}))
        .collect();
    vigil.post("/api/v1/ingest", &json!(chatter)).expect(201);
    make(&vigil, "p", json!({"auto_remediate": true}));
    wait_until(Duration::from_secs(5), "the quiet one to be seen", || {
        vigil.get_json("/api/v1/actions?target=quiet")["total"] == 1
    });
}

/// The seed's defect 27: actions out of nothing.
#[test]
fn an_idle_server_does_nothing() {
    let vigil = Vigil::start(limitless().config("[policies]\ntick = \"200ms\"\n"));
    make(&vigil, "p", json!({"auto_remediate": true}));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(vigil.get_json("/api/v1/actions")["total"], 0);
    assert_eq!(vigil.get_json("/api/v1/queue/status")["tasks_enqueued"], 0);
}
