//! Vigil: a self-healing control plane.
#![doc = ""]

pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod metrics;
pub mod telemetry;
