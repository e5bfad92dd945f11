//! Rows 26 to 29: what is answered, kept, merged, refused.

use serde_json::{Value, json};

use super::{call, limitless, on_both};
use crate::support::{Options, Vigil};

on_both!(settings_are_kept_and_merged, what_cannot_be_is_refused);

const PATH: &str = "/api/v1/settings";

#[track_caller]
fn put(vigil: &Vigil, settings: &Value) -> Value {
    call(vigil, "PUT", PATH, &json!({"settings": settings})).expect(200).json()
}

/// The defaults of the contract.
fn defaults() -> Value {
    json!({
        "log_level": "INFO", "environment": "development", "debug": false, "metrics_enabled": true,
        "audit_logging_enabled": true, "agent_interval": 10, "gitopsd_interval": 30,
        "remediation": {"remediator_url": "http://127.0.0.1:8081/remediate", "max_concurrent": null,
            "task_queue_size": null, "interval": null},
        "retry": {"max_attempts": 3, "backoff": "exponential", "base_delay": 1.0, "max_delay": 60.0},
        "rate_limit": {"enabled": true, "requests": 100, "ingest_requests": 200, "actions_requests": 50, "period": 60,
            "ingest_period": 60, "actions_period": 60},
        "policy": {"enabled": true, "interval": 30, "batch_size": 100},
    })
}

/// The seed's defect 17.
fn settings_are_kept_and_merged(options: Options) {
    let mut vigil = Vigil::start(options);
    let mut expected = defaults();
    expected["rate_limit"]["enabled"] = json!(false);
    let fresh = vigil.get_json(PATH);
    assert_eq!(fresh, json!({"settings": expected, "updated_at": null, "source": "defaults"}));
    let first =
        put(&vigil, &json!({"retry": {"backoff": "linear", "base_delay": "2"}, "log_level": "warning"}));
    expected["retry"]["backoff"] = json!("linear");
    expected["retry"]["base_delay"] = json!(2.0);
    expected["log_level"] = json!("WARNING");
    assert_eq!(first["settings"], expected);
    assert_eq!(
        (&first["success"], &first["message"], &first["reload_applied"]),
        (&json!(true), &json!("Settings updated successfully"), &json!(true)),
        "{first}"
    );
    let second = put(
        &vigil,
        &json!({"retry": {"max_attempts": 5.0, "backoff": null}, "rate_limit": {"period": 30}, "policy": {"enabled": "off"},
            "remediation": {"max_concurrent": 3}, "nonsense": 1, "retry2": {}, "debug": null}),
    );
    expected["retry"]["max_attempts"] = json!(5);
    for window in ["period", "ingest_period", "actions_period"] {
        expected["rate_limit"][window] = json!(30);
    }
    expected["policy"]["enabled"] = json!(false);
    expected["remediation"]["max_concurrent"] = json!(3);
    assert_eq!(second["settings"], expected, "earlier overrides are kept");
    let warnings = second["warnings"].to_string();
    assert!(warnings.contains("settings.nonsense") && warnings.contains("settings.retry2"), "{warnings}");
    let shown = vigil.get_json(PATH);
    assert_eq!((&shown["settings"], &shown["source"]), (&expected, &json!("database")));
    assert_eq!(shown["updated_at"], second["updated_at"]);
    vigil.restart();
    assert_eq!(vigil.get_json(PATH), shown, "they outlive a restart");
    let made = vigil.post_json("/api/v1/actions", &json!({"target": "t", "action": "custom"}));
    let action = vigil.get_json(&format!("/api/v1/actions/{}", made["action_id"]));
    assert_eq!(action["max_attempts"], 5, "and are in force after it");
    let reset = call(&vigil, "DELETE", PATH, &Value::Null).expect(200).json();
    expected = defaults();
    expected["rate_limit"]["enabled"] = json!(false);
    assert_eq!(
        (&reset["message"], &reset["settings"]),
        (&json!("Settings reset to defaults"), &expected),
        "{reset}"
    );
    assert_eq!(vigil.get_json(PATH), fresh);
}

