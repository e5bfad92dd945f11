//! The load: keep-alive connections that each wait for the answer before they send again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Res;
use crate::stats::Times;

/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A POST of JSON, ready to be sent again and again.
pub(crate) fn post(port: u16, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One blocking keep-alive connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Res<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads the whole answer, which must be a success; answers its text.
    pub(crate) fn send(&mut self, request: &[u8]) -> Res<String> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut chunk = [0; 16 << 10];
        while !whole(&self.buffer)? {
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err("the connection was closed".into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
        Ok(String::from_utf8_lossy(&self.buffer).into_owned())
    }
}

/// Whether a whole answer is there; an error if it is not a success.
fn whole(bytes: &[u8]) -> Res<bool> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    let length = length.ok_or("an answer without Content-Length")?;
    let whole = bytes.len() >= end + 4 + length;
    if whole && !head.starts_with("HTTP/1.1 2") {
        return Err(format!("refused: {}", String::from_utf8_lossy(bytes)).into());
    }
    Ok(whole)
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Each one's time, as the client saw it.
    pub(crate) times: Times,
    /// How long it took altogether.
    pub(crate) wall: Duration,
}

impl Done {
    pub(crate) fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.times.extend(more.times);
        self.wall += more.wall;
    }
}

/// Sends `requests` round and round over so many connections until the time is over. One thread drives them all, so
/// that the server has the other cores.
pub(crate) fn run(port: u16, requests: &[Vec<u8>], connections: usize, time: Duration) -> Res<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begun = Instant::now();
    let all = (0..connections).map(|at| connection(port, requests, at, begun + time));
    let all = runtime.block_on(futures_util::future::try_join_all(all))?;
    let times: Vec<Duration> = all.into_iter().flatten().collect();
    let requests = u64::try_from(times.len())?;
    Ok(Done { requests, times: times.into_iter().collect(), wall: begun.elapsed() })
}

async fn connection(port: u16, requests: &[Vec<u8>], first: usize, until: Instant) -> Res<Vec<Duration>> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    let mut buffer = Vec::with_capacity(4096);
    for request in requests.iter().cycle().skip(first % requests.len().max(1)) {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        stream.write_all(request).await?;
        buffer.clear();
        while !whole(&buffer)? {
            if tokio::time::timeout(PATIENCE, stream.read_buf(&mut buffer)).await?? == 0 {
                return Err("the connection was closed".into());
            }
        }
        times.push(begun.elapsed());
    }
    Ok(times)
}
