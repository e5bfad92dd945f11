//! Compressed bodies: undone while they arrive, a little at a time, so that a bomb is noticed at the limit of what the
//! route reads and not after it has gone off.

use std::collections::VecDeque;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http_body::{Frame, SizeHint};
use http_body_util::Limited;

use super::super::Problem;

/// Bytes given to the decoder in one step: at most a thousand times as much comes out.
const STEP: usize = 1 << 10;
/// The most that deflate makes of one byte.
pub(super) const RATIO: usize = 1_032;

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

/// The body as the handlers read it. As it arrives it has at most `limit` bytes.
pub(super) fn decoded(body: Body, encoding: Encoding, limit: usize) -> Body {
    let decoder = match encoding {
        Encoding::Plain => return body,
        Encoding::Gzip => Decoder::Gzip(MultiGzDecoder::new(Vec::new())),
        Encoding::Deflate => Decoder::Deflate(ZlibDecoder::new(Vec::new())),
    };
    Body::new(Decoded { inner: Limited::new(body, limit), decoder, waiting: VecDeque::new(), ended: false })
}

enum Decoder {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Decoder {
    /// What comes out when these bytes go in.
    fn step(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        Ok(match self {
            Self::Gzip(decoder) => {
                decoder.write_all(bytes)?;
                std::mem::take(decoder.get_mut())
            }
            Self::Deflate(decoder) => {
                decoder.write_all(bytes)?;
                std::mem::take(decoder.get_mut())
            }
        })
    }

    /// What was left; an error if the end is missing.
    fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        Ok(match self {
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                std::mem::take(decoder.get_mut())
            }
            Self::Deflate(decoder) => {
                decoder.try_finish()?;
                std::mem::take(decoder.get_mut())
            }
        })
    }
}

struct Decoded {
    inner: Limited<Body>,
    decoder: Decoder,
    waiting: VecDeque<Bytes>,
    ended: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        loop {
            let out = if let Some(mut bytes) = this.waiting.pop_front() {
                let now = bytes.split_to(bytes.len().min(STEP));
                if !bytes.is_empty() {
                    this.waiting.push_front(bytes);
                }
                this.decoder.step(&now)
            } else if this.ended {
                return Poll::Ready(None);
            } else {
                match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                    Some(Ok(frame)) => {
                        this.waiting.extend(frame.into_data().ok());
                        continue;
                    }
                    Some(Err(wrong)) => return Poll::Ready(Some(Err(wrong))),
                    None => {
                        this.ended = true;
                        this.decoder.finish()
                    }
                }
            };
            match out {
                Ok(out) if out.is_empty() => {}
                // Without the room the decoder made for more: a waiting body costs what it has.
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out.into_boxed_slice().into())))),
                Err(wrong) => {
                    this.ended = true;
                    this.waiting.clear();
                    return Poll::Ready(Some(Err(Box::new(Undecodable(wrong)))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The bytes are not what `Content-Encoding` says.
#[derive(Debug, thiserror::Error)]
#[error("the body is not compressed as Content-Encoding says: {0}")]
pub(in super::super) struct Undecodable(std::io::Error);
