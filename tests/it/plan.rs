//! Plan mode against real systems: the plan lists what would be changed, nothing is, and the live action then changes exactly
//! that.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::stage::{Backend, Setting};
use crate::support::{CountingTarget, Program, Supervisord, Vigil, wait_for};

const LONG: Duration = Duration::from_secs(40);

/// The binary as somebody types it; exit code, stdout and stderr.
fn types(vigil: &Vigil, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(Vigil::binary());
    let command = command.args(args).env_clear().env("HOME", vigil.home()).env("VIGIL_URL", vigil.url());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// What tells one call from another.
fn calls(list: &Value) -> Vec<[Value; 4]> {
    let call =
        |call: &Value| ["connection", "method", "path", "body_hash"].map(|member| call[member].clone());
    list.as_array().unwrap().iter().map(call).collect()
}

/// The calls of an action's only attempt that changed something.
fn changed(vigil: &Vigil, action: &Value) -> Vec<[Value; 4]> {
    let attempts = vigil.get_json(&format!("/api/v1/actions/{action}/attempts"));
    assert_eq!(attempts["attempts"].as_array().unwrap().len(), 1, "{attempts}");
    let made = attempts["attempts"][0]["calls"].as_array().unwrap().iter();
    calls(&made.filter(|call| call["mutating"] == true).cloned().collect())
}

/// Queues a held action and waits for its end.
fn queued(vigil: &Vigil, action: &Value) -> Value {
    vigil.post(&format!("/api/v1/actions/{action}/queue"), &json!({})).expect(200);
    wait_for(LONG, "its end", || {
        let action = vigil.get_json(&format!("/api/v1/actions/{action}"));
        (!action["completed_at"].is_null()).then_some(action)
    })
}

/// What the audit says was planned: of which things, newest first.
fn planned(vigil: &Vigil) -> Vec<String> {
    let audit = vigil.get_json("/api/v1/audit?verb=action.planned");
    let entries = audit["entries"].as_array().unwrap().iter();
    entries
        .map(|e| format!("{} {}", e["object"].as_str().unwrap(), e["object_id"].as_str().unwrap()))
        .collect()
}

fn supervised() -> (Supervisord, Vigil) {
    let supervisord = Supervisord::start(&[Program::sleeper("db"), Program::group("web", 2)]);
    let config = format!(
        r#"
[connections.supervisor]
url = "unix://{}"
allow = [
  {{ methods = ["POST"], path = "/RPC2", body = ["supervisor.get*"], effect = "read" }},
  {{ methods = ["POST"], path = "/RPC2", body = ["supervisor.startProcess", "supervisor.stopProcess"] }},
]
"#,
        supervisord.socket().display()
    );
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config));
    (supervisord, vigil)
}

#[test]
fn a_real_process_is_left_alone_and_then_restarted_as_planned() {
    let (supervisord, vigil) = supervised();
    let before = supervisord.pid_of("db");
    let body = json!({"action": "restart", "target": "db"});
    let answer = vigil.post("/api/v1/actions/plan", &body).expect(200).json();
    let plan = &answer["plan"];
    assert_eq!((&plan["outcome"]["kind"], &plan["plugin"]), (&json!("ok"), &json!("supervisor")), "{answer}");
    assert_eq!((&plan["action_id"], &plan["holds_up_to"]), (&Value::Null, &json!(2)), "{answer}");
    let named = |list: &str| -> Vec<&str> {
        plan[list].as_array().unwrap().iter().map(|call| call["body"].as_str().unwrap()).collect()
    };
    assert!(named("passed").iter().all(|body| body.contains("supervisor.get")), "{answer}");
    let [stop, start] = named("mutating")[..] else { panic!("{answer}") };
    assert!(stop.contains("supervisor.stopProcess") && start.contains("supervisor.startProcess"), "{answer}");
    assert_eq!(supervisord.pid_of("db"), before);
    assert_eq!(vigil.get_json("/api/v1/actions")["total"], 0, "no action was made");

    // The same through the binary.
    let (code, table, said) = types(&vigil, &["action", "plan", "--action", "restart", "--target", "db"]);
    assert_eq!(code, Some(2), "{table}{said}");
    for word in ["restart on db", "supervisor.stopProcess", "would change", "up to call 2", "read"] {
        assert!(table.contains(word), "{word} is not shown:\n{table}");
    }
    assert_eq!(supervisord.pid_of("db"), before);

    // The live action changes exactly that.
    let made = vigil.post("/api/v1/actions", &body).expect(201).json()["action_id"].clone();
    let done = queued(&vigil, &made);
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(changed(&vigil, &made), calls(&plan["mutating"]));
    let after = supervisord.pid_of("db");
    assert!(after != before && after > 0, "pid {before} -> {after}");
    println!("planned twice with pid {before}, then restarted: pid {after}");
    assert_eq!(planned(&vigil), ["target db", "target db"]);
}

