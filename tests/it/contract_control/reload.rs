//! Row 23, and where policy files are looked for.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{call, limitless, make, on_both, policy, violated};
use crate::support::{Options, Vigil, temp_dir};

on_both!(a_reload_brings_files_and_database_together);

const RELOAD: &str = "/api/v1/policies/reload";

fn entry(name: &str, threshold: u32, more: &str) -> String {
    format!(
        "  - {{name: {name}, condition: {{type: metric_exceeds, metric: heat, threshold: {threshold}}}, action: custom, auto_remediate: false{more}}}\n"
    )
}

fn write(file: &Path, entries: &[String]) {
    fs::write(file, format!("policies:\n{}", entries.concat())).unwrap();
}

#[track_caller]
fn reload(vigil: &Vigil) -> Value {
    call(vigil, "POST", RELOAD, &Value::Null).expect(200).json()
}

fn a_reload_brings_files_and_database_together(options: Options) {
    let dir = temp_dir();
    let file = dir.path().join("p.yaml");
    write(
        &file,
        &[entry("kept", 1, ""), entry("changed", 1, ""), entry("gone", 1, ""), entry("muted", 1, "")],
    );
    let vigil = Vigil::start(options.config(format!("[policies]\npaths = {}\n", json!([file]))));
    make(&vigil, "by-hand", json!({}));
    let nothing = reload(&vigil);
    assert_eq!(nothing["message"], "Policies reloaded successfully (5 policies)", "{nothing}");
    for member in ["added", "updated", "removed", "errors"] {
        assert_eq!(nothing[member], json!([]), "nothing has changed: {nothing}");
    }
    call(&vigil, "PUT", "/api/v1/policies/muted/disable", &Value::Null).expect(200);
    // A repeated, a bad and a new entry: the seed stopped at the first and said that all was well.
    write(
        &file,
        &[
            entry("kept", 1, ""),
            entry("kept", 2, ""),
            "  - {name: bad, condition: {type: sometimes}, action: custom}\n".to_owned(),
            entry("by-hand", 7, ""),
            entry("changed", 2, ""),
            entry("muted", 1, ""),
            entry("new", 1, ""),
        ],
    );
    let answer = reload(&vigil);
    assert_eq!((&answer["added"], &answer["updated"]), (&json!(["new"]), &json!(["changed"])), "{answer}");
    assert_eq!(answer["removed"], json!(["gone"]), "{answer}");
    let errors: Vec<&str> =
        answer["errors"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    for word in ["kept", "bad", "by-hand"] {
        assert!(errors.iter().any(|error| error.contains(word)), "{word} in {errors:?}");
    }
    assert_eq!(answer["message"], "Policies reloaded successfully (5 policies)", "{answer}");
    let of = |name: &str| vigil.get_json(&format!("/api/v1/policies/{name}"));
    assert_eq!(of("muted")["enabled"], false, "switched off by hand, it stays off");
    assert_eq!((&of("kept")["version"], &of("changed")["version"]), (&json!(1), &json!(2)));
    assert_eq!(of("by-hand")["source"], "api");
    switched_in_the_file(&vigil, &file);
    deleted_by_hand(&vigil);
    unreadable(&vigil, &file);
}

fn switched_in_the_file(vigil: &Vigil, file: &Path) {
    write(file, &[entry("kept", 1, ", enabled: false"), entry("muted", 1, "")]);
    reload(vigil);
    let enabled = |name: &str| vigil.get_json(&format!("/api/v1/policies/{name}"))["enabled"].clone();
    assert_eq!(
        (enabled("kept"), enabled("muted")),
        (json!(false), json!(false)),
        "the file has changed its mind"
    );
    call(vigil, "PUT", "/api/v1/policies/kept/enable", &Value::Null).expect(200);
    reload(vigil);
    assert_eq!(enabled("kept"), true, "a switch by hand outlives a reload");
}

fn deleted_by_hand(vigil: &Vigil) {
    let answer = call(vigil, "DELETE", "/api/v1/policies/kept", &Value::Null).expect(200).json();
    assert!(answer["message"].as_str().unwrap().contains("reload"), "it is said in the answer: {answer}");
    assert_eq!(reload(vigil)["added"], json!(["kept"]));
}

fn unreadable(vigil: &Vigil, file: &Path) {
    let before = vigil.get_json("/api/v1/policies");
    for text in ["policies: [", "policies: 7", "\u{0}"] {
        fs::write(file, text).unwrap();
        let refused = call(vigil, "POST", RELOAD, &Value::Null).expect(422).json();
        assert!(refused["detail"].to_string().contains("p.yaml"), "the file is named: {refused}");
        assert_eq!(vigil.get_json("/api/v1/policies"), before, "nothing has changed after {text:?}");
    }
    fs::remove_file(file).unwrap();
    call(vigil, "POST", RELOAD, &Value::Null).expect(422);
    assert_eq!(vigil.get_json("/api/v1/policies"), before, "a missing file is no empty one");
}

#[test]
fn files_are_found_where_the_seed_had_them() {
    let dir = temp_dir();
    let configs = dir.path().join("deep/configs");
    fs::create_dir_all(&configs).unwrap();
    write(
        &configs.join("collector.yaml"),
        &[entry("from-config", 1, ""), "log_level: DEBUG\nnonsense: 1\n".to_owned()],
    );
    write(&configs.join("policies.yaml"), &[entry("from-yaml", 1, "")]);
    fs::write(
        configs.join("policies.json"),
        json!({"policies": [policy("from-json", json!({}))]}).to_string(),
    )
    .unwrap();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("policies")).unwrap();
    write(&data.join("policies/own.yml"), &[
        "  - {name: second-dialect, match_metric: heat, threshold: 50, action: custom, target: 'h*', cooldown: 60}\n".to_owned(),
    ]);
    let mut options = limitless().env("CONFIG_PATH", configs.join("collector.yaml").display().to_string());
    options.data_dir = Some(data);
    let vigil = Vigil::start(options);
    let listing = vigil.get_json("/api/v1/policies");
    let names: Vec<&String> = listing["policies"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["from-config", "from-json", "from-yaml", "second-dialect"], "{listing}");
    assert_eq!(listing["policies"]["second-dialect"]["guardrails"]["cooldown"], "1m");
    assert!(violated(&super::heat(&vigil, "h1", 60.0)).contains(&"second-dialect".to_owned()));
    assert!(vigil.log().contains("nonsense"), "a key nobody reads is a warning:\n{}", vigil.log());
    assert_eq!(vigil.get_json("/api/v1/settings")["settings"]["log_level"], "DEBUG", "the seed's own key");
}

