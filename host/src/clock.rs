//! Time and ids, as parameters. Everything that asks what time it is asks a [`Clock`], so that tests,
//! back-tests and the simulator can say what time it is instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::Timestamp;

/// Where time comes from. Times are cut to microseconds, which is what both databases keep.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's real-time clock.
    System,
    /// A clock that moves only when told to, in microseconds since the epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `at`.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.micros())))
    }

    /// The present.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                Timestamp::from_micros(
                    since.map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)),
                )
            }
            Self::Manual(micros) => Timestamp::from_micros(micros.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock; the system's clock is left alone.
    pub fn advance(&self, by: std::time::Duration) {
        if let Self::Manual(micros) = self {
            micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    /// Moves a manual clock on to `at`; it never goes back.
    pub fn reach(&self, at: Timestamp) {
        if let Self::Manual(micros) = self {
            micros.fetch_max(at.micros(), Ordering::Relaxed);
        }
    }

    /// A random id (`UUIDv4` in its 36-character form): boot ids, execution ids, request ids.
    #[must_use]
    pub fn id(&self) -> String {
        // The thread's own generator: the system's would be asked once for every request.
        uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
    }
}

/// Letters and digits that nobody can guess: the random part of a token.
#[must_use]
pub fn random_letters(count: usize) -> String {
    use rand::RngExt as _;
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut random = rand::rng();
    (0..count).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// Nanoseconds of the clock that keeps running while the machine sleeps and never jumps
/// (`CLOCK_BOOTTIME`): leases are timed on it and on nothing else.
#[must_use]
pub fn boottime_nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
