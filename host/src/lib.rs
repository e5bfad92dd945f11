//! Vigil: a self-healing control plane.
#![doc = ""]

pub mod cel;
pub mod clock;
pub mod domain;
pub mod engine;
pub mod store;
