//! A real redis-server without persistence.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Launch, Process, free_port, program, temp_dir, wait_until};

/// One server on 127.0.0.1 and on a unix socket; it forgets everything when it stops.
pub(crate) struct Redis {
    directory: TempDir,
    port: u16,
    server: Option<Process>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let mut redis = Self { directory: temp_dir(), port: free_port(), server: None };
        redis.start_again();
        redis
    }

    /// Starts a stopped server, empty, at the address it had.
    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server is running");
        let port = self.port.to_string();
        let launch = Launch::new(program("redis-server", "redis-server"));
        let launch =
            launch.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
        let launch = launch.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(self.directory.path());
        let mut server = launch.log(&self.directory.path().join("redis.log")).spawn();
        wait_until(Duration::from_secs(10), "redis-server", || {
            assert!(server.alive(), "redis-server ended: {}", server.tail());
            TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.command(&["PING"]).contains("PONG")
        });
        self.server = Some(server);
    }

    /// Stops it with SIGKILL: nothing is saved anyway.
    pub(crate) fn stop(&mut self) {
        self.server.take().expect("the server is running").end(Signal::KILL, Duration::from_secs(5));
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Stops it from answering, its connections staying open (`true`), or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let server = self.server.as_ref().expect("the server is running");
        server.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    pub(crate) fn flush(&self) {
        assert!(self.command(&["FLUSHALL"]).starts_with("+OK"));
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Sends one command on a connection of its own; the answer as it stands on the wire.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(text, "${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
