//! Requests sent again: idempotency keys, and readings with a time of their own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Siege, metric};
use crate::support::{Options, Postgres, Request};

fn keyed(key: &str, value: f64) -> Request {
    let body = json!({"name": "cpu", "value": value, "tags": {"host": "web-01"}});
    metric(body.to_string()).header("Idempotency-Key", key)
}

fn same_key(options: Options) {
    let mut siege = Siege::start(options);
    let first = siege.case("the first of a key", &keyed("k-1", 1.0), 201);
    let again = siege.case("the same again", &keyed("k-1", 1.0), 201);
    assert_eq!(again.body, first.body, "the same key and body have the same answer");
    siege.invalid("another body", &keyed("k-1", 2.0), "value_error");
    let other = siege.case("another key", &keyed("k-2", 2.0), 201);
    assert_ne!(other.json()["metric_id"], first.json()["metric_id"], "another key is another event");
    // A refused request leaves its key free.
    let bad = metric(r#"{"name":"cpu"}"#).header("Idempotency-Key", "k-3");
    siege.invalid("a refused body", &bad, "missing");
    siege.case("its key with a good body", &keyed("k-3", 3.0), 201);

    for (name, key) in [
        ("no characters", String::new()),
        ("256 characters", "k".repeat(256)),
        ("an umlaut", "schlüssel".into()),
    ] {
        siege.invalid(&format!("a key of {name}"), &keyed(&key, 1.0), "value_error");
    }
    for key in ["'; DROP TABLE action; --", "%00", "a b", &"k".repeat(255)] {
        siege.case(&format!("the key {key}"), &keyed(key, 1.0), 201);
    }
    parallel(&siege);
    siege.end(12);
}

/// 50 at once with one key and one body are one event; the same with 50 bodies is one event and 49 refusals.
fn parallel(siege: &Siege) {
    let send = |key: &'static str, value: &dyn Fn(u32) -> f64| -> Vec<(u16, Value)> {
        let requests: Vec<Request> = (0..50).map(|n| keyed(key, value(n))).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                requests.iter().map(|request| scope.spawn(|| siege.vigil.send(request))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).map(|a| (a.status, a.json())).collect()
        })
    };
    let answers = send("parallel", &|_| 7.0);
    assert!(answers.iter().all(|(status, _)| *status == 201), "one was refused: {answers:?}");
    let ids: BTreeSet<i64> = answers.iter().filter_map(|(_, answer)| answer["metric_id"].as_i64()).collect();
    assert_eq!(ids.len(), 1, "one key made several events");

    let answers = send("contended", &f64::from);
    let taken: BTreeSet<i64> =
        answers.iter().filter(|(s, _)| *s == 201).filter_map(|(_, a)| a["metric_id"].as_i64()).collect();
    let refused = answers.iter().filter(|(status, _)| *status == 422).count();
    assert_eq!((taken.len(), refused), (1, 49), "one body wins: {answers:?}");
}

#[test]
fn idempotency_keys_on_sqlite() {
    same_key(Options::default());
}

#[test]
fn idempotency_keys_on_postgres() {
    same_key(Options::default().database(Postgres::shared().database()));
}

/// A reading at this time; `sender` keeps series apart.
fn timed(sender: &str, value: f64, timestamp: Value) -> Request {
    let body = json!({"name": "cpu", "value": value, "timestamp": timestamp, "tags": {"host": "web-01", "sender": sender}});
    metric(body.to_string())
}

fn warned(answer: &Value, word: &str) -> bool {
    answer["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|text| text.as_str().is_some_and(|text| text.contains(word)))
}

#[test]
fn readings_with_a_time_of_their_own() {
    let mut siege = Siege::start(Options::default());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let first = siege.case("a timed reading", &timed("a", 1.0, json!(now)), 201).json();
    let again = siege.case("the same reading", &timed("a", 1.0, json!(now)), 201).json();
    assert_eq!(
        (&again["metric_id"], &again["status"]),
        (&first["metric_id"], &json!("duplicate")),
        "{again}"
    );
    let text = chrono_text(now);
    let written = siege.case("the same time as text", &timed("a", 1.0, json!(text)), 201).json();
    assert_eq!(written["status"], "duplicate", "{text} is the same time as {now}: {written}");
    let other = siege.case("another value", &timed("a", 2.0, json!(now)), 201).json();
    assert_eq!(other["metric_id"], first["metric_id"], "the first is kept: {other}");
    assert!(warned(&other, "the first is kept"), "{other}");
    let series = siege.case("another series", &timed("b", 1.0, json!(now)), 201).json();
    assert_eq!(series["status"], "stored", "{series}");

    let ahead = now + 3600;
    let first = siege.case("an hour ahead", &timed("c", 1.0, json!(ahead)), 201).json();
    assert!(warned(&first, "60 s ahead"), "{first}");
    let again = siege.case("an hour ahead again", &timed("c", 1.0, json!(ahead)), 201).json();
    assert_ne!(again["metric_id"], first["metric_id"], "its own time was not used, so it is no repeat");
    for (name, time) in [
        ("a word", json!("yesterday")),
        ("a date that is none", json!("2026-02-30T00:00:00Z")),
        ("a bool", json!(true)),
        ("a list", json!([])),
        ("year 10000", json!(253_402_300_800_i64)),
        ("1e308", json!(1e308)),
        ("text nan", json!("nan")),
        ("text inf", json!("inf")),
        ("a long text", json!("9".repeat(1000))),
    ] {
        let answer = siege.case(name, &timed("d", 1.0, time), 201).json();
        assert!(warned(&answer, "receive time"), "{name}: {answer}");
    }
    siege.end(16);
}

/// RFC 3339 with an offset of two hours.
fn chrono_text(seconds: u64) -> String {
    let (day, rest) = ((seconds + 7200) / 86_400, (seconds + 7200) % 86_400);
    // Days to a civil date, after Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
    let z = day + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (d, m) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let y = yoe + era * 400 + u64::from(m <= 2);
    format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}+02:00", rest / 3600, rest / 60 % 60, rest % 60)
}

#[test]
fn old_readings_are_stored_and_start_nothing() {
    let mut siege = Siege::start(Options::default());
    for (name, condition) in [
        ("typed", json!({"type": "metric_exceeds", "metric": "cpu", "threshold": 90})),
        ("cel", json!({"type": "cel", "expression": r#"metric.name == "cpu" && metric.value > 90.0"#})),
    ] {
        let policy =
            json!({"name": name, "condition": condition, "action": "restart", "auto_remediate": true});
        siege.vigil.post("/api/v1/policies", &policy).expect(201);
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (name, time) in [
        ("1970", json!(0)),
        ("1970 as text", json!("1970-01-01T00:00:01Z")),
        ("before 1970", json!(-1_000_000_000)),
        ("year 0", json!("0000-01-01")),
        ("ten minutes ago", json!(now - 600)),
    ] {
        let answer = siege.case(name, &timed(name, 99.0, time), 201).json();
        assert_eq!(
            (&answer["status"], &answer["actions_triggered"]),
            (&json!("stored"), &json!([])),
            "{name}: {answer}"
        );
        // What a condition asks of the last values has none; what it asks of the reading itself is stale.
        let violations = answer["violations"].as_array().unwrap();
        let seen: Vec<_> =
            violations.iter().map(|v| (v["policy_name"].as_str(), v["decision"].as_str())).collect();
        assert_eq!(seen, [(Some("cel"), Some("stale"))], "{name}: {answer}");
    }
    assert_eq!(siege.vigil.get_json("/api/v1/actions")["total"], 0, "an old reading made an action");
    siege.end(5);
}
