//! Three times what the server can do: it goes on doing what it can, loses nothing it took, answers health, and is its
//! old self soon after. `VIGIL_CAMPAIGN=1` does it for ten minutes without a pause.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stage::{campaign, stored};
use crate::support::{Options, Request, Vigil, exchange, read_response};

/// Clients that the server is kept busy by.
const CLIENTS: usize = 8;
/// Clients of the overload. They keep to a timetable, not to the answers, so there must be enough of them to wait for
/// the answers of a moment.
const CROWD: usize = 96;
/// How many times too much.
const TIMES: f64 = 3.0;
/// Events of one request: so many that few requests are all that two cores can do.
const EVENTS: usize = 1_000;
/// Policies that look at each of them: what makes the server's part of the work larger than the clients'.
const POLICIES: usize = 100;
/// Requests worked on at once: one makes a batch of its own. What waits for a tenth of a second beside them is sent away.
const ROOM: usize = 1;
/// Below this, a time is good whatever it was before: clients, server and disk share two cores.
const SHORT: Duration = Duration::from_millis(50);

/// Clients, each over its own connection.
struct Crowd {
    stop: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<i64>>>,
    sent: Arc<AtomicUsize>,
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
    /// Requests sent a second.
    offered: f64,
}

/// How a client goes about it.
#[derive(Clone)]
struct Errand {
    client: usize,
    port: u16,
    /// Between the beginnings of two requests. None: the next follows on the answer.
    pace: Option<Duration>,
}

