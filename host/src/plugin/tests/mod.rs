//! Runs real components.
