//! Lists: by page and by cursor, filters that combine, totals that are right, an order that stands still.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Scene, faults};
use crate::stage::Setting;

fn ids(page: &Value) -> Vec<i64> {
    page["actions"].as_array().unwrap().iter().map(|action| action["id"].as_i64().unwrap()).collect()
}

/// Every page of a list by its cursors.
fn walk(scene: &Scene, path: &str, between: impl Fn()) -> Vec<Value> {
    let mut pages = vec![scene.vigil.get_json(path)];
    while let Some(cursor) = pages.last().unwrap()["next_cursor"].as_str() {
        between();
        let next = scene.vigil.get_json(&format!("{path}&cursor={cursor}"));
        pages.push(next);
        assert!(pages.len() < 100, "the list does not end");
    }
    pages
}

fn make_some(scene: &Scene) -> Vec<i64> {
    let kinds = ["reboot-rack", "swap-fan", "call-a-person"];
    let mut all: Vec<i64> = (0..24)
        .map(|n| {
            let priority = ["low", "medium", "high"][n % 3];
            let target = format!("node-{}", n % 4);
            scene.make(&json!({"target": target, "action": kinds[n % 3], "priority": priority}))
        })
        .collect();
    all.reverse();
    all
}

fn pages_and_cursors(scene: &Scene) {
    let all = make_some(scene);
    let page = |n: usize| scene.vigil.get_json(&format!("/api/v1/actions?limit=7&page={n}"));
    let by_page: Vec<i64> = (1..=4).flat_map(|n| ids(&page(n))).collect();
    assert_eq!(by_page, all, "newest first, by page");
    let third = page(3);
    assert_eq!((&third["count"], &third["total"], &third["page"]), (&json!(7), &json!(24), &json!(3)));
    let past = page(9);
    assert_eq!((&past["count"], &past["total"], &past["next_cursor"]), (&json!(0), &json!(24), &Value::Null));
    // What is made while somebody reads on neither repeats nor hides anything.
    let pages = walk(scene, "/api/v1/actions?limit=7", || {
        scene.held("made-meanwhile");
    });
    assert_eq!(pages.iter().flat_map(ids).collect::<Vec<_>>(), all, "newest first, by cursor");
    assert_eq!(scene.vigil.get_json("/actions?limit=500")["next_cursor"], Value::Null);
}

