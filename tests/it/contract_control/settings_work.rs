//! Settings take effect while the server runs: one test per consumer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{call, heat, limitless, make};
use crate::support::{Answer, Behaviour, CountingTarget, Options, Vigil, wait_until};

#[track_caller]
fn set(vigil: &Vigil, settings: &Value) {
    let answer = call(vigil, "PUT", "/api/v1/settings", &json!({"settings": settings})).expect(200).json();
    assert_eq!(answer["reload_applied"], true, "{answer}");
}

fn webhook(target: &CountingTarget) -> Options {
    limitless().config(format!(
        "[connections.webhook]\nurl = \"{}\"\nallow = [\"POST /**\", \"POST /\"]\n",
        target.url()
    ))
}

fn count(vigil: &Vigil, message: &str) -> usize {
    vigil.log_lines().iter().filter(|line| line["message"] == message).count()
}

#[test]
fn log_level_debug_metrics_and_audit() {
    let vigil = Vigil::start(limitless());
    let levels = |level: &str| vigil.log_lines().iter().filter(|line| line["level"] == level).count();
    vigil.get("/health").expect(200);
    assert!(count(&vigil, "Request completed") > 0 && count(&vigil, "Audit log entry") > 0);
    set(&vigil, &json!({"log_level": "ERROR"}));
    let before = (levels("INFO"), levels("WARNING"));
    vigil.get("/health").expect(200);
    vigil.get("/api/v1/policies/none").expect(404);
    assert_eq!((levels("INFO"), levels("WARNING")), before, "nothing below ERROR is written");
    set(&vigil, &json!({"log_level": "INFO", "audit_logging_enabled": false}));
    let (requests, entries) = (count(&vigil, "Request completed"), count(&vigil, "Audit log entry"));
    vigil.get("/health").expect(200);
    assert!(count(&vigil, "Request completed") > requests, "written again");
    assert_eq!(count(&vigil, "Audit log entry"), entries, "without audit entries");
    vigil.get("/metrics").expect(200);
    set(&vigil, &json!({"metrics_enabled": false}));
    vigil.get("/metrics").expect(404);
    set(&vigil, &json!({"metrics_enabled": true, "debug": true}));
    vigil.get("/metrics").expect(200);
    assert_eq!(vigil.get("/api/v1/policies/none").expect(404).json()["detail"], "Policy 'none' not found");
}

#[test]
fn retries_follow_the_settings() {
    let target = CountingTarget::start();
    target.behave(Behaviour { answer: Answer::Text(503, "{}".into()), ..Behaviour::default() });
    let vigil = Vigil::start(webhook(&target));
    set(
        &vigil,
        &json!({"retry": {"max_attempts": 4, "backoff": "constant", "base_delay": 0.3, "max_delay": 1}}),
    );
    let begun = Instant::now();
    let body = json!({"target": "t", "action": "custom", "queue_immediately": true});
    let made = vigil.post_json("/api/v1/actions", &body);
    let path = format!("/api/v1/actions/{}", made["action_id"]);
    let action = vigil.wait_json(&path, Duration::from_secs(30), |action| action["status"] == "failed");
    let took = begun.elapsed();
    assert_eq!((&action["attempts"], target.count()), (&json!(4), 4), "{action}");
    // Three pauses of 0.3 s, each found at the next look of the sweep (1 s) at the latest.
    assert!(took >= Duration::from_millis(800) && took < Duration::from_secs(6), "{took:?}");
    let numbers = vigil.get_json("/api/v1/queue/status");
    assert_eq!((&numbers["tasks_enqueued"], &numbers["tasks_dequeued"]), (&json!(4), &json!(4)), "{numbers}");
    assert_eq!((&numbers["tasks_failed"], &numbers["tasks_completed"]), (&json!(1), &json!(0)), "{numbers}");
}

#[test]
fn attempts_at_once_follow_the_settings() {
    let target = CountingTarget::start();
    target.behave(Behaviour { delay: Duration::from_millis(400), ..Behaviour::default() });
    let vigil = Vigil::start(webhook(&target));
    let running = || vigil.get_json("/api/v1/actions/status/running")["total"].as_i64().unwrap();
    let most = |count: usize, prefix: &str| {
        for at in 0..count {
            let body =
                json!({"target": format!("{prefix}{at}"), "action": "custom", "queue_immediately": true});
            vigil.post_json("/api/v1/actions", &body);
        }
        let mut most = 0;
        wait_until(Duration::from_secs(30), "the queue to be empty", || {
            most = most.max(running());
            vigil.get_json("/api/v1/actions/status/pending")["total"] == 0 && running() == 0
        });
        most
    };
    assert!(most(8, "a") > 1, "several at once by default");
    set(&vigil, &json!({"remediation": {"max_concurrent": 1}}));
    assert_eq!(most(4, "b"), 1, "one at a time");
    set(&vigil, &json!({"remediation": {"max_concurrent": 4}}));
    let some = most(10, "c");
    assert!((2..=4).contains(&some), "up to four: {some}");
}

#[test]
fn the_scheduled_evaluation_follows_the_settings() {
    let vigil = Vigil::start(limitless());
    heat(&vigil, "h", 95.0);
    // The first round comes at once; the next would be 30 s later.
    vigil.wait_json("/api/v1/policies/runner/status", Duration::from_secs(5), |status| {
        !status["runner"]["last_run_at"].is_null()
    });
    make(&vigil, "p", json!({"auto_remediate": true}));
    set(&vigil, &json!({"policy": {"interval": 1}}));
    wait_until(Duration::from_secs(4), "the shorter interval", || {
        vigil.get_json("/api/v1/actions")["total"] == 1
    });
}

/// The seed's defect 17: the limiter follows.
#[test]
fn the_limiter_follows_the_settings() {
    let vigil = Vigil::start(Options::default().rated());
    let ask = || vigil.get("/api/v1/policies");
    set(&vigil, &json!({"rate_limit": {"requests": 3, "period": 2}}));
    let answers: Vec<u16> = (0..5).map(|_| ask().status).collect();
    assert_eq!(answers, [200, 200, 200, 429, 429]);
    assert_eq!(ask().header("X-RateLimit-Limit"), Some("3"));
    // The shorter window counts from its own beginning.
    wait_until(Duration::from_secs(4), "the next window", || ask().status == 200);
    set(&vigil, &json!({"rate_limit": {"enabled": false}}));
    assert!((0..9).all(|_| ask().status == 200), "switched off");
}
