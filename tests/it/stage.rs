//! What several tests stand on: the four ways to run Vigil, a target that counts, and a load of events.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hostile_fixtures as fixtures;
use crate::support::{Options, Postgres, Redis, Request, Vigil, exchange};

/// Which database and which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// SQLite and the embedded queue.
    Small,
    /// SQLite and Redis.
    SmallRedis,
    /// PostgreSQL and the embedded queue.
    Postgres,
    /// PostgreSQL and Redis.
    PostgresRedis,
}

/// A running setting.
pub(crate) struct Backend {
    pub(crate) redis: Option<Redis>,
    pub(crate) database: Option<String>,
}

impl Backend {
    pub(crate) fn new(setting: Setting) -> Self {
        let redis = matches!(setting, Setting::SmallRedis | Setting::PostgresRedis).then(Redis::start);
        let postgres = matches!(setting, Setting::Postgres | Setting::PostgresRedis);
        Self { redis, database: postgres.then(|| Postgres::shared().database()) }
    }

    /// The options of a server on it.
    pub(crate) fn options(&self, config: &str) -> Options {
        let mut options = Options::default().config(config);
        if let Some(url) = &self.database {
            options = options.database(url);
        }
        if let Some(redis) = &self.redis {
            options = options.redis(redis.url());
        }
        options
    }
}

/// Leases short enough for a test, and a connection `target` that both the webhook plugin (keyed) and
/// `charge-unsafe` may call.
pub(crate) fn config(target: &str) -> String {
    let digest = fixtures::digest("charge-unsafe");
    format!(
        r#"
[queue]
lease = "3s"
grace = "1s"
heartbeat = "500ms"
sweep = "300ms"
[retry]
base_delay = "100ms"
max_delay = "1s"
[policies]
tick = "2s"
[guardrails]
max_actions = 10_000_000
[connections.target]
url = "{target}"
allow = ["POST /**", "POST /"]
[connections.webhook]
url = "{target}"
allow = ["POST /**", "POST /"]
[[plugins.grants]]
plugin = "charge-unsafe"
digest = "sha256:{digest}"
connections = {{ bank = "target" }}
"#
    )
}

/// Makes targets known, so that a share of them is more than one.
pub(crate) fn fleet(vigil: &Vigil, prefix: &str, targets: usize) {
    let alive = |n: usize| json!({"name": "alive", "value": 1, "tags": {"service": format!("{prefix}{n}")}});
    vigil.post_json("/api/v1/ingest", &(0..targets).map(alive).collect());
}

/// Puts a fixture into a data directory's plugins, whole by rename.
pub(crate) fn install(data_dir: &Path, name: &str) {
    let dir = data_dir.join("plugins");
    std::fs::create_dir_all(&dir).expect("the directory of plugins");
    let part = dir.join(format!(".{name}.part"));
    std::fs::write(&part, fixtures::component(name)).expect("the component's file");
    std::fs::rename(part, dir.join(format!("{name}.wasm"))).expect("the component in place");
}

/// A policy whose guardrails are set openly for a load.
pub(crate) fn open_policy(name: &str, target: &str, action: &str) -> Value {
    json!({
        "name": name, "target": target, "action": action, "auto_remediate": true,
        "condition": {"type": "metric_exceeds", "metric": "heat", "threshold": 90},
        "guardrails": {"cooldown": "0s", "settle": "0s", "max_actions": 100_000, "breaker": 100, "flapping": {"changes": 1_000},
            "blast_radius": {"max": 1_000_000}, "mass_failure": {"targets": 1_000_000}},
    })
}

/// Waits until a plugin of that name is in service.
pub(crate) fn wait_for_plugin(vigil: &Vigil, name: &str) {
    crate::support::wait_until(Duration::from_secs(60), "the plugin to be in service", || {
        let plugins = vigil.get_json("/api/v1/plugins");
        plugins["plugins"].as_array().is_some_and(|all| {
            all.iter().any(|plugin| plugin["name"] == name && plugin["status"] == "active")
        })
    });
}

/// Clients that post events of many targets, alternating hot and cool, until told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    pub(crate) acknowledged: Arc<Mutex<Vec<i64>>>,
    pub(crate) refused: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Targets of a load: half of them are healed by an unsafe action, half by a keyed one.
const TARGETS: usize = 1_000;

