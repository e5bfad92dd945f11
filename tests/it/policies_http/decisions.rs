//! What violations come to, and that each reason can be read afterwards.

use std::time::Duration;

use serde_json::{Value, json};

use super::{cpu, decided, make, policy, reasons};
use crate::support::{Answer, Behaviour, CountingTarget, Options, Postgres, Vigil, wait_until};

const LONG: Duration = Duration::from_secs(30);

/// A server whose `restart` goes to a target that counts.
fn with_target(target: &CountingTarget, more: &str) -> Options {
    Options::default().config(format!(
        "{more}\n[connections.hook]\nurl = \"http://{}\"\nallow = [\"POST /**\", \"POST /\"]\n\
         [[routes]]\naction = \"restart\"\nplugin = \"webhook\"\nplugin_action = \"custom\"\nconnections = {{ webhook = \"hook\" }}\n",
        target.address()
    ))
}

/// The only violation's incident in an answer.
#[track_caller]
fn incident(answer: &Value) -> Value {
    let violations = answer["violations"].as_array().unwrap();
    assert_eq!(violations.len(), 1, "one violation: {answer}");
    violations[0]["incident_id"].clone()
}

/// Waits until the action of an answer has ended; answers it.
#[track_caller]
fn ended(vigil: &Vigil, answer: &Value) -> Value {
    let id = &answer["actions_triggered"][0]["action_id"];
    assert!(id.is_i64(), "no action in {answer}");
    vigil.wait_json(&format!("/api/v1/actions/{id}"), LONG, |action| {
        ["completed", "failed", "cancelled"].iter().any(|status| action["status"] == *status)
    })
}

fn one_incident(target: &CountingTarget, options: Options) {
    let vigil = Vigil::start(options);
    make(
        &vigil,
        "p",
        json!({"auto_remediate": true, "guardrails": {"settle": "2s", "blast_radius": {"max": 2}}}),
    );
    let first = cpu(&vigil, "web-01", 95.0);
    assert_eq!(decided(&first), [("p", "act")], "{first}");
    let opened = incident(&first);
    let action = ended(&vigil, &first);
    assert_eq!((&action["status"], &action["incident_id"]), (&json!("completed"), &opened), "{action}");
    for value in [96.0, 97.0] {
        let more = cpu(&vigil, "web-01", value);
        assert_eq!((decided(&more), incident(&more)), (vec![("p", "settling")], opened.clone()), "{more}");
    }
    let other = cpu(&vigil, "web-02", 95.0);
    assert_ne!(incident(&other), opened, "another target is another incident");
    ended(&vigil, &other);
    assert_eq!(target.count(), 2, "one action per incident");

    let verdict = || vigil.get_json(&format!("/api/v1/actions/{}", action["id"]))["verdict"].clone();
    cpu(&vigil, "web-01", 10.0);
    let row = vigil.get_json(&format!("/api/v1/incidents/{opened}"));
    assert_eq!((&row["state"], verdict()), (&json!("open"), Value::Null), "not settled yet: {row}");
    std::thread::sleep(Duration::from_millis(2_100));
    let clear = cpu(&vigil, "web-01", 10.0);
    assert_eq!(decided(&clear), [], "{clear}");
    let row = vigil.get_json(&format!("/api/v1/incidents/{opened}"));
    assert_eq!((&row["state"], &row["actions"]), (&json!("healed"), &json!(1)), "{row}");
    assert_eq!(verdict(), "healed");
    assert_eq!(reasons(&vigil, &opened), ["act", "settling"], "repeats are counted in one decision");

    let again = cpu(&vigil, "web-01", 98.0);
    assert_eq!(decided(&again), [("p", "cooldown")], "the cooldown outlives the incident: {again}");
    let second = incident(&again);
    assert_ne!(second, opened, "a new episode is a new incident");
    let why = vigil.get_json(&format!("/api/v1/incidents/{second}/why"));
    let decision = &why["decisions"][0];
    assert_eq!(decision["reason"], "cooldown", "{why}");
    assert!(decision["until"].is_string(), "a cooldown says until when: {decision}");
    assert!(why["story"].to_string().contains("decided not to act: cooldown"), "{why}");
}

