//! Policies and events of the rows, all of them healthy unless a row says otherwise.

use serde_json::{Value, json};

/// The metric that most rows send.
pub(crate) const METRIC: &str = "cpu_percent";

/// A policy with a typed condition.
pub(crate) fn exceeds(name: &str, metric: &str, target: &str) -> Value {
    json!({"name": name, "target": target, "action": "notify",
        "condition": {"type": "metric_exceeds", "metric": metric, "threshold": 90.0}})
}

/// A policy with a condition in CEL.
pub(crate) fn cel(name: &str, expression: &str) -> Value {
    json!({"name": name, "action": "notify", "condition": {"type": "cel", "expression": expression}})
}

/// A hundred on one metric, all of which read every event of it: half of them typed, half of them CEL.
pub(crate) fn hundred() -> Vec<Value> {
    (0..50)
        .flat_map(|n| {
            let text = format!(
                r#"metric.name == "{METRIC}" && metric.value > {}.0 && metric.tags["region"] == "eu-1""#,
                91 + n % 8
            );
            [exceeds(&format!("typed-{n}"), METRIC, "all"), cel(&format!("cel-{n}"), &text)]
        })
        .collect()
}

/// Ten thousand as an installation has them: most are about other metrics or other targets. Each event of
/// [`batch`] is read by one.
pub(crate) fn ten_thousand() -> Vec<Value> {
    (0..10_000)
        .map(|n: u32| {
            let name = format!("policy-{n}");
            match n {
                0..1_000 => exceeds(&name, METRIC, &target(n)),
                1_000..4_000 => exceeds(&name, METRIC, &format!("other-{n}")),
                _ => exceeds(&name, &format!("metric_{}", n % 500), "all"),
            }
        })
        .collect()
}

/// The name of one of the targets.
pub(crate) fn target(n: u32) -> String {
    format!("web-{n:04}")
}

/// One event about that target.
pub(crate) fn event(n: u32, value: f64) -> Value {
    json!({"name": METRIC, "value": value,
        "tags": {"host": target(n), "region": "us-east-1", "service_tier": "frontend"}})
}

/// A thousand events about a thousand targets.
pub(crate) fn batch(seed: u32) -> Vec<u8> {
    let events: Vec<Value> =
        (0..1_000).map(|n| event(n, f64::from((n * 7 + seed * 13) % 800) / 10.0)).collect();
    Value::from(events).to_string().into_bytes()
}
