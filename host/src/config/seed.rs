//! The seed project's names: its environment variables, its `.env`, and the keys of the YAML file at `CONFIG_PATH`.
//! Each is another name for one of our keys.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::Value;

use super::problem::Problem;
use super::sources::{Layer, nest};

/// Names and values.
type Variables = BTreeMap<String, String>;

/// Where the seed looks if `CONFIG_PATH` is not set.
const CONFIG_PATH: &str = "configs/collector.yaml";

/// How a value is written under the seed's name.
#[derive(Clone, Copy)]
enum Form {
    /// As it is.
    Text,
    /// A number.
    Number,
    /// A number of seconds.
    Seconds,
    /// A word for yes or no.
    Flag,
    /// A database URL, perhaps with a driver's name in it.
    Database,
    /// The port of our address.
    Port,
}

/// The seed's name, our key, how it is written.
const NAMES: [(&str, &str, Form); 34] = [
    ("DATABASE_URL", "database.url", Form::Database),
    ("REDIS_URL", "redis.url", Form::Text),
    ("COLLECTOR_PORT", "server.listen", Form::Port),
    ("CORS_ORIGINS", "server.allowed_origins", Form::Text),
    ("REMEDIATOR_URL", "remediation.url", Form::Text),
    ("REMEDIATION_REMEDIATOR_URL", "remediation.url", Form::Text),
    ("AGENT_INTERVAL", "agents.interval", Form::Seconds),
    ("GITOPSD_INTERVAL", "agents.gitops_interval", Form::Seconds),
    ("SERVICE_NAME", "log.service", Form::Text),
    ("LOG_LEVEL", "log.level", Form::Text),
    ("API_TITLE", "api.title", Form::Text),
    ("API_DESCRIPTION", "api.description", Form::Text),
    ("API_VERSION", "api.version", Form::Text),
    ("ENVIRONMENT", "server.environment", Form::Text),
    ("DEBUG", "server.debug", Form::Flag),
    ("RETRY_MAX_ATTEMPTS", "retry.max_attempts", Form::Number),
    ("RETRY_BACKOFF", "retry.backoff", Form::Text),
    ("RETRY_BASE_DELAY", "retry.base_delay", Form::Seconds),
    ("RETRY_MAX_DELAY", "retry.max_delay", Form::Seconds),
    ("RATE_LIMIT_ENABLED", "limits.rate.enabled", Form::Flag),
    ("RATE_LIMIT_REQUESTS", "limits.rate.requests", Form::Number),
    ("RATE_LIMIT_PERIOD", "limits.rate.period", Form::Seconds),
    ("RATE_LIMIT_INGEST_REQUESTS", "limits.rate.ingest_requests", Form::Number),
    ("RATE_LIMIT_INGEST_WINDOW", "limits.rate.ingest_period", Form::Seconds),
    ("RATE_LIMIT_ACTIONS_REQUESTS", "limits.rate.actions_requests", Form::Number),
    ("RATE_LIMIT_ACTIONS_WINDOW", "limits.rate.actions_period", Form::Seconds),
    ("AUDIT_LOGGING_ENABLED", "log.audit", Form::Flag),
    ("METRICS_ENABLED", "metrics.enabled", Form::Flag),
    ("METRICS_ENDPOINT", "metrics.path", Form::Text),
    ("POLICY_RUNNER_ENABLED", "policies.runner", Form::Flag),
    ("POLICY_RUNNER_INTERVAL", "policies.tick", Form::Seconds),
    ("POLICY_RUNNER_BATCH_SIZE", "policies.batch_size", Form::Number),
    ("POLICY_ENABLED", "policies.runner", Form::Flag),
    ("POLICY_INTERVAL", "policies.tick", Form::Seconds),
];
/// Names of [`NAMES`] that only the YAML file has: in an environment they could mean anything.
const YAML_ONLY: [&str; 3] = ["REMEDIATION_REMEDIATOR_URL", "POLICY_ENABLED", "POLICY_INTERVAL"];
/// Names whose URL is put together from parts.
const PARTS: [&str; 7] =
    ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME", "REDIS_HOST", "REDIS_PORT"];

/// Lays the values of `variables` over `merged`; `from` stands before their names wherever they are named.
pub(super) fn layers(mut merged: Figment, variables: &Variables, from: &str) -> Figment {
    let built = [("DATABASE_URL", database_url(variables)), ("REDIS_URL", redis_url(variables))];
    for (name, url) in built {
        let key = if name == "REDIS_URL" { "redis.url" } else { "database.url" };
        let unset = merged.extract_inner::<String>(key).is_ok_and(|url| url.is_empty());
        if let (Some((part, url)), None, true) = (url, set(variables, name), unset) {
            merged = merged.merge(Layer { name: format!("{from}{part}"), dict: nest(key, Value::from(url)) });
        }
    }
    for (name, key, form) in NAMES {
        if from.is_empty() && YAML_ONLY.contains(&name) {
            continue;
        }
        let Some(text) = set(variables, name) else { continue };
        let value = value(&merged, text, form);
        merged = merged.merge(Layer { name: format!("{from}{name}"), dict: nest(key, value) });
    }
    merged
}