impl Load {
    /// `rate` events a second, spread over `ports`.
    pub(crate) fn start(ports: &[u16], rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let refused = Arc::new(AtomicUsize::new(0));
        let clients = 8;
        let pause = Duration::from_secs(1) * clients / rate;
        let threads = (0..clients)
            .map(|client| {
                let (stop, acknowledged, refused) =
                    (Arc::clone(&stop), Arc::clone(&acknowledged), Arc::clone(&refused));
                let ports = ports.to_vec();
                thread::spawn(move || {
                    let mut round = client as usize;
                    let mut next = Instant::now();
                    while !stop.load(Ordering::Relaxed) {
                        match post(ports[round % ports.len()], round) {
                            Some(id) => acknowledged.lock().expect("the list").push(id),
                            None => {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        round += clients as usize;
                        next += pause;
                        thread::sleep(next.saturating_duration_since(Instant::now()));
                    }
                })
            })
            .collect();
        Self { stop, acknowledged, refused, threads }
    }

    /// Ends it and answers the ids of everything that was acknowledged.
    pub(crate) fn finish(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        std::mem::take(&mut *self.acknowledged.lock().expect("the list"))
    }
}

fn post(port: u16, round: usize) -> Option<i64> {
    let number = round % TARGETS;
    let name = if number.is_multiple_of(2) { format!("u-{number}") } else { format!("k-{number}") };
    let value = if (round / TARGETS).is_multiple_of(2) { 95.0 } else { 10.0 };
    let body = json!({"name": "heat", "value": value, "tags": {"service": name}});
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let answer = exchange(stream, &Request::post("/api/v1/ingest", &body)).ok()?;
    (answer.status == 201).then(|| answer.json()["metric_id"].as_i64()).flatten()
}

/// Waits until every action has ended, resolving those whose outcome nobody knows as a person would. Answers
/// how many there are by state.
pub(crate) fn settle(vigil: &Vigil, limit: Duration) -> HashMap<String, usize> {
    let begun = Instant::now();
    loop {
        let open = vigil.get_json("/api/v1/actions?status=pending&limit=1")["total"].as_i64().unwrap_or(0)
            + vigil.get_json("/api/v1/actions?status=running&limit=1")["total"].as_i64().unwrap_or(0);
        if open == 0 {
            return by_state(vigil);
        }
        assert!(
            begun.elapsed() < limit,
            "{open} actions have not ended: {:?}\n{}",
            by_state(vigil),
            complaints(vigil)
        );
        for action in vigil.get_json("/api/v1/actions?state=uncertain&limit=500")["actions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let path = format!("/api/v1/actions/{}/resolve", action["id"]);
            vigil.post(&path, &json!({"outcome": "failed", "note": "looked at by the test"}));
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// What is still open, and the last lines of the log that are not routine.
fn complaints(vigil: &Vigil) -> String {
    let open = vigil.get_json("/api/v1/actions?state=ready&limit=5").to_string();
    let log = vigil.log();
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("\"INFO\"")).collect();
    format!("{open}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
}

fn by_state(vigil: &Vigil) -> HashMap<String, usize> {
    [
        "held",
        "scheduled",
        "blocked",
        "ready",
        "running",
        "succeeded",
        "dead",
        "expired",
        "cancelled",
        "uncertain",
    ]
    .into_iter()
    .map(|state| {
        let total = vigil.get_json(&format!("/api/v1/actions?state={state}&limit=1"))["total"].as_u64();
        (state.to_owned(), usize::try_from(total.unwrap_or(0)).unwrap_or(0))
    })
    .filter(|(_, count)| *count > 0)
    .collect()
}

/// One number asked of a database: SQLite's file or a PostgreSQL URL.
pub(crate) fn ask(database: Option<&String>, data_dir: &Path, sql: &'static str) -> Vec<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match database {
            Some(url) => {
                let pool = sqlx::PgPool::connect(url).await.expect("PostgreSQL");
                let rows: Vec<(i64,)> = sqlx::query_as(sql).fetch_all(&pool).await.expect("rows");
                rows.into_iter().map(|row| row.0).collect()
            }
            None => {
                let file = format!("sqlite://{}/vigil.db?mode=ro", data_dir.display());
                let pool = sqlx::SqlitePool::connect(&file).await.expect("SQLite");
                let rows: Vec<(i64,)> = sqlx::query_as(sql).fetch_all(&pool).await.expect("rows");
                rows.into_iter().map(|row| row.0).collect()
            }
        }
    })
}

/// The ids of every event that a database holds.
pub(crate) fn stored(database: Option<&String>, data_dir: &Path) -> HashSet<i64> {
    let first = ask(database, data_dir, "SELECT first_id FROM chunk ORDER BY first_id");
    let last = ask(database, data_dir, "SELECT last_id FROM chunk ORDER BY first_id");
    first.into_iter().zip(last).flat_map(|(first, last)| first..=last).collect()
}

/// Whether the long form was asked for: `VIGIL_CAMPAIGN=1`.
pub(crate) fn campaign() -> bool {
    std::env::var_os("VIGIL_CAMPAIGN").is_some_and(|value| value == "1")
}
