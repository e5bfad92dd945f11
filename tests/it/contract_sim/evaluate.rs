//! `POST /api/v1/policies/evaluate`: asked, answered, nothing done.

use std::time::Duration;

use serde_json::{Value, json};

use super::{below, exceeds, fault, make, on_both, post};
use crate::support::{CountingTarget, Options, Request, Vigil};

const PATH: &str = "/api/v1/policies/evaluate";

#[test]
fn evaluate_answers_and_does_nothing() {
    on_both(answers);
}

fn answers(target: &CountingTarget, options: Options) {
    let vigil = Vigil::start(options);
    make(
        &vigil,
        "hot",
        exceeds("cpu", 90.0),
        json!({"target": "web-*", "params": {"graceful": true}, "description": "d"}),
    );
    make(&vigil, "watched", below("disk", 5.0), json!({"auto_remediate": false, "severity": "critical"}));
    make(&vigil, "off", exceeds("cpu", 0.0), json!({"enabled": false}));
    let both = json!({"type": "all", "conditions": [exceeds("cpu", 80.0), exceeds("mem", 80.0)]});
    // `for` and a budget of none are guardrails: they do not count here.
    make(&vigil, "both", both, json!({"guardrails": {"for": "1h", "max_actions": 0}}));
    let cel = json!({"type": "cel", "expression": "metric.name == \"cpu\" && metric.value > 99.0"});
    make(&vigil, "cel", cel, json!({"target": "web-1"}));

    for (body, violated, acting) in [
        (json!({"metrics": {}}), vec![], vec![]),
        (json!({"metrics": {"cpu": 95}}), vec!["hot"], vec!["hot"]),
        (json!({"metrics": {"cpu": 100, "mem": 81}}), vec!["hot", "both", "cel"], vec!["hot", "both", "cel"]),
        (json!({"metrics": {"cpu": 95}, "target": "web-1"}), vec!["hot"], vec!["hot"]),
        (json!({"metrics": {"cpu": 100}, "target": "web-2"}), vec!["hot"], vec!["hot"]),
        (json!({"metrics": {"cpu": 95}, "target": "db"}), vec![], vec![]),
        (json!({"metrics": {"disk": 1.5}, "target": null}), vec!["watched"], vec![]),
        (json!({"metrics": {"cpu": "95", "mem": true, "disk": null}}), vec![], vec![]),
    ] {
        let answer = vigil.post(PATH, &body).expect(200).json();
        let names = |list: &str| -> Vec<String> {
            let list = answer[list].as_array().unwrap();
            list.iter().map(|entry| entry["policy_name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("violations"), violated, "{body}: {answer}");
        assert_eq!(names("actions_triggered"), acting, "{body}: {answer}");
        assert_eq!(answer["ok"], true, "{answer}");
        for action in answer["actions_triggered"].as_array().unwrap() {
            assert_eq!(
                (&action["status"], &action["action_id"]),
                (&json!("dry_run"), &Value::Null),
                "{answer}"
            );
            assert_eq!(action["params"]["metrics"], body["metrics"], "{answer}");
        }
    }
    shapes(&vigil);
    refused(&vigil);

    // What was asked has left no trace, also after the scheduled evaluation has run.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(target.count(), 0, "nothing was called");
    assert_eq!(vigil.get_json("/api/v1/actions")["total"], 0);
    for simulated in ["false", "true"] {
        let incidents = vigil.get_json(&format!("/api/v1/incidents?simulated={simulated}"));
        assert_eq!(incidents["count"], 0, "{incidents}");
    }
    let answer = post(&vigil, "mem", "web-1", 81.0);
    assert_eq!(answer["violations"], json!([]), "no value that was only asked about is seen: {answer}");
}

fn shapes(vigil: &Vigil) {
    let answer = vigil.post(PATH, &json!({"metrics": {"cpu": 95, "x": "y"}, "more": 1})).expect(200).json();
    let violation = &answer["violations"][0];
    assert_eq!(violation["target"], "all", "without a target: {answer}");
    assert_eq!(answer["actions_triggered"][0]["target"], "web-*", "the policy's own pattern: {answer}");
    assert_eq!(answer["actions_triggered"][0]["params"]["graceful"], true, "{answer}");
    for (member, expected) in [("severity", "warning"), ("description", "d"), ("action", "restart")] {
        assert_eq!(violation[member], expected, "{answer}");
    }
    assert_eq!(violation["timestamp"], answer["timestamp"], "{answer}");
    assert_eq!(violation["triggered_at"], answer["timestamp"], "{answer}");
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("`x`") && warnings.contains("`more`"), "{answer}");
    // A policy made a moment ago is asked, one disabled a moment ago is not.
    make(vigil, "fresh", exceeds("fresh", 1.0), json!({}));
    let ask = || vigil.post(PATH, &json!({"metrics": {"fresh": 2}})).expect(200).json()["violations"].clone();
    assert_eq!(ask()[0]["policy_name"], "fresh");
    vigil.send(&Request::new("PUT", "/api/v1/policies/fresh/disable")).expect(200);
    assert_eq!(ask(), json!([]));
}

fn refused(vigil: &Vigil) {
    for (body, kind, loc) in [
        ("", "missing", "body"),
        ("[]", "model_attributes_type", "body"),
        ("{", "json_invalid", "body.1"),
        ("{}", "missing", "body.metrics"),
        (r#"{"metrics": null}"#, "dict_type", "body.metrics"),
        (r#"{"metrics": [1]}"#, "dict_type", "body.metrics"),
        (r#"{"metrics": {"cpu": NaN}}"#, "json_invalid", "body.20"),
        (r#"{"metrics": {"cpu": 1e400}}"#, "json_invalid", "body.20"),
        (r#"{"metrics": {}, "target": 7}"#, "string_type", "body.target"),
        (r#"{"metrics": {}, "target": "a\u0007"}"#, "value_error", "body.target"),
    ] {
        let request = Request::new("POST", PATH).header("Content-Type", "application/json").body(body);
        let (found, place) = fault(&vigil.send(&request).expect(422).json());
        assert_eq!(found, kind, "{body}");
        assert!(place.starts_with(loc.trim_end_matches(".20").trim_end_matches(".1")), "{body}: {place}");
    }
}
