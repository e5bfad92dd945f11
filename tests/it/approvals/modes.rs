//! A policy is raised step by step, and what asks needs somebody to be asked.

use super::*;
use crate::support::Options;

fn put(scene: &Scene, path: &str, body: &Value) -> Response {
    scene.send(&scene.author, Request::new("PUT", path).json(body))
}

#[test]
fn a_policy_rises_one_step_at_a_time() {
    let scene = Scene::new(Setting::Small, "");
    scene.policy("p", "web-*", &json!({"mode": "observe"}));
    let path = "/api/v1/policies/p";
    let mode = |answer: Response| answer.expect(200).json()["mode"].clone();
    let refused = put(&scene, path, &json!({"mode": "auto"})).expect(409);
    assert!(said(&refused).contains("from observe to approve"), "{}", refused.text());
    let whole = |more: Value| asks("p", "web-*", &more);
    put(&scene, &format!("{path}?replace=true"), &whole(json!({"mode": "auto"}))).expect(409);
    scene.send(&scene.ann, Request::new("PUT", path).json(&json!({"mode": "approve"}))).expect(403);
    assert_eq!(mode(put(&scene, path, &json!({"mode": "approve"}))), "approve");
    // What only knows two modes changes nothing here, and is named.
    for auto in [true, false] {
        let kept = put(&scene, path, &json!({"auto_remediate": auto})).expect(200).json();
        assert_eq!((&kept["mode"], &kept["auto_remediate"]), (&json!("approve"), &json!(false)), "{kept}");
        assert!(kept["warnings"].to_string().contains("`auto_remediate`"), "{kept}");
    }
    let mut silent = whole(json!({}));
    silent.as_object_mut().unwrap().remove("mode");
    let kept = put(&scene, &format!("{path}?replace=true"), &silent).expect(200).json();
    assert_eq!(kept["mode"], "approve", "leaving takes `mode`: {kept}");
    assert!(kept["warnings"].to_string().contains("send `mode`"), "{kept}");
    assert_eq!(mode(put(&scene, path, &json!({"mode": "auto"}))), "auto");
    assert_eq!(mode(put(&scene, path, &json!({"mode": "observe"}))), "observe", "lowered at will");
    assert_eq!(mode(put(&scene, path, &json!({"mode": "auto", "force": true}))), "auto");
    assert_eq!(mode(put(&scene, path, &json!({"auto_remediate": false}))), "observe");
    assert_eq!(mode(put(&scene, &format!("{path}?force=true"), &json!({"mode": "auto"}))), "auto");
    put(&scene, path, &json!({"mode": "observe"})).expect(200);
    assert_eq!(
        mode(put(&scene, path, &json!({"auto_remediate": true}))),
        "auto",
        "the seed's switch may jump"
    );
    let needless = put(&scene, path, &json!({"description": "d", "force": true})).expect(200).json();
    assert!(needless["warnings"].to_string().contains("`force` was not needed"), "{needless}");
    put(&scene, path, &json!({"mode": "yolo"})).expect(422);
    put(&scene, path, &json!({"mode": "auto", "force": "perhaps"})).expect(422);
    let trail = scene.get("/api/v1/audit?verb=policy.promoted");
    let told = trail["entries"].as_array().unwrap().iter().rev();
    let told: Vec<_> = told
        .map(|entry| format!("{} {}", entry["facts"]["to"], entry["facts"]["how"]).replace('"', ""))
        .collect();
    assert_eq!(told, ["approve step", "auto step", "auto forced", "auto forced", "auto jump"], "{trail}");
}

#[test]
fn terms_have_limits() {
    let scene = Scene::new(Setting::Small, "");
    for (approval, loc, kind) in [
        (json!([]), json!(["body", "approval"]), "dict_type"),
        (json!({"people": 0}), json!(["body", "approval", "people"]), "int_parsing"),
        (json!({"people": 6}), json!(["body", "approval", "people"]), "int_parsing"),
        (json!({"within": "25h"}), json!(["body", "approval", "within"]), "value_error"),
        (json!({"within": "0s"}), json!(["body", "approval", "within"]), "value_error"),
        (json!({"not_author": "maybe"}), json!(["body", "approval", "not_author"]), "bool_parsing"),
        (json!({"who": "ann"}), json!(["body", "approval", "who"]), "extra_forbidden"),
    ] {
        let policy = asks("p", "web-*", &json!({"approval": approval}));
        let refused = scene.post(&scene.author, "/api/v1/policies", &policy).expect(422).json();
        let found = (&refused["detail"][0]["loc"], &refused["detail"][0]["type"]);
        assert_eq!(found, (&loc, &json!(kind)), "{approval}: {refused}");
    }
    scene.policy("p", "web-*", &json!({}));
    let shown = scene.get("/api/v1/policies/p");
    assert_eq!(shown["approval"], json!({"within": "30m", "people": 1, "not_author": false}), "{shown}");
}

#[test]
fn without_tokens_nobody_can_be_asked() {
    let vigil = Vigil::start(Options::default());
    let refused = vigil.post("/api/v1/policies", &asks("p", "web-*", &json!({}))).expect(422).json();
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "mode"]), "{refused}");
    assert!(refused["detail"][0]["msg"].as_str().unwrap().contains("no approver"), "{refused}");
    vigil.post("/api/v1/policies", &asks("p", "web-*", &json!({"mode": "observe"}))).expect(201);
    let put = |body: Value| vigil.send(&Request::new("PUT", "/api/v1/policies/p").json(&body));
    put(json!({"mode": "approve"})).expect(422);
    assert_eq!(put(json!({"mode": "auto"})).expect(200).json()["mode"], "auto", "there is no step between");
}

#[test]
fn files_rise_by_the_same_rules() {
    let directory = crate::support::temp_dir();
    let file = directory.path().join("policies.yaml");
    let write = |mode: &str| {
        let text = format!(
            "policies:\n  - name: p\n    {mode}\n    target: web-*\n    action: custom\n    condition: \
             {{type: metric_exceeds, metric: heat, threshold: 90}}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("mode: observe");
    let config = format!("[auth]\nmode = \"token\"\n[policies]\npaths = [\"{}\"]\n", file.display());
    let vigil = Vigil::start(Options::default().config(config));
    let admin = std::fs::read_to_string(vigil.data_dir().join("bootstrap-token")).unwrap();
    let reload = || {
        let request = Request::post("/api/v1/policies/reload", &json!({}));
        vigil.send(&signed(admin.trim(), request)).expect(200).json()
    };
    let mode = || {
        let request = Request::get("/api/v1/policies/p");
        vigil.send(&signed(admin.trim(), request)).expect(200).json()["mode"].clone()
    };
    write("mode: auto");
    let skipped = reload();
    assert_eq!(mode(), "observe", "{skipped}");
    assert!(skipped["errors"][0].as_str().unwrap().contains("from observe to approve"), "{skipped}");
    write("mode: approve");
    assert_eq!(reload()["updated"], json!(["p"]));
    write("auto_remediate: true");
    let kept = reload();
    assert_eq!(mode(), "approve");
    assert!(kept["warnings"].to_string().contains("`auto_remediate`"), "{kept}");
    write("mode: auto");
    assert_eq!(reload()["errors"], json!([]));
    assert_eq!(mode(), "auto");
    write("mode: observe");
    reload();
    write("auto_remediate: true");
    reload();
    assert_eq!(mode(), "auto", "the seed's switch may jump");
}
