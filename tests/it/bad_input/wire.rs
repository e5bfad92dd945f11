//! What stands around a body: names, origins, proxies, heads too large, too slow or ambiguous.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Siege, metric};
use crate::support::{Options, Request};

const GOOD: &str = r#"{"name":"a","value":1}"#;

#[test]
fn hosts_and_origins() {
    let mut siege = Siege::start(Options::default());
    let health = |host: &str| Request::get("/health").header("Host", host);
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::ffff:127.0.0.1]",
        "[::]",
        "0.0.0.0",
        "user@localhost",
        "localhost@evil.example",
        "localhost:80:80",
        "localhost,evil.example",
        "",
    ] {
        siege.case(&format!("host {host:?}"), &health(host), 421);
    }
    for host in ["localhost", "LOCALHOST:9", "127.0.0.1:8000", "[::1]", "[::1]:80"] {
        siege.case(&format!("host {host:?}"), &health(host), 200);
    }
    siege.case("two hosts", &health("localhost").header("Host", "localhost"), 400);
    siege.case("two hosts, one evil", &health("localhost").header("host", "evil.example"), 400);

    for (name, header, value) in [
        ("an evil origin", "Origin", "https://evil.example"),
        ("a null origin", "Origin", "null"),
        ("a local origin on another port", "Origin", "http://localhost:3000"),
        ("an origin that begins like ours", "Origin", "http://localhost.evil.example"),
        ("an origin of two", "Origin", "http://localhost http://evil.example"),
        ("an empty origin", "Origin", ""),
        ("cross-site", "Sec-Fetch-Site", "cross-site"),
        ("same-site", "Sec-Fetch-Site", "same-site"),
        ("X-Forwarded-For", "X-Forwarded-For", "10.0.0.1"),
        ("X-Real-IP", "X-Real-IP", "127.0.0.1"),
        ("Forwarded", "Forwarded", "for=10.0.0.1"),
    ] {
        siege.case(&format!("POST with {name}"), &metric(GOOD).header(header, value), 403);
        for method in ["PUT", "DELETE"] {
            let request = Request::new(method, "/api/v1/policies/x").header(header, value);
            siege.case(&format!("{method} with {name}"), &request, 403);
        }
    }
    let port = siege.vigil.port();
    for origin in [format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}")] {
        let host = origin.trim_start_matches("http://").to_owned();
        let request = metric(GOOD)
            .header("Origin", &origin)
            .header("Host", host)
            .header("Sec-Fetch-Site", "same-origin");
        siege.case("our own origin", &request, 201);
    }
    let untyped = Request::new("POST", "/api/v1/ingest").header("Host", format!("localhost:{port}"));
    let untyped = untyped.header("Origin", format!("http://localhost:{port}")).body(GOOD);
    siege.invalid("a page's body without a type", &untyped, "model_attributes_type");
    let request = Request::get("/health").header("Sec-Fetch-Site", "cross-site");
    siege.case("reading across sites", &request, 200);
    siege.end(55);
}

#[test]
fn request_ids() {
    let mut siege = Siege::start(Options::default());
    let with = |id: &str| Request::get("/nonsense").header("X-Request-ID", id);
    let echoed = siege.case("an id", &with("abc-1~"), 404);
    assert_eq!(echoed.header("x-request-id"), Some("abc-1~"), "a plain id is used");
    for id in [String::new(), "x".repeat(129), "a b".into(), "a\tb".into(), "caf\u{e9}".into()] {
        let answer = siege.case(&format!("the id {id:?}"), &with(&id), 404);
        let given = answer.header("x-request-id").unwrap();
        assert!(given != id && given.len() == 36, "{id:?} is replaced, not {given:?}");
    }
    siege.end(6);
}

