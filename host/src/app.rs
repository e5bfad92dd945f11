//! The whole system in one process: [`App::new`] opens what it stands on, [`App::serve`] runs every task and
//! ends them in order.

mod bootstrap;
mod budgets;
mod counts;
mod listen;
mod lock;
mod patient;
mod tls;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::api::policies::files;
use crate::api::{Door, Orders, Simulator, Tokens};
use crate::clock::Clock;
use crate::config::{Config, DatabasePlace, Durability, LogLevel, Settings};
use crate::engine;
use crate::metrics::Metrics;
use crate::pipeline::history;
use crate::pipeline::ingest::{Arrivals, Ingest, Parts as WriterParts, Writer};
use crate::pipeline::loops::Loops;
use crate::pipeline::remediate::Remediation;
use crate::pipeline::settings::{self, Live, Taken};
use crate::pipeline::sweep::{self, Pace};
use crate::pipeline::tenure::Tenures;
use crate::pipeline::worker::{self, Parts, Running};
use crate::plugin::{self, Compiler, Plugins, Remediator, Setup};
use crate::queue::{self, Queue};
use crate::store::{self, Limits as Keep, Location, Store};

/// Why the system does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory can't be used.
    #[error("the data directory {}: {why}", .dir.display())]
    DataDir {
        /// Which one.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
    /// The database can't be used.
    #[error("the database can't be used: {0}")]
    Store(#[from] store::Error),
    /// Redis is set but its URL can't be.
    #[error(transparent)]
    Queue(#[from] queue::Error),
    /// The plugin host can't begin.
    #[error("the plugins can't be opened: {0}")]
    Plugins(#[from] plugin::Error),
    /// A policy file can't be read.
    #[error("the policies can't be read: {0}")]
    Policies(#[from] files::Error),
    /// Actions can't be pushed as configured.
    #[error("remediation.url: {0}")]
    Remediation(String),
    /// The metrics can't be registered.
    #[error("the metrics can't be made: {0}")]
    Metrics(String),
    /// The certificate can't be used.
    #[error("TLS can't be spoken: {0}")]
    Tls(String),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {why}")]
    Listen {
        /// Which one.
        address: String,
        /// Why not.
        why: String,
    },
}

/// Everything that is open.
pub struct App {
    config: Config,
    store: Store,
    api: api::Parts,
    arrivals: Arrivals,
    orders: Orders,
    writer: Writer,
    parts: Parts,
    certificate: Option<tls::Certificate>,
    // Held for as long as the process lives.
    _lock: lock::Lock,
}

/// The database that the settings name.
#[must_use]
pub fn location(config: &Config) -> Location {
    match &config.database.place {
        DatabasePlace::Sqlite(file) => Location::Sqlite(file.clone()),
        DatabasePlace::Postgres(url) => Location::Postgres(url.expose().to_owned()),
    }
}

/// Opens the database and brings it to this version's form.
pub async fn migrated(config: &Config, clock: &Clock) -> Result<(Store, String), Error> {
    let durability = match config.database.durability {
        Durability::Sync => store::Durability::Sync,
        Durability::Process => store::Durability::Process,
    };
    let store = Store::open(location(config), durability, config.database.max_connections).await?;
    let store = store.within(config.guardrails.clone());
    let installation = store.migrate(&clock.id()).await?;
    Ok((store, installation))
}

impl App {
    /// Opens the data directory, the database, the queue and the plugins, and reads the policy files.
    pub async fn new(config: Config, clock: Clock, set_level: SetLevel) -> Result<Self, Error> {
        let lock = lock::take(&config.server.data_dir)?;
        let certificate =
            config.server.tls.as_ref().map(tls::Certificate::read).transpose().map_err(Error::Tls)?;
        let metrics = Arc::new(Metrics::new().map_err(|wrong| Error::Metrics(wrong.to_string()))?);
        let (store, installation) = migrated(&config, &clock).await?;
        let (queue, plugins) = (open_queue(&config, &installation)?, open_plugins(&config, &store).await?);
        let sources = read_policies(&config, &store, &clock).await?;
        let door = door(&config, &store, &clock).await?;
        let settings = Live::new(Settings::of(&config), consumers(&config, &door, set_level));
        settings::load(&store, &settings).await?;
        let policies = Arc::new(RwLock::default());
        let (ingest, arrivals) = Ingest::new(metrics.books().clone());
        let (simulator, orders) = Simulator::new();
        let running = Running::default();
        let writer = Writer::new(WriterParts {
            store: store.clone(),
            queue: queue.clone(),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            limits: engine::Limits { lookback: config.policies.lookback, sparing: false },
            settings: settings.clone(),
            node: node_name(),
            plugins: Some(plugins.clone()),
            pushes: config.remediation.push,
            policies: Arc::clone(&policies),
        });
        let remediation = remediation(&config, &installation)?;
        let at_work = (&metrics, &running, &settings, &remediation);
        let parts = parts(&config, &clock, (&store, &queue, &plugins), at_work);
        let api = api::Parts {
            store: store.clone(),
            ingest,
            queue,
            plugins,
            running,
            metrics,
            clock: clock.clone(),
            simulator,
            policies,
            settings,
            lookback: config.policies.lookback,
            backtests: api::backtest_room(),
            loops: Loops::default(),
            sources: Arc::new(sources),
            about: config.run.about.clone(),
            metrics_path: config.run.metrics_path.clone(),
            tenures: Arc::clone(&parts.tenures),
            limits: limits(&config),
            remediation,
            warned: api::Warned::default(),
            node: node_name().into(),
            door,
            started: Instant::now(),
            permissions: Arc::default(),
            document: Arc::from(""),
            ending: CancellationToken::new(),
        };
        Ok(Self { config, store, api, arrivals, orders, writer, parts, certificate, _lock: lock })
    }

    /// Serves until `shutdown`, then ends in order: no new claims and a red readiness first, the attempts
    /// next, then the connections, then the writer, and last the lease.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, api, arrivals, orders, writer, parts, store, certificate, .. } = self;
        let (stop_claims, stop_accepting, stop) =
            (api.ending.clone(), CancellationToken::new(), CancellationToken::new());
        let (tenures, loops) = (Arc::clone(&parts.tenures), api.loops.clone());
        let mut background = background(&config, &api, &parts, &stop);
        let (mut workers, mut writing, mut front) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        workers.spawn(loops.run("worker", worker::run(parts, stop_claims.clone())));
        let stop_writing = CancellationToken::new();
        writing.spawn(loops.run("writer", writer.run(arrivals, stop_writing.clone())));
        let (door, ends) = (Arc::clone(&api.door), stop.clone());
        if door.asks_for_tokens() {
            background.spawn(loops.run("tokens", async move { door.tokens.run(ends).await }));
        }
        let bounds = bounds(&config, certificate.as_ref())?;
        if let Some(certificate) = certificate {
            background.spawn(loops.run("certificate", certificate.watch(stop.clone())));
        }
        let (router, api) = api::router(api);
        front.spawn(loops.run("simulator", api::run_simulator(api, orders, stop_claims.clone())));
        let listening = listen::run(listener, router, bounds, stop_accepting.clone());
        front.spawn(loops.run("listener", listening));
        shutdown.cancelled().await;
        tracing::info!("Ending: no new claims, running attempts finish");
        stop_claims.cancel();
        join(&mut workers, config.server.drain_timeout + Duration::from_secs(15), "workers").await;
        stop_accepting.cancel();
        join(&mut front, Duration::from_secs(10), "connections").await;
        stop_writing.cancel();
        join(&mut writing, Duration::from_secs(10), "writer").await;
        tenures.leave().await;
        stop.cancel();
        join(&mut background, Duration::from_secs(5), "background").await;
        store.close().await;
        tracing::info!("Ended");
        Ok(())
    }
}

/// Brings the policies of files into the database, and answers where the files are.
async fn read_policies(config: &Config, store: &Store, clock: &Clock) -> Result<files::Sources, Error> {
    let sources = files::Sources::of(config);
    let synced = files::sync(store, clock, &sources).await?;
    for error in &synced.errors {
        tracing::error!(error, "a policy was skipped");
    }
    for note in synced.notes.iter().chain(&config.notes) {
        tracing::warn!("{note}");
    }
    Ok(sources)
}

/// The loops that no request waits for.
fn background(config: &Config, api: &api::Parts, parts: &Parts, stop: &CancellationToken) -> JoinSet<()> {
    let (loops, mut set) = (&api.loops, JoinSet::new());
    let beats = (Arc::clone(&parts.tenures), stop.clone());
    set.spawn(loops.run("heartbeat", async move { beats.0.run(beats.1).await }));
    let hints = (parts.queue.clone(), stop.clone());
    set.spawn(loops.run("queue-hints", async move { hints.0.run(hints.1).await }));
    let watch = (parts.plugins.clone(), stop.clone());
    set.spawn(loops.run("plugin-watch", async move { watch.0.watch(watch.1).await }));
    set.spawn(loops.run("sweep", sweep::run(parts.clone(), pace(config), stop.clone())));
    set.spawn(loops.run("plugin-counters", counts::plugins(parts.clone(), stop.clone())));
    let tenures = Arc::clone(&parts.tenures);
    let follow = settings::follow(parts.store.clone(), parts.settings.clone(), tenures, stop.clone());
    set.spawn(loops.run("settings", follow));
    let history = history::run(parts.store.clone(), parts.clock.clone(), stop.clone());
    set.spawn(loops.run("queue-history", history));
    set
}

async fn join(tasks: &mut JoinSet<()>, patience: Duration, what: &str) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(wrong) = ended {
                tracing::error!(task = what, error = %wrong, "a task ended badly");
            }
        }
    };
    if tokio::time::timeout(patience, all).await.is_err() {
        tracing::error!(task = what, "a task did not end in time and is left behind");
        tasks.abort_all();
    }
}

