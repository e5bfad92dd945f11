//! Policies and actions that say what cannot be.

use serde_json::{Value, json};

use super::{Siege, json_bytes};
use crate::support::{Options, Postgres, Request};

/// A policy that is right but for what is put into it.
fn with(member: &str, value: Value) -> Value {
    let condition = json!({"type": "metric_exceeds", "metric": "cpu", "threshold": 90});
    let mut policy = json!({"name": "p", "condition": condition, "action": "restart"});
    policy[member] = value;
    policy
}

fn condition(value: Value) -> Value {
    with("condition", value)
}

fn post(policy: &Value) -> Request {
    json_bytes("/api/v1/policies", policy.to_string())
}

/// Faults of members, by type and place.
fn members() -> Vec<(&'static str, Value, &'static str, Value)> {
    let rail = |name: &str, value: Value| with("guardrails", json!({name: value}));
    let at = |member: &str| json!(["body", member]);
    let in_rails = |name: &str| json!(["body", "guardrails", name]);
    vec![
        ("no name", with("name", json!(null)), "string_type", at("name")),
        ("an empty name", with("name", json!("")), "string_too_short", at("name")),
        ("a blank name", with("name", json!("  ")), "value_error", at("name")),
        ("a name of 256", with("name", json!("n".repeat(256))), "string_too_long", at("name")),
        ("a slash in a name", with("name", json!("a/b")), "value_error", at("name")),
        ("a control in a name", with("name", json!("a\u{8}b")), "value_error", at("name")),
        ("a number for a name", with("name", json!(7)), "string_type", at("name")),
        ("no such severity", with("severity", json!("fatal")), "value_error", at("severity")),
        ("a number for a severity", with("severity", json!(1)), "string_type", at("severity")),
        ("a broken pattern", with("target", json!("web-*[")), "value_error", at("target")),
        ("an empty target", with("target", json!("")), "string_too_short", at("target")),
        ("a number for a flag", with("enabled", json!(2)), "bool_parsing", at("enabled")),
        ("a word for a flag", with("auto_remediate", json!("maybe")), "bool_parsing", at("auto_remediate")),
        ("a list for a flag", with("enabled", json!([])), "bool_type", at("enabled")),
        ("an empty action", with("action", json!("")), "string_too_short", at("action")),
        ("an object for an action", with("action", json!({})), "string_type", at("action")),
        ("params as a list", with("params", json!([1])), "dict_type", at("params")),
        ("guardrails as a list", with("guardrails", json!([])), "dict_type", at("guardrails")),
        ("a condition as a text", condition(json!("cpu > 90")), "dict_type", at("condition")),
        ("a condition as a list", condition(json!([])), "dict_type", at("condition")),
        ("no such mode", with("mode", json!("yolo")), "value_error", at("mode")),
        ("nobody to approve", with("mode", json!("approve")), "value_error", at("mode")),
        ("clear as a text", with("clear", json!("cpu < 50")), "dict_type", at("clear")),
        ("equivalence", with("equivalence", json!("shop")), "not_supported_yet", at("equivalence")),
        (
            "effectiveness",
            rail("effectiveness", json!({"tries": 0})),
            "value_error",
            in_rails("effectiveness"),
        ),
        ("verify", with("verify", json!({})), "not_supported_yet", at("verify")),
        ("blast radius", rail("blast_radius", json!("10%")), "value_error", in_rails("blast_radius")),
        ("storm", rail("storm", json!({})), "not_supported_yet", in_rails("storm")),
        ("breaker", rail("breaker", json!(0)), "int_parsing", in_rails("breaker")),
        ("a ramp of everything", rail("ramp", json!({"most": 4_000})), "value_error", in_rails("ramp")),
        ("a group of nothing", rail("group", json!({"max": 1})), "value_error", in_rails("group")),
        ("no attempts", rail("attempts", json!(0)), "int_parsing", in_rails("attempts")),
        ("no time", rail("timeout", json!("0s")), "value_error", in_rails("timeout")),
        ("two hours", rail("timeout", json!("2h")), "value_error", in_rails("timeout")),
        ("ramp", rail("ramp", json!([1])), "value_error", in_rails("ramp")),
        ("opposites", rail("opposites", json!([])), "not_supported_yet", in_rails("opposites")),
        ("settle", rail("settle", json!("a while")), "value_error", in_rails("settle")),
        ("verdict", rail("verdict", json!(true)), "not_supported_yet", in_rails("verdict")),
        ("an unknown guardrail", rail("cooldwon", json!("5m")), "extra_forbidden", in_rails("cooldwon")),
        ("a hold of a word", rail("for", json!("forever")), "value_error", in_rails("for")),
        ("a negative cooldown", rail("cooldown", json!(-1)), "value_error", in_rails("cooldown")),
        ("a cooldown of nan", rail("cooldown", json!("nan")), "value_error", in_rails("cooldown")),
        ("a cooldown of inf", rail("cooldown", json!("inf")), "value_error", in_rails("cooldown")),
        ("a cooldown of years", rail("cooldown", json!("2y")), "value_error", in_rails("cooldown")),
        ("a cooldown of 1e308", rail("cooldown", json!(1e308)), "value_error", in_rails("cooldown")),
        ("a window of a list", rail("window", json!([])), "value_error", in_rails("window")),
        ("a negative count", rail("max_actions", json!(-1)), "int_parsing", in_rails("max_actions")),
        ("half a count", rail("max_actions", json!(1.5)), "int_parsing", in_rails("max_actions")),
        (
            "2^32 actions",
            rail("max_actions", json!(4_294_967_296_u64)),
            "int_parsing",
            in_rails("max_actions"),
        ),
        ("the seed's cooldown", with("cooldown", json!("soon")), "value_error", at("cooldown")),
        (
            "the seed's other cooldown",
            with("params", json!({"cooldown_seconds": -5})),
            "value_error",
            at("cooldown"),
        ),
        (
            "an unknown member of a condition",
            condition(json!({"type": "metric_exceeds", "metric": "m", "threshold": 1, "for": "5m"})),
            "extra_forbidden",
            json!(["body", "condition", "for"]),
        ),
        (
            "an unknown member deep in a condition",
            condition(
                json!({"type": "all", "conditions": [{"type": "any", "conditions": [{"type": "cel", "expression": "true", "x": 1}]}]}),
            ),
            "extra_forbidden",
            json!(["body", "condition", "conditions", 0, "conditions", 0, "x"]),
        ),
        (
            "a condition that reads nothing",
            condition(json!({"type": "cel", "expression": "1 < 2"})),
            "value_error",
            at("condition"),
        ),
    ]
}

