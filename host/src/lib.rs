//! Vigil.