#[test]
fn one_incident_per_policy_and_target() {
    let target = CountingTarget::start();
    one_incident(&target, with_target(&target, ""));
}

#[test]
fn one_incident_per_policy_and_target_on_postgres() {
    let target = CountingTarget::start();
    one_incident(&target, with_target(&target, "").database(Postgres::shared().database()));
}

#[test]
fn every_reason_can_be_read() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(with_target(&target, ""));
    let cel = json!({"type": "cel", "expression": "metric.name == \"old\" && metric.value > 90.0"});
    let never = json!({"max_actions": 0});
    make(&vigil, "watch", json!({"target": "watch-*"}));
    make(&vigil, "none", json!({"target": "none-*", "auto_remediate": true, "guardrails": never}));
    make(&vigil, "stale", json!({"target": "old-*", "auto_remediate": true, "condition": cel}));
    let observed = cpu(&vigil, "watch-01", 95.0);
    let spent = cpu(&vigil, "none-01", 95.0);
    let old =
        json!({"name": "old", "value": 95, "tags": {"host": "old-01"}, "timestamp": "2001-02-03T04:05:06Z"});
    let stale = vigil.post("/api/v1/ingest", &old).expect(201).json();
    for (answer, policy, reason) in
        [(&observed, "watch", "observe"), (&spent, "none", "budget"), (&stale, "stale", "stale")]
    {
        assert_eq!(decided(answer), [(policy, reason)], "{answer}");
        let id = incident(answer);
        assert_eq!(reasons(&vigil, &id), [reason], "why of {policy}");
        let row = vigil.get_json(&format!("/api/v1/incidents/{id}"));
        assert_eq!((&row["latest_decision"], &row["actions"]), (&json!(reason), &json!(0)), "{row}");
        let series = format!("vigil_decisions_total{{decision=\"suppress\",reason=\"{reason}\"}}");
        assert!(vigil.metric(&series) >= 1.0, "{series} is not counted");
    }
    assert_eq!(vigil.get_json("/api/v1/actions")["total"], 0, "a reason not to act made an action");
}

#[test]
fn without_a_target_nothing_is_done() {
    let vigil = Vigil::start(Options::default());
    for (name, target) in [("a", "all"), ("b", "*"), ("c", "web-01")] {
        make(&vigil, name, json!({"target": target, "auto_remediate": true}));
    }
    let metric = json!({"name": "cpu", "value": 95, "tags": {"region": "eu"}});
    let answer = vigil.post("/api/v1/ingest", &metric).expect(201).json();
    let found = decided(&answer);
    assert!(found.len() >= 2 && found.iter().all(|(_, decision)| *decision == "no_target"), "{answer}");
    for violation in answer["violations"].as_array().unwrap() {
        assert_eq!(violation["target"], "all", "reported with the target `all`: {violation}");
        assert_eq!(reasons(&vigil, &violation["incident_id"]), ["no_target"], "{violation}");
    }
    assert_eq!(vigil.get_json("/api/v1/actions")["total"], 0, "an event without a target made an action");
}

#[test]
fn a_condition_must_hold_as_long_as_it_says() {
    let vigil = Vigil::start(Options::default());
    make(&vigil, "long", json!({"guardrails": {"for": "1h"}}));
    make(&vigil, "short", json!({"guardrails": {"for": "1s"}}));
    assert_eq!(decided(&cpu(&vigil, "web-01", 95.0)), [], "it has only begun to hold");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(decided(&cpu(&vigil, "web-01", 95.0)), [("short", "observe")], "a second has passed");
    assert_eq!(decided(&cpu(&vigil, "web-01", 10.0)), [], "it is over");
    assert_eq!(decided(&cpu(&vigil, "web-01", 95.0)), [], "it begins anew");
}

