//! `vigil:host/log`: lines are kept with the attempt, up to its quota.

use wasmtime::Result;

use super::super::bindings::vigil::host::log::{Host, Level};
use super::super::state::Sandbox;
use super::super::types::{LogLevel, LogSource};

impl Host for Sandbox {
    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.cheap("log")?.log(level, LogSource::Log, &message, fields);
        Ok(())
    }
}
