//! Real servers and the binary itself, started for tests and stopped with them.
//!
//! Everything here is a child process or a thread of the test process. A child is killed by its own pid when its
//! handle is dropped (also while a test panics), and by the kernel when the test process dies.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness that cannot go on must fail its test"
)]
#![expect(dead_code, reason = "each test takes the part of the harness it needs")]

pub(crate) mod conform;
mod http;
mod postgres;
mod process;
mod prometheus;
mod proxy;
mod redis;
mod smoke;
mod supervisord;
mod target;
mod target_http;
mod vigil;

use std::net::TcpListener;
use std::time::{Duration, Instant};

pub(crate) use http::{Request, Response, exchange, read_response};
pub(crate) use postgres::Postgres;
pub(crate) use process::{Launch, Process, missing, program};
pub(crate) use prometheus::Prometheus;
pub(crate) use proxy::{FaultProxy, Mode};
pub(crate) use redis::Redis;
pub(crate) use supervisord::{Program, Supervisord};
pub(crate) use target::{Answer, Behaviour, Call, CountingTarget};
pub(crate) use vigil::{Options, Vigil};

/// A TCP port nobody listens on now. Another process may take it before its user does; that is rare enough.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A temporary directory with a short name: a unix socket's path may have at most 107 bytes.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("vit").tempdir().unwrap()
}

/// Asks every 20 ms until `done` says yes; fails the test, naming `what`, when it has not within `limit`.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Like [`wait_until`] for a value: the first `Some`.
#[track_caller]
pub(crate) fn wait_for<T>(limit: Duration, what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_until(limit, what, || {
        found = get();
        found.is_some()
    });
    found.unwrap()
}
