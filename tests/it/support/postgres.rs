//! A real PostgreSQL cluster in a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use super::process::{missing, remove_at_exit};
use super::{Launch, Process, free_port, program, temp_dir, wait_until};

const PACKAGE: &str = "postgresql";
const UP: Duration = Duration::from_secs(30);

/// One cluster, listening on 127.0.0.1 and on a unix socket.
pub(crate) struct Postgres {
    bin: PathBuf,
    directory: TempDir,
    port: u16,
    fsync: bool,
    server: Option<Process>,
    databases: AtomicUsize,
}

impl Postgres {
    /// The cluster all tests of this process share: no fsync, never stopped by a test.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            let cluster = Self::start(false);
            remove_at_exit(cluster.directory.path());
            cluster
        })
    }

    /// A cluster of its own, for tests that stop it or need what they wrote to be on the disk (`fsync`).
    pub(crate) fn start(fsync: bool) -> Self {
        let directory = temp_dir();
        let bin = bin();
        if let Some(user) = user() {
            let owner = format!("{user}:");
            Launch::new(program("chown", "coreutils")).arg(owner).arg(directory.path()).run();
        }
        let mut initdb = Launch::new(bin.join("initdb")).user(user()).directory(directory.path());
        initdb = initdb.arg("-D").arg(directory.path().join("data")).arg("--no-sync");
        initdb = initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
        initdb.log(&directory.path().join("initdb.log")).run();
        let mut cluster =
            Self { bin, directory, port: free_port(), fsync, server: None, databases: AtomicUsize::new(0) };
        cluster.start_again();
        cluster
    }

    /// Starts a stopped cluster on the port it had.
    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none(), "the cluster is running");
        // A killed postmaster's children let go of its shared memory a moment later than it dies.
        let began = std::time::Instant::now();
        loop {
            let mut server = self.launch().spawn();
            while server.alive() && !self.answers() {
                assert!(began.elapsed() < UP, "PostgreSQL did not start: {}", server.tail());
                std::thread::sleep(Duration::from_millis(20));
            }
            if server.alive() {
                self.server = Some(server);
                return;
            }
            assert!(began.elapsed() < UP, "PostgreSQL ended at once: {}", server.tail());
        }
    }

    fn launch(&self) -> Launch {
        let onoff = if self.fsync { "on" } else { "off" };
        let launch = Launch::new(self.bin.join("postgres")).user(user()).directory(self.directory.path());
        let launch = launch.arg("-D").arg(self.directory.path().join("data"));
        let launch = launch.arg("-k").arg(self.directory.path()).args(["-h", "127.0.0.1", "-p"]);
        let launch = launch.arg(self.port.to_string()).args(["-c", "max_connections=300"]);
        let launch = launch.arg("-c").arg(format!("fsync={onoff}"));
        let launch = launch.arg("-c").arg(format!("full_page_writes={onoff}"));
        launch.log(&self.directory.path().join("postgres.log"))
    }

    fn answers(&self) -> bool {
        self.psql_command("postgres", "SELECT 1").output().is_ok_and(|out| out.status.success())
    }

    /// Ends every session and stops in order ("fast").
    pub(crate) fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Kills the postmaster with -9, as a crash would.
    pub(crate) fn crash(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        let mut server = self.server.take().expect("the cluster is running");
        server.end(signal, Duration::from_secs(20));
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the unix socket.
    pub(crate) fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Creates an empty database and answers its URL.
    pub(crate) fn database(&self) -> String {
        self.database_from("template0")
    }

    /// Creates a copy of a database nobody is connected to, and answers its URL.
    pub(crate) fn database_from(&self, template: &str) -> String {
        let name = format!("vigil_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        self.url(&name)
    }

    /// The URL of a database of this cluster.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_at(self.port, database)
    }

    /// The same through another port of 127.0.0.1, a proxy's.
    #[expect(clippy::unused_self, reason = "reads as the cluster's URL at another door")]
    pub(crate) fn url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{database}")
    }

    /// Runs SQL in a database and answers the rows, one a line, columns divided by `|`.
    #[track_caller]
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        let out = self.psql_command(database, sql).output().unwrap();
        assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    fn psql_command(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
        command.arg(self.directory.path()).arg("-p").arg(self.port.to_string());
        command.args(["-d", database, "-c", sql]);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // "Immediate": no checkpoint, since the directory goes too, but its children are stopped.
            server.end(Signal::QUIT, Duration::from_secs(5));
        }
    }
}

/// The newest of the installed versions: Debian keeps each in a directory of its own, outside PATH.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().map_or_else(|| missing("initdb", PACKAGE), |(_, bin)| bin)
}

/// The servers refuse to run as root.
fn user() -> Option<&'static str> {
    geteuid().is_root().then_some("postgres")
}

/// Waits until the cluster takes connections again, for tests that restarted it behind a proxy.
pub(crate) fn wait_until_up(cluster: &Postgres) {
    wait_until(UP, "PostgreSQL", || cluster.answers());
}