#[test]
fn exit_codes_say_what_would_happen() {
    let (supervisord, vigil) = supervised();
    let plan = |args: &[&str]| types(&vigil, &[&["action", "plan"], args].concat());
    // Both run already.
    let (code, table, said) =
        plan(&["--action", "scale", "--target", "web", "--params", r#"{"replicas": 2}"#]);
    assert_eq!(code, Some(0), "{table}{said}");
    assert!(table.contains("changes nothing"), "{table}");
    let (code, text, _) =
        plan(&["--action", "scale", "--target", "web", "--params", r#"{"replicas": 1}"#, "-o", "json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, found["plan"]["mutating"].as_array().unwrap().len()), (Some(2), 1), "{text}");
    assert_eq!(supervisord.running("web", 2), 2);
    let (code, table, said) = plan(&["--action", "restart", "--target", "nobody"]);
    assert_eq!(code, Some(1), "{table}{said}");
    assert!(
        table.contains("target-not-found") && said.contains("did not come to a good end"),
        "{table}{said}"
    );
    for (args, expected) in [
        (&["999"][..], 4),
        (&["999", "--last"], 4),
        (&["--action", "nobody-serves-this", "--target", "web"], 6),
        (&["--action", "restart"], 2),
        (&["--action", "restart", "--target", "web", "--params", "[]"], 2),
        (&["--action", "restart", "--target", "web", "--params", r#"{"timeout": "soon"}"#], 1),
        (&[], 2),
    ] {
        let (code, table, said) = plan(args);
        assert_eq!(code, Some(expected), "{args:?}: {table}{said}");
        assert!(table.is_empty() && !said.is_empty(), "{args:?}: {table}{said}");
    }
}

fn a_webhook_is_not_called_and_then_called_as_planned(setting: Setting) {
    let target = CountingTarget::start();
    let config = format!(
        r#"
[connections.webhook]
url = "{}"
allow = [{{ methods = ["POST"], path = "/", plan = {{ status = 201, content_type = "application/json", body = '{{"queued":true}}' }} }}]
"#,
        target.url()
    );
    let vigil = Vigil::start(Backend::new(setting).options(&config));
    let body = json!({"action": "custom", "target": "web-1", "params": {"room": "ops", "api_key": "k3y"}});
    let made = vigil.post("/api/v1/actions", &body).expect(201).json()["action_id"].clone();
    let path = format!("/api/v1/actions/{made}/plan");
    vigil.get(&path).expect(404);
    let first = vigil.post(&path, &json!({})).expect(200).json();
    let plan = &first["plan"];
    assert_eq!((&plan["action_id"], &plan["binding"]), (&made, &json!(true)), "{first}");
    assert_eq!(plan["outcome"]["message"], "custom for web-1 sent, 201", "the configured answer: {first}");
    let call = &plan["mutating"][0];
    assert_eq!(
        (&call["method"], &call["path"], &call["n"]),
        (&json!("POST"), &json!("/"), &json!(1)),
        "{first}"
    );
    let shown = call["body"].as_str().unwrap();
    assert!(shown.contains("\"room\":\"ops\"") && !shown.contains("k3y"), "{shown}");
    // It is kept, and the same again as long as nothing changes.
    assert_eq!(vigil.get_json(&path)["plan"], *plan);
    let again = vigil.post(&path, &json!({})).expect(200).json();
    assert_eq!((&again["plan"]["hash"], &again["plan"]["mutating"]), (&plan["hash"], &plan["mutating"]));
    let id = made.to_string();
    let (code, table, _) = types(&vigil, &["action", "plan", &id, "--last"]);
    assert_eq!((code, table.contains("would change")), (Some(2), true), "{table}");
    // Nothing was changed, here or there.
    assert_eq!(target.count(), 0);
    let action = vigil.get_json(&format!("/api/v1/actions/{made}"));
    assert_eq!((&action["state"], &action["attempts"]), (&json!("held"), &json!(0)), "{action}");
    assert_eq!(planned(&vigil), [format!("action {made}"), format!("action {made}")]);

    let done = queued(&vigil, &made);
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(changed(&vigil, &made), calls(&plan["mutating"]));
    let calls = target.calls();
    let hash = Sha256::digest(&calls[0].body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        (calls.len(), json!(hash)),
        (1, call["body_hash"].clone()),
        "the very bytes that were planned"
    );
}

#[test]
fn a_webhook_is_not_called_and_then_called_as_planned_on_sqlite() {
    a_webhook_is_not_called_and_then_called_as_planned(Setting::Small);
}

#[test]
fn a_webhook_is_not_called_and_then_called_as_planned_on_postgresql() {
    a_webhook_is_not_called_and_then_called_as_planned(Setting::Postgres);
}
