//! Plugins: WebAssembly components that carry out actions in a sandbox.
//!
//! [`Plugins`] is the only user of wasmtime. It keeps the catalogue in step with the embedded components
//! and a directory of files, says which plugin serves an action ([`Plugins::route`]), and runs attempts
//! ([`Plugins::execute`]). Every effect of a plugin goes through a connection that the operator defined.
//! It decides nothing about policies, retries or leases; `pipeline/` does, and calls it. `api/` shows
//! [`Plugins::list`].

mod bindings;
mod cache;
mod catalogue;
mod compile;
mod connections;
mod convert;
mod description;
mod embedded;
mod engine;
mod files;
mod host;
mod load;
mod precheck;
mod push;
mod report;
mod route;
mod runtime;
mod schema;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod types;
mod watch;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use catalogue::{ActionInfo, PluginInfo, Refusal, SlotInfo, Source, Status};
pub use compile::{COMPILE_COMMAND, Compiler, compile_child};
pub use connections::{AnswerSettings, ConnectionSettings, CredentialSettings, EffectSetting, RuleSettings};
pub use push::{INSTALLATION, Push, Pushed, Remediator};
pub use route::{Route, RouteError};
pub use settings::{Grant, RouteSettings, Settings};
pub use types::{
    CallRecord, CallState, Change, ChangeStatus, Effects, Ended, Failure, Guard, JournalEntry, LogLevel,
    LogLine, LogSource, Outcome, ParamProblem, Report, Request, Risk, Target, Trigger,
};

use catalogue::Catalogue;
use load::Loader;
use route::Routes;
use runtime::Runtime;

/// How often the directory of plugins is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Why the plugins cannot be opened. A single bad plugin is no such reason: it is refused and listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    /// A connection's settings cannot work.
    #[error("connection {name:?}: {reason}")]
    Connection {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cache of compiled code cannot be used.
    #[error("cache of compiled plugins: {0}")]
    Cache(String),
    /// The engine or its threads cannot be started.
    #[error("plugin engine: {0}")]
    Engine(String),
    /// The directory of plugins cannot be made.
    #[error("directory of plugins {}: {error}", .dir.display())]
    Dir {
        /// The directory.
        dir: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
}

/// What the plugins take from the rest of the program.
pub struct Setup<'a> {
    /// Where the cache and, by default, the plugin files are.
    pub data_dir: &'a Path,
    /// How components are compiled.
    pub compiler: Compiler,
    /// The time in Unix microseconds.
    pub now: fn() -> i64,
    /// Environment variables; asked only while opening.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// All plugins of a node. A clone is the same plugins; the threads end with the last one.
#[derive(Clone)]
pub struct Plugins(Arc<Inner>);

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

struct Inner {
    settings: Arc<Settings>,
    dir: PathBuf,
    now: fn() -> i64,
    loader: Loader,
    runtime: Runtime,
    routes: Routes,
    catalogue: RwLock<Arc<Catalogue>>,
    seen: tokio::sync::Mutex<watch::Seen>,
    counted: Counted,
}

#[derive(Default)]
struct Counted {
    loads: AtomicU64,
    refused: AtomicU64,
    ended: [AtomicU64; Ended::KINDS.len()],
}

/// Numbers since the start, for `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Components put into service.
    pub loads: u64,
    /// Components refused.
    pub refused: u64,
    /// Components compiled.
    pub compiled: u64,
    /// Components whose compiled code was in the cache.
    pub cached: u64,
    /// Guests running now.
    pub running: u64,
    /// Attempts by [`Ended::kind`]; every kind is there.
    pub ended: BTreeMap<&'static str, u64>,
}

