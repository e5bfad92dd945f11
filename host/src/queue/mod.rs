//! Wake-up hints. The action's row is the task and the database is the truth; a hint only says "look now".
//! It may be lost, delivered twice or come late, and nothing depends on it but how soon work begins.

mod redis;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use redis::{Error, Hints};

/// Where hints go.
#[derive(Clone, Debug)]
pub enum Queue {
    /// To the workers of this process.
    Embedded(Arc<Notify>),
    /// To the workers of every process, over Redis; to our own while Redis is away.
    Redis(Arc<Hints>),
}

impl Queue {
    /// The queue of a single process.
    #[must_use]
    pub fn embedded() -> Self {
        Self::Embedded(Arc::new(Notify::new()))
    }

    /// Says that these actions (id, priority number) are ready. Never waits and never fails.
    pub fn announce(&self, ready: &[(i64, i64)]) {
        if ready.is_empty() {
            return;
        }
        match self {
            Self::Embedded(notify) => notify.notify_one(),
            Self::Redis(hints) => hints.announce(ready),
        }
    }

    /// Waits for a hint, at most `patience`.
    pub async fn next(&self, patience: Duration) {
        match self {
            Self::Embedded(notify) => {
                let _ = tokio::time::timeout(patience, notify.notified()).await;
            }
            Self::Redis(hints) => hints.next(patience).await,
        }
    }

    /// Moves hints between Redis and this process until `stop`; there is nothing to move without Redis.
    pub async fn run(&self, stop: CancellationToken) {
        match self {
            Self::Embedded(_) => stop.cancelled().await,
            Self::Redis(hints) => hints.run(stop).await,
        }
    }

    /// Whether hints travel: none without Redis.
    #[must_use]
    pub fn connected(&self) -> Option<bool> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(hints) => Some(hints.up()),
        }
    }

    /// Failed Redis operations since the start.
    #[must_use]
    pub fn errors(&self) -> u64 {
        match self {
            Self::Embedded(_) => 0,
            Self::Redis(hints) => hints.errors(),
        }
    }
}
