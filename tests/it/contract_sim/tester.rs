//! The policy tester: every type of condition, and no trace on what is real.

use serde_json::{Value, json};

use super::{below, exceeds, fault, make, on_both, post};
use crate::support::{CountingTarget, Options, Vigil};

const INJECT: &str = "/api/v1/policy-tester/inject";

#[test]
fn every_type_of_condition_can_be_previewed_and_injected() {
    on_both(every_type);
}

fn preview(vigil: &Vigil, policy: &str) -> Value {
    vigil.get(&format!("/api/v1/policy-tester/policy/{policy}/preview")).expect(200).json()
}

fn inject(vigil: &Vigil, policy: &str) -> Value {
    vigil.post(INJECT, &json!({"policy_id": policy})).expect(200).json()
}

fn every_type(target: &CountingTarget, options: Options) {
    let mut vigil = Vigil::start(options);
    let nested = |kind: &str| {
        let inner = json!({"type": "any", "conditions": [below("disk", 5.0), exceeds("io", -20.0)]});
        json!({"type": kind, "conditions": [exceeds("cpu", 80.0), inner]})
    };
    let cel = |text: &str| json!({"type": "cel", "expression": text});
    let all = json!({"cpu": 89.0, "disk": 3.5, "io": -18.0});
    for (at, (condition, name, payload, violates)) in [
        (exceeds("cpu", 90.0), "over", json!({"cpu": 100.0}), true),
        (exceeds("cpu", 0.0), "over-zero", json!({"cpu": 1.0}), true),
        (exceeds("cpu", -20.0), "over-negative", json!({"cpu": -18.0}), true),
        (below("disk", 5.0), "under", json!({"disk": 3.5}), true),
        (below("disk", 0.0), "under-zero", json!({"disk": -1.0}), true),
        (below("disk", -3.0), "under-negative", json!({"disk": -4.0}), true),
        (nested("all"), "every", all.clone(), true),
        (nested("any"), "some", all, true),
        (cel("last(\"cpu_percent\") > 90.0"), "cel-cpu", json!({"cpu_percent": 95.0}), true),
        (cel("last(\"depth\") > 90.0"), "cel-unknown", json!({"test_metric": 100.0}), false),
        (json!({"type": "any", "conditions": []}), "none-mem", json!({"memory_percent": 90.0}), false),
    ]
    .into_iter()
    .enumerate()
    {
        let pattern = ["web-*", "all", "db-1"][at % 3];
        make(&vigil, name, condition.clone(), json!({"target": pattern, "params": {"n": 1}}));
        let seen = preview(&vigil, name);
        assert_eq!((&seen["policy_id"], &seen["generated_payload"]), (&json!(name), &payload), "{seen}");
        assert_eq!(seen["would_violate"], violates, "{seen}");
        assert_eq!(seen["policy_info"]["condition"], condition, "{seen}");
        let analysis = &seen["condition_analysis"];
        for member in ["type", "metric", "threshold"] {
            let expected = condition[member].as_f64().map_or_else(|| condition[member].clone(), |t| json!(t));
            assert_eq!(analysis[member], expected, "{seen}");
        }
        let parts = condition["conditions"].as_array().cloned().unwrap_or_default();
        assert_eq!(analysis["conditions"], json!(parts), "{seen}");
        // Twice: a test does not depend on the tests before it.
        for _ in 0..2 {
            let came = inject(&vigil, name);
            assert_eq!((&came["policy_id"], &came["metric_payload"]), (&json!(name), &payload), "{came}");
            assert_eq!(came["action_triggered"], violates, "{came}");
            let id = came["correlation_id"].as_str().unwrap().strip_prefix("inject-").unwrap();
            assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{came}");
            if violates {
                triggered(&vigil, &came, name, ["web-vigil-test", "vigil-test", "db-1"][at % 3]);
            }
        }
    }
    held_back(&vigil);
    assert_eq!(target.count(), 0, "nothing was called");
    unseen(&mut vigil, target);
    refused(&vigil);
}

