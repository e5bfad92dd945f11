//! The push side, both ends: what our worker posts where no plugin serves an action, and what we do with a post.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LONG, Scene, faults};
use crate::stage::Setting;
use crate::support::{Answer, Behaviour, CountingTarget, Request, Vigil, free_port, wait_until};

/// A server that pushes to a stub.
fn pushing(more: &str) -> (Scene, CountingTarget) {
    let stub = CountingTarget::start();
    // Without a path: /remediate is meant.
    let scene =
        Scene::new(Setting::Small, &format!("[remediation]\npush = true\nurl = \"{}\"\n{more}", stub.url()));
    (scene, stub)
}

fn queued(target: &str) -> Value {
    json!({"target": target, "action": "reboot-rack", "queue_immediately": true, "priority": "high",
        "params": {"rack": 7, "slowly": true}})
}

fn answers(stub: &CountingTarget, answer: Answer) {
    stub.behave(Behaviour { answer, ..Behaviour::default() });
    stub.forget();
}

#[test]
fn an_action_is_posted_once_with_everything_that_is_known() {
    let (scene, stub) = pushing("");
    let id = scene.make(&queued("web-01"));
    let done = scene.ended(id);
    assert_eq!((&done["status"], &done["plugin"]), (&json!("completed"), &json!("remediator")), "{done}");
    let calls = stub.calls();
    let [call] = calls.as_slice() else { panic!("exactly one post: {calls:?}") };
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/remediate"));
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let expected = json!({"action": "reboot-rack", "target": "web-01", "severity": "critical", "policy_id": null,
        "alert_id": null, "action_id": id, "request_id": done["execution_id"], "attempt": 1,
        "params": {"rack": 7, "slowly": true}});
    assert_eq!(body, expected);
    let request_id = done["execution_id"].as_str();
    assert_eq!((call.header("x-request-id"), call.key()), (request_id, request_id));
    assert_eq!(call.header("content-type"), Some("application/json"));
    let attempts = scene.vigil.get_json(&format!("/api/v1/actions/{id}/attempts"));
    assert_eq!(attempts["attempts"][0]["calls"][0]["status"], 200, "{attempts}");

    // What a plugin serves is not pushed.
    let custom = scene.make(&json!({"target": "web-01", "action": "custom", "queue_immediately": true}));
    assert_eq!(scene.ended(custom)["plugin"], "webhook");
    assert_eq!((stub.count(), scene.target.count()), (1, 1));

    for (status, attempts) in [(400, 1), (404, 1), (500, 1), (302, 1), (429, 3), (503, 3)] {
        answers(&stub, Answer::Text(status, json!({"detail": "no, since so"}).to_string()));
        let failed = scene.ended(scene.make(&queued("web-02")));
        let why = failed["error_message"].as_str().unwrap();
        assert_eq!(
            (&failed["status"], failed["attempts"].as_i64()),
            (&json!("failed"), Some(attempts)),
            "{failed}"
        );
        assert!(why.contains(&status.to_string()) && why.contains("no, since so"), "{why}");
        assert_eq!(i64::try_from(stub.count()), Ok(attempts), "{status}");
    }
    let ids: std::collections::HashSet<_> =
        stub.calls().iter().map(|call| call.key().map(str::to_owned)).collect();
    assert_eq!(ids.len(), 1, "one request id over all attempts of an action");
}

#[test]
fn a_remediator_that_fails_twice_is_asked_three_times_at_1_and_2_seconds() {
    let stub = CountingTarget::start();
    let more = format!("[remediation]\npush = true\nurl = \"{}/a/path?of=its\"\n", stub.url());
    let scene = Scene::with(Setting::Small, &more, |options| {
        options.env("VIGIL_RETRY__BASE_DELAY", "1s").env("VIGIL_RETRY__MAX_DELAY", "60s")
    });
    stub.behave(Behaviour { fail_first: 2, fail_status: 502, ..Behaviour::default() });
    let id = scene.make(&queued("web-01"));
    let done = scene.ended(id);
    assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(3)), "{done}");
    let calls = stub.calls();
    let paths: Vec<&str> = calls.iter().map(|call| call.path.as_str()).collect();
    assert_eq!(paths, ["/a/path?of=its"; 3], "the configured path, as it is");
    let pauses: Vec<f64> =
        calls.windows(2).map(|two| two[1].began.duration_since(two[0].began).as_secs_f64()).collect();
    // Jitter shortens by up to a tenth; a busy machine and the look for due retries lengthen.
    for (pause, expected) in pauses.iter().zip([1.0, 2.0]) {
        assert!((expected * 0.9..expected + 1.5).contains(pause), "{pauses:?}");
    }
}

#[test]
fn silence_after_sending_is_an_unknown_outcome_and_no_connection_is_tried_again() {
    let (scene, stub) = pushing("timeout = \"700ms\"\nidempotent = [\"swap-fan\"]\n");
    for answer in [Answer::Hang, Answer::Close, Answer::Text(202, "{}".into())] {
        answers(&stub, answer.clone());
        let lost = scene.ended(scene.make(&queued(&format!("{answer:?}"))));
        let why = lost["error_message"].as_str().unwrap();
        assert!(lost["state"] == "uncertain" && why.starts_with("Outcome unknown:"), "{answer:?}: {lost}");
        assert_eq!(stub.count(), 1, "it is not repeated: {answer:?}");
    }
    answers(&stub, Answer::Close);
    let body = json!({"target": "fan", "action": "swap-fan", "queue_immediately": true});
    let failed = scene.ended(scene.make(&body));
    assert_eq!((&failed["state"], stub.count()), (&json!("dead"), 3), "an idempotent kind is: {failed}");
    drop(stub);
    let failed = scene.ended(scene.make(&queued("away")));
    assert_eq!((&failed["state"], &failed["attempts"]), (&json!("dead"), &json!(3)), "{failed}");
    assert!(failed["error_message"].as_str().unwrap().contains("can't be reached"), "{failed}");
}