/// Typed conditions that say nothing: 400, with a text that names the member.
fn typed() -> Vec<(&'static str, Value, &'static str)> {
    let exceeds = |threshold: Value| json!({"type": "metric_exceeds", "metric": "m", "threshold": threshold});
    let wide: Vec<Value> = (0..300).map(|_| exceeds(json!(1))).collect();
    vec![
        ("no type", json!({"metric": "m", "threshold": 1}), "type"),
        ("an unknown type", json!({"type": "custom"}), "custom"),
        ("a number for a type", json!({"type": 1}), "type"),
        ("no metric", json!({"type": "metric_exceeds", "threshold": 1}), "metric"),
        ("a blank metric", json!({"type": "metric_below", "metric": " ", "threshold": 1}), "metric"),
        ("no threshold", json!({"type": "metric_exceeds", "metric": "m"}), "threshold"),
        ("a word for a threshold", exceeds(json!("high")), "threshold"),
        ("a threshold of nan", exceeds(json!("nan")), "threshold"),
        ("a threshold of inf", exceeds(json!("-Infinity")), "threshold"),
        ("a threshold of 1e400", exceeds(json!("1e400")), "threshold"),
        ("a list for a threshold", exceeds(json!([1])), "threshold"),
        ("no conditions", json!({"type": "all"}), "conditions"),
        ("an object for conditions", json!({"type": "any", "conditions": {}}), "conditions"),
        ("a number among conditions", json!({"type": "any", "conditions": [1]}), "object"),
        ("a number for an expression", json!({"type": "cel", "expression": 1}), "expression"),
        ("300 members", json!({"type": "all", "conditions": wide}), "256"),
    ]
}