/// Status lines in what came back, in order.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[test]
fn heads_that_are_too_large_or_wrong() {
    let mut siege = Siege::start(Options::default());
    let get = |more: &str| format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    let many: String = (0..120).map(|n| format!("X-H{n}: x\r\n")).collect();
    let post = |more: &str, body: &str| {
        format!(
            "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\r\n{body}"
        )
    };
    for (name, bytes, allowed) in [
        ("120 headers", get(&many), &[431][..]),
        ("a header of 500 KB", get(&format!("X: {}\r\n", "x".repeat(500_000))), &[431]),
        (
            "a URI of 70 KB",
            format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(70_000)),
            &[414],
        ),
        ("no host", "GET /health HTTP/1.1\r\n\r\n".into(), &[400]),
        ("no protocol", "GET /health\r\n\r\n".into(), &[400]),
        ("another protocol", "GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n".into(), &[400, 505]),
        ("a NUL in a header", get("X: a\0b\r\n"), &[400]),
        ("a newline in a name", get("X\n: y\r\n"), &[400]),
        ("a blank before the colon", get("X : y\r\n"), &[400]),
        ("a folded header", get("X: a\r\n b\r\n"), &[400]),
        ("no colon", get("nonsense\r\n"), &[400]),
        ("a TLS hello", "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\r\n\r\n".into(), &[400]),
        ("HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &[400, 505]),
        ("two lengths", post("Content-Length: 22\r\nContent-Length: 5\r\n", GOOD), &[400]),
        ("a length with a sign", post("Content-Length: +22\r\n", GOOD), &[400]),
        ("a negative length", post("Content-Length: -1\r\n", GOOD), &[400]),
        ("a huge chunk", post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nx"), &[400]),
        ("a chunk that is none", post("Transfer-Encoding: chunked\r\n", "zz\r\nx"), &[400]),
        ("an unknown coding", post("Transfer-Encoding: gzip\r\n", GOOD), &[400, 501]),
        ("a body that ends early", post("Content-Length: 1000\r\n", GOOD), &[400]),
    ] {
        siege.cases += 1;
        let answer = siege.vigil.raw(bytes.as_bytes());
        let found = statuses(&answer);
        let one = matches!(found.as_slice(), [status] if allowed.contains(status))
            || found.is_empty() && name.contains("early");
        assert!(one, "{name}: {found:?}, not one of {allowed:?}: {}", String::from_utf8_lossy(&answer));
        siege.alive(name);
    }
    siege.end(20);
}

/// Two framings at once: whatever the server makes of it, one answer comes and the connection is closed, so
/// that nothing is read as a second request.
#[test]
fn ambiguous_framing_is_one_request() {
    let mut siege = Siege::start(Options::default());
    let hidden = "POST /api/v1/actions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                  Content-Length: 31\r\n\r\n{\"target\":\"t\",\"action\":\"hidden\"}";
    let head = "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for (name, bytes) in [
        (
            "length and chunks",
            format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunks and length",
            format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunks twice",
            format!(
                "{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
    ] {
        siege.cases += 1;
        let answer = siege.vigil.raw(bytes.as_bytes());
        assert_eq!(statuses(&answer).len(), 1, "{name}: {}", String::from_utf8_lossy(&answer));
        siege.alive(name);
    }
    assert_eq!(siege.vigil.get_json("/api/v1/actions")["total"], 0, "a hidden request was carried out");
    siege.end(3);
}

/// Reads until the server hangs up; fails after a minute.
fn hung_up(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let kind = error.kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "the connection stays open");
    }
    answer
}

#[test]
fn slow_clients_are_disconnected() {
    let config = "[server]\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"\n";
    let mut siege = Siege::start(Options::default().config(config));
    let connect = || TcpStream::connect(("127.0.0.1", siege.vigil.port())).unwrap();
    let head = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        GOOD.len()
    );
    // Half a head, and half a body, each of which never goes on.
    let mut quiet: Vec<TcpStream> = (0..20).map(|_| connect()).collect();
    for (n, stream) in quiet.iter_mut().enumerate() {
        let part = if n % 2 == 0 { "GET /health HTTP/1.1\r\nHo".to_owned() } else { format!("{head}{{") };
        stream.write_all(part.as_bytes()).unwrap();
    }
    // A head that drips: each byte in time, the whole never.
    let mut drip = connect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(1) && drip.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() < Duration::from_mins(1), "a dripping head is read for ever");
    for (n, stream) in quiet.iter_mut().enumerate() {
        let answer = hung_up(stream);
        let expected: &[u16] = if n % 2 == 0 { &[] } else { &[408] };
        let found = statuses(&answer);
        assert!(found == expected || found == [408], "connection {n}: {found:?}, not {expected:?}");
    }
    siege.cases += 21;
    siege.alive("slow clients");
    siege.end(21);
}