fn filters(scene: &Scene) {
    let everything = scene.vigil.get_json("/api/v1/actions?limit=500")["actions"].as_array().unwrap().clone();
    let cases: [(&str, fn(&Value) -> bool); 9] = [
        ("target=node-1", |a| a["target"] == "node-1"),
        ("action=swap-fan", |a| a["action"] == "swap-fan"),
        ("priority=high", |a| a["priority"] == "high"),
        ("target=node-1&action=swap-fan&status=pending", |a| {
            a["target"] == "node-1" && a["action"] == "swap-fan"
        }),
        ("state=held&origin=api&target=node-2", |a| a["target"] == "node-2"),
        ("status=running&state=held", |_| false),
        ("policy_name=nobody", |_| false),
        ("incident_id=7", |_| false),
        ("status=&target=&origin=&priority=&incident_id=", |_| true),
    ];
    for (query, wanted) in cases {
        let path = format!("/api/v1/actions?limit=5&{query}");
        let pages = walk(scene, &path, || {});
        let found: Vec<i64> = pages.iter().flat_map(ids).collect();
        let expected: Vec<i64> =
            everything.iter().filter(|a| wanted(a)).map(|a| a["id"].as_i64().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
        assert_eq!(pages[0]["total"], expected.len(), "{query}: the total counts all pages");
    }
    let at = |n: usize| everything[n]["started_at"].as_str().unwrap();
    let query = format!("/api/v1/actions?start_time={}&end_time={}", at(9), at(4));
    let expected: Vec<i64> = everything[4..=9].iter().map(|a| a["id"].as_i64().unwrap()).collect();
    assert_eq!(ids(&scene.vigil.get_json(&query)), expected, "both ends are inside");
    for (query, place) in [
        ("priority=urgent", "priority"),
        ("origin=elsewhere", "origin"),
        ("incident_id=seven", "incident_id"),
        ("limit=0", "limit"),
        ("page=0", "page"),
        ("start_time=soon", "start_time"),
    ] {
        let answer = scene.vigil.get(&format!("/api/v1/actions?{query}")).expect(422);
        assert_eq!(faults(&answer)[0].1, place, "{query}");
    }
}

fn forged(scene: &Scene) {
    let path = "/api/v1/actions?limit=5&target=node-1";
    let cursor = scene.vigil.get_json(path)["next_cursor"].as_str().unwrap().to_owned();
    let mut other = cursor.clone();
    other.replace_range(3..4, if &cursor[3..4] == "A" { "B" } else { "A" });
    for query in [
        format!("{path}&cursor={other}"),
        format!("{path}&cursor=nonsense"),
        format!("{path}&cursor=%00"),
        format!("/api/v1/actions?limit=5&target=node-2&cursor={cursor}"),
        format!("/api/v1/incidents?limit=5&target=node-1&cursor={cursor}"),
        format!("{path}&page=2&cursor={cursor}"),
    ] {
        scene.vigil.get(&query).expect(422);
    }
    scene.vigil.get(&format!("/actions?target=node-1&limit=2&cursor={cursor}")).expect(200);
}

fn incidents(scene: &Scene) {
    let policy = json!({"name": "hot", "target": "*", "action": "custom", "severity": "critical",
        "condition": {"type": "metric_exceeds", "metric": "heat", "threshold": 90}});
    scene.vigil.post("/api/v1/policies", &policy).expect(201);
    let events: Vec<Value> = (0..12)
        .map(|n| json!({"name": "heat", "value": 95, "tags": {"host": format!("oven-{n}")}}))
        .collect();
    scene.vigil.post("/api/v1/ingest", &json!(events)).expect(201);
    let pages = walk(scene, "/api/v1/incidents?limit=5&state=open&severity=critical&policy=hot", || {});
    let of = |page: &Value| -> Vec<i64> {
        page["incidents"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect()
    };
    let found: Vec<i64> = pages.iter().flat_map(of).collect();
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), 12, "each once: {found:?}");
    assert_eq!((&pages[0]["total"], pages.len()), (&json!(12), 3));
    let by_page: Vec<i64> = (1..=3)
        .flat_map(|n| of(&scene.vigil.get_json(&format!("/api/v1/incidents?limit=5&page={n}"))))
        .collect();
    assert_eq!(by_page, found, "the same order by page");
    assert_eq!(scene.vigil.get_json("/api/v1/incidents?severity=info")["total"], 0);
    assert_eq!(faults(&scene.vigil.get("/api/v1/incidents?severity=odd").expect(422))[0].1, "severity");
}

/// Who did what: the trail of one action, by cursor and by filter.
fn audit(scene: &Scene) {
    let id = scene.held("audited");
    scene.set(id, "failed").expect(200);
    scene.set(id, "pending").expect(200);
    scene.put(&format!("/api/v1/actions/{id}/cancel"), &json!({"reason": "enough"})).expect(200);
    let path = format!("/api/v1/audit?limit=3&object=action&object_id={id}");
    let pages = walk(scene, &path, || {
        scene.held("made-meanwhile");
    });
    let verbs: Vec<&str> = pages
        .iter()
        .flat_map(|page| page["entries"].as_array().unwrap())
        .map(|entry| entry["verb"].as_str().unwrap())
        .collect();
    assert_eq!(verbs, ["action.cancelled", "action.status_set", "action.status_set", "action.created"]);
    let one = scene.vigil.get_json(&format!("/api/v1/audit?verb=action.cancelled&object_id={id}&actor=api"));
    assert_eq!(one["entries"][0]["facts"]["details"], "Cancelled: enough", "{one}");
    assert_eq!(scene.vigil.get_json("/api/v1/audit?verb=nothing")["count"], 0);
    scene.vigil.get("/api/v1/audit?cursor=abc").expect(422);
}

fn every_list(setting: Setting) {
    let scene = Scene::new(setting, "");
    pages_and_cursors(&scene);
    filters(&scene);
    forged(&scene);
    incidents(&scene);
    audit(&scene);
}

#[test]
fn lists_on_sqlite() {
    every_list(Setting::Small);
}

#[test]
fn lists_on_postgres() {
    every_list(Setting::Postgres);
}
