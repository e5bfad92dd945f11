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

/// A policy as people write it, its guardrails those of the house but for what is said here.
fn plain(name: &str, target: &str, rails: Value) -> Value {
    json!({"name": name, "target": target, "action": "custom", "auto_remediate": true, "guardrails": rails,
        "condition": {"type": "metric_exceeds", "metric": "heat", "threshold": 90}})
}

/// One event of each of these targets, in one request; what was decided about each.
fn all(vigil: &Vigil, prefix: &str, targets: std::ops::Range<usize>, value: f64) -> Vec<String> {
    let metric =
        |n: usize| json!({"name": "heat", "value": value, "tags": {"service": format!("{prefix}{n}")}});
    let answer = vigil.post_json("/api/v1/ingest", &targets.map(metric).collect());
    let words = answer["violations"].as_array().unwrap().iter();
    words.map(|violation| violation["decision"].as_str().unwrap().to_owned()).collect()
}

fn count(words: &[String], what: &str) -> usize {
    words.iter().filter(|word| *word == what).count()
}

/// Google's automation wiped a fleet because nothing asked how much of it that was: four fifths of one that are hot, one
/// after the other or at once, over one node or two.
fn a_fleet_is_not_wiped(setting: Setting, nodes: usize, at_once: bool) {
    let target = CountingTarget::start();
    let backend = Backend::new(setting);
    let config = config(&target.url());
    let servers: Vec<Vigil> = (0..nodes).map(|_| Vigil::start(backend.options(&config))).collect();
    servers[0].post_json("/api/v1/policies", &plain("p", "web-*", json!({"mass_failure": {"quiet": "3s"}})));
    servers[0].post_json("/api/v1/policies", &plain("q", "web-*", json!({"mass_failure": {"quiet": "3s"}})));
    assert!(all(&servers[0], "web-", 0..100, 10.0).is_empty());
    let words: Vec<String> = if at_once {
        // An answer names a hundred violations.
        [0..40, 40..80].into_iter().flat_map(|part| all(&servers[0], "web-", part, 95.0)).collect()
    } else {
        (0..80).flat_map(|n| all(&servers[n % nodes], "web-", n..n + 1, 95.0)).collect()
    };
    println!(
        "{setting:?}: {} act, {} blast_radius, {} mass_failure",
        count(&words, "act"),
        count(&words, "blast_radius"),
        count(&words, "mass_failure")
    );
    assert_eq!(count(&words, "act"), 5, "5 of 100, over both policies: {words:?}");
    assert_eq!(words.len(), 160);
    // From the thirtieth sick target on it is the observer who is suspected.
    assert_eq!(count(&words, "mass_failure"), 2 * 51, "{words:?}");
    assert_eq!(count(&words, "blast_radius"), 160 - 5 - 2 * 51, "{words:?}");
    let incident = &servers[0].get_json("/api/v1/incidents?target=web-79&policy=p")["incidents"][0];
    let why = servers[0].get_json(&format!("/api/v1/incidents/{}/why", incident["id"]));
    assert!(
        why["story"].to_string().contains("mass_failure") && why["decisions"][0]["until"].is_string(),
        "{why}"
    );
    wait_until(LONG, "the five calls", || target.count() == 5);
    // It is over, but not for long enough; and then the budget of the window is still used up.
    all(&servers[0], "web-", 5..80, 10.0);
    assert_eq!(count(&all(&servers[0], "web-", 90..91, 95.0), "mass_failure"), 2);
    all(&servers[0], "web-", 90..91, 10.0);
    thread::sleep(Duration::from_millis(3_100));
    assert_eq!(count(&all(&servers[nodes - 1], "web-", 91..92, 95.0), "blast_radius"), 2);
    assert_eq!(target.count(), 5);
}

#[test]
fn a_fleet_is_not_wiped_one_by_one() {
    a_fleet_is_not_wiped(Setting::Small, 1, false);
}

#[test]
fn a_fleet_is_not_wiped_at_once() {
    a_fleet_is_not_wiped(Setting::Postgres, 1, true);
}

#[test]
fn a_fleet_is_not_wiped_over_two_nodes() {
    a_fleet_is_not_wiped(Setting::PostgresRedis, 2, false);
}

#[test]
fn small_fleets_and_what_is_said_otherwise() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    for (name, rails) in [
        ("one", json!({})),
        ("none", json!({"blast_radius": {"max": 0}})),
        ("no-share", json!({"blast_radius": {"percent": 0}})),
        ("half", json!({"blast_radius": {"percent": 50, "max": 100}})),
        ("two", json!({"blast_radius": {"max": 2}})),
    ] {
        vigil.post_json("/api/v1/policies", &plain(name, &format!("{name}-*"), rails));
    }
    for (name, most) in [("one", 1), ("none", 0), ("no-share", 0), ("half", 2), ("two", 2)] {
        all(&vigil, &format!("{name}-"), 0..4, 10.0);
        let words = all(&vigil, &format!("{name}-"), 0..4, 95.0);
        assert_eq!(count(&words, "act"), most, "{name}: {words:?}");
        assert_eq!(count(&words, "blast_radius"), 4 - most, "{name}: {words:?}");
    }
    for (rails, word) in [
        (json!({"blast_radius": 5}), "object"),
        (json!({"blast_radius": {}}), "percent"),
        (json!({"blast_radius": {"percent": 101}}), "percent"),
        (json!({"blast_radius": {"max": -1}}), "max"),
        (json!({"blast_radius": {"most": 1}}), "most"),
        (json!({"mass_failure": {"targets": 0}}), "targets"),
        (json!({"mass_failure": {"quiet": "soon"}}), "quiet"),
        (json!({"breaker": 0}), "breaker"),
        (json!({"tries": 99}), "tries"),
    ] {
        let refused = vigil.post("/api/v1/policies", &plain("x", "x", rails.clone())).expect(422).json();
        let fault = &refused["detail"][0];
        assert_eq!(fault["loc"][1], "guardrails", "{rails}: {refused}");
        assert!(fault["msg"].as_str().unwrap().contains(word), "{rails}: {refused}");
    }
}