fn open_queue(config: &Config, installation: &str) -> Result<Queue, Error> {
    Ok(match &config.redis.url {
        None => Queue::embedded(),
        Some(url) => Queue::Redis(queue::Hints::new(url.expose(), installation)?),
    })
}

async fn open_plugins(config: &Config, store: &Store) -> Result<Plugins, Error> {
    let compiler = std::env::current_exe().map_err(|why| Error::DataDir {
        dir: config.server.data_dir.clone(),
        why: format!("this program's own file can't be found, so no plugin can be compiled: {why}"),
    })?;
    let setup = Setup {
        data_dir: &config.server.data_dir,
        compiler: Compiler::Child(compiler),
        now: || Clock::System.now().micros(),
        env: &crate::config::environment,
    };
    let plugins = Plugins::open(config.plugins.clone(), setup).await?;
    budgets::route(config, store, &plugins);
    Ok(plugins)
}

fn parts(
    config: &Config,
    clock: &Clock,
    (store, queue, plugins): (&Store, &Queue, &Plugins),
    (metrics, running, settings, remediation): (&Arc<Metrics>, &Running, &Live, &Remediation),
) -> Parts {
    let tenures =
        Tenures::new(store.clone(), clock.clone(), node_name(), config.queue.lease, config.queue.heartbeat);
    Parts {
        store: store.clone(),
        queue: queue.clone(),
        plugins: plugins.clone(),
        metrics: Arc::clone(metrics),
        clock: clock.clone(),
        tenures: Arc::new(tenures),
        running: running.clone(),
        settings: settings.clone(),
        remediation: remediation.clone(),
        capacity: config.queue.workers,
        patience: config.queue.sweep,
        drain: config.server.drain_timeout,
    }
}

