//! Random policies with every guardrail there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{METRICS, Size, asked};
use crate::domain::guardrails::{Everywhere, Guardrails};
use crate::domain::opposites::Opposites;
use crate::domain::pace::{Budget, Effectiveness, Group, Plugins, Ramp};
use crate::domain::policy::Spec;
use crate::pipeline::model::scene::Random;

/// What all share; of what people do a back-test does not know the kind, so theirs has no opposite.
pub(super) fn everywhere() -> Everywhere {
    let pairs = [("drain".to_owned(), "scale".to_owned())];
    let opposites = Arc::new(Opposites::new(&pairs, Duration::from_mins(3)));
    let budget = Budget { max_actions: 12, window: Duration::from_mins(2) };
    let plugins = Plugins::new(BTreeMap::from([("scaler".to_owned(), budget)]));
    plugins.route(|kind, _| (kind == "scale").then(|| "scaler".to_owned()));
    let (max_actions, max_retries, window) = (40, 6, Duration::from_mins(10));
    Everywhere { max_actions, window, max_retries, opposites, plugins: Arc::new(plugins) }
}

fn condition(random: &mut Random) -> Value {
    let metric = METRICS[random.below(4) as usize];
    let threshold = 70 + random.below(25);
    match random.below(8) {
        0 | 1 => json!({"type": "metric_exceeds", "metric": metric, "threshold": threshold}),
        2 => json!({"type": "metric_below", "metric": metric, "threshold": 3 + random.below(5)}),
        3 => {
            json!({"type": "cel", "expression": format!("avg(\"{metric}\", duration(\"2m\")) > {threshold}.0")})
        }
        4 => json!({"type": "cel", "expression": format!(
            "quantile(\"{metric}\", 0.9, duration(\"90s\")) > {threshold}.0 && changes(\"cpu\", duration(\"1m\")) >= 1.0")}),
        5 => json!({"type": "cel", "expression": format!("absent(\"{metric}\", duration(\"45s\"))")}),
        6 => json!({"type": "cel", "expression": format!(
            "last(\"{metric}\") > {threshold}.0 && last(\"cpu\") > 50.0")}),
        _ => json!({"type": "cel", "expression": format!(
            "zscore(\"{metric}\", duration(\"3m\")) > 2.5 || rate(\"errors\", duration(\"1m\")) > 4.0")}),
    }
}

pub(super) fn policy(number: u64, size: &Size, random: &mut Random) -> Spec {
    let target = match random.below(4) {
        0 => "*".to_owned(),
        1 => format!("web-{}", random.below(size.targets)),
        2 => format!("web-{}*", random.below(10)),
        _ => format!("web-?{}", random.below(10)),
    };
    let steps = match random.below(3) {
        0 => json!([]),
        1 => json!([{"action": "scale", "params": {"by": 1}, "tries": 2}, {"action": "notify"}]),
        _ => json!([{"action": "drain", "settle": "20s"}]),
    };
    let guardrails = json!({
        "for": format!("{}s", [0, 0, 15, 40][random.below(4) as usize]),
        "cooldown": format!("{}s", random.below(240)),
        "settle": format!("{}s", 5 + random.below(50)),
        "max_actions": 1 + random.below(8),
        "window": "10m",
        "relapse": "5m",
        "blast_radius": if random.below(3) == 0 { json!({"percent": 30, "max": 8}) } else { json!({"max": 4 + random.below(12)}) },
        "mass_failure": {"targets": 5 + random.below(6), "percent": 50 + random.below(50), "quiet": "1m"},
        "flapping": {"changes": 2 + random.below(5), "within": "8m"},
        "keep": format!("{}s", [0, 0, 10][random.below(3) as usize]),
        "breaker": 2 + random.below(4),
        "rest": "3m",
        "max_event_age": "2m",
    });
    let mut guardrails: Guardrails = serde_json::from_value(guardrails).unwrap();
    guardrails.blast_radius.per = (random.below(3) == 0).then(|| "zone".to_owned());
    let most = u32::try_from(random.below(4)).unwrap() + 1;
    guardrails.ramp = (random.below(4) == 0).then(|| Ramp { most, within: Duration::from_mins(4) });
    guardrails.group = (random.below(6) == 0).then(|| Group { per: "zone".to_owned(), max: most });
    let asked = Effectiveness { percent: 60, tries: 2, within: Duration::from_mins(9) };
    guardrails.effectiveness = (random.below(3) == 0).then_some(asked);
    Spec {
        name: format!("policy-{number:03}"),
        description: String::new(),
        severity: crate::domain::policy::Severity::Warning,
        target,
        mode: asked::mode(random),
        condition: condition(random),
        clear: (random.below(4) == 0).then(|| json!({"type": "cel", "expression": "last(\"cpu\") < 40.0"})),
        action: "restart".to_owned(),
        params: serde_json::Map::from_iter([("n".to_owned(), json!(number))]),
        steps: serde_json::from_value(steps).unwrap(),
        guardrails,
        approval: asked::TERMS,
    }
}
