//! The integration tests: real servers, both databases, the binary itself.
mod bad_input;
mod hostile;
mod hot_reload;
mod house;
mod policies_http;
mod pulse;
mod support;
