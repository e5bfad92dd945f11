//! The servers that are measured: children of this process, watched from outside and killed by their pid.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::Client;
use crate::{Res, disk};

/// How long a start may take: the first one compiles the embedded plugins.
const UP: Duration = Duration::from_secs(90);
/// `USER_HZ`, in which the kernel tells CPU times; 100 on every architecture we run on.
const TICKS: u64 = 100;

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: std::process::Child,
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    /// From its start to its first answer.
    pub(crate) up_after: Duration,
    dir: Option<TempDir>,
}

/// How a Vigil is started.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// Its policies.
    pub(crate) policies: Vec<Value>,
    /// More of its `vigil.toml`.
    pub(crate) config: String,
    /// Further arguments.
    pub(crate) args: Vec<String>,
}

impl Server {
    /// The bare axum echo: this binary again, in another role.
    pub(crate) fn echo() -> Res<Self> {
        let port = free_port()?;
        let mut command = tied(&std::env::current_exe()?);
        command.arg("--echo").arg(port.to_string());
        Self::start(command, port, None)
    }

    /// The program of this build with a fresh data directory and its default settings, but without rate limits.
    pub(crate) fn vigil(setup: &Setup) -> Res<Self> {
        let dir = disk::directory()?;
        Self::vigil_in(dir, setup)
    }

    /// The same with a directory that has been used before.
    pub(crate) fn vigil_in(dir: TempDir, setup: &Setup) -> Res<Self> {
        let port = free_port()?;
        let policies = dir.path().join("policies.json");
        std::fs::write(&policies, json!({"policies": setup.policies}).to_string())?;
        let config = dir.path().join("vigil.toml");
        let mut file = std::fs::File::create(&config)?;
        writeln!(file, "{}\n[policies]\npaths = [{:?}]", setup.config, policies.display().to_string())?;
        let mut command = tied(Path::new(env!("CARGO_BIN_EXE_vigil")));
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--config"]).arg(config);
        command.arg("--data-dir").arg(dir.path().join("data")).args(&setup.args);
        command.env("HOME", dir.path()).current_dir(dir.path());
        // Its rate limits are for strangers; a load test is one, so it goes without them.
        command.env("VIGIL_LIMITS__RATE__ENABLED", "false");
        Self::start(command, port, Some(dir))
    }

    fn start(mut command: Command, port: u16, dir: Option<TempDir>) -> Res<Self> {
        // Its log goes where it costs the server what it costs, and the disk nothing.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let child = command.spawn()?;
        let mut server = Self { child, port, up_after: Duration::ZERO, dir };
        while !answers(port) {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{command:?} ended with {status}").into());
            }
            if begun.elapsed() > UP {
                return Err(format!("{command:?} does not answer").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        server.up_after = begun.elapsed();
        Ok(server)
    }

    /// Asks it to end, and gives its directory back.
    pub(crate) fn end(mut self) -> Res<TempDir> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > Duration::from_secs(40) {
                return Err("the server does not end".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.dir.take().ok_or_else(|| "it had no directory".into())
    }

    /// CPU time that it has used, user and system, of all its threads.
    pub(crate) fn cpu(&self) -> Res<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; fields are counted from behind it, the state being the third.
        let (_, rest) = stat.rsplit_once(") ").ok_or("an odd /proc/…/stat")?;
        let mut fields = rest.split(' ').skip(11);
        let mut next = || -> Res<u64> { Ok(fields.next().ok_or("a short /proc/…/stat")?.parse()?) };
        Ok(Duration::from_millis((next()? + next()?) * (1000 / TICKS)))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> Res<u64> {
        kib(&PathBuf::from(format!("/proc/{}/status", self.child.id())), "VmRSS:")
    }

    /// Proportional memory in KiB.
    pub(crate) fn proportional(&self) -> Res<u64> {
        kib(&PathBuf::from(format!("/proc/{}/smaps_rollup", self.child.id())), "Pss:")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command whose process the kernel kills together with this one, where `setpriv` is installed.
fn tied(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn answers(port: u16) -> bool {
    let request = format!("GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    Client::connect(port).and_then(|mut client| client.send(request.as_bytes())).is_ok()
}

fn free_port() -> Res<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn kib(file: &Path, field: &str) -> Res<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("a field is missing")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The echo server itself: axum as it is, which answers a body with the same body.
pub(crate) fn echo(port: u16) -> Res<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let router = axum::Router::new()
            .route("/health", axum::routing::get(async || "ok"))
            .route("/", axum::routing::post(async |body: axum::body::Bytes| body));
        axum::serve(listener, router).await?;
        Ok(())
    })
}
