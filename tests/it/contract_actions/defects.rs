//! Defects of the project before this one, each with the test that would show it. Those that belong to a row of
//! the contract stand with that row: results and two pollers (`pull`), the doubled path and missing retries
//! (`push`), statuses (`states`), payloads and phantom drifts (`agents`), labels (`numbers`).

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LONG, Scene, faults};
use crate::stage::Setting;
use crate::support::Request;

/// The policy of the README, its action carried out by the webhook.
fn readme_policy() -> Value {
    json!({"name": "high-cpu-alert", "description": "Scale up when CPU exceeds 90%", "severity": "warning",
        "target": "web-*", "enabled": true, "auto_remediate": true,
        "condition": {"type": "metric_exceeds", "metric": "cpu_percent", "threshold": 90}, "action": "scale-up",
        "params": {"replicas": 2}})
}

/// Serves `scale-up` by the webhook plugin.
const ROUTE: &str = "[[routes]]\naction = \"scale-up\"\nplugin = \"webhook\"\nplugin_action = \"custom\"\n";

/// 1: a violation at ingest makes an action, which is carried out. 4: as many tasks as actions completed.
/// 9: one violation is one action, however often the runner looks. 32: parameters reach the plugin.
fn a_violation_becomes_one_action(setting: Setting) {
    let scene = Scene::with(setting, ROUTE, |options| options.env("VIGIL_POLICIES__TICK", "300ms"));
    scene.vigil.post("/api/v1/policies", &readme_policy()).expect(201);
    let event = json!({"name": "cpu_percent", "value": 95, "tags": {"host": "web-01"}});
    let answer = scene.vigil.post("/api/v1/ingest", &event).expect(201).json();
    assert_eq!(answer["violations"][0]["policy_name"], "high-cpu-alert", "{answer}");
    let id = answer["actions_triggered"][0]["action_id"].as_i64().unwrap();
    let listed = scene.vigil.get_json("/api/v1/actions");
    assert_eq!((&listed["total"], &listed["actions"][0]["id"]), (&json!(1), &json!(id)), "at once: {listed}");
    let details: Value = serde_json::from_str(
        scene.vigil.get_json("/api/v1/actions?origin=policy")["actions"][0]["details"]
            .as_str()
            .unwrap_or("null"),
    )
    .unwrap_or(Value::Null);
    let done = scene.ended(id);
    assert_eq!(
        (&done["status"], &done["policy_name"]),
        (&json!("completed"), &json!("high-cpu-alert")),
        "{done}"
    );
    // Read before it ended, or the plugin's own words stand there already.
    if !details.is_null() {
        assert_eq!(
            (&details["policy_name"], &details["params"]),
            (&json!("high-cpu-alert"), &json!({"replicas": 2}))
        );
    }
    let body: Value = serde_json::from_slice(&scene.target.calls()[0].body).unwrap();
    assert!(body.to_string().contains("\"replicas\":2") && body.to_string().contains("web-01"), "{body}");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((scene.total(), scene.target.count()), (1, 1), "ten ticks later");
    assert_eq!(scene.vigil.metric("worker_tasks_total{status=\"completed\"}"), 1.0);
    let filtered = scene.vigil.get_json("/api/v1/actions?policy_name=high-cpu-alert&origin=policy");
    assert_eq!(filtered["total"], 1);
    let incident = &done["incident_id"];
    assert_eq!(scene.vigil.get_json(&format!("/api/v1/actions?incident_id={incident}"))["total"], 1);
}

#[test]
fn a_violation_becomes_one_action_on_sqlite() {
    a_violation_becomes_one_action(Setting::Small);
}

#[test]
fn a_violation_becomes_one_action_on_postgres() {
    a_violation_becomes_one_action(Setting::Postgres);
}

