//! Rows 15 to 21 and 24: one case or more per row.

use serde_json::{Value, json};

use super::{call, make, on_both, policy};
use crate::support::{Options, Vigil};

on_both!(every_row_answers_as_the_contract_says, pages_lead_through_all);

/// What a request comes to: method, path, body, status, and members that its answer must have.
type Case = (&'static str, &'static str, Value, u16, Value);

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let none = Value::Null;
    let below = json!({"type": "metric_below", "metric": "free", "threshold": "5"});
    let typed = |condition: Value| policy("typed", json!({"condition": condition}));
    vec![
        (
            "GET",
            "/api/v1/policies",
            none.clone(),
            200,
            json!({"ok": true, "total": 0, "enabled_count": 0, "policies": {}}),
        ),
        (
            "POST",
            "/api/v1/policies",
            policy("a", json!({"severity": "critical"})),
            201,
            json!({"name": "a", "description": "", "severity": "critical", "target": "all", "enabled": true,
                "auto_remediate": false, "params": {}, "mode": "observe", "version": 1, "source": "api"}),
        ),
        (
            "POST",
            "/api/v1/policies",
            policy("a", json!({})),
            400,
            json!({"detail": "Policy 'a' already exists"}),
        ),
        (
            "POST",
            "/api/v1/policies",
            policy("b", json!({"condition": below, "enabled": "no", "auto_remediate": "yes"})),
            201,
            json!({"enabled": false, "auto_remediate": true, "mode": "auto"}),
        ),
        (
            "POST",
            "/api/v1/policies",
            typed(json!({"type": "metric_exceeds", "metric": "m", "threshold": "high"})),
            400,
            json!({}),
        ),
        ("POST", "/api/v1/policies", typed(json!({"type": "metric_exceeds", "metric": "m"})), 400, json!({})),
        ("POST", "/api/v1/policies", typed(json!({"type": "sometimes"})), 400, json!({})),
        ("POST", "/api/v1/policies", typed(json!({"type": "custom"})), 400, json!({})),
        ("POST", "/api/v1/policies", json!({"name": "x"}), 422, json!({})),
        ("POST", "/api/v1/policies", json!([1]), 422, json!({})),
        ("POST", "/api/v1/policies", none.clone(), 422, json!({})),
        ("POST", "/api/v1/policies", policy("x", json!({"severity": "fatal"})), 422, json!({})),
        ("POST", "/api/v1/policies", policy("x", json!({"action": 7})), 422, json!({})),
        ("GET", "/api/v1/policies/a", none.clone(), 200, json!({"name": "a"})),
        ("GET", "/api/v1/policies/none", none.clone(), 404, json!({"detail": "Policy 'none' not found"})),
        ("GET", "/api/v1/policies/n%00ne", none.clone(), 404, json!({})),
        (
            "PUT",
            "/api/v1/policies/a",
            json!({"description": "d", "severity": null}),
            200,
            json!({"description": "d", "severity": "critical", "version": 2}),
        ),
        ("PUT", "/api/v1/policies/a", json!({"params": {"x": 1}}), 200, json!({"params": {"x": 1}})),
        ("PUT", "/api/v1/policies/a", json!({"severity": "fatal"}), 422, json!({})),
        ("PUT", "/api/v1/policies/a?replace=perhaps", json!({}), 422, json!({})),
        ("PUT", "/api/v1/policies/none", json!({}), 404, json!({"detail": "Policy 'none' not found"})),
        (
            "PUT",
            "/api/v1/policies/b/enable",
            none.clone(),
            200,
            json!({"ok": true, "message": "Policy 'b' enabled"}),
        ),
        (
            "PUT",
            "/api/v1/policies/b/disable",
            none.clone(),
            200,
            json!({"ok": true, "message": "Policy 'b' disabled"}),
        ),
        (
            "PUT",
            "/api/v1/policies/none/enable",
            none.clone(),
            404,
            json!({"detail": "Policy 'none' not found"}),
        ),
        (
            "PUT",
            "/api/v1/policies/none/disable",
            none.clone(),
            404,
            json!({"detail": "Policy 'none' not found"}),
        ),
        (
            "GET",
            "/api/v1/policies/severity/critical",
            none.clone(),
            200,
            json!({"ok": true, "total": 1, "enabled_count": 1}),
        ),
        ("GET", "/api/v1/policies/severity/info", none.clone(), 200, json!({"total": 0, "policies": {}})),
        ("GET", "/api/v1/policies/severity/fatal", none.clone(), 400, json!({})),
        (
            "DELETE",
            "/api/v1/policies/b",
            none.clone(),
            200,
            json!({"ok": true, "message": "Policy 'b' deleted"}),
        ),
        ("DELETE", "/api/v1/policies/b", none.clone(), 404, json!({"detail": "Policy 'b' not found"})),
        ("GET", "/api/v1/policies", none, 200, json!({"total": 1, "enabled_count": 1})),
    ]
}

