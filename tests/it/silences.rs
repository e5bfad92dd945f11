//! Silences: what people want left alone is left alone, on every node, over restarts and syncs; and what led to an action
//! is asked about once more before it starts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod again;
mod calendar;
mod wire;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, config, open_policy};
use crate::support::{CountingTarget, Request, Vigil, wait_until};

const LONG: Duration = Duration::from_secs(30);
/// Longer than any worker, sweep or tick of these servers takes to notice that something may run.
const WATCH: Duration = Duration::from_secs(3);

fn heat(vigil: &Vigil, target: &str, value: i64) -> Value {
    let tags = json!({"service": target, "env": "prod"});
    vigil.post_json("/api/v1/ingest", &json!({"name": "heat", "value": value, "tags": tags}))
}

/// What was decided about a sample over the threshold.
fn hot(vigil: &Vigil, target: &str) -> Value {
    heat(vigil, target, 95)["violations"][0].clone()
}

fn made(vigil: &Vigil, target: &str) -> Value {
    let body = json!({"target": target, "action": "custom", "queue_immediately": true});
    vigil.post("/api/v1/actions", &body).expect(201).json()
}

fn silence(vigil: &Vigil, matchers: &[&str], duration: &str) -> Value {
    let body = json!({"matchers": matchers, "duration": duration, "comment": "new kernel"});
    vigil.post("/api/v1/silences", &body).expect(201).json()
}

fn end(vigil: &Vigil, silence: &Value) -> Value {
    vigil.send(&Request::new("DELETE", &format!("/api/v1/silences/{}", silence["id"]))).expect(200).json()
}

fn why(vigil: &Vigil, violation: &Value) -> Value {
    vigil.get_json(&format!("/api/v1/incidents/{}/why", violation["incident_id"]))
}

