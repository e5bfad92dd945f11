//! This process's right to act: a heartbeat in the database, timed on our own clock that never jumps.
//!
//! As long as the last heartbeat that reached the database was sent less than a lease ago, nobody else takes
//! our actions over. When that runs out we stop by ourselves, before anyone may: every attempt's guard asks
//! [`Tenure::holds`] before each call it makes. A process that lost its tenure begins a new one under a new
//! boot id; what the old one had claimed it never touches again.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, boottime_nanos};
use crate::store::Store;

/// One boot id and until when it holds.
#[derive(Debug)]
pub struct Tenure {
    /// The name under which leases are held.
    pub boot_id: String,
    /// `CLOCK_BOOTTIME` nanoseconds.
    until: AtomicI64,
}

impl Tenure {
    /// Whether its leases are ours at this moment.
    #[must_use]
    pub fn holds(&self) -> bool {
        boottime_nanos() < self.until.load(Ordering::Acquire)
    }

    fn extend(&self, sent: i64, lease: Duration) {
        let lease = i64::try_from(lease.as_nanos()).unwrap_or(i64::MAX);
        self.until.store(sent.saturating_add(lease), Ordering::Release);
    }

    fn end(&self) {
        self.until.store(i64::MIN, Ordering::Release);
    }
}

/// The tenures of this process, one after the other.
#[derive(Debug)]
pub struct Tenures {
    store: Store,
    clock: Clock,
    name: String,
    lease: Duration,
    heartbeat: Duration,
    current: RwLock<Arc<Tenure>>,
}

impl Tenures {
    /// Not yet begun: nothing can be claimed before the first heartbeat.
    #[must_use]
    pub fn new(store: Store, clock: Clock, name: String, lease: Duration, heartbeat: Duration) -> Self {
        let none = Tenure { boot_id: clock.id(), until: AtomicI64::new(i64::MIN) };
        Self { store, clock, name, lease, heartbeat, current: RwLock::new(Arc::new(none)) }
    }

    /// The one that is (or was last) in force.
    #[must_use]
    pub fn current(&self) -> Arc<Tenure> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Beats until `stop`. A beat that does not come back within a heartbeat counts as lost.
    pub async fn run(&self, stop: CancellationToken) {
        self.begin().await;
        let mut beats = tokio::time::interval(self.heartbeat);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = beats.tick() => self.beat().await,
            }
        }
    }

    async fn beat(&self) {
        let tenure = self.current();
        if !tenure.holds() {
            self.begin().await;
            return;
        }
        let sent = boottime_nanos();
        match tokio::time::timeout(self.lease, self.store.beat(&tenure.boot_id)).await {
            // A process that slept through its lease must not wake up with it.
            Ok(Ok(true)) if tenure.holds() => tenure.extend(sent, self.lease),
            Ok(Ok(_)) => {
                tracing::error!(boot_id = %tenure.boot_id, "this process was taken for dead; it begins anew");
                tenure.end();
                self.begin().await;
            }
            Ok(Err(wrong)) => tracing::warn!(error = %wrong, "a heartbeat did not reach the database"),
            Err(_) => tracing::warn!("a heartbeat took longer than the lease"),
        }
    }

    async fn begin(&self) {
        let fresh = Tenure { boot_id: self.clock.id(), until: AtomicI64::new(i64::MIN) };
        let sent = boottime_nanos();
        match self.store.join(&fresh.boot_id, &self.name, self.clock.now()).await {
            Ok(()) => {
                fresh.extend(sent, self.lease);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
            }
            Err(wrong) => tracing::warn!(error = %wrong, "no lease could be begun; nothing is claimed"),
        }
    }

    /// Ends it: nobody needs to wait for our lease.
    pub async fn leave(&self) {
        let tenure = self.current();
        tenure.end();
        if let Err(wrong) = self.store.leave(&tenure.boot_id).await {
            tracing::warn!(error = %wrong, "this process could not sign off; others wait for its lease");
        }
    }
}