/// Expressions that do not compile, or cost too much: 422 with line and column.
fn expressions() -> Vec<(&'static str, String)> {
    let nested = "[1].all(a, ".repeat(7) + "last(\"m\") > 1.0" + &")".repeat(7);
    vec![
        ("an empty expression", String::new()),
        ("a broken expression", "last(\"m\") >".into()),
        ("an open text", "last(\"m".into()),
        ("an unknown name", "cpu > 90.0".into()),
        ("an unknown function", "system(\"m\") > 1.0".into()),
        ("a number", "last(\"m\")".into()),
        ("text and double", "last(\"m\") > \"90\"".into()),
        ("an assignment", "last(\"m\") = 1.0".into()),
        ("a script", "'; DROP TABLE policy; --".into()),
        ("a reading of any name", "metric.value > 90.0".into()),
        ("1,500 terms", vec!["last(\"m\") > 1.0"; 1_500].join(" || ")),
        ("2,000 members", format!("target{} == 1", ".labels".repeat(2_000))),
        ("200 parentheses", format!("{}last(\"m\") > 1.0{}", "(".repeat(200), ")".repeat(200))),
        ("1,000 negations", format!("{}(last(\"m\") > 1.0)", "!".repeat(1_000))),
        ("1,000 lists", format!("{}{} == []", "[".repeat(1_000), "]".repeat(1_000))),
        ("nested quantifiers", nested),
        ("a regex bomb", "target.name.matches(\"((a{1000}){1000}){1000}\") && last(\"m\") > 1.0".into()),
        ("a broken regex", "target.name.matches(\"(\") && last(\"m\") > 1.0".into()),
        ("5 KiB", format!("last(\"{}\") > 1.0", "m".repeat(5_000))),
        ("a NUL escape", "last(\"a\\u0000\") > 1.0 && ".into()),
        ("a second line", "last(\"m\") > 1.0 &&\n  nonsense".into()),
    ]
}

fn every_policy(options: Options) {
    let mut siege = Siege::start(options);
    for (name, policy, kind, loc) in members() {
        let fault = siege.invalid(name, &post(&policy), kind);
        assert_eq!(fault["loc"], loc, "{name}: {fault}");
    }
    for (name, value, word) in typed() {
        let answer = siege.case(name, &post(&condition(value)), 400).json();
        let text = answer["detail"].as_str().unwrap_or_default();
        let said = text.starts_with("Invalid condition configuration: ") && text.contains(word);
        assert!(said, "{name}: {text:?} does not name {word}");
    }
    for (name, expression) in expressions() {
        let policy = condition(json!({"type": "cel", "expression": expression}));
        let fault = siege.invalid(name, &post(&policy), "cel_invalid");
        let (line, column) = (fault["ctx"]["line"].as_u64(), fault["ctx"]["column"].as_u64());
        assert!(line.is_some() && column.is_some(), "{name}: no line and column in {fault}");
        if name == "a second line" {
            assert_eq!(line, Some(2), "{name}: {fault}");
        }
    }
    for text in [r#"{"name":"a\u0000b"}"#, "{\"name\":", r#"{"name":"p","condition":{"threshold":NaN}}"#] {
        siege.invalid(text, &json_bytes("/api/v1/policies", text), "json_invalid");
    }
    siege.invalid("no members", &post(&json!({})), "missing");
    siege.invalid("a list", &post(&json!([])), "model_attributes_type");
    assert_eq!(siege.vigil.get_json("/api/v1/policies")["total"], 0, "a refused policy was kept");
    duplicates(&mut siege);
    siege.end(85);
}

