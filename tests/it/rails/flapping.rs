//! What opens again and again is left alone until it is quiet, and a human is told once.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{LONG, Scene};
use crate::stage::{Setting, config};
use crate::support::{Vigil, wait_until};

const NOTIFY: &str = "[[routes]]\naction = \"notify\"\nplugin = \"webhook\"\nplugin_action = \"custom\"\n";

/// How often a human was told.
fn told(scene: &Scene) -> Vec<String> {
    let bodies =
        scene.target.calls().into_iter().map(|call| String::from_utf8_lossy(&call.body).into_owned());
    bodies.filter(|body| body.contains("on-call")).collect()
}

fn what_flaps_is_left_alone(setting: Setting, nodes: usize) {
    let mut scene = Scene::new(setting, |config| format!("{config}\n{NOTIFY}"));
    let other = (nodes > 1).then(|| {
        let text = format!("{}\n{NOTIFY}", config(&scene.target.url()));
        Vigil::start(scene.backend.options(&text))
    });
    let steps = json!([{"action": "notify", "params": {"room": "on-call"}}]);
    let rails = json!({"flapping": {"changes": 3, "within": "6s"}, "relapse": "0s"});
    scene.policy("p", "*", rails, json!({"steps": steps}));
    let shown = &scene.vigil.get_json("/api/v1/policies/p")["guardrails"]["flapping"];
    assert_eq!(*shown, json!({"changes": 3, "within": "6s"}));
    let reading = |vigil: &Vigil, value: f64| {
        let metric = json!({"name": "heat", "value": value, "tags": {"service": "web-1"}});
        let answer = vigil.post_json("/api/v1/ingest", &metric);
        answer["violations"][0]["decision"].as_str().map(str::to_owned)
    };
    let cool = |vigil: &Vigil, ended: usize| {
        wait_until(LONG, "the end", || {
            assert_eq!(reading(vigil, 10.0), None);
            thread::sleep(Duration::from_millis(50));
            vigil.get_json("/api/v1/incidents?state=healed")["total"] == ended
        });
    };
    for ended in [1, 2] {
        assert_eq!(reading(&scene.vigil, 95.0).as_deref(), Some("act"));
        cool(&scene.vigil, ended);
    }
    let third = other.as_ref().unwrap_or(&scene.vigil);
    assert_eq!(reading(third, 95.0).as_deref(), Some("flapping"), "the third within six seconds");
    let why = scene.why(&scene.incidents("state=open")[0]);
    let decision = &why["decisions"][0];
    assert!(decision["until"].is_string(), "{why}");
    assert_eq!(
        (&decision["saw"]["guardrail"]["changes"], &decision["saw"]["guardrail"]["within_seconds"]),
        (&json!(3), &json!(6)),
        "{why}"
    );
    let opened =
        &why["audit"].as_array().unwrap().iter().find(|entry| entry["verb"] == "incident.opened").unwrap();
    assert_eq!(opened["facts"]["saw"]["flapping"]["openings"], 3, "{why}");
    assert!(why["story"].to_string().contains("flapping [changes 3"), "{why}");
    wait_until(LONG, "a human to be told", || told(&scene).len() == 1);
    let incident = &scene.incidents("state=open")[0]["id"];
    assert!(told(&scene)[0].contains(&format!("\"incident_id\":{incident}")), "{:?}", told(&scene));
    cool(&scene.vigil, 3);
    // It goes on after a restart, and nobody is told again.
    drop(other);
    scene.vigil.kill9();
    scene.vigil.start_again();
    assert_eq!(reading(&scene.vigil, 95.0).as_deref(), Some("flapping"));
    assert_eq!(told(&scene).len(), 1, "once");
    let mut words = Vec::new();
    wait_until(LONG, "quiet", || {
        thread::sleep(Duration::from_millis(200));
        words.extend(reading(&scene.vigil, 95.0));
        words.last().is_some_and(|word| word != "flapping")
    });
    assert!(words.len() > 10, "not before six seconds without an opening: {words:?}");
    // A sample acts, or the tick that came before it.
    let list = scene.vigil.get_json("/api/v1/incidents?limit=1");
    assert_eq!(list["incidents"][0]["actions"], 1, "{list}");
}

#[test]
fn what_flaps_is_left_alone_on_sqlite() {
    what_flaps_is_left_alone(Setting::Small, 1);
}

#[test]
fn what_flaps_is_left_alone_over_two_nodes() {
    what_flaps_is_left_alone(Setting::PostgresRedis, 2);
}

#[test]
fn flapping_that_cannot_be_is_refused() {
    let scene = Scene::new(Setting::Small, |config| config);
    for (flapping, word) in [
        (json!(true), "object"),
        (json!({"changes": 1}), "changes"),
        (json!({"changes": 1_001}), "changes"),
        (json!({"changes": "many"}), "changes"),
        (json!({"within": "0s"}), "within"),
        (json!({"within": "2y"}), "within"),
        (json!({"often": 2}), "often"),
    ] {
        let mut policy = crate::stage::open_policy("x", "x", "custom");
        policy["guardrails"]["flapping"] = flapping;
        let said = scene.vigil.post("/api/v1/policies", &policy).expect(422).json();
        assert_eq!(said["detail"][0]["loc"], json!(["body", "guardrails", "flapping"]), "{said}");
        assert!(said["detail"][0]["msg"].as_str().unwrap().contains(word), "{said}");
    }
}