fn triggered(vigil: &Vigil, came: &Value, policy: &str, on: &str) {
    let planned = &came["actions"][0];
    assert_eq!((&planned["status"], &planned["target"]), (&json!("planned"), &json!(on)), "{came}");
    assert_eq!((&planned["params"], &planned["policy_name"]), (&json!({"n": 1}), &json!(policy)), "{came}");
    assert_eq!(came["actions"].as_array().unwrap().len(), 1, "{came}");
    assert_eq!(came["violation_details"]["policy_name"], policy, "{came}");
    let action = vigil.get_json(&format!("/api/v1/actions/{}", planned["action_id"]));
    for (member, expected) in [
        ("status", json!("completed")),
        ("simulated", json!(true)),
        ("origin", json!("simulator")),
        ("details", json!("Simulated: would run webhook/custom")),
        ("attempts", json!(0)),
    ] {
        assert_eq!(action[member], expected, "{member} of {action}");
    }
    let incident = &came["violation_details"]["incident_id"];
    let incident = vigil.get_json(&format!("/api/v1/incidents/{incident}"));
    assert_eq!((&incident["simulated"], &incident["target"]), (&json!(true), &json!(on)), "{incident}");
}

/// Policies that would not act say why.
fn held_back(vigil: &Vigil) {
    for (name, more, word) in [
        ("off", json!({"enabled": false}), "disabled"),
        ("watching", json!({"auto_remediate": false}), "observe"),
        ("patient", json!({"guardrails": {"for": "1h"}}), "3600 s"),
        ("broke", json!({"guardrails": {"max_actions": 0}}), "budget"),
    ] {
        make(vigil, name, exceeds("heat", 1.0), more);
        assert_eq!(preview(vigil, name)["would_violate"], true, "{name}");
        let came = inject(vigil, name);
        assert_eq!((&came["action_triggered"], &came["actions"]), (&json!(false), &Value::Null), "{came}");
        assert!(came["message"].as_str().unwrap().contains(word), "{came}");
    }
}

/// Nothing that was injected is seen by what is real: not before a restart, and not after it.
fn unseen(vigil: &mut Vigil, target: &CountingTarget) {
    for _ in 0..2 {
        assert_eq!(vigil.get_json("/api/v1/incidents")["count"], 0, "no real incident");
        vigil.restart();
    }
    // `every` needs cpu and disk of one target; this one has the cpu of injected events only.
    let answer = post(vigil, "disk", "web-vigil-test", 1.0);
    let violated = answer["violations"].as_array().unwrap();
    assert!(violated.iter().all(|violation| violation["policy_name"] != "every"), "{answer}");
    // A real event on the very target of a test acts at once: no cooldown and no incident stands in its way.
    let answer = post(vigil, "cpu", "db-1", -5.0);
    let acted = answer["violations"].as_array().unwrap().iter().filter(|v| v["decision"] == "act").count();
    assert!(acted > 0, "{answer}");
    let id = &answer["actions_triggered"][0]["action_id"];
    let path = format!("/api/v1/actions/{id}");
    let limit = std::time::Duration::from_secs(30);
    let action = vigil.wait_json(&path, limit, |action| action["status"] == "completed");
    assert_eq!((&action["simulated"], &action["origin"]), (&json!(false), &json!("policy")), "{action}");
    assert!(target.count() > 0, "this one was called");
}

fn refused(vigil: &Vigil) {
    for (body, kind, loc) in [
        (json!({}), "missing", "body.policy_id"),
        (json!({"policy_id": ""}), "string_too_short", "body.policy_id"),
        (json!({"policy_id": 7}), "string_type", "body.policy_id"),
        (json!(["over"]), "model_attributes_type", "body"),
    ] {
        let answer = vigil.post(INJECT, &body).expect(422).json();
        assert_eq!(fault(&answer), (kind.to_owned(), loc.to_owned()), "{body}");
    }
    let absent = json!("Policy 'nobody' not found");
    assert_eq!(vigil.post(INJECT, &json!({"policy_id": "nobody"})).expect(404).json()["detail"], absent);
    let answer = vigil.get("/api/v1/policy-tester/policy/nobody/preview").expect(404).json();
    assert_eq!(answer["detail"], absent);
}
