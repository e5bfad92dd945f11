//! One request from its question to its end.

use super::*;
use crate::support::{Options, Program, Supervisord};

/// Guardrails under which a no is remembered.
fn rails(cooldown: &str) -> Value {
    json!({"cooldown": cooldown, "settle": "0s", "max_actions": 1, "window": "10m",
        "blast_radius": {"max": 1_000}, "mass_failure": {"targets": 1_000}})
}

fn a_real_process_is_restarted_only_after_a_yes(setting: Setting) {
    let sleeper = Program { autostart: false, ..Program::sleeper("web") };
    let supervisord = Supervisord::start(&[sleeper]);
    supervisord.start_process("web");
    let more = format!(
        "[connections.supervisor]\nurl = \"unix://{}\"\nallow = [\"POST /RPC2\"]\n",
        supervisord.socket().display()
    );
    let scene = Scene::new(setting, &more);
    scene.policy("sick", "web", &json!({"action": "restart"}));
    let before = supervisord.pid_of("web");
    let asked = scene.asked("web");
    let approval = &asked["approval"];
    assert_eq!((&asked["status"], &asked["state"]), (&json!("pending"), &json!("approval")), "{asked}");
    assert_eq!(
        (&approval["state"], &approval["required"], &approval["approvals"]),
        (&json!("waiting"), &json!(1), &json!([])),
        "{approval}"
    );
    let plan = &approval["plan"];
    assert_eq!((&plan["policy"], &plan["policy_version"]), (&json!("sick"), &json!(1)), "{plan}");
    assert!(plan["plugin"].is_string() && plan["digest"].as_str().is_some_and(|d| d.len() == 64), "{plan}");
    let bound = plan["connections"]["supervisor"].as_str().unwrap();
    assert!(bound.starts_with("supervisor@"), "{plan}");
    // Asked once; nothing happens meanwhile.
    for _ in 0..3 {
        assert_eq!(scene.reading("web", 95.0), ["awaiting_approval"]);
    }
    assert_eq!(scene.metric("vigil_decisions_total{decision=\"ask\",reason=\"\"}"), 1.0);
    wait_until(LONG, "the gauge", || scene.metric("vigil_approvals_waiting") == 1.0);
    assert_eq!(supervisord.pid_of("web"), before, "it runs as before");
    // Not by any other door.
    let path = |verb: &str| format!("/api/v1/actions/{}/{verb}", asked["id"]);
    scene.post(&scene.ann, &path("queue"), &json!({})).expect(400);
    let set = |status: &str| Request::new("PUT", &path("status")).json(&json!({"status": status}));
    for status in ["running", "completed", "failed"] {
        let refused = scene.send(&scene.ann, set(status)).expect(409);
        assert!(said(&refused).contains("/approve"), "{}", refused.text());
    }
    scene.approve(&scene.viewer, &asked).expect(403);
    let mut other = asked.clone();
    other["approval"]["plan_hash"] = json!("0".repeat(64));
    let refused = scene.approve(&scene.ann, &other).expect(409);
    assert!(
        said(&refused).starts_with("plan_changed: the hash is not that of the plan"),
        "{}",
        refused.text()
    );
    assert_eq!(supervisord.pid_of("web"), before);
    // The yes.
    let done = scene.approve(&scene.ann, &asked).expect(200).json();
    assert_eq!(done["approval"]["state"], "approved", "{done}");
    let ended = scene.until(&asked["id"], "the restart", |action| action["status"] == "completed");
    assert_ne!(supervisord.pid_of("web"), before, "restarted");
    assert_eq!(ended["digest"], plan["digest"], "by the component that was approved");
    // Said again by the same token it changes nothing; by another one it is too late.
    scene.approve(&scene.ann, &asked).expect(200);
    let late = scene.approve(&scene.bob, &asked).expect(409);
    assert!(said(&late).contains("it is approved"), "{}", late.text());
    scene.reject(&scene.bob, &asked).expect(409);
    let deeds = scene.deeds(&asked["id"]);
    let order =
        ["action.created", "approval.requested", "approval.given", "approval.granted", "attempt.started"];
    let places: Vec<usize> =
        order.iter().map(|verb| deeds.iter().position(|deed| deed == verb).unwrap()).collect();
    assert!(places.is_sorted(), "each is written down before what it allows: {deeds:?}");
    let why = scene.why(&asked["incident_id"]);
    let story = why["story"].to_string();
    for word in ["decided to ask for an approval", "token:2:ann approved action", "was approved: 1 said yes"]
    {
        assert!(story.contains(word), "the story does not tell of {word}: {story}");
    }
    assert_eq!(why["actions"][0]["approval"]["approvals"][0]["note"], "go", "{why}");
    assert!(why["audit"].to_string().contains(approval["plan_hash"].as_str().unwrap()), "{why}");
    assert_eq!(scene.metric("vigil_time_to_approval_seconds_count"), 1.0);
    wait_until(LONG, "the gauge", || scene.metric("vigil_approvals_waiting") == 0.0);
}

