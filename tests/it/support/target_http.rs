//! The wire side of the counting target: one thread per connection, kept alive.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use serde_json::json;

use super::http::{read_body, read_headers, read_line};
use super::target::{Answer, Behaviour, Call, Shared, target_of};

/// Takes connections until the target is dropped.
pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.stopped.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(stream, &shared));
    }
}

/// Serves one connection until either side closes it.
fn serve(stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while !shared.stopped.load(Ordering::Relaxed) {
        let Ok(call) = read_call(&mut reader) else { return };
        let close = call.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if answer(&mut reader, &mut writer, shared, call).is_err() || close {
            return;
        }
    }
}

fn read_call(reader: &mut BufReader<TcpStream>) -> io::Result<Call> {
    let line = read_line(reader)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = read_headers(reader)?;
    let body = read_body(reader, &headers, false)?;
    let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let target = target_of(&path, &body);
    Ok(Call { method, path, headers, body, target, began: Instant::now(), ended: None, status: 0 })
}

fn answer(reader: &mut impl Read, writer: &mut TcpStream, shared: &Shared, call: Call) -> io::Result<()> {
    let echo = json!({
        "method": call.method,
        "path": call.path,
        "headers": call.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "body": String::from_utf8_lossy(&call.body),
    });
    let (number, Behaviour { delay, fail_first, fail_status, answer }) = shared.begin(call);
    thread::sleep(delay);
    let answer =
        if fail_first > 0 { Answer::Text(fail_status, r#"{"error":"told to fail"}"#.into()) } else { answer };
    let mut send = |status: u16, header: &str, body: &[u8]| {
        shared.end(number, status);
        let head = format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {}\r\n\r\n", body.len());
        writer.write_all(&[head.as_bytes(), body].concat())
    };
    match answer {
        Answer::Text(status, body) => send(status, "Content-Type: application/json\r\n", body.as_bytes()),
        Answer::Echo => send(200, "Content-Type: application/json\r\n", echo.to_string().as_bytes()),
        Answer::Redirect(to) => send(302, &format!("Location: {to}\r\n"), b""),
        Answer::Huge(size) => {
            shared.end(number, 200);
            write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")?;
            io::copy(&mut io::repeat(b'x').take(size), writer).map(drop)
        }
        Answer::Hang => {
            let _ = io::copy(reader, &mut io::sink());
            shared.end(number, 0);
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Answer::Close => {
            shared.end(number, 0);
            Err(io::ErrorKind::ConnectionAborted.into())
        }
    }
}
