//! Plugins that are served and misbehave when they are run.

use serde_json::{Value, json};

use super::{attempt, ended, others_work, queue, serve, settings, wait_file};
use crate::pulse::resident;
use crate::support::{CountingTarget, Options, Vigil};

/// Memory that may stay occupied after all of them.
const GROWTH: u64 = 192 << 20;
/// Bytes of log lines kept of one attempt, by default.
const LOG_BYTES: usize = 64 << 10;

/// Fixtures that are served, those included that behave.
pub(super) const NAMES: [&str; 13] = [
    "connection-denied",
    "execute-loops",
    "execute-traps",
    "huge-result",
    "log-flood",
    "log-huge",
    "memory-grows",
    "noop",
    "noop-unsafe",
    "recursion",
    "sleeps",
    "table-grows",
    "validate-loops",
];

/// How an attempt must end, and a part of what is said about it.
const CASES: [(&str, &[&str], &str); 9] = [
    ("execute-loops", &["deadline", "limit"], "the plugin "),
    ("sleeps", &["deadline"], "did not end in time"),
    ("execute-traps", &["trap"], "the plugin crashed: "),
    ("recursion", &["trap"], "stack"),
    ("memory-grows", &["memory"], "the limit is 64 MiB"),
    ("table-grows", &["limit"], "a table of"),
    ("huge-result", &["limit"], "the plugin went over its limit: "),
    ("log-huge", &["limit"], "more data in one call than is allowed"),
    ("connection-denied", &["limit", "denied"], "host"),
];

#[track_caller]
fn fails(vigil: &Vigil, name: &str, kinds: &[&str], words: &str) {
    let id = queue(vigil, name, &format!("{name}-target"));
    let action = ended(vigil, id);
    assert_eq!(action["status"], "failed", "{name}: {action}");
    let said = action["error_message"].as_str().unwrap_or_default();
    assert!(said.contains(words), "{name}: {said:?} does not say {words:?}");
    let attempt = attempt(vigil, id);
    assert!(kinds.iter().any(|kind| attempt["outcome"] == *kind), "{name} ended as {}", attempt["outcome"]);
    assert!(attempt["message"].as_str().is_some_and(|text| said.contains(text)), "{name}: {attempt}");
    assert!(attempt.to_string().len() < 256 << 10, "{name}: its attempt is too large to be kept");
}

#[test]
fn attempts_that_misbehave_fail_in_words() {
    let vigil = Vigil::start(settings());
    for name in ["noop", "noop-unsafe"] {
        serve(&vigil, name);
        let action = ended(&vigil, queue(&vigil, name, "calm"));
        assert_eq!(action["status"], "completed", "{name} behaves: {action}");
    }
    let memory = resident(vigil.pid());
    let mut contained = 0;
    for (name, kinds, words) in CASES {
        serve(&vigil, name);
        fails(&vigil, name, kinds, words);
        others_work(&vigil, name);
        contained += 1;
    }
    serve(&vigil, "log-flood");
    log_is_bounded(&vigil);
    serve(&vigil, "validate-loops");
    // It does its harm only where it is asked to validate; whoever asks must come back.
    let action = ended(&vigil, queue(&vigil, "validate-loops", "validated"));
    let said = action["error_message"].as_str().unwrap_or_default();
    assert!(action["status"] == "completed" || said.contains("could not check"), "validate-loops: {action}");
    others_work(&vigil, "validate-loops");
    contained += 2;
    assert_eq!(contained, NAMES.len() - 2, "every one was contained");
    let growth = resident(vigil.pid()).saturating_sub(memory);
    assert!(growth < GROWTH, "it grew by {} MiB", growth >> 20);
}

