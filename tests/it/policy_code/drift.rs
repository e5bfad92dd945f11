//! What somebody changes over the API of a policy that stands in a file: seen, and not undone behind their back.

use std::path::Path;

use serde_json::{Value, json};

use super::{entry, temp_dir, vigil_policy, words, write};
use crate::contract_control::on_both;
use crate::support::{Options, Request, Vigil};

on_both!(a_sync_does_not_undo_what_somebody_did_at_night);

fn auto(threshold: u32, more: &str) -> String {
    entry("night", "cpu", threshold, more).replace("mode: observe", "mode: auto")
}

#[track_caller]
fn reload(vigil: &Vigil) -> Value {
    vigil.send(&Request::new("POST", "/api/v1/policies/reload")).expect(200).json()
}

#[track_caller]
fn put(vigil: &Vigil, body: &Value) {
    vigil.send(&Request::new("PUT", "/api/v1/policies/night").json(body)).expect(200);
}

fn a_sync_does_not_undo_what_somebody_did_at_night(options: Options) {
    let dir = temp_dir();
    let file = dir.path().join("p.yaml");
    write(&file, &[auto(90, "")]);
    let mut vigil = Vigil::start(options.config(format!("[policies]\npaths = {}\n", json!([file]))));
    let now = |vigil: &Vigil| vigil.get_json("/api/v1/policies/night");
    assert!(words(&now(&vigil)["drifted"]).is_empty());
    put(&vigil, &json!({"auto_remediate": false, "target": "db-*"}));
    vigil.send(&Request::new("PUT", "/api/v1/policies/night/disable")).expect(200);
    assert_eq!(words(&now(&vigil)["drifted"]), ["enabled", "mode", "target"]);
    let list = vigil_policy(Some(&vigil), &["list"]).expect(0).out;
    assert!(list.contains("enabled, mode, target"), "{list}");

    // The same file again, by a reload and by a restart.
    let before = now(&vigil);
    let answer = reload(&vigil);
    assert_eq!(answer["updated"], json!([]), "{answer}");
    assert!(answer["warnings"].to_string().contains("mode, target"), "it is named: {answer}");
    vigil.restart();
    assert_eq!(now(&vigil), before);
    the_file_changes(&vigil, &file);
}

fn the_file_changes(vigil: &Vigil, file: &Path) {
    let now = || vigil.get_json("/api/v1/policies/night");
    // What the file changes counts, and it is said what that replaces. The mode and the switch are a person's still.
    write(file, &[auto(95, "")]);
    let answer = reload(vigil);
    assert_eq!(answer["updated"], json!(["night"]), "{answer}");
    assert!(
        answer["warnings"].to_string().contains("replaces what was changed over the API: target"),
        "{answer}"
    );
    let policy = now();
    let says = (&policy["condition"]["threshold"], &policy["target"], &policy["mode"], &policy["enabled"]);
    assert_eq!(says, (&json!(95), &json!("web-*"), &json!("observe"), &json!(false)), "{policy}");
    assert_eq!(words(&policy["drifted"]), ["enabled", "mode"]);
    let history = vigil.get_json("/api/v1/policies/night/revisions");
    assert_eq!(history["revisions"][0]["actor"], "file", "{history}");

    // What is planned from elsewhere tells of it.
    let dir = temp_dir();
    write(&dir.path().join("p.yaml"), &[auto(95, "")]);
    let plan = vigil_policy(Some(vigil), &["plan", "-f", dir.path().to_str().unwrap()]).expect(2);
    assert!(plan.err.contains("somebody changed enabled, mode"), "{}", plan.err);

    // The file says otherwise of the mode: now it counts there, too.
    write(file, &[auto(95, "").replace("mode: auto", "mode: observe")]);
    reload(vigil);
    assert_eq!(words(&now()["drifted"]), ["enabled"]);
    write(file, &[auto(95, "")]);
    reload(vigil);
    assert_eq!(now()["mode"], "auto");
    // What somebody did is what the file says afterwards: no drift, and no new version.
    put(vigil, &json!({"description": "why"}));
    let version = now()["version"].clone();
    write(file, &[auto(95, "    description: why\n")]);
    let answer = reload(vigil);
    assert_eq!((&answer["updated"], &now()["version"]), (&json!([]), &version), "{answer}");
    assert_eq!(words(&now()["drifted"]), ["enabled"]);
}
