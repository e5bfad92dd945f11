//! Conditions over a target's history, on both databases: what they hold for, that a restart, another server and a
//! policy made later see the same, and that the evidence names their values.

mod prometheus;
mod series;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::{Options, Postgres, Vigil};

fn on_both(test: fn(Options)) {
    test(Options::default());
    test(Options::default().database(Postgres::shared().database()));
}

#[track_caller]
fn make(vigil: &Vigil, name: &str, expression: &str) {
    let condition = json!({"type": "cel", "expression": expression});
    let policy = json!({"name": name, "condition": condition, "action": "restart", "target": "*"});
    vigil.post("/api/v1/policies", &policy).expect(201);
}

/// Sends one reading and answers the policies it violates, with the answer.
#[track_caller]
fn send(vigil: &Vigil, name: &str, host: &str, value: f64) -> (Vec<String>, Value) {
    let metric = json!({"name": name, "value": value, "tags": {"host": host}});
    let answer = vigil.post("/api/v1/ingest", &metric).expect(201).json();
    let violations = answer["violations"].as_array().unwrap();
    let names = violations.iter().map(|v| v["policy_name"].as_str().unwrap().to_owned()).collect();
    (names, answer)
}

#[track_caller]
fn cpu(vigil: &Vigil, host: &str, value: f64) -> Vec<String> {
    send(vigil, "cpu", host, value).0
}

fn averaged(options: Options) {
    let mut vigil = Vigil::start(options);
    make(&vigil, "p", "avg('cpu', duration('1m')) > 90.0 && count('cpu', duration('1m')) >= 3.0");
    assert!(cpu(&vigil, "a", 95.0).is_empty(), "one hot reading is not enough");
    assert!(cpu(&vigil, "a", 96.0).is_empty());
    assert!(cpu(&vigil, "b", 10.0).is_empty() && cpu(&vigil, "b", 99.0).is_empty());
    assert!(cpu(&vigil, "b", 99.0).is_empty(), "three readings, but they are not hot on average");
    vigil.kill9();
    vigil.start_again();
    let (names, answer) = send(&vigil, "cpu", "a", 97.0);
    assert_eq!(names, ["p"], "what was stored before the restart counts: {answer}");
    let why = vigil.get_json(&format!("/api/v1/incidents/{}/why", answer["violations"][0]["incident_id"]));
    let values = &why["decisions"][0]["saw"]["values"];
    assert_eq!(values["avg(cpu, 1m)"], 96.0, "{why}");
    assert_eq!(values["count(cpu, 1m)"], 3.0, "{why}");
    assert_eq!(values["cpu"], 97.0, "{why}");
    assert!(cpu(&vigil, "b", 99.0).is_empty(), "the cold reading before the restart counts as well");
    vigil.restart();
    assert_eq!(cpu(&vigil, "a", 96.0), ["p"], "still the same verdict");
    assert!(cpu(&vigil, "a", 1.0).is_empty(), "and a cold one ends it");
}

#[test]
fn an_average_fires_when_it_is_high_and_survives_a_restart() {
    on_both(averaged);
}

/// The windows reach back further than the look-back, and are read from the store when a policy asks for them.
fn later(options: Options) {
    let mut vigil = Vigil::start(options.config("[policies]\nlookback = \"1s\"\n"));
    // Nothing keeps these: no policy reads them yet.
    for value in [10.0, 20.0, 30.0] {
        assert!(cpu(&vigil, "a", value).is_empty());
    }
    std::thread::sleep(Duration::from_millis(1_600));
    make(&vigil, "sum", "sum('cpu', duration('1m')) == 100.0");
    assert_eq!(cpu(&vigil, "a", 40.0), ["sum"], "the store tells what was before the policy");
    std::thread::sleep(Duration::from_millis(1_600));
    vigil.restart();
    make(&vigil, "delta", "delta('cpu', duration('1m')) == 40.0 && max('cpu', duration('1h')) == 50.0");
    assert_eq!(cpu(&vigil, "a", 50.0), ["delta"], "what is older than the look-back is read back, too");
    make(&vigil, "short", "count('cpu', duration('1s')) == 1.0 && rate('cpu', duration('1m')) > 0.0");
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(cpu(&vigil, "a", 60.0), ["short"], "each window has its own length");
}

#[test]
fn a_policy_made_later_sees_what_was_before_it() {
    on_both(later);
}