#[test]
fn a_cancelled_push_changes_nothing_any_more() {
    let (scene, stub) = pushing("");
    stub.behave(Behaviour { delay: Duration::from_secs(2), ..Behaviour::default() });
    let id = scene.make(&queued("web-01"));
    wait_until(LONG, "the post", || stub.count() == 1);
    let answer =
        scene.put(&format!("/api/v1/actions/{id}/cancel"), &json!({"reason": "enough"})).expect(200).json();
    assert_eq!(answer["previous_status"], "running", "{answer}");
    std::thread::sleep(Duration::from_secs(3));
    let shown = scene.show(id);
    assert_eq!((&shown["status"], &shown["details"]), (&json!("cancelled"), &json!("Cancelled: enough")));
    assert_eq!(stub.count(), 1);
}

#[test]
fn a_server_does_not_push_to_itself() {
    let port = free_port();
    let config = format!("[remediation]\npush = true\nurl = \"http://localhost:{port}/remediate\"\n");
    let mut options = crate::support::Options::default().config(config);
    (options.port, options.no_wait) = (Some(port), true);
    let mut vigil = Vigil::start(options);
    let status = vigil.wait_exit(LONG).expect("it must not go on");
    assert!(!status.success() && vigil.log().contains("does not push to itself"), "{}", vigil.log());
}

fn post(vigil: &Vigil, path: &str, request_id: &str, action: &str) -> crate::support::Response {
    let body = json!({"action": action, "target": "web-01", "severity": "critical", "policy_id": "hot",
        "alert_id": "7", "action_id": 12, "request_id": request_id, "params": {"a": 1}, "attempt": 1});
    vigil.send(&Request::post(path, &body).header("X-Request-ID", "r-1"))
}

#[test]
fn a_pushed_action_is_carried_out_once_and_waited_for() {
    let off = Scene::new(Setting::Small, "");
    let refused = post(&off.vigil, "/remediate", "r-1", "custom").expect(404).json();
    assert!(refused["detail"].as_str().unwrap().contains("remediation.accept"), "{refused}");
    drop(off);
    let scene = Scene::new(Setting::Small, "[remediation]\naccept = true\n");
    let first = post(&scene.vigil, "/remediate", "r-1", "custom").expect(200).json();
    assert_eq!((&first["ok"], &first["status"]), (&json!(true), &json!("completed")), "{first}");
    let shown = scene.show(first["action_id"].as_i64().unwrap());
    assert_eq!((&shown["priority"], &shown["params"]), (&json!("high"), &json!({"a": 1})), "{shown}");
    let again = post(&scene.vigil, "/remediate/remediate", "r-1", "custom").expect(200).json();
    assert_eq!((again, scene.target.count()), (first, 1), "once per request id");
    post(&scene.vigil, "/remediate", "r-1", "other").expect(409);
    let failed = post(&scene.vigil, "/remediate", "r-2", "nobody-serves-this").expect(502).json();
    assert_eq!((&failed["ok"], &failed["status"]), (&json!(false), &json!("failed")), "{failed}");
    assert!(failed["error_message"].as_str().unwrap().contains("no_plugin"), "{failed}");
    let answer = scene.vigil.post("/remediate", &json!({"action": 1})).expect(422);
    assert_eq!(faults(&answer).len(), 2, "{}", answer.text());
    // Without a request id in the body the header counts.
    let body = json!({"action": "custom", "target": "web-02"});
    let request = || Request::post("/remediate", &body).header("X-Request-ID", "by-header");
    let ids =
        [scene.vigil.send(&request()).expect(200).json(), scene.vigil.send(&request()).expect(200).json()];
    assert_eq!(ids[0]["action_id"], ids[1]["action_id"]);
}

/// Two servers: one has the policy, the other the plugin.
#[test]
fn one_server_pushes_to_another() {
    let far = Scene::new(
        Setting::Small,
        "[remediation]\naccept = true\n[[routes]]\naction = \"reboot-rack\"\nplugin = \"webhook\"\n\
         plugin_action = \"custom\"\n",
    );
    let more = format!("[remediation]\npush = true\nurl = \"{}\"\n", far.vigil.url());
    let near = Scene::new(Setting::Small, &more);
    let begun = Instant::now();
    let done = near.ended(near.make(&queued("web-01")));
    assert_eq!(done["status"], "completed", "{done}");
    assert!(begun.elapsed() < LONG);
    assert_eq!(far.target.count(), 1);
    let there = far.vigil.get_json("/api/v1/actions");
    assert_eq!(there["total"], 1, "{there}");
    assert!(there["actions"][0]["details"].is_string());
    let failed =
        near.ended(near.make(&json!({"target": "a", "action": "nobody", "queue_immediately": true})));
    assert!(failed["status"] == "failed", "{failed}");
}
