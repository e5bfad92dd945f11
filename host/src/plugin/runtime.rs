//! Runs guests: a fresh sandbox for each call, on threads of their own, under every limit at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};

use super::bindings::PluginPre;
use super::bindings::exports::vigil::remediator::remediator as guest;
use super::engine::{self, Guests, Ticker};
use super::report::{denied, not_begun, with_record, words};
use super::route::Route;
use super::state::{Attempt, Kill, Limits, Record, Sandbox};
use super::types::{Ended, Guard, ParamProblem, Report, Request};
use super::{Error, Settings, convert, host};
use crate::domain::plan::{Bound, Passes};

/// Bytes that a guest may pass to the host in one call, at least.
const HOST_CALL_BYTES: usize = 8 << 20;
/// Handles of one sandbox.
const MAX_HANDLES: usize = 1_000;
/// How often the lease of a guest that waits is looked at.
const LEASE_LOOK: Duration = Duration::from_millis(100);
/// Fuel and time of `describe`.
const DESCRIBE_FUEL: u64 = 1_000_000_000;
const DESCRIBE_TIME: Duration = Duration::from_secs(2);
/// The longest that a `validate` may take.
const VALIDATE_TIME: Duration = Duration::from_secs(5);
/// Sandboxes for `validate`; what is left of the spare ones is `describe`'s.
const VALIDATORS: usize = (engine::SPARE - engine::PLANNERS) as usize - 2;

/// Everything that guests need to run.
pub(super) struct Runtime {
    engine: Engine,
    ticker: Arc<Ticker>,
    guests: Guests,
    settings: Arc<Settings>,
    now: fn() -> i64,
    slots: Arc<Semaphore>,
    validators: Semaphore,
    planners: Semaphore,
    describing: AsyncMutex<()>,
}

/// What a guest is run for.
enum Purpose {
    /// To check parameters: it may read.
    Validate,
    /// To carry an action out.
    Execute(Guard),
    /// To see what it would do.
    Plan(CancellationToken, Passes),
}

/// What a guest left when it ended.
struct Ran<T> {
    result: Result<T, wasmtime::Error>,
    fuel_used: u64,
    memory: u64,
    duration: Duration,
}

impl Runtime {
    /// Starts the threads.
    pub(super) fn start(engine: Engine, settings: Arc<Settings>, now: fn() -> i64) -> Result<Self, Error> {
        Ok(Self {
            ticker: Arc::new(Ticker::start(engine.clone())?),
            guests: Guests::start()?,
            slots: Arc::new(Semaphore::new(settings.concurrency as usize)),
            validators: Semaphore::new(VALIDATORS),
            planners: Semaphore::new(engine::PLANNERS as usize),
            describing: AsyncMutex::new(()),
            engine,
            settings,
            now,
        })
    }

    /// How many guests run now.
    pub(super) fn running(&self) -> u64 {
        self.ticker.running()
    }

    /// Asks a component what it is, with nothing to call and little to use.
    pub(super) async fn describe(&self, pre: &PluginPre<Sandbox>) -> Result<guest::Description, Box<Ended>> {
        let _one = self.describing.lock().await;
        let store = self.store(None, DESCRIBE_FUEL.min(self.settings.fuel), DESCRIBE_TIME)?;
        let pre = pre.clone();
        let ran = self.spawn(store, None, move |store| Box::pin(call_describe(pre, store))).await?;
        ran.result.map_err(|e| Box::new(convert::stopped(&e)))
    }

    /// Lets the plugin check what a schema cannot; it may read through its connections.
    pub(super) async fn validate(&self, route: &Route, request: &Request) -> Result<(), Vec<ParamProblem>> {
        let problem = |message: String| vec![ParamProblem { pointer: String::new(), message }];
        let Ok(_one) = self.validators.acquire().await else {
            return Err(problem("the host is stopping".to_owned()));
        };
        let time = VALIDATE_TIME.min(self.settings.timeout);
        let attempt = self.attempt(route, request, time, Purpose::Validate);
        let asked = convert::request(request, &route.action);
        let pre = route.loaded.pre.clone();
        let ran = match self.store(Some(&attempt), self.settings.fuel, time) {
            Err(ended) => Err(ended),
            Ok(store) => {
                self.spawn(store, Some(attempt), |store| Box::pin(call_validate(pre, store, asked))).await
            }
        };
        match ran.and_then(|ran| ran.result.map_err(|e| Box::new(convert::stopped(&e)))) {
            Ok(answer) => answer.map_err(convert::problems),
            Err(ended) => Err(problem(format!("the plugin could not check it: {}", words(&ended)))),
        }
    }