fn what_cannot_be_is_refused(options: Options) {
    let vigil = Vigil::start(options);
    put(&vigil, &json!({"retry": {"max_delay": 5}}));
    let before = vigil.get_json(PATH);
    for (settings, place, kind) in [
        (json!({"log_level": "LOUD"}), "log_level", "enum"),
        (json!({"log_level": 7}), "log_level", "string_type"),
        (json!({"environment": "moon"}), "environment", "enum"),
        (json!({"debug": "perhaps"}), "debug", "bool_parsing"),
        (json!({"debug": []}), "debug", "bool_type"),
        (json!({"agent_interval": 0.5}), "agent_interval", "greater_than_equal"),
        (json!({"gitopsd_interval": 3601}), "gitopsd_interval", "less_than_equal"),
        (json!({"agent_interval": "NaN"}), "agent_interval", "finite_number"),
        (json!({"retry": {"max_attempts": 0}}), "max_attempts", "greater_than_equal"),
        (json!({"retry": {"max_attempts": 11}}), "max_attempts", "less_than_equal"),
        (json!({"retry": {"max_attempts": 1.5}}), "max_attempts", "int_parsing"),
        (json!({"retry": {"max_attempts": {}}}), "max_attempts", "int_type"),
        (json!({"retry": {"backoff": "never"}}), "backoff", "enum"),
        (json!({"retry": {"base_delay": 0}}), "base_delay", "greater_than_equal"),
        (json!({"retry": {"max_delay": 301}}), "max_delay", "less_than_equal"),
        (json!({"retry": 5}), "retry", "dict_type"),
        (json!({"rate_limit": {"requests": 10_001}}), "requests", "less_than_equal"),
        (json!({"rate_limit": {"period": 0}}), "period", "greater_than_equal"),
        (json!({"policy": {"interval": 0}}), "interval", "greater_than_equal"),
        (json!({"policy": {"batch_size": 1001}}), "batch_size", "less_than_equal"),
        (json!({"remediation": {"max_concurrent": 101}}), "max_concurrent", "less_than_equal"),
        (json!({"remediation": {"task_queue_size": 9}}), "task_queue_size", "greater_than_equal"),
        (json!({"remediation": {"remediator_url": "ftp://x"}}), "remediator_url", "value_error"),
        (json!({"remediation": {"remediator_url": "http://"}}), "remediator_url", "value_error"),
    ] {
        let refused = call(&vigil, "PUT", PATH, &json!({"settings": settings})).expect(422).json();
        let fault = &refused["detail"][0];
        assert_eq!(fault["type"], kind, "{settings}: {refused}");
        assert_eq!(fault["loc"].as_array().unwrap().last().unwrap(), place, "{settings}: {refused}");
        assert_eq!(fault["loc"][1], "settings", "{refused}");
    }
    // The merged values decide: 5 s was said before.
    let crossed =
        call(&vigil, "PUT", PATH, &json!({"settings": {"retry": {"base_delay": 6}}})).expect(422).json();
    assert!(crossed["detail"].as_str().is_some_and(|text| text.contains("max_delay")), "a string: {crossed}");
    for body in [json!({}), json!([]), json!({"settings": 7}), json!({"settings": null})] {
        assert_eq!(call(&vigil, "PUT", PATH, &body).status, 422, "{body}");
    }
    let many = json!({"settings": {"log_level": "x", "retry": {"max_attempts": 0, "base_delay": 0}}});
    let faults = call(&vigil, "PUT", PATH, &many).expect(422).json();
    assert_eq!(faults["detail"].as_array().map(Vec::len), Some(3), "all at once: {faults}");
    assert_eq!(vigil.get_json(PATH), before, "nothing of it was taken");
}

#[test]
fn the_schema_describes_what_is_taken() {
    let vigil = Vigil::start(limitless());
    let schema = vigil.get_json("/api/v1/settings/schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let settings = vigil.get_json(PATH)["settings"].clone();
    assert!(validator.is_valid(&settings), "the settings are of their schema: {settings}");
    for wrong in [json!({"retry": {"max_attempts": 11}}), json!({"log_level": "LOUD"}), json!({"debug": "x"})]
    {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
    assert_eq!(schema["properties"]["retry"]["properties"]["max_attempts"]["default"], 3, "{schema}");
}

#[test]
fn production_is_not_relaxed_over_http() {
    let mut vigil = Vigil::start(limitless().env("ENVIRONMENT", "production"));
    let inject = |vigil: &Vigil| vigil.post("/api/v1/ui/queue/inject-tasks", &json!({})).status;
    let relax = json!({"settings": {"environment": "development"}});
    assert_eq!(inject(&vigil), 403);
    let refused = call(&vigil, "PUT", PATH, &relax).expect(422).json();
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "settings", "environment"]), "{refused}");
    put(&vigil, &json!({"environment": "production", "agent_interval": 20}));
    vigil.restart();
    assert_eq!(vigil.get_json(PATH)["settings"]["environment"], "production");

    let vigil = Vigil::start(limitless());
    assert_eq!(inject(&vigil), 200);
    put(&vigil, &json!({"environment": "production", "agent_interval": 20}));
    assert_eq!(inject(&vigil), 403, "set to production over HTTP");
    call(&vigil, "PUT", PATH, &relax).expect(422);
    let reset = call(&vigil, "DELETE", PATH, &Value::Null).expect(200).json();
    assert_eq!(reset["settings"]["environment"], "production", "not by a reset, either: {reset}");
    assert_eq!(reset["settings"]["agent_interval"], 10, "{reset}");
    assert_eq!(inject(&vigil), 403);
}
