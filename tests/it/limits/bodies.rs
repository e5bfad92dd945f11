//! Compressed bodies: undone, bounded, and refused where they are something else.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;

use crate::pulse::{forget_peak, peak};
use crate::support::{Options, Request, Vigil};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn post(path: &str, encoding: &str, body: Vec<u8>) -> Request {
    let request = Request::new("POST", path).header("Content-Type", "application/json");
    request.header("Content-Encoding", encoding).body(body)
}

fn batch(events: usize) -> Vec<u8> {
    let event = |n: usize| json!({"name": "m", "value": n, "tags": {"service": format!("s-{n}"), "pad": "x".repeat(900)}});
    serde_json::to_vec(&(0..events).map(event).collect::<Vec<_>>()).unwrap()
}

#[test]
fn compressed_events_are_read() {
    let vigil = Vigil::start(Options::default());
    let one = br#"{"name":"a","value":1}"#;
    for (encoding, body) in [
        ("gzip", gzip(one)),
        ("x-gzip", gzip(one)),
        ("GZip", gzip(one)),
        ("deflate", deflate(one)),
        ("identity", one.to_vec()),
        // Two members in a row are one text.
        ("gzip", [gzip(&one[..9]), gzip(&one[9..])].concat()),
    ] {
        vigil.send(&post("/api/v1/ingest", encoding, body)).expect(201);
    }
    // More than a plain body may have, and less than a decoded one may.
    let large = batch(9_500);
    assert!(large.len() > 8 << 20, "{}", large.len());
    let plain =
        Request::new("POST", "/api/v1/ingest").header("Content-Type", "application/json").body(large.clone());
    vigil.send(&plain).expect(413);
    let taken = vigil.send(&post("/api/v1/ingest", "gzip", gzip(&large))).expect(201).json();
    assert_eq!(taken["accepted"], 9_500);
    // The same key and text, once plain and once not, is the same request.
    let keyed = |request: Request| request.header("Idempotency-Key", "k");
    let plain =
        Request::new("POST", "/api/v1/ingest").header("Content-Type", "application/json").body(one.to_vec());
    let first = vigil.send(&keyed(plain)).expect(201).json();
    let second = vigil.send(&keyed(post("/api/v1/ingest", "gzip", gzip(one)))).json();
    assert_eq!(first["metric_id"], second["metric_id"]);
    // Other routes read them, too.
    let policy = json!({"name": "p", "action": "restart", "condition": {"type": "metric_exceeds", "metric": "c", "threshold": 1}});
    vigil.send(&post("/api/v1/policies", "gzip", gzip(policy.to_string().as_bytes()))).expect(201);
}

#[test]
fn bombs_and_broken_ones_are_refused() {
    let vigil = Vigil::start(Options::default());
    let blank = |bytes: usize| vec![b' '; bytes];
    let bomb = gzip(&blank(512 << 20));
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    vigil.get("/health").expect(200);
    forget_peak(vigil.pid());
    let before = peak(vigil.pid());
    for (name, request, status) in [
        ("a bomb", post("/api/v1/ingest", "gzip", bomb.clone()), 413),
        ("a bomb by deflate", post("/api/v1/ingest", "deflate", deflate(&blank(100 << 20))), 413),
        (
            "a bomb of chunks",
            post("/api/v1/ingest", "gzip", Vec::new())
                .header("Transfer-Encoding", "chunked")
                .body(chunked(&bomb)),
            413,
        ),
        ("a bomb elsewhere", post("/api/v1/policies", "gzip", gzip(&blank(2 << 20))), 413),
        ("a list of nothing", post("/api/v1/ingest", "gzip", gzip(&b"0,".repeat(4 << 20))), 422),
        ("a bomb in a bomb", post("/api/v1/ingest", "gzip", gzip(&bomb)), 422),
        ("cut", post("/api/v1/ingest", "gzip", halved(gzip(&batch(10)))), 400),
        ("no gzip", post("/api/v1/ingest", "gzip", b"{\"name\":\"a\",\"value\":1}".to_vec()), 400),
        ("something behind it", post("/api/v1/ingest", "gzip", [gzip(b"{}"), b"x".repeat(40)].concat()), 400),
        ("a wrong checksum", post("/api/v1/ingest", "gzip", flipped(gzip(&batch(3)))), 400),
        ("empty, which is no gzip", post("/api/v1/ingest", "gzip", Vec::new()), 400),
        ("nothing, in gzip", post("/api/v1/ingest", "gzip", gzip(b"")), 422),
        ("brotli", post("/api/v1/ingest", "br", b"x".to_vec()), 415),
        ("twice", post("/api/v1/ingest", "gzip, gzip", gzip(&gzip(b"{}"))), 415),
        ("two headers", post("/api/v1/ingest", "gzip", gzip(b"{}")).header("Content-Encoding", "gzip"), 415),
    ] {
        let answer = vigil.send(&request);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert_eq!(answer.json()["status"], status, "{name}");
        vigil.get("/health").expect(200);
    }
    let many: Vec<_> = (0..8)
        .map(|_| {
            let (port, request) = (vigil.port(), post("/api/v1/ingest", "gzip", bomb.clone()));
            std::thread::spawn(move || {
                let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
                crate::support::exchange(stream, &request).unwrap().status
            })
        })
        .collect();
    let answers: Vec<u16> = many.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|status| [413, 429].contains(status)), "{answers:?}");
    let growth = peak(vigil.pid()).saturating_sub(before);
    println!("at its peak it had grown by {} MiB", growth >> 20);
    assert!(growth < 64 << 20, "it grew by {} MiB", growth >> 20);
}

fn halved(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Its last byte but six, which is part of the checksum, turned.
fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - 7;
    bytes[at] ^= 0xff;
    bytes
}

fn chunked(bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in bytes.chunks(10_000) {
        body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}
