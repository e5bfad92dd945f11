//! The pause: people stop all automation, on every node, over restarts and syncs of policies, and only people let it go on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, config, open_policy};
use crate::support::{Answer, Behaviour, CountingTarget, Request, Vigil, wait_until};

const LONG: Duration = Duration::from_secs(20);
/// Longer than any worker, sweep or tick of these servers takes to notice that something may run.
const WATCH: Duration = Duration::from_secs(3);

fn hot(vigil: &Vigil, target: &str) -> Value {
    vigil.post_json("/api/v1/ingest", &json!({"name": "heat", "value": 95, "tags": {"service": target}}))
}

fn made(vigil: &Vigil, target: &str) -> Value {
    let body = json!({"target": target, "action": "custom", "queue_immediately": true});
    vigil.post("/api/v1/actions", &body).expect(201).json()
}

fn state(vigil: &Vigil, action: &Value) -> Value {
    vigil.get_json(&format!("/api/v1/actions/{}", action["action_id"]))["state"].clone()
}

fn end(vigil: &Vigil) -> Value {
    vigil.send(&Request::new("DELETE", "/api/v1/pause")).expect(200).json()
}

fn everything_stops(setting: Setting, nodes: usize) {
    let target = CountingTarget::start();
    let backend = Backend::new(setting);
    let config = config(&target.url());
    let mut servers: Vec<Vigil> = (0..nodes).map(|_| Vigil::start(backend.options(&config))).collect();
    servers[0].post_json("/api/v1/policies", &open_policy("p", "web-*", "custom"));
    // One has failed, and nobody opens it again meanwhile.
    target.behave(Behaviour { answer: Answer::Text(400, "{}".into()), ..Behaviour::default() });
    let failed = made(&servers[0], "db-0");
    wait_until(LONG, "the failure", || state(&servers[0], &failed) == "dead");
    let before = target.count();
    // One runs, and one waits behind it, when everything is stopped.
    target.behave(Behaviour { delay: Duration::from_secs(2), ..Behaviour::default() });
    let running = made(&servers[0], "db-1");
    wait_until(LONG, "the call", || target.count() == before + 1);
    let waiting = made(&servers[0], "db-1");
    let body = json!({"reason": "release night", "unknown": 1});
    let paused = servers[0].post("/api/v1/pause", &body).expect(200).json();
    assert_eq!((&paused["paused"], &paused["reason"]), (&json!(true), &json!("release night")), "{paused}");
    assert_eq!(paused["actions"], json!([running["action_id"]]), "what still runs is named: {paused}");
    assert_eq!(paused["warnings"], json!(["unknown member `unknown` is ignored"]));
    // At once, on every node.
    for (at, server) in servers.iter().enumerate() {
        let answer = hot(server, &format!("web-{at}"));
        assert_eq!(answer["violations"][0]["decision"], "paused", "node {at}: {answer}");
        assert_eq!(answer["actions_triggered"], json!([]), "node {at}");
        let by_hand = made(server, &format!("by-hand-{at}"));
        assert_eq!((&by_hand["queued"], &by_hand["state"]), (&json!(false), &json!("held")), "{by_hand}");
        assert_eq!(by_hand["suppressed"], json!({"reason": "paused", "until": null}), "{by_hand}");
        let queue = format!("/api/v1/actions/{}/queue", by_hand["action_id"]);
        server.send(&Request::new("POST", &queue)).expect(409);
        let status = format!("/api/v1/actions/{}/status", failed["action_id"]);
        server.send(&Request::new("PUT", &status).json(&json!({"status": "pending"}))).expect(409);
        assert!(server.get("/metrics").text().contains("vigil_paused"), "node {at}");
    }
    // What ran ends, and its end is recorded; what waited does not start.
    wait_until(LONG, "the running one to end", || state(&servers[0], &running) == "succeeded");
    thread::sleep(WATCH);
    assert_eq!(state(&servers[0], &waiting), "ready");
    // Neither a kill of every node nor new and re-read policies end it.
    for server in &mut servers {
        server.kill9();
        server.start_again();
    }
    servers[0].post_json("/api/v1/policies", &open_policy("another", "web-*", "custom"));
    servers[0].send(&Request::new("POST", "/api/v1/policies/reload")).expect(200);
    assert_eq!(servers[0].get_json("/api/v1/pause")["reason"], "release night");
    let again = hot(&servers[0], "web-0");
    let words: Vec<&Value> = again["violations"].as_array().unwrap().iter().map(|v| &v["decision"]).collect();
    assert_eq!(words, ["paused", "paused"], "{again}");
    thread::sleep(WATCH);
    assert_eq!(target.count(), before + 1, "nothing was called while all was paused");
    let last = servers.last().unwrap();
    let done = end(last);
    assert_eq!(done["paused"], false, "{done}");
    wait_until(LONG, "what waited", || state(last, &waiting) == "succeeded");
    assert_eq!(hot(&servers[0], "web-9")["violations"][0]["decision"], "act");
    wait_until(LONG, "calls again", || target.count() >= before + 3);
    target.assert_never_two_at_once();
    let verbs = servers[0].get_json("/api/v1/audit?object=automation").to_string();
    assert!(verbs.contains("automation.paused") && verbs.contains("automation.resumed"), "{verbs}");
    assert!(end(last)["message"].as_str().unwrap().contains("not paused"), "said twice it does nothing");
}

