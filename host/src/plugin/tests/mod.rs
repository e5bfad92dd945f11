//! Runs real components: the embedded ones, and hostile ones that are assembled here.

mod calls;
mod guests;
#[path = "../../../../tests/fixtures/hostile/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with the integration tests, which use more of it")]
mod hostile;
mod plan;
mod reload;
mod speed;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Compiler, ConnectionSettings, Guard, JournalEntry, PluginInfo, Plugins, Report, Request, Route, Settings,
    Setup, Status, Target, Trigger,
};

/// Plugins with a directory of their own.
struct Host {
    plugins: Plugins,
    data: TempDir,
}

impl Host {
    async fn with(settings: Settings, components: &[(&str, Vec<u8>)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("plugins")).unwrap();
        for (name, bytes) in components {
            drop_file(data.path(), name, bytes);
        }
        Self { plugins: open(settings, data.path()).await, data }
    }

    /// With some of the hostile components.
    async fn hostile(settings: Settings, names: &[&str]) -> Self {
        let components: Vec<_> = names.iter().map(|name| (*name, hostile::component(name))).collect();
        Self::with(settings, &components).await
    }

    fn info(&self, name: &str) -> PluginInfo {
        self.plugins.list().into_iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Why a file was refused.
    fn refused(&self, name: &str) -> String {
        let info = self.info(name);
        assert_eq!(info.status, Status::Refused, "{name}");
        info.reason.unwrap()
    }

    async fn run(&self, action: &str) -> Report {
        let route = self.plugins.route(action, "web").unwrap();
        self.plugins.execute(&route, request(&route), guard()).await
    }
}

async fn open(settings: Settings, data: &Path) -> Plugins {
    let compiler = Compiler::InProcess;
    let setup = Setup { data_dir: data, compiler, now: || 1_700_000_000_000_000, env: &|_| None };
    Plugins::open(settings, setup).await.unwrap()
}

/// Puts a file there as it should be done: whole, by its name.
fn drop_file(data: &Path, name: &str, bytes: &[u8]) {
    let dir = data.join("plugins");
    let part = dir.join(format!(".{name}.part"));
    std::fs::write(&part, bytes).unwrap();
    std::fs::rename(part, dir.join(format!("{name}.wasm"))).unwrap();
}

/// Few sandboxes: a pool reserves address space for each.
fn small() -> Settings {
    Settings { concurrency: 4, ..Settings::default() }
}

fn connected(slot: &str, connection: ConnectionSettings) -> Settings {
    let mut settings = small();
    settings.connections.insert(slot.to_owned(), connection);
    settings
}

fn request(route: &Route) -> Request {
    Request {
        execution_id: "e-1".to_owned(),
        attempt: 1,
        action: route.action.clone(),
        target: Target {
            kind: "service".to_owned(),
            name: "web".to_owned(),
            namespace: None,
            labels: std::collections::BTreeMap::new(),
        },
        params: json!({}),
        trigger: Trigger::Alert,
        timeout: Duration::from_secs(5),
        deadline_unix_ms: 1_700_000_005_000,
        attributes: Vec::new(),
        fence: 7,
    }
}

/// A lease that holds, and a journal that nobody reads.
fn guard() -> Guard {
    journalled().0
}

fn journalled() -> (Guard, mpsc::Receiver<JournalEntry>) {
    let (journal, entries) = mpsc::channel(1);
    let guard = Guard {
        cancel: CancellationToken::new(),
        holds: Arc::new(|| true),
        journal,
        started: None,
        bound: None,
    };
    (guard, entries)
}
