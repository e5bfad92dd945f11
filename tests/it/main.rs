//! The integration tests: real servers, both databases, the binary itself.
mod demo;
mod support;
