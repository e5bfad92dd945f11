//! Lines of the attempt's log. They are shown to people: no secrets.

use crate::sys;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the plugin's author.
    Debug,
    /// For the operator.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a line with fields.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    sys::log(level, message, fields);
}

/// Writes a line for the plugin's author.
pub fn debug(message: &str) {
    write(Level::Debug, message, &[]);
}

/// Writes a line for the operator.
pub fn info(message: &str) {
    write(Level::Info, message, &[]);
}

/// Writes that something is odd.
pub fn warn(message: &str) {
    write(Level::Warn, message, &[]);
}

/// Writes that something failed.
pub fn error(message: &str) {
    write(Level::Error, message, &[]);
}