/// A flood of 100,000 lines leaves a bounded log and a count of what was dropped.
fn log_is_bounded(vigil: &Vigil) {
    let id = queue(vigil, "log-flood", "flooded");
    let action = ended(vigil, id);
    let attempt = attempt(vigil, id);
    // A slow machine may end it before it has written everything.
    let fine = action["status"] == "completed" || attempt["outcome"] == "deadline";
    assert!(fine, "log-flood: {action}");
    let lines = attempt["logs"]["lines"].as_array().unwrap();
    let kept: usize = lines.iter().map(|line| line["message"].as_str().unwrap().len()).sum();
    assert!((1..=LOG_BYTES).contains(&kept), "{kept} bytes of log are kept");
    let dropped = attempt["logs"]["dropped"].as_u64().unwrap_or_default();
    assert!(dropped > 100, "{dropped} lines were dropped");
    others_work(vigil, "log-flood");
}

/// All at once, more than there are places: every one ends, and so do those that behave.
#[test]
fn all_at_once() {
    let vigil = Vigil::start(settings());
    serve(&vigil, "noop");
    for (name, ..) in CASES {
        serve(&vigil, name);
    }
    let mut ids = Vec::new();
    for round in 0..3 {
        for (name, ..) in CASES {
            ids.push((name, queue(&vigil, name, &format!("{name}-{round}"))));
        }
        ids.push(("noop", queue(&vigil, "noop", &format!("noop-{round}"))));
    }
    for (name, id) in ids {
        let action = ended(&vigil, id);
        let expected = if name == "noop" { "completed" } else { "failed" };
        assert_eq!(action["status"], expected, "{name}: {action}");
    }
    others_work(&vigil, "all at once");
}

/// A connection that exists and was not granted is out of reach, whatever the plugin asks of it.
#[test]
fn what_is_not_granted_is_out_of_reach() {
    let bank = CountingTarget::start();
    let granted = |more: &str| {
        let connection = format!(
            "[retry]\nmax_attempts = 1\n[plugins]\nhost_calls = 20000\n{more}\n\
             [connections.bank]\nurl = \"http://{}\"\nallow = [{{ method = \"GET\", path = \"/**\" }}]\n",
            bank.address()
        );
        Options::default().config(connection)
    };
    let wrong = "[[plugins.grants]]\nplugin = \"connection-denied\"\ndigest = \"sha256:00\"\nconnections = { bank = \"bank\" }";
    let route = "[[routes]]\naction = \"connection-denied\"\nplugin = \"connection-denied\"\nconnections = { bank = \"bank\" }";
    for (name, more) in [("no grant", ""), ("a grant for another digest", wrong), ("a route alone", route)] {
        let vigil = Vigil::start(granted(more));
        let plugin = serve(&vigil, "connection-denied");
        let id = queue(&vigil, "connection-denied", "thief");
        let action = ended(&vigil, id);
        let attempt = attempt(&vigil, id);
        assert_ne!(attempt["outcome"], "trap", "{name}: a call got through: {action}");
        assert_eq!(bank.count(), 0, "{name}: the connection was reached");
        let calls = attempt["calls"].as_array().unwrap();
        let refused = calls.iter().all(|call| call["state"] == "refused");
        assert!(refused && calls.len() <= 20_000, "{name}: {} calls, all refused: {refused}", calls.len());
        if name.starts_with("a grant") {
            let reason = plugin["reason"].as_str().unwrap_or_default();
            assert!(reason.contains("another digest"), "{name}: {reason:?}");
        }
    }
}

/// The actions that a plugin offers are gone with it, and the next of its kind says so.
#[test]
fn an_action_nobody_serves_fails_in_words() {
    let vigil = Vigil::start(settings());
    let action = ended(&vigil, queue(&vigil, "noop", "nobody"));
    assert_eq!(action["status"], "failed", "{action}");
    assert!(action["error_message"].as_str().is_some_and(|text| text.starts_with("no_plugin: ")), "{action}");
    serve(&vigil, "noop");
    let plugin = wait_file(&vigil, "noop.wasm", |plugin| plugin["status"] == "active");
    let kinds: Vec<&Value> = plugin["actions"].as_array().unwrap().iter().map(|a| &a["name"]).collect();
    assert_eq!(kinds, [&json!("noop")], "{plugin}");
    others_work(&vigil, "its arrival");
}
