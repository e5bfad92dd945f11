//! Workers: they claim, call, end, and are lost.

use std::time::Duration;

use serde_json::Value;

use super::{World, promise};
use crate::domain::action::Effects;
use crate::store::{CallRow, Dispatch, Ending, Finished, Lease, Planned};

/// A worker and what it runs.
pub(super) struct Worker {
    pub boot: String,
    pub leases: Vec<Lease>,
}

impl Worker {
    pub(super) fn new(number: u64) -> Self {
        Self { boot: format!("worker-{number}"), leases: Vec::new() }
    }
}

fn call() -> CallRow {
    CallRow {
        fence: 0,
        n: 1,
        connection: "bank".to_owned(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        mutating: true,
        state: "intent".to_owned(),
        status: None,
        error: None,
        duration_us: None,
        body_hash: None,
    }
}

fn finished(ending: Ending) -> Finished {
    let (outcome, message) = ("test", String::new());
    Finished { ending, outcome, message, result: Value::Null, logs: Value::Null, calls: Vec::new() }
}

impl World {
    /// A worker takes what is ready: not in a pause, nothing stale.
    pub(super) async fn claim(&mut self) -> Result<(), String> {
        let (now, at) = (self.clock.now(), usize::try_from(self.random.below(2)).unwrap());
        let boot = self.workers[at].boot.clone();
        let claimed = self.store.claim(&boot, 2, now, |task| {
            let effects = if task.kind == "charge" { Effects::Unsafe } else { Effects::Idempotent };
            Planned::Run(Dispatch { plugin: "test".to_owned(), digest: "sha256:0".to_owned(), effects })
        });
        for lease in claimed.await.unwrap().leases {
            promise(!self.paused, "started in a pause")?;
            let task = &lease.task;
            promise(task.expires_at.is_none_or(|at| at >= now.micros()), "started what is too old")?;
            let disabled = task.policy_name.as_ref().is_some_and(|name| self.disabled.contains(name));
            promise(!disabled || task.expires_at.is_none(), "started for a policy that was disabled")?;
            self.actions += 1;
            if self.random.below(2) == 0 {
                let sent = self.store.intend(&lease, &call(), now).await.unwrap();
                promise(sent, "whoever has the lease may not call")?;
            }
            self.workers[at].leases.push(lease);
        }
        Ok(())
    }

    /// One that runs ends.
    pub(super) async fn finish(&mut self) -> Result<(), String> {
        let at = usize::try_from(self.random.below(2)).unwrap();
        if self.workers[at].leases.is_empty() {
            return Ok(());
        }
        let which = usize::try_from(self.random.below(self.workers[at].leases.len() as u64)).unwrap();
        let lease = self.workers[at].leases.swap_remove(which);
        let ending = match self.random.below(8) {
            0 => Ending::Dead { error: "it did not work".to_owned() },
            1 => Ending::Uncertain { error: "nobody saw it".to_owned() },
            2 | 3 if lease.attempt < lease.task.max_attempts => {
                Ending::Retry { error: "later".to_owned(), delay: Duration::from_secs(1) }
            }
            _ => Ending::Succeeded { summary: "done".to_owned() },
        };
        let now = self.clock.now();
        let settled = self.store.finish(&lease, &finished(ending), now).await.unwrap();
        if settled.is_some_and(|settled| matches!(settled.ending, Ending::Retry { .. })) {
            self.retries.push(now);
        }
        let since = now.before(super::everywhere().window);
        let granted = self.retries.iter().filter(|at| **at > since).count();
        promise(granted <= super::everywhere().max_retries as usize, "more was retried than may be")
    }

    /// A worker is lost; others take over what it ran.
    pub(super) async fn lose_a_worker(&mut self) {
        let at = usize::try_from(self.random.below(2)).unwrap();
        let number = 2 + self.clock.now().micros().cast_unsigned();
        let lost = std::mem::replace(&mut self.workers[at], Worker::new(number));
        self.clock.advance(Duration::from_secs(20));
        self.store.rescue(&lost.boot, None, self.clock.now()).await.unwrap();
        self.gone.extend(lost.leases);
        self.store.sweep(self.clock.now(), Duration::from_secs(10)).await.unwrap();
    }

    /// It was not dead after all: what it says and wants to do does not count any more.
    pub(super) async fn late_answer(&mut self) -> Result<(), String> {
        let Some(lease) = self.gone.pop() else { return Ok(()) };
        let now = self.clock.now();
        let calls = self.store.intend(&lease, &CallRow { n: 2, ..call() }, now).await.unwrap();
        promise(!calls, "a call was let out whose lease had lapsed")?;
        let done = finished(Ending::Succeeded { summary: "late".to_owned() });
        let counted = self.store.finish(&lease, &done, now).await.unwrap();
        promise(counted.is_none(), "a result counted whose lease had lapsed")
    }
}
