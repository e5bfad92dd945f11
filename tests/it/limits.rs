//! How much a client may ask, send and hold open, and what stays reachable when it is too much.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bodies;
mod connections;
mod overload;
mod rate;
