//! Numbers about numbers.

use std::time::Duration;

/// A distribution of times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all does not exceed; zero where there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let Some(last) = sorted.len().checked_sub(1) else { return Duration::ZERO };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a position in a list that fits in memory"
        )]
        let at = (last as f64 * share).round() as usize;
        sorted[at.min(last)]
    }

    pub(crate) fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// `p50 / p99` and how many there are.
    pub(crate) fn words(&self) -> String {
        format!("p50 {}, p99 {} ({} times)", time(self.p50()), time(self.p99()), self.len())
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

/// A time in the unit that fits it.
pub(crate) fn time(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    match nanos {
        n if n < 1e3 => format!("{n:.1} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

/// The time of one of `count`.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
pub(crate) fn each(total: Duration, count: u64) -> Duration {
    if count == 0 { Duration::ZERO } else { total.div_f64(count as f64) }
}

/// How many times the second is in the first.
pub(crate) fn ratio(of: Duration, to: Duration) -> f64 {
    if to.is_zero() { f64::NAN } else { of.as_secs_f64() / to.as_secs_f64() }
}