fn every_row_answers_as_the_contract_says(options: Options) {
    let vigil = Vigil::start(options);
    for (method, path, body, status, members) in cases() {
        let answer = call(&vigil, method, path, &body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
        let json = answer.json();
        for (member, expected) in members.as_object().unwrap() {
            assert_eq!(&json[member], expected, "{member} of {method} {path} {body}: {json}");
        }
        match status {
            422 => assert!(json["detail"].is_array(), "{method} {path}: a 422 lists its faults: {json}"),
            400 | 404 => assert!(json["detail"].is_string(), "{method} {path}: {json}"),
            _ => {}
        }
    }
    // The seed's defect 35: names that no route can reach.
    for name in ["", " ", "a/b", "a\u{7}b", "a\nb", "evaluate", "reload", &"n".repeat(256)] {
        let answer = vigil.post("/api/v1/policies", &policy(name, json!({})));
        assert_eq!(answer.status, 422, "name {name:?}: {}", answer.text());
        assert_eq!(
            answer.json()["detail"][0]["loc"],
            json!(["body", "name"]),
            "name {name:?}: {}",
            answer.text()
        );
    }
    // A strange name that can be reached is reached.
    for name in ["ä ö", "a?b#c", "100%", &"n".repeat(255)] {
        make(&vigil, name, json!({}));
        let path = name.bytes().fold(String::new(), |path, byte| format!("{path}%{byte:02X}"));
        assert_eq!(vigil.get_json(&format!("/api/v1/policies/{path}"))["name"], json!(name));
        call(&vigil, "DELETE", &format!("/api/v1/policies/{path}"), &Value::Null).expect(200);
    }
}

fn pages_lead_through_all(options: Options) {
    let vigil = Vigil::start(options);
    for at in 0..7 {
        make(&vigil, &format!("p{at}"), json!({"severity": if at % 2 == 0 { "info" } else { "critical" }}));
    }
    for (path, pages) in [
        ("/api/v1/policies?limit=3", vec![vec!["p0", "p1", "p2"], vec!["p3", "p4", "p5"], vec!["p6"]]),
        ("/api/v1/policies/severity/info?limit=2", vec![vec!["p0", "p2"], vec!["p4", "p6"]]),
    ] {
        let (mut next, mut found) = (Some(String::new()), Vec::new());
        while let Some(cursor) = next {
            let page = vigil.get_json(&format!("{path}&cursor={cursor}"));
            found.push(page["policies"].as_object().unwrap().keys().cloned().collect::<Vec<_>>());
            next = page["next_cursor"].as_str().map(str::to_owned);
            if found.len() == 1 {
                // What comes and goes moves no page.
                call(&vigil, "PUT", "/api/v1/policies/p0", &json!({"description": "moved"})).expect(200);
            }
        }
        assert_eq!(found, pages, "{path}");
    }
    let all = vigil.get_json("/api/v1/policies");
    assert!(all.get("next_cursor").is_none() && all["total"] == 7, "without a limit: all: {all}");
    for (query, kind) in [
        ("limit=0", "greater_than_equal"),
        ("limit=1001", "less_than_equal"),
        ("limit=x", "int_parsing"),
        ("cursor=nonsense", "value_error"),
    ] {
        let refused = vigil.get(&format!("/api/v1/policies?{query}")).expect(422).json();
        assert_eq!(refused["detail"][0]["type"], kind, "{query}: {refused}");
    }
}
