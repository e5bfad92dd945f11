//! What people hold back, as gauges.

use prometheus::{IntGauge, IntGaugeVec, Opts};

use super::{Maker, Metrics};

/// See the module.
#[derive(Debug)]
pub(super) struct Held {
    paused: IntGauge,
    silences: IntGaugeVec,
}

impl Held {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let silences = Opts::new("vigil_silences", "Silences, by how they stand");
        Ok(Self {
            paused: make.gauge("vigil_paused", "1 while people have stopped all automation")?,
            silences: make.keep(IntGaugeVec::new(silences, &["state"])?)?,
        })
    }
}

impl Metrics {
    /// Whether people have stopped all automation.
    pub fn paused(&self, paused: bool) {
        self.held.paused.set(i64::from(paused));
    }

    /// So many silences stand so.
    pub fn silences(&self, counts: impl IntoIterator<Item = (&'static str, i64)>) {
        for (state, count) in counts {
            self.held.silences.with_label_values(&[state]).set(count);
        }
    }
}
