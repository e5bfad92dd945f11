//! What the Go programs send: the agent's reports, gitopsd's drifts; and where stored readings are seen again.

use std::time::Duration;

use serde_json::{Value, json};

use super::{LONG, Scene, faults};
use crate::stage::Setting;
use crate::support::Request;

/// The agent's payload as its version 1.0.0 sends it.
fn report(host: &str, at: u64) -> Value {
    json!({"timestamp": at, "hostname": host, "agent_version": "1.0.0", "metrics": {
        "cpu": {"cores": 4, "usage_percent": 25.5, "raw_data": "cpu 1 2 3"},
        "memory": {"total_kb": 1, "available_kb": 1, "used_kb": 0, "usage_percent": 42.0},
        "disk": {"filesystems": [
            {"device": "/dev/sda1", "mount_point": "/", "total_gb": 100, "used_gb": 50, "free_gb": 50},
            {"device": "/dev/sdb1", "mount_point": "/var", "total_gb": 200, "used_gb": 180, "free_gb": 20}]},
        "network": {"interfaces": [{"name": "eth0", "rx_bytes": 11, "tx_bytes": 22, "rx_packets": 0, "tx_packets": 0}]}}})
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn agent(scene: &Scene) {
    let at = now() - 5;
    let post = |path: &str, body: &Value| {
        scene.vigil.send(&Request::post(path, body).header("User-Agent", "vigil-agent/1.0.0"))
    };
    let first = post("/api/v1/ingest/agent/metrics", &report("web-01", at)).expect(201).json();
    assert_eq!((&first["accepted"], &first["status"]), (&json!(10), &json!("stored")), "{first}");
    assert_eq!(first["metric_ids"][0], first["metric_id"], "{first}");
    assert!(first["warnings"][0].as_str().unwrap().contains("constants"), "said once: {first}");
    let again = post("/ingest/agent/metrics", &report("web-01", at)).expect(201).json();
    assert_eq!(
        (&again["status"], &again["metric_ids"]),
        (&json!("duplicate"), &first["metric_ids"]),
        "a retry"
    );
    assert!(again.get("warnings").is_none(), "and not again: {again}");
    let expected = [
        ("cpu_percent", 25.5),
        ("cpu_usage", 25.5),
        ("memory_percent", 42.0),
        ("memory_usage", 42.0),
        ("disk_free_percent", 10.0),
        ("disk_usage", 90.0),
        ("network_rx_bytes", 11.0),
        ("network_tx_bytes", 22.0),
    ];
    for (name, value) in expected {
        let found = scene.vigil.get_json(&format!("/api/v1/query?metric_name={name}&target=web-01"));
        assert_eq!(
            (&found["count"], found["metrics"][0]["value"].as_f64()),
            (&json!(1), Some(value)),
            "{name}"
        );
        let tags = &found["metrics"][0]["tags"];
        assert_eq!((&tags["host"], &tags["source"]), (&json!("web-01"), &json!("agent")), "{name}: {tags}");
        assert_eq!(tags["agent_version"], "1.0.0");
    }
    let disks = scene.vigil.get_json("/api/v1/query?metric_name=filesystem_free_percent");
    let of = |mount: &str| {
        let all = disks["metrics"].as_array().unwrap();
        all.iter().find(|one| one["tags"]["mount_point"] == mount).map(|one| one["value"].as_f64().unwrap())
    };
    assert_eq!((of("/"), of("/var")), (Some(50.0), Some(10.0)), "{disks}");
    let sparse = json!({"hostname": "web-02", "metrics": {"cpu": {"usage_percent": "91"}, "memory": null,
        "disk": {"filesystems": null}, "network": {"interfaces": null}}});
    assert_eq!(post("/ingest/agent/metrics", &sparse).expect(201).json()["accepted"], 2);
    let plain = json!({"name": "cpu_percent", "value": 5, "tags": {"host": "web-03"}});
    let answer = post("/api/v1/ingest/agent/metrics", &plain).expect(201).json();
    assert_eq!((&answer["target"], answer.get("accepted")), (&json!("web-03"), None), "{answer}");
}

fn bad_reports(scene: &Scene) {
    let with = |section: &str, value: Value| {
        let mut body = report("web-09", now());
        body["metrics"][section] = value;
        body
    };
    for (body, kind, place) in [
        (with("cpu", json!({"usage_percent": "warm"})), "float_parsing", "usage_percent"),
        (with("memory", json!({"usage_percent": "NaN"})), "finite_number", "usage_percent"),
        (with("disk", json!({"filesystems": {}})), "list_type", "filesystems"),
        (with("network", json!({"interfaces": [{"rx_bytes": []}]})), "float_type", "rx_bytes"),
        (json!({"metrics": {"cpu": {"usage_percent": 1}}}), "missing", "hostname"),
        (json!({"hostname": "a", "metrics": {}}), "value_error", "metrics"),
        (json!({"hostname": " ", "metrics": {"cpu": {"usage_percent": 1}}}), "value_error", "hostname"),
        (json!({"hostname": "a", "metrics": 5}), "missing", "name"),
    ] {
        let answer = scene.vigil.post("/api/v1/ingest/agent/metrics", &body).expect(422);
        assert_eq!(faults(&answer)[0], (kind.to_owned(), place.to_owned()), "{body}");
    }
    let stored = scene.vigil.get_json("/api/v1/query?metric_name=cpu_percent&target=web-09");
    assert_eq!(stored["count"], 0, "all or nothing");
}

fn queries(scene: &Scene) {
    let base = now() - 200;
    for n in 0..40_u64 {
        // Not in the order of their times.
        let at = base + (n * 17) % 40;
        let body = json!({"name": "depth", "value": at - base, "tags": {"host": format!("q-{}", n % 4)}, "timestamp": at});
        scene.vigil.post("/api/v1/ingest", &body).expect(201);
    }
    let values = |query: &str| -> Vec<i64> {
        let found = scene.vigil.get_json(&format!("/query?metric_name=depth&{query}"));
        assert_eq!(found["count"].as_u64(), found["metrics"].as_array().map(|all| all.len() as u64));
        #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
        found["metrics"].as_array().unwrap().iter().map(|one| one["value"].as_f64().unwrap() as i64).collect()
    };
    assert_eq!(values("limit=1000"), (0..40).rev().collect::<Vec<_>>(), "newest first");
    assert_eq!(values("limit=3"), [39, 38, 37]);
    assert_eq!(
        values(&format!("start_time={}&end_time={}", base + 5, base + 7)),
        [7, 6, 5],
        "both ends inside"
    );
    assert_eq!(values("target=q-1").len(), 10);
    assert_eq!(values("target=nobody"), [] as [i64; 0]);
    let nothing = scene.vigil.get_json("/api/v1/query?metric_name=never-sent");
    assert_eq!(nothing, json!({"ok": true, "count": 0, "metrics": []}));
    for (query, place) in [
        ("", "metric_name"),
        ("metric_name=", "metric_name"),
        ("metric_name=x&limit=1001", "limit"),
        ("metric_name=x&end_time=q", "end_time"),
    ] {
        assert_eq!(
            faults(&scene.vigil.get(&format!("/api/v1/query?{query}")).expect(422))[0].1,
            place,
            "{query}"
        );
    }
    let live = scene.vigil.get_json("/metrics/live?metric_name=depth");
    let live = live["metrics"].as_array().unwrap();
    assert_eq!((live.len(), &live[0]["value"]), (30, &json!(39.0)), "the last thirty, newest first");
    for member in ["value", "name", "timestamp", "target"] {
        assert!(!live[0][member].is_null(), "{member}");
    }
    let default = scene.vigil.get_json("/metrics/live");
    assert_eq!(default["metrics"][0]["name"], "cpu_usage", "{default}");
}

/// The Go gitopsd's event, the script's, and nothing that nobody reported.
fn drifts(scene: &Scene) {
    assert_eq!(scene.vigil.get_json("/drift"), json!({"actions": [], "count": 0}));
    let event = json!({"timestamp": now(), "event_type": "drift_detected", "resource": "Deployment/vigil-api",
        "namespace": "default", "manifest_path": "manifests/x.yaml", "drift_type": "mismatch",
        "details": {"reason": "replicas differ"}, "severity": "medium", "gitops_version": "1.0.0"});
    let paths = ["/api/v1/actions/gitopsd/events", "/api/v1/ingest/gitopsd/events", "/ingest/gitopsd/events"];
    for path in paths {
        let answer = scene.vigil.post(path, &event).expect(201).json();
        assert_eq!(
            (&answer["ok"], &answer["status"]),
            (&json!(true), &json!("recorded")),
            "{path}: {answer}"
        );
        assert!(answer["message"].is_string() && answer["event_id"].is_string(), "{answer}");
    }
    let listed = scene.vigil.get_json("/drift");
    assert_eq!(listed["count"], 1, "the same drift again is one drift: {listed}");
    let drift = &listed["actions"][0];
    let expected = json!({"target": "Deployment/vigil-api", "action": "reconcile", "status": "pending", "completed_at": null});
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&drift[member], value, "{member} in {drift}");
    }
    let details: Value = serde_json::from_str(drift["details"].as_str().unwrap()).unwrap();
    assert_eq!(details["reason"], "replicas differ", "{details}");
    let stored = scene.vigil.get_json("/query?metric_name=drift_detected&target=Deployment/vigil-api");
    assert_eq!(stored["metrics"][0]["tags"]["drift_type"], "mismatch", "{stored}");
    let mut over = event.clone();
    over["event_type"] = json!("drift_resolved");
    scene.vigil.post(paths[0], &over).expect(201);
    let listed = scene.vigil.get_json("/drift");
    let drift = &listed["actions"][0];
    assert!(drift["status"] == "completed" && drift["completed_at"].is_string(), "{listed}");

    for odd in [
        json!({}),
        json!({"resource": 7, "details": "text", "severity": null, "timestamp": "x", "drift_type": []}),
    ] {
        scene.vigil.post(paths[1], &odd).expect(201);
    }
    for none in [json!([1]), json!("text"), json!(null)] {
        scene.vigil.post(paths[1], &none).expect(422);
    }
    let script = json!({"path": "manifests/y.yaml", "metadata": {"manifest_path": "manifests/y.yaml",
        "timestamp": "2026-11-23T16:08:46Z", "resource_kind": "Service", "resource_name": "web", "drift_type": "missing"}});
    let answer = scene.vigil.post("/drift", &script).expect(201).json();
    assert_eq!(
        (&answer["status"], &answer["manifest"]),
        (&json!("drift_recorded"), &json!("manifests/y.yaml"))
    );
    let newest = scene.vigil.get_json("/drift")["actions"][0].clone();
    assert_eq!(newest["target"], "Service/web", "{newest}");
    assert_eq!(faults(&scene.vigil.post("/drift", &json!({})).expect(422))[0].1, "path");
    assert!(
        scene.vigil.get_json("/drift")["actions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["details"].is_string())
    );
}

