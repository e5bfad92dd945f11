//! The running simulator: one task of this process, told what to do through a channel. Its events go the way of
//! every event, through the validator and the writer; only their mark tells them apart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, ingest};
use crate::domain::Timestamp;
use crate::domain::event::Mark;
use crate::pipeline::ingest::Refused;
use crate::pipeline::simulate::{Next, Shape};

/// Events on their way at once; with more, the next ones wait.
const IN_FLIGHT: usize = 1_024;
/// How long a late event takes.
const LATE: Duration = Duration::from_secs(2);
/// What is behind the asked rate by more than this is not caught up with.
const DEBT: Duration = Duration::from_secs(30);
/// How long a stop waits for what is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many events came to what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// All of them.
    pub(super) generated: u64,
    /// Stored.
    pub(super) succeeded: u64,
    /// Refused by the pipeline.
    pub(super) failed: u64,
    /// Never arrived.
    pub(super) timeout: u64,
    /// Were no events.
    pub(super) malformed: u64,
    /// Refused since too much was waiting.
    pub(super) limited: u64,
}

/// What the simulator is doing, or last did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// It sends.
    pub(super) running: bool,
    /// What it was asked for.
    pub(super) shape: Shape,
    /// What has come of it.
    pub(super) tally: Tally,
    /// When it was started.
    pub(super) started_at: Option<Timestamp>,
    /// When it last sent something.
    pub(super) last_event_at: Option<Timestamp>,
    began: Option<Instant>,
    ran: Duration,
}

impl State {
    /// How long it has been running, or ran.
    pub(super) fn runtime(&self) -> Duration {
        self.began.map_or(self.ran, |began| began.elapsed())
    }
}

/// The handle of the simulator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Simulator {
    send: mpsc::Sender<Order>,
    state: Arc<Mutex<State>>,
}

/// What the simulator is told.
#[derive(Debug)]
enum Order {
    /// Start; answered with whether it did, and what runs now.
    Start(Shape, oneshot::Sender<(bool, Shape)>),
    /// Stop; answered with what ran, if it did.
    Stop(oneshot::Sender<Option<State>>),
}

/// What the simulator's task takes from.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Order>);

/// The simulator has ended, since Vigil is ending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended;

impl Simulator {
    /// A handle, and what it tells.
    #[must_use]
    pub fn new() -> (Self, Orders) {
        let (send, receive) = mpsc::channel(16);
        (Self { send, state: Arc::default() }, Orders(receive))
    }

    /// Starts it, unless it runs. Answers whether it did, and what runs now.
    pub(super) async fn start(&self, shape: Shape) -> Result<(bool, Shape), Ended> {
        let (reply, answer) = oneshot::channel();
        self.send.send(Order::Start(shape, reply)).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Stops it and waits for what is on its way. None: it was not running.
    pub(super) async fn stop(&self) -> Result<Option<State>, Ended> {
        let (reply, answer) = oneshot::channel();
        self.send.send(Order::Stop(reply)).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// What it is doing.
    pub(super) fn state(&self) -> State {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, came: Came) {
        let tally = &mut self.lock().tally;
        match came {
            Came::Stored => tally.succeeded += 1,
            Came::Refused => tally.failed += 1,
            Came::Late => tally.timeout += 1,
            Came::Malformed => tally.malformed += 1,
            Came::Limited => tally.limited += 1,
        }
    }
}

/// What an event came to.
#[derive(Clone, Copy, Debug)]
enum Came {
    Stored,
    Refused,
    Late,
    Malformed,
    Limited,
}

/// Takes orders until `stop`.
pub async fn run(api: Api, mut orders: Orders, stop: CancellationToken) {
    loop {
        let order = tokio::select! {
            () = stop.cancelled() => return,
            order = orders.0.recv() => order,
        };
        match order {
            None => return,
            Some(Order::Stop(reply)) => {
                let _ = reply.send(None);
            }
            Some(Order::Start(shape, reply)) => {
                *api.simulator.lock() = State {
                    running: true,
                    shape,
                    started_at: Some(api.clock.now()),
                    began: Some(Instant::now()),
                    ..State::default()
                };
                tracing::info!(rate = shape.rate, mode = shape.mode.word(), "The simulator has started");
                let _ = reply.send((true, shape));
                drive(&api, shape, &mut orders, &stop).await;
            }
        }
    }
}

/// Sends until told to stop.
async fn drive(api: &Api, shape: Shape, orders: &mut Orders, stop: &CancellationToken) {
    let mut chance: StdRng = rand::make_rng();
    let (began, cut) = (tokio::time::Instant::now(), CancellationToken::new());
    let mut due = began;
    let mut on_the_way = FuturesUnordered::new();
    let stopped = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break None,
            order = orders.0.recv() => match order {
                None => break None,
                Some(Order::Start(_, reply)) => { let _ = reply.send((false, shape)); }
                Some(Order::Stop(reply)) => break Some(reply),
            },
            Some(came) = on_the_way.next(), if !on_the_way.is_empty() => api.simulator.count(came),
            () = tokio::time::sleep_until(due), if on_the_way.len() < IN_FLIGHT => {
                on_the_way.push(send(api, shape.next(&mut chance), &cut));
                let mut state = api.simulator.lock();
                state.tally.generated += 1;
                state.last_event_at = Some(api.clock.now());
                drop(state);
                // From when it was due and not from now: what was held up is caught up with.
                let behind = tokio::time::Instant::now().checked_sub(DEBT).unwrap_or(due);
                due = due.max(behind) + shape.delay(began.elapsed(), &mut chance);
            }
        }
    };
    cut.cancel();
    let rest = async {
        while let Some(came) = on_the_way.next().await {
            api.simulator.count(came);
        }
    };
    if tokio::time::timeout(PATIENCE, rest).await.is_err() {
        tracing::warn!("the simulator does not wait any longer for events that are being stored");
    }
    let mut state = api.simulator.lock();
    (state.ran, state.began, state.running) = (state.runtime(), None, false);
    let last = *state;
    drop(state);
    tracing::info!(events = last.tally.generated, "The simulator has stopped");
    if let Some(reply) = stopped {
        let _ = reply.send(Some(last));
    }
}

/// One event, from its body to what became of it.
async fn send(api: &Api, next: Next, cut: &CancellationToken) -> Came {
    let (body, wrong) = match &next {
        Next::Late => {
            let _ = tokio::time::timeout(LATE, cut.cancelled()).await;
            return Came::Late;
        }
        Next::Event(body) | Next::Refused(body) => (body, Came::Refused),
        Next::Malformed(body) => (body, Came::Malformed),
    };
    let mut request = match ingest::requested(body, false, None, (api, api.clock.now())) {
        Ok(request) => request,
        Err(problem) => {
            api.metrics.ingest_rejected(problem.status().as_str());
            return wrong;
        }
    };
    let events = std::mem::take(&mut request.events);
    request.events = events.into_iter().map(|event| event.marked(Mark::Simulated)).collect();
    match api.ingest.accept(request).await {
        Ok(_) => Came::Stored,
        Err(Refused::Overloaded) => Came::Limited,
        Err(
            Refused::Unavailable | Refused::Full | Refused::KeyReused | Refused::Data(_) | Refused::Closing,
        ) => Came::Refused,
    }
}
