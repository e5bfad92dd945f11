//! Rows 6 to 12 and the paths that share them, as a client sees them.

use serde_json::{Value, json};

use super::{Scene, faults, pairs};
use crate::stage::Setting;
use crate::support::Request;

/// Members that every action has.
const MEMBERS: [&str; 21] = [
    "id",
    "target",
    "action",
    "status",
    "details",
    "error_message",
    "started_at",
    "completed_at",
    "created_at",
    "running_since",
    "origin",
    "policy_name",
    "incident_id",
    "priority",
    "params",
    "attempts",
    "max_attempts",
    "next_attempt_at",
    "verdict",
    "simulated",
    "state",
];

fn made(scene: &Scene) {
    for path in ["/api/v1/actions", "/actions"] {
        let all = json!({"target": " web-01 ", "action": "reboot-rack", "status": "completed", "details": "by hand",
            "queue_immediately": "no", "priority": "high", "params": {"a": [1, null]}, "namespace": "prod"});
        let answer = scene.vigil.post(path, &all).expect(201).json();
        assert_eq!(answer["ok"], true, "{answer}");
        assert_eq!(answer["message"], "Action created successfully", "{answer}");
        assert_eq!((&answer["status"], &answer["queued"]), (&json!("pending"), &json!(false)), "{answer}");
        assert_eq!((&answer["target"], &answer["action_type"]), (&json!("web-01"), &json!("reboot-rack")));
        assert!(answer["created_at"].as_str().unwrap().ends_with('Z'), "{answer}");
        assert!(answer.get("warnings").is_none(), "{answer}");
        let shown = scene.show(answer["action_id"].as_i64().unwrap());
        for member in MEMBERS {
            assert!(shown.get(member).is_some(), "{member} is missing in {shown}");
        }
        let expected = json!({"target": "web-01", "action": "reboot-rack", "status": "pending", "state": "held",
            "details": "by hand", "priority": "high", "params": {"a": [1, null]}, "namespace": "prod",
            "origin": "api", "attempts": 0, "completed_at": null, "policy_name": null, "simulated": false});
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(&shown[member], value, "{member} in {shown}");
        }
        assert_eq!(shown["started_at"], answer["created_at"], "the time it was made");
    }
    let other = json!({"target": "web-02", "action_type": "reboot-rack", "priority": null, "colour": "red"});
    let answer = scene.vigil.post("/api/v1/actions", &other).expect(201).json();
    assert!(answer["warnings"][0].as_str().unwrap().contains("colour"), "{answer}");
    assert_eq!(scene.show(answer["action_id"].as_i64().unwrap())["priority"], "medium");
    let both = json!({"target": "web-02", "action": "one", "action_type": "two"});
    assert_eq!(scene.vigil.post("/api/v1/actions", &both).expect(201).json()["action_type"], "one");
}

/// Bodies that are no action, and what is wrong with each.
fn refused(scene: &Scene) {
    let cases: [(Value, &[(&str, &str)]); 12] = [
        (json!({}), &[("missing", "target"), ("missing", "action")]),
        (json!({"target": "a", "action": 7}), &[("string_type", "action")]),
        (json!({"target": 7, "action": "x"}), &[("string_type", "target")]),
        (json!({"target": "", "action": "x"}), &[("string_too_short", "target")]),
        (json!({"target": "  ", "action": "x"}), &[("value_error", "target")]),
        (json!({"target": "a".repeat(256), "action": "x"}), &[("string_too_long", "target")]),
        (json!({"target": "a", "action": "x", "status": "queued"}), &[("value_error", "status")]),
        (json!({"target": "a", "action": "x", "priority": "urgent"}), &[("value_error", "priority")]),
        (
            json!({"target": "a", "action": "x", "queue_immediately": "maybe"}),
            &[("bool_parsing", "queue_immediately")],
        ),
        (json!({"target": "a", "action": "x", "params": [1]}), &[("dict_type", "params")]),
        (json!({"target": "a", "action": "x", "details": {}}), &[("string_type", "details")]),
        (json!([1]), &[("model_attributes_type", "body")]),
    ];
    let before = scene.total();
    for (body, expected) in cases {
        let answer = scene.vigil.post("/api/v1/actions", &body).expect(422);
        assert_eq!(faults(&answer), pairs(expected), "{body}");
    }
    assert_eq!(scene.total(), before, "a refused action was made");
}

fn keyed(scene: &Scene) {
    let request = |key: &str, target: &str| {
        let body = json!({"target": target, "action": "reboot-rack"});
        Request::post("/api/v1/actions", &body).header("Idempotency-Key", key)
    };
    let first = scene.vigil.send(&request("k1", "web-01")).expect(201).json();
    let before = scene.total();
    assert_eq!(
        scene.vigil.send(&request("k1", "web-01")).expect(201).json(),
        first,
        "the first answer again"
    );
    let answer = scene.vigil.send(&request("k1", "web-02")).expect(422);
    assert_eq!(faults(&answer), pairs(&[("value_error", "Idempotency-Key")]));
    let long = "k".repeat(256);
    assert_eq!(faults(&scene.vigil.send(&request(&long, "web-01")).expect(422))[0].1, "Idempotency-Key");
    assert_eq!(scene.total(), before, "one action under one key");
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    scene.vigil.send(&request("k2", "web-03")).expect(201).json()["action_id"].clone()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "at the same time, too: {ids:?}");
    assert_eq!(scene.total(), before + 1);
}

