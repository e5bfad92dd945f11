//! Vigil: a self-healing control plane.
#![doc = ""]

pub mod clock;
pub mod domain;