fn duplicates(siege: &mut Siege) {
    let odd = "ops: 'q' \"d\" \\ % _ ; -- 😀";
    siege.case("an odd name", &post(&with("name", json!(odd))), 201);
    let answer = siege.case("its name again", &post(&with("name", json!(format!("  {odd} ")))), 400).json();
    assert_eq!(answer["detail"], format!("Policy '{odd}' already exists"), "{answer}");
    let policy = with("vlaue", json!(1));
    let made = siege.case("an unknown member", &post(&policy), 201).json();
    assert_eq!(made["warnings"][0], "unknown member `vlaue` is ignored", "{made}");
    for (name, body) in [
        ("a bad severity", json!({"severity": "fatal"})),
        ("a bad target", json!({"target": "a*["})),
        ("a bad flag", json!({"enabled": "maybe"})),
        ("bad params", json!({"params": []})),
    ] {
        let request = Request::new("PUT", "/api/v1/policies/p").json(&body);
        siege.case(&format!("PUT with {name}"), &request, 422);
    }
    let request = Request::new("PUT", "/api/v1/policies/p?replace=true").json(&json!({"action": "restart"}));
    siege.invalid("PUT of half a policy", &request, "missing");
}

#[test]
fn policies_on_sqlite() {
    every_policy(Options::default());
}

#[test]
fn policies_on_postgres() {
    every_policy(Options::default().database(Postgres::shared().database()));
}

#[test]
fn actions() {
    let mut siege = Siege::start(Options::default());
    let with = |member: &str, value: Value| {
        let mut action = json!({"target": "web-01", "action": "restart"});
        action[member] = value;
        json_bytes("/api/v1/actions", action.to_string())
    };
    for (member, value, kind) in [
        ("target", json!(null), "string_type"),
        ("target", json!(""), "string_too_short"),
        ("target", json!(" "), "value_error"),
        ("target", json!("a\u{1b}"), "value_error"),
        ("target", json!("t".repeat(256)), "string_too_long"),
        ("action", json!(5), "string_type"),
        ("action", json!(""), "string_too_short"),
        ("action", json!("a".repeat(256)), "string_too_long"),
        ("status", json!("queued"), "value_error"),
        ("priority", json!("urgent"), "value_error"),
        ("priority", json!(1), "string_type"),
        ("queue_immediately", json!("maybe"), "bool_parsing"),
        ("params", json!([]), "dict_type"),
        ("details", json!({}), "string_type"),
        ("details", json!("d".repeat(4097)), "string_too_long"),
        ("namespace", json!(""), "string_too_short"),
    ] {
        let fault =
            siege.invalid(&format!("{member} {}", value.to_string().len()), &with(member, value), kind);
        assert_eq!(fault["loc"], json!(["body", member]), "{fault}");
    }
    siege.invalid("no kind", &json_bytes("/api/v1/actions", r#"{"target":"a"}"#), "missing");
    siege.invalid(
        "a NUL",
        &json_bytes("/api/v1/actions", r#"{"target":"a\u0000","action":"b"}"#),
        "json_invalid",
    );
    let made = siege.case("a held action", &with("priority", json!(null)), 201).json();
    let path = |verb: &str| format!("/api/v1/actions/{}/{verb}", made["action_id"]);
    let long = Request::new("PUT", &path("cancel")).json(&json!({"reason": "r".repeat(501)}));
    siege.invalid("a long reason", &long, "string_too_long");
    let verdict = Request::post(&path("resolve"), &json!({"outcome": "maybe"}));
    siege.invalid("no such outcome", &verdict, "value_error");
    siege.case("nothing to resolve", &Request::post(&path("resolve"), &json!({"outcome": "completed"})), 400);
    siege.case("cancelled", &Request::new("PUT", &path("cancel")), 200);
    siege.case("cancelled twice", &Request::new("PUT", &path("cancel")), 400);
    siege.case("queued though cancelled", &Request::new("POST", &path("queue")), 400);
    siege.end(24);
}