impl Crowd {
    /// So many clients; of every eight, one reads and one makes actions instead of sending events.
    fn start(port: u16, clients: usize, offered: Option<f64>) -> Self {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (sent, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        #[expect(clippy::cast_precision_loss, reason = "a hundred clients")]
        let pace = offered.map(|offered| Duration::from_secs_f64(clients as f64 / offered));
        let clients = (0..clients)
            .map(|client| {
                let (stop, taken) = (Arc::clone(&stop), Arc::clone(&taken));
                let (sent, refused) = (Arc::clone(&sent), Arc::clone(&refused));
                let errand = Errand { client, port, pace };
                thread::spawn(move || run(&errand, &stop, &taken, (&sent, &refused)))
            })
            .collect();
        Self { stop, taken, sent, refused, clients, begun: Instant::now() }
    }

    fn stop(self) -> Yield {
        self.stop.store(true, Ordering::Release);
        let took = self.begun.elapsed().as_secs_f64();
        let sent = self.sent.load(Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client");
        }
        let ids = std::mem::take(&mut *self.taken.lock().unwrap());
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let (rate, offered) = (ids.len() as f64 / took, sent as f64 / took);
        Yield { ids, refused: self.refused.load(Ordering::Relaxed), rate, offered }
    }

    fn of(port: u16, (clients, offered): (usize, Option<f64>), time: Duration) -> Yield {
        let crowd = Self::start(port, clients, offered);
        thread::sleep(time);
        crowd.stop()
    }
}

fn run(
    errand: &Errand,
    stop: &AtomicBool,
    taken: &Mutex<Vec<i64>>,
    (sent, refused): (&AtomicUsize, &AtomicUsize),
) {
    let client = errand.client;
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", errand.port)).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let metric = |at: usize| json!({"name": "load", "value": at, "tags": {"service": format!("s-{client}-{}", at % 50)}});
    let action = json!({"target": format!("a-{client}"), "action": "reboot-rack"});
    let request = match client % 8 {
        6 => Request::post("/api/v1/actions", &action),
        7 => Request::get("/api/v1/policies?limit=20"),
        _ => Request::post("/api/v1/ingest", &(0..EVENTS).map(metric).collect()),
    };
    let bytes = request.header("Connection", "keep-alive").bytes();
    let mut ids = Vec::new();
    // Not all at the same moment.
    let mut next = Instant::now() + errand.pace.unwrap_or_default().mul_f64(client as f64 / CROWD as f64);
    while !stop.load(Ordering::Acquire) {
        if let Some(pace) = errand.pace {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += pace;
        }
        sent.fetch_add(1, Ordering::Relaxed);
        stream.get_mut().write_all(&bytes).unwrap();
        let answer = read_response(&mut stream, false).unwrap();
        match answer.status {
            201 if client % 8 != 6 => {
                ids.extend(answer.json()["metric_ids"].as_array().unwrap().iter().filter_map(Value::as_i64));
            }
            200 | 201 => {}
            429 | 503 => {
                assert!(answer.header("retry-after").is_some(), "when to come back");
                refused.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    taken.lock().unwrap().append(&mut ids);
}

/// Asks for health now and then.
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

    fn times(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("health was answered each time")
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

/// What all rounds came to. What a server can do is measured in between again and again, since this machine may be
/// busy with other things at any time.
#[derive(Default)]
struct Tally {
    ids: Vec<i64>,
    refused: usize,
    /// Events a second: as many clients as keep it busy, and three times as many.
    able: f64,
    over: f64,
    /// Requests a second, sent while overloaded, for each that the server can answer.
    times: f64,
    /// Times of health: busy, and overloaded.
    busy: Vec<Duration>,
    overloaded: Vec<Duration>,
}

impl Tally {
    fn round(&mut self, port: u16, rounds: u32, time: Duration) {
        let health = Health::start(port);
        let able = Crowd::of(port, (CLIENTS, None), Duration::from_secs(3));
        self.busy.extend(health.times());
        let health = Health::start(port);
        let over = Crowd::of(port, (CROWD, Some(able.offered * TIMES)), time);
        self.overloaded.extend(health.times());
        self.able += able.rate / f64::from(rounds);
        self.over += over.rate / f64::from(rounds);
        self.times += over.offered / able.offered / f64::from(rounds);
        self.refused += over.refused;
        self.ids.extend(able.ids.into_iter().chain(over.ids));
    }
}

#[test]
fn three_times_too_much_is_borne() {
    let (rounds, time) = if campaign() { (1, Duration::from_mins(10)) } else { (5, Duration::from_secs(4)) };
    let config = format!("[limits]\ningest_in_flight = {ROOM}\nin_flight = {ROOM}\n");
    let vigil = Vigil::start(Options::default().config(config));
    let port = vigil.port();
    for number in 0..POLICIES {
        let condition = json!({"type": "metric_exceeds", "metric": "load", "threshold": EVENTS + number});
        let policy = json!({"name": format!("p-{number}"), "target": "*", "action": "restart", "condition": condition});
        vigil.post("/api/v1/policies", &policy).expect(201);
    }
    calm(port);
    let before = calm(port);
    let mut tally = Tally::default();
    (0..rounds).for_each(|_| tally.round(port, rounds, time));
    let begun = Instant::now();
    let mut after = calm(port);
    while after > SHORT.max(before * 3) && begun.elapsed() < Duration::from_secs(10) {
        after = calm(port);
    }
    let (busy, overloaded) = (p99(tally.busy), p99(tally.overloaded));
    println!(
        "able {:.0}/s, {:.1} times as many requests as it can answer: {:.0}/s and {} refused, health {busy:?} then {overloaded:?}, one event {before:?} then {after:?} after {:?}",
        tally.able,
        tally.times,
        tally.over,
        tally.refused,
        begun.elapsed()
    );
    assert!(tally.able > 50.0, "{}", tally.able);
    assert!(tally.over >= tally.able * 0.8, "goodput fell from {:.0}/s to {:.0}/s", tally.able, tally.over);
    assert!(overloaded <= SHORT.max(busy * 3), "health went from {busy:?} to {overloaded:?}");
    assert!(after <= SHORT.max(before * 3), "still {after:?} after 10 s, not {before:?}");
    assert!(tally.refused > 0, "nothing was too much");

    let stored = stored(None, &vigil.data_dir());
    let lost = tally.ids.iter().filter(|id| !stored.contains(id)).count();
    assert_eq!(lost, 0, "acknowledged and not in the database");
    assert!(!vigil.log().contains("panicked"));
}
