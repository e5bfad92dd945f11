//! Systems that plugins act on, in this process: they tell when a request arrived.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use crate::Res;

/// An HTTP server on a port of its own. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    /// When each request's first bytes arrived.
    pub(crate) arrivals: Receiver<Instant>,
}

impl Target {
    /// Answers every request at once, or, if `hold`, never.
    pub(crate) fn start(hold: bool) -> Res<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (tell, arrivals) = channel();
        thread::spawn(move || if hold { keep(&listener, &tell) } else { answer(&listener, &tell) });
        Ok(Self { port, arrivals })
    }
}

/// Takes every connection and never answers: all of them are open until this process ends.
fn keep(listener: &TcpListener, tell: &Sender<Instant>) {
    let mut open = Vec::new();
    for stream in listener.incoming().map_while(Result::ok) {
        let _ = tell.send(Instant::now());
        open.push(stream);
    }
}

fn answer(listener: &TcpListener, tell: &Sender<Instant>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let tell = tell.clone();
        thread::spawn(move || serve(stream, &tell));
    }
}

/// Serves one connection until the other side closes it.
fn serve(mut stream: TcpStream, tell: &Sender<Instant>) {
    let _ = stream.set_nodelay(true);
    let mut bytes = Vec::new();
    let mut chunk = [0; 8 << 10];
    while let Ok(read) = stream.read(&mut chunk) {
        if read == 0 {
            return;
        }
        if bytes.is_empty() {
            let _ = tell.send(Instant::now());
        }
        bytes.extend_from_slice(&chunk[..read]);
        if complete(&bytes) {
            bytes.clear();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

fn complete(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    bytes.len() >= end + 4 + length.unwrap_or(0_usize)
}
