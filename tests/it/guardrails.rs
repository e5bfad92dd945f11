//! What holds actions back across policies, nodes and people.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, ask, config, open_policy};
use crate::support::{Answer, Behaviour, CountingTarget, Request, Vigil, wait_until};

const LONG: Duration = Duration::from_secs(40);
/// What all may do together.
const ALL: u32 = 40;

fn hot(vigil: &Vigil, target: &str) -> Vec<String> {
    let metric = json!({"name": "heat", "value": 95, "tags": {"service": target}});
    let answer = vigil.post_json("/api/v1/ingest", &metric);
    let words = answer["violations"].as_array().unwrap().iter();
    words.map(|violation| violation["decision"].as_str().unwrap().to_owned()).collect()
}

/// Policies on two nodes and people on both, all at once: nobody finds room that another has taken.
fn one_budget_for_all(setting: Setting, nodes: usize) {
    let target = CountingTarget::start();
    let backend = Backend::new(setting);
    let config = config(&target.url()).replace("max_actions = 10_000_000", &format!("max_actions = {ALL}"));
    let servers: Vec<Vigil> = (0..nodes).map(|_| Vigil::start(backend.options(&config))).collect();
    for number in 0..5 {
        servers[0].post_json("/api/v1/policies", &open_policy(&format!("p-{number}"), "web-*", "custom"));
    }
    let words: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let server = &servers[client % nodes];
                scope.spawn(move || {
                    let mut words = Vec::new();
                    for round in 0..12 {
                        words.extend(hot(server, &format!("web-{client}-{round}")));
                        let body = json!({"target": format!("hand-{client}-{round}"), "action": "custom",
                            "queue_immediately": true});
                        let made = server.post("/api/v1/actions", &body).expect(201).json();
                        let word = made["suppressed"]["reason"].as_str().unwrap_or("act").to_owned();
                        assert_eq!(made["queued"], word == "act", "{made}");
                        words.push(word);
                    }
                    words
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let mut tally = HashMap::<&str, u32>::new();
    for word in &words {
        *tally.entry(word).or_default() += 1;
    }
    println!("{setting:?}: {tally:?}");
    assert_eq!(tally.get("act"), Some(&ALL), "as many as are allowed, and not one more: {tally:?}");
    assert!(tally.get("global_budget").is_some_and(|count| *count > 100), "{tally:?}");
    let count = "SELECT COUNT(*) FROM reservation";
    assert_eq!(ask(backend.database.as_ref(), &servers[0].data_dir(), count), [i64::from(ALL)]);
    let refused =
        servers[0].post("/api/v1/actions", &json!({"target": "x", "action": "custom"})).expect(201).json();
    let queue = Request::new("POST", &format!("/api/v1/actions/{}/queue", refused["action_id"]));
    let said = servers[nodes - 1].send(&queue).expect(409).json();
    assert!(said["detail"].as_str().unwrap().contains("guardrails.max_actions"), "{said}");
    wait_until(LONG, "the calls", || target.count() == ALL as usize);
}

#[test]
fn one_budget_for_all_on_one_node() {
    one_budget_for_all(Setting::Small, 1);
}

#[test]
fn one_budget_for_all_on_two_nodes() {
    one_budget_for_all(Setting::PostgresRedis, 2);
}

#[test]
fn a_policy_whose_actions_fail_rests() {
    let target = CountingTarget::start();
    target.behave(Behaviour { answer: Answer::Text(500, "{}".into()), ..Behaviour::default() });
    let config = format!("{}\n", config(&target.url())).replace("[retry]", "[retry]\nmax_attempts = 1");
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config));
    let mut policy = open_policy("p", "web-*", "custom");
    policy["guardrails"]["breaker"] = json!(3);
    policy["guardrails"]["rest"] = json!("4s");
    vigil.post_json("/api/v1/policies", &policy);
    let failed = |count: i64| {
        wait_until(LONG, "the failure", || {
            vigil.get_json("/api/v1/actions?state=dead&limit=1")["total"] == count
        });
    };
    for number in 1..=3 {
        assert_eq!(hot(&vigil, &format!("web-{number}")), ["act"]);
        failed(number);
    }
    assert_eq!(hot(&vigil, "web-4"), ["breaker"]);
    let incident = &vigil.get_json("/api/v1/incidents?target=web-4")["incidents"][0];
    let why = vigil.get_json(&format!("/api/v1/incidents/{}/why", incident["id"]));
    assert!(why["decisions"][0]["until"].is_string(), "it says until when: {why}");
    // After its rest it tries once, and rests again.
    wait_until(LONG, "the end of its rest", || {
        vigil.get_json("/api/v1/actions?state=dead&limit=1")["total"] == 4
    });
    assert_eq!(hot(&vigil, "web-5"), ["breaker"], "one more failure, one more rest");
    // What then works lets it go on.
    target.behave(Behaviour::default());
    let state =
        |action: &Value| vigil.get_json(&format!("/api/v1/actions/{}", action["id"]))["state"].clone();
    wait_until(LONG, "one that works", || {
        let list = vigil.get_json("/api/v1/actions?state=succeeded&limit=1");
        list["count"] == 1 && state(&list["actions"][0]) == "succeeded"
    });
    let healed = json!({"name": "heat", "value": 5, "tags": {"service": "web-4"}});
    vigil.post_json("/api/v1/ingest", &healed);
    vigil.post_json("/api/v1/ingest", &json!({"name": "heat", "value": 5, "tags": {"service": "web-5"}}));
    wait_until(LONG, "a verdict", || {
        vigil.get_json("/api/v1/policies/p/effectiveness")["steps"][0]["healed"].as_i64() > Some(0)
    });
    assert_eq!(hot(&vigil, "web-6"), ["act"], "an action that helped closes the breaker");
}
