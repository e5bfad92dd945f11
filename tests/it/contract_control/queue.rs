//! Rows 34 to 39: the queue's numbers are the database's, and right.

use std::time::Duration;

use serde_json::{Value, json};

use super::{call, limitless, on_both};
use crate::support::{CountingTarget, Options, Postgres, Redis, Vigil, wait_until};

on_both!(numbers_count_what_happened, samples_are_taken, injected_tasks_touch_nothing);

const STATUS: &str = "/api/v1/queue/status";
const STATS: &str = "/api/v1/ui/queue/stats";

fn post(vigil: &Vigil, target: &str, queue: bool) -> Value {
    vigil.post_json(
        "/api/v1/actions",
        &json!({"target": target, "action": "custom", "queue_immediately": queue}),
    )
}

/// The seed's defect 4: counters that say 100 % while everything waits.
fn numbers_count_what_happened(options: Options) {
    let target = CountingTarget::start();
    let vigil = Vigil::start(options.config(format!(
        "[connections.webhook]\nurl = \"{}\"\nallow = [\"POST /**\", \"POST /\"]\n",
        target.url()
    )));
    let fresh = vigil.get_json(STATUS);
    assert_eq!(
        (&fresh["queue_name"], &fresh["success_rate"]),
        (&json!("remediation_queue"), &json!(0.0)),
        "{fresh}"
    );
    assert_eq!(fresh["last_processed_task"], Value::Null);
    let mut last = Value::Null;
    for at in 0..6 {
        last = post(&vigil, &format!("t{at}"), true)["action_id"].clone();
    }
    // Held: neither in the queue nor counted. Then one that nobody serves: put in and failed, never leased.
    let held = post(&vigil, "held", false)["action_id"].clone();
    wait_until(Duration::from_secs(30), "six to complete", || {
        vigil.get_json("/api/v1/actions/status/completed")["total"] == 6
    });
    let unserved = vigil
        .post_json("/api/v1/actions", &json!({"target": "u", "action": "nobody", "queue_immediately": true}));
    vigil.wait_json(
        &format!("/api/v1/actions/{}", unserved["action_id"]),
        Duration::from_secs(30),
        |action| action["status"] == "failed",
    );
    call(&vigil, "PUT", &format!("/api/v1/actions/{held}/cancel"), &Value::Null).expect(200);
    let (status, panel) = (vigil.get_json(STATUS), vigil.get_json(STATS));
    for (member, expected) in [
        ("queue_depth", json!(0)),
        ("queue_length", json!(0)),
        ("completed", json!(6)),
        ("tasks_completed", json!(6)),
        ("failed", json!(1)),
        ("tasks_failed", json!(1)),
        ("tasks_enqueued", json!(7)),
        ("tasks_dequeued", json!(6)),
        ("success_rate", json!(85.7)),
    ] {
        assert_eq!(status[member], expected, "{member} of {status}");
        assert_eq!(panel[member], expected, "{member} of {panel}");
    }
    assert_eq!(panel["ok"], true);
    for member in
        ["queue_depth", "tasks_enqueued", "tasks_dequeued", "tasks_completed", "tasks_failed", "success_rate"]
    {
        assert_eq!(panel["queue"][member], panel[member], "{member} of {panel}");
    }
    let processed = &status["last_processed_task"];
    assert_eq!(processed["task_id"], processed["action_id"].to_string(), "{processed}");
    assert!(
        processed["action_id"].as_i64() >= last.as_i64() && processed["timestamp"].is_string(),
        "{processed}"
    );
    for name in ["vigil_queue_length", "queue_length"] {
        assert!(
            vigil.metric(name) == 0.0 && vigil.get("/metrics").text().contains(&format!("\n{name} ")),
            "{name}"
        );
    }
}

