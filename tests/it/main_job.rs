//! The main job, on every database and queue: a real busy process, its real reading, a policy, a plugin, a
//! new process.

use std::time::Duration;

use serde_json::json;

use crate::stage::{Backend, Setting};
use crate::support::{Program, Supervisord, Vigil, wait_for};

#[test]
fn a_busy_process_is_restarted_on_sqlite() {
    heals(Setting::Small);
}

#[test]
fn a_busy_process_is_restarted_on_sqlite_with_redis() {
    heals(Setting::SmallRedis);
}

#[test]
fn a_busy_process_is_restarted_on_postgresql() {
    heals(Setting::Postgres);
}

#[test]
fn a_busy_process_is_restarted_on_postgresql_with_redis() {
    heals(Setting::PostgresRedis);
}

fn heals(setting: Setting) {
    let busy = Program { command: "/bin/sh -c 'while :; do :; done'".into(), ..Program::sleeper("web") };
    let supervisord = Supervisord::start(&[busy]);
    supervisord.start_process("web");
    let backend = Backend::new(setting);
    let config = format!(
        "[connections.supervisor]\nurl = \"unix://{}\"\nallow = [\"POST /RPC2\"]\n",
        supervisord.socket().display()
    );
    let vigil = Vigil::start(backend.options(&config));
    vigil.post_json(
        "/api/v1/policies",
        &json!({"name": "spins", "target": "web", "severity": "critical", "action": "restart",
            "auto_remediate": true,
            "condition": {"type": "metric_exceeds", "metric": "cpu_percent", "threshold": 10}}),
    );
    let before = wait_for(Duration::from_secs(20), "the process", || {
        Some(supervisord.pid_of("web")).filter(|pid| *pid > 0)
    });
    // A machine that also compiles leaves a busy loop little; an idle process would still read 0.
    let reading = wait_for(Duration::from_secs(30), "a reading over 10 %", || {
        Some(cpu_percent(before)).filter(|percent| *percent > 10.0)
    });
    let answer = vigil.post_json(
        "/api/v1/ingest",
        &json!({"name": "cpu_percent", "value": reading, "tags": {"service": "web", "region": "x"}}),
    );
    assert_eq!(answer["violations"][0]["policy_name"], "spins", "{answer}");
    let id = answer["actions_triggered"][0]["action_id"].as_i64().expect("an action");
    let action = wait_for(Duration::from_secs(60), "the action to end", || {
        let action = vigil.get_json(&format!("/api/v1/actions/{id}"));
        (action["status"] != "pending" && action["status"] != "running").then_some(action)
    });
    assert_eq!(action["status"], "completed", "{action}");
    let after = supervisord.pid_of("web");
    println!("{setting:?}: cpu {reading:.0} %, pid {before} -> {after}, {}", action["details"]);
    assert!(after > 0 && after != before, "pid {before} -> {after}");
    let why = vigil.get_json(&format!("/api/v1/incidents/{}/why", action["incident_id"]));
    assert_eq!(why["event"]["metric_id"], answer["metric_id"], "{why}");
    assert_eq!(why["decisions"][0]["decision"], "act", "{why}");
    assert_eq!(why["actions"][0]["attempts"][0]["outcome"], "ok", "{why}");
    let story = why["story"].to_string();
    for word in ["cpu_percent", "spins", "POST /RPC2", &before.to_string(), &after.to_string()] {
        assert!(story.contains(word), "the story does not tell of {word}: {story}");
    }
}

/// What a process used of one CPU over 200 ms, from /proc.
fn cpu_percent(pid: u32) -> f64 {
    let ticks = || -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        number(11) + number(12)
    };
    let (begun, first) = (std::time::Instant::now(), ticks());
    std::thread::sleep(Duration::from_millis(300));
    (ticks() - first) / 100.0 / begun.elapsed().as_secs_f64() * 100.0
}
