//! What limits actions must be readable. What is malformed holds everything back that it might limit, and somebody is told:
//! once in the log, and by a gauge for as long as it lasts.

use std::collections::BTreeSet;

use super::Writer;
use crate::store::Error;

/// What can't be read now, in words.
#[derive(Debug, Default)]
pub(super) struct Unreadable(BTreeSet<String>);

impl Writer {
    /// What was read; nothing where it is malformed. Only what is known to be readable again ends the alarm.
    pub(super) fn sees<T>(
        &mut self,
        what: impl Fn() -> String,
        read: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match read {
            Ok(read) => {
                if !self.unreadable.0.is_empty() && self.unreadable.0.remove(&what()) {
                    tracing::info!(what = what(), "what limits actions can be read again");
                    self.parts.metrics.unreadable(self.unreadable.0.len());
                }
                Ok(Some(read))
            }
            Err(Error::Broken(why)) => {
                if self.unreadable.0.insert(what()) {
                    tracing::error!(what = what(), error = %why, "what limits actions can't be read: nothing is done until it can; mend the row and look at `vigil_safety_state_unreadable`");
                    self.parts.metrics.unreadable(self.unreadable.0.len());
                }
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// How much can't be read.
    #[cfg(test)]
    pub(in crate::pipeline) fn alarms(&self) -> usize {
        self.unreadable.0.len()
    }
}
