//! The blast radius and the mass failure, in each part of a fleet.

use serde_json::{Value, json};

use super::Scene;
use crate::stage::Setting;
use crate::support::Vigil;

/// One reading of each target, in one request or one after the other over the servers; what was decided about each.
fn all(
    servers: &[&Vigil],
    targets: &[(String, Option<&str>)],
    value: f64,
    at_once: bool,
) -> Vec<(String, String)> {
    let metric = |(name, zone): &(String, Option<&str>)| {
        let mut tags = json!({"service": name});
        if let Some(zone) = zone {
            tags["zone"] = json!(zone);
        }
        json!({"name": "heat", "value": value, "tags": tags})
    };
    let batches: Vec<Value> = if at_once {
        vec![targets.iter().map(metric).collect()]
    } else {
        targets.iter().map(|target| json!([metric(target)])).collect()
    };
    let mut words = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let answer = servers[at % servers.len()].post_json("/api/v1/ingest", batch);
        for violation in answer["violations"].as_array().unwrap() {
            let word = |member: &str| violation[member].as_str().unwrap().to_owned();
            words.push((word("target"), word("decision")));
        }
    }
    words
}

fn count(words: &[(String, String)], prefix: &str, what: &str) -> usize {
    words.iter().filter(|(target, word)| target.starts_with(prefix) && word == what).count()
}

/// Four targets in each of two zones, and two in none.
fn fleet() -> Vec<(String, Option<&'static str>)> {
    let zone = |zone: &'static str| (0..4).map(move |n| (format!("{zone}-{n}"), Some(zone)));
    let none = (0..2).map(|n| (format!("none-{n}"), None));
    // Mixed, so that no zone comes first as a whole.
    let mut targets: Vec<_> = zone("a").chain(zone("b")).chain(none).collect();
    targets.sort_by_key(|(name, _)| name.chars().last());
    targets
}

fn each_part_has_its_budget(setting: Setting, nodes: usize, at_once: bool) {
    let scene = Scene::new(setting, |config| config);
    let second = (nodes > 1).then(|| {
        let config = crate::stage::config(&scene.target.url());
        Vigil::start(scene.backend.options(&config))
    });
    let servers: Vec<&Vigil> = std::iter::once(&scene.vigil).chain(&second).collect();
    // Targets are known before anybody asks where they are.
    assert!(all(&servers, &fleet(), 10.0, true).is_empty());
    let rails = json!({"blast_radius": {"percent": 50, "max": 100, "per": "zone"}});
    for name in ["p", "q"] {
        scene.policy(name, "*", rails.clone(), json!({}));
    }
    assert!(all(&servers, &fleet(), 10.0, true).is_empty());
    let words = all(&servers, &fleet(), 95.0, at_once);
    println!("{setting:?}: {words:?}");
    for (zone, most) in [("a", 2), ("b", 2), ("none", 1)] {
        assert_eq!(count(&words, zone, "act"), most, "{zone}: over both policies {words:?}");
    }
    assert_eq!(count(&words, "", "blast_radius"), 20 - 5, "{words:?}");
    let incident = &scene.incidents("target=a-3&policy=p")[0];
    let why = scene.why(incident);
    let guardrail = &why["decisions"].as_array().unwrap().last().unwrap()["saw"]["guardrail"];
    let said = json!({"reason": "blast_radius", "used": 2, "limit": 2, "domain": "zone=a"});
    assert_eq!(*guardrail, said, "{why}");
    assert!(why["story"].to_string().contains("blast_radius [domain zone=a, limit 2, used 2]"), "{why}");
}

#[test]
fn each_part_has_its_budget_at_once() {
    each_part_has_its_budget(Setting::Small, 1, true);
}

#[test]
fn each_part_has_its_budget_over_two_nodes() {
    each_part_has_its_budget(Setting::PostgresRedis, 2, false);
}