/// The seed's defect 19.
#[test]
fn what_a_file_cannot_mean_is_never_met() {
    let dir = temp_dir();
    let file = dir.path().join("p.yaml");
    write(&file, &[
        "  - {name: unknown, condition: {type: custom}, action: custom}\n".to_owned(),
        "  - {name: text, condition: {type: metric_exceeds, metric: heat, threshold: high}, action: custom}\n".to_owned(),
        "  - {name: empty, condition: {type: all, conditions: []}, action: custom}\n".to_owned(),
        "  - {name: number, condition: {type: metric_exceeds, metric: heat, threshold: '90'}, action: custom, params: {cooldown_seconds: 30}}\n".to_owned(),
    ]);
    let vigil = Vigil::start(limitless().config(format!("[policies]\npaths = {}\n", json!([file]))));
    assert_eq!(violated(&super::heat(&vigil, "h", 91.0)), ["number"]);
    let answer = reload(&vigil);
    let (errors, warnings) = (answer["errors"].to_string(), answer["warnings"].to_string());
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(2), "{errors}");
    assert!(errors.contains("unknown") && errors.contains("text"), "{errors}");
    assert!(warnings.contains("empty: the condition is an empty list"), "{warnings}");
    assert!(warnings.contains("number: says nothing of auto_remediate"), "{warnings}");
    assert_eq!(vigil.get_json("/api/v1/policies/number")["guardrails"]["cooldown"], "30s");
    let refused = vigil.post(
        "/api/v1/policies",
        &policy("t", json!({"condition": {"type": "metric_exceeds", "metric": "m", "threshold": "high"}})),
    );
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[test]
fn a_reload_beside_editors_loses_nothing() {
    let dir = temp_dir();
    let file = dir.path().join("p.yaml");
    write(&file, &[entry("p", 1, "")]);
    let vigil = Vigil::start(limitless().config(format!("[policies]\npaths = {}\n", json!([file]))));
    make(&vigil, "q", json!({}));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0..10 {
                write(&file, &[entry("p", at + 2, "")]);
                reload(&vigil);
            }
        });
        scope.spawn(|| {
            for at in 0..20 {
                call(&vigil, "PUT", "/api/v1/policies/q", &json!({"description": format!("{at}")}))
                    .expect(200);
            }
        });
    });
    assert_eq!(vigil.get_json("/api/v1/policies/p")["condition"]["threshold"], 11);
    assert_eq!(vigil.get_json("/api/v1/policies/q")["description"], "19");
}
