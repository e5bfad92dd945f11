//! Steps have attempts and time of their own.

use serde_json::json;

use super::{LONG, Scene};
use crate::stage::Setting;
use crate::support::{Answer, Behaviour, wait_until};

#[test]
fn a_step_has_attempts_and_time_of_its_own() {
    let scene = Scene::new(Setting::Small, |config| config);
    scene.target.behave(Behaviour { answer: Answer::Hang, ..Behaviour::default() });
    let rails = json!({"attempts": 1, "timeout": "400ms", "tries": 1});
    let step = json!({"action": "custom", "attempts": 2, "timeout": 0.3, "settle": "0s"});
    scene.policy("p", "web-*", rails, json!({"steps": [step]}));
    assert_eq!(scene.reading("heat", "web-1", 95.0), ["act"]);
    let ended = |count: u64| {
        wait_until(LONG, &format!("{count} actions to have ended"), || {
            scene.reading("heat", "web-1", 95.0);
            scene.vigil.get_json("/api/v1/actions?state=dead&limit=1")["total"] == count
        });
    };
    ended(2);
    assert_eq!(scene.target.count(), 1 + 2, "the policy's own action has one, the step two");
    let list = scene.vigil.get_json("/api/v1/actions?state=dead&limit=2");
    for action in list["actions"].as_array().unwrap() {
        let id = action["action_id"].as_i64().or_else(|| action["id"].as_i64()).unwrap();
        let shown = scene.vigil.get_json(&format!("/api/v1/actions/{id}"));
        println!("{shown}");
        let text = shown["error_message"].as_str().unwrap();
        assert!(text.contains("deadline") || text.contains("time"), "{text}");
    }
    // The plugin's own time is longer than all three attempts took.
    let why = scene.why(&scene.incidents("target=web-1")[0]);
    let attempts: Vec<_> =
        why["actions"].as_array().unwrap().iter().map(|action| &action["attempts"]).collect();
    assert_eq!(attempts.len(), 2, "{why}");
}