fn samples_are_taken(options: Options) {
    let vigil = Vigil::start(options);
    let history = || vigil.get_json(STATUS)["history"].as_array().unwrap().clone();
    let before = history().len();
    let answer = call(&vigil, "POST", "/api/v1/queue/record-history", &Value::Null).expect(200).json();
    assert_eq!(answer["status"], "recorded", "{answer}");
    assert!(answer["message"].is_string());
    assert!(history().len() > before, "a sample now");
    // By itself every 5 s, at whole fives.
    wait_until(Duration::from_secs(12), "two samples of its own", || {
        let whole = |sample: &Value| {
            let time = sample["time"].as_str().unwrap();
            time.ends_with("0.000000Z") || time.ends_with("5.000000Z")
        };
        history().iter().filter(|sample| whole(sample)).count() >= 2
    });
    let history = history();
    let times: Vec<&str> = history.iter().map(|sample| sample["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && times.len() <= 60, "oldest first: {times:?}");
    assert!(history.iter().all(|sample| sample["depth"] == 0));
    let depths = vigil.get_json(STATS)["history"].clone();
    assert!(
        depths.as_array().unwrap().len() <= 5 && depths.as_array().unwrap().iter().all(Value::is_i64),
        "{depths}"
    );
}

/// The second half of the seed's defect 15.
fn injected_tasks_touch_nothing(options: Options) {
    let vigil = Vigil::start(options);
    let real = post(&vigil, "real", false)["action_id"].clone();
    let before = vigil.get_json(&format!("/api/v1/actions/{real}"));
    let inject = |body: &Value| call(&vigil, "POST", "/api/v1/ui/queue/inject-tasks", body);
    for (body, count) in
        [(Value::Null, 5), (json!({}), 5), (json!({"count": 2}), 2), (json!({"count": "3"}), 3)]
    {
        let answer = inject(&body).expect(200).json();
        assert_eq!((&answer["ok"], &answer["injected"]), (&json!(true), &json!(count)), "{body}: {answer}");
        assert!(answer["queue_depth"].is_i64() && answer["message"].is_string(), "{answer}");
    }
    for body in
        [json!({"count": 0}), json!({"count": 51}), json!({"count": "x"}), json!({"count": [1]}), json!([1])]
    {
        assert_eq!(inject(&body).status, 422, "{body}");
    }
    wait_until(Duration::from_secs(10), "all to be done", || {
        vigil.get_json("/api/v1/actions/status/completed")["total"] == 15
    });
    let list = vigil.get_json("/api/v1/actions?limit=50");
    let actions = list["actions"].as_array().unwrap();
    let simulated = actions.iter().filter(|action| action["simulated"] == true).count();
    assert_eq!((simulated, actions.len()), (15, 16), "each is a row that says so");
    assert_eq!(vigil.get_json(&format!("/api/v1/actions/{real}")), before, "a real action is untouched");
    assert_eq!(vigil.get_json(STATUS)["tasks_completed"], 15);
}

#[test]
fn loops_have_stable_names() {
    let vigil = Vigil::start(limitless());
    let tasks = vigil.get_json("/api/v1/queue/debug/tasks");
    let list = tasks["tasks"].as_array().unwrap();
    assert_eq!(tasks["count"], list.len());
    for name in [
        "heartbeat",
        "queue-hints",
        "plugin-watch",
        "sweep",
        "settings",
        "queue-history",
        "worker",
        "writer",
        "listener",
    ] {
        let found =
            list.iter().find(|task| task["name"] == name).unwrap_or_else(|| panic!("no {name}: {tasks}"));
        assert_eq!((&found["done"], &found["cancelled"]), (&json!(false), &json!(false)), "{found}");
    }
}

/// The queue's part of the seed's defect 23.
#[test]
fn redis_away_the_queue_answers_and_works() {
    let target = CountingTarget::start();
    let mut redis = Redis::start();
    let options = limitless().redis(redis.url()).config(format!(
        "[connections.webhook]\nurl = \"{}\"\nallow = [\"POST /**\", \"POST /\"]\n",
        target.url()
    ));
    let vigil = Vigil::start(options);
    let health = || vigil.get("/api/v1/queue/health").expect(200).json();
    wait_until(Duration::from_secs(10), "Redis to be seen", || health()["redis_connected"] == true);
    assert_eq!(health()["status"], "healthy");
    redis.stop();
    wait_until(Duration::from_secs(15), "its loss to be seen", || health()["status"] == "degraded");
    assert_eq!((&health()["redis_connected"], &health()["service"]), (&json!(false), &json!("queue")));
    let made = post(&vigil, "t", true);
    assert_eq!(made["queued"], true, "{made}");
    vigil.wait_json(&format!("/api/v1/actions/{}", made["action_id"]), Duration::from_secs(20), |action| {
        action["status"] == "completed"
    });
    assert_eq!(vigil.get(STATUS).expect(200).json()["tasks_completed"], 1);
    assert_eq!(vigil.get(STATS).expect(200).json()["tasks_completed"], 1);
}

#[test]
fn without_a_database_the_health_says_so() {
    let mut postgres = Postgres::start(false);
    let vigil = Vigil::start(limitless().database(postgres.database()));
    let health = || vigil.get("/api/v1/queue/health").expect(200).json();
    assert_eq!(
        (&health()["status"], &health()["redis_connected"]),
        (&json!("healthy"), &json!(false)),
        "no Redis is healthy"
    );
    postgres.stop();
    let away = health();
    assert_eq!((&away["status"], &away["queue_depth"]), (&json!("unhealthy"), &json!(0)), "{away}");
    for path in [STATUS, STATS] {
        let answer = vigil.get(path).expect(503);
        assert!(answer.header("Retry-After").is_some(), "{:?}", answer.headers);
    }
    postgres.start_again();
    wait_until(Duration::from_secs(20), "the database to be back", || health()["status"] == "healthy");
}
