//! What was approved is what runs: a plugin exchanged between the yes and the run is noticed.

use super::*;
use crate::hostile_fixtures as fixtures;

/// The fixture `sleeps` with another length of its sleep, which is written into its one `i64.const`.
fn sleeper(millis: u32) -> Vec<u8> {
    let mut bytes = fixtures::component("sleeps");
    let leb128 = |number: u32| {
        let part = |n: u32| ((number >> (7 * n)) & 0x7f) as u8;
        [part(0) | 0x80, part(1) | 0x80, part(2) | 0x80, part(3)]
    };
    let at = bytes.windows(4).position(|four| four == leb128(86_400_000)).unwrap();
    bytes[at..at + 4].copy_from_slice(&leb128(millis));
    bytes
}

impl Scene {
    /// Puts a plugin there and waits until it is served with another digest than before.
    fn put(&self, bytes: &[u8], before: Option<&str>) -> String {
        let directory = self.vigil.data_dir().join("plugins");
        std::fs::write(directory.join(".sleeps.part"), bytes).unwrap();
        std::fs::rename(directory.join(".sleeps.part"), directory.join("sleeps.wasm")).unwrap();
        wait_for(Duration::from_mins(3), "the plugin", || {
            let plugins = self.get("/api/v1/plugins");
            let found =
                plugins["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "sleeps")?;
            let digest = found["digest"].as_str()?.to_owned();
            (found["status"] == "active" && Some(digest.as_str()) != before).then_some(digest)
        })
    }

    /// Occupies the target for as long as the plugin sleeps.
    fn occupy(&self, target: &str) -> Value {
        let body = json!({"target": target, "action": "sleeps", "queue_immediately": true});
        let id = self.post(&self.ann, "/api/v1/actions", &body).expect(201).json()["action_id"].clone();
        self.until(&id, "the other one to run", |action| action["status"] == "running");
        id
    }
}

#[test]
fn a_plugin_exchanged_after_the_yes_does_not_run() {
    let scene = Scene::new(Setting::Small, "");
    let quick = scene.put(&sleeper(1), None);
    let old = scene.put(&sleeper(6_000), Some(&quick));
    scene.policy("naps", "web-1", &json!({"action": "sleeps"}));
    let busy = scene.occupy("web-1");
    let asked = scene.asked("web-1");
    assert_eq!(asked["approval"]["plan"]["digest"], old.as_str(), "{asked}");
    let done = scene.approve(&scene.ann, &asked).expect(200).json();
    assert_eq!(done["state"], "blocked", "its target is busy: {done}");
    // The one that is compiled already is in service long before the target is free.
    assert_eq!(scene.put(&sleeper(1), Some(&old)), quick);
    assert_eq!(scene.action(&busy)["status"], "running", "in time");
    let over = scene.until(&asked["id"], "its end", |action| action["state"] == "cancelled");
    let details = over["details"].as_str().unwrap();
    assert!(details.starts_with("Cancelled: plan_diverged: the plugin's digest was "), "{over}");
    assert!(details.contains(&old) && details.contains(&quick), "{over}");
    assert_eq!((&over["approval"]["state"], &over["attempts"]), (&json!("diverged"), &json!(0)), "{over}");
    assert!(scene.deeds(&asked["id"]).contains(&"approval.diverged".to_owned()));
    // A fresh request, bound to what would run now.
    // Asked by this reading, or by a look at the last one.
    let words = scene.reading("web-1", 95.0);
    assert!(words == ["ask"] || words == ["awaiting_approval"], "{words:?}");
    let again = scene.waiting("web-1");
    assert_eq!(again["approval"]["plan"]["digest"], quick.as_str(), "{again}");
    assert_ne!(again["approval"]["plan_hash"], asked["approval"]["plan_hash"]);
    scene.approve(&scene.ann, &again).expect(200);
    let ended = scene.until(&again["id"], "its run", |action| action["status"] == "completed");
    assert_eq!(ended["digest"], quick.as_str(), "{ended}");
    let incident = scene.get(&format!("/api/v1/incidents/{}", again["incident_id"]));
    assert_eq!(
        (&again["incident_id"], &incident["actions"]),
        (&asked["incident_id"], &json!(1)),
        "{incident}"
    );
}

#[test]
fn a_plugin_exchanged_before_the_yes_is_named() {
    let scene = Scene::new(Setting::Small, "");
    let old = scene.put(&sleeper(2), None);
    scene.policy("naps", "web-1", &json!({"action": "sleeps", "approval": {"people": 2}}));
    let asked = scene.asked("web-1");
    scene.approve(&scene.ann, &asked).expect(200);
    let new = scene.put(&sleeper(1), Some(&old));
    let refused = scene.approve(&scene.bob, &asked).expect(409);
    let text = said(&refused);
    assert!(text.starts_with("plan_changed: the plugin's digest was ") && text.contains(&new), "{text}");
    let seen = scene.action(&asked["id"]);
    let approval = &seen["approval"];
    assert_eq!(approval["plan"]["digest"], new.as_str(), "what would run now is shown: {approval}");
    assert!(approval["changed"][0].as_str().unwrap().contains(&old), "{approval}");
    assert_eq!(approval["approvals"][0]["counts"], false, "ann has seen another plan: {approval}");
    let done = scene.approve(&scene.bob, &seen).expect(200).json();
    assert_eq!(done["approval"]["state"], "waiting", "one of two: {done}");
    let done = scene.approve(&scene.ann, &seen).expect(200).json();
    assert_eq!(done["approval"]["state"], "approved", "{done}");
    let ended = scene.until(&asked["id"], "its run", |action| action["status"] == "completed");
    assert_eq!(ended["digest"], new.as_str(), "{ended}");
}

#[test]
fn a_policy_changed_after_the_yes_does_not_run() {
    let scene = Scene::new(Setting::Small, "");
    scene.put(&sleeper(4_000), None);
    scene.policy("naps", "web-1", &json!({"action": "custom"}));
    scene.occupy("web-1");
    let asked = scene.asked("web-1");
    scene.approve(&scene.ann, &asked).expect(200);
    let path = "/api/v1/policies/naps";
    scene.send(&scene.author, Request::new("PUT", path).json(&json!({"description": "other"}))).expect(200);
    let over = scene.until(&asked["id"], "its end", |action| action["state"] == "cancelled");
    let details = over["details"].as_str().unwrap();
    assert!(details.contains("plan_diverged: policy `naps` was at version 1 and is at 2"), "{over}");
    assert_eq!(scene.target.count(), 0);
}

#[test]
fn a_crash_between_the_yes_and_the_run_loses_and_doubles_nothing() {
    let mut scene = Scene::with(Setting::Small, "", &[("VIGIL_QUEUE__WORKERS", "1")]);
    scene.put(&sleeper(3_000), None);
    scene.policy("asks", "web-1", &json!({}));
    scene.occupy("elsewhere");
    let asked = scene.asked("web-1");
    let done = scene.approve(&scene.ann, &asked).expect(200).json();
    assert_eq!(done["state"], "ready", "the only worker is busy: {done}");
    scene.vigil.kill9();
    scene.vigil.start_again();
    let ended = scene.until(&asked["id"], "its run", |action| action["status"] == "completed");
    assert_eq!(ended["attempts"], 1, "{ended}");
    assert_eq!(scene.target.count(), 1);
}
