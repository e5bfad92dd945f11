//! What is simulated and what is real under one name never meet.

use std::time::Duration;

use serde_json::json;

use super::{exceeds, make, on_both, post};
use crate::support::{CountingTarget, Options, Request, Vigil, wait_until};

#[test]
fn the_real_target_of_a_simulated_name_is_untouched() {
    on_both(untouched);
}

fn untouched(target: &CountingTarget, options: Options) {
    let mut vigil = Vigil::start(options);
    // Two actions in ten minutes: simulated ones must not use them up.
    let rails = json!({"guardrails": {"max_actions": 2, "blast_radius": {"max": 10}}});
    make(&vigil, "hot", exceeds("cpu_usage", -1.0), rails);
    let both = json!({"type": "all", "conditions": [exceeds("memory_usage", -1.0), exceeds("beat", -1.0)]});
    make(&vigil, "both", both, json!({}));
    let run = json!({"rate": 6000, "failure_percent": 0, "timeout_percent": 0, "malformed_percent": 0});
    vigil.post("/api/v1/simulator/start", &run).expect(200);
    let limit = Duration::from_secs(20);
    vigil.wait_json("/api/v1/simulator/status", limit, |status| {
        status["events_succeeded"].as_u64() >= Some(80)
    });
    vigil.send(&Request::new("POST", "/api/v1/simulator/stop")).expect(200);
    let simulated = vigil.get_json("/api/v1/incidents?simulated=true&policy=hot")["incidents"].clone();
    assert!(simulated.as_array().unwrap().len() >= 3, "most services have one: {simulated}");

    for round in ["before a restart", "after it"] {
        // The simulator sent memory_usage for all four services; the real ones have none.
        let answer = post(&vigil, "beat", "web", 1.0);
        assert_eq!(answer["violations"], json!([]), "{round}: {answer}");
        vigil.restart();
    }
    // Real events of the same names act at once: no incident, cooldown, budget or slot is in their way.
    for service in ["web", "db"] {
        let answer = post(&vigil, "cpu_usage", service, 50.0);
        assert_eq!(answer["violations"][0]["decision"], "act", "{answer}");
    }
    let answer = post(&vigil, "cpu_usage", "api", 50.0);
    assert_eq!(answer["violations"][0]["decision"], "budget", "the third real one: {answer}");
    wait_until(Duration::from_secs(30), "two calls", || target.count() == 2);
    let real = vigil.get_json("/api/v1/incidents")["incidents"].clone();
    assert_eq!(real.as_array().unwrap().len(), 3, "{real}");
    assert!(real.as_array().unwrap().iter().all(|one| one["simulated"] == false), "{real}");

    // The mark is not for clients: the simulator's own tags make an event no less real.
    let tags = json!({"service": "web-9", "simulator": "true", "environment": "test"});
    let event =
        json!({"name": "cpu_usage", "value": 50, "tags": tags, "simulated": true, "mark": "simulated"});
    let answer = vigil.post("/api/v1/ingest", &event).expect(201).json();
    let incident = &answer["violations"][0]["incident_id"];
    assert_eq!(vigil.get_json(&format!("/api/v1/incidents/{incident}"))["simulated"], false, "{answer}");
}

#[test]
fn an_incident_may_close_and_open_again_within_one_batch() {
    on_both(again);
}

fn again(_: &CountingTarget, options: Options) {
    let vigil = Vigil::start(options);
    make(&vigil, "hot", exceeds("cpu", 90.0), json!({"auto_remediate": false}));
    let first = post(&vigil, "cpu", "web", 95.0)["violations"][0]["incident_id"].clone();
    let event = |value: i32| json!({"name": "cpu", "value": value, "tags": {"service": "web"}});
    let answer =
        vigil.post("/api/v1/ingest", &json!([event(10), event(96), event(11), event(97)])).expect(201).json();
    let opened: Vec<_> =
        answer["violations"].as_array().unwrap().iter().map(|v| v["incident_id"].clone()).collect();
    assert_eq!(opened.len(), 2, "{answer}");
    let states: Vec<_> = std::iter::once(&first)
        .chain(&opened)
        .map(|id| vigil.get_json(&format!("/api/v1/incidents/{id}"))["state"].clone())
        .collect();
    assert_eq!(states, [json!("healed"), json!("healed"), json!("open")], "{answer}");
}
