//! What the plugin says about itself.

use vigil_plugin_sdk::serde_json::{Value, json};
use vigil_plugin_sdk::{Action, Description, Effects, Risk};

/// The schema that all actions share, with an action's own properties added.
fn schema(own: Value) -> Value {
    let mut properties = json!({
        "process": { "type": "string", "minLength": 1, "maxLength": 255,
            "description": "group:process, process or group; without it the target's name" },
        "timeout": { "type": "number", "exclusiveMinimum": 0, "maximum": 3600,
            "description": "seconds to wait for each process" },
        "graceful": { "type": "boolean", "description": "one process after another; true by default" },
        "reason": { "type": "string", "maxLength": 1000, "description": "for people; ignored" },
    });
    if let (Value::Object(all), Value::Object(own)) = (&mut properties, own) {
        all.extend(own);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// How many: absolute or relative, the latter no less than `least`.
fn numbers(least: i64) -> Value {
    schema(json!({
        "replicas": { "type": "integer", "minimum": 0, "maximum": 1000, "description": "processes wanted" },
        "increment": { "type": "integer", "minimum": least, "maximum": 1000,
            "description": "processes more or fewer than run now; not looked at where replicas is given" },
    }))
}

fn actions() -> [Action; 6] {
    let signal = json!({ "signal": { "enum": ["HUP", "USR1", "USR2"],
        "description": "reload in place: send this signal instead of stopping and starting" } });
    let plain = || schema(json!({}));
    let action = |name, title, text, risk, schema| {
        Action::new(name, title, Effects::Idempotent)
            .description(text)
            .risk(risk)
            .params(schema)
            .timeout_ms(120_000)
    };
    [
        action(
            "restart",
            "Restart",
            "Stops and starts a process, or what is not stopped of a group, and waits until it runs.",
            Risk::Medium,
            schema(signal),
        ),
        action("start", "Start", "Starts a process or a group and waits until it runs.", Risk::Low, plain()),
        action(
            "stop",
            "Stop",
            "Stops a process or a group and waits until it has stopped.",
            Risk::High,
            plain(),
        ),
        action(
            "scale",
            "Scale",
            "Starts or stops members of a group so that the number wanted runs, up to its numprocs.",
            Risk::Medium,
            numbers(-1000),
        ),
        action(
            "scale-up",
            "Scale up",
            "As scale, but stops nothing; by 1 unless said otherwise.",
            Risk::Low,
            numbers(1),
        ),
        action(
            "scale-down",
            "Scale down",
            "As scale, but starts nothing; by 1 unless said otherwise.",
            Risk::Medium,
            numbers(1),
        ),
    ]
}

pub(crate) fn description() -> Description {
    let summary = "Restarts, starts, stops and scales supervisord's processes";
    let plugin = Description::new("supervisor", env!("CARGO_PKG_VERSION"), summary)
        .connection("supervisor", "supervisord's XML-RPC interface: POST /RPC2");
    actions().into_iter().fold(plugin, Description::action)
}
