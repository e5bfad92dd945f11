//! Policy files: the sample of the contract, bad entries, and what a restart changes.

use std::fs;

use serde_json::{Value, json};

use super::{decided, make, put};
use crate::support::{Options, Request, Vigil, temp_dir};

/// The sample file that is shipped.
const SAMPLE: &str = include_str!("../../../host/deploy/samples/policies.yaml");

fn settings(paths: &[&std::path::Path]) -> Options {
    Options::default().config(format!("[policies]\npaths = {}\n", json!(paths)))
}

/// What one reading of a host violates, and how it was decided.
#[track_caller]
fn reads(vigil: &Vigil, host: &str, name: &str, value: f64) -> Value {
    let metric = json!({"name": name, "value": value, "tags": {"host": host}});
    vigil.post("/api/v1/ingest", &metric).expect(201).json()
}

#[test]
fn the_sample_file_does_what_its_table_says() {
    let dir = temp_dir();
    let file = dir.path().join("policies.yaml");
    fs::write(&file, SAMPLE).unwrap();
    let vigil = Vigil::start(settings(&[&file]));
    let listing = vigil.get_json("/api/v1/policies");
    assert_eq!((&listing["total"], &listing["enabled_count"]), (&json!(6), &json!(5)), "{listing}");
    for (name, member, expected) in [
        ("high-cpu-alert", "auto_remediate", json!(true)),
        ("high-memory-alert", "mode", json!("observe")),
        ("low-disk-space", "severity", json!("critical")),
        ("service-health-critical", "params", json!({"graceful": true, "timeout": 30})),
        ("resource-exhaustion", "target", json!("services")),
        ("pod-drain-required", "enabled", json!(false)),
        ("pod-drain-required", "source", json!("file")),
    ] {
        assert_eq!(listing["policies"][name][member], expected, "{member} of {name}");
    }
    crate::stage::fleet(&vigil, "web-of-many-", 60);
    // Host, metric, value, what is violated and how it is decided; in this order.
    let none: &[(&str, &str)] = &[];
    for (host, metric, value, expected) in [
        ("web-01", "cpu_percent", 90.0, none),
        ("web-01", "cpu_percent", 90.1, &[("high-cpu-alert", "act")]),
        ("web-02", "cpu_usage", 87.5, &[("high-cpu-alert", "act")]),
        ("db-01", "cpu_percent", 99.0, none),
        ("db-01", "memory_percent", 86.0, &[("high-memory-alert", "observe")]),
        ("db-01", "disk_free_percent", 5.0, none),
        ("db-01", "disk_free_percent", 4.9, &[("low-disk-space", "observe")]),
        ("api-server", "health_check_failures", 4.0, &[("service-health-critical", "act")]),
        ("api-server-2", "health_check_failures", 4.0, none),
        ("services", "cpu_percent", 81.0, none),
        ("services", "memory_percent", 81.0, &[("resource-exhaustion", "act")]),
        ("pod-1", "restart_count", 6.0, none),
    ] {
        let answer = reads(&vigil, host, metric, value);
        assert_eq!(decided(&answer), expected, "{metric} = {value} on {host}: {answer}");
    }
    let actions = vigil.get_json("/api/v1/actions?target=web-01");
    assert_eq!(
        actions["actions"][0]["params"],
        json!({"replicas": 2, "increment": 1}),
        "as in the file: {actions}"
    );
}

