//! The simulator's routes, under both prefixes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{exceeds, fault, make, on_both};
use crate::support::{CountingTarget, Options, Request, Vigil};

const PREFIXES: [&str; 2] = ["/api/v1/simulator", "/api/v1/ui/simulator"];
const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_simulator_runs_and_is_counted() {
    on_both(runs);
}

fn start(vigil: &Vigil, prefix: &str, body: &Value) -> Value {
    vigil.post(&format!("{prefix}/start"), body).expect(200).json()
}

fn stop(vigil: &Vigil) -> Value {
    vigil.send(&Request::new("POST", "/api/v1/simulator/stop")).expect(200).json()
}

fn runs(target: &CountingTarget, options: Options) {
    let vigil = Vigil::start(options);
    // Every value violates it.
    make(&vigil, "any", exceeds("cpu_usage", -1.0), json!({"target": "*"}));
    idle(&vigil);
    all_fail(&vigil);
    all_succeed(&vigil, target);
    all_late(&vigil);
    keeps_the_rate(&vigil);
    refused(&vigil);
}

fn idle(vigil: &Vigil) {
    for prefix in PREFIXES {
        let status = vigil.get_json(&format!("{prefix}/status"));
        let expected = json!({"running": false, "rate": 100, "mode": "steady", "events_generated": 0,
            "events_succeeded": 0, "events_failed": 0, "events_rate_limited": 0, "events_timeout": 0,
            "events_malformed": 0, "started_at": null, "last_event_at": null, "uptime_seconds": 0.0});
        assert_eq!(status, expected);
        let health = vigil.get_json(&format!("{prefix}/health"));
        let expected = json!({"status": "healthy", "service": "simulator", "running": false,
            "environment": "development", "production_blocked": false});
        assert_eq!(health, expected);
        let answer = vigil.send(&Request::new("POST", &format!("{prefix}/stop"))).expect(200).json();
        assert_eq!((&answer["ok"], &answer["running"]), (&json!(true), &json!(false)), "{answer}");
        let summary = answer["summary"].as_object().unwrap();
        assert_eq!(summary.len(), 9, "{answer}");
        assert!(summary.values().all(|value| value.as_f64() == Some(0.0)), "zeros where none ran: {answer}");
    }
}

/// The numbers of a run add up.
fn summary(answer: &Value) -> (u64, impl Fn(&str) -> u64 + use<>) {
    assert_eq!((&answer["ok"], &answer["running"]), (&json!(true), &json!(false)), "{answer}");
    let summary = answer["summary"].clone();
    let count = move |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} of {summary}"));
    let total = count("total_events");
    let parts = ["succeeded", "failed", "timeout", "malformed", "rate_limited"];
    assert_eq!(parts.iter().map(|part| count(&format!("events_{part}"))).sum::<u64>(), total, "{answer}");
    (total, count)
}

fn all_fail(vigil: &Vigil) {
    let began = start(vigil, PREFIXES[1], &json!({"rate": 6000, "failure_percent": 100}));
    let expected = json!({"rate": 6000, "mode": "steady", "failure_percent": 100.0, "timeout_percent": 2.0,
        "malformed_percent": 1.0});
    assert_eq!((&began["running"], &began["configuration"]), (&json!(true), &expected), "{began}");
    // A second start says so and changes nothing.
    let again = start(vigil, PREFIXES[0], &json!({"rate": 1, "mode": "chaos"}));
    assert_eq!(again["configuration"], expected, "{again}");
    assert!(again["message"].as_str().unwrap().contains("already"), "{again}");
    assert_eq!(vigil.get_json("/api/v1/simulator/health")["running"], true);
    let status = vigil.wait_json("/api/v1/ui/simulator/status", LONG, |status| {
        status["events_failed"].as_u64() >= Some(40)
    });
    assert_eq!((&status["running"], &status["rate"]), (&json!(true), &json!(6000)), "{status}");
    assert!(status["started_at"].is_string() && status["last_event_at"].is_string(), "{status}");
    let (total, count) = summary(&stop(vigil));
    assert!(total >= 40 && count("events_succeeded") == 0, "all of {total} fail");
    assert!(count("events_failed") * 10 > total * 8, "most of them as asked");
    assert_eq!(vigil.metric("ingest_total{metric_name=\"cpu_usage\"}"), 0.0, "and nothing is stored");
}

