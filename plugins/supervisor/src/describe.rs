//! What the plugin says about itself.

use vigil_plugin_sdk::serde_json::{Value, json};
use vigil_plugin_sdk::{Action, Description, Effects, Risk};

pub(crate) fn description() -> Description {
    let process = json!({ "type": "string", "minLength": 1, "maxLength": 255,
        "description": "group:process, process or group; without it the target's name" });
    let timeout = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 3600,
        "description": "seconds to wait for each process" });
    let graceful = json!({ "type": "boolean", "description": "one process after another; true by default" });
    let notes = json!({ "type": "string", "maxLength": 1000, "description": "for people; ignored" });
    let common = |more: Value| {
        let mut properties =
            json!({ "process": process, "timeout": timeout, "graceful": graceful, "reason": notes });
        if let (Value::Object(all), Value::Object(more)) = (&mut properties, more) {
            all.extend(more);
        }
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": properties, "additionalProperties": false })
    };
    let signal = json!({ "signal": { "enum": ["HUP", "USR1", "USR2"],
        "description": "reload in place: send this signal instead of stopping and starting" } });
    let numbers = |least: i64| {
        json!({
            "replicas": { "type": "integer", "minimum": 0, "maximum": 1000, "description": "processes wanted" },
            "increment": { "type": "integer", "minimum": least, "maximum": 1000,
                "description": "processes more or fewer than run now; not looked at where replicas is given" } })
    };
    let action = |name, title, text, risk, schema| {
        Action::new(name, title, Effects::Idempotent).description(text).risk(risk).params(schema)
    };
    Description::new(
        "supervisor",
        env!("CARGO_PKG_VERSION"),
        "Restarts, starts, stops and scales supervisord's processes",
    )
    .action(
        action(
            "restart",
            "Restart",
            "Stops and starts a process or a group and waits until it runs.",
            Risk::Medium,
            common(signal),
        )
        .timeout_ms(120_000),
    )
    .action(action(
        "start",
        "Start",
        "Starts a process or a group and waits until it runs.",
        Risk::Low,
        common(json!({})),
    ))
    .action(action(
        "stop",
        "Stop",
        "Stops a process or a group and waits until it has stopped.",
        Risk::High,
        common(json!({})),
    ))
    .action(action(
        "scale",
        "Scale",
        "Starts or stops members of a group so that the number wanted runs, up to its numprocs.",
        Risk::Medium,
        common(numbers(-1000)),
    ))
    .action(action(
        "scale-up",
        "Scale up",
        "As scale, but stops nothing; by 1 unless said otherwise.",
        Risk::Low,
        common(numbers(1)),
    ))
    .action(action(
        "scale-down",
        "Scale down",
        "As scale, but starts nothing; by 1 unless said otherwise.",
        Risk::Medium,
        common(numbers(1)),
    ))
    .connection("supervisor", "supervisord's XML-RPC interface: POST /RPC2")
}