fn a_zone_that_looks_dead_is_not_believed(setting: Setting) {
    let scene = Scene::new(setting, |config| config);
    let rails = json!({"blast_radius": {"percent": 100, "max": 100, "per": "zone"},
        "mass_failure": {"targets": 3, "percent": 60, "quiet": "1m"}});
    scene.policy("p", "*", rails.clone(), json!({}));
    let mut whole = rails;
    whole["mass_failure"]["per"] = json!("*");
    scene.policy(
        "whole",
        "*",
        whole,
        json!({"condition": {"type": "metric_exceeds", "metric": "cold", "threshold": 0}}),
    );
    let vigil = &scene.vigil;
    assert!(all(&[vigil], &fleet(), 10.0, true).is_empty());
    let of = |zone: &str| fleet().into_iter().filter(|(name, _)| name.starts_with(zone)).collect::<Vec<_>>();
    let words = all(&[vigil], &of("a"), 95.0, false);
    assert_eq!((count(&words, "a", "act"), count(&words, "a", "mass_failure")), (2, 2), "{words:?}");
    let words = all(&[vigil], &of("b")[..1], 95.0, false);
    assert_eq!(count(&words, "b", "act"), 1, "the other zone is as it was: {words:?}");
    let why = scene.why(&scene.incidents("target=a-3&policy=p")[0]);
    let guardrail = &why["decisions"][0]["saw"]["guardrail"];
    assert_eq!(
        (&guardrail["domain"], &guardrail["violated"], &guardrail["targets"]),
        (&json!("zone=a"), &json!(4), &json!(4)),
        "{why}"
    );
    // Of the whole fleet of ten, three are no mass failure, six are.
    let targets = fleet();
    let words: Vec<Vec<String>> =
        targets[..6].iter().map(|(name, _)| scene.reading("cold", name, 1.0)).collect();
    assert_eq!(words.concat(), ["act", "act", "act", "act", "act", "mass_failure"]);
}

#[test]
fn a_zone_that_looks_dead_is_not_believed_on_sqlite() {
    a_zone_that_looks_dead_is_not_believed(Setting::Small);
}

#[test]
fn a_zone_that_looks_dead_is_not_believed_on_postgresql() {
    a_zone_that_looks_dead_is_not_believed(Setting::Postgres);
}

#[test]
fn a_target_that_moves_counts_where_it_is() {
    let scene = Scene::new(Setting::Small, |config| config);
    scene.policy("p", "*", json!({"blast_radius": {"percent": 1, "max": 100, "per": "zone"}}), json!({}));
    let at = |name: &str, zone: &'static str| vec![(name.to_owned(), Some(zone))];
    let vigil = [&scene.vigil];
    for (name, zone) in [("x", "a"), ("y", "a"), ("z", "b")] {
        assert!(all(&vigil, &at(name, zone), 10.0, true).is_empty());
    }
    assert_eq!(all(&vigil, &at("x", "a"), 95.0, true)[0].1, "act");
    assert_eq!(all(&vigil, &at("y", "a"), 95.0, true)[0].1, "blast_radius");
    assert_eq!(all(&vigil, &at("y", "b"), 95.0, true)[0].1, "act", "one action there, too");
    assert_eq!(all(&vigil, &at("z", "b"), 95.0, true)[0].1, "blast_radius", "which was the one");
}

#[test]
fn small_parts_and_what_is_said_otherwise() {
    let scene = Scene::new(Setting::Small, |config| config);
    scene.policy("one", "one-*", json!({"blast_radius": {"percent": 5, "per": "zone"}}), json!({}));
    scene.policy("none", "no-*", json!({"blast_radius": {"percent": 0, "per": "zone"}}), json!({}));
    let words = all(&[&scene.vigil], &[("one-1".into(), Some("a")), ("no-1".into(), Some("a"))], 95.0, true);
    let came = |prefix: &str, what: &str| count(&words, prefix, what);
    assert_eq!((came("one", "act"), came("no", "blast_radius"), words.len()), (1, 1, 2), "{words:?}");
    let shown = scene.vigil.get_json("/api/v1/policies/one");
    assert_eq!(
        shown["guardrails"]["blast_radius"],
        json!({"percent": 5, "max": 10, "per": "zone"}),
        "{shown}"
    );
    for (rails, word) in [
        (json!({"blast_radius": {"percent": 5, "per": ""}}), "per"),
        (json!({"blast_radius": {"percent": 5, "per": 7}}), "per"),
        (json!({"blast_radius": {"percent": 5, "per": "*"}}), "per"),
        (json!({"blast_radius": {"percent": 5, "per": "a\u{1}"}}), "per"),
        (json!({"mass_failure": {"per": "x".repeat(256)}}), "per"),
        (json!({"mass_failure": {"by": "zone"}}), "by"),
    ] {
        let mut policy = crate::stage::open_policy("x", "x", "custom");
        policy["guardrails"] = rails;
        let said = scene.vigil.post("/api/v1/policies", &policy).expect(422).json();
        assert_eq!(said["detail"][0]["loc"][1], "guardrails", "{said}");
        assert!(said["detail"][0]["msg"].as_str().unwrap().contains(word), "{said}");
    }
}
