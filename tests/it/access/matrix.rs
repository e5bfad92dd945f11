//! Every route of the served description against every kind of caller: who may is said once more here, by hand.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Guarded, in_time, text, with};
use crate::support::Request;

/// Roles and what they may, as the documentation says it.
const ROLES: [(&str, &[&str]); 5] = [
    ("agent", &["ingest", "pull"]),
    ("viewer", &["read"]),
    ("operator", &["read", "operate"]),
    ("author", &["read", "operate", "author"]),
    ("admin", &["ingest", "pull", "read", "operate", "author", "admin"]),
];

/// Where the description itself is served.
const DESCRIPTION: [&str; 4] = ["/openapi.json", "/docs", "/docs/{file}", "/redoc"];

/// One operation of the description.
struct Operation {
    method: String,
    template: String,
    /// None: anybody may.
    permission: Option<String>,
}

impl Operation {
    /// A request that reaches the handler; ids are ones that no row has.
    fn request(&self) -> Request {
        let parts = self.template.split('/').map(|part| if part.starts_with('{') { "999999" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        match self.method.as_str() {
            "GET" => Request::get(&path),
            method => Request::new(method, &path).json(&json!({})),
        }
    }
}

/// All operations; each says in the one allowed form who may.
fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in
            item.as_object().unwrap().iter().filter(|(_, value)| value["responses"].is_object())
        {
            let security = operation["security"].as_array();
            let [one] = security.map_or(&[][..], Vec::as_slice) else {
                panic!("{method} {template} does not say who may: {}", operation["security"]);
            };
            let scopes = one["token"].as_array().map(Vec::as_slice);
            let permission = match scopes {
                Some([Value::String(word)]) => Some(word.clone()),
                None if one.as_object().is_some_and(serde_json::Map::is_empty) => None,
                _ => panic!("{method} {template} does not say who may: {one}"),
            };
            found.push(Operation { method: method.to_uppercase(), template: template.clone(), permission });
        }
    }
    found
}

#[test]
fn every_route_against_every_caller() {
    let scene = Guarded::start();
    let mut callers: Vec<(&str, Option<String>, Option<&[&str]>)> = vec![("nobody", None, None)];
    for (role, may) in ROLES {
        callers.push((role, Some(scene.token(role, role)), Some(may)));
    }
    let expired =
        scene.make(&json!({"name": "late", "role": "admin", "expires_at": in_time(Duration::from_secs(1))}));
    let revoked = scene.make(&json!({"name": "gone", "role": "admin"}));
    let path = format!("/api/v1/tokens/{}", revoked["id"]);
    scene.send(&scene.admin, &Request::new("DELETE", &path)).expect(200);
    std::thread::sleep(Duration::from_millis(1_100));
    callers.push(("expired", Some(text(&expired)), None));
    callers.push(("revoked", Some(text(&revoked)), None));

    let document = scene.get(&scene.admin, "/openapi.json").expect(200).json();
    let operations = operations(&document);
    assert!(operations.len() > 25, "only {} operations are described", operations.len());
    let (mut cells, mut wrong) = (0, Vec::new());
    for operation in &operations {
        for (who, token, may) in &callers {
            let request = operation.request();
            let request =
                token.as_ref().map_or_else(|| request.clone(), |token| with(token, request.clone()));
            let status = scene.vigil.send(&request).status;
            let expected = match (&operation.permission, may) {
                (None, _) => "in",
                (Some(_), None) => "401",
                (Some(permission), Some(may)) if may.contains(&permission.as_str()) => "in",
                (Some(_), Some(_)) => "403",
            };
            let found = match status {
                401 => "401",
                403 => "403",
                _ => "in",
            };
            cells += 1;
            if found != expected || status >= 500 && status != 503 {
                wrong.push(format!(
                    "{} {} by {who}: {status}, not {expected}",
                    operation.method, operation.template
                ));
            }
        }
    }
    println!("{} operations, {cells} cells", operations.len());
    assert!(wrong.is_empty(), "{} of {cells}: {wrong:#?}", wrong.len());
    // What stays open to everybody is short and known: signs of life, and the description of all this.
    let open: Vec<&str> = operations
        .iter()
        .filter(|operation| operation.permission.is_none())
        .map(|operation| operation.template.as_str())
        .filter(|template| !template.contains("health") && !DESCRIPTION.contains(template))
        .collect();
    assert!(open.is_empty(), "anybody may call {open:?}");
}
