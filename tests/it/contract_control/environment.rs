//! Section 8: the seed's names are names of our keys, in the order of authority, and bad ones stop the start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;

use super::{call, limitless};
use crate::support::{Options, Vigil, temp_dir};

#[test]
fn the_seeds_names_take_effect() {
    let dir = temp_dir();
    let database = dir.path().join("seed.db");
    let options = Options::default()
        .rated()
        .env("DATABASE_URL", format!("sqlite+aiosqlite:///{}", database.display()))
        .env("LOG_LEVEL", "warning")
        .env("SERVICE_NAME", "seed")
        .env("RETRY_MAX_ATTEMPTS", "7")
        .env("RETRY_BACKOFF", "linear")
        .env("RETRY_BASE_DELAY", "0.5")
        .env("RETRY_MAX_DELAY", "30")
        .env("RATE_LIMIT_ENABLED", "no")
        .env("RATE_LIMIT_INGEST_REQUESTS", "150")
        .env("RATE_LIMIT_ACTIONS_WINDOW", "30")
        .env("POLICY_RUNNER_INTERVAL", "5")
        .env("POLICY_RUNNER_BATCH_SIZE", "50")
        .env("POLICY_RUNNER_ENABLED", "on")
        .env("AGENT_INTERVAL", "15")
        .env("REMEDIATOR_URL", "http://remediator:9100")
        .env("AUDIT_LOGGING_ENABLED", "0")
        .env("METRICS_ENDPOINT", "/internal/metrics")
        .env("ENVIRONMENT", "staging")
        .env("DEBUG", "")
        .env("POLICY_INTERVAL", "not ours");
    let vigil = Vigil::start(options);
    let settings = vigil.get_json("/api/v1/settings")["settings"].clone();
    for (pointer, expected) in [
        ("/log_level", json!("WARNING")),
        ("/environment", json!("staging")),
        ("/debug", json!(false)),
        ("/audit_logging_enabled", json!(false)),
        ("/agent_interval", json!(15)),
        ("/retry", json!({"max_attempts": 7, "backoff": "linear", "base_delay": 0.5, "max_delay": 30.0})),
        ("/rate_limit/enabled", json!(false)),
        ("/rate_limit/ingest_requests", json!(150)),
        ("/rate_limit/actions_period", json!(30)),
        ("/policy", json!({"enabled": true, "interval": 5, "batch_size": 50})),
        ("/remediation/remediator_url", json!("http://remediator:9100/remediate")),
    ] {
        assert_eq!(settings.pointer(pointer), Some(&expected), "{pointer} of {settings}");
    }
    assert!(database.exists(), "the database is where DATABASE_URL says");
    // The description of this build knows the path as it is without a setting; this server's own knows it as set.
    let raw = vigil.raw(b"GET /internal/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8_lossy(&raw);
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("requests_total"), "{text}");
    let described = vigil.get_json("/openapi.json");
    assert!(described["paths"]["/internal/metrics"].is_object() && described["paths"]["/metrics"].is_null());
    vigil.get("/metrics").expect(404);
    vigil.get("/api/v1/policies/none").expect(404);
    let line = vigil.log_lines().into_iter().find(|line| line["status_code"] == 404).expect("a warning");
    assert_eq!(line["service"], "seed", "{line}");
    assert!(!vigil.log().contains("Audit log entry") && !vigil.log().contains("\"INFO\""), "{}", vigil.log());
}

#[test]
fn metrics_can_be_switched_off() {
    let vigil = Vigil::start(limitless().env("METRICS_ENABLED", "false"));
    vigil.get("/metrics").expect(404);
    call(&vigil, "PUT", "/api/v1/settings", &json!({"settings": {"metrics_enabled": true}})).expect(200);
    vigil.get("/metrics").expect(200);
}

#[test]
fn the_order_of_authority() {
    let home = temp_dir();
    let yaml = home.path().join("collector.yaml");
    fs::write(&yaml, "retry:\n  max_attempts: 2\nagent_interval: 2\ngitopsd_interval: 2\nrate_limit: {requests: 2, period: 2}\n").unwrap();
    let server = |dotenv_mode: u32| {
        let options = Options::default()
            .config("[retry]\nmax_attempts = 3\n[agents]\ninterval = \"3s\"\ngitops_interval = \"3s\"\n[limits.rate]\nrequests = 3\n")
            .env("CONFIG_PATH", yaml.display().to_string())
            .env("AGENT_INTERVAL", "5")
            .env("GITOPSD_INTERVAL", "5")
            .env("VIGIL_AGENTS__INTERVAL", "6s");
        let mut options = options;
        options.no_wait = true;
        let mut vigil = Vigil::start(options);
        vigil.kill9();
        let dotenv = vigil.home().join(".env");
        let text = "# a comment\nexport RETRY_MAX_ATTEMPTS='4' \nAGENT_INTERVAL=4\nGITOPSD_INTERVAL=4 # here, too\nRATE_LIMIT_REQUESTS=\"4\"\n";
        fs::write(&dotenv, text).unwrap();
        fs::set_permissions(&dotenv, fs::Permissions::from_mode(dotenv_mode)).unwrap();
        vigil.start_again();
        vigil.wait_until_up();
        vigil
    };
    let vigil = server(0o600);
    let settings = vigil.get_json("/api/v1/settings")["settings"].clone();
    for (pointer, expected) in [
        ("/rate_limit/period", 2),
        ("/rate_limit/requests", 4),
        ("/retry/max_attempts", 4),
        ("/gitopsd_interval", 5),
        ("/agent_interval", 6),
    ] {
        assert_eq!(settings.pointer(pointer), Some(&json!(expected)), "{pointer} of {settings}");
    }
    let vigil = server(0o622);
    let settings = vigil.get_json("/api/v1/settings")["settings"].clone();
    assert_eq!(settings["retry"]["max_attempts"], 3, "others could have written it: {settings}");
    assert!(vigil.log().contains(".env is not read"), "and that is said:\n{}", vigil.log());
}

#[test]
fn bad_values_stop_the_start_and_are_named_at_once() {
    let bad = [
        ("COLLECTOR_PORT", "0"),
        ("LOG_LEVEL", "loud"),
        ("ENVIRONMENT", "moon"),
        ("DEBUG", "perhaps"),
        ("RETRY_MAX_ATTEMPTS", "many"),
        ("RETRY_BACKOFF", "never"),
        ("RATE_LIMIT_REQUESTS", "0"),
        ("RATE_LIMIT_PERIOD", "-1"),
        ("POLICY_RUNNER_INTERVAL", "0"),
        ("POLICY_RUNNER_BATCH_SIZE", "x"),
        ("AGENT_INTERVAL", "soon"),
        ("METRICS_ENABLED", "2"),
        ("METRICS_ENDPOINT", "metrics"),
        ("REMEDIATOR_URL", "remediator"),
        ("DATABASE_URL", "mysql://x"),
        ("REDIS_URL", "http://x"),
    ];
    let mut options = Options::default();
    for (name, value) in bad {
        options = options.env(name, value);
    }
    // The command line would outrank COLLECTOR_PORT; `config check` has none.
    options.no_wait = true;
    let mut vigil = Vigil::start(options.clone());
    let ended = vigil.wait_exit(Duration::from_secs(20)).expect("it does not start");
    assert!(!ended.success());
    let log = vigil.log();
    for (name, _) in bad.iter().filter(|(name, _)| *name != "COLLECTOR_PORT") {
        assert!(log.contains(&format!("({name})")), "{name} is not named:\n{log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}