/// A drift starts an action only where a policy reads it.
fn reconciled(scene: &Scene) {
    assert_eq!(scene.total(), 0, "no drift has started anything by itself");
    let policy = json!({"name": "reconcile", "target": "Deployment/*", "action": "custom", "auto_remediate": true,
        "condition": {"type": "metric_exceeds", "metric": "drift_detected", "threshold": 0}});
    scene.vigil.post("/api/v1/policies", &policy).expect(201);
    let event = json!({"resource": "Deployment/other", "drift_type": "missing"});
    scene.vigil.post("/ingest/gitopsd/events", &event).expect(201);
    let drift = scene.vigil.wait_json("/drift", LONG, |drift| drift["actions"][0]["status"] == "completed");
    assert_eq!(drift["actions"][0]["target"], "Deployment/other", "{drift}");
    assert_eq!(scene.target.count(), 1);
}

fn what_the_go_programs_send(setting: Setting) {
    let scene = Scene::new(setting, "");
    agent(&scene);
    bad_reports(&scene);
    queries(&scene);
    drifts(&scene);
    reconciled(&scene);
}

#[test]
fn agents_on_sqlite() {
    what_the_go_programs_send(Setting::Small);
}

#[test]
fn agents_on_postgres() {
    what_the_go_programs_send(Setting::Postgres);
}

/// Nobody invents drifts or actions on a server that hears nothing, however often it looks.
#[test]
fn an_idle_server_does_nothing() {
    let scene = Scene::with(Setting::Small, "", |options| options.env("VIGIL_POLICIES__TICK", "200ms"));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(scene.total(), 0);
    assert_eq!(scene.vigil.get_json("/drift")["count"], 0);
    assert_eq!(scene.vigil.get_json("/api/v1/incidents")["total"], 0);
}
