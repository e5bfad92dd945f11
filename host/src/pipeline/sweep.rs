//! The second line of defence: whatever a hint, a worker or a process should have done and did not, is found
//! here. Every node sweeps; every statement carries its own guard, so that they may do it at once.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::worker::Parts;
use crate::clock::boottime_nanos;
use crate::store::{Limits, Moved};

/// How a sweeper times others.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two sweeps.
    pub every: Duration,
    /// A heartbeat counter that stands still for so long belongs to a process that is gone.
    pub silence: Duration,
    /// How long things are kept.
    pub keep: Limits,
}

/// Sweeps until `stop`. Its observations are its own: a restarted sweeper only restarts its stopwatch, which
/// makes it late and never wrong.
pub async fn run(parts: Parts, pace: Pace, stop: CancellationToken) {
    let mut seen: HashMap<String, (Option<i64>, i64)> = HashMap::new();
    let mut rounds = 0_u64;
    loop {
        let jitter = pace.every.mul_f64(rand::random_range(0.8..1.2));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jitter) => {}
        }
        rounds += 1;
        if let Err(wrong) = once(&parts, &pace, &mut seen).await {
            tracing::warn!(error = %wrong, "a sweep failed; the next one tries again");
        }
        if rounds.is_multiple_of(60) {
            retain(&parts, &pace).await;
        }
    }
}

async fn once(
    parts: &Parts,
    pace: &Pace,
    seen: &mut HashMap<String, (Option<i64>, i64)>,
) -> Result<(), crate::store::Error> {
    let now = parts.clock.now();
    rescue(parts, pace, seen).await?;
    for id in parts.store.lost(&parts.tenures.current().boot_id, &parts.running.ids()).await? {
        parts.running.revoke(id);
    }
    lapse(parts).await?;
    parts.metrics.moved(parts.store.expire_approvals(now).await?.iter().map(Moved::words));
    parts.metrics.approvals_waiting(parts.store.approvals_waiting().await?);
    let ready = parts.store.sweep(now, pace.silence).await?;
    parts.queue.announce(&ready);
    let (incidents, depth) = parts.store.gauges().await?;
    parts.metrics.incidents_open(incidents);
    parts.metrics.queue_length(depth);
    parts.metrics.paused(parts.store.paused(now).await?.is_some());
    let silences = parts.store.silence_counts(now).await?;
    parts.metrics.silences(silences.map(|(state, count)| (state.word(), count)));
    if let Some(up) = parts.queue.connected() {
        parts.metrics.redis_up(up);
    }
    Ok(())
}

/// Ends leases of remediators that have lapsed.
async fn lapse(parts: &Parts) -> Result<(), crate::store::Error> {
    let now = parts.clock.now();
    if parts.store.any_lapsed(now).await? {
        let lapsed = parts.store.lapse(now).await?;
        tracing::warn!(
            actions = lapsed.moved.len(),
            "remediators did not report in time; their leases ended"
        );
        parts.metrics.moved(lapsed.moved.iter().map(Moved::words));
        parts.queue.announce(&lapsed.ready);
    }
    Ok(())
}

/// Takes over from processes whose heartbeat has not moved for lease and grace, timed on our own clock.
async fn rescue(
    parts: &Parts,
    pace: &Pace,
    seen: &mut HashMap<String, (Option<i64>, i64)>,
) -> Result<(), crate::store::Error> {
    let own = parts.tenures.current().boot_id.clone();
    let owners = parts.store.owners().await?;
    let at = boottime_nanos();
    let silence = i64::try_from(pace.silence.as_nanos()).unwrap_or(i64::MAX);
    seen.retain(|boot_id, _| owners.iter().any(|(owner, _)| owner == boot_id));
    for (owner, hb) in owners.into_iter().filter(|(owner, _)| *owner != own) {
        let first = seen.entry(owner.clone()).or_insert((hb, at));
        if first.0 != hb {
            *first = (hb, at);
        } else if at - first.1 >= silence {
            let rescued = parts.store.rescue(&owner, hb, parts.clock.now()).await?;
            parts.metrics.moved(rescued.iter().map(Moved::words));
            let rescued = rescued.len();
            tracing::warn!(lost_worker = %owner, rescued, "a process is gone; its actions were taken over");
            seen.remove(&owner);
        }
    }
    Ok(())
}

/// Deletes what is too old, a step at a time.
async fn retain(parts: &Parts, pace: &Pace) {
    for _ in 0..20 {
        match parts.store.retain(pace.keep, parts.clock.now()).await {
            Ok(0) => return,
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(wrong) => {
                tracing::warn!(error = %wrong, "old rows were not deleted; the next round tries again");
                return;
            }
        }
    }
}
