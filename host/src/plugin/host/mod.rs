//! The host's side of `vigil:host`: one file an interface. Each function counts itself, and answers
//! `denied` for what was not granted.

mod config;
mod connections;
mod execution;
mod kv;
mod log;
mod metrics;
mod wasi;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use super::Error;
use super::bindings::Plugin;
use super::bindings::vigil::host::common;
use super::bindings::vigil::remediator::types;
use super::state::Sandbox;

pub(super) use wasi::{for_attempt, for_describe};

impl common::Host for Sandbox {}
impl types::Host for Sandbox {}

/// Everything that a component can import.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Sandbox>, Error> {
    let mut linker = Linker::new(engine);
    let bad = |e: wasmtime::Error| Error::Engine(format!("{e:#}"));
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(bad)?;
    Plugin::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |state| state).map_err(bad)?;
    Ok(linker)
}
