//! Tests of conditions: a table of meanings, a table of messages, a comparison with the `cel` crate's interpreter,
//! hostile texts, allocations and time.

mod alloc;
mod differential;
mod generate;
mod hostile;
mod meaning;
mod messages;
mod oracle;
mod random;
mod speed;
mod typed;
mod windows;
mod world;

/// Whether the long form was asked for.
#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting of the program")]
fn campaign() -> bool {
    std::env::var("VIGIL_CAMPAIGN").is_ok_and(|v| v == "1")
}
