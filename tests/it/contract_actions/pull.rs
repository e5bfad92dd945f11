//! Rows 13 and 14: remediators take tasks under a lease and report on the original actions.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LONG, Scene, faults, pairs};
use crate::stage::Setting;
use crate::support::{Request, wait_until};

const TASKS: [&str; 3] =
    ["/api/v1/actions/remediator/tasks", "/api/v1/remediator/tasks", "/remediator/tasks"];
const RESULTS: [&str; 3] =
    ["/api/v1/actions/remediator/results", "/api/v1/remediator/results", "/remediator/results"];

#[track_caller]
fn pull(scene: &Scene, who: &str, limit: usize) -> Vec<Value> {
    let path = format!("{}?limit={limit}&remediator_id={who}", TASKS[1]);
    scene.vigil.get_json(&path)["tasks"].as_array().unwrap().clone()
}

fn result(task: &str, who: &str, status: &str) -> Value {
    json!({"task_id": task, "timestamp": 1_795_450_130, "status": status, "resource": "web-01",
        "namespace": "default", "action": "restart_pod", "duration": 12, "details": {"pod_name": "web-01"},
        "remediator_id": who, "remediator_version": "1.0.0", "retry_attempts": 1})
}

#[track_caller]
fn report(scene: &Scene, body: &Value) -> Value {
    scene.vigil.post(RESULTS[1], body).expect(200).json()
}

/// A task as the Go remediator reads it, and its result on the original action, once.
fn round_trip(scene: &Scene) {
    let made = json!({"target": "web-01", "action": "restart", "priority": "high", "namespace": "prod",
        "params": {"graceful": true}});
    let id = scene.make(&made);
    let tasks = pull(scene, "r-1", 20);
    let [task] = tasks.as_slice() else { panic!("one task: {tasks:?}") };
    let expected = json!({"id": id.to_string(), "resource": "web-01", "namespace": "prod", "action": "restart_pod",
        "parameters": {"pod_name": "web-01", "graceful": true}, "priority": "high", "policy_id": "",
        "timeout": 60, "max_retries": 3, "vigil_action": "restart", "attempt": 1});
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&task[member], value, "{member} in {task}");
    }
    assert!(task["timestamp"].is_i64() && task["lease_until"].is_string(), "{task}");
    let running = scene.show(id);
    assert_eq!((&running["status"], &running["attempts"]), (&json!("running"), &json!(1)), "{running}");
    assert_eq!(running["lease_until"], task["lease_until"]);
    assert!(pull(scene, "r-2", 20).is_empty(), "nobody else gets it");
    scene.set(id, "completed").expect(409);

    let (rows, sent) = (scene.total(), result(&id.to_string(), "r-1", "success"));
    let answer = report(scene, &sent);
    let expected = json!({"ok": true, "action_id": id, "message": "Result recorded successfully",
        "status": "completed", "applied": true});
    assert_eq!(answer, expected);
    let done = scene.show(id);
    assert_eq!((&done["status"], &done["error_message"]), (&json!("completed"), &json!(null)), "{done}");
    let details = done["details"].as_str().unwrap();
    assert_eq!(
        details,
        "Details: {\"pod_name\":\"web-01\"} | Remediator: r-1 | Version: 1.0.0 | Duration: 12ms | Retries: 1"
    );
    assert_eq!(done["result"]["duration_ms"], 12, "{done}");
    for path in RESULTS {
        assert_eq!(scene.vigil.post(path, &sent).expect(200).json(), expected, "the same again, at {path}");
    }
    assert_eq!((scene.show(id), scene.total()), (done, rows), "a repeat changes nothing and adds no row");
    let late = report(scene, &result(&id.to_string(), "r-1", "failed"));
    assert_eq!((&late["applied"], &late["status"]), (&json!(false), &json!("completed")), "{late}");
}

/// What is no success has failed, for good: the remediator has tried again by itself.
fn failures(scene: &Scene) {
    for (status, path) in [("failed", TASKS[0]), ("timeout", TASKS[1]), ("partial", TASKS[2])] {
        let id = scene.held("web-02");
        let tasks = scene.vigil.get_json(path)["tasks"].as_array().unwrap().clone();
        assert_eq!(tasks[0]["id"], id.to_string(), "{path}: {tasks:?}");
        assert_eq!(tasks[0]["action"], "reboot-rack", "a kind without a translation is told as it is");
        let mut sent = result(&id.to_string(), "anybody", status);
        sent["error_message"] = json!("it is stuck");
        sent["retry_attempts"] = json!(null);
        assert_eq!(report(scene, &sent)["applied"], true);
        let shown = scene.show(id);
        assert_eq!((&shown["status"], &shown["error_message"]), (&json!("failed"), &json!("it is stuck")));
        assert!(shown["details"].as_str().unwrap().contains("Retries: 0"), "{shown}");
    }
}

