//! Two editors of one policy: neither undoes what the other did.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::{call, make, matched, on_both, policy};
use crate::support::{Options, Request, Response, Vigil};

on_both!(a_version_is_changed_only_by_who_has_seen_it, no_update_is_lost, one_of_many_makes_a_name);

const PATH: &str = "/api/v1/policies/p";
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

fn tag(answer: &Response) -> String {
    answer.header("ETag").unwrap_or_else(|| panic!("no ETag in {:?}", answer.headers)).to_owned()
}

fn a_version_is_changed_only_by_who_has_seen_it(options: Options) {
    let vigil = Vigil::start(options);
    let made = vigil.post("/api/v1/policies", &policy("p", json!({}))).expect(201);
    let first = tag(&made);
    assert!(first.starts_with('"') && first.ends_with('"'), "a strong tag: {first}");
    assert_eq!(tag(&vigil.get(PATH).expect(200)), first, "GET and POST agree");
    let known = |tag: &str| vigil.send(&Request::get(PATH).header("If-None-Match", tag));
    assert_eq!(known(&first).status, 304);
    assert_eq!(known(&format!("\"x\", W/{first}")).status, 304, "in a list, and weakly");
    assert_eq!(known("\"x\"").status, 200);
    let changed = matched(&vigil, "PUT", PATH, &first, &json!({"description": "one"})).expect(200);
    let second = tag(&changed);
    assert_ne!(second, first);
    assert_eq!(known(&first).status, 200, "it has changed");
    for (method, path, body) in [
        ("PUT", PATH.to_owned(), json!({"description": "two"})),
        ("PUT", format!("{PATH}?replace=true"), policy("p", json!({"description": "two"}))),
        ("PUT", format!("{PATH}/disable"), Value::Null),
        ("PUT", format!("{PATH}/enable"), Value::Null),
        ("DELETE", PATH.to_owned(), Value::Null),
    ] {
        for stale in [first.as_str(), "\"nonsense\"", &format!("W/{second}")] {
            let refused = matched(&vigil, method, &path, stale, &body).expect(412).json();
            assert!(
                refused["detail"].is_string() && refused["status"] == 412,
                "{method} {path} {stale}: {refused}"
            );
        }
    }
    let now = vigil.get(PATH).expect(200);
    assert_eq!(
        (tag(&now), &now.json()["description"]),
        (second.clone(), &json!("one")),
        "nothing was changed"
    );
    let third = tag(&matched(&vigil, "PUT", &format!("{PATH}/disable"), &second, &Value::Null).expect(200));
    assert_eq!(tag(&vigil.get(PATH).expect(200)), third, "the switch's answer names the new version");
    matched(&vigil, "PUT", PATH, "*", &json!({"description": "three"})).expect(200);
    matched(&vigil, "PUT", "/api/v1/policies/none", "*", &json!({})).expect(404);
    let last = tag(&vigil.get(PATH).expect(200));
    matched(&vigil, "DELETE", PATH, &format!("\"x\", {last}"), &Value::Null).expect(200);
    // The same name again, the same version 1: another policy, another tag.
    assert_ne!(tag(&vigil.post("/api/v1/policies", &policy("p", json!({}))).expect(201)), first);
    matched(&vigil, "DELETE", PATH, &first, &Value::Null).expect(412);
}

fn no_update_is_lost(options: Options) {
    const ROUNDS: usize = 12;
    let vigil = Vigil::start(options);
    make(&vigil, "p", json!({}));
    let changes: [fn(usize) -> Value; 4] = [
        |at| json!({"description": format!("d{at}")}),
        |at| json!({"target": format!("t{at}")}),
        |at| json!({"params": {"x": at}}),
        |at| json!({"severity": SEVERITIES[at % 3]}),
    ];
    thread::scope(|scope| {
        for change in changes {
            let vigil = &vigil;
            scope.spawn(move || {
                for at in 0..ROUNDS {
                    call(vigil, "PUT", PATH, &change(at)).expect(200);
                }
            });
        }
    });
    let now = vigil.get_json(PATH);
    let last = ROUNDS - 1;
    for (member, expected) in [
        ("description", json!(format!("d{last}"))),
        ("target", json!(format!("t{last}"))),
        ("params", json!({"x": last})),
        ("severity", json!(SEVERITIES[last % 3])),
        ("version", json!(1 + 4 * ROUNDS)),
    ] {
        assert_eq!(now[member], expected, "{member} of {now}");
    }
}

fn one_of_many_makes_a_name(options: Options) {
    let vigil = Vigil::start(options);
    let (made, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| match vigil.post("/api/v1/policies", &policy("p", json!({}))).status {
                201 => made.fetch_add(1, Ordering::Relaxed),
                400 => refused.fetch_add(1, Ordering::Relaxed),
                other => panic!("{other}"),
            });
        }
    });
    assert_eq!((made.into_inner(), refused.into_inner()), (1, 11));
}
