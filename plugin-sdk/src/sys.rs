//! The host's side: the bindings inside the sandbox, and outside it stand-ins
//! that answer as if nothing had been granted.

#[cfg(target_arch = "wasm32")]
mod wasm;
#[cfg(target_arch = "wasm32")]
pub use wasm::{Adapter, bindings};
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{config, is_cancelled, log, remaining_ms, report_progress, send, sleep_ms};

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{config, is_cancelled, log, remaining_ms, report_progress, send, sleep_ms};
