//! What a policy would do, before it is allowed to: `vigil policy test` and `vigil policy backtest` as an author uses them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, config, open_policy};
use crate::support::{CountingTarget, Options, Vigil, temp_dir, wait_until};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn vigil(args: &[&str]) -> Output {
    let mut command = Command::new(Vigil::binary());
    command.args(args).current_dir(root()).env_clear().output().unwrap()
}

#[track_caller]
fn expect(code: i32, args: &[&str]) -> (String, String) {
    let output = vigil(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}\n{said}");
    (text, said)
}

/// Every command of the authors' page, in its order.
#[test]
fn the_authors_page_works_word_for_word() {
    let page = std::fs::read_to_string(root().join("host/README.md")).unwrap();
    let place = temp_dir();
    let mut script = String::from("set -euo pipefail\n");
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => script.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    let bin = place.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(Vigil::binary(), bin.join("vigil")).unwrap();
    std::os::unix::fs::symlink(root().join("host").canonicalize().unwrap(), place.path().join("host"))
        .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(text.matches("ok     ").count(), 4, "{text}");
    for word in ["WOULD ACT", "restart", "avg(cpu_percent, 2m)", "web-is-busy"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}

#[test]
fn a_test_that_fails_names_the_first_difference() {
    let place = temp_dir();
    let good = std::fs::read_to_string(root().join("host/deploy/author/tests.yaml")).unwrap();
    std::fs::copy(root().join("host/deploy/author/policies.yaml"), place.path().join("policies.yaml"))
        .unwrap();
    let file = place.path().join("tests.yaml");
    let path = file.to_str().unwrap().to_owned();
    let cases = [
        (
            "{action: restart, target: web-01, step: 0",
            "{action: restart, target: web-02, step: 0",
            "actions[0].target: expected \"web-02\", got \"web-01\"",
        ),
        (
            "{decision: act, saw: {cpu_percent: 97, ",
            "{decision: act, saw: {cpu_percent: 96, ",
            "decisions[0].saw: expected",
        ),
        (
            "verdict: healed",
            "verdict: not_healed",
            "at 20m: verdicts[0].verdict: expected \"not_healed\", got \"healed\"",
        ),
        (
            "      - at: 4m\n        decisions: []",
            "      - at: 4m\n        decisions: [{decision: act}]",
            "at 4m: decisions[0]: expected {\"decision\":\"act\"}, but there is none",
        ),
        (
            "{action: scale-up, params: {increment: 1}}, {action: notify}",
            "{action: scale-up}",
            "actions[2]: expected no more, got",
        ),
        (
            "{decision: act}, {decision: incident_open}, {decision: settling}, {decision: cooldown}",
            "{reason: act}",
            "has no member `reason`",
        ),
    ];
    for (before, after, says) in cases {
        assert!(good.contains(before), "{before}");
        std::fs::write(&file, good.replacen(before, after, 1)).unwrap();
        let (text, said) = expect(1, &["policy", "test", &path]);
        assert!(text.contains(says) && text.matches("FAILED").count() == 1, "{says}:\n{text}");
        assert!(said.contains("1 of 4 failed"), "{said}");
    }
    let (text, _) = expect(1, &["policy", "test", &path, "-o", "json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["passed"], &json["failed"]), (&json!(3), &json!(1)), "{json}");
    expect(0, &["policy", "test", &path, "--run", "pause"]);
}

#[test]
fn a_file_that_is_wrong_is_refused_in_words() {
    let place = temp_dir();
    let file = place.path().join("tests.yaml");
    let path = file.to_str().unwrap().to_owned();
    let policy = "policies: [{name: p, condition: {type: metric_exceeds, metric: m, threshold: 1}, action: restart}]\n";
    let series = "series: [{metric: m, values: 1}]";
    let cases = [
        ("tests: []\n".to_owned(), "1 to 1000 tests"),
        (format!("{policy}tests: [{{name: a, {series}, expect: []}}]"), "could not fail"),
        (
            format!("{policy}tests: [{{name: a, {series}, expect: [{{at: 2m}}, {{at: 1m}}]}}]"),
            "order of time",
        ),
        (format!("{policy}tests: [{{name: a, {series}, surprise: 1, expect: [{{at: 2m}}]}}]"), "surprise"),
        (
            format!(
                "{policy}tests: [{{name: a, series: [{{metric: m, values: 1x}}], expect: [{{at: 2m}}]}}]"
            ),
            "`1x` is no value",
        ),
        (
            format!("{policy}interval: 10ms\ntests: [{{name: a, {series}, expect: [{{at: 2m}}]}}]"),
            "at least 1s",
        ),
        (format!("tests: [{{name: a, {series}, expect: [{{at: 2m}}]}}]"), "names no policies"),
        (format!("policies: [{{name: p}}]\ntests: [{{name: a, {series}, expect: [{{at: 2m}}]}}]"), "action"),
        (
            format!("policy_files: [nowhere.yaml]\ntests: [{{name: a, {series}, expect: [{{at: 2m}}]}}]"),
            "nowhere.yaml",
        ),
        ("tests: {".to_owned(), "tests.yaml"),
    ];
    for (text, says) in cases {
        std::fs::write(&file, &text).unwrap();
        let (_, said) = expect(1, &["policy", "test", &path]);
        assert!(said.contains(says), "{text}\n{said}");
    }
    expect(2, &["policy", "test"]);
    expect(1, &["policy", "test", "/nowhere/tests.yaml"]);
    let policies = root().join("host/deploy/author/policies.yaml");
    let samples = place.path().join("samples");
    for (text, says) in [
        ("{\"name\":\"m\",\"value\":1}\n", "timestamp"),
        ("{\"name\":\"m\",\"value\":1,\"timestamp\":\"soon\"}\n", "is no time"),
        ("\n{\"name\":\"\",\"value\":1,\"timestamp\":1}\n", "samples:2: `name`"),
        ("", "holds no sample"),
        ("{\"name\":\"m\",\"value\":1,\"timestamp\":1,\"tags\":{\"service\":\" \"}}\n", "the tag `service`"),
    ] {
        std::fs::write(&samples, text).unwrap();
        let args =
            ["policy", "backtest", "-f", policies.to_str().unwrap(), "--samples", samples.to_str().unwrap()];
        let (_, said) = expect(1, &args);
        assert!(said.contains(says), "{text}\n{said}");
    }
    expect(2, &["policy", "backtest", "--samples", "x"]);
}

/// A busy while on a real server, and its history lived again: the same decisions; a candidate beside them; nothing touched.
fn lived_again(setting: Setting) {
    let target = CountingTarget::start();
    let backend = Backend::new(setting);
    let vigil = Vigil::start(backend.options(&config(&target.url())));
    let mut strict = open_policy("strict", "web-*", "webhook");
    strict["guardrails"] = json!({"cooldown": "1h", "settle": "1s", "blast_radius": {"max": 2}, "max_actions": 50,
        "mass_failure": {"targets": 1_000_000}});
    vigil.post("/api/v1/policies", &strict).expect(201);
    vigil.post("/api/v1/policies", &open_policy("loose", "db-*", "webhook")).expect(201);
    let watching = json!({"name": "watching", "target": "*", "action": "restart",
        "guardrails": {"mass_failure": {"targets": 1_000_000}, "blast_radius": {"max": 1_000_000}},
        "condition": {"type": "cel", "expression": "avg('heat', duration('1m')) > 90.0"}});
    vigil.post("/api/v1/policies", &watching).expect(201);
    for round in 0..6 {
        let heat = |name: String| json!({"name": "heat", "value": if round % 3 == 2 { 10 } else { 95 }, "tags": {"service": name}});
        let batch: Vec<Value> =
            (0..5).flat_map(|n| [heat(format!("web-{n}")), heat(format!("db-{n}"))]).collect();
        vigil.post("/api/v1/ingest", &json!(batch)).expect(201);
        std::thread::sleep(Duration::from_millis(700));
    }
    wait_until(Duration::from_secs(60), "all actions to end", || {
        let open = |state| vigil.get_json(&format!("/api/v1/actions?status={state}&limit=1"))["total"] == 0;
        open("pending") && open("running")
    });
    let before = (target.calls().len(), vigil.get_json("/api/v1/actions?limit=1")["total"].clone());
    let asked = json!({"compare": true});
    let same = vigil.post("/api/v1/policies/backtest", &asked).expect(200).json();
    assert_eq!(same["live"]["same"], true, "{:#}", same["live"]);
    assert!(same["live"]["recorded"].as_i64().unwrap() >= 20, "{:#}", same["live"]);
    let of = |answer: &Value, name: &str| {
        answer["policies"].as_array().unwrap().iter().find(|policy| policy["name"] == name).unwrap().clone()
    };
    assert_eq!(of(&same, "strict")["actions"], 2, "{same:#}");
    assert_eq!(of(&same, "watching")["actions"], 0, "{same:#}");
    // A candidate in the place of the stored one: less strict, so it would have acted more.
    let candidate = open_policy("strict", "web-*", "webhook");
    let asked = json!({"policies": [candidate]});
    let more = vigil.post("/api/v1/policies/backtest", &asked).expect(200).json();
    assert!(of(&more, "strict")["actions"].as_i64().unwrap() > 2, "{more:#}");
    assert_eq!(more["live"], Value::Null);
    // One that only watches is looked at as if it were let loose.
    let asked = json!({"names": ["watching"]});
    let loose = vigil.post("/api/v1/policies/backtest", &asked).expect(200).json();
    assert!(of(&loose, "watching")["actions"].as_i64().unwrap() > 0, "{loose:#}");
    assert!(loose["notes"][0].as_str().unwrap().contains("as if its mode were `auto`"), "{loose:#}");
    let after = (target.calls().len(), vigil.get_json("/api/v1/actions?limit=1")["total"].clone());
    assert_eq!(before, after, "a back-test touched something");
    let (text, _) = expect(0, &["policy", "backtest", "--last", "10m", "--compare", "--url", &vigil.url()]);
    assert!(text.contains("made live are the same"), "{text}");
}

#[test]
fn what_was_decided_live_is_decided_again_on_sqlite() {
    lived_again(Setting::Small);
}

#[test]
fn what_was_decided_live_is_decided_again_on_postgresql() {
    lived_again(Setting::PostgresRedis);
}

#[test]
fn what_cannot_be_looked_back_at_is_refused_with_its_place() {
    let vigil = Vigil::start(Options::default());
    let policy = json!({"name": "p", "condition": {"type": "metric_exceeds", "metric": "m", "threshold": 1}, "action": "restart"});
    let cases = [
        (json!({"from": "2026-01-02", "to": "2026-01-01"}), "from"),
        (json!({"from": "2020-01-01"}), "from"),
        (json!({"to": "whenever"}), "to"),
        (json!({"limit": 0}), "limit"),
        (json!({"action_takes": "2h"}), "action_takes"),
        (json!({"names": []}), "names"),
        (json!({"names": [1]}), "names"),
        (json!({"policies": {}}), "policies"),
        (json!({"policies": [policy, {"name": "q"}]}), "policies.1.action"),
        (json!({"policies": [policy, policy]}), "policies.1.name"),
        (json!({"compare": true, "as_auto": true}), "as_auto"),
        (json!({"surprise": 1}), "surprise"),
    ];
    for (body, place) in cases {
        let answer = vigil.post("/api/v1/policies/backtest", &body).expect(422).json();
        let loc = answer["detail"][0]["loc"].as_array().unwrap();
        let text: Vec<String> = loc
            .iter()
            .skip(1)
            .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
            .collect();
        assert_eq!(text.join("."), place, "{body}: {answer}");
    }
    vigil.post("/api/v1/policies/backtest", &json!({"names": ["nobody"]})).expect(404);
    let empty = vigil.post("/api/v1/policies/backtest", &json!({})).expect(200).json();
    assert_eq!((&empty["samples"], &empty["policies"]), (&json!(0), &json!([])), "{empty}");
}
