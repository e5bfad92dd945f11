//! The integration tests: real servers, both databases, the binary itself.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod access;
mod approvals;
mod bad_input;
mod contract_actions;
mod contract_control;
mod contract_sim;
mod demo;
mod faults;
mod guardrails;
mod hostile;
mod hot_reload;
mod house;
mod interleave;
mod ladder;
mod limits;
mod look_back;
mod main_job;
mod migrate;
mod openapi;
mod pause;
mod plan;
mod policies_http;
mod policy_code;
mod pulse;
mod rails;
mod readme;
mod silences;
mod stage;
mod support;
mod windows;

#[path = "../fixtures/hostile/mod.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test takes the part it needs")]
mod hostile_fixtures;
