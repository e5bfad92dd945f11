//! `vigil:host/execution`: time, cancellation and progress of the running attempt.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wasmtime::Result;

use super::super::bindings::vigil::host::execution::Host;
use super::super::state::{Attempt, Sandbox};
use super::super::types::{LogLevel, LogSource};

fn left(attempt: &Attempt) -> Duration {
    attempt.deadline.saturating_duration_since(Instant::now())
}

impl Host for Sandbox {
    fn report_progress(&mut self, percent: Option<u8>, message: String) -> Result<()> {
        let fields = percent.map(|p| ("percent".to_owned(), p.min(100).to_string()));
        let attempt = self.cheap("execution.report-progress")?;
        attempt.log(LogLevel::Info, LogSource::Progress, &message, fields.into_iter().collect());
        Ok(())
    }

    fn is_cancelled(&mut self) -> Result<bool> {
        let attempt = self.cheap("execution.is-cancelled")?;
        let cancelled = attempt.cancel.is_cancelled();
        attempt.told.fetch_or(cancelled, Ordering::Relaxed);
        Ok(cancelled)
    }

    fn remaining_ms(&mut self) -> Result<u64> {
        let left = left(self.cheap("execution.remaining-ms")?);
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_ms(&mut self, ms: u64) -> Result<bool> {
        let attempt = self.cheap("execution.sleep-ms")?;
        // Past the deadline the attempt is ended from outside.
        let long = Duration::from_millis(ms).min(left(attempt) + Duration::from_secs(1));
        let whole = attempt.cancel.run_until_cancelled(tokio::time::sleep(long)).await.is_some();
        attempt.told.fetch_or(!whole, Ordering::Relaxed);
        attempt.check()?;
        Ok(whole)
    }
}