#[test]
fn a_real_process_is_restarted_only_after_a_yes_on_sqlite() {
    a_real_process_is_restarted_only_after_a_yes(Setting::Small);
}

#[test]
fn a_real_process_is_restarted_only_after_a_yes_on_postgresql() {
    a_real_process_is_restarted_only_after_a_yes(Setting::PostgresRedis);
}

#[test]
fn two_people_are_two_tokens_and_the_author_is_none_of_them() {
    let scene = Scene::new(Setting::Small, "");
    scene.policy("two", "web-1", &json!({"approval": {"people": 2, "not_author": true}}));
    let asked = scene.asked("web-1");
    let refused = scene.approve(&scene.author, &asked).expect(403);
    assert!(said(&refused).starts_with("not_author"), "{}", refused.text());
    for _ in 0..3 {
        let once = scene.approve(&scene.ann, &asked).expect(200).json();
        assert_eq!(
            (&once["state"], &once["approval"]["state"]),
            (&json!("approval"), &json!("waiting")),
            "{once}"
        );
    }
    let seen = scene.action(&asked["id"]);
    assert_eq!(seen["approval"]["approvals"].as_array().unwrap().len(), 1, "{seen}");
    assert_eq!(scene.target.count(), 0);
    // A switch off and on is another version of the policy: what was asked is for nothing, and it asks anew.
    let switch = |verb: &str| Request::new("PUT", &format!("/api/v1/policies/two/{verb}")).json(&json!({}));
    for verb in ["disable", "enable"] {
        scene.send(&scene.admin, switch(verb)).expect(200);
    }
    let refused = scene.approve(&scene.bob, &asked).expect(409);
    assert!(
        said(&refused).contains("plan_changed") || said(&refused).contains("it is"),
        "{}",
        refused.text()
    );
    wait_until(LONG, "it asks anew", || scene.action(&asked["id"])["status"] == "cancelled");
    wait_until(LONG, "it asks anew", || {
        scene.reading("web-1", 95.0);
        scene.get("/api/v1/actions?state=approval")["total"] == 1
    });
    let again = scene.waiting("web-1");
    // Whoever only switched it is not its author; whoever wrote it still is.
    scene.approve(&scene.author, &again).expect(403);
    scene.approve(&scene.admin, &again).expect(200);
    let done = scene.approve(&scene.bob, &again).expect(200).json();
    assert_eq!(done["approval"]["state"], "approved", "{done}");
    scene.until(&again["id"], "done", |action| action["status"] == "completed");
    assert_eq!(scene.target.count(), 1);
}

fn a_no_gives_everything_back_and_is_remembered(setting: Setting) {
    let scene = Scene::new(setting, "");
    scene.policy("once", "web-*", &json!({"guardrails": rails("1h")}));
    let asked = scene.asked("web-1");
    assert_eq!(scene.reading("web-2", 95.0), ["budget"], "what is asked for is reserved");
    let done = scene.reject(&scene.ann, &asked).expect(200).json();
    assert_eq!(
        (&done["status"], &done["approval"]["state"]),
        (&json!("cancelled"), &json!("rejected")),
        "{done}"
    );
    let action = scene.action(&asked["id"]);
    assert_eq!(action["details"], "Cancelled: rejected by token:2:ann: not now", "{action}");
    scene.approve(&scene.bob, &asked).expect(409);
    scene.reject(&scene.bob, &asked).expect(409);
    assert_eq!(scene.reading("web-1", 95.0), ["cooldown"], "a no holds as an action would");
    let second = scene.asked("web-2");
    assert_eq!(second["approval"]["state"], "waiting", "the counters are as they were");
    // To cancel is to say no.
    let cancel = Request::new("PUT", &format!("/api/v1/actions/{}/cancel", second["id"]));
    scene.send(&scene.bob, cancel.json(&json!({"reason": "lunch"}))).expect(200);
    assert_eq!(scene.action(&second["id"])["approval"]["decided_by"], "token:3:bob");
    assert_eq!(scene.asked("web-3")["state"], "approval");
    let why = scene.why(&asked["incident_id"]);
    let reasons: Vec<&Value> =
        why["decisions"].as_array().unwrap().iter().map(|decision| &decision["reason"]).collect();
    assert!(reasons.contains(&&json!("approval_rejected")), "{why}");
    assert_eq!(scene.target.count(), 0, "nothing has run");
}