#[test]
fn readings_taken_by_another_server_count() {
    let options = Options::default().database(Postgres::shared().database());
    let servers = [Vigil::start(options.clone()), Vigil::start(options)];
    make(&servers[0], "p", "min('cpu', duration('5m')) > 90.0 && count('cpu', duration('5m')) >= 4.0");
    for (at, value) in [91.0, 92.0, 93.0].into_iter().enumerate() {
        assert!(cpu(&servers[at % 2], "a", value).is_empty());
    }
    assert_eq!(cpu(&servers[1], "a", 94.0), ["p"]);
    assert_eq!(cpu(&servers[0], "a", 95.0), ["p"]);
}

/// Late readings count at their own time; those older than the window in nothing.
fn out_of_order(options: Options) {
    let vigil = Vigil::start(options);
    make(&vigil, "p", "delta('m', duration('10m')) == 3.0 && last('m', duration('10m')) == 5.0");
    #[expect(clippy::disallowed_methods, reason = "the sender's own time")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let post = |minutes: u64, value: f64| {
        let at = now - 60 * minutes;
        let metric = json!({"name": "m", "value": value, "tags": {"host": "h"}, "timestamp": at});
        let answer = vigil.post("/api/v1/ingest", &metric).expect(201).json();
        answer["violations"].as_array().unwrap().len()
    };
    assert_eq!([post(1, 5.0), post(30, 100.0), post(3, 9.0)], [0, 0, 0]);
    assert_eq!(post(5, 2.0), 1, "from the oldest in the window to the newest");
}

#[test]
fn late_readings_count_at_their_own_time() {
    on_both(out_of_order);
}

#[test]
fn silence_for_a_while_is_noticed_by_the_tick() {
    let config = "[policies]\ntick = \"200ms\"\nlookback = \"1s\"\n";
    let vigil = Vigil::start(Options::default().config(config));
    make(&vigil, "silent", "absent('beat', duration('2s'))");
    assert!(send(&vigil, "beat", "a", 1.0).0.is_empty(), "a beat is not silence");
    std::thread::sleep(Duration::from_millis(1_300));
    assert_eq!(vigil.get_json("/api/v1/incidents")["count"], 0, "not yet");
    let incidents = vigil.wait_json("/api/v1/incidents", Duration::from_secs(5), |all| all["count"] == 1);
    let id = &incidents["incidents"][0]["id"];
    let why = vigil.get_json(&format!("/api/v1/incidents/{id}/why"));
    assert_eq!(why["decisions"][0]["saw"]["values"]["absent(beat, 2s)"], 1.0, "{why}");
}

#[test]
fn what_is_asked_without_history_has_the_given_value_alone() {
    let vigil = Vigil::start(Options::default());
    for name in ["avg", "min", "max", "sum", "ewma", "last"] {
        make(&vigil, name, &format!("{name}('cpu', duration('1m')) == 95.0"));
    }
    make(&vigil, "quantile", "quantile('cpu', 0.9, duration('1m')) == 95.0");
    make(&vigil, "count", "count('cpu', duration('1m')) == 1.0 && changes('cpu', duration('1m')) == 0.0");
    make(&vigil, "absent", "absent('cpu', duration('1m')) || !absent('mem', duration('1m'))");
    for name in ["rate", "delta", "zscore"] {
        make(&vigil, name, &format!("{name}('cpu', duration('1m')) < 1e9"));
    }
    let answer = vigil.post("/api/v1/policies/evaluate", &json!({"metrics": {"cpu": 95}})).expect(200).json();
    let violations = answer["violations"].as_array().unwrap();
    let names: Vec<&str> = violations.iter().map(|v| v["policy_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["avg", "min", "max", "sum", "ewma", "last", "quantile", "count"], "{answer}");
    for name in ["avg", "rate", "absent"] {
        vigil.get(&format!("/api/v1/policy-tester/policy/{name}/preview")).expect(200);
    }
}

#[test]
fn a_window_that_is_wrong_is_refused_where_it_is() {
    let vigil = Vigil::start(Options::default());
    let condition = json!({"type": "cel", "expression": "1.0 <\n avg('cpu', duration('25h'))"});
    let policy = json!({"name": "p", "condition": condition, "action": "restart", "target": "*"});
    let answer = vigil.post("/api/v1/policies", &policy).expect(422).json();
    let fault = &answer["detail"][0];
    assert_eq!((&fault["ctx"]["line"], &fault["ctx"]["column"]), (&json!(2), &json!(22)), "{answer}");
    assert!(fault["msg"].as_str().unwrap().contains("from 1s to 24h"), "{answer}");
}