fn it_holds(setting: Setting, nodes: usize) {
    let target = CountingTarget::start();
    let backend = Backend::new(setting);
    let config = config(&target.url());
    let mut servers: Vec<Vigil> = (0..nodes).map(|_| Vigil::start(backend.options(&config))).collect();
    servers[0].post_json("/api/v1/policies", &open_policy("p", "*-1", "custom"));
    servers[0].post_json("/api/v1/policies", &open_policy("q", "*-2", "custom"));
    // Every node has looked once before there is one.
    for (at, server) in servers.iter().enumerate() {
        assert_eq!(hot(server, &format!("early{at}-1"))["decision"], "act", "node {at}");
    }
    wait_until(LONG, "the first calls", || target.count() == nodes);
    let made_at = Instant::now();
    let silence = silence(&servers[0], &["target=~web.*", "policy=p", "tags.env!=test"], "1h");
    assert_eq!(
        (&silence["state"], &silence["comment"]),
        (&json!("active"), &json!("new kernel")),
        "{silence}"
    );
    let mut seen = Value::Null;
    for (at, server) in servers.iter().enumerate() {
        seen = hot(server, &format!("web{at}-1"));
        assert_eq!(seen["decision"], "silenced", "node {at}: {seen}");
        assert_eq!(hot(server, &format!("db{at}-1"))["decision"], "act", "another target, node {at}");
        assert_eq!(hot(server, &format!("web{at}-2"))["decision"], "act", "another policy, node {at}");
    }
    assert!(made_at.elapsed() < Duration::from_secs(10), "asked while it was new: {:?}", made_at.elapsed());
    let told = why(&servers[0], &seen);
    let decision = &told["decisions"][0];
    assert_eq!(
        (&decision["reason"], &decision["until"]),
        (&json!("silenced"), &silence["ends_at"]),
        "{told}"
    );
    let held = json!({"id": silence["id"], "author": silence["author"], "comment": "new kernel",
        "until": silence["ends_at"]});
    assert_eq!(decision["silence"], held, "{told}");
    assert!(told["story"].to_string().contains("new kernel"), "{told}");
    // What people do by hand is not held back, and is told of it.
    let by_hand = made(&servers[0], "web-hand");
    assert_eq!(by_hand["queued"], true, "{by_hand}");
    let warned = &by_hand["warnings"];
    assert!(warned.is_null(), "a silence of one policy's actions says nothing of what people do: {by_hand}");
    let calls = nodes * 3 + 1;
    wait_until(LONG, "the calls", || target.count() == calls);
    // Neither a kill of every node nor new and re-read policies end it.
    for server in &mut servers {
        server.kill9();
        server.start_again();
    }
    servers[0].post_json("/api/v1/policies", &open_policy("another", "none", "custom"));
    servers[0].send(&Request::new("POST", "/api/v1/policies/reload")).expect(200);
    for (at, server) in servers.iter().enumerate() {
        let again = hot(server, &format!("web{at}-1"));
        assert_eq!(again["decision"], "silenced", "node {at}: {again}");
        wait_until(LONG, "the gauge", || server.metric("vigil_silences{state=\"active\"}") == 1.0);
        let counted = "vigil_decisions_total{decision=\"suppress\",reason=\"silenced\"}";
        assert!(server.metric(counted) >= 1.0, "node {at}");
    }
    thread::sleep(WATCH);
    assert_eq!(target.count(), calls, "nothing was called that is to be left alone");
    // Ended anywhere, and the tick acts: the condition is still met.
    let last = servers.last().unwrap();
    let ended = end(last, &silence);
    assert_eq!(ended["silence"]["state"], "expired", "{ended}");
    wait_until(LONG, "the tick to act", || target.count() == calls + nodes);
    let told = why(&servers[0], &seen);
    let words: Vec<&Value> =
        told["decisions"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
    assert_eq!(words[..2], ["suppress", "act"], "{told}");
    let audit = servers[0].get_json("/api/v1/audit?object=silence").to_string();
    assert!(audit.contains("silence.created") && audit.contains("silence.expired"), "{audit}");
    target.assert_never_two_at_once();
}

#[test]
fn it_holds_on_one_node() {
    it_holds(Setting::Small, 1);
}

#[test]
fn it_holds_on_two_nodes() {
    it_holds(Setting::PostgresRedis, 2);
}

#[test]
fn it_ends_by_itself_and_the_longest_is_named() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    vigil.post_json("/api/v1/policies", &open_policy("p", "web-*", "custom"));
    let short = silence(&vigil, &["target=web-1"], "4s");
    let first = hot(&vigil, "web-1");
    assert_eq!(first["decision"], "silenced");
    let longer = silence(&vigil, &["policy=~p|q", "severity!=info", "action=custom"], "6s");
    assert_eq!(hot(&vigil, "web-1")["decision"], "silenced");
    let by_hand = made(&vigil, "web-1");
    assert!(
        by_hand["warnings"][0].as_str().unwrap().contains(&format!("silence {}", short["id"])),
        "{by_hand}"
    );
    let held = vigil.post_json("/api/v1/actions", &json!({"target": "web-1", "action": "custom"}));
    let queue = Request::new("POST", &format!("/api/v1/actions/{}/queue", held["action_id"]));
    let queued = vigil.send(&queue).expect(200).json();
    assert!(
        queued["warnings"][0].as_str().unwrap().contains(&format!("silence {}", short["id"])),
        "{queued}"
    );
    wait_until(LONG, "the tick to act", || target.count() == 3);
    let told = why(&vigil, &first);
    let ids: Vec<&Value> =
        told["decisions"].as_array().unwrap().iter().map(|one| &one["silence"]["id"]).collect();
    assert_eq!(ids[..3], [&short["id"], &longer["id"], &Value::Null], "each by its own name: {told}");
    let list = vigil.get_json("/api/v1/silences?state=expired");
    assert_eq!((&list["total"], &list["silences"][1]["expired_at"]), (&json!(2), &Value::Null), "{list}");
    // One that has not begun holds nothing.
    let body = json!({"matchers": ["target=web-9"], "comment": "later", "starts_at": "2099-01-01",
        "ends_at": "2099-01-02"});
    vigil.post("/api/v1/silences", &body).expect(422);
    let later = json!({"matchers": ["target=web-9"], "comment": "later", "duration": "1h",
        "starts_at": ahead(Duration::from_hours(2))});
    let later = vigil.post("/api/v1/silences", &later).expect(201).json();
    assert_eq!(later["state"], "pending", "{later}");
    assert_eq!(hot(&vigil, "web-9")["decision"], "act");
}

/// Unix seconds so far ahead.
fn ahead(by: Duration) -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (now + by).as_secs_f64().floor()
}
