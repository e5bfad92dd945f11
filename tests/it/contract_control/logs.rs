//! Section 7: log lines, and the metrics of policies and the queue.

use std::time::Duration;

use serde_json::{Value, json};

use super::{call, heat, limitless, make};
use crate::support::{Request, Vigil, wait_until};

fn lines(vigil: &Vigil, request: &str, message: &str) -> Vec<Value> {
    let of = |line: &Value| line["request_id"] == request && line["message"] == message;
    vigil.log_lines().into_iter().filter(of).collect()
}

/// The seed's defect 29: fields dropped, durations of 0, a 404 logged as an error of the database.
#[test]
fn a_request_leaves_its_lines() {
    let vigil = Vigil::start(limitless().env("SERVICE_NAME", "vigil-test"));
    for (id, request, status, level) in [
        ("r-good", Request::get("/api/v1/policies"), 200, "INFO"),
        ("r-gone", Request::get("/api/v1/policies/none"), 404, "WARNING"),
    ] {
        vigil.send(&request.header("X-Request-ID", id)).expect(status);
        let completed = lines(&vigil, id, "Request completed");
        assert_eq!(completed.len(), 1, "one line per request: {completed:?}");
        let line = &completed[0];
        assert_eq!((&line["level"], &line["service"]), (&json!(level), &json!("vigil-test")), "{line}");
        assert_eq!((&line["method"], &line["status_code"]), (&json!("GET"), &json!(status)), "{line}");
        assert!(line["duration_ms"].as_f64().is_some_and(|took| took > 0.0), "a real duration: {line}");
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        for member in ["logger", "message", "module", "function", "line", "path", "request_id"] {
            assert!(line.get(member).is_some(), "{member} of {line}");
        }
        let audit = lines(&vigil, id, "Audit log entry");
        assert_eq!(audit.len(), 1, "{audit:?}");
        assert!(audit[0]["duration_ms"].as_f64().is_some_and(|took| took > 0.0), "{audit:?}");
    }
    make(&vigil, "p", json!({"auto_remediate": true, "action": "nobody"}));
    heat(&vigil, "h", 95.0);
    wait_until(Duration::from_secs(10), "the action to fail", || {
        vigil.get_json("/api/v1/actions/status/failed")["total"] == 1
    });
    let made =
        vigil.log_lines().into_iter().find(|line| line["message"] == "Action created").expect("its line");
    for (member, expected) in
        [("policy_name", json!("p")), ("target", json!("h")), ("action", json!("nobody"))]
    {
        assert_eq!(made[member], expected, "{member} of {made}");
    }
    assert!(made["action_id"].is_i64() && made["event_id"].is_i64(), "{made}");
    let errors: Vec<Value> = vigil.log_lines().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.is_empty(), "nothing of this is an error: {errors:?}");
}

#[test]
fn metrics_name_policies_and_begin_at_zero() {
    let vigil = Vigil::start(limitless());
    make(&vigil, "p", json!({"auto_remediate": true}));
    let text = vigil.get("/metrics").expect(200).text();
    for series in [
        "vigil_policy_violations_total{policy_name=\"p\"} 0".to_owned(),
        "vigil_queue_length 0".to_owned(),
        "queue_length 0".to_owned(),
    ]
    .into_iter()
    .chain(
        ["violation", "ok", "no_data", "error"]
            .map(|result| format!("policy_evaluation_total{{policy_name=\"p\",result=\"{result}\"}} 0")),
    ) {
        assert!(text.lines().any(|line| line == series), "{series} is not there:\n{text}");
    }
    assert!(!text.contains("_created"), "no series of creation times");
    heat(&vigil, "h", 95.0);
    heat(&vigil, "h2", 5.0);
    assert!((vigil.metric("vigil_policy_violations_total{policy_name=\"p\"}") - 1.0).abs() < 0.1);
    assert!(vigil.metric("policy_evaluation_total{policy_name=\"p\",result=\"ok\"}") > 0.5);
    assert!(vigil.metric("policy_evaluation_total{policy_name=\"p\",result=\"violation\"}") > 0.5);
    let text = vigil.get("/metrics").expect(200).text();
    for status in ["pending", "running", "completed", "failed", "cancelled"] {
        let series = format!("actions_total{{action=\"custom\",status=\"{status}\",target=\"h\"}}");
        assert!(text.contains(&series), "{series} is not there");
    }
    let violations = text.lines().find(|line| line.starts_with("vigil_policy_violations_total{")).unwrap();
    assert_eq!(violations.matches('=').count(), 1, "exactly one label: {violations}");
}

#[test]
fn a_restarted_server_knows_its_policies_series() {
    let mut vigil = Vigil::start(limitless());
    make(&vigil, "p", json!({}));
    vigil.restart();
    wait_until(Duration::from_secs(2), "the series", || {
        vigil.get("/metrics").text().contains("vigil_policy_violations_total{policy_name=\"p\"} 0")
    });
}

/// The seed's defect 28: labels without bounds, requests counted twice.
#[test]
fn labels_are_bounded_and_a_request_counts_once() {
    const MANY: usize = 5_000;
    let vigil = Vigil::start(limitless());
    let once = "requests_total{endpoint=\"/api/v1/policies/{policy_name}\",method=\"GET\",status=\"404\"}";
    vigil.get("/api/v1/policies/none").expect(404);
    assert!((vigil.metric(once) - 1.0).abs() < 0.1, "{}", vigil.metric(once));
    let events: Vec<Value> = (0..MANY)
        .map(|at| json!({"name": format!("m{at}"), "value": 1, "tags": {"host": format!("h{at}")}}))
        .collect();
    vigil.post("/api/v1/ingest", &json!(events)).expect(201);
    for at in 0..MANY / 10 {
        vigil.get(&format!("/nowhere/{at}")).expect(404);
        call(&vigil, "PUT", &format!("/api/v1/policies/x{at}/enable"), &Value::Null).expect(404);
        vigil.post_json("/api/v1/actions", &json!({"target": format!("t{at}"), "action": "custom"}));
    }
    vigil.send(&Request::new("BREW", "/health"));
    let text = vigil.get("/metrics").expect(200).text();
    let count = |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
    assert!(count("ingest_total") <= 1_001, "{}", count("ingest_total"));
    assert!(count("actions_total") <= 201 * 5, "{}", count("actions_total"));
    assert!(count("requests_total") < 30, "{}", count("requests_total"));
    assert!(text.contains("endpoint=\"unmatched\"") && text.contains("method=\"other\""));
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
}
