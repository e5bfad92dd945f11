//! How fast things are done: ramps, groups, steps that never help, and the budgets of plugins and of retries.

use serde_json::{Value, json};

use super::{LONG, Scene};
use crate::stage::Setting;
use crate::support::{Answer, Behaviour, Request, wait_until};

/// One reading of each of those targets; what was decided about each.
fn words(scene: &Scene, targets: std::ops::Range<usize>, value: f64) -> Vec<String> {
    targets.flat_map(|n| scene.reading("heat", &format!("web-{n}"), value)).collect()
}

/// Waits until that target's incident is over.
fn heal(scene: &Scene, targets: std::ops::Range<usize>) {
    for n in targets {
        let target = format!("web-{n}");
        wait_until(LONG, "the incident to be over", || {
            scene.reading("heat", &target, 10.0);
            scene.incidents(&format!("target={target}&state=open")).is_empty()
        });
    }
}

fn guardrail(scene: &Scene, target: &str) -> Value {
    let why = scene.why(&scene.incidents(&format!("target={target}"))[0]);
    why["decisions"].as_array().unwrap().last().unwrap()["saw"]["guardrail"].clone()
}

fn a_ramp_doubles_while_it_helps(setting: Setting) {
    let scene = Scene::new(setting, |config| config);
    scene.policy("p", "web-*", json!({"ramp": {"most": 4}}), json!({}));
    let acted = |words: &[String]| words.iter().filter(|word| *word == "act").count();
    let first = words(&scene, 0..8, 95.0);
    assert_eq!((first[0].as_str(), acted(&first)), ("act", 1), "one at first: {first:?}");
    assert_eq!(
        guardrail(&scene, "web-7"),
        json!({"reason": "ramp", "unproven": 1, "allowed": 1, "helped": 0})
    );
    scene.done(1);
    assert_eq!(words(&scene, 1..2, 95.0), ["ramp"], "it has ended and has not been seen to help");
    heal(&scene, 0..1);
    let second = words(&scene, 1..8, 95.0);
    assert_eq!((acted(&second[..2]), acted(&second)), (2, 2), "then two: {second:?}");
    scene.done(3);
    heal(&scene, 1..3);
    let third = words(&scene, 3..8, 95.0);
    assert_eq!(acted(&third), 4, "then four, and no more: {third:?}");
    assert_eq!(third[4], "ramp");
    // One that does not help ends it.
    scene.done(7);
    heal(&scene, 3..7);
    assert_eq!(words(&scene, 8..9, 95.0), ["act"]);
    scene.done(8);
    assert_eq!(words(&scene, 8..9, 95.0), ["act"], "it did not help, and nothing else is unproven");
    scene.done(9);
    heal(&scene, 8..9);
    assert_eq!(words(&scene, 9..12, 95.0), ["act", "act", "ramp"], "one has helped again: two");
}

#[test]
fn a_ramp_doubles_while_it_helps_on_sqlite() {
    a_ramp_doubles_while_it_helps(Setting::Small);
}

#[test]
fn a_ramp_doubles_while_it_helps_on_postgresql() {
    a_ramp_doubles_while_it_helps(Setting::Postgres);
}

fn of_a_group_one_at_a_time(setting: Setting) {
    let scene = Scene::new(setting, |config| config);
    scene.policy("p", "*", json!({"group": {"per": "cluster"}}), json!({}));
    let reading = |target: &str, value: f64| {
        let cluster = target.split('-').next();
        let metric = json!({"name": "heat", "value": value, "tags": {"service": target, "cluster": cluster}});
        let answer = scene.vigil.post_json("/api/v1/ingest", &metric);
        answer["violations"][0]["decision"].clone()
    };
    assert_eq!((reading("db-1", 95.0), reading("db-2", 95.0)), (json!("act"), json!("group")));
    assert_eq!(reading("mq-1", 95.0), "act", "another group is another one");
    let said = json!({"reason": "group", "group": "cluster=db", "unproven": 1, "allowed": 1});
    assert_eq!(guardrail(&scene, "db-2"), said);
    scene.done(2);
    assert_eq!(reading("db-2", 95.0), "group", "what it did has not been seen");
    wait_until(LONG, "the first to be healed", || {
        reading("db-1", 10.0);
        scene.incidents("target=db-1&state=open").is_empty()
    });
    assert_eq!(reading("db-2", 95.0), "act");
    // What people do there counts, too.
    wait_until(LONG, "the second to be healed", || {
        reading("db-2", 10.0);
        scene.incidents("target=db-2&state=open").is_empty()
    });
    scene.target.behave(Behaviour { answer: Answer::Hang, ..Behaviour::default() });
    let body = json!({"target": "db-3", "action": "custom", "queue_immediately": true});
    reading("db-3", 10.0);
    assert_eq!(scene.vigil.post("/api/v1/actions", &body).expect(201).json()["queued"], true);
    assert_eq!(reading("db-1", 95.0), "group");
}

#[test]
fn of_a_group_one_at_a_time_on_sqlite() {
    of_a_group_one_at_a_time(Setting::Small);
}

#[test]
fn of_a_group_one_at_a_time_on_postgresql() {
    of_a_group_one_at_a_time(Setting::Postgres);
}

