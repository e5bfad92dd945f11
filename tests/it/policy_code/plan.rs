//! `vigil policy plan` and `apply`, and what a server has.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{entry, policy, temp_dir, vigil_policy, write};
use crate::support::{Options, Request, Vigil, wait_until};

#[test]
fn a_server_is_brought_to_what_files_say() {
    let vigil = Vigil::start(Options::default());
    let dir = temp_dir();
    let (path, file) = (dir.path().to_str().unwrap(), dir.path().join("web.yaml"));
    write(&file, &[entry("one", "cpu", 90, ""), entry("two", "heat", 80, "    enabled: true\n")]);
    vigil.post("/api/v1/policies", &policy("by-hand", json!({}))).expect(201);
    let plan = vigil_policy(Some(&vigil), &["plan", "-f", path]).expect(2);
    assert!(plan.out.contains("+ add    one") && plan.out.contains("web.yaml:2"), "{}", plan.out);
    assert!(plan.out.contains("2 to add, 0 to change, 0 to remove, 0 unchanged"), "{}", plan.out);
    assert!(plan.err.contains("1 policy of the server stands in none of these files"), "{}", plan.err);
    // Without a terminal it must be told not to ask.
    let refused = vigil_policy(Some(&vigil), &["apply", "-f", path]).expect(2);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(vigil.get_json("/api/v1/policies")["total"], 1, "nothing was changed");
    vigil_policy(Some(&vigil), &["apply", "-f", path, "--yes"]).expect(0);
    let again = vigil_policy(Some(&vigil), &["plan", "-f", path]).expect(0);
    assert!(again.out.contains("0 to add, 0 to change, 0 to remove, 2 unchanged"), "{}", again.out);
    // Somebody changes both at night: `two` says whether it is on, `one` leaves that to people.
    for name in ["one", "two"] {
        vigil.send(&Request::new("PUT", &format!("/api/v1/policies/{name}/disable"))).expect(200);
    }
    write(
        &file,
        &[
            entry("one", "cpu", 95, "    guardrails: {cooldown: 5m}\n"),
            entry("two", "heat", 80, "    enabled: true\n"),
        ],
    );
    let plan = vigil_policy(Some(&vigil), &["plan", "-f", path, "-o", "json"]).expect(2).json();
    let field = |field: &str, old: serde_json::Value, new: serde_json::Value| json!({"field": field, "old": old, "new": new});
    let changes = plan["changes"].as_array().unwrap();
    assert_eq!(
        changes[0]["fields"],
        json!([
            field("condition.threshold", json!(90), json!(95)),
            field("guardrails.cooldown", json!("10m"), json!("5m"))
        ])
    );
    assert_eq!(changes[1]["fields"], json!([field("enabled", json!(false), json!(true))]), "{plan}");
    vigil_policy(Some(&vigil), &["apply", "-f", path, "--yes"]).expect(0);
    let of = |name: &str| vigil.get_json(&format!("/api/v1/policies/{name}"));
    assert_eq!((&of("one")["enabled"], &of("one")["condition"]["threshold"]), (&json!(false), &json!(95)));
    assert_eq!(of("two")["enabled"], true);
    pruned(&vigil, path, &file);
}

fn pruned(vigil: &Vigil, path: &str, file: &Path) {
    write(file, &[entry("one", "cpu", 95, "    guardrails: {cooldown: 5m}\n")]);
    let plan = vigil_policy(Some(vigil), &["plan", "-f", path, "--prune"]).expect(2);
    assert!(plan.out.contains("- remove by-hand") && plan.out.contains("- remove two"), "{}", plan.out);
    // A fault in any file, and nothing is changed.
    fs::write(file.with_file_name("zz.yaml"), "policies: [{name: bad}]").unwrap();
    let refused = vigil_policy(Some(vigil), &["apply", "-f", path, "--prune", "--yes"]).expect(1);
    assert!(
        refused.err.contains("zz.yaml:1:") && refused.err.contains("nothing was changed"),
        "{}",
        refused.err
    );
    assert_eq!(vigil.get_json("/api/v1/policies")["total"], 3);
    fs::remove_file(file.with_file_name("zz.yaml")).unwrap();
    vigil_policy(Some(vigil), &["apply", "-f", path, "--prune", "-y"]).expect(0);
    assert_eq!(vigil.get_json("/api/v1/policies")["total"], 1);
    let nobody = format!("http://127.0.0.1:{}", crate::support::free_port());
    vigil_policy(Some(vigil), &["plan", "-f", path, "--url", &nobody]).expect(8);
}

/// What somebody changed while a person read the plan is not overwritten: the change was planned on another edition.
#[test]
fn an_apply_does_not_overwrite_what_changed_meanwhile() {
    let vigil = Vigil::start(Options::default());
    let dir = temp_dir();
    write(&dir.path().join("p.yaml"), &[entry("one", "cpu", 95, "")]);
    vigil.post("/api/v1/policies", &policy("one", json!({}))).expect(201);
    // A terminal of its own, so that it asks.
    let shown = dir.path().join("shown");
    let line =
        format!("'{}' policy apply -f '{}'", Vigil::binary().display(), dir.path().join("p.yaml").display());
    let mut child = Command::new("script")
        .args(["-qefc", &line, shown.to_str().unwrap()])
        .env("VIGIL_URL", vigil.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|why| panic!("script, of the package bsdutils: {why}"));
    wait_until(Duration::from_secs(30), "the question", || {
        fs::read_to_string(&shown).is_ok_and(|text| text.contains("Apply this?"))
    });
    let change = json!({"description": "a person's"});
    vigil.send(&Request::new("PUT", "/api/v1/policies/one").json(&change)).expect(200);
    child.stdin.take().unwrap().write_all(b"y\n").unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(6), "{}", fs::read_to_string(&shown).unwrap());
    let now = vigil.get_json("/api/v1/policies/one");
    assert_eq!((&now["description"], &now["version"]), (&json!("a person's"), &json!(2)), "{now}");
}

#[test]
fn a_server_s_policies_are_listed_printed_and_removed() {
    let vigil = Vigil::start(Options::default());
    let odd = "odd name?%";
    vigil.post("/api/v1/policies", &policy(odd, json!({"guardrails": {"for": "30s"}}))).expect(201);
    let list = vigil_policy(Some(&vigil), &["list"]).expect(0).out;
    assert!(list.starts_with("NAME") && list.contains(odd) && list.contains("observe"), "{list}");
    assert_eq!(vigil_policy(Some(&vigil), &["list", "-o", "json"]).expect(0).json()[0]["name"], odd);
    // What is printed is a policy file, and says the same.
    let text = vigil_policy(Some(&vigil), &["get", odd]).expect(0).out;
    let dir = temp_dir();
    fs::write(dir.path().join("got.yaml"), &text).unwrap();
    let path = dir.path().to_str().unwrap();
    vigil_policy(None, &["check", path]).expect(0);
    let plan = vigil_policy(Some(&vigil), &["plan", "-f", path]).expect(0);
    assert!(plan.out.contains("1 unchanged"), "{text}\n{}", plan.out);
    vigil_policy(Some(&vigil), &["delete", odd]).expect(0);
    vigil_policy(Some(&vigil), &["get", odd]).expect(4);
    vigil_policy(Some(&vigil), &["delete", odd]).expect(4);
}