/// Only the holder of the lease decides; tasks that nobody gave out touch no action.
fn strangers(scene: &Scene) {
    let id = scene.held("web-03");
    let untouched = report(scene, &result(&id.to_string(), "r-1", "success"));
    assert_eq!((&untouched["applied"], &untouched["action_id"]), (&json!(false), &json!(id)));
    assert_eq!(scene.show(id)["state"], "held", "nobody had it");
    assert_eq!(pull(scene, "r-1", 1).len(), 1);
    let wrong = report(scene, &result(&id.to_string(), "r-2", "success"));
    assert_eq!((&wrong["applied"], &wrong["status"]), (&json!(false), &json!("running")), "{wrong}");
    let mut old = result(&id.to_string(), "r-1", "success");
    old["attempt"] = json!(7);
    assert_eq!(report(scene, &old)["applied"], false, "another attempt");
    scene.put(&format!("/api/v1/actions/{id}/cancel"), &json!({})).expect(200);
    let late = report(scene, &result(&id.to_string(), "r-1", "success"));
    assert_eq!((&late["applied"], &late["status"]), (&json!(false), &json!("cancelled")), "{late}");
    assert_eq!(scene.show(id)["status"], "cancelled");
    let history = scene.vigil.get_json(&format!("/api/v1/actions/{id}/attempts"));
    assert_eq!(history["attempts"][0]["result"]["status"], "success", "kept as history: {history}");

    let rows = scene.total();
    let unknown = result("task-1795450130123", "r-9", "failed");
    let first = report(scene, &unknown);
    let shown = scene.show(first["action_id"].as_i64().unwrap());
    assert_eq!((&shown["origin"], &shown["status"]), (&json!("pull"), &json!("failed")), "{shown}");
    assert_eq!((&shown["target"], &shown["action"]), (&json!("web-01"), &json!("restart_pod")), "{shown}");
    assert!(shown["completed_at"].is_string(), "{shown}");
    assert_eq!(report(scene, &unknown), first, "recorded once");
    assert_ne!(report(scene, &result("999999999", "r-9", "success"))["action_id"], first["action_id"]);
    assert_eq!(scene.total(), rows + 2);
}

