//! The books: every event that a request hands to the writer ends as one of these, or is still on its way.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Metrics;
use super::maker::Maker;

/// How an event ends, by its decision code (see [`NewSample`](crate::store)), and what is not stored.
const ENDS: [&str; 7] = ["no_policy", "clear", "met", "no_data", "error", "repeat", "refused"];
/// It was known already.
const REPEAT: usize = 5;
/// Its request was refused, and its sender knows.
const REFUSED: usize = 6;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Books {
    received: IntCounter,
    in_flight: IntGauge,
    ended: Vec<IntCounter>,
}

/// Events on their way; when it is dropped they are not any more.
#[derive(Debug)]
pub struct Underway {
    gauge: IntGauge,
    events: i64,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.gauge.sub(self.events);
    }
}

fn number(events: usize) -> u64 {
    u64::try_from(events).unwrap_or(u64::MAX)
}

impl Books {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let ended: IntCounterVec =
            make.counters("vigil_events_total", "Events by how they ended", &["decision"])?;
        Ok(Self {
            received: make.counter("vigil_events_received_total", "Events handed to the writer")?,
            in_flight: make.gauge("vigil_events_in_flight", "Events handed to the writer and not ended")?,
            ended: ENDS.map(|end| ended.with_label_values(&[end])).to_vec(),
        })
    }

    /// So many events are handed to the writer.
    #[must_use]
    pub fn received(&self, events: usize) -> Underway {
        self.received.inc_by(number(events));
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        self.in_flight.add(events);
        Underway { gauge: self.in_flight.clone(), events }
    }

    /// These were stored, each with its decision code: counted here first, since every event of a batch comes by.
    pub fn stored(&self, codes: impl Iterator<Item = i64>) {
        let mut counts = [0_u64; REPEAT];
        for code in codes {
            if let Some(count) = usize::try_from(code).ok().and_then(|code| counts.get_mut(code)) {
                *count += 1;
            }
        }
        for (counter, count) in self.ended.iter().zip(counts).filter(|(_, count)| *count > 0) {
            counter.inc_by(count);
        }
    }

    /// So many were known already.
    pub fn repeated(&self, events: usize) {
        self.ended[REPEAT].inc_by(number(events));
    }

    /// So many were refused with their request.
    pub fn refused(&self, events: usize) {
        self.ended[REFUSED].inc_by(number(events));
    }
}

impl Metrics {
    /// What is counted of events.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }
}
