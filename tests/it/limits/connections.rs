//! Connections: how many, how slow, and the reserve that lets an operator in all the same.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Options, Request, Vigil, exchange, wait_until};

fn connect(vigil: &Vigil) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", vigil.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Whether the server has ended a connection; waits up to this long for it.
fn ended(stream: &mut TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(limit)).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(0) => true,
        Ok(_) => panic!("it says something"),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => false,
            ErrorKind::ConnectionReset => true,
            other => panic!("{other}"),
        },
    }
}

#[test]
fn one_address_has_so_many_connections() {
    let config = "[server]\nmax_connections_per_peer = 10\nheader_timeout = \"30s\"\n";
    let vigil = Vigil::start(Options::default().config(config));
    // The connection that asked whether the server is up gives its place back a moment later than its answer.
    let mut open: Vec<TcpStream> = Vec::new();
    wait_until(Duration::from_secs(5), "ten to stay", || {
        open.resize_with(10, || connect(&vigil));
        open.retain_mut(|stream| !ended(stream, Duration::from_millis(50)));
        open.len() == 10
    });
    assert!(ended(&mut connect(&vigil), Duration::from_secs(5)), "the eleventh is closed");
    assert!(open.iter_mut().all(|stream| !ended(stream, Duration::from_millis(50))), "the others stay");
    drop(open);
    wait_until(Duration::from_secs(5), "room again", || vigil.try_send(&Request::get("/health")).is_ok());
    // A proxy speaks for many.
    let config = "[server]\nmax_connections_per_peer = 10\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let vigil = Vigil::start(Options::default().config(config));
    let _open: Vec<TcpStream> = (0..50).map(|_| connect(&vigil)).collect();
    vigil.get("/health").expect(200);
}

#[test]
fn a_crowd_does_not_lock_the_operator_out() {
    let config = "[server]\nmax_connections = 20\nheader_timeout = \"60s\"\n";
    let vigil = Vigil::start(Options::default().config(config));
    let action = json!({"target": "web", "action": "restart"});
    let id = vigil.post_json("/api/v1/actions", &action)["action_id"].clone();
    // Its place is given back a moment after its answer; the crowd is to find all of them.
    std::thread::sleep(Duration::from_millis(300));
    let crowd: Vec<TcpStream> = (0..20).map(|_| connect(&vigil)).collect();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    for _ in 0..50 {
        vigil.get("/health").expect(200);
    }
    vigil.get("/metrics").expect(200);
    let other = vigil.get("/api/v1/policies").expect(503);
    assert!(other.header("retry-after").is_some() && other.json()["detail"].is_string());
    vigil.send(&Request::new("PUT", &format!("/api/v1/actions/{id}/cancel"))).expect(200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Even if the reserve is held by connections that say nothing: those have little time.
    let quiet: Vec<TcpStream> = (0..70).map(|_| connect(&vigil)).collect();
    let begun = Instant::now();
    vigil.get("/health").expect(200);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop((crowd, quiet));
    wait_until(Duration::from_secs(10), "everything to be served again", || {
        vigil.try_send(&Request::get("/api/v1/policies")).is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn idle_and_dripping_connections_end() {
    let config = "[server]\nheader_timeout = \"1s\"\n";
    let vigil = Vigil::start(Options::default().config(config));
    let mut silent = connect(&vigil);
    let mut half = connect(&vigil);
    half.write_all(b"GET /health HTTP/1.1\r\nHost: localh").unwrap();
    // One that has been answered and then says nothing more.
    let mut idle = connect(&vigil);
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut begin = [0; 15];
    idle.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    let begun = Instant::now();
    for (name, stream) in [("silent", &mut silent), ("half", &mut half), ("idle", &mut idle)] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let end = stream.read_to_end(&mut Vec::new());
        let over = end.as_ref().map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |_| true);
        assert!(over, "{name}: {end:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_reads_nothing_is_disconnected() {
    let config = "[server]\nwrite_timeout = \"1s\"\n";
    let vigil = Vigil::start(Options::default().config(config));
    for n in 0..200 {
        let policy = json!({"name": format!("p-{n}"), "action": "restart", "description": "x".repeat(4_000),
            "condition": {"type": "metric_exceeds", "metric": "c", "threshold": 1}});
        vigil.post_json("/api/v1/policies", &policy);
    }
    // Answers of nearly a megabyte, a hundred of them asked for in one go and none read.
    let mut deaf = connect(&vigil);
    let ask = "GET /api/v1/policies HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let begun = Instant::now();
    let mut sent = deaf.write_all(ask.as_bytes());
    while sent.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it waits for ever");
        std::thread::sleep(Duration::from_millis(100));
        sent = deaf.write_all(b"GET /api/v1/policies HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    vigil.get("/health").expect(200);
}

#[test]
fn what_finds_no_room_is_told_to_come_back_and_health_is_not() {
    let config = "[server]\nbody_timeout = \"10s\"\n[limits]\nin_flight = 2\ningest_in_flight = 2\n";
    let vigil = Vigil::start(Options::default().config(config));
    let id = vigil.post_json("/api/v1/actions", &json!({"target": "web", "action": "restart"}))["action_id"]
        .clone();
    // Requests whose bodies never come hold the room.
    let hold = |path: &str| {
        let mut stream = connect(&vigil);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let held: Vec<TcpStream> = ["/api/v1/ingest", "/api/v1/ingest", "/api/v1/policies", "/api/v1/policies"]
        .iter()
        .map(|path| hold(path))
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    for request in
        [Request::post("/api/v1/ingest", &json!({"name": "m", "value": 1})), Request::get("/api/v1/policies")]
    {
        let begun = Instant::now();
        let answer = vigil.send(&request).expect(429);
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(80) && took < Duration::from_secs(2), "{took:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json()["retry_after"], 1);
    }
    for _ in 0..20 {
        vigil.get("/health").expect(200);
    }
    vigil.send(&Request::new("PUT", &format!("/api/v1/actions/{id}/cancel"))).expect(200);
    drop(held);
    wait_until(Duration::from_secs(5), "room again", || vigil.get("/api/v1/policies").status == 200);
}

#[test]
fn bodies_share_a_memory() {
    let config = "[server]\nbody_timeout = \"5s\"\n[limits]\nbodies = \"8MiB\"\n";
    let vigil = Vigil::start(Options::default().config(config));
    let mut stream = connect(&vigil);
    let head = "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n[";
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let body = |bytes: usize| {
        let metric = json!({"name": "m", "value": 1, "padding": "x".repeat(bytes)});
        exchange(connect(&vigil), &Request::post("/api/v1/ingest", &metric)).unwrap().status
    };
    assert_eq!(body(10), 201, "a small one fits beside it");
    assert_eq!(body(2_000_000), 429, "a large one does not");
    drop(stream);
    wait_until(Duration::from_secs(10), "memory again", || body(2_000_000) == 201);
}

#[test]
fn large_heads_are_answered_in_our_shape() {
    let vigil = Vigil::start(Options::default());
    let many = (0..110).fold(Request::get("/health"), |request, n| request.header(&format!("X-{n}"), "x"));
    let long = Request::get("/health").header("X", "x".repeat(70 << 10));
    let target = Request::get(&format!("/{}", "x".repeat(9 << 10)));
    for (request, status) in [(many, 431), (long, 431), (target, 414)] {
        let answer = vigil.send(&request).expect(status);
        let body = answer.json();
        assert!(body["detail"].is_string() && body["status"] == status, "{body}");
        assert!(answer.header("x-request-id").is_some());
    }
    vigil.get(&format!("/api/v1/policies/{}", "x".repeat(255))).expect(404);
}