/// Still violated after it has settled: the next action of the same incident, three in all, then a human.
#[test]
fn an_incident_that_does_not_heal_is_handed_over() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(with_target(&target, "[retry]\nmax_attempts = 1\n"));
    make(
        &vigil,
        "p",
        json!({"auto_remediate": true, "guardrails": {"settle": "100ms", "blast_radius": {"max": 3}}}),
    );
    let mut words = Vec::new();
    wait_until(LONG, "the handover", || {
        let answer = cpu(&vigil, "web-01", 95.0);
        let word = answer["violations"][0]["decision"].as_str().unwrap().to_owned();
        words.push(word.clone());
        word == "handed_over"
    });
    assert_eq!(words.iter().filter(|word| *word == "act").count(), 3, "three actions and no more: {words:?}");
    wait_until(LONG, "its calls", || target.count() == 3);
    target.assert_never_two_at_once();
    let incidents = vigil.get_json("/api/v1/incidents?state=handed_over");
    assert_eq!(incidents["count"], 1, "{incidents}");
    let told = reasons(&vigil, &incidents["incidents"][0]["id"]);
    assert!(told.contains(&"actions_used_up".to_owned()), "the handover says why: {told:?}");
    cpu(&vigil, "web-01", 10.0);
    let row = vigil.get_json(&format!("/api/v1/incidents/{}", incidents["incidents"][0]["id"]));
    assert!(row["cleared_at"].is_string(), "it clears all the same: {row}");
}

/// A policy over several metrics sees the last ones of its target, and of no other target.
#[test]
fn conditions_join_the_metrics_of_one_target() {
    let vigil = Vigil::start(Options::default());
    let exceeds = |metric: &str| json!({"type": "metric_exceeds", "metric": metric, "threshold": 80});
    let both = json!({"type": "all", "conditions": [exceeds("cpu"), exceeds("memory")]});
    vigil.post("/api/v1/policies", &policy("both", json!({"condition": both}))).expect(201);
    let memory = |host: &str, value: f64| {
        let metric = json!({"name": "memory", "value": value, "tags": {"host": host}});
        vigil.post("/api/v1/ingest", &metric).expect(201).json()
    };
    assert_eq!(decided(&cpu(&vigil, "web-01", 95.0)), [], "one of two");
    assert_eq!(decided(&memory("web-02", 95.0)), [], "the other one of another target");
    assert_eq!(decided(&memory("web-01", 95.0)), [("both", "observe")], "both of one target");
    let row = vigil.get_json("/api/v1/incidents?target=web-01");
    assert_eq!(row["incidents"][0]["saw"]["values"], json!({"cpu": 95.0, "memory": 95.0}), "{row}");
}

/// A failing target: the attempts and their reasons stand in the story.
#[test]
fn the_story_tells_failed_attempts() {
    let target = CountingTarget::start();
    target.behave(Behaviour { answer: Answer::Text(500, "{}".into()), ..Behaviour::default() });
    let vigil = Vigil::start(with_target(&target, "[retry]\nmax_attempts = 2\nbase_delay = \"50ms\"\n"));
    make(&vigil, "p", json!({"auto_remediate": true}));
    let answer = cpu(&vigil, "web-01", 95.0);
    let action = ended(&vigil, &answer);
    assert_eq!(action["status"], "failed", "{action}");
    assert!(
        action["error_message"].as_str().is_some_and(|text| text.contains("500")),
        "it says why: {action}"
    );
    let why = vigil.get_json(&format!("/api/v1/incidents/{}/why", incident(&answer)));
    let attempts = why["actions"][0]["attempts"].as_array().unwrap();
    assert!(!attempts.is_empty() && attempts.iter().all(|a| a["message"].is_string()), "{why}");
    assert!(why["story"].to_string().contains("began in plugin webhook"), "{why}");
}
