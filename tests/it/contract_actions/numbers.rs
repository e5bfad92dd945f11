//! What is counted of actions, requests and drifts, and that no stranger can make the labels many.

use std::collections::HashSet;

use serde_json::json;

use super::{LONG, Scene};
use crate::stage::Setting;
use crate::support::{Behaviour, Request, wait_until};

fn series(target: &str, action: &str, status: &str) -> String {
    format!("actions_total{{action=\"{action}\",status=\"{status}\",target=\"{target}\"}}")
}

/// Counts of an action's five statuses.
#[track_caller]
fn statuses(scene: &Scene, target: &str, action: &str) -> [u64; 5] {
    ["pending", "running", "completed", "failed", "cancelled"].map(|status| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let count = scene.vigil.metric(&series(target, action, status)) as u64;
        count
    })
}

#[test]
fn every_change_of_a_status_is_counted_once() {
    let scene = Scene::new(Setting::Small, "");
    let custom = |target: &str| json!({"target": target, "action": "custom", "queue_immediately": true});
    let number = |series: &str| scene.vigil.metric(series);

    let id = scene.make(&custom("done"));
    scene.ended(id);
    wait_until(LONG, "the counts", || statuses(&scene, "done", "custom") == [1, 1, 1, 0, 0]);

    scene.target.behave(Behaviour { fail_first: 1, ..Behaviour::default() });
    scene.ended(scene.make(&custom("retried")));
    wait_until(LONG, "the counts", || statuses(&scene, "retried", "custom") == [2, 2, 1, 0, 0]);
    assert_eq!(
        (number("worker_tasks_total{status=\"completed\"}"), number("worker_tasks_total{status=\"failed\"}")),
        (2.0, 1.0)
    );
    assert_eq!(number("queue_operations_total{operation=\"enqueue\"}"), 3.0, "each retry again");
    assert_eq!(number("queue_operations_total{operation=\"dequeue\"}"), 3.0, "each retry again");

    let id = scene.held("by-hand");
    assert_eq!(statuses(&scene, "by-hand", "reboot-rack"), [1, 0, 0, 0, 0]);
    for (status, expected) in [
        ("running", [1, 1, 0, 0, 0]),
        ("failed", [1, 1, 0, 1, 0]),
        ("failed", [1, 1, 0, 1, 0]),
        ("pending", [2, 1, 0, 1, 0]),
    ] {
        scene.set(id, status).expect(200);
        assert_eq!(statuses(&scene, "by-hand", "reboot-rack"), expected, "{status}");
    }
    scene.put(&format!("/api/v1/actions/{id}/cancel"), &json!({})).expect(200);
    assert_eq!(statuses(&scene, "by-hand", "reboot-rack"), [2, 1, 0, 1, 1]);

    let unserved = json!({"target": "nobody", "action": "unserved", "queue_immediately": true});
    scene.ended(scene.make(&unserved));
    wait_until(LONG, "the counts", || statuses(&scene, "nobody", "unserved") == [1, 0, 0, 1, 0]);

    let id = scene.held("pulled");
    scene.vigil.get_json("/remediator/tasks?remediator_id=r");
    assert_eq!(statuses(&scene, "pulled", "reboot-rack"), [1, 1, 0, 0, 0]);
    let result = json!({"task_id": id.to_string(), "timestamp": 1, "status": "success", "resource": "pulled",
        "action": "reboot-rack", "remediator_id": "r"});
    for _ in 0..2 {
        scene.vigil.post("/remediator/results", &result).expect(200);
        assert_eq!(statuses(&scene, "pulled", "reboot-rack"), [1, 1, 1, 0, 0]);
    }
    // As many attempts completed on this process as actions that it ran.
    let completed = scene.vigil.get_json("/api/v1/actions?status=completed&action=custom")["total"].as_f64();
    assert_eq!(Some(number("worker_tasks_total{status=\"completed\"}")), completed);
}

#[test]
fn a_request_counts_once_under_its_template() {
    let scene = Scene::new(Setting::Small, "");
    let count = |method: &str, endpoint: &str, status: u16| {
        scene.vigil.metric(&format!(
            "requests_total{{endpoint=\"{endpoint}\",method=\"{method}\",status=\"{status}\"}}"
        ))
    };
    scene.vigil.get("/api/v1/actions/71").expect(404);
    scene.vigil.get("/actions/72").expect(404);
    assert_eq!(count("GET", "/api/v1/actions/{action_id}", 404), 1.0);
    assert_eq!(count("GET", "/actions/{action_id}", 404), 1.0, "an alias has a template of its own");
    for n in 0..200 {
        scene.vigil.get(&format!("/nowhere/{n}")).expect(404);
    }
    assert_eq!(count("GET", "unmatched", 404), 200.0);
    scene.vigil.send(&Request::new("BREW", "/health"));
    let text = scene.vigil.get("/metrics").expect(200).text();
    assert!(!text.contains("/nowhere") && !text.contains("BREW"), "a stranger's words became labels");
}

#[test]
fn labels_from_outside_are_bounded() {
    let scene = Scene::new(Setting::Small, "");
    std::thread::scope(|scope| {
        for part in 0..4 {
            let scene = &scene;
            scope.spawn(move || {
                for n in 0..60 {
                    scene.held(&format!("many-{part}-{n}"));
                }
            });
        }
    });
    let names: Vec<_> = (0..1_100).map(|n| json!({"name": format!("m-{n}"), "value": 1})).collect();
    scene.vigil.post("/api/v1/ingest", &json!(names)).expect(201);
    let text = scene.vigil.get("/metrics").expect(200).text();
    let values = |metric: &str, label: &str| -> HashSet<String> {
        let lines = text.lines().filter(|line| line.starts_with(metric));
        let value =
            |line: &str| Some(line.split(&format!("{label}=\"")).nth(1)?.split('"').next()?.to_owned());
        lines.filter_map(value).collect()
    };
    let targets = values("actions_total{", "target");
    assert!(targets.len() == 201 && targets.contains("other"), "{} targets", targets.len());
    let names = values("ingest_total{", "metric_name");
    assert!(names.len() == 1_001 && names.contains("other"), "{} names", names.len());
}

#[test]
fn the_age_of_drifts_has_a_histogram() {
    let scene = Scene::new(Setting::Small, "");
    let event = json!({"name": "drift_detection_latency_seconds", "value": 0.2,
        "tags": {"manifest_type": "Deployment", "status": "drifted"}});
    scene.vigil.post("/api/v1/ingest", &event).expect(201);
    let labels = "manifest_type=\"Deployment\",status=\"drifted\"";
    let number = |series: String| scene.vigil.metric(&series);
    wait_until(LONG, "the count", || {
        number(format!("drift_detection_latency_seconds_count{{{labels}}}")) == 1.0
    });
    assert_eq!(number(format!("drift_detection_latency_seconds_bucket{{{labels},le=\"0.1\"}}")), 0.0);
    assert_eq!(number(format!("drift_detection_latency_seconds_bucket{{{labels},le=\"0.25\"}}")), 1.0);
}
