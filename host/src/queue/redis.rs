//! Hints over Redis lists: `RPUSH` and `LTRIM` to announce, `BLMPOP` over one list per priority to wait.
//! The only user of the redis crate. A single server, Sentinel and Cluster differ in how a connection is
//! made and in nothing else; all keys of an installation share one hash tag, hence one slot.
//!
//! Whatever goes wrong here is "no hint": after an error Redis is left alone for a growing while, and the
//! workers of this process are woken directly.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, Value};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::policy::Priority;

/// Hints kept per list; older ones are dropped, the sweep finds what they spoke of.
const LIST_LENGTH: isize = 10_000;
/// How long one `BLMPOP` waits in the server.
const BLOCK: Duration = Duration::from_millis(500);
/// Longest pause after errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Announcements waiting for Redis; more are dropped, like hints that get lost.
const BACKLOG: usize = 4_096;

/// Why a Redis URL can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL does not say what it should.
    #[error("the Redis URL can't be used: {0}")]
    Url(String),
    /// The client could not be made.
    #[error("the Redis client can't be made: {0}")]
    Client(#[from] redis::RedisError),
}

/// Ids and priority numbers of actions that are ready.
type Ready = Vec<(i64, i64)>;

/// Where Redis is.
#[derive(Clone, Debug)]
enum Place {
    Single(String),
    Sentinel { nodes: Vec<String>, master: String, database: i64, password: Option<String> },
    Cluster(Vec<String>),
}

/// See the module.
#[derive(Debug)]
pub struct Hints {
    place: Place,
    lists: Vec<String>,
    send: mpsc::Sender<Ready>,
    receive: Mutex<Option<mpsc::Receiver<Ready>>>,
    local: Arc<Notify>,
    up: AtomicBool,
    errors: AtomicU64,
}

enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl Hints {
    /// Reads the URL; nothing is connected yet, and Redis may be away. `installation` keeps the hints of
    /// several installations on one Redis apart.
    pub fn new(url: &str, installation: &str) -> Result<Arc<Self>, Error> {
        let place = Place::parse(url)?;
        let (send, receive) = mpsc::channel(BACKLOG);
        let lists =
            Priority::ALL.iter().map(|p| format!("{{vigil:{installation}}}:h{}", p.number())).collect();
        Ok(Arc::new(Self {
            place,
            lists,
            send,
            receive: Mutex::new(Some(receive)),
            local: Arc::new(Notify::new()),
            up: AtomicBool::new(false),
            errors: AtomicU64::new(0),
        }))
    }

    pub(super) fn announce(&self, ready: &[(i64, i64)]) {
        if !self.up() || self.send.try_send(ready.to_vec()).is_err() {
            self.local.notify_one();
        }
    }

    pub(super) async fn next(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.local.notified()).await;
    }

    pub(super) fn up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Pushes what is announced and waits for what others announce, until `stop`.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let receive = self.receive.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receive) = receive else { return };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.push_all(receive) => {}
            () = self.pop_all() => {}
        }
    }

    async fn push_all(&self, mut receive: mpsc::Receiver<Vec<(i64, i64)>>) {
        let mut connection = None;
        let mut pause = Pause::default();
        while let Some(ready) = receive.recv().await {
            match self.push(&mut connection, &ready).await {
                Ok(()) => pause.reset(),
                Err(wrong) => {
                    self.failed("push", &wrong);
                    connection = None;
                    self.local.notify_one();
                    pause.wait().await;
                }
            }
        }
    }

    async fn push(
        &self,
        connection: &mut Option<Connection>,
        ready: &[(i64, i64)],
    ) -> redis::RedisResult<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.place.connect(Duration::from_millis(500)).await?),
        };
        for (number, list) in self.lists.iter().enumerate() {
            let ids: Vec<i64> = ready
                .iter()
                .filter(|(_, priority)| {
                    Priority::from_number(*priority).number() == i64::try_from(number).unwrap_or(0)
                })
                .map(|(id, _)| *id)
                .collect();
            if ids.is_empty() {
                continue;
            }
            let mut both = redis::pipe();
            both.atomic();
            both.cmd("RPUSH").arg(list).arg(ids).ignore();
            both.cmd("LTRIM").arg(list).arg(-LIST_LENGTH).arg(-1).ignore();
            both.query_async::<()>(connection).await?;
        }
        Ok(())
    }

    async fn pop_all(&self) {
        let mut connection = None;
        let mut pause = Pause::default();
        let mut round = 0_u32;
        loop {
            round = round.wrapping_add(1);
            match self.pop(&mut connection, round).await {
                Ok(found) => {
                    self.up.store(true, Ordering::Relaxed);
                    pause.reset();
                    if found {
                        self.local.notify_one();
                    }
                }
                Err(wrong) => {
                    self.up.store(false, Ordering::Relaxed);
                    self.failed("wait", &wrong);
                    connection = None;
                    self.local.notify_one();
                    pause.wait().await;
                }
            }
        }
    }

    /// One blocking pop on a connection of its own: a blocking command stops everything else on it.
    async fn pop(&self, connection: &mut Option<Connection>, round: u32) -> redis::RedisResult<bool> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.place.connect(BLOCK + Duration::from_secs(2)).await?),
        };
        let mut keys: Vec<&String> = self.lists.iter().collect();
        if round.is_multiple_of(8) {
            // Now and then the other way round, so that a flood of urgent work starves nothing.
            keys.reverse();
        }
        let mut command = redis::cmd("BLMPOP");
        command.arg(BLOCK.as_secs_f64()).arg(keys.len()).arg(keys).arg("LEFT").arg("COUNT").arg(8);
        let answer: Value = command.query_async(connection).await?;
        Ok(!matches!(answer, Value::Nil))
    }

    fn failed(&self, what: &str, wrong: &redis::RedisError) {
        if self.errors.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
            tracing::warn!(operation = what, error = %wrong, "Redis does not answer: hints stay in this process");
        }
    }
}

