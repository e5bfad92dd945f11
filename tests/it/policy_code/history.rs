//! Revisions, and the way back.

use serde_json::{Value, json};

use super::{policy, vigil_policy, words};
use crate::contract_control::on_both;
use crate::support::{Options, Request, Response, Vigil};

on_both!(each_change_is_kept_and_can_be_undone, the_newest_hundred_are_kept);

#[track_caller]
fn put(vigil: &Vigil, path: &str, body: &Value) -> Response {
    vigil.send(&Request::new("PUT", path).json(body))
}

fn each_change_is_kept_and_can_be_undone(options: Options) {
    let vigil = Vigil::start(options);
    vigil.post("/api/v1/policies", &policy("p", json!({"description": "first"}))).expect(201);
    put(&vigil, "/api/v1/policies/p", &json!({"description": "second", "target": "db-*"})).expect(200);
    vigil.send(&Request::new("PUT", "/api/v1/policies/p/disable")).expect(200);
    let history = vigil.get_json("/api/v1/policies/p/revisions");
    let list = history["revisions"].as_array().unwrap();
    let seen: Vec<(i64, &str, Vec<&str>)> = list
        .iter()
        .map(|one| (one["version"].as_i64().unwrap(), one["what"].as_str().unwrap(), words(&one["changed"])))
        .collect();
    assert_eq!(
        seen,
        [
            (3, "updated", vec!["enabled"]),
            (2, "updated", vec!["description", "target"]),
            (1, "created", vec![])
        ]
    );
    assert_eq!((&list[0]["actor"], &list[0]["enabled"]), (&json!("api"), &json!(false)));
    let first = vigil.get_json("/api/v1/policies/p/revisions/1");
    assert_eq!((&first["policy"]["description"], &first["enabled"]), (&json!("first"), &json!(true)));
    assert_eq!(first["policy"]["condition"]["threshold"], 90, "the whole of it: {first}");

    // Of another edition than it is: not at all.
    let back = Request::post("/api/v1/policies/p/rollback", &json!({"version": 1}));
    vigil.send(&back.clone().header("If-Match", "\"1-1\"")).expect(412);
    let tag = vigil.get("/api/v1/policies/p").header("etag").unwrap().to_owned();
    let done = vigil.send(&back.clone().header("If-Match", tag)).expect(200).json();
    let now = (&done["version"], &done["description"], &done["target"], &done["enabled"]);
    assert_eq!(now, (&json!(4), &json!("first"), &json!("web-*"), &json!(false)), "it stays switched off");
    let trail = vigil.get_json("/api/v1/audit?object=policy&object_id=p");
    assert_eq!(trail["entries"][0]["verb"], "policy.updated", "{trail}");
    for (body, status) in [
        (json!({"version": 99}), 404),
        (json!({"version": "one"}), 422),
        (json!({"version": 0}), 422),
        (json!({}), 422),
        (json!({"version": null}), 422),
        (json!({"version": 1, "to": 1}), 422),
        (json!([1]), 422),
    ] {
        vigil.send(&Request::post("/api/v1/policies/p/rollback", &body)).expect(status);
    }
    vigil.get("/api/v1/policies/p/revisions/99").expect(404);
    vigil.get("/api/v1/policies/p/revisions/99999999999999999999").expect(404);
    vigil.get("/api/v1/policies/p/revisions/one").expect(422);
    vigil.get("/api/v1/policies/nobody/revisions").expect(404);
    vigil.send(&Request::post("/api/v1/policies/nobody/rollback", &json!({"version": 1}))).expect(404);
    gone_and_back(&vigil);
}

fn gone_and_back(vigil: &Vigil) {
    vigil.send(&Request::new("DELETE", "/api/v1/policies/p")).expect(200);
    let said = vigil_policy(Some(vigil), &["history", "p"]).expect(0).out;
    let first = said.lines().nth(1).unwrap();
    assert!(first.starts_with('5') && first.contains("deleted") && first.contains("api"), "{said}");
    vigil_policy(Some(vigil), &["rollback", "p", "--to", "2"]).expect(0);
    let again = vigil.get_json("/api/v1/policies/p");
    assert_eq!((&again["description"], &again["version"]), (&json!("second"), &json!(1)), "{again}");
    put(vigil, "/api/v1/policies/p", &json!({"description": "third"})).expect(200);
    let said = vigil_policy(Some(vigil), &["rollback", "p", "--to", "1"]).expect(0).out;
    assert!(said.contains("version 3"), "{said}");
    assert_eq!(vigil.get_json("/api/v1/policies/p")["description"], "second");
    vigil_policy(Some(vigil), &["rollback", "p", "--to", "77"]).expect(4);
    // One that only observes is not set to act by the way back.
    put(vigil, "/api/v1/policies/p", &json!({"auto_remediate": true})).expect(200);
    put(vigil, "/api/v1/policies/p", &json!({"auto_remediate": false})).expect(200);
    let body = json!({"version": 4});
    let done = vigil.send(&Request::post("/api/v1/policies/p/rollback", &body)).expect(200).json();
    assert_eq!(done["mode"], "observe", "{done}");
    assert!(done["warnings"].to_string().contains("observes"), "{done}");
}

fn the_newest_hundred_are_kept(options: Options) {
    let vigil = Vigil::start(options);
    vigil.post("/api/v1/policies", &policy("p", json!({}))).expect(201);
    for n in 2..=104 {
        put(&vigil, "/api/v1/policies/p", &json!({"description": n.to_string()})).expect(200);
    }
    let history = vigil.get_json("/api/v1/policies/p/revisions");
    let list = history["revisions"].as_array().unwrap();
    assert_eq!((history["kept"].as_u64(), list.len()), (Some(100), 100));
    assert_eq!((&list[0]["version"], &list[99]["version"]), (&json!(104), &json!(5)));
    vigil.get("/api/v1/policies/p/revisions/4").expect(404);
}
