//! From the merged layers to [`Config`]: every key read on its own, so that all problems are found in one go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use figment::value::Dict;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::access;
use super::problem::{Problem, Problems, unknown_keys};
use super::run::seconds;
use super::sources::{DEFAULTS, Inputs, OPEN, Sources};
use super::values::{Flag, List, SecretUrl, Size, Span};
use super::{
    Config, Database, DatabasePlace, Limits, Log, LogLevel, Policies, Queue, Rate, Redis, Remediation,
    Retention, Retry,
};
use crate::domain::guardrails::Everywhere;
use crate::domain::opposites::{MOST, Opposites};
use crate::domain::pace::{Budget, Plugins as Budgets};

pub(super) fn config(inputs: &Inputs) -> Result<(Config, Sources), Problems> {
    let sources = Sources::read(inputs).map_err(|problem| Problems(vec![problem]))?;
    let known: Dict = toml::from_str(DEFAULTS).unwrap_or_default();
    let mut reader = Reader { problems: unknown_keys(&sources, &known), sources };
    let data_dir = data_dir(&mut reader, inputs);
    let (server, auth) = access::server(&mut reader, data_dir.clone());
    let config = Config {
        database: database(&mut reader, data_dir),
        server,
        auth,
        redis: redis(&mut reader),
        queue: queue(&mut reader),
        retry: retry(&mut reader),
        remediation: remediation(&mut reader),
        policies: policies(&mut reader),
        guardrails: Everywhere {
            max_actions: u32::try_from(reader.get::<u64>("guardrails.max_actions")).unwrap_or(u32::MAX),
            window: reader.positive("guardrails.window"),
            max_retries: u32::try_from(reader.get::<u64>("guardrails.max_retries")).unwrap_or(u32::MAX),
            opposites: Arc::new(opposites(&mut reader)),
            plugins: Arc::new(plugin_budgets(&mut reader)),
        },
        limits: limits(&mut reader),
        log: Log { format: reader.get("log.format"), level: reader.get("log.level") },
        retention: Retention {
            samples: reader.positive("retention.samples"),
            size: reader.get::<Size>("retention.size").0,
        },
        plugins: plugins(&mut reader),
        run: super::run::run(&mut reader),
        notes: reader.sources.notes.clone(),
        file: reader.sources.file.clone(),
    };
    if reader.problems.is_empty() { Ok((config, reader.sources)) } else { Err(Problems(reader.problems)) }
}

pub(super) struct Reader {
    sources: Sources,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    /// The value of a key. One that cannot be read is noted; what stands in for it is never used, since a problem
    /// keeps the settings from being handed out.
    pub(super) fn get<T: DeserializeOwned + Default>(&mut self, key: &str) -> T {
        self.sources.merged.extract_inner(key).unwrap_or_else(|error| {
            self.problems.push(Problem::unreadable(&self.sources, key, &error));
            T::default()
        })
    }

    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        self.get::<List>(key).0
    }

    /// A duration above zero.
    pub(super) fn positive(&mut self, key: &str) -> Duration {
        let before = self.problems.len();
        let span = self.get::<Span>(key).0;
        // A value that was not readable has been named already.
        self.require(span > Duration::ZERO || self.problems.len() > before, key, "must be longer than 0");
        span
    }

    /// A number of things above zero.
    pub(super) fn some(&mut self, key: &str) -> usize {
        let before = self.problems.len();
        let number = self.get(key);
        self.require(number > 0 || self.problems.len() > before, key, "must be at least 1");
        number
    }

    /// A number of bytes above zero that fits into memory.
    fn bytes(&mut self, key: &str) -> usize {
        let before = self.problems.len();
        let size = self.get::<Size>(key).0;
        self.require(size > 0 || self.problems.len() > before, key, "must be at least 1 byte");
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    pub(super) fn require(&mut self, holds: bool, key: &str, what: &str) {
        if !holds {
            self.problems.push(Problem::value(&self.sources, key, what));
        }
    }
}

