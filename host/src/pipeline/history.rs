//! Every five seconds: how long the queue is. All nodes look at the same moments, and the first to write counts.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::Store;

/// Microseconds between two samples.
const EVERY: i64 = 5_000_000;

/// Samples until `stop`.
pub async fn run(store: Store, clock: Clock, stop: CancellationToken) {
    loop {
        let now = clock.now().micros();
        let at = now - now.rem_euclid(EVERY) + EVERY;
        let wait = Duration::from_micros(u64::try_from(at - now).unwrap_or(0));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        if let Err(wrong) = store.sample_queue(Timestamp::from_micros(at)).await {
            tracing::warn!(error = %wrong, "the queue's length was not noted; the next round tries again");
        }
    }
}