fn all_succeed(vigil: &Vigil, target: &CountingTarget) {
    let body =
        json!({"rate": "6000", "mode": "chaos", "failure_rate": 0, "timeout_rate": 0, "malformed_rate": 0});
    start(vigil, PREFIXES[0], &body);
    vigil.wait_json("/api/v1/simulator/status", LONG, |status| {
        status["events_succeeded"].as_u64() >= Some(60)
    });
    let answer = stop(vigil);
    let (total, count) = summary(&answer);
    assert_eq!(count("events_succeeded"), total, "{answer}");
    assert_eq!(answer["summary"]["success_rate"], 100.0, "{answer}");
    let counted: f64 = ["cpu_usage", "memory_usage", "disk_usage", "request_latency", "error_rate"]
        .iter()
        .map(|name| vigil.metric(&format!("ingest_total{{metric_name=\"{name}\"}}")))
        .sum();
    assert!((counted - total as f64).abs() < 0.5, "{counted} counted, {answer}");
    assert!(vigil.metric("vigil_policy_violations_total{policy_name=\"any\"}") > 0.0);
    let incidents = vigil.get_json("/api/v1/incidents?simulated=true");
    let found = incidents["incidents"].as_array().unwrap();
    assert!((1..=4).contains(&found.len()), "one per service: {incidents}");
    assert!(found.iter().all(|one| one["simulated"] == true && one["policy_name"] == "any"), "{incidents}");
    assert_eq!(vigil.get_json("/api/v1/incidents")["count"], 0, "none of them is real");
    let actions = vigil.get_json("/api/v1/actions");
    let list = actions["actions"].as_array().unwrap();
    assert_eq!(list.len(), found.len(), "the cooldown holds for simulated actions, too: {actions}");
    assert!(list.iter().all(|one| one["simulated"] == true && one["status"] == "completed"), "{actions}");
    assert_eq!(target.count(), 0, "nothing was called");
    let why = vigil.get_json(&format!("/api/v1/incidents/{}/why", found[0]["id"]));
    assert_eq!(why["event"]["tags"]["simulator"], "true", "{why}");
}

fn all_late(vigil: &Vigil) {
    start(
        vigil,
        PREFIXES[0],
        &json!({"rate": 6000, "mode": "burst", "failure_percent": 0, "timeout_percent": 100, "malformed_percent": 0}),
    );
    let status = vigil
        .wait_json("/api/v1/simulator/status", LONG, |status| status["events_timeout"].as_u64() > Some(0));
    assert!(
        status["events_generated"].as_u64() >= Some(50),
        "late events are waited for side by side: {status}"
    );
    let (total, count) = summary(&stop(vigil));
    assert_eq!(count("events_timeout"), total);
}

fn keeps_the_rate(vigil: &Vigil) {
    start(
        vigil,
        PREFIXES[0],
        &json!({"rate": 3000, "failure_percent": 0, "timeout_percent": 0, "malformed_percent": 100}),
    );
    std::thread::sleep(Duration::from_secs(2));
    let answer = stop(vigil);
    let (total, count) = summary(&answer);
    assert_eq!(count("events_malformed"), total, "{answer}");
    let rate = answer["summary"]["actual_rate"].as_f64().unwrap();
    assert!((2_700.0..=3_100.0).contains(&rate), "3000 a minute were asked for: {answer}");
}

fn refused(vigil: &Vigil) {
    let path = "/api/v1/simulator/start";
    for (body, kind, loc) in [
        (json!({"rate": 0}), "greater_than_equal", "rate"),
        (json!({"rate": 10_001}), "less_than_equal", "rate"),
        (json!({"rate": "fast"}), "int_parsing", "rate"),
        (json!({"rate": 1.5}), "int_type", "rate"),
        (json!({"rate": [1]}), "int_type", "rate"),
        (json!({"mode": "wild"}), "enum", "mode"),
        (json!({"mode": 1}), "enum", "mode"),
        (json!({"failure_percent": -1}), "greater_than_equal", "failure_percent"),
        (json!({"timeout_percent": 100.5}), "less_than_equal", "timeout_percent"),
        (json!({"malformed_rate": "NaN"}), "finite_number", "malformed_rate"),
        (json!({"malformed_percent": {}}), "float_type", "malformed_percent"),
        (json!({"failure_percent": 5, "failure_rate": []}), "float_type", "failure_rate"),
    ] {
        let answer = vigil.post(path, &body).expect(422).json();
        assert_eq!(fault(&answer), (kind.to_owned(), format!("body.{loc}")), "{body}: {answer}");
    }
    let missing = vigil.send(&Request::new("POST", &format!("{path}?rate=5"))).expect(422).json();
    assert_eq!(fault(&missing), ("missing".into(), "body".into()), "a query is no body");
    assert_eq!(vigil.get_json("/api/v1/simulator/status")["running"], false, "none of these started it");
}

#[test]
fn a_running_simulator_ends_with_the_server() {
    let target = CountingTarget::start();
    let mut vigil = Vigil::start(super::served(&target));
    start(&vigil, PREFIXES[0], &json!({"rate": 10_000, "mode": "ramp", "timeout_percent": 50}));
    vigil.wait_json("/api/v1/simulator/status", LONG, |status| {
        status["events_succeeded"].as_u64() >= Some(20)
    });
    let asked = std::time::Instant::now();
    assert!(vigil.sigterm().success(), "{}", vigil.log());
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert!(!vigil.log().contains("left behind"), "{}", vigil.log());
}
