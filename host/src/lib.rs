//! Vigil: a self-healing control plane.

pub mod api;
pub mod app;
pub mod cel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod metrics;
pub mod pipeline;
pub mod plugin;
pub mod queue;
pub mod store;
pub mod telemetry;
