//! A yes to a plan with the calls that plan mode has found: the run changes nothing else.

use super::*;
use crate::support::{Behaviour, Program, Supervisord};

impl Scene {
    /// What the action would do, by somebody's asking; the action as it is shown then.
    #[track_caller]
    fn planned(&self, action: &Value) -> (Value, Value) {
        let path = format!("/api/v1/actions/{}/plan", action["id"]);
        let plan = self.post(&self.ann, &path, &json!({})).expect(200).json()["plan"].clone();
        (plan, self.action(&action["id"]))
    }
}

fn what_was_seen_is_what_runs(setting: Setting) {
    let scene = Scene::new(setting, "");
    scene.policy("asks", "web-*", &json!({}));
    let asked = scene.asked("web-1");
    assert!(asked["approval"]["plan"].get("calls").is_none(), "nobody has asked what it would do: {asked}");
    scene.post(&scene.viewer, &format!("/api/v1/actions/{}/plan", asked["id"]), &json!({})).expect(403);
    let (plan, shown) = scene.planned(&asked);
    assert_eq!(scene.target.count(), 0, "nothing was done");
    let calls = shown["approval"]["plan"]["calls"].as_array().unwrap();
    assert_eq!((calls.len(), &calls[0]["body_hash"]), (1, &plan["mutating"][0]["body_hash"]), "{shown}");
    assert_eq!(shown["approval"]["plan_hash"], plan["hash"], "a yes names what was seen");
    assert_ne!(shown["approval"]["plan_hash"], asked["approval"]["plan_hash"]);
    let changed = shown["approval"]["changed"].to_string();
    assert!(changed.contains("not recorded and are 1 recorded"), "{changed}");
    // A yes to what had been seen before is one to another plan.
    let late = scene.approve(&scene.bob, &asked);
    assert_eq!(late.status, 409);
    assert!(said(&late).starts_with("plan_changed: the calls that change something"), "{}", said(&late));
    scene.approve(&scene.bob, &shown).expect(200);
    let done = scene.until(&asked["id"], "its run", |action| action["status"] == "completed");
    assert_eq!(
        done["approval"]["plan"]["calls"], shown["approval"]["plan"]["calls"],
        "it stays with the yes"
    );
    assert_eq!(scene.target.count(), 1);
    assert!(scene.deeds(&asked["id"]).contains(&"action.planned".to_owned()));
}

#[test]
fn what_was_seen_is_what_runs_on_sqlite() {
    what_was_seen_is_what_runs(Setting::Small);
}

#[test]
fn what_was_seen_is_what_runs_on_postgresql() {
    what_was_seen_is_what_runs(Setting::PostgresRedis);
}

#[test]
fn another_call_than_those_that_were_seen_is_refused() {
    let scene = Scene::new(Setting::Small, "");
    scene.policy("asks", "web-*", &json!({}));
    let asked = scene.asked("web-1");
    let (_, shown) = scene.planned(&asked);
    // The first attempt fails, and the webhook's body says which attempt it is: the second would send another.
    scene.target.behave(Behaviour { fail_first: 1, ..Behaviour::default() });
    scene.approve(&scene.bob, &shown).expect(200);
    let done = scene.until(&asked["id"], "its end", |action| !action["completed_at"].is_null());
    let why = done["error_message"].as_str().unwrap();
    assert!(done["status"] == "failed" && why.contains("plan_diverged: POST /"), "{done}");
    assert_eq!(scene.target.count(), 1, "the second call never left");
    let attempts = scene.get(&format!("/api/v1/actions/{}/attempts", asked["id"]));
    assert_eq!(attempts["attempts"][1]["calls"][0]["state"], "refused", "{attempts}");
}

#[test]
fn a_real_process_is_restarted_by_the_two_calls_that_were_seen() {
    let supervisord = Supervisord::start(&[Program::sleeper("web")]);
    let rules = |reads: &str| {
        format!(
            "[connections.supervisor]\nurl = \"unix://{}\"\nallow = [{reads} \"POST /RPC2\"]\n",
            supervisord.socket().display()
        )
    };
    let reads =
        "{ methods = [\"POST\"], path = \"/RPC2\", body = [\"supervisor.get*\"], effect = \"read\" },";
    let scene = Scene::new(Setting::Small, &rules(reads));
    scene.policy("sick", "web", &json!({"action": "restart"}));
    let (before, asked) = (supervisord.pid_of("web"), scene.asked("web"));
    let (plan, shown) = scene.planned(&asked);
    assert_eq!(supervisord.pid_of("web"), before, "planned");
    let calls = &shown["approval"]["plan"]["calls"];
    assert_eq!((calls.as_array().unwrap().len(), &plan["binding"]), (2, &json!(true)), "{plan}");
    scene.approve(&scene.bob, &shown).expect(200);
    scene.until(&asked["id"], "the restart", |action| action["status"] == "completed");
    assert_ne!(supervisord.pid_of("web"), before, "restarted");

    // Where nothing is declared a read, the plugin finds out nothing: it is shown, and no yes is bound to it.
    let scene = Scene::new(Setting::Small, &rules(""));
    scene.policy("sick", "web", &json!({"action": "restart"}));
    let (before, asked) = (supervisord.pid_of("web"), scene.asked("web"));
    let (plan, shown) = scene.planned(&asked);
    assert_eq!((&plan["outcome"]["kind"], &plan["binding"]), (&json!("permanent"), &json!(false)), "{plan}");
    assert_eq!(shown["approval"]["plan_hash"], asked["approval"]["plan_hash"], "{shown}");
    scene.approve(&scene.bob, &shown).expect(200);
    scene.until(&asked["id"], "the restart", |action| action["status"] == "completed");
    assert_ne!(supervisord.pid_of("web"), before, "restarted");
}
