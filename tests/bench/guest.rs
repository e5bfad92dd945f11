//! Plugins run by this process, without server and database around them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vigil_host::clock::Clock;
use vigil_host::plugin::{
    Compiler, ConnectionSettings, Ended, Guard, Plugins, Request, Route, RuleSettings, Settings, Setup,
    Target, Trigger,
};

use crate::{Res, disk};

/// A component of core WebAssembly that does nothing.
#[expect(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "made for tests, and this is one that measures"
)]
#[path = "../fixtures/hostile/mod.rs"]
mod hostile;

/// The plugin host of the library, with the embedded plugins and `noop`.
pub(crate) struct Guests {
    plugins: Plugins,
    _dir: TempDir,
}

impl Guests {
    /// Opens them; the webhook plugin is bound to that port.
    pub(crate) async fn open(webhook: u16) -> Res<Self> {
        let dir = disk::directory()?;
        let files = dir.path().join("plugins");
        std::fs::create_dir(&files)?;
        std::fs::write(files.join("noop.wasm"), hostile::component("noop"))?;
        let mut settings = Settings::default();
        let all = RuleSettings {
            methods: vec!["POST".to_owned()],
            path: "/**".to_owned(),
            query: Vec::new(),
            body: None,
            effect: None,
        };
        let url = format!("http://127.0.0.1:{webhook}/");
        let connection = ConnectionSettings { url, allow: vec![all], ..ConnectionSettings::default() };
        settings.connections.insert("webhook".to_owned(), connection);
        let setup = Setup {
            data_dir: dir.path(),
            compiler: Compiler::Child(env!("CARGO_BIN_EXE_vigil").into()),
            now: || Clock::System.now().micros(),
            env: &|_| None,
        };
        Ok(Self { plugins: Plugins::open(settings, setup).await?, _dir: dir })
    }

    /// Who serves an action of that kind.
    pub(crate) fn route(&self, kind: &str) -> Res<Route> {
        Ok(self.plugins.route(kind, "web-0001").map_err(|why| format!("{kind}: {why}"))?)
    }

    /// Runs one attempt, which must succeed.
    pub(crate) async fn execute(&self, route: &Route) -> Res<()> {
        let (journal, _entries) = mpsc::channel(1);
        let guard =
            Guard { cancel: CancellationToken::new(), holds: Arc::new(|| true), journal, started: None };
        let report = self.plugins.execute(route, request(&route.action), guard).await;
        if matches!(report.result, Ended::Ok(_)) {
            Ok(())
        } else {
            Err(format!("{} ended with {:?}", route.plugin, report.result).into())
        }
    }
}

fn request(action: &str) -> Request {
    Request {
        execution_id: "0198c0de-0000-7000-8000-000000000001".to_owned(),
        attempt: 1,
        action: action.to_owned(),
        target: Target {
            kind: "host".to_owned(),
            name: "web-0001".to_owned(),
            namespace: None,
            labels: [("region".to_owned(), "us-east-1".to_owned())].into(),
        },
        params: json!({}),
        trigger: Trigger::Alert,
        timeout: Duration::from_secs(10),
        deadline_unix_ms: u64::try_from(Clock::System.now().after(Duration::from_secs(10)).micros() / 1000)
            .unwrap_or(u64::MAX),
        attributes: vec![("policy".to_owned(), "bench".to_owned())],
        fence: 1,
    }
}
