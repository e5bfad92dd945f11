//! What one has just done to a target nobody undoes: neither another policy nor a person, and both stop there.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LONG, Scene};
use crate::stage::{Setting, config};
use crate::support::{Request, Vigil, wait_until};

const ROUTES: &str = "[[routes]]\naction = \"scale-*\"\nplugin = \"webhook\"\nplugin_action = \"custom\"\n";

/// Routes for both, and what is said of opposites.
fn routes(config: &str, opposites: &str) -> String {
    let routes =
        ["scale-up", "scale_down", "freeze", "thaw"].map(|kind| ROUTES.replace("scale-*", kind)).concat();
    config.replace("[guardrails]", &format!("[guardrails]\n{opposites}")) + "\n" + &routes
}

fn scene(setting: Setting, opposites: &str) -> Scene {
    Scene::new(setting, |config| routes(&config, opposites))
}

fn by_hand(vigil: &Vigil, target: &str, kind: &str) -> Value {
    let body = json!({"target": target, "action": kind, "queue_immediately": true});
    vigil.post("/api/v1/actions", &body).expect(201).json()
}

/// A policy that does `kind` when that metric is high.
fn policy(scene: &Scene, name: &str, kind: &str, metric: &str) {
    let condition = json!({"type": "metric_exceeds", "metric": metric, "threshold": 90});
    scene.policy(name, "*", json!({}), json!({"action": kind, "condition": condition}));
}

fn two_policies_do_not_duel(setting: Setting, nodes: usize) {
    let scene = scene(setting, "opposite_window = \"4s\"");
    let other = (nodes > 1).then(|| {
        let text = routes(&config(&scene.target.url()), "opposite_window = \"4s\"");
        Vigil::start(scene.backend.options(&text))
    });
    let other = other.as_ref().unwrap_or(&scene.vigil);
    policy(&scene, "up", "scale-up", "load");
    policy(&scene, "down", "scale_down", "cost");
    policy(&scene, "restart", "custom", "heat");
    let reading = |vigil: &Vigil, metric: &str, target: &str| {
        let metric = json!({"name": metric, "value": 95, "tags": {"service": target}});
        vigil.post_json("/api/v1/ingest", &metric)["violations"][0]["decision"].clone()
    };
    assert_eq!(reading(&scene.vigil, "load", "web-1"), "act");
    assert_eq!(reading(other, "cost", "web-1"), "opposite", "however it is written");
    let why = scene.why(&scene.incidents("policy=down")[0]);
    let first = &scene.incidents("policy=up")[0];
    let action = &scene.why(first)["actions"][0]["id"];
    let guardrail = &why["decisions"][0]["saw"]["guardrail"];
    assert_eq!(
        (&guardrail["action_id"], &guardrail["done"], &guardrail["wanted"]),
        (action, &json!("scale-up"), &json!("scale_down")),
        "{why}"
    );
    assert!(why["decisions"][0]["until"].is_string(), "{why}");
    assert!(why["story"].to_string().contains(&format!("opposite [action_id {action}")), "{why}");
    scene.done(1);
    // The first one stops as well; who has no part in it does not, nor does the same elsewhere.
    assert_eq!(reading(other, "load", "web-1"), "opposite");
    assert_eq!(reading(other, "heat", "web-1"), "act");
    assert_eq!(reading(other, "cost", "web-2"), "act");
    // A person is held, and told by which action.
    let held = by_hand(other, "web-1", "scale-down");
    assert_eq!(
        (&held["queued"], &held["suppressed"]["reason"], &held["suppressed"]["action_id"]),
        (&json!(false), &json!("opposite"), action),
        "{held}"
    );
    let queue = Request::new("POST", &format!("/api/v1/actions/{}/queue", held["action_id"]));
    let said = scene.vigil.send(&queue).expect(409).json();
    assert!(
        said["detail"].as_str().unwrap().contains(&format!("opposite of scale-up, action {action}")),
        "{said}"
    );
    // After the window it goes on.
    wait_until(LONG, "the end of the window", || {
        thread::sleep(Duration::from_millis(200));
        scene.vigil.send(&queue).status == 200
    });
}

#[test]
fn two_policies_do_not_duel_on_sqlite() {
    two_policies_do_not_duel(Setting::Small, 1);
}

#[test]
fn two_policies_do_not_duel_over_two_nodes() {
    two_policies_do_not_duel(Setting::PostgresRedis, 2);
}

/// What a person did a policy does not undo; and the person waits, too.
#[test]
fn policies_and_people_do_not_duel() {
    let scene = scene(Setting::Small, "");
    policy(&scene, "down", "scale_down", "cost");
    let mine = by_hand(&scene.vigil, "web-1", "scale-up");
    assert_eq!(mine["queued"], true, "{mine}");
    assert_eq!(scene.reading("cost", "web-1", 95.0), ["opposite"]);
    let again = by_hand(&scene.vigil, "web-1", "scale-up");
    assert_eq!(again["suppressed"]["reason"], "opposite", "{again}");
    assert_eq!(by_hand(&scene.vigil, "web-1", "custom")["queued"], true, "anything else they may do");
    // What never began was not done.
    let held = by_hand(&scene.vigil, "web-3", "scale-up");
    let cancel = Request::post(&format!("/api/v1/actions/{}/cancel", held["action_id"]), &json!({}));
    scene.done(3);
    let _ = scene.vigil.send(&cancel);
    assert_eq!(scene.reading("cost", "web-3", 95.0), ["opposite"], "this one was");
}

#[test]
fn both_at_once_are_one_and_what_is_opposite_is_said_in_the_settings() {
    let scene = scene(Setting::Small, "opposites = [[\"freeze\", \"thaw\"]]");
    policy(&scene, "up", "scale-up", "load");
    policy(&scene, "down", "scale_down", "load");
    policy(&scene, "cold", "freeze", "load");
    policy(&scene, "warm", "thaw", "load");
    let mut words = scene.reading("load", "web-1", 95.0);
    words.sort();
    assert_eq!(words, ["act", "act", "act", "opposite"], "the list takes the place of ours");
    let why = scene.why(&scene.incidents("policy=warm")[0]);
    let first = &scene.why(&scene.incidents("policy=cold")[0])["actions"][0]["id"];
    assert_eq!(&why["decisions"][0]["saw"]["guardrail"]["action_id"], first, "of the same batch: {why}");
}
