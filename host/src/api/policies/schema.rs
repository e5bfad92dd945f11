//! The JSON Schema of a policy file, for editors. It is of the reader's own lists of members, and says what an author should
//! write: the texts that the reader also takes for numbers and flags are in it, what it warns of is not forbidden.

use serde_json::{Map, Value, json};

use super::read::RAILS;
use crate::domain::approval::PEOPLE;
use crate::domain::flapping::MOST as FLAPS;
use crate::domain::ladder::{ATTEMPTS, STEPS, TRIES};
use crate::domain::pace::STEEPEST;
use crate::domain::policy::Severity;

/// The schema of a whole file.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Vigil policies",
        "anyOf": [{"type": "null"}, {"$ref": "#/$defs/policies"}, {
            "type": "object", "properties": {"policies": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/policies"}]}},
        }],
        "$defs": {
            "policies": {"type": "array", "items": {"$ref": "#/$defs/policy"}},
            "policy": policy(),
            "condition": condition(),
            "step": step(),
            "guardrails": guardrails(),
            "flag": {"description": "true or false", "anyOf": [{"type": "null"}, {"type": "boolean"},
                {"enum": [0, 1]}, {"type": "string"}]},
            "number": {"type": ["number", "string", "boolean"]},
            "tag": {"type": ["string", "null"], "minLength": 1, "maxLength": 255,
                "description": "A tag whose values divide the fleet into parts, such as zone"},
            "count": {"type": "integer", "minimum": 0, "maximum": u32::MAX},
            "duration": {"description": "Such as \"10m\", or seconds; at most 30 days",
                "anyOf": [{"type": "string"}, {"type": "number", "minimum": 0, "maximum": 2_592_000}]},
        },
    })
}

fn policy() -> Value {
    let severities = Severity::ALL.map(Severity::word);
    let text = |longest: u32, what: &str| json!({"type": "string", "minLength": 1, "maxLength": longest, "description": what});
    json!({
        "type": "object",
        "required": ["name", "action"],
        "anyOf": [{"required": ["condition"]}, {"required": ["match_metric", "threshold"]}],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^/]*$", "description": "Unique"},
            "description": {"type": ["string", "null"], "maxLength": 4096},
            "severity": {"enum": [severities[0], severities[1], severities[2], null]},
            "target": {"anyOf": [text(255, "all, a name, or a shell pattern with *"), {"type": "null"}]},
            "enabled": {"$ref": "#/$defs/flag"},
            "auto_remediate": {"$ref": "#/$defs/flag"},
            "mode": {"type": ["string", "null"], "description": "observe: report violations; approve: ask people before each action; auto: act within the guardrails"},
            "condition": {"$ref": "#/$defs/condition"},
            "clear": {"description": "When it is over; without it: when `condition` is not met",
                "anyOf": [{"$ref": "#/$defs/condition"}, {"type": "null"}]},
            "match_metric": {"type": "string", "minLength": 1},
            "threshold": {"$ref": "#/$defs/number"},
            "action": text(255, "The kind of action"),
            "params": {"type": ["object", "null"], "description": "Given to the plugin as they are"},
            "steps": {"type": ["array", "null"], "maxItems": STEPS, "items": {"$ref": "#/$defs/step"}},
            "guardrails": {"anyOf": [{"$ref": "#/$defs/guardrails"}, {"type": "null"}]},
            "approval": {"anyOf": [approval(), {"type": "null"}]},
            "cooldown": {"anyOf": [{"$ref": "#/$defs/duration"}, {"type": "null"}]},
        },
    })
}

fn approval() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "within": {"$ref": "#/$defs/duration"},
            "people": {"type": "integer", "minimum": 1, "maximum": PEOPLE},
            "not_author": {"type": "boolean", "description": "Whoever last changed the policy may not approve"},
        },
    })
}