#[test]
fn what_never_helps_is_left_out() {
    let scene = Scene::new(Setting::Small, |config| config);
    let rails = json!({"effectiveness": {"tries": 2, "percent": 50}, "relapse": "0s"});
    let steps = json!([{"action": "custom", "params": {"second": true}, "settle": "0s"}]);
    scene.policy("p", "web-*", rails.clone(), json!({"steps": steps}));
    // The first step never helps, the second one does.
    for n in 0..2 {
        assert_eq!(words(&scene, n..n + 1, 95.0), ["act"]);
        scene.done(2 * n as u64 + 1);
        assert_eq!(words(&scene, n..n + 1, 95.0), ["act"]);
        scene.done(2 * n as u64 + 2);
        heal(&scene, n..n + 1);
    }
    assert_eq!(words(&scene, 2..3, 95.0), ["act"]);
    scene.done(5);
    let why = scene.why(&scene.incidents("target=web-2")[0]);
    assert_eq!(why["actions"][0]["step"], 1, "the first step is left out: {why}");
    let saw = &why["decisions"][0]["saw"]["left_out"];
    assert_eq!(*saw, json!([{"step": 0, "healed": 0, "tried": 2}]), "{why}");
    // Now the second does not help either, twice: a human gets it, and the next one at once.
    assert_eq!(words(&scene, 2..3, 95.0), ["actions_used_up"]);
    for n in 3..5 {
        assert_eq!(words(&scene, n..n + 1, 95.0), ["act"]);
        scene.done(n as u64 + 3);
        words(&scene, n..n + 1, 95.0);
    }
    assert_eq!(words(&scene, 5..6, 95.0), ["ineffective"]);
    let incident = &scene.incidents("target=web-5")[0];
    assert_eq!((&incident["state"], &incident["actions"]), (&json!("handed_over"), &json!(0)), "{incident}");
    // The author mends the step: it begins anew.
    let mut mended = crate::stage::open_policy("p", "web-*", "custom");
    super::merge(&mut mended["guardrails"], rails);
    mended["steps"] = json!([{"action": "custom", "params": {"second": "better"}, "settle": "0s"}]);
    scene.vigil.send(&Request::new("PUT", "/api/v1/policies/p?replace=true").json(&mended)).expect(200);
    assert_eq!(words(&scene, 6..7, 95.0), ["act"]);
}

#[test]
fn a_plugin_has_a_budget_of_its_own() {
    let scene = Scene::new(Setting::Small, |config| {
        config + "[guardrails.plugins.webhook]\nmax_actions = 2\nwindow = \"4s\"\n"
    });
    scene.policy("p", "web-*", json!({}), json!({}));
    scene.policy("q", "other-*", json!({}), json!({"action": "nobody-does-this"}));
    assert_eq!(words(&scene, 0..1, 95.0), ["act"]);
    let body = json!({"target": "web-9", "action": "custom", "queue_immediately": true});
    assert_eq!(scene.vigil.post("/api/v1/actions", &body).expect(201).json()["queued"], true);
    assert_eq!(words(&scene, 1..3, 95.0), ["plugin_budget"; 2]);
    let said = guardrail(&scene, "web-2");
    assert_eq!(
        (&said["plugin"], &said["used"], &said["limit"]),
        (&json!("webhook"), &json!(2), &json!(2)),
        "{said}"
    );
    let held = scene.vigil.post("/api/v1/actions", &body).expect(201).json();
    assert_eq!(
        (&held["queued"], &held["suppressed"]["reason"]),
        (&json!(false), &json!("plugin_budget")),
        "{held}"
    );
    assert!(held["suppressed"]["until"].is_string(), "{held}");
    assert_eq!(scene.reading("heat", "other-1", 95.0), ["act"], "nobody else is held back");
    wait_until(LONG, "the end of the window", || words(&scene, 1..2, 95.0) == ["act"]);
}

fn retries_end_with_their_budget(setting: Setting) {
    let scene = Scene::new(setting, |config| {
        config.replace("[guardrails]", "[guardrails]\nmax_retries = 2")
            + "[[routes]]\naction = \"custom\"\nplugin = \"webhook\"\n"
    });
    scene.target.behave(Behaviour { answer: Answer::Text(503, "busy".into()), ..Behaviour::default() });
    scene.policy("p", "web-*", json!({}), json!({}));
    assert_eq!(words(&scene, 0..6, 95.0), ["act"; 6]);
    wait_until(LONG, "all of them to have failed", || {
        scene.vigil.get_json("/api/v1/actions?state=dead&limit=1")["total"] == 6
    });
    assert_eq!(scene.target.count(), 6 + 2, "two attempts more than actions");
    let list = scene.vigil.get_json("/api/v1/actions?state=dead&limit=10");
    let said = list["actions"].as_array().unwrap().iter();
    let refused = said.filter(|action| {
        action["error_message"].as_str().is_some_and(|text| text.contains("2 retries in 10m are used up"))
    });
    assert!(refused.count() >= 4, "{list}");
}

#[test]
fn retries_end_with_their_budget_on_sqlite() {
    retries_end_with_their_budget(Setting::Small);
}

#[test]
fn retries_end_with_their_budget_on_postgresql() {
    retries_end_with_their_budget(Setting::Postgres);
}
