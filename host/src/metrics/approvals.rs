//! What is counted of approvals.

use std::time::Duration;

use prometheus::{Histogram, IntGauge};

use super::Metrics;
use super::buckets::REPAIR_SECONDS;
use super::maker::Maker;

/// See the module.
#[derive(Debug)]
pub(super) struct Approvals {
    waiting: IntGauge,
    took: Histogram,
}

impl Approvals {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            waiting: make.gauge("vigil_approvals_waiting", "Actions that wait for people's yes")?,
            took: make.histogram(
                "vigil_time_to_approval_seconds",
                "From the request of an approval to the last yes that it took",
                &REPAIR_SECONDS,
            )?,
        })
    }
}

impl Metrics {
    /// So many actions wait for people's yes.
    pub fn approvals_waiting(&self, count: i64) {
        self.approvals.waiting.set(count);
    }

    /// An action was approved so long after people were asked.
    pub fn approved(&self, took: Duration) {
        self.approvals.took.observe(took.as_secs_f64());
    }
}