fn shown(scene: &Scene) {
    assert_eq!(
        scene.vigil.get_json("/api/v1/actions/health"),
        json!({"status": "healthy", "service": "actions"})
    );
    let id = scene.held("web-04");
    assert_eq!(scene.show(id), scene.vigil.get_json(&format!("/actions/{id}")));
    for (path, detail) in [
        ("/api/v1/actions/999999", "Action with id 999999 not found"),
        ("/api/v1/actions/-1", "Action with id -1 not found"),
        ("/api/v1/actions/99999999999999999999999", "Action with id 99999999999999999999999 not found"),
    ] {
        assert_eq!(scene.vigil.get(path).expect(404).json()["detail"], detail);
    }
    let answer = scene.vigil.get("/api/v1/actions/seven").expect(422);
    assert_eq!(faults(&answer), pairs(&[("int_parsing", "action_id")]));
}

fn cancelled(scene: &Scene) {
    for (body, details) in [
        (Some(json!({"reason": "not needed"})), "Cancelled: not needed"),
        (Some(json!({"reason": null})), "Cancelled: no reason given"),
        (None, "Cancelled: no reason given"),
    ] {
        let id = scene.held("web-05");
        let path = format!("/api/v1/actions/{id}/cancel");
        let request = Request::new("PUT", &path);
        let request = body.iter().fold(request, |request, body| request.json(body));
        let answer = scene.vigil.send(&request).expect(200).json();
        let expected = json!({"ok": true, "action_id": id, "message": "Action cancelled successfully",
            "previous_status": "pending"});
        assert_eq!(answer, expected);
        let shown = scene.show(id);
        assert_eq!((&shown["status"], &shown["details"]), (&json!("cancelled"), &json!(details)));
        assert!(shown["completed_at"].is_string(), "{shown}");
        let again = scene.vigil.send(&Request::new("PUT", &path)).expect(400).json();
        assert!(again["detail"].is_string(), "{again}");
        assert_eq!(scene.show(id), shown, "a refused cancellation changes nothing");
    }
    let id = scene.held("web-05");
    let long = scene.put(&format!("/api/v1/actions/{id}/cancel"), &json!({"reason": "x".repeat(501)}));
    assert_eq!(faults(&long.expect(422)), pairs(&[("string_too_long", "reason")]));
    scene.put("/api/v1/actions/999999/cancel", &json!({})).expect(404);
}

fn by_status(scene: &Scene) {
    let answer = scene.vigil.get_json("/api/v1/actions/status/cancelled?limit=2");
    assert_eq!((&answer["count"], &answer["page"], &answer["page_size"]), (&json!(2), &json!(1), &json!(2)));
    let total = scene.vigil.get_json("/api/v1/actions?status=cancelled")["total"].clone();
    assert_eq!(answer["total"], total, "the real total");
    assert!(answer["actions"].as_array().unwrap().iter().all(|action| action["status"] == "cancelled"));
    for path in
        ["/api/v1/actions/status/queued", "/api/v1/actions?status=queued", "/api/v1/actions?state=nowhere"]
    {
        assert!(scene.vigil.get(path).expect(400).json()["detail"].is_string(), "{path}");
    }
}

fn queued_and_run(scene: &Scene) {
    let id = scene.make(&json!({"target": "web-06", "action": "custom"}));
    assert_eq!(scene.show(id)["state"], "held", "our workers leave it");
    let answer =
        scene.vigil.send(&Request::new("POST", &format!("/api/v1/actions/{id}/queue"))).expect(200).json();
    assert_eq!(answer["status"], "pending", "{answer}");
    assert_eq!(scene.ended(id)["status"], "completed");
    let nobody = json!({"target": "web-06", "action": "nobody-serves-this", "queue_immediately": true});
    let failed = scene.ended(scene.make(&nobody));
    let why = failed["error_message"].as_str().unwrap();
    assert!(failed["status"] == "failed" && why.starts_with("no_plugin") && why.contains("60 s"), "{failed}");
}

fn every_row(setting: Setting) {
    let scene = Scene::new(setting, "");
    made(&scene);
    refused(&scene);
    keyed(&scene);
    shown(&scene);
    cancelled(&scene);
    by_status(&scene);
    queued_and_run(&scene);
    pages(&scene);
}

/// Paths that probes, scripts and people ask for.
fn pages(scene: &Scene) {
    for path in ["/health", "/ui/health", "/api/v1/ui/health", "/api/v1/health"] {
        let answer = scene.vigil.get_json(path);
        assert_eq!((&answer["status"], &answer["service"]), (&json!("healthy"), &json!("vigil")), "{path}");
    }
    let health = scene.vigil.get_json("/remediator/health");
    assert_eq!((&health["status"], &health["active_tasks"]), (&json!("healthy"), &json!(0)), "{health}");
    assert!(health["remediator_id"].is_string() && health["version"].is_string(), "{health}");
    for path in ["/dashboard", "/ui/dashboard"] {
        let answer = scene.vigil.get(path).expect(200);
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{path}");
        let page = answer.text();
        let title = page.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && title.contains("Vigil"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        let head = scene.vigil.send(&Request::new("HEAD", path)).expect(200);
        assert!(head.body.is_empty());
    }
    let root = scene.vigil.get("/").expect(307);
    assert_eq!(root.header("location"), Some("/dashboard"));
}

#[test]
fn every_row_on_sqlite() {
    every_row(Setting::Small);
}

#[test]
fn every_row_on_postgres() {
    every_row(Setting::Postgres);
}
