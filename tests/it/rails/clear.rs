//! `clear` and `keep`: when an incident is over.

use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{LONG, Scene, cel};
use crate::stage::Setting;
use crate::support::wait_until;

fn cleared(why: &Value) -> &Value {
    let audit = why["audit"].as_array().unwrap();
    audit.iter().find(|entry| entry["verb"] == "incident.cleared").expect("an end")
}

fn ended(why: &Value) -> &Value {
    &cleared(why)["facts"]["saw"]
}

/// The second of the day.
fn second(time: &Value) -> f64 {
    let text = time.as_str().unwrap();
    let (clock, _) = text.split_once('T').unwrap().1.split_once('Z').unwrap();
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

/// Between hot and cool nothing changes: nothing is violated, and nothing is over.
fn between(setting: Setting) {
    let scene = Scene::new(setting, |config| config);
    let cool = json!({"type": "metric_below", "metric": "heat", "threshold": 70});
    // What the tick sees while an action settles leads to no other.
    scene.policy("p", "web-*", json!({"settle": "1s"}), json!({"clear": cool}));
    let shown = scene.vigil.get_json("/api/v1/policies/p");
    assert_eq!((&shown["clear"], &shown["guardrails"]["keep"]), (&cool, &json!("0s")), "{shown}");
    assert!(scene.reading("heat", "web-1", 80.0).is_empty(), "not met, so nothing begins");
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"]);
    scene.done(1);
    for _ in 0..3 {
        assert!(scene.reading("heat", "web-1", 80.0).is_empty());
    }
    thread::sleep(Duration::from_millis(1_200));
    let open = scene.incidents("state=open");
    assert_eq!(open.len(), 1, "neither a sample nor the tick ends it: {open:?}");
    assert_eq!(scene.why(&open[0])["actions"][0]["verdict"], Value::Null, "nor is anything judged");
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"], "met again after the action: not healed");
    scene.done(2);
    wait_until(LONG, "the end", || {
        thread::sleep(Duration::from_millis(100));
        assert!(scene.reading("heat", "web-1", 65.0).is_empty());
        scene.incidents("state=healed").len() == 1
    });
    let healed = scene.incidents("state=healed");
    assert_eq!(
        (healed.len(), &healed[0]["id"]),
        (1, &open[0]["id"]),
        "one incident all the while: {healed:?}"
    );
    let why = scene.why(&healed[0]);
    let verdicts: Vec<&Value> =
        why["actions"].as_array().unwrap().iter().map(|action| &action["verdict"]).collect();
    assert_eq!(verdicts, ["not_healed", "healed"], "{why}");
    assert_eq!(ended(&why)["values"]["heat"], 65.0, "{why}");
    assert!(ended(&why)["clear"].as_str().unwrap().contains("70"), "{why}");
}

#[test]
fn between_met_and_clear_an_incident_stays_on_sqlite() {
    between(Setting::Small);
}

#[test]
fn between_met_and_clear_an_incident_stays_on_postgresql() {
    between(Setting::PostgresRedis);
}

/// How long it has been clear is the same after a restart and on another node.
fn kept(setting: Setting) {
    let mut scene = Scene::new(setting, |config| config);
    scene.policy("p", "web-*", json!({"keep": "3s", "tries": 10}), json!({}));
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"]);
    scene.done(1);
    assert!(scene.reading("heat", "web-1", 10.0).is_empty());
    thread::sleep(Duration::from_millis(500));
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"], "a break: it counts anew");
    scene.done(2);
    assert!(scene.reading("heat", "web-1", 10.0).is_empty());
    assert_eq!(scene.incidents("state=open").len(), 1, "a moment is not enough");
    let killed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() % 86_400.0;
    scene.vigil.kill9();
    scene.vigil.start_again();
    assert!(scene.reading("heat", "web-1", 10.0).is_empty());
    wait_until(LONG, "the end", || {
        thread::sleep(Duration::from_millis(100));
        scene.reading("heat", "web-1", 10.0);
        scene.incidents("state=healed").len() == 1
    });
    let why = scene.why(&scene.incidents("state=healed")[0]);
    let saw = ended(&why);
    assert_eq!(saw["keep_seconds"], 3.0, "{why}");
    let (over, since) = (second(&cleared(&why)["at"]), second(&saw["clear_since"]));
    println!("{setting:?}: clear for {} s, {} s of them before the restart", over - since, killed - since);
    assert!((3.0..20.0).contains(&(over - since)), "{why}");
    assert!(since < killed, "what was before the restart counts: {why}");
    let acts = why["decisions"].as_array().unwrap().iter().filter(|decision| decision["decision"] == "act");
    assert!(since > second(&acts.last().unwrap()["at"]), "and only what was since the break: {why}");
}

#[test]
fn how_long_it_is_clear_survives_a_restart_on_sqlite() {
    kept(Setting::Small);
}

#[test]
fn how_long_it_is_clear_survives_a_restart_on_postgresql() {
    kept(Setting::Postgres);
}

#[test]
fn another_metric_may_say_when_it_is_over_and_silence_says_nothing() {
    let scene = Scene::new(Setting::Small, |config| config);
    // Each look while it is met is one more action.
    scene.policy("p", "web-*", json!({"tries": 10}), json!({"clear": cel("last('latency') < 1.0")}));
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"]);
    scene.done(1);
    assert!(scene.reading("heat", "web-1", 10.0).is_empty());
    assert_eq!(scene.incidents("state=open").len(), 1, "of the latency nothing is known");
    scene.reading("latency", "web-1", 5.0);
    assert_eq!(scene.incidents("state=open").len(), 1, "it is too long");
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"]);
    scene.done(2);
    scene.reading("latency", "web-1", 0.1);
    assert_eq!(scene.incidents("state=open").len(), 1, "what is met is not clear");
    wait_until(LONG, "the end", || {
        thread::sleep(Duration::from_millis(50));
        scene.reading("heat", "web-1", 10.0);
        scene.incidents("state=healed").len() == 1
    });
}

#[test]
fn events_that_a_condition_does_not_ask_for_say_nothing_of_it() {
    let scene = Scene::new(Setting::Small, |config| config);
    let hot = cel("metric.name == 'heat' && metric.value > 90.0");
    let over = cel("metric.name == 'latency' && metric.value < 1.0");
    scene.policy("p", "web-*", json!({"for": "1s"}), json!({"condition": hot, "clear": over}));
    assert!(scene.reading("heat", "web-1", 95.0).is_empty(), "not for long enough");
    thread::sleep(Duration::from_millis(500));
    assert!(scene.reading("latency", "web-1", 5.0).is_empty());
    thread::sleep(Duration::from_millis(600));
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"], "the other event did not break it");
    scene.done(1);
    scene.reading("heat", "web-1", 10.0);
    assert_eq!(scene.incidents("state=open").len(), 1);
    scene.reading("latency", "web-1", 0.5);
    assert_eq!(scene.incidents("state=healed").len(), 1);
}

#[test]
fn what_is_neither_goes_to_a_human_in_the_end() {
    let scene =
        Scene::new(Setting::Small, |config| config.replace("[policies]", "[policies]\nlookback = \"2s\""));
    scene.policy("p", "web-*", json!({"settle": "1s"}), json!({"clear": cel("last('heat') < 50.0")}));
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"]);
    scene.done(1);
    wait_until(LONG, "the hand-over", || {
        thread::sleep(Duration::from_millis(100));
        assert!(scene.reading("heat", "web-1", 80.0).is_empty());
        scene.incidents("state=handed_over").len() == 1
    });
    let why = scene.why(&scene.incidents("state=handed_over")[0]);
    assert_eq!(why["actions"][0]["verdict"], "unknown", "{why}");
    let told = why["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(told["reason"], "verdict_unknown", "{why}");
    assert!(told["saw"]["observed"].as_str().unwrap().starts_with("neither met nor clear"), "{why}");
}

#[test]
fn ends_that_cannot_be_are_refused() {
    let scene = Scene::new(Setting::Small, |config| config);
    let policy = |clear: &Value, rails: Value| {
        let mut policy = crate::stage::open_policy("x", "x", "custom");
        policy["clear"] = clear.clone();
        super::merge(&mut policy["guardrails"], rails);
        scene.vigil.post("/api/v1/policies", &policy)
    };
    for (clear, loc, kind) in [
        (json!("cool"), json!(["body", "clear"]), "dict_type"),
        (cel("last('heat' <"), json!(["body", "clear", "expression"]), "cel_invalid"),
        (cel("1.0 < 2.0"), json!(["body", "clear"]), "value_error"),
        (
            json!({"type": "metric_below", "metric": "heat", "threshold": 1, "for": 1}),
            json!(["body", "clear", "for"]),
            "extra_forbidden",
        ),
    ] {
        let said = policy(&clear, json!({})).expect(422).json();
        assert_eq!((&said["detail"][0]["loc"], &said["detail"][0]["type"]), (&loc, &json!(kind)), "{said}");
    }
    let said = policy(&json!({"type": "sometimes"}), json!({})).expect(400).json();
    assert!(said["detail"].as_str().unwrap().contains("clear condition"), "{said}");
    let said = policy(&json!(null), json!({"keep": "soon"})).expect(422).json();
    assert_eq!(said["detail"][0]["loc"], json!(["body", "guardrails", "keep"]), "{said}");
}