/// 15: ids do not come from the clock. 32: an action made over the API carries its kind and parameters.
#[test]
fn many_actions_at_once_have_ids_of_their_own_and_keep_their_parameters() {
    let scene = Scene::new(Setting::Small, "");
    let ids: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|n| {
                let scene = &scene;
                scope.spawn(move || {
                    let made = json!({"target": format!("t-{n}"), "action": "reboot-rack"});
                    (0..30).map(|_| scene.make(&made)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((ids.iter().collect::<HashSet<_>>().len(), ids.len()), (300, 300));
    let body = json!({"target": "with-params", "action": "custom", "queue_immediately": true,
        "params": {"notify": "ops", "depth": {"a": [1, 2]}}});
    assert_eq!(scene.ended(scene.make(&body))["status"], "completed");
    let sent: Value = serde_json::from_slice(&scene.target.calls()[0].body).unwrap();
    let sent = sent.to_string();
    assert!(
        sent.contains("\"custom\"") && sent.contains("\"notify\":\"ops\"") && sent.contains("[1,2]"),
        "{sent}"
    );
}

/// 22: what made the old project fail with 500.
fn odd_values(setting: Setting) {
    let scene = Scene::new(setting, "");
    let answer = scene.vigil.post("/api/v1/actions", &json!({"target": "a", "action": 42})).expect(422);
    assert_eq!(faults(&answer)[0].0, "string_type");
    scene.vigil.get("/api/v1/actions/18446744073709551616").expect(404);
    let result = json!({"task_id": "18446744073709551616", "timestamp": 1, "status": "success", "resource": "a",
        "action": "b", "retry_attempts": null, "duration": null});
    scene.vigil.post("/api/v1/remediator/results", &result).expect(200);
    for time in [
        "2026-11-23T17:08:46%2B01:00",
        "2026-11-23T16:08:46Z",
        "2026-11-23",
        "1795450126",
        "2026-11-23T16:08:46",
    ] {
        let path = format!("/api/v1/actions?start_time={time}&end_time=2099-01-01T00:00:00-05:00");
        scene.vigil.get(&path).expect(200);
    }
    let event = json!({"name": "m", "value": 1, "timestamp": "2026-11-23T17:08:46+01:00"});
    scene.vigil.post("/api/v1/ingest", &event).expect(201);
}

#[test]
fn odd_values_on_sqlite() {
    odd_values(Setting::Small);
}

#[test]
fn odd_values_on_postgres() {
    odd_values(Setting::Postgres);
}

/// 23: Redis is away, and actions are made, run, cancelled and pulled all the same.
#[test]
fn without_redis_actions_run_all_the_same() {
    let mut scene = Scene::new(Setting::SmallRedis, "");
    scene.backend.redis.as_mut().unwrap().stop();
    let body = json!({"target": "web-01", "action": "custom", "queue_immediately": true});
    let answer = scene.vigil.post("/api/v1/actions", &body).expect(201).json();
    assert_eq!(answer["queued"], true, "the truth, whatever Redis does: {answer}");
    let id = answer["action_id"].as_i64().unwrap();
    scene.vigil.wait_json(&format!("/api/v1/actions/{id}"), LONG, |action| action["status"] == "completed");
    let held = scene.held("web-02");
    let tasks = scene.vigil.get_json("/remediator/tasks?remediator_id=r");
    assert_eq!(tasks["tasks"][0]["id"], held.to_string(), "{tasks}");
    let cancel = Request::new("PUT", &format!("/api/v1/actions/{held}/cancel"));
    scene.vigil.send(&cancel).expect(200);
}

/// 33: without a target the violation is listed, and nobody is acted upon.
#[test]
fn an_event_without_a_target_starts_nothing() {
    let scene = Scene::new(Setting::Small, ROUTE);
    scene.vigil.post("/api/v1/policies", &readme_policy()).expect(201);
    let answer =
        scene.vigil.post("/api/v1/ingest", &json!({"name": "cpu_percent", "value": 95})).expect(201).json();
    let violation = &answer["violations"][0];
    assert_eq!(
        (&violation["target"], &violation["decision"]),
        (&json!("all"), &json!("no_target")),
        "{answer}"
    );
    assert_eq!((&answer["actions_triggered"], scene.total()), (&json!([]), 0), "{answer}");
}
