//! The three texts of the old README, end to end: its example policy, its example event, and its demo's story.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{limitless, on_both, violated};
use crate::support::{CountingTarget, Options, Vigil, temp_dir};

on_both!(the_example_policy_heals, the_sample_file_heals_both_stories);

/// A plugin for `scale-up`: the webhook, told so by a route.
fn with_target(options: Options, target: &CountingTarget, more: &str) -> Options {
    options.config(format!(
        "{more}\n[connections.webhook]\nurl = \"{}\"\nallow = [\"POST /**\", \"POST /\"]\n[[routes]]\naction = \"scale-up\"\ntarget = \"*\"\nplugin = \"webhook\"\nplugin_action = \"custom\"\n",
        target.url()
    ))
}

#[track_caller]
fn ended(vigil: &Vigil, answer: &Value) -> Value {
    let id =
        answer["actions_triggered"][0]["action_id"].as_i64().unwrap_or_else(|| panic!("no action: {answer}"));
    vigil.wait_json(&format!("/api/v1/actions/{id}"), Duration::from_secs(30), |action| {
        !["pending", "running"].contains(&action["status"].as_str().unwrap_or(""))
    })
}

fn the_example_policy_heals(options: Options) {
    let target = CountingTarget::start();
    let vigil = Vigil::start(with_target(options, &target, ""));
    let example = json!({"name": "high-cpu-alert", "description": "Scale up when CPU exceeds 90%", "severity": "warning",
        "target": "web-*", "enabled": true, "auto_remediate": true,
        "condition": {"type": "metric_exceeds", "metric": "cpu_percent", "threshold": 90},
        "action": "scale-up", "params": {"replicas": 2}});
    vigil.post("/api/v1/policies", &example).expect(201);
    let event = json!({"name": "cpu_percent", "value": 95, "tags": {"host": "web-01"}});
    let answer = vigil.post("/api/v1/ingest", &event).expect(201).json();
    assert_eq!((&answer["ok"], &answer["status"]), (&json!(true), &json!("stored")), "{answer}");
    assert_eq!(violated(&answer), ["high-cpu-alert"], "{answer}");
    let action = ended(&vigil, &answer);
    assert_eq!((&action["status"], &action["action"]), (&json!("completed"), &json!("scale-up")), "{action}");
    assert_eq!(vigil.get_json("/api/v1/actions")["total"], 1);
    assert_eq!(target.count(), 1);
    assert!(vigil.metric("vigil_policy_violations_total{policy_name=\"high-cpu-alert\"}") > 0.5);
}

fn the_sample_file_heals_both_stories(options: Options) {
    let target = CountingTarget::start();
    let dir = temp_dir();
    let file = dir.path().join("policies.yaml");
    fs::write(&file, include_str!("../../../host/deploy/samples/policies.yaml")).unwrap();
    let paths = format!("[policies]\npaths = {}", json!([file]));
    let vigil = Vigil::start(with_target(options, &target, &paths));
    crate::stage::fleet(&vigil, "web-of-many-", 60);
    // The ingest example posts 87.5, the demo's story 92; both expect the policy that reads cpu_percent.
    for (host, value) in [("web-01", 87.5), ("web-02", 92.0)] {
        let event = json!({"name": "cpu_usage", "value": value, "tags": {"host": host, "region": "us-east"}});
        let answer = vigil.post("/api/v1/ingest", &event).expect(201).json();
        assert_eq!(violated(&answer), ["high-cpu-alert"], "{value}: {answer}");
        let action = ended(&vigil, &answer);
        assert_eq!(action["status"], "completed", "{action}");
        assert_eq!(action["params"], json!({"replicas": 2, "increment": 1}), "{action}");
    }
    assert_eq!(target.count(), 2);
    let listing = vigil.get_json("/api/v1/policies");
    assert_eq!((&listing["total"], &listing["enabled_count"]), (&json!(6), &json!(5)), "{listing}");
    assert_eq!(listing["policies"]["pod-drain-required"]["enabled"], false);
}

#[test]
fn a_fresh_server_has_no_policies() {
    let vigil = Vigil::start(limitless());
    assert_eq!(vigil.get_json("/api/v1/policies")["total"], 0);
}