    /// Carries an action out.
    pub(super) async fn execute(&self, route: &Route, request: &Request, mut guard: Guard) -> Report {
        let begun = Instant::now();
        let slot = guard.cancel.run_until_cancelled(Arc::clone(&self.slots).acquire_owned()).await;
        let Some(Ok(_slot)) = slot else {
            return Report::only(Ended::Cancelled(not_begun()), begun.elapsed());
        };
        let started = guard.started.take();
        self.carry_out(route, request, (Purpose::Execute(guard), started), begun).await
    }

    /// Runs an action in plan mode, until it ends or `cancel` says so. None: enough of these are at work.
    pub(super) async fn plan(
        &self,
        route: &Route,
        request: &Request,
        cancel: CancellationToken,
    ) -> Option<Report> {
        // What it keeps to is settled here, before a guest's thread has it.
        let passes = Passes::new();
        let _one = self.planners.try_acquire().ok()?;
        Some(self.carry_out(route, request, (Purpose::Plan(cancel, passes), None), Instant::now()).await)
    }

    async fn carry_out(
        &self,
        route: &Route,
        request: &Request,
        (purpose, started): (Purpose, Option<oneshot::Sender<()>>),
        begun: Instant,
    ) -> Report {
        let time = request.timeout.min(self.settings.timeout);
        let attempt = self.attempt(route, request, time, purpose);
        let asked = convert::request(request, &route.action);
        let pre = route.loaded.pre.clone();
        let store = match self.store(Some(&attempt), self.settings.fuel, time) {
            Ok(store) => store,
            Err(ended) => return Report::only(*ended, begun.elapsed()),
        };
        let ran = self
            .spawn(store, Some(Arc::clone(&attempt)), |store| {
                Box::pin(call_execute(pre, store, asked, started))
            })
            .await;
        let record = attempt.take_record();
        match ran {
            Ok(ran) => self.conclude(ran, record),
            Err(ended) => with_record(Report::only(*ended, begun.elapsed()), record),
        }
    }

    fn conclude(&self, ran: Ran<Result<guest::Outcome, guest::Error>>, record: Record) -> Report {
        let result = match ran.result {
            Ok(answer) => convert::answered(answer, self.settings.output_bytes),
            Err(error) => convert::stopped(&error),
        };
        let report = Report {
            result: denied(result, &record),
            logs: Vec::new(),
            logs_dropped: 0,
            calls: Vec::new(),
            fuel_used: ran.fuel_used,
            duration: ran.duration,
            peak_memory: ran.memory,
        };
        with_record(report, record)
    }

    fn attempt(&self, route: &Route, request: &Request, time: Duration, purpose: Purpose) -> Arc<Attempt> {
        let mut attempt = Attempt {
            execution_id: request.execution_id.clone(),
            fence: request.fence,
            effects: route.effects,
            deadline: Instant::now() + time,
            cancel: CancellationToken::new(),
            holds: Arc::new(|| true),
            journal: None,
            plan: None,
            bound: None,
            connections: route.connections.clone(),
            config: Arc::clone(&route.loaded.config),
            now: self.now,
            log_bytes: self.settings.log_bytes,
            host_calls: self.settings.host_calls,
            dear_calls: AtomicU32::new(0),
            cheap_calls: AtomicU32::new(0),
            mutations: AtomicU64::new(0),
            told: AtomicBool::new(false),
            record: std::sync::Mutex::default(),
        };
        match purpose {
            Purpose::Validate => {}
            Purpose::Execute(guard) => {
                attempt.bound = guard.bound.map(|calls| std::sync::Mutex::new(Bound::new(&calls)));
                (attempt.cancel, attempt.holds, attempt.journal) =
                    (guard.cancel, guard.holds, Some(guard.journal));
            }
            Purpose::Plan(cancel, passes) => {
                (attempt.cancel, attempt.plan) = (cancel, Some(passes));
            }
        }
        Arc::new(attempt)
    }

