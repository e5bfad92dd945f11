//! Stand-ins for unit tests of plugins: nothing is granted, no time is left.

use crate::connections::{Call, HttpError, Response};
use crate::log::Level;

pub(crate) fn log(_level: Level, _message: &str, _fields: &[(&str, &str)]) {}

pub(crate) fn config(_key: &str) -> Option<String> {
    None
}

pub(crate) fn report_progress(_percent: Option<u8>, _message: &str) {}

pub(crate) fn is_cancelled() -> bool {
    false
}

pub(crate) fn remaining_ms() -> u64 {
    0
}

pub(crate) fn sleep_ms(_ms: u64) -> bool {
    true
}

pub(crate) fn send(call: Call) -> Result<Response, HttpError> {
    let Call { slot, .. } = call;
    Err(HttpError::Denied(format!("{slot}: there is no host outside the sandbox")))
}