/// A growing pause with jitter.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn reset(&mut self) {
        self.0 = 0;
    }

    async fn wait(&mut self) {
        let longest = Duration::from_millis(250).saturating_mul(1 << self.0.min(7)).min(LONGEST_PAUSE);
        self.0 += 1;
        tokio::time::sleep(longest.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

impl Place {
    fn parse(url: &str) -> Result<Self, Error> {
        for (prefix, scheme) in [("redis+cluster://", "redis"), ("rediss+cluster://", "rediss")] {
            if let Some(rest) = url.strip_prefix(prefix) {
                return Ok(Self::Cluster(nodes(rest, scheme)));
            }
        }
        if let Some(rest) = url.strip_prefix("redis+sentinel://") {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (password, hosts) = match authority.rsplit_once('@') {
                Some((who, hosts)) => (Some(who.rsplit(':').next().unwrap_or(who).to_owned()), hosts),
                None => (None, authority),
            };
            let (master, database) = path.split_once('/').unwrap_or((path, "0"));
            if master.is_empty() || hosts.is_empty() {
                return Err(Error::Url(
                    "write redis+sentinel://host:26379,host:26379/master-name/0".to_owned(),
                ));
            }
            let database =
                database.parse().map_err(|_| Error::Url(format!("{database} is no database number")))?;
            return Ok(Self::Sentinel {
                nodes: nodes(hosts, "redis"),
                master: master.to_owned(),
                database,
                password,
            });
        }
        Client::open(url)?;
        Ok(Self::Single(url.to_owned()))
    }

    async fn connect(&self, answer_within: Duration) -> redis::RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(answer_within));
        match self {
            Self::Single(url) => {
                let client = Client::open(url.as_str())?;
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Single)
            }
            Self::Sentinel { nodes, master, database, password } => {
                let mut settings = redis::RedisConnectionInfo::default().set_db(*database);
                if let Some(password) = password {
                    settings = settings.set_password(password.as_str());
                }
                let node = redis::sentinel::SentinelNodeConnectionInfo::default()
                    .set_redis_connection_info(settings);
                let mut sentinel = SentinelClient::build(
                    nodes.clone(),
                    master.clone(),
                    Some(node),
                    SentinelServerType::Master,
                )?;
                sentinel.get_async_connection_with_config(&config).await.map(Connection::Single)
            }
            Self::Cluster(nodes) => {
                let client = ClusterClientBuilder::new(nodes.clone())
                    .connection_timeout(Duration::from_secs(2))
                    .response_timeout(answer_within)
                    .build()?;
                client.get_async_connection().await.map(Connection::Cluster)
            }
        }
    }
}

fn nodes(list: &str, scheme: &str) -> Vec<String> {
    let list = list.trim_end_matches('/');
    let (who, hosts) = list.rsplit_once('@').map_or(("", list), |(who, hosts)| (who, hosts));
    let at = if who.is_empty() { String::new() } else { format!("{who}@") };
    hosts.split(',').filter(|host| !host.is_empty()).map(|host| format!("{scheme}://{at}{host}")).collect()
}
