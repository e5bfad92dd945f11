//! The life of a policy over HTTP, with either database.

use serde_json::{Value, json};

use super::{cpu, decided, make, policy, put};
use crate::support::{Options, Postgres, Request, Vigil};

fn names(listing: &Value) -> Vec<&str> {
    listing["policies"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// Names in the order in which they stand in the body: a JSON object read into a map would sort them.
fn order(body: &str, candidates: &[&str]) -> Vec<String> {
    let mut places: Vec<(usize, String)> = candidates
        .iter()
        .map(|name| (body.find(&format!("\"{name}\":{{")).unwrap_or(usize::MAX), (*name).to_owned()))
        .collect();
    places.sort();
    places.into_iter().map(|(_, name)| name).collect()
}

fn life(options: Options) {
    let mut vigil = Vigil::start(options);
    assert_eq!(vigil.get_json("/api/v1/policies")["total"], 0, "a fresh server has no policies");
    let made = make(
        &vigil,
        "hot",
        json!({"description": "d", "severity": "critical", "params": {"graceful": true}}),
    );
    for (member, expected) in [
        ("name", json!("hot")),
        ("severity", json!("critical")),
        ("target", json!("web-*")),
        ("enabled", json!(true)),
        ("auto_remediate", json!(false)),
        ("mode", json!("observe")),
        ("params", json!({"graceful": true})),
        ("condition", policy("hot", json!({}))["condition"].clone()),
        ("action", json!("restart")),
        ("version", json!(1)),
        ("source", json!("api")),
        ("cel", json!("highest(\"cpu\") > 90.0")),
    ] {
        assert_eq!(made[member], expected, "{member} of {made}");
    }
    make(&vigil, "alpha", json!({"severity": "info", "enabled": false}));
    make(&vigil, "zeta", json!({"auto_remediate": true}));
    listed(&vigil);
    changed(&vigil);
    switched(&vigil);

    let before = vigil.get_json("/api/v1/policies");
    vigil.restart();
    assert_eq!(vigil.get_json("/api/v1/policies"), before, "policies outlive a restart");
    assert_eq!(decided(&cpu(&vigil, "web-01", 95.0)), [("hot", "observe")], "and are in force after it");

    removed(&vigil);
    vigil.kill9();
    vigil.start_again();
    assert_eq!(names(&vigil.get_json("/api/v1/policies")), ["alpha", "zeta"], "a removal outlives a crash");
}

fn listed(vigil: &Vigil) {
    let body = vigil.get("/api/v1/policies").expect(200);
    let all = ["alpha", "hot", "zeta"];
    assert_eq!(order(&body.text(), &all), ["hot", "alpha", "zeta"], "in the order of registration");
    let listing = body.json();
    assert_eq!((&listing["total"], &listing["enabled_count"]), (&json!(3), &json!(2)), "{listing}");
    for (severity, expected) in
        [("critical", vec!["hot"]), ("info", vec!["alpha"]), ("warning", vec!["zeta"])]
    {
        let listing = vigil.get_json(&format!("/api/v1/policies/severity/{severity}"));
        assert_eq!((names(&listing), &listing["total"]), (expected, &json!(1)), "severity {severity}");
    }
    let refused = vigil.get("/api/v1/policies/severity/fatal").expect(400).text();
    assert!(["info", "warning", "critical"].iter().all(|word| refused.contains(word)), "{refused}");
    assert_eq!(vigil.get_json("/api/v1/policies/hot")["name"], "hot", "one by its name");
}

fn changed(vigil: &Vigil) {
    let path = "/api/v1/policies/hot";
    let nothing =
        json!({"description": null, "severity": null, "target": null, "enabled": null, "params": null});
    let before = vigil.get_json(path);
    let same = put(vigil, path, &nothing).expect(200).json();
    for member in ["description", "severity", "target", "enabled", "params", "condition", "action"] {
        assert_eq!(same[member], before[member], "null leaves {member}");
    }
    let change = json!({"description": "e", "params": {"timeout": 5}, "auto_remediate": true});
    let now = put(vigil, path, &change).expect(200).json();
    assert_eq!(now["params"], json!({"timeout": 5}), "params are replaced as a whole");
    assert_eq!(
        (&now["description"], &now["mode"], &now["severity"]),
        (&json!("e"), &json!("auto"), &json!("critical"))
    );
    assert!(now["version"].as_i64() > before["version"].as_i64(), "a change is a version: {now}");
    let kept = json!({"action": "scale-up", "condition": {"type": "any", "conditions": []}, "auto_remediate": false});
    let warned = put(vigil, path, &kept).expect(200).json();
    assert_eq!(
        (&warned["action"], &warned["condition"]),
        (&json!("restart"), &before["condition"]),
        "not by this route"
    );
    let warnings = warned["warnings"].to_string();
    assert!(warnings.contains("`action`") && warnings.contains("`condition`"), "both are named: {warnings}");
    let whole = policy("other", json!({"action": "restart-service", "description": "whole"}));
    let replaced = put(vigil, "/api/v1/policies/hot?replace=true", &whole).expect(200).json();
    let expected = (json!("hot"), json!("restart-service"), json!("warning"), json!({}));
    let found = (&replaced["name"], &replaced["action"], &replaced["severity"], &replaced["params"]);
    assert_eq!(
        found,
        (&expected.0, &expected.1, &expected.2, &expected.3),
        "replaced as a whole: {replaced}"
    );
    put(vigil, "/api/v1/policies/none", &json!({"description": "x"})).expect(404);
}

fn switched(vigil: &Vigil) {
    for (verb, violations) in [("disable", vec![]), ("disable", vec![]), ("enable", vec![("hot", "observe")])]
    {
        let answer = put(vigil, &format!("/api/v1/policies/hot/{verb}"), &json!({})).expect(200).json();
        assert_eq!(answer["message"], format!("Policy 'hot' {verb}d"), "{answer}");
        assert_eq!(decided(&cpu(vigil, "web-sw", 91.0)), violations, "after {verb}");
        // A policy that acts would change what the next round sees.
        put(vigil, "/api/v1/policies/zeta/disable", &json!({})).expect(200);
    }
    for verb in ["enable", "disable"] {
        put(vigil, &format!("/api/v1/policies/none/{verb}"), &json!({})).expect(404);
    }
}

fn removed(vigil: &Vigil) {
    let path = "/api/v1/policies/hot";
    let answer = vigil.send(&Request::new("DELETE", path)).expect(200).json();
    assert_eq!(answer["message"], "Policy 'hot' deleted", "{answer}");
    assert_eq!(vigil.get(path).expect(404).json()["detail"], "Policy 'hot' not found");
    vigil.send(&Request::new("DELETE", path)).expect(404);
    assert_eq!(decided(&cpu(vigil, "web-01", 99.0)), [], "a deleted policy decides nothing");
}

#[test]
fn a_policy_lives_on_sqlite() {
    life(Options::default());
}

#[test]
fn a_policy_lives_on_postgres() {
    life(Options::default().database(Postgres::shared().database()));
}

#[test]
fn a_name_is_free_again_once_it_is_deleted() {
    let vigil = Vigil::start(Options::default());
    make(&vigil, "p", json!({}));
    let opened = cpu(&vigil, "web-01", 95.0)["violations"][0]["incident_id"].clone();
    vigil.send(&Request::new("DELETE", "/api/v1/policies/p")).expect(200);
    let again = make(&vigil, "p", json!({}));
    assert_eq!(again["version"], 1, "it is another policy: {again}");
    let second = cpu(&vigil, "web-01", 95.0)["violations"][0]["incident_id"].clone();
    assert_ne!(second, opened, "and has incidents of its own");
}
