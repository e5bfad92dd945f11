//! The wasmtime engine, the clock that interrupts guests, and the threads that they run on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig, WasmBacktraceDetails};

use super::{Error, Settings};

/// How often a running guest is looked at.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Sandboxes beyond `concurrency`: for `describe`, `validate` and plan mode.
pub(super) const SPARE: u32 = 6;
/// Plans that are made at once.
pub(super) const PLANNERS: u32 = 2;
/// How much guests give way to the threads that answer requests.
const NICE: i32 = 10;

/// Everything that decides what compiled code looks like; the same in the server and in the compile
/// child. Allocation is apart: a pooling engine reserves its address space at once, which a child under a
/// memory limit could not.
pub(super) fn config() -> Config {
    let mut c = Config::new();
    c.wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .epoch_interruption(true)
        .consume_fuel(true)
        .generate_address_map(false)
        .memory_may_move(false)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20);
    c
}

/// The server's engine: [`config`] with a pool of `concurrency` sandboxes and a few spare ones.
pub(super) fn pooled(settings: &Settings) -> Result<Engine, Error> {
    let slots = settings.concurrency + SPARE;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_core_instances(slots.saturating_mul(settings.instances))
        .max_core_instances_per_component(settings.instances)
        .max_memories_per_component(4)
        .total_memories(slots * 4)
        .max_tables_per_component(settings.instances * 2)
        .max_tables_per_module(16)
        .total_tables(slots.saturating_mul(settings.instances * 2))
        .table_elements(settings.table_elements as usize)
        .max_memory_size(usize::try_from(settings.memory).unwrap_or(usize::MAX))
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(64 << 10)
        // Where the kernel can say which pages a guest wrote to, only they are reset, and none is given back
        // to be faulted in again by the next guest.
        .pagemap_scan(Enabled::Auto);
    Engine::new(config().allocation_strategy(pool)).map_err(|e| Error::Engine(format!("{e:#}")))
}

/// Names everything that compiled code depends on: a directory of the cache.
pub(super) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Moves the engine's epoch on while a guest runs; sleeps without waking up while none does.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    running: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        while !self.stop.load(Ordering::Acquire) {
            if self.running.load(Ordering::Acquire) == 0 {
                thread::park();
            } else {
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        }
    }
}

impl Ticker {
    /// Starts its thread.
    pub(super) fn start(engine: Engine) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("vigil-epoch".to_owned())
            .spawn(move || seen.tick(&engine))
            .map_err(|e| Error::Engine(format!("no thread for the epoch: {e}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says that a guest runs until the answer is dropped.
    pub(super) fn guest(self: &Arc<Self>) -> Running {
        if self.shared.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake();
        }
        Running(Arc::clone(self))
    }

    /// How many guests run.
    pub(super) fn running(&self) -> u64 {
        self.shared.running.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        // It ends within a tick, and a panicked ticker has nothing to say here.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A guest that runs.
pub(super) struct Running(Arc<Ticker>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The threads of the guests, apart from those that answer HTTP: a guest may hold one for a whole tick.
pub(super) struct Guests(Option<Runtime>);

impl Guests {
    /// Starts half as many threads as there are cores, at a lower priority.
    pub(super) fn start() -> Result<Self, Error> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads((cores / 2).max(1))
            .max_blocking_threads(32)
            .thread_name("vigil-guest")
            // With the usual 61 a spinning guest would make timers late by half a second.
            .event_interval(1)
            // New guests come in by the shared queue, which must not wait behind 61 ticks of spinning ones.
            .global_queue_interval(2)
            .on_thread_start(|| {
                // On Linux this is for the calling thread alone; without it guests are merely less polite.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(|e| Error::Engine(format!("no threads for guests: {e}")))
    }

    /// Where guests are spawned.
    pub(super) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        // Waiting is not possible inside of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_childs_engine_makes_what_the_servers_takes() {
        let server = pooled(&Settings { concurrency: 2, ..Settings::default() }).unwrap();
        let child = Engine::new(&config()).unwrap();
        assert_eq!(compatibility(&server), compatibility(&child));
    }

    #[test]
    fn the_epoch_moves_only_while_a_guest_runs() {
        let engine = Engine::new(&config()).unwrap();
        let ticker = Arc::new(Ticker::start(engine).unwrap());
        let guest = ticker.guest();
        assert_eq!(ticker.running(), 1);
        drop(guest);
        assert_eq!(ticker.running(), 0);
    }
}