#[test]
fn everything_stops_on_one_node() {
    everything_stops(Setting::Small, 1);
}

#[test]
fn everything_stops_on_two_nodes() {
    everything_stops(Setting::PostgresRedis, 2);
}

#[test]
fn it_ends_by_itself_where_somebody_said_so() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    vigil.post_json("/api/v1/policies", &open_policy("p", "web-*", "custom"));
    let paused = vigil.post("/api/v1/pause", &json!({"duration": "2s"})).expect(200).json();
    assert!(paused["until"].is_string(), "{paused}");
    let answer = hot(&vigil, "web-1");
    assert_eq!(answer["violations"][0]["decision"], "paused", "{answer}");
    let why = vigil.get_json(&format!("/api/v1/incidents/{}/why", answer["violations"][0]["incident_id"]));
    assert_eq!(why["decisions"][0]["reason"], "paused", "{why}");
    assert_eq!(why["decisions"][0]["until"], paused["until"], "{why}");
    // The condition is still met when it ends: the tick acts on it.
    wait_until(LONG, "the tick to act", || target.count() == 1);
    assert_eq!(vigil.get_json("/api/v1/pause")["paused"], false);
    for (body, member) in [
        (json!({"duration": "for ever"}), "duration"),
        (json!({"duration": 0}), "duration"),
        (json!({"duration": "400d"}), "duration"),
        (json!({"reason": "x".repeat(501)}), "reason"),
        (json!({"cancel_running": "maybe"}), "cancel_running"),
    ] {
        let refused = vigil.post("/api/v1/pause", &body).expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", member]), "{body}: {refused}");
    }
    assert_eq!(vigil.get_json("/api/v1/pause")["paused"], false, "a refused pause is none");
}

#[test]
fn the_command_line_stops_what_runs_too() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    target.behave(Behaviour { delay: Duration::from_secs(5), ..Behaviour::default() });
    let running = made(&vigil, "db-1");
    wait_until(LONG, "the call", || target.count() == 1);
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(Vigil::binary());
        command.args(args).env_clear().env("HOME", vigil.home()).env("VIGIL_URL", vigil.url());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(run(&["pause"]).0, Some(2), "what is to be paused must be said");
    let (code, said) = run(&["pause", "--all", "--reason", "a storm", "--for", "1h", "--now"]);
    assert_eq!((code, said.contains("cancelled: 1")), (Some(0), true), "{said}");
    wait_until(LONG, "it is withdrawn", || state(&vigil, &running) == "cancelled");
    let standing = vigil.get_json("/api/v1/pause");
    assert_eq!((&standing["paused"], &standing["reason"]), (&json!(true), &json!("a storm")), "{standing}");
    assert!(standing["until"].is_string(), "{standing}");
    let (code, said) = run(&["resume", "-o", "json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["paused"]), (Some(0), &json!(false)), "{said}");
    assert_eq!(vigil.get_json("/api/v1/pause")["paused"], false);
}
