//! The integration tests: real servers, both databases, the binary itself.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod faults;
mod main_job;
mod stage;
mod support;

#[path = "../fixtures/hostile/mod.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test takes the part it needs")]
mod hostile_fixtures;