fn condition() -> Value {
    let one = |kind: &str, members: Value| {
        let mut properties = members;
        properties["type"] = json!({"const": kind});
        let required: Vec<&String> =
            properties.as_object().map(|all| all.keys().collect()).unwrap_or_default();
        json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
    };
    let compared =
        || json!({"metric": {"type": "string", "minLength": 1}, "threshold": {"$ref": "#/$defs/number"}});
    let several =
        || json!({"conditions": {"type": "array", "maxItems": 256, "items": {"$ref": "#/$defs/condition"}}});
    json!({"oneOf": [
        one("metric_exceeds", compared()),
        one("metric_below", compared()),
        one("all", several()),
        one("any", several()),
        one("cel", json!({"expression": {"type": "string", "description": "CEL, such as avg(\"cpu\", duration(\"5m\")) > 90.0"}})),
    ]})
}

fn step() -> Value {
    json!({
        "type": "object", "required": ["action"], "additionalProperties": false,
        "properties": {
            "action": {"type": "string", "minLength": 1, "maxLength": 255, "description": "notify, as the last, tells a human"},
            "params": {"type": ["object", "null"]},
            "tries": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": TRIES}, {"type": "string"}, {"type": "null"}]},
            "settle": {"anyOf": [{"$ref": "#/$defs/duration"}, {"type": "null"}]},
            "attempts": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": ATTEMPTS}, {"type": "string"}, {"type": "null"}]},
            "timeout": {"anyOf": [{"$ref": "#/$defs/duration"}, {"type": "null"}], "description": "How long an attempt may take, at most an hour"},
        },
        "if": {"properties": {"action": {"const": "notify"}}},
        "then": {"properties": {"tries": {"type": "null"}, "settle": {"type": "null"}}},
    })
}

fn guardrails() -> Value {
    let of = |name: &str| match name {
        "max_actions" => json!({"$ref": "#/$defs/count"}),
        "breaker" => json!({"type": "integer", "minimum": 1, "maximum": 100}),
        "tries" => json!({"type": "integer", "minimum": 1, "maximum": TRIES}),
        "attempts" => json!({"type": "integer", "minimum": 1, "maximum": ATTEMPTS}),
        "blast_radius" => {
            json!({"type": "object", "minProperties": 1, "additionalProperties": false, "properties": {
            "percent": {"type": "integer", "minimum": 0, "maximum": 100}, "max": {"$ref": "#/$defs/count"},
            "per": {"$ref": "#/$defs/tag"}}})
        }
        "mass_failure" => json!({"type": "object", "additionalProperties": false, "properties": {
            "targets": {"type": "integer", "minimum": 1, "maximum": u32::MAX},
            "percent": {"type": "integer", "minimum": 1, "maximum": 100}, "quiet": {"$ref": "#/$defs/duration"},
            "per": {"$ref": "#/$defs/tag"}}}),
        "flapping" => json!({"type": "object", "additionalProperties": false, "properties": {
            "changes": {"type": "integer", "minimum": 2, "maximum": FLAPS}, "within": {"$ref": "#/$defs/duration"}}}),
        "ramp" => json!({"type": ["object", "null"], "additionalProperties": false, "properties": {
            "most": {"type": "integer", "minimum": 1, "maximum": STEEPEST}, "within": {"$ref": "#/$defs/duration"}}}),
        "group" => {
            json!({"type": ["object", "null"], "additionalProperties": false, "required": ["per"], "properties": {
            "per": {"type": "string", "minLength": 1, "maxLength": 255}, "max": {"type": "integer", "minimum": 1, "maximum": 1_000}}})
        }
        "effectiveness" => json!({"type": ["object", "null"], "additionalProperties": false, "properties": {
            "percent": {"type": "integer", "minimum": 1, "maximum": 100},
            "tries": {"type": "integer", "minimum": 1, "maximum": 1_000}, "within": {"$ref": "#/$defs/duration"}}}),
        "for" | "keep" | "cooldown" | "window" | "settle" | "timeout" | "relapse" | "rest"
        | "max_event_age" => {
            json!({"$ref": "#/$defs/duration"})
        }
        // Whatever the reader knows more of.
        _ => json!(true),
    };
    let properties: Map<String, Value> = RAILS.iter().map(|name| ((*name).to_owned(), of(name))).collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}