    /// A fresh store with every limit set.
    fn store(
        &self,
        attempt: Option<&Arc<Attempt>>,
        fuel: u64,
        time: Duration,
    ) -> Result<Store<Sandbox>, Box<Ended>> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let sandbox = Sandbox {
            limits: Limits {
                memory: self.settings.memory,
                table_elements: self.settings.table_elements as usize,
                instances: self.settings.instances as usize,
                used: 0,
            },
            wasi: attempt.map_or_else(host::for_describe, host::for_attempt),
            attempt: attempt.cloned(),
            table,
        };
        let mut store = Store::new(&self.engine, sandbox);
        store.limiter(|sandbox| &mut sandbox.limits);
        store.set_fuel(fuel).map_err(|e| Box::new(Ended::Host(format!("{e:#}"))))?;
        let output = usize::try_from(self.settings.output_bytes).unwrap_or(usize::MAX);
        store.set_hostcall_fuel(HOST_CALL_BYTES.max(output.saturating_mul(2)));
        let deadline = Instant::now() + time;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context| {
            match &context.data().attempt {
                Some(attempt) => attempt.check()?,
                None if Instant::now() >= deadline => return Err(Kill::Deadline.into()),
                None => {}
            }
            // A guest gives its thread away at every tick, so that others get theirs.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        Ok(store)
    }

    /// Runs a guest on the guests' own threads until it ends or must end.
    async fn spawn<T, F>(
        &self,
        mut store: Store<Sandbox>,
        attempt: Option<Arc<Attempt>>,
        call: F,
    ) -> Result<Ran<T>, Box<Ended>>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Store<Sandbox>) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static,
    {
        let stopping = || Box::new(Ended::Host("the host is stopping".to_owned()));
        let handle = self.guests.handle().ok_or_else(stopping)?;
        let running = self.ticker.guest();
        let fuel = store.get_fuel().unwrap_or_default();
        let grace = self.settings.cancel_grace;
        let task = handle.spawn(async move {
            let _running = running;
            let begun = Instant::now();
            let result = tokio::select! {
                biased;
                result = call(&mut store) => result,
                kill = must_end(attempt.as_deref(), grace) => Err(kill.into()),
            };
            Ran {
                result,
                fuel_used: fuel - store.get_fuel().unwrap_or_default(),
                memory: store.data().limits.used,
                duration: begun.elapsed(),
            }
        });
        let failed = |e| Box::new(Ended::Host(format!("the guest's task failed: {e}")));
        AbortOnDropHandle::new(task).await.map_err(failed)
    }
}

async fn call_describe(
    pre: PluginPre<Sandbox>,
    store: &mut Store<Sandbox>,
) -> wasmtime::Result<guest::Description> {
    let plugin = pre.instantiate_async(&mut *store).await?;
    plugin.vigil_remediator_remediator().call_describe(store).await
}

async fn call_validate(
    pre: PluginPre<Sandbox>,
    store: &mut Store<Sandbox>,
    asked: guest::ActionRequest,
) -> wasmtime::Result<Result<(), Vec<guest::ParamProblem>>> {
    let plugin = pre.instantiate_async(&mut *store).await?;
    plugin.vigil_remediator_remediator().call_validate(store, &asked).await
}

async fn call_execute(
    pre: PluginPre<Sandbox>,
    store: &mut Store<Sandbox>,
    asked: guest::ActionRequest,
    started: Option<oneshot::Sender<()>>,
) -> wasmtime::Result<Result<guest::Outcome, guest::Error>> {
    let plugin = pre.instantiate_async(&mut *store).await?;
    if let Some(started) = started {
        // Nobody has to listen.
        let _ = started.send(());
    }
    plugin.vigil_remediator_remediator().call_execute(store, &asked).await
}

/// Answers when a guest must end though it waits: a guest that computes is ended by the epoch.
async fn must_end(attempt: Option<&Attempt>, grace: Duration) -> Kill {
    let Some(attempt) = attempt else {
        tokio::time::sleep(DESCRIBE_TIME).await;
        return Kill::Deadline;
    };
    let stopped = async {
        attempt.cancel.cancelled().await;
        tokio::time::sleep(grace).await;
        Kill::Cancelled
    };
    let lapsed = async {
        loop {
            tokio::time::sleep(LEASE_LOOK).await;
            if let Err(kill) = attempt.check() {
                return kill;
            }
        }
    };
    tokio::select! {
        () = tokio::time::sleep_until(attempt.deadline.into()) => Kill::Deadline,
        kill = stopped => kill,
        kill = lapsed => kill,
    }
}
