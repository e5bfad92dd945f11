//! The settings in force on this node: the configuration's, with what was said over HTTP on top. Whoever works by
//! a setting asks [`Live::now`] each time it is needed; whoever waits on one asks for [`Live::changes`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::execute::Retry;
use super::tenure::Tenures;
use crate::config::Settings;
use crate::store::{Error, Overrides, Store};

/// How often a node looks whether another has changed the settings.
const LOOK: Duration = Duration::from_millis(400);
/// How long a change waits for the other nodes to work with it.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Is handed the settings whenever they change, from the first reading on.
pub type Taken = Arc<dyn Fn(&Settings) + Send + Sync>;

/// See the module. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Live {
    base: Arc<Settings>,
    current: Arc<watch::Sender<Arc<Settings>>>,
    rev: Arc<AtomicI64>,
    taken: Taken,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Live").field("rev", &self.rev()).field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Live {
    /// The configuration's settings, with nothing on top yet.
    #[must_use]
    pub fn new(base: Settings, taken: Taken) -> Self {
        let base = Arc::new(base);
        let current = Arc::new(watch::Sender::new(Arc::clone(&base)));
        Self { base, current, rev: Arc::new(AtomicI64::new(-1)), taken }
    }

    /// What holds at this moment.
    #[must_use]
    pub fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.current.borrow())
    }

    /// What holds without anything said over HTTP.
    #[must_use]
    pub fn base(&self) -> &Settings {
        &self.base
    }

    /// Wakes up whoever waits for a change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Settings>> {
        self.current.subscribe()
    }

    /// The revision this node works with.
    #[must_use]
    pub fn rev(&self) -> i64 {
        self.rev.load(Ordering::Acquire)
    }

    /// From now on these hold on this node. False: they can't be read, and what held before still holds.
    pub fn apply(&self, overrides: &Overrides) -> bool {
        // An older reading must not undo a newer one.
        if overrides.rev < self.rev.fetch_max(overrides.rev, Ordering::AcqRel) {
            return true;
        }
        match self.base.with(&overrides.values) {
            Ok(settings) => {
                (self.taken)(&settings);
                self.current.send_replace(Arc::new(settings));
                true
            }
            Err(wrong) => {
                tracing::error!(error = %wrong, "the stored settings can't be read; the former ones hold");
                false
            }
        }
    }

    /// When a failed attempt is followed by another.
    #[must_use]
    pub fn retry(&self) -> Retry {
        let retry = &self.current.borrow().retry;
        let span = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1));
        Retry { base: span(retry.base_delay), longest: span(retry.max_delay), backoff: retry.backoff }
    }

    /// Attempts of a new action.
    #[must_use]
    pub fn max_attempts(&self) -> i64 {
        i64::from(self.current.borrow().retry.max_attempts)
    }

    /// Time between two scheduled evaluations.
    #[must_use]
    pub fn tick(&self) -> Duration {
        let seconds = self.current.borrow().policy.interval;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(30))
    }
}

/// Reads the settings.
pub async fn load(store: &Store, live: &Live) -> Result<(), Error> {
    live.apply(&store.settings().await?);
    Ok(())
}

/// Follows what other nodes change until `stop`, and tells the database which revision this node works with.
pub async fn follow(store: Store, live: Live, tenures: Arc<Tenures>, stop: CancellationToken) {
    let mut told = (String::new(), -1);
    let mut changes = live.changes();
    loop {
        if let Err(wrong) = once(&store, &live, &tenures, &mut told).await {
            tracing::debug!(error = %wrong, "the settings could not be looked at; the next round tries again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
            _ = changes.changed() => {}
        }
    }
}

async fn once(store: &Store, live: &Live, tenures: &Tenures, told: &mut (String, i64)) -> Result<(), Error> {
    if store.settings_rev().await? != live.rev() {
        load(store, live).await?;
    }
    let now = (tenures.current().boot_id.clone(), live.rev());
    if tenures.current().holds() && *told != now {
        store.settings_seen(&now.0, now.1).await?;
        *told = now;
    }
    Ok(())
}

/// Waits until every node works with revision `rev`. False: one does not within a second and a half, or nobody
/// knows.
pub async fn everywhere(store: &Store, rev: i64) -> bool {
    let all = async {
        while store.settings_behind(rev).await.is_ok_and(|behind| behind > 0) {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        store.settings_behind(rev).await.is_ok_and(|behind| behind == 0)
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or(false)
}