/// Fifty pollers at once: every action is given out once.
fn parallel(scene: &Scene) {
    let made: HashSet<String> = (0..60).map(|n| scene.held(&format!("p-{n}")).to_string()).collect();
    let given: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|n| {
                scope.spawn(move || {
                    let tasks = pull(scene, &format!("p-{n}"), 3);
                    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: HashSet<String> = given.iter().cloned().collect();
    assert_eq!(distinct.len(), given.len(), "an action was given out twice: {given:?}");
    assert!(distinct.is_subset(&made) && !distinct.is_empty(), "{distinct:?}");
    let mut rest = 0;
    while let more @ 1.. = pull(scene, "rest", 50).len() {
        rest += more;
    }
    assert_eq!(distinct.len() + rest, made.len(), "and none is lost");
}

/// What is lent, in which order, and what never is.
fn offers(scene: &Scene) {
    let low = scene.make(&json!({"target": "o-1", "action": "x", "priority": "low"}));
    let medium = scene.make(&json!({"target": "o-2", "action": "x"}));
    let high = scene.make(&json!({"target": "o-3", "action": "x", "priority": "high"}));
    let behind = scene.make(&json!({"target": "o-3", "action": "y", "priority": "high"}));
    // Pulled for lately, so a queued action of a kind that no plugin serves waits for a remediator.
    let queued = scene.make(&json!({"target": "o-4", "action": "unserved", "queue_immediately": true}));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(scene.show(queued)["status"], "pending");
    let order: Vec<String> =
        pull(scene, "o", 50).iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(order, [high, medium, queued, low].map(|id| id.to_string()), "one at a time on a target");
    report(scene, &result(&high.to_string(), "o", "success"));
    assert_eq!(pull(scene, "o", 50)[0]["id"], behind.to_string(), "the next one, once the first has ended");
    let served = scene.make(&json!({"target": "o-5", "action": "custom", "queue_immediately": true}));
    assert_eq!(scene.ended(served)["status"], "completed", "what a plugin serves is ours");
    // The supervisor plugin offers it, and has no connection here.
    let scaled = json!({"target": "o-6", "action": "scale-up", "queue_immediately": true, "params": {"replicas": 4, "increment": 1}});
    scene.make(&scaled);
    let task = &pull(scene, "o", 1)[0];
    let expected = json!({"deployment_name": "o-6", "replicas": 4, "increment": 1});
    assert_eq!((&task["action"], &task["parameters"]), (&json!("scale_deployment"), &expected), "{task}");
}

fn refused(scene: &Scene) {
    for path in TASKS {
        for (query, place) in [("limit=0", "limit"), ("limit=51", "limit"), ("limit=x", "limit")] {
            assert_eq!(faults(&scene.vigil.get(&format!("{path}?{query}")).expect(422))[0].1, place);
        }
        let long = format!("{path}?remediator_id={}", "r".repeat(256));
        assert_eq!(faults(&scene.vigil.get(&long).expect(422))[0].1, "remediator_id");
    }
    let with = |member: &str, value: Value| {
        let mut body = result("1", "r", "success");
        body[member] = value;
        body
    };
    for (body, kind, place) in [
        (with("status", json!("done")), "value_error", "status"),
        (with("task_id", json!(7)), "string_type", "task_id"),
        (with("timestamp", json!("soon")), "int_parsing", "timestamp"),
        (with("duration", json!("long")), "int_parsing", "duration"),
        (with("duration", json!(-1)), "greater_than_equal", "duration"),
        (with("retry_attempts", json!([])), "int_type", "retry_attempts"),
        (with("details", json!("text")), "dict_type", "details"),
        (with("resource", json!(" ")), "value_error", "resource"),
    ] {
        assert_eq!(
            faults(&scene.vigil.post(RESULTS[0], &body).expect(422)),
            pairs(&[(kind, place)]),
            "{body}"
        );
    }
    let missing = faults(&scene.vigil.post(RESULTS[2], &json!({})).expect(422));
    let needed = ["task_id", "timestamp", "status", "resource", "action"].map(|name| ("missing", name));
    assert_eq!(missing, pairs(&needed));
}

fn the_pull_side(setting: Setting) {
    let scene = Scene::new(setting, "");
    round_trip(&scene);
    failures(&scene);
    strangers(&scene);
    offers(&scene);
    refused(&scene);
    parallel(&scene);
}

#[test]
fn pull_on_sqlite() {
    the_pull_side(Setting::Small);
}

#[test]
fn pull_on_postgres() {
    the_pull_side(Setting::Postgres);
}

/// A remediator that never reports: nobody knows what it did. Only an idempotent kind is given out again.
#[test]
fn a_lapsed_lease_is_an_unknown_outcome() {
    let more = "[remediation]\ntask_timeout = \"1s\"\ntask_retries = 1\nlease_margin = \"0s\"\n\
        idempotent = [\"idem\"]\n";
    let scene = Scene::new(Setting::Small, more);
    // Somebody asks for work, so that what no plugin serves waits for a remediator.
    assert!(pull(&scene, "early", 1).is_empty());
    let once = scene.held("lost-1");
    let twice = scene.make(&json!({"target": "lost-2", "action": "idem"}));
    let queued = scene.make(&json!({"target": "lost-3", "action": "idem", "queue_immediately": true}));
    let behind = scene.held("lost-1");
    wait_until(LONG, "the three leases", || {
        pull(&scene, "gone", 50);
        [once, twice, queued].iter().all(|id| scene.show(*id)["attempts"].as_i64() >= Some(1))
    });
    let lost = scene.ended(once);
    let why = lost["error_message"].as_str().unwrap();
    assert!(lost["status"] == "failed" && why.starts_with("Outcome unknown:"), "{lost}");
    assert_eq!(lost["state"], "uncertain", "{lost}");
    let late = report(&scene, &result(&once.to_string(), "gone", "success"));
    assert_eq!((&late["applied"], &late["status"]), (&json!(false), &json!("failed")), "{late}");
    assert_eq!(scene.show(behind)["state"], "held", "the target may still be at it");
    let path = |id: i64| format!("/api/v1/actions/{id}");
    scene.vigil.wait_json(&path(twice), LONG, |action| action["state"] == "held");
    wait_until(LONG, "both to be given out again", || {
        pull(&scene, "next", 50);
        [twice, queued].iter().all(|id| scene.show(*id)["attempts"].as_i64() >= Some(2))
    });
    let resolve =
        Request::post(&format!("{}/resolve", path(once)), &json!({"outcome": "failed", "note": "seen"}));
    scene.vigil.send(&resolve).expect(200);
    assert_eq!(scene.show(once)["state"], "dead");
}