#[test]
fn a_no_gives_everything_back_and_is_remembered_on_sqlite() {
    a_no_gives_everything_back_and_is_remembered(Setting::Small);
}

#[test]
fn a_no_gives_everything_back_and_is_remembered_on_postgresql() {
    a_no_gives_everything_back_and_is_remembered(Setting::Postgres);
}

#[test]
fn no_answer_is_a_no() {
    let scene = Scene::new(Setting::Small, "");
    let more = json!({"guardrails": rails("1h"), "approval": {"within": "1s"}});
    scene.policy("late", "web-*", &more);
    let asked = scene.asked("web-1");
    let over = scene.until(&asked["id"], "its end", |action| action["state"] == "expired");
    assert_eq!(over["approval"]["state"], "expired", "{over}");
    assert_eq!(over["details"], "Expired: not approved in time", "{over}");
    assert!(said(&scene.approve(&scene.ann, &asked).expect(409)).contains("expired"));
    assert_eq!(scene.reading("web-1", 95.0), ["cooldown"]);
    assert_eq!(scene.asked("web-2")["state"], "approval", "the counters are as they were");
    let why = scene.why(&asked["incident_id"]);
    assert!(why["story"].to_string().contains("approval_expired"), "{why}");
    assert!(scene.deeds(&asked["id"]).contains(&"approval.expired".to_owned()));
    assert_eq!(scene.target.count(), 0);
}

#[test]
fn what_was_asked_for_must_still_be_so() {
    let scene = Scene::new(Setting::Small, "");
    let open = asks("x", "x", &json!({}))["guardrails"].clone();
    let mut short = open.clone();
    short["max_event_age"] = json!("2s");
    scene.policy("clears", "web-*", &json!({"guardrails": open}));
    scene.policy("ages", "old-*", &json!({"guardrails": short}));
    // It clears: the request is withdrawn, with or without anybody.
    let asked = scene.asked("web-1");
    assert!(scene.reading("web-1", 10.0).is_empty());
    let over = scene.action(&asked["id"]);
    assert_eq!(
        (&over["state"], &over["approval"]["state"]),
        (&json!("expired"), &json!("withdrawn")),
        "{over}"
    );
    assert!(said(&scene.approve(&scene.ann, &asked).expect(409)).contains("withdrawn"));
    // Hot and cool again in one request.
    let of = |value: i64| json!({"name": "heat", "value": value, "tags": {"service": "web-2"}});
    scene.post(&scene.admin, "/api/v1/ingest", &json!([of(95), of(10)])).expect(201);
    let list = scene.get("/api/v1/actions?target=web-2");
    assert_eq!(list["actions"][0]["approval"]["state"], "withdrawn", "{list}");
    // Nothing is known of it for too long.
    let asked = scene.asked("old-1");
    let begun = std::time::Instant::now();
    let stale = wait_for(LONG, "its sample to grow old", || {
        std::thread::sleep(Duration::from_millis(100));
        (begun.elapsed() > Duration::from_millis(2_500)).then(|| scene.approve(&scene.ann, &asked))
    });
    assert!(said(&stale.expect(409)).starts_with("stale: "));
    assert_eq!(scene.action(&asked["id"])["state"], "approval", "it still waits");
    assert_eq!(scene.reading("old-1", 96.0), ["awaiting_approval"]);
    // In a pause nothing is let go.
    scene.post(&scene.admin, "/api/v1/pause", &json!({})).expect(200);
    let held = scene.approve(&scene.ann, &asked).expect(409);
    assert!(said(&held).starts_with("paused: "), "{}", held.text());
    scene.send(&scene.admin, Request::new("DELETE", "/api/v1/pause")).expect(200);
    assert_eq!(scene.reading("old-1", 97.0), ["awaiting_approval"]);
    scene.approve(&scene.ann, &asked).expect(200);
    scene.until(&asked["id"], "done", |action| action["status"] == "completed");
    assert_eq!(scene.target.count(), 1, "one action of all of them");
}