/// Pairs of kinds of actions that undo each other.
fn opposites(reader: &mut Reader) -> Opposites {
    const KEY: &str = "guardrails.opposites";
    let lists: Vec<Vec<String>> = reader.get(KEY);
    let pair = |list: &Vec<String>| match list.as_slice() {
        [one, other] if !one.is_empty() && !other.is_empty() && one != other => {
            Some((one.clone(), other.clone()))
        }
        _ => None,
    };
    let pairs: Vec<(String, String)> = lists.iter().filter_map(pair).collect();
    reader.require(
        pairs.len() == lists.len(),
        KEY,
        "is a list of pairs, each of two different kinds of actions",
    );
    reader.require(pairs.len() <= MOST, KEY, &format!("has at most {MOST} pairs"));
    Opposites::new(&pairs, reader.positive("guardrails.opposite_window"))
}

/// `[guardrails.plugins.NAME]`: what each plugin may do.
fn plugin_budgets(reader: &mut Reader) -> Budgets {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said {
        max_actions: u32,
        window: Option<Span>,
    }
    const KEY: &str = "guardrails.plugins";
    let has_any = reader.sources.merged.contains(KEY);
    let said: BTreeMap<String, Said> = if has_any { reader.get(KEY) } else { BTreeMap::new() };
    let usual = reader.positive("guardrails.window");
    let mut budgets = BTreeMap::new();
    for (name, Said { max_actions, window }) in said {
        let window = window.map_or(usual, |span| span.0);
        reader.require(!window.is_zero(), &format!("{KEY}.{name}.window"), "must be longer than 0");
        budgets.insert(name, Budget { max_actions, window });
    }
    Budgets::new(budgets)
}

fn data_dir(reader: &mut Reader, inputs: &Inputs) -> PathBuf {
    let named: String = reader.get("server.data_dir");
    let env = |name: &str| inputs.env.get(name).filter(|value| !value.is_empty());
    if !named.is_empty() {
        return named.into();
    }
    // systemd lists several directories with colons; ours is the first.
    if let Some(state) = env("STATE_DIRECTORY").and_then(|all| all.split(':').next()) {
        return state.into();
    }
    let data_home = env("XDG_DATA_HOME").map(PathBuf::from);
    let home = || env("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let Some(base) = data_home.or_else(home) else {
        reader.require(false, "server.data_dir", "is not set, and neither is HOME");
        return PathBuf::new();
    };
    base.join("vigil")
}

fn database(reader: &mut Reader, data_dir: PathBuf) -> Database {
    let url: SecretUrl = reader.get("database.url");
    let max_connections = u32::try_from(reader.some("database.max_connections")).unwrap_or(u32::MAX);
    let place = match (url.scheme(), url.expose()) {
        (_, "") => DatabasePlace::Sqlite(data_dir.join("vigil.db")),
        ("postgres" | "postgresql", _) => DatabasePlace::Postgres(url),
        ("sqlite", text) => {
            // Two slashes belong to the scheme; a third begins an absolute path.
            let path = text.trim_start_matches("sqlite:");
            DatabasePlace::Sqlite(path.strip_prefix("//").unwrap_or(path).into())
        }
        _ => {
            reader.require(false, "database.url", "is neither empty nor begins with sqlite: or postgres://");
            DatabasePlace::Sqlite(data_dir)
        }
    };
    if place == DatabasePlace::Sqlite(PathBuf::new()) {
        reader.require(false, "database.url", "names no file");
    }
    Database { place, durability: reader.get("database.durability"), max_connections }
}

fn redis(reader: &mut Reader) -> Redis {
    const SCHEMES: [&str; 6] =
        ["redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster", "rediss+cluster"];
    let url: SecretUrl = reader.get("redis.url");
    if url.expose().is_empty() {
        return Redis { url: None };
    }
    let known = SCHEMES.contains(&url.scheme()) && url.expose().contains("://");
    reader.require(
        known,
        "redis.url",
        &format!("does not begin with one of {}, each with ://", SCHEMES.join(", ")),
    );
    Redis { url: Some(url) }
}

fn queue(reader: &mut Reader) -> Queue {
    let queue = Queue {
        lease: reader.positive("queue.lease"),
        grace: reader.get::<Span>("queue.grace").0,
        heartbeat: reader.positive("queue.heartbeat"),
        sweep: reader.positive("queue.sweep"),
        workers: reader.get("queue.workers"),
    };
    // One lost sign of life must not cost the lease.
    let fits = queue.heartbeat.saturating_mul(2) < queue.lease;
    reader.require(fits, "queue.heartbeat", "must be less than half of queue.lease");
    queue
}

