//! The states of an action: what may follow what, by hand and under a lease.

use std::time::Duration;

use serde_json::json;

use super::{LONG, Scene, faults, pairs};
use crate::stage::Setting;
use crate::support::{Behaviour, Request, wait_until};

const STATUSES: [&str; 5] = ["pending", "running", "completed", "failed", "cancelled"];

/// What may follow a status, where nobody has a lease.
fn may_follow(before: &str, after: &str) -> bool {
    match before {
        "pending" | "running" => true,
        "failed" => after == "pending" || after == "failed",
        _ => before == after,
    }
}

/// Each status after each: what is refused leaves the row as it was.
fn the_table(scene: &Scene) {
    for before in STATUSES {
        for after in STATUSES {
            let id = scene.held("rack-1");
            if before != "pending" {
                scene.set(id, before).expect(200);
            }
            let was = scene.show(id);
            assert_eq!(was["status"], before);
            let answer = scene.set(id, after);
            let is = scene.show(id);
            if may_follow(before, after) {
                let body = answer.expect(200).json();
                assert_eq!(body["message"], "Action status updated", "{body}");
                assert_eq!((&body["previous_status"], &body["new_status"]), (&json!(before), &json!(after)));
                assert_eq!(is["status"], after, "{before} -> {after}");
                let ended = ["completed", "failed", "cancelled"].contains(&after);
                assert_eq!(is["completed_at"].is_string(), ended, "{before} -> {after}: {is}");
                if before == after {
                    assert_eq!(is, was, "the same again does nothing");
                }
            } else {
                let body = answer.expect(409).json();
                assert!(body["detail"].is_string(), "{body}");
                assert_eq!(is, was, "{before} -> {after} changes nothing");
            }
            scene.set(id, "cancelled");
        }
    }
}

fn members(scene: &Scene) {
    let id = scene.held("rack-2");
    let path = format!("/api/v1/actions/{id}/status");
    let body = json!({"status": "failed", "details": "looked at", "error_message": "no power", "more": 1});
    let answer = scene.put(&path, &body).expect(200).json();
    assert!(answer["warnings"][0].as_str().unwrap().contains("more"), "{answer}");
    let shown = scene.show(id);
    assert_eq!((&shown["details"], &shown["error_message"]), (&json!("looked at"), &json!("no power")));
    let again = scene.set(id, "pending").expect(200).json();
    assert_eq!(again["state"], "held", "{again}");
    let shown = scene.show(id);
    assert!(shown["completed_at"].is_null() && shown["error_message"].is_null(), "opened again: {shown}");
    for (body, expected) in [
        (json!({}), ("missing", "status")),
        (json!({"status": "queued"}), ("value_error", "status")),
        (json!({"status": 1}), ("string_type", "status")),
        (
            json!({"status": "failed", "error_message": "x".repeat(1001)}),
            ("string_too_long", "error_message"),
        ),
    ] {
        assert_eq!(faults(&scene.put(&path, &body).expect(422)), pairs(&[expected]), "{body}");
    }
    scene.put("/api/v1/actions/999999/status", &json!({"status": "failed"})).expect(404);
    scene.put("/api/v1/actions/x/status", &json!({"status": "failed"})).expect(422);
}

/// An attempt that runs can only be cancelled, which stops it; its result changes nothing.
fn under_a_lease(scene: &Scene) {
    scene.target.behave(Behaviour { delay: Duration::from_millis(1_500), ..Behaviour::default() });
    let body = json!({"target": "leased", "action": "custom", "queue_immediately": true});
    let id = scene.make(&body);
    let before = scene.target.count();
    wait_until(LONG, "the call to begin", || {
        scene.target.count() > before || scene.show(id)["status"] == "running"
    });
    for status in ["pending", "completed", "failed"] {
        let answer = scene.set(id, status).expect(409).json();
        assert!(answer["detail"].as_str().unwrap().contains("lease"), "{answer}");
    }
    scene.set(id, "running").expect(200);
    let answer = scene.set(id, "cancelled").expect(200).json();
    assert_eq!(answer["previous_status"], "running", "{answer}");
    // The next one waits for what the target may still be at.
    let next = scene.make(&body);
    assert_eq!(scene.ended(next)["status"], "completed");
    assert_eq!(scene.show(id)["status"], "cancelled");
    scene.target.assert_never_two_at_once();
    scene.target.behave(Behaviour::default());
}

/// A failed action that was queued is opened again and run again, with a fresh count of attempts.
fn opened_again(scene: &Scene) {
    scene.target.behave(Behaviour { fail_first: 3, fail_status: 503, ..Behaviour::default() });
    let id = scene.make(&json!({"target": "again", "action": "custom", "queue_immediately": true}));
    let failed = scene.ended(id);
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(3)), "{failed}");
    scene.set(id, "pending").expect(200);
    let done = scene.ended(id);
    assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(4)), "{done}");
}

/// An action that somebody says is running holds the target for our own.
fn running_elsewhere(scene: &Scene) {
    let id = scene.held("elsewhere");
    scene.set(id, "running").expect(200);
    assert!(scene.show(id)["running_since"].is_string());
    let ours = scene.make(&json!({"target": "elsewhere", "action": "custom", "queue_immediately": true}));
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(scene.show(ours)["state"], "blocked", "one action at a time on a target");
    scene.set(id, "completed").expect(200);
    assert_eq!(scene.ended(ours)["status"], "completed");
}

fn every_state(setting: Setting) {
    let scene = Scene::new(setting, "");
    the_table(&scene);
    members(&scene);
    under_a_lease(&scene);
    opened_again(&scene);
    running_elsewhere(&scene);
}

#[test]
fn states_on_sqlite() {
    every_state(Setting::Small);
}

#[test]
fn states_on_postgres() {
    every_state(Setting::Postgres);
}

/// A pending task is withdrawn in the transaction of its cancellation: a worker that comes later finds nothing.
#[test]
fn a_cancelled_task_is_never_run() {
    let scene = Scene::with(Setting::Small, "", |options| options.env("VIGIL_QUEUE__WORKERS", "0"));
    let body = json!({"target": "web-01", "action": "custom", "queue_immediately": true});
    let (gone, kept) = (scene.make(&body), scene.make(&body));
    let cancel = Request::new("PUT", &format!("/api/v1/actions/{gone}/cancel"));
    assert_eq!(scene.vigil.send(&cancel).expect(200).json()["previous_status"], "pending");
    let Scene { mut vigil, target, backend: _backend } = scene;
    vigil.set_env("VIGIL_QUEUE__WORKERS", "4");
    vigil.restart();
    let path = format!("/api/v1/actions/{kept}");
    vigil.wait_json(&path, LONG, |action| action["status"] == "completed");
    assert_eq!(target.count(), 1, "only the other one was carried out");
    assert_eq!(vigil.get_json(&format!("/api/v1/actions/{gone}"))["status"], "cancelled");
}