#[test]
fn what_is_approved_late_counts_when_it_is_done() {
    let scene = Scene::new(Setting::Small, "");
    let mut rails = rails("0s");
    rails["window"] = json!("4s");
    scene.policy("one-at-a-time", "web-*", &json!({"guardrails": rails}));
    let first = scene.asked("web-1");
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(scene.reading("web-2", 95.0), ["budget"], "what waits is reserved as long as it waits");
        std::thread::sleep(Duration::from_millis(200));
    }
    scene.reading("web-1", 95.0);
    scene.approve(&scene.ann, &first).expect(200);
    let approved = std::time::Instant::now();
    wait_until(LONG, "the window to pass", || {
        std::thread::sleep(Duration::from_millis(100));
        scene.reading("web-2", 95.0) != ["budget"]
    });
    assert!(approved.elapsed() > Duration::from_millis(3_500), "two in one window: {:?}", approved.elapsed());
    scene.waiting("web-2");
}

#[test]
fn a_request_stands_in_nobody_s_way() {
    let scene = Scene::new(Setting::Small, "");
    scene.policy("asks", "web-1", &json!({}));
    assert_eq!(scene.reading("web-1", 95.0), ["ask"]);
    let acts = asks("acts", "web-1", &json!({"mode": "auto"}));
    scene.post(&scene.author, "/api/v1/policies", &acts).expect(201);
    assert_eq!(scene.reading("web-1", 95.0), ["awaiting_approval", "act"]);
    wait_until(LONG, "the other policy's action", || scene.target.count() == 1);
    let asked = scene.waiting("web-1");
    scene.approve(&scene.ann, &asked).expect(200);
    scene.until(&asked["id"], "done", |action| action["status"] == "completed");
    assert_eq!(scene.target.count(), 2);
}

#[test]
fn answers_are_read_strictly_and_never_counted_against_anybody() {
    let scene = Scene::new(Setting::Small, "");
    scene.policy("asks", "web-1", &json!({}));
    let asked = scene.asked("web-1");
    let path = |id: &Value, verb: &str| format!("/api/v1/actions/{id}/{verb}");
    let hash = asked["approval"]["plan_hash"].clone();
    for (body, loc) in [
        (json!({}), "plan_hash"),
        (json!({"plan_hash": "abc"}), "plan_hash"),
        (json!({"plan_hash": 7}), "plan_hash"),
        (json!({"plan_hash": hash, "note": "x".repeat(1001)}), "note"),
        (json!({"plan_hash": hash, "note": 7}), "note"),
    ] {
        let refused = scene.post(&scene.ann, &path(&asked["id"], "approve"), &body).expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", loc]), "{body}: {refused}");
    }
    scene.post(&scene.ann, &path(&asked["id"], "reject"), &json!({"note": []})).expect(422);
    scene.post(&scene.ann, "/api/v1/actions/x/approve", &json!({"plan_hash": hash})).expect(422);
    scene.post(&scene.ann, "/api/v1/actions/999999/approve", &json!({"plan_hash": hash})).expect(404);
    scene.post(&scene.ann, "/api/v1/actions/999999/reject", &json!({})).expect(404);
    let made = json!({"target": "t", "action": "custom"});
    let by_hand = scene.post(&scene.ann, "/api/v1/actions", &made).expect(201).json();
    let refused = scene
        .post(&scene.ann, &path(&by_hand["action_id"], "approve"), &json!({"plan_hash": hash}))
        .expect(409);
    assert!(said(&refused).contains("asks for no approval"), "{}", refused.text());
    assert_eq!(scene.action(&asked["id"])["state"], "approval", "it still waits");
    // A token for other targets can't answer.
    let body = json!({"name": "dba", "role": "operator", "targets": ["db-*"]});
    let made = scene.post(&scene.admin, "/api/v1/tokens", &body).expect(201).json();
    let dba = made["token"].as_str().unwrap();
    scene.approve(dba, &asked).expect(403);
    scene.reject(dba, &asked).expect(403);
}

#[test]
fn people_are_heard_whatever_the_rate() {
    let options = Options::default().rated().env("VIGIL_AUTH__MODE", "token");
    let vigil = Vigil::start(options);
    let admin = std::fs::read_to_string(vigil.data_dir().join("bootstrap-token")).unwrap();
    for _ in 0..400 {
        let request = Request::post("/api/v1/actions/7/reject", &json!({}));
        vigil.send(&signed(admin.trim(), request)).expect(404);
    }
}