fn retry(reader: &mut Reader) -> Retry {
    let retry = Retry {
        max_attempts: u32::try_from(reader.some("retry.max_attempts")).unwrap_or(u32::MAX),
        base_delay: reader.positive("retry.base_delay"),
        max_delay: reader.positive("retry.max_delay"),
        backoff: reader.get("retry.backoff"),
    };
    reader.require(
        retry.base_delay <= retry.max_delay,
        "retry.base_delay",
        "must not be above retry.max_delay",
    );
    retry
}

fn remediation(reader: &mut Reader) -> Remediation {
    let remediation = Remediation {
        push: reader.get("remediation.push"),
        url: reader.get("remediation.url"),
        timeout: reader.positive("remediation.timeout"),
        accept: reader.get("remediation.accept"),
        idempotent: reader.list("remediation.idempotent"),
        translate: reader.get("remediation.translate"),
        task_timeout: reader.positive("remediation.task_timeout"),
        task_retries: u32::try_from(reader.some("remediation.task_retries")).unwrap_or(u32::MAX),
        lease_margin: reader.get::<Span>("remediation.lease_margin").0,
    };
    let http = ["http://", "https://"].iter().any(|scheme| remediation.url.starts_with(scheme));
    reader.require(http || !remediation.push, "remediation.url", "is no http:// or https:// address");
    remediation
}

fn policies(reader: &mut Reader) -> Policies {
    let paths = reader.list("policies.paths");
    let named = [reader.sources.file.clone(), reader.sources.config_path.clone()];
    let bases =
        named.into_iter().flatten().filter_map(|file| file.parent().map(std::path::Path::to_path_buf));
    Policies {
        paths: paths.into_iter().map(PathBuf::from).collect(),
        bases: bases.collect(),
        config_path: reader.sources.config_path.clone(),
        tick: reader.positive("policies.tick"),
        lookback: reader.positive("policies.lookback"),
    }
}

fn limits(reader: &mut Reader) -> Limits {
    Limits {
        ingest_body: reader.bytes("limits.ingest_body"),
        json_body: reader.bytes("limits.json_body"),
        batch: reader.some("limits.batch"),
        tags: reader.get("limits.tags"),
        tag_name: reader.some("limits.tag_name"),
        tag_value: reader.some("limits.tag_value"),
        ingest_decoded: reader.bytes("limits.ingest_decoded"),
        ingest_in_flight: reader.some("limits.ingest_in_flight"),
        in_flight: reader.some("limits.in_flight"),
        bodies: reader.bytes("limits.bodies"),
        rate: rate(reader),
    }
}

fn rate(reader: &mut Reader) -> Rate {
    let mut count = |key: &str| u32::try_from(reader.some(key)).unwrap_or(u32::MAX);
    Rate {
        requests: count("limits.rate.requests"),
        ingest_requests: count("limits.rate.ingest_requests"),
        actions_requests: count("limits.rate.actions_requests"),
        token_requests: count("limits.rate.token_requests"),
        token_burst: count("limits.rate.token_burst"),
        enabled: reader.get::<Flag>("limits.rate.enabled").0,
        period: seconds(reader, "limits.rate.period", 1..=3600),
        ingest_period: seconds(reader, "limits.rate.ingest_period", 1..=3600),
        actions_period: seconds(reader, "limits.rate.actions_period", 1..=3600),
    }
}

/// The sections of the plugin host. It names its own unknown keys, one per section.
fn plugins(reader: &mut Reader) -> crate::plugin::Settings {
    let [plugins, connections, routes, _] = OPEN;
    let has_routes = reader.sources.merged.contains(routes);
    let mut settings: crate::plugin::Settings = reader.get(plugins);
    settings.connections = reader.get(connections);
    if has_routes {
        settings.routes = reader.get(routes);
    }
    settings
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.to_ascii_lowercase().as_str() {
            "debug" | "trace" => Self::Debug,
            "info" => Self::Info,
            "warning" | "warn" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            _ => return Err(D::Error::custom("expected debug, info, warning, error or critical")),
        })
    }
}
