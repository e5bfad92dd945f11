//! Tokens that may touch some targets only.

use serde_json::{Value, json};

use super::{Guarded, text};
use crate::support::Request;

fn scoped(scene: &Guarded, name: &str, role: &str) -> String {
    text(&scene.make(&json!({"name": name, "role": role, "targets": ["web-*", "db"]})))
}

#[test]
fn events_are_taken_for_the_tokens_targets_only() {
    let scene = Guarded::start();
    let agent = scoped(&scene, "agent", "agent");
    let event = |tags: Value| json!({"name": "m", "value": 1, "tags": tags});
    let send = |body: &Value| scene.send(&agent, &Request::post("/api/v1/ingest", body));
    for (tags, status) in [
        (json!({"service": "web-1"}), 201),
        (json!({"service": "db"}), 201),
        (json!({"service": "db2"}), 403),
        (json!({"service": "mail"}), 403),
        // The first tag that names a target counts, whatever stands in the others.
        (json!({"target": "mail", "service": "web-1"}), 403),
        (json!({"target": "web-1", "service": "mail"}), 201),
        // No target at all stands for every one.
        (json!({}), 403),
    ] {
        assert_eq!(send(&event(tags.clone())).status, status, "{tags}");
    }
    // All or nothing, also by the long way of a warning.
    let many = json!([event(json!({"service": "web-1"})), event(json!({"service": "mail"}))]);
    assert_eq!(send(&many).status, 403);
    let slow = json!([{"name": "m", "value": "1", "tags": {"service": "mail"}, "odd": 1}]);
    assert_eq!(send(&slow).status, 403);
    let refused = send(&event(json!({"service": "mail"}))).json();
    assert!(refused["detail"].as_str().unwrap().contains("mail"), "{refused}");
    let free = scene.token("free", "agent");
    assert_eq!(scene.send(&free, &Request::post("/api/v1/ingest", &event(json!({})))).status, 201);
}

#[test]
fn actions_and_policies_are_bound_to_the_tokens_targets() {
    let scene = Guarded::start();
    let author = scoped(&scene, "author", "author");
    let action = |target: &str| json!({"target": target, "action": "restart"});
    let create =
        |token: &str, target: &str| scene.send(token, &Request::post("/api/v1/actions", &action(target)));
    assert_eq!(create(&author, "web-7").status, 201);
    create(&author, "mail").expect(403);
    let foreign = create(&scene.admin, "mail").expect(201).json()["action_id"].clone();
    for (method, last) in [("PUT", "cancel"), ("POST", "queue"), ("POST", "plan"), ("GET", "plan")] {
        let request = Request::new(method, &format!("/api/v1/actions/{foreign}/{last}"));
        assert_eq!(scene.send(&author, &request).status, 403, "{last}");
    }
    let plan = Request::post("/api/v1/actions/plan", &action("mail"));
    assert_eq!(scene.send(&author, &plan).status, 403);
    let resolve = Request::post(
        &format!("/api/v1/actions/{foreign}/resolve"),
        &json!({"outcome": "failed", "note": "n"}),
    );
    assert_eq!(scene.send(&author, &resolve).status, 403);
    // It is there to be seen.
    assert_eq!(scene.get(&author, &format!("/api/v1/actions/{foreign}")).status, 200);

    let policy = |name: &str, target: &str| {
        json!({"name": name, "action": "restart", "target": target,
            "condition": {"type": "metric_exceeds", "metric": "cpu", "threshold": 90}})
    };
    let save = |token: &str, name: &str, target: &str| {
        scene.send(token, &Request::post("/api/v1/policies", &policy(name, target))).status
    };
    for (at, (target, status)) in
        [("web-*", 201), ("web-1?", 201), ("db", 201), ("*", 403), ("all", 403), ("w*", 403), ("mail", 403)]
            .iter()
            .enumerate()
    {
        assert_eq!(save(&author, &format!("p{at}"), target), *status, "{target}");
    }
    assert_eq!(save(&scene.admin, "foreign", "mail"), 201);
    let put = |path: &str, body: &Value| scene.send(&author, &Request::new("PUT", path).json(body)).status;
    assert_eq!(put("/api/v1/policies/p0", &json!({"severity": "critical"})), 200);
    assert_eq!(put("/api/v1/policies/p0", &json!({"target": "*"})), 403, "widened");
    assert_eq!(put("/api/v1/policies/foreign", &json!({"target": "web-1"})), 403, "taken over");
    for last in ["enable", "disable"] {
        assert_eq!(put(&format!("/api/v1/policies/foreign/{last}"), &json!({})), 403, "{last}");
    }
    assert_eq!(scene.send(&author, &Request::new("DELETE", "/api/v1/policies/foreign")).status, 403);
    assert_eq!(scene.send(&author, &Request::new("DELETE", "/api/v1/policies/p0")).status, 200);
}

#[test]
fn silences_are_bound_to_the_tokens_targets() {
    let scene = Guarded::start();
    let operator = scoped(&scene, "operator", "operator");
    let make = |token: &str, matchers: Value| {
        let body = json!({"matchers": matchers, "duration": "1h", "comment": "why"});
        scene.send(token, &Request::post("/api/v1/silences", &body))
    };
    let own = make(&operator, json!(["target=web-1", "policy=cpu"])).expect(201).json();
    assert!(own["author"].as_str().unwrap().contains("operator"), "{own}");
    // Of an expression nobody can say what it will match.
    for matchers in [
        json!(["target=mail"]),
        json!(["target=~web-.*"]),
        json!(["policy=cpu"]),
        json!(["target!=db", "action=restart"]),
    ] {
        make(&operator, matchers.clone()).expect(403);
        let foreign = make(&scene.admin, matchers).expect(201).json();
        let path = format!("/api/v1/silences/{}", foreign["id"]);
        scene.send(&operator, &Request::new("DELETE", &path)).expect(403);
        let body = json!({"matchers": ["target=web-1"], "duration": "1h", "comment": "mine"});
        scene.send(&operator, &Request::new("PUT", &path).json(&body)).expect(403);
    }
    let path = format!("/api/v1/silences/{}", own["id"]);
    let body = json!({"matchers": ["target=mail"], "duration": "1h", "comment": "why"});
    scene.send(&operator, &Request::new("PUT", &path).json(&body)).expect(403);
    scene.send(&operator, &Request::new("DELETE", &path)).expect(200);
}
