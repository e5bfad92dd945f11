//! A healthy client beside whatever else is done to a server, and how much memory that server takes.
#![expect(clippy::unwrap_used, reason = "a client that cannot go on must fail its test")]

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Request, exchange};

/// Sends well-formed metrics one after the other until it is stopped; every one must be taken.
pub(crate) struct Pulse {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Times>,
}

/// Response times in ascending order.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Pulse {
    pub(crate) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut times = Vec::new();
            // At least one, however late this thread begins.
            loop {
                times.push(beat(port));
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            times.sort_unstable();
            Times(times)
        });
        Self { stop, thread }
    }

    /// The times since the start.
    pub(crate) fn stop(self) -> Times {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }

    /// The times of this long.
    pub(crate) fn measure(port: u16, time: Duration) -> Times {
        let pulse = Self::start(port);
        std::thread::sleep(time);
        pulse.stop()
    }
}

fn beat(port: u16) -> Duration {
    let metric = json!({"name": "pulse", "value": 1, "tags": {"host": "healthy-01"}});
    let begun = Instant::now();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let answer = exchange(stream, &Request::post("/api/v1/ingest", &metric)).unwrap();
    assert_eq!(answer.status, 201, "a healthy client was refused: {}", answer.text());
    begun.elapsed()
}

impl Times {
    /// With those of another measurement.
    pub(crate) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.sort_unstable();
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that 99 of 100 requests did not exceed.
    pub(crate) fn p99(&self) -> Duration {
        self.0[(self.0.len() * 99).div_ceil(100) - 1]
    }
}

/// Bytes of memory that a process occupies.
pub(crate) fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most bytes of memory that a process has occupied since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// From here on the peak counts.
pub(crate) fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

fn memory(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
