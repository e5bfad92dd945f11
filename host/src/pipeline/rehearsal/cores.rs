//! Which cores a rehearsal runs on. Its thread and its database's take turns, statement by statement: on one core neither has to
//! be woken on another, which costs more than most statements. A second thread, where there is work for one, runs anywhere.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The cores that this thread had before.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct Cores(Option<CpuSet>);

impl Cores {
    /// Keeps this thread, and those that it starts, on the core that it is on. Where that can't be, it is slower.
    pub(in crate::pipeline) fn keep_to_one() -> Self {
        let Ok(before) = sched_getaffinity(None) else { return Self(None) };
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        Self(sched_setaffinity(None, &one).is_ok().then_some(before))
    }

    /// Lets this thread run anywhere again.
    pub(in crate::pipeline) fn spread(&self) {
        if let Some(before) = &self.0 {
            // A thread that stays where it is is slower, no more.
            let _ = sched_setaffinity(None, before);
        }
    }
}