fn set<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// The text in the form our key has. What can't be is left as it is, and named by whoever reads the key.
fn value(merged: &Figment, text: &str, form: Form) -> Value {
    let as_it_is = || Value::from(text);
    match form {
        Form::Text => as_it_is(),
        Form::Number => text.parse::<u64>().map_or_else(|_| as_it_is(), Value::from),
        Form::Seconds => match text.parse::<f64>() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range by the guard"
            )]
            Ok(seconds) if (0.0..1e9).contains(&seconds) => {
                Value::from(format!("{}us", (seconds * 1e6) as u64))
            }
            _ => as_it_is(),
        },
        Form::Flag => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Value::from(true),
            "false" | "no" | "off" | "0" => Value::from(false),
            _ => as_it_is(),
        },
        Form::Database => Value::from(database(text)),
        Form::Port => match text.parse::<u16>() {
            Ok(port) if port > 0 => {
                let listen: String = merged.extract_inner("server.listen").unwrap_or_default();
                let host = listen.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
                Value::from(format!("{host}:{port}"))
            }
            _ => as_it_is(),
        },
    }
}

/// `sqlite:///./vigil.db` is a relative path behind three slashes, an absolute one has four; a driver's name is
/// nothing to us.
fn database(text: &str) -> String {
    let text =
        text.replacen("+aiosqlite:", ":", 1).replacen("+asyncpg:", ":", 1).replacen("+psycopg2:", ":", 1);
    match text.strip_prefix("sqlite:///") {
        Some(path) => format!("sqlite:{path}"),
        None => text,
    }
}

/// The database's URL from its parts, and the part it is named after.
fn database_url(variables: &Variables) -> Option<(&'static str, String)> {
    let host = set(variables, "DB_HOST")?;
    let part = |name, default| set(variables, name).unwrap_or(default);
    let user = encoded(part("DB_USER", "vigil"));
    let password =
        set(variables, "DB_PASSWORD").map(|word| format!(":{}", encoded(word))).unwrap_or_default();
    let (at, name) = (port(part("DB_PORT", "5432")), encoded(part("DB_NAME", "vigil")));
    Some(("DB_HOST", format!("postgresql://{user}{password}@{host}:{at}/{name}")))
}

fn redis_url(variables: &Variables) -> Option<(&'static str, String)> {
    let host = set(variables, "REDIS_HOST")?;
    Some(("REDIS_HOST", format!("redis://{host}:{}/0", port(set(variables, "REDIS_PORT").unwrap_or("6379")))))
}

/// Kubernetes sets `REDIS_PORT=tcp://10.0.0.1:6379` for a service named redis.
fn port(text: &str) -> &str {
    if text.contains("://") { text.rsplit(':').next().unwrap_or(text) } else { text }
}

fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The variables of a `.env` file. One that others could have written is not believed.
pub(super) fn dotenv(file: Option<&Path>, notes: &mut Vec<String>) -> Variables {
    let Some(file) = file else { return Variables::new() };
    let Ok(found) = fs::metadata(file) else { return Variables::new() };
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_file() || !ours || found.mode() & 0o022 != 0 {
        let why = if ours { "others may write it" } else { "it belongs to somebody else" };
        notes.push(format!("{} is not read: {why}", file.display()));
        return Variables::new();
    }
    match fs::read_to_string(file) {
        Ok(text) => text.lines().filter_map(assignment).collect(),
        Err(why) => {
            notes.push(format!("{} is not read: {why}", file.display()));
            Variables::new()
        }
    }
}

/// `NAME=value`, perhaps behind `export`, perhaps in quotes, perhaps with a comment behind it.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !word {
        return None;
    }
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let value = match quote {
        Some(quote) => value[1..].split(quote).next().unwrap_or_default(),
        None => value.split(" #").next().unwrap_or_default().trim_end(),
    };
    Some((name.to_owned(), value.to_owned()))
}

/// The YAML file, where it is.
pub(super) fn config_path(env: &Variables, dotenv: &Variables) -> Option<PathBuf> {
    let named = set(env, "CONFIG_PATH").or_else(|| set(dotenv, "CONFIG_PATH")).unwrap_or(CONFIG_PATH);
    let path = PathBuf::from(named);
    path.is_file().then_some(path)
}

/// The values of the YAML file under the seed's names: `retry: {max_attempts: 5}` is `RETRY_MAX_ATTEMPTS`. Keys
/// nobody knows are noted; `policies` is read by whoever reads policies.
pub(super) fn yaml(path: &Path, notes: &mut Vec<String>) -> Result<Variables, Problem> {
    let name = path.display().to_string();
    let wrong = |why: String| Problem::file(&name, why.trim_end());
    let text = fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?;
    let whole: serde_json::Value = serde_saphyr::from_str(&text).map_err(|why| wrong(why.to_string()))?;
    let mut found = Variables::new();
    match whole {
        serde_json::Value::Null => {}
        serde_json::Value::Object(members) => {
            for (key, value) in members.into_iter().filter(|(key, _)| key != "policies") {
                flatten(&key, value, &mut found);
            }
        }
        serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)
        | serde_json::Value::Array(_) => return Err(wrong("is no mapping of keys to values".to_owned())),
    }
    for key in found.keys().filter(|key| !known(key)) {
        notes.push(format!("{name}: `{}` is no key that is read", key.to_lowercase()));
    }
    found.retain(|key, _| known(key));
    Ok(found)
}

fn known(name: &str) -> bool {
    PARTS.contains(&name) || NAMES.iter().any(|(known, _, _)| *known == name)
}

fn flatten(path: &str, value: serde_json::Value, into: &mut Variables) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                flatten(&format!("{path}_{key}"), value, into);
            }
        }
        serde_json::Value::Array(items) => {
            let words: Vec<String> = items.into_iter().map(|item| plain(&item)).collect();
            into.insert(path.to_uppercase(), words.join(","));
        }
        other @ (serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)) => {
            into.insert(path.to_uppercase(), plain(&other));
        }
    }
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => value.to_string(),
    }
}