impl Plugins {
    /// Loads the embedded plugins and those of the directory. Nothing is dialled, and nothing runs in the
    /// background but the guests' own threads.
    pub async fn open(settings: Settings, setup: Setup<'_>) -> Result<Self, Error> {
        if let Some(problem) = settings.problem() {
            return Err(Error::Settings(problem));
        }
        let connections = connections::open(&settings.connections, setup.env)?;
        for grant in &settings.grants {
            if let Some(name) = grant.connections.values().find(|name| !connections.contains_key(*name)) {
                let why = format!("grant of {:?}: there is no connection {name:?}", grant.plugin);
                return Err(Error::Settings(why));
            }
        }
        let routes = Routes::new(&settings.routes, &connections)?;
        let dir = setup.data_dir.join(&settings.dir);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| Error::Dir { dir: dir.clone(), error })?;
        let engine = engine::pooled(&settings)?;
        let settings = Arc::new(settings);
        let loader = Loader {
            linker: host::linker(&engine)?,
            cache: cache::Cache::open(setup.data_dir, &engine)?,
            compiler: setup.compiler,
            settings: Arc::clone(&settings),
            connections,
            now: setup.now,
            compilers: Loader::compilers(),
            compiled: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            engine: engine.clone(),
        };
        let inner = Inner {
            runtime: Runtime::start(engine, Arc::clone(&settings), setup.now)?,
            settings,
            dir,
            now: setup.now,
            loader,
            routes,
            catalogue: RwLock::default(),
            seen: tokio::sync::Mutex::default(),
            counted: Counted::default(),
        };
        inner.load_embedded().await;
        inner.scan(true).await;
        Ok(Self(Arc::new(inner)))
    }

    /// Keeps in step with the directory until told to stop. Running attempts finish with the plugin they
    /// began with.
    pub async fn watch(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            self.0.scan(false).await;
        }
    }

    /// Every plugin, refused ones included, in order of name.
    #[must_use]
    pub fn list(&self) -> Vec<PluginInfo> {
        self.0.catalogue().list()
    }

    /// Which plugin serves an action on a target: the first route that matches decides, else the one
    /// plugin that declares it.
    pub fn route(&self, kind: &str, target: &str) -> Result<Route, RouteError> {
        self.0.routes.find(&self.0.catalogue(), &self.0.settings, kind, target)
    }

    /// Checks parameters against the action's schema. The problems do not repeat the values.
    pub fn check_params(&self, route: &Route, params: &serde_json::Value) -> Result<(), Vec<ParamProblem>> {
        match route.loaded.description.action(&route.action) {
            Some(action) => action.schema.check(params),
            None => Ok(()),
        }
    }

    /// Lets the plugin check what a schema cannot express. It may read through its connections, but
    /// change nothing.
    pub async fn validate(&self, route: &Route, request: &Request) -> Result<(), Vec<ParamProblem>> {
        self.0.runtime.validate(route, request).await
    }

    /// Runs one attempt in a fresh sandbox. It waits for a free sandbox first. Dropping the future ends
    /// the attempt, with nothing known of it; cancelling through the guard tells what was done.
    pub async fn execute(&self, route: &Route, request: Request, lease: Guard) -> Report {
        let report = self.0.runtime.execute(route, &request, lease).await;
        let kind = report.result.kind();
        if let Some(at) = Ended::KINDS.iter().position(|k| *k == kind) {
            self.0.counted.ended[at].fetch_add(1, Ordering::Relaxed);
        }
        report
    }

    /// Runs an action in plan mode: the same code in the same sandbox under the same limits, where calls that read pass
    /// and the host writes down and answers the others. Nothing is retried, keyed or fenced. None: enough plans are being
    /// made. Dropping the future ends it.
    pub async fn plan(&self, route: &Route, request: &Request, cancel: CancellationToken) -> Option<Report> {
        self.0.runtime.plan(route, request, cancel).await
    }

    /// Numbers since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Inner { counted, loader, runtime, .. } = &*self.0;
        Counters {
            loads: load(&counted.loads),
            refused: load(&counted.refused),
            compiled: load(&loader.compiled),
            cached: load(&loader.cached),
            running: runtime.running(),
            ended: Ended::KINDS.iter().zip(&counted.ended).map(|(kind, n)| (*kind, load(n))).collect(),
        }
    }
}

impl Inner {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn exchange(&self, change: impl FnOnce(&Catalogue) -> Catalogue) {
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        *catalogue = Arc::new(change(&catalogue));
    }
}