#[test]
fn a_bad_entry_is_skipped_and_named() {
    let dir = temp_dir();
    let good = "{name: NAME, condition: {type: metric_exceeds, metric: m, threshold: 1}, action: restart}";
    let entry = |name: &str| format!("  - {}\n", good.replace("NAME", name));
    let bad = [
        ("custom", "{name: custom, condition: {type: custom}, action: restart}"),
        (
            "severe",
            "{name: severe, severity: fatal, condition: {type: metric_exceeds, metric: m, threshold: 1}, action: restart}",
        ),
        (
            "stranger",
            "{name: stranger, condition: {type: metric_exceeds, metric: m, threshold: 1, for: 5m}, action: restart}",
        ),
        (
            "rails",
            "{name: rails, guardrails: {cooldwon: 5m}, condition: {type: metric_exceeds, metric: m, threshold: 1}, action: restart}",
        ),
        ("nan", "{name: nan, condition: {type: metric_exceeds, metric: m, threshold: nan}, action: restart}"),
        ("a/b", "{name: a/b, condition: {type: metric_exceeds, metric: m, threshold: 1}, action: restart}"),
        (
            "expression",
            "{name: expression, condition: {type: cel, expression: 'last(\"m\") >'}, action: restart}",
        ),
        (
            "later",
            "{name: later, mode: approve, condition: {type: metric_exceeds, metric: m, threshold: 1}, action: restart}",
        ),
    ];
    let mut text = format!("policies:\n{}", entry("first"));
    for (_, entry) in bad {
        text.push_str(&format!("  - {entry}\n"));
    }
    text.push_str("  - just text\n");
    text.push_str(&entry("first"));
    text.push_str(&entry("last"));
    text.push_str("  - {name: seed, match_metric: cpu_usage, threshold: 80, action: restart, target: '*', cooldown: 60}\n");
    fs::write(dir.path().join("a.yaml"), text).unwrap();
    fs::write(
        dir.path().join("b.json"),
        json!({"policies": [{"name": "json", "action": "restart",
        "condition": {"type": "metric_exceeds", "metric": "m", "threshold": 1}}]})
        .to_string(),
    )
    .unwrap();
    fs::write(dir.path().join("c.txt"), "policies: [").unwrap();

    let vigil = Vigil::start(settings(&[dir.path()]));
    let listing = vigil.get_json("/api/v1/policies");
    let names: Vec<&String> = listing["policies"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["first", "json", "last", "seed"], "the good ones are in force: {listing}");
    assert_eq!(listing["policies"]["seed"]["guardrails"]["cooldown"], "1m", "the second dialect: {listing}");
    let log = vigil.log();
    for (name, _) in bad.iter().chain([&("a policy of that name stands before it", "")]) {
        assert!(log.contains(name), "{name} is not named in the log:\n{log}");
    }
}

#[test]
fn a_restart_brings_files_and_database_together() {
    let dir = temp_dir();
    let file = dir.path().join("p.yaml");
    let write = |entries: &[(&str, u32)]| {
        let lines: String = entries
            .iter()
            .map(|(name, threshold)| {
                format!("  - {{name: {name}, condition: {{type: metric_exceeds, metric: m, threshold: {threshold}}}, action: restart}}\n")
            })
            .collect();
        fs::write(&file, format!("policies:\n{lines}")).unwrap();
    };
    write(&[("kept", 1), ("changed", 1), ("gone", 1), ("muted", 1)]);
    let mut vigil = Vigil::start(settings(&[&file]));
    make(&vigil, "by-hand", json!({}));
    put(&vigil, "/api/v1/policies/muted/disable", &json!({})).expect(200);
    write(&[("kept", 1), ("changed", 2), ("muted", 1), ("new", 1), ("by-hand", 7)]);
    vigil.restart();
    let listing = vigil.get_json("/api/v1/policies");
    let of = |name: &str, member: &str| listing["policies"][name][member].clone();
    let names: Vec<&String> = listing["policies"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["by-hand", "changed", "kept", "muted", "new"], "{listing}");
    assert_eq!(of("changed", "condition")["threshold"], 2, "changed in the file");
    assert_eq!(
        (of("kept", "version"), of("changed", "version")),
        (json!(1), json!(2)),
        "only changes are versions"
    );
    assert_eq!(of("muted", "enabled"), json!(false), "switched off by hand, it stays off");
    assert_eq!(
        (of("by-hand", "source"), of("by-hand", "action")),
        (json!("api"), json!("restart")),
        "made by hand, it is kept"
    );
    // Deleting a policy of a file lasts until the file is read again.
    vigil.send(&Request::new("DELETE", "/api/v1/policies/kept")).expect(200);
    vigil.restart();
    vigil.get("/api/v1/policies/kept").expect(200);
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    let dir = temp_dir();
    let file = dir.path().join("p.yaml");
    let laughs = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let before = format!("*a{}", n - 1);
        format!("{text}a{n}: &a{n} [{}]\n", vec![before; 10].join(","))
    });
    for (name, text) in [
        ("no YAML", "policies: [".to_owned()),
        ("no list", "policies: 7".to_owned()),
        ("no number", "policies: [.nan]".to_owned()),
        ("aliases of aliases", format!("{laughs}policies: *a11\n")),
        ("deep", format!("policies: {}", "[".repeat(100_000))),
        ("many", format!("policies: [{}]", "1,".repeat(10_001))),
    ] {
        fs::write(&file, text).unwrap();
        let mut options = settings(&[&file]);
        options.no_wait = true;
        let mut vigil = Vigil::start(options);
        let ended = vigil.wait_exit(std::time::Duration::from_mins(1));
        let status = ended.unwrap_or_else(|| panic!("{name}: it goes on:\n{}", vigil.log()));
        assert!(status.code().is_some_and(|code| code != 0), "{name}: {status}:\n{}", vigil.log());
        assert!(vigil.log().contains("p.yaml"), "{name}: the file is not named:\n{}", vigil.log());
    }
}
