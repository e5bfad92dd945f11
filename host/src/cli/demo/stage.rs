//! What the demo starts, and how it is put away: a supervised service and a server that knows about it.

use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::client::Client;
use super::process::Process;
use super::supervisor::Supervisor;
use super::{TARGET, voice};
use crate::cli::{Error, output};

/// The policy's name, its metric and the value above which the service is taken for broken.
pub(super) const POLICY: &str = "checkout-spins";
pub(super) const METRIC: &str = "cpu_percent";
pub(super) const THRESHOLD: f64 = 90.0;

/// A first start makes a database and compiles the plugins.
const START: Duration = Duration::from_secs(30);

/// Everything that runs.
pub(super) struct Stage {
    directory: Option<TempDir>,
    keep: bool,
    pub supervisor: Supervisor,
    pub api: Client,
    server: Option<Child>,
}

/// A supervisor of the service, which is not yet started.
pub(super) fn supervisor() -> Result<Supervisor, Error> {
    Ok(Supervisor::new(process()?, unbounded_channel().0))
}

fn process() -> Result<Process, Error> {
    Ok(Process::new(TARGET, std::env::current_exe()?, vec![OsString::from("demo-service")]))
}

impl Stage {
    /// The stage, and where the supervisor tells what it is asked to change.
    pub(super) fn new(keep: bool) -> Result<(Self, UnboundedReceiver<String>), Error> {
        let directory = tempfile::Builder::new().prefix("vigil-demo-").tempdir()?;
        let (told, calls) = unbounded_channel();
        let supervisor = Supervisor::new(process()?, told);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let api = Client { address: SocketAddr::from(([127, 0, 0, 1], port)) };
        Ok((Self { directory: Some(directory), keep, supervisor, api, server: None }, calls))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().map_or_else(PathBuf::new, |directory| directory.path().join(name))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.path("supervisor.sock")
    }

    /// Starts the server and waits until it answers.
    pub(super) async fn start_server(&mut self) -> Result<(), Error> {
        let config = self.path("vigil.toml");
        std::fs::write(&config, settings(&self.socket()))?;
        let log = File::create(self.path("vigil.log"))?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command
            .args(["tethered", "--", "serve", "--listen", &self.api.address.to_string(), "--config"])
            .arg(config);
        command
            .arg("--data-dir")
            .arg(self.path("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // The demo is the same everywhere: settings of this user's own server are not meant for it.
        let names = std::env::vars_os().map(|(name, _)| name);
        let ours = |name: &OsString| name.to_string_lossy().starts_with("VIGIL_");
        for name in names.filter(ours) {
            command.env_remove(name);
        }
        // Ctrl-C is for us: the server is to be stopped in order.
        command.process_group(0);
        let server = self.server.insert(Command::from(command).kill_on_drop(true).spawn()?);
        let begun = Instant::now();
        while !self.api.is_up().await {
            if let Some(status) = server.try_wait()? {
                return Err(Error::Failed(format!("vigil serve ended with {status}")));
            }
            if begun.elapsed() > START {
                return Err(Error::TimedOut(format!("vigil serve does not answer after {START:?}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Makes the policy that heals the service.
    pub(super) async fn make_policy(&self) -> Result<(), Error> {
        let policy = json!({
            "name": POLICY,
            "description": "The checkout service spins",
            "severity": "critical",
            "target": TARGET,
            "condition": {"type": "metric_exceeds", "metric": METRIC, "threshold": THRESHOLD},
            "action": "restart",
            "auto_remediate": true,
            "params": {},
            // Short and many, since a demo is broken more often than a service.
            "guardrails": {"cooldown": "1s", "settle": "500ms", "max_actions": 100, "blast_radius": {"max": 100}},
        });
        self.api.post("/api/v1/policies", &policy).await.map(drop)
    }

    /// Stops everything. Data and log stay where somebody wants to look at them.
    pub(super) async fn strike(mut self, failed: bool) {
        if let Some(mut server) = self.server.take() {
            if let Some(pid) = server.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if tokio::time::timeout(Duration::from_secs(5), server.wait()).await.is_err() {
                let _ = server.kill().await;
            }
        }
        if failed {
            output::note(voice::tail(&self.path("vigil.log")));
        }
        let directory = self.directory.take();
        if let Some(directory) = directory.filter(|_| failed || self.keep) {
            output::note(format_args!("Data and log are kept in {}", directory.keep().display()));
        }
    }
}

/// The server's settings: one connection with the calls a restart needs, and a route to the plugin that makes them.
fn settings(socket: &Path) -> String {
    format!(
        r#"# It asks what has become of things more often than a stranger may.
[limits.rate]
enabled = false

[connections.demo]
url = "unix://{}"

[[connections.demo.allow]]
methods = ["POST"]
path = "/RPC2"
body = ["supervisor.get*"]
effect = "read"

[[connections.demo.allow]]
methods = ["POST"]
path = "/RPC2"
body = ["supervisor.startProcess", "supervisor.stopProcess"]

[[routes]]
action = "restart"
target = "{TARGET}"
plugin = "supervisor"
connections = {{ supervisor = "demo" }}
"#,
        socket.display()
    )
}