fn remediation(config: &Config, installation: &str) -> Result<Remediation, Error> {
    let set = &config.remediation;
    let push = if set.push {
        let remediator = Remediator::open(&set.url, set.timeout, installation).map_err(Error::Remediation)?;
        if remediator.is_at(config.server.listen) {
            return Err(Error::Remediation("it is this server, which does not push to itself".to_owned()));
        }
        Some(remediator)
    } else {
        None
    };
    Ok(Remediation {
        push,
        accept: set.accept,
        idempotent: set.idempotent.clone(),
        translate: set.translate,
        task_timeout: set.task_timeout,
        task_retries: set.task_retries,
        margin: set.lease_margin,
        installation: installation.to_owned(),
    })
}

fn pace(config: &Config) -> Pace {
    Pace {
        every: config.queue.sweep,
        silence: config.queue.lease + config.queue.grace,
        keep: Keep {
            samples: config.retention.samples,
            keys: Duration::from_hours(24),
            bytes: config.retention.size,
        },
    }
}

/// Sets the level that is logged at.
pub type SetLevel = Arc<dyn Fn(LogLevel) + Send + Sync>;

/// Whom settings are handed to; everybody else asks for them.
fn consumers(config: &Config, door: &Arc<Door>, set_level: SetLevel) -> Taken {
    let (door, configured) = (Arc::clone(door), config.limits.rate);
    Arc::new(move |settings: &Settings| {
        set_level(settings.level());
        door.rate.store(Arc::new(settings.rate_limit.on(configured)));
    })
}

/// The door, with the tokens it knows from the start.
async fn door(config: &Config, store: &Store, clock: &Clock) -> Result<Arc<Door>, Error> {
    let door = Door::new(config, Tokens::new(store.clone(), clock.clone()));
    if door.asks_for_tokens() {
        bootstrap::run(store, clock, &config.server.data_dir).await?;
        door.tokens.look().await?;
    }
    Ok(Arc::new(door))
}

fn bounds(config: &Config, certificate: Option<&tls::Certificate>) -> Result<listen::Bounds, Error> {
    let server = &config.server;
    Ok(listen::Bounds {
        connections: server.max_connections,
        per_peer: server.max_connections_per_peer,
        proxies: server.trusted_proxies.clone(),
        header_timeout: server.header_timeout,
        write_timeout: server.write_timeout,
        tls: certificate.map(tls::Certificate::acceptor).transpose().map_err(Error::Tls)?,
    })
}

fn limits(config: &Config) -> api::Limits {
    api::Limits {
        ingest_body: config.limits.ingest_body,
        ingest_decoded: config.limits.ingest_decoded,
        json_body: config.limits.json_body,
        batch: config.limits.batch,
        tags: config.limits.tags,
        tag_name: config.limits.tag_name,
        tag_value: config.limits.tag_value,
        body_timeout: config.server.body_timeout,
        hosts: config.server.allowed_hosts.clone(),
        origins: config.server.allowed_origins.clone(),
    }
}

/// The machine's name: two processes on it share it.
fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
