//! Vigil.

pub mod plugin;
