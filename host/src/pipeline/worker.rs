//! The worker: wakes up on a hint or after a while, claims what is ready, runs each claim as a task of its
//! own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::approve::diverged;
use super::execute::{self, Runner};
use super::push;
use super::remediate::Remediation;
use super::settings::Live;
use super::tenure::Tenures;
use crate::clock::Clock;
use crate::domain::action::Effects;
use crate::metrics::Metrics;
use crate::plugin::{Plugins, RouteError};
use crate::queue::Queue;
use crate::store::{Dispatch, Lease, Moved, Planned, Store, Task};

/// What workers work with.
#[derive(Clone)]
pub struct Parts {
    /// Where actions are claimed and finished.
    pub store: Store,
    /// What says "look now".
    pub queue: Queue,
    /// What runs them.
    pub plugins: Plugins,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
    /// Under which name leases are held.
    pub tenures: Arc<Tenures>,
    /// What is running here.
    pub running: Running,
    /// When a failed attempt is followed by another, and how many run at once.
    pub settings: Live,
    /// Who carries out what no plugin serves.
    pub remediation: Remediation,
    /// Attempts at once where the settings say nothing.
    pub capacity: usize,
    /// Longest wait between two looks without a hint.
    pub patience: Duration,
    /// How long attempts may run on once the process is told to end.
    pub drain: Duration,
}

/// The attempts running in this process, by action: a person's cancellation reaches them here.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<HashMap<i64, Handle>>>);

/// One running attempt.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Asks the plugin to stop.
    pub cancel: CancellationToken,
    /// Set when the action was ended by somebody else: no further call leaves.
    pub revoked: Arc<AtomicBool>,
}

impl Running {
    fn add(&self, action: i64) -> Handle {
        let handle = Handle { cancel: CancellationToken::new(), revoked: Arc::default() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(action, handle.clone());
        handle
    }

    fn remove(&self, action: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&action);
    }

    /// The actions that run here.
    #[must_use]
    pub fn ids(&self) -> Vec<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Stops the attempt of an action that somebody has ended: its outgoing calls are refused from now on.
    pub fn revoke(&self, action: i64) {
        if let Some(handle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&action) {
            handle.revoked.store(true, Ordering::Release);
            handle.cancel.cancel();
        }
    }

    fn cancel_all(&self) {
        for handle in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            handle.cancel.cancel();
        }
    }
}

/// Claims and runs until `stop`, then lets what runs finish.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let mut room = Room { free: Arc::new(Semaphore::new(0)), size: 0, wanted: 0 };
    let mut changes = parts.settings.changes();
    let draining = Arc::new(AtomicBool::new(false));
    let mut attempts = JoinSet::new();
    parts.metrics.worker_active(true);
    while !stop.is_cancelled() {
        while attempts.try_join_next().is_some() {}
        room.resize(parts.settings.now().remediation.max_concurrent.unwrap_or(parts.capacity));
        let first = tokio::select! {
            () = stop.cancelled() => break,
            _ = changes.changed() => continue,
            first = Arc::clone(&room.free).acquire_owned() => first,
        };
        let Some(first) = first.ok().and_then(|first| room.keep(first)) else { continue };
        let claimed = claim(&parts, first, &room.free).await;
        if claimed.is_empty() {
            let patience = parts.settings.now().remediation.interval;
            tokio::select! {
                () = stop.cancelled() => {}
                () = parts.queue.next(patience.map_or(parts.patience, Duration::from_secs)) => {}
            }
            continue;
        }
        for (lease, runner, permit) in claimed {
            let handle = parts.running.add(lease.task.id);
            let (parts, draining) = (parts.clone(), Arc::clone(&draining));
            attempts.spawn(async move {
                let id = lease.task.id;
                execute::attempt(&parts, lease, runner, handle, &draining).await;
                parts.running.remove(id);
                drop(permit);
            });
        }
    }
    parts.metrics.worker_active(false);
    drain(&parts, attempts, &draining).await;
}

/// Waits for running attempts; at the deadline they are stopped and given back by the effects rule.
async fn drain(parts: &Parts, mut attempts: JoinSet<()>, draining: &AtomicBool) {
    let finished = async { while attempts.join_next().await.is_some() {} };
    if tokio::time::timeout(parts.drain, finished).await.is_err() {
        draining.store(true, Ordering::Release);
        parts.running.cancel_all();
        let stopped = async { while attempts.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), stopped).await.is_err() {
            tracing::error!("attempts did not stop in time; their leases run out");
        }
    }
}

type Claimed = (Lease, Runner, OwnedSemaphorePermit);

/// How many attempts may run at once; it may be changed while they do.
struct Room {
    free: Arc<Semaphore>,
    size: usize,
    wanted: usize,
}

