//! What is known of a policy before it does anything.

use serde_json::{Value, json};

use super::{policy, vigil_policy, words};
use crate::support::{Options, Request, Vigil};

fn scale(name: &str, target: &str, action: &str, condition: &Value) -> Value {
    policy(name, json!({"target": target, "action": action, "condition": condition, "auto_remediate": true}))
}

fn above(threshold: u32) -> Value {
    json!({"type": "metric_exceeds", "metric": "cpu", "threshold": threshold})
}

fn below(threshold: u32) -> Value {
    json!({"type": "metric_below", "metric": "cpu", "threshold": threshold})
}

fn said(answer: &Value) -> String {
    answer["warnings"].to_string()
}

#[test]
fn policies_that_get_in_each_other_s_way_are_named_when_saved() {
    let vigil = Vigil::start(Options::default());
    let make = |policy: &Value| vigil.post("/api/v1/policies", policy).expect(201).json();
    let up = make(&scale("up", "web-*", "scale-up", &above(80)));
    assert!(!said(&up).contains("oscillate") && !said(&up).contains("others act"), "alone: {up}");
    // A gap between: nothing to say of it. The targets are the same, which is said.
    let apart = make(&scale("apart", "*-1", "scale-down", &below(20)));
    assert!(!said(&apart).contains("oscillate") && said(&apart).contains("`up`"), "{apart}");
    let down = make(&scale("down", "*-1", "scale-down", &below(80)));
    assert!(said(&down).contains("oscillate with policy `up`") && said(&down).contains("cpu"), "{down}");
    let elsewhere = make(&scale("elsewhere", "db-*", "scale-down", &below(90)));
    assert!(!said(&elsewhere).contains("`up`"), "they have no target in common: {elsewhere}");
    let over_http = vigil.get_json("/api/v1/policies/down/analysis");
    let oscillates = &over_http["oscillates"][0];
    assert_eq!((&oscillates["policy_name"], &oscillates["other_action"]), (&json!("up"), &json!("scale-up")));
    let names: Vec<&str> = over_http["overlaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["policy_name"].as_str().unwrap())
        .collect();
    assert_eq!(
        (names.as_slice(), &over_http["overlaps_total"]),
        (["up", "apart", "elsewhere"].as_slice(), &json!(3))
    );
    // A change is answered like a new one.
    let path = "/api/v1/policies/down?replace=true";
    let changed = scale("down", "*-1", "scale-down", &below(10));
    let changed = vigil.send(&Request::new("PUT", path).json(&changed)).expect(200).json();
    assert!(!said(&changed).contains("oscillate"), "{changed}");
    let text = vigil_policy(Some(&vigil), &["analyze", "up"]).expect(0).out;
    assert!(text.starts_with("Actions per hour at worst: 60") && text.contains("apart"), "{text}");
    vigil.get("/api/v1/policies/nobody/analysis").expect(404);
    vigil_policy(Some(&vigil), &["analyze", "nobody"]).expect(4);
}

#[test]
fn the_worst_case_names_what_bounds_it_and_conditions_are_judged() {
    let vigil = Vigil::start(Options::default().config("[guardrails]\nmax_actions = 10_000_000\n"));
    let worst = |name: &str, more: Value| {
        vigil.post("/api/v1/policies", &policy(name, more)).expect(201);
        let analysis = vigil.get_json(&format!("/api/v1/policies/{name}/analysis"));
        (
            analysis["worst_case"].clone(),
            analysis["condition"].clone(),
            words(&analysis["warnings"]).join("; "),
        )
    };
    let (worst_case, condition, _) = worst("usual", json!({}));
    assert_eq!(worst_case, json!({"actions_per_hour": 60, "bound_by": "max_actions"}));
    assert_eq!(condition, "sometimes");
    let wide = json!({"max_actions": 100, "window": "5m", "blast_radius": {"max": 50}});
    let (worst_case, _, said) = worst("wide", json!({"auto_remediate": true, "guardrails": wide}));
    assert_eq!(worst_case, json!({"actions_per_hour": 600, "bound_by": "blast_radius"}));
    assert!(said.contains("600 actions in an hour, bound by blast_radius"), "{said}");
    let rare = |settle: &str| json!({"target": "web-1", "guardrails": {"cooldown": "30m", "settle": settle}});
    let (worst_case, _, _) = worst("rare", rare("40m"));
    assert_eq!(worst_case, json!({"actions_per_hour": 2, "bound_by": "cooldown"}));
    // Inside an incident the time to settle takes the cooldown's place.
    let (worst_case, _, _) = worst("sooner", rare("20m"));
    assert_eq!(worst_case, json!({"actions_per_hour": 3, "bound_by": "cooldown"}));
    let cel = |text: &str| json!({"condition": {"type": "cel", "expression": text}});
    let (_, condition, said) = worst("never", cel(r#"last("cpu") > 90.0 && last("cpu") < 80.0"#));
    assert_eq!(condition, "never");
    assert!(said.contains("can never be met"), "{said}");
    let (_, condition, said) = worst("always", cel(r#"last("cpu") > 50.0 || last("cpu") < 60.0"#));
    assert_eq!(condition, "always");
    assert!(said.contains("always met"), "{said}");
}
