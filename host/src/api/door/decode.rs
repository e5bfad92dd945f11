//! Compressed bodies. What one comes to is counted before any of it is kept: a bomb costs the time to count to the
//! limit and no memory, and what is no bomb asks for just the room that it will take.

use std::io::Write;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use flate2::write::{MultiGzDecoder, ZlibDecoder};

use super::super::Problem;

/// Bytes given to the decoder between two looks at the count: at most a thousand times as much comes out.
const STEP: usize = 1 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

/// What `Content-Encoding` says. Several codings, or one we don't undo: 415.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(first) = all.next() else { return Ok(Encoding::Plain) };
    let word = first.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    match word.as_str() {
        _ if all.next().is_some() => {}
        "identity" => return Ok(Encoding::Plain),
        "gzip" | "x-gzip" => return Ok(Encoding::Gzip),
        "deflate" => return Ok(Encoding::Deflate),
        _ => {}
    }
    let text = "a body is taken as it is, with gzip or with deflate";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
        .header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate")))
}

/// How many bytes this comes to. More than `limit`: 413. Not what the encoding says: 400.
pub(super) async fn counted(bytes: &Bytes, encoding: Encoding, limit: usize) -> Result<usize, Problem> {
    let Some(mut decoder) = Decoder::new(encoding, Tally(0)) else { return Ok(bytes.len()) };
    for step in bytes.chunks(STEP) {
        decoder.write(step).map_err(|wrong| broken(&wrong))?;
        if decoder.out().0 > limit {
            let text = format!("the body has more than {limit} bytes when it is decompressed");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        // Others want this thread, too.
        tokio::task::yield_now().await;
    }
    decoder.finish().map_err(|wrong| broken(&wrong))
}

/// What it comes to, `size` bytes as counted before.
pub(super) async fn decoded(bytes: Bytes, encoding: Encoding, size: usize) -> Result<Bytes, Problem> {
    let Some(mut decoder) = Decoder::new(encoding, Kept(Vec::with_capacity(size))) else { return Ok(bytes) };
    for step in bytes.chunks(STEP) {
        decoder.write(step).map_err(|wrong| broken(&wrong))?;
        tokio::task::yield_now().await;
    }
    decoder.finish().map_err(|wrong| broken(&wrong))
}

fn broken(wrong: &std::io::Error) -> Problem {
    Problem::bad(format!("the body is not compressed as Content-Encoding says: {wrong}"))
}

/// Where what comes out goes.
trait Out: Write {
    type All;
    fn all(&mut self) -> Self::All;
}

/// Only counts.
struct Tally(usize);

impl Write for Tally {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Out for Tally {
    type All = usize;
    fn all(&mut self) -> usize {
        self.0
    }
}

/// Keeps it.
struct Kept(Vec<u8>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Out for Kept {
    type All = Bytes;
    fn all(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }
}

enum Decoder<W: Out> {
    Gzip(MultiGzDecoder<W>),
    Deflate(ZlibDecoder<W>),
}

impl<W: Out> Decoder<W> {
    /// None: there is nothing to undo.
    fn new(encoding: Encoding, out: W) -> Option<Self> {
        match encoding {
            Encoding::Plain => None,
            Encoding::Gzip => Some(Self::Gzip(MultiGzDecoder::new(out))),
            Encoding::Deflate => Some(Self::Deflate(ZlibDecoder::new(out))),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Deflate(decoder) => decoder.write_all(bytes),
        }
    }

    fn out(&self) -> &W {
        match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
        }
    }

    /// What came out; an error if the end is missing.
    fn finish(mut self) -> std::io::Result<W::All> {
        match &mut self {
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(decoder.get_mut().all())
            }
            Self::Deflate(decoder) => {
                decoder.try_finish()?;
                Ok(decoder.get_mut().all())
            }
        }
    }
}