impl Room {
    /// Grows at once, and shrinks as far as it is empty.
    fn resize(&mut self, wanted: usize) {
        self.wanted = wanted;
        if wanted > self.size {
            self.free.add_permits(wanted - self.size);
            self.size = wanted;
        } else {
            self.size -= self.free.forget_permits(self.size - wanted);
        }
    }

    /// The place, unless there are still too many of them.
    fn keep(&mut self, place: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        if self.size > self.wanted {
            place.forget();
            self.size -= 1;
            return None;
        }
        Some(place)
    }
}

/// Claims as much as there is room for. Room is waited for first, so that hints of a busy process go to others.
async fn claim(parts: &Parts, first: OwnedSemaphorePermit, room: &Arc<Semaphore>) -> Vec<Claimed> {
    let tenure = parts.tenures.current();
    if !tenure.holds() {
        return Vec::new();
    }
    let mut permits = vec![first];
    while let Ok(permit) = Arc::clone(room).try_acquire_owned() {
        permits.push(permit);
    }
    let runners: Mutex<HashMap<i64, Runner>> = Mutex::default();
    let plan = |task: &Task| plan(parts, task, &runners);
    let claimed = parts.store.claim(&tenure.boot_id, permits.len(), parts.clock.now(), plan).await;
    let claimed = match claimed {
        Ok(claimed) => claimed,
        Err(wrong) => {
            tracing::warn!(error = %wrong, "nothing could be claimed");
            // The caller waits for a hint or its patience before it tries again.
            return Vec::new();
        }
    };
    parts.queue.announce(&claimed.ready);
    parts.metrics.moved(claimed.moved.iter().map(Moved::words));
    let mut runners = runners.into_inner().unwrap_or_else(PoisonError::into_inner);
    claimed
        .leases
        .into_iter()
        .filter_map(|lease| {
            let runner = runners.remove(&lease.task.id)?;
            parts.metrics.queue_operation("dequeue");
            parts.metrics.action(&lease.task.target, &lease.task.kind, "running");
            Some((lease, runner, permits.pop()?))
        })
        .collect()
}

fn plan(parts: &Parts, task: &Task, runners: &Mutex<HashMap<i64, Runner>>) -> Planned {
    let keep = |runner: Runner| {
        runners.lock().unwrap_or_else(PoisonError::into_inner).insert(task.id, runner);
    };
    let route = parts.plugins.route(&task.kind, &task.target);
    if let Some(why) = diverged(&route, parts.remediation.push.is_some(), task) {
        return Planned::Diverged(why);
    }
    match route {
        Ok(route) => {
            let dispatch = Dispatch {
                plugin: route.plugin.clone(),
                digest: route.digest.clone(),
                effects: effects(route.effects),
            };
            let bound = route.bound();
            if let (false, Some(remediator)) = (bound, &parts.remediation.push) {
                keep(Runner::Push(remediator.clone()));
                return Planned::Run(push::dispatch(task, &parts.remediation.idempotent));
            }
            keep(Runner::Plugin(route));
            // What was approved is this plugin, and no remediator.
            let ours = bound || task.approval().is_some();
            if ours { Planned::Run(dispatch) } else { Planned::Spare(dispatch) }
        }
        Err(wrong @ RouteError::Ambiguous(_)) => Planned::Refuse(refusal(&task.kind, &wrong)),
        Err(wrong @ RouteError::NoPlugin) => match &parts.remediation.push {
            Some(remediator) => {
                keep(Runner::Push(remediator.clone()));
                Planned::Run(push::dispatch(task, &parts.remediation.idempotent))
            }
            None => Planned::Unserved(format!(
                "{}; nothing is pushed, and no remediator has asked for work in the last 60 s",
                refusal(&task.kind, &wrong)
            )),
        },
    }
}

/// Why nobody runs an action of that kind, in words, beginning with the reason's name.
#[must_use]
pub fn refusal(kind: &str, wrong: &RouteError) -> String {
    match wrong {
        RouteError::NoPlugin => format!(
            "no_plugin: no plugin offers `{kind}`; install one that does, or add a [[routes]] entry for it"
        ),
        RouteError::Ambiguous(plugins) => format!(
            "ambiguous_route: `{kind}` is offered by {}; add a [[routes]] entry that says which one",
            plugins.join(", ")
        ),
    }
}

/// What a plugin declares, in the words of actions.
#[must_use]
pub fn effects(declared: crate::plugin::Effects) -> Effects {
    match declared {
        crate::plugin::Effects::Idempotent => Effects::Idempotent,
        crate::plugin::Effects::Keyed => Effects::Keyed,
        crate::plugin::Effects::Unsafe => Effects::Unsafe,
    }
}
