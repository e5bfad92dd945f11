//! Numbers that are counted elsewhere and shown in the metrics.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::pipeline::worker::Parts;

/// Carries the plugin host's own counts into the metrics.
pub(super) async fn plugins(parts: Parts, stop: CancellationToken) {
    let mut errors = 0;
    while stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
        let counters = parts.plugins.counters();
        parts.metrics.plugins(counters.loads, counters.refused);
        for _ in errors..parts.queue.errors() {
            parts.metrics.queue_hint_error();
        }
        errors = parts.queue.errors();
    }
}
