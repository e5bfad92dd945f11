//! Asked once more when an action's turn comes.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LONG, end, heat, hot, made, silence, why};
use crate::stage::{Backend, Setting, config, open_policy};
use crate::support::{Behaviour, CountingTarget, Request, Vigil, wait_until};

const REASONS: [(&str, &str); 5] = [
    ("silenced", "new kernel"),
    ("deleted", "was deleted"),
    ("disabled", "was disabled"),
    ("observe", "was set to observe"),
    ("cleared", "is clear since"),
];

fn action(vigil: &Vigil, id: &Value) -> Value {
    vigil.get_json(&format!("/api/v1/actions/{id}"))
}

/// Each policy's action waits behind one by hand while what led to it changes; another by hand waits behind both.
fn nothing_stale_starts(setting: Setting) {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(setting).options(&config(&target.url())));
    let behaviour = Behaviour { delay: Duration::from_secs(4), ..Behaviour::default() };
    target.behave(behaviour);
    let mut waiting = Vec::new();
    for (word, _) in REASONS {
        let name = format!("web-{word}");
        let mut policy = open_policy(word, &name, "custom");
        policy["guardrails"]["tries"] = json!(1);
        policy["steps"] = json!([{"action": "notify"}]);
        vigil.post_json("/api/v1/policies", &policy);
        made(&vigil, &name);
    }
    wait_until(LONG, "the calls", || target.count() == REASONS.len());
    for (word, _) in REASONS {
        let name = format!("web-{word}");
        let violated = hot(&vigil, &name);
        assert_eq!(violated["decision"], "act", "{violated}");
        let behind = made(&vigil, &name)["action_id"].clone();
        let acted =
            vigil.get_json(&format!("/api/v1/actions?target={name}&origin=policy"))["actions"][0].clone();
        assert_eq!(acted["state"], "blocked", "{acted}");
        waiting.push((violated, acted["id"].clone(), behind));
    }
    let held = silence(&vigil, &["target=web-silenced"], "1h");
    vigil.send(&Request::new("DELETE", "/api/v1/policies/deleted")).expect(200);
    vigil
        .send(&Request::new("PUT", "/api/v1/policies/disabled").json(&json!({"enabled": false})))
        .expect(200);
    let observe = json!({"auto_remediate": false});
    vigil.send(&Request::new("PUT", "/api/v1/policies/observe").json(&observe)).expect(200);
    heat(&vigil, "web-cleared", 10);
    target.behave(Behaviour::default());
    for ((word, says), (_, acted, behind)) in REASONS.iter().zip(&waiting) {
        wait_until(LONG, "the one behind", || action(&vigil, behind)["state"] == "succeeded");
        let stale = action(&vigil, acted);
        assert_eq!(
            (&stale["state"], &stale["status"]),
            (&json!("expired"), &json!("cancelled")),
            "{word}: {stale}"
        );
        let details = stale["details"].as_str().unwrap_or_default();
        assert!(details.starts_with("Expired: ") && details.contains(says), "{word}: {stale}");
        let told = vigil.get_json(&format!("/api/v1/actions/{acted}/why"));
        assert!(told["audit"].to_string().contains("action.expired"), "{word}: {told}");
        assert!(told["audit"].to_string().contains(says), "{word}: {told}");
        assert_eq!(told["actions"][0]["attempts"], json!([]), "{word}: it never began: {told}");
    }
    assert_eq!(target.count(), REASONS.len() * 2, "only what people made by hand was called");
    // Its try was given back: the only one that it has is made once the silence is over.
    assert_eq!(hot(&vigil, "web-silenced")["decision"], "silenced");
    end(&vigil, &held);
    wait_until(LONG, "the action", || target.count() == REASONS.len() * 2 + 1);
    let told = why(&vigil, &waiting[0].0);
    let words: Vec<&Value> =
        told["decisions"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
    assert_eq!(words[..3], ["act", "suppress", "act"], "{told}");
    // And what healed by itself is healed, by nobody.
    wait_until(LONG, "the end of the incident", || {
        heat(&vigil, "web-cleared", 10);
        why(&vigil, &waiting[4].0)["incident"]["state"] == "healed"
    });
    let told = why(&vigil, &waiting[4].0);
    assert!(told["actions"][0]["verdict"].is_null(), "what was not started did not heal: {told}");
}

#[test]
fn nothing_stale_starts_on_sqlite() {
    nothing_stale_starts(Setting::Small);
}

#[test]
fn nothing_stale_starts_on_postgres() {
    nothing_stale_starts(Setting::Postgres);
}

#[test]
fn what_is_met_again_starts_all_the_same() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    vigil.post_json("/api/v1/policies", &open_policy("p", "web-*", "custom"));
    target.behave(Behaviour { delay: Duration::from_secs(3), ..Behaviour::default() });
    made(&vigil, "web-1");
    wait_until(LONG, "the call", || target.count() == 1);
    assert_eq!(hot(&vigil, "web-1")["decision"], "act");
    // Clear for a moment, in one request with what comes before and after it.
    let sample = |value: i64| json!({"name": "heat", "value": value, "tags": {"service": "web-1"}});
    vigil.post_json("/api/v1/ingest", &json!([sample(95), sample(10), sample(96)]));
    wait_until(LONG, "the policy's call", || target.count() == 2);
    // Seen clear while it runs, it runs to its end.
    heat(&vigil, "web-1", 10);
    thread::sleep(Duration::from_millis(200));
    let acted = vigil.get_json("/api/v1/actions?origin=policy")["actions"][0].clone();
    wait_until(LONG, "its end", || action(&vigil, &acted["id"])["state"] == "succeeded");
}

/// A remediator that asks for work gets nothing stale either.
#[test]
fn nothing_stale_is_lent() {
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config("http://127.0.0.1:9")));
    vigil.post_json("/api/v1/policies", &open_policy("p", "web-*", "reboot"));
    let pull = || vigil.get_json("/api/v1/actions/remediator/tasks?remediator_id=r&limit=10");
    pull();
    let held = silence(&vigil, &["target=web-2"], "1h");
    assert_eq!(hot(&vigil, "web-2")["decision"], "silenced");
    end(&vigil, &held);
    assert!(hot(&vigil, "web-2")["decision"] == "act", "once more");
    let again = silence(&vigil, &["target=web-2"], "1h");
    let tasks = pull();
    assert!(!tasks.to_string().contains("web-2"), "{tasks}");
    let acted = vigil.get_json("/api/v1/actions?origin=policy&target=web-2")["actions"][0].clone();
    assert_eq!(acted["state"], "expired", "{acted}");
    end(&vigil, &again);
}
