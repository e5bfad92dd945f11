//! The running call.

use crate::sys;

/// Shows progress to people.
pub fn report_progress(percent: Option<u8>, message: &str) {
    sys::report_progress(percent, message);
}

/// True once an operator asked to cancel, or the host is draining.
#[must_use]
pub fn is_cancelled() -> bool {
    sys::is_cancelled()
}

/// Milliseconds left until the deadline.
#[must_use]
pub fn remaining_ms() -> u64 {
    sys::remaining_ms()
}

/// Waits without holding a CPU; false if cut short by a cancellation.
#[must_use]
pub fn sleep_ms(ms: u64) -> bool {
    sys::sleep_ms(ms)
}
