//! `vigil:host/metrics`: not offered yet, so every call is denied.

use wasmtime::Result;

use super::super::bindings::vigil::host::metrics::{Host, MetricsError, Series};
use super::super::state::Sandbox;

impl Sandbox {
    fn no_metrics<T>(&mut self, what: &'static str) -> Result<Result<T, MetricsError>> {
        self.dear(what)?.record().refused.push(format!("{what}: this host offers no metrics to plugins"));
        Ok(Err(MetricsError::Denied))
    }
}

impl Host for Sandbox {
    fn query(&mut self, _query: String, _at: Option<u64>) -> Result<Result<Vec<Series>, MetricsError>> {
        self.no_metrics("metrics.query")
    }

    fn query_range(
        &mut self,
        _query: String,
        _start: u64,
        _end: u64,
        _step_ms: u64,
    ) -> Result<Result<Vec<Series>, MetricsError>> {
        self.no_metrics("metrics.query-range")
    }
}
