//! Three times what the server can do: it goes on doing what it can, loses nothing it took, answers health, and is its
//! old self soon after. `VIGIL_CAMPAIGN=1` does it for ten minutes.

use std::collections::HashSet;
use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::stage::{ask, campaign};
use crate::support::{Options, Request, Vigil, exchange, read_response};

/// Clients that the server is kept busy by.
const CLIENTS: usize = 8;
/// Below this, a time is good whatever it was before: clients, server and disk share two cores.
const SHORT: Duration = Duration::from_millis(50);

/// Clients that send one request after the other, each over its own connection.
struct Crowd {
    stop: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<i64>>>,
    refused: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
    begun: Instant,
}

/// What a crowd was answered.
struct Yield {
    ids: Vec<i64>,
    refused: usize,
    /// Events taken a second.
    rate: f64,
}

impl Crowd {
    /// So many clients. Of every eight, one reads instead of sending events.
    fn start(port: u16, clients: usize) -> Self {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let refused = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients)
            .map(|client| {
                let (stop, taken, refused) = (Arc::clone(&stop), Arc::clone(&taken), Arc::clone(&refused));
                thread::spawn(move || run(port, client, &stop, (&*taken, &*refused)))
            })
            .collect();
        Self { stop, taken, refused, clients, begun: Instant::now() }
    }

    fn stop(self) -> Yield {
        self.stop.store(true, Ordering::Release);
        let took = self.begun.elapsed().as_secs_f64();
        for client in self.clients {
            client.join().expect("a client");
        }
        let ids = std::mem::take(&mut *self.taken.lock().unwrap());
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let rate = ids.len() as f64 / took;
        Yield { ids, refused: self.refused.load(Ordering::Relaxed), rate }
    }

    fn of(port: u16, clients: usize, time: Duration) -> Yield {
        let crowd = Self::start(port, clients);
        thread::sleep(time);
        crowd.stop()
    }
}

fn run(port: u16, client: usize, stop: &AtomicBool, (taken, refused): (&Mutex<Vec<i64>>, &AtomicUsize)) {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut round = 0;
    let mut ids = Vec::new();
    while !stop.load(Ordering::Acquire) {
        round += 1;
        let reads = client % 8 == 7;
        let metric = json!({"name": "load", "value": round, "tags": {"service": format!("s-{client}-{}", round % 50)}});
        let request =
            if reads { Request::get("/api/v1/policies") } else { Request::post("/api/v1/ingest", &metric) };
        stream.get_mut().write_all(&request.header("Connection", "keep-alive").bytes()).unwrap();
        let answer = read_response(&mut stream, false).unwrap();
        match answer.status {
            201 => ids.push(answer.json()["metric_id"].as_i64().unwrap()),
            200 if reads => {}
            429 | 503 => {
                assert!(answer.header("retry-after").is_some(), "when to come back");
                refused.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    taken.lock().unwrap().append(&mut ids);
}

/// Asks for health now and then; answers the time that 99 of 100 did not exceed.
struct Health {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Health {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                times.push(once(port, &Request::get("/health"), 200));
                thread::sleep(Duration::from_millis(10));
            }
            times
        });
        Self { stop, thread }
    }

    fn p99(self) -> Duration {
        self.stop.store(true, Ordering::Release);
        p99(self.thread.join().expect("health was answered each time"))
    }
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99).div_ceil(100) - 1]
}

fn once(port: u16, request: &Request, status: u16) -> Duration {
    let begun = Instant::now();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(exchange(stream, request).unwrap().status, status);
    begun.elapsed()
}

fn calm(port: u16) -> Duration {
    let metric = json!({"name": "calm", "value": 1});
    p99((0..50).map(|_| once(port, &Request::post("/api/v1/ingest", &metric), 201)).collect())
}

#[test]
fn three_times_too_much_is_borne() {
    let time = if campaign() { Duration::from_mins(10) } else { Duration::from_secs(20) };
    // Room for as many as keep it busy; the rest is to be sent away, not to wait.
    let config = format!("[limits]\ningest_in_flight = {CLIENTS}\nin_flight = 4\n");
    let vigil = Vigil::start(Options::default().config(config));
    let port = vigil.port();
    calm(port);
    let before = calm(port);
    let health = Health::start(port);
    let peak = Crowd::of(port, CLIENTS, Duration::from_secs(5));
    let busy = health.p99();

    let health = Health::start(port);
    let over = Crowd::of(port, CLIENTS * 3, time);
    let overloaded = health.p99();
    let begun = Instant::now();
    let mut after = calm(port);
    while after > SHORT.max(before * 3) && begun.elapsed() < Duration::from_secs(10) {
        after = calm(port);
    }
    // A machine that has become busier meanwhile shows it without any overload, too.
    let again = Crowd::of(port, CLIENTS, Duration::from_secs(5));
    println!(
        "peak {:.0}/s before and {:.0}/s after, overload {:.0}/s and {} refused, health {busy:?} then {overloaded:?}, one event {before:?} then {after:?} after {:?}",
        peak.rate,
        again.rate,
        over.rate,
        over.refused,
        begun.elapsed()
    );
    let able = peak.rate.min(again.rate);
    assert!(able > 50.0, "{able}");
    assert!(over.rate >= able * 0.8, "goodput fell from {able:.0}/s to {:.0}/s", over.rate);
    assert!(overloaded <= SHORT.max(busy * 3), "health went from {busy:?} to {overloaded:?}");
    assert!(after <= SHORT.max(before * 3), "still {after:?} after 10 s, not {before:?}");
    assert!(over.refused > 0, "nothing was too much");

    let stored: HashSet<i64> = ask(None, &vigil.data_dir(), "SELECT id FROM sample").into_iter().collect();
    let lost =
        [&peak.ids, &over.ids, &again.ids].into_iter().flatten().filter(|id| !stored.contains(id)).count();
    assert_eq!(lost, 0, "acknowledged and not in the database");
    let log = vigil.log();
    assert!(!log.contains("panicked"), "{log}");
}
