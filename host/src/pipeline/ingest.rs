//! The way of an event: accepted here, put in order, decided and recorded by the one writer, answered after
//! the commit.
//!
//! ```text
//! accept ──► queue of requests ──► writer: drain what has arrived
//!                                   │ lock partitions, apply what other nodes added
//!                                   │ engine.observe        → findings
//!                                   │ decide                → plan
//!                                   │ store.record, commit  ← one transaction for all of it
//!                                   └ queue.announce, answer every request
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::approve::{Approve, Approved};
use super::known::Known;
pub use super::writer::{Parts, Writer};
use crate::domain::Event;
use crate::metrics::{Books, Underway};

/// Requests waiting for the writer.
const REQUESTS: usize = 4_096;
/// Approvals waiting for the writer; they are people's.
const APPROVALS: usize = 256;
/// Events waiting for the writer; beyond it a client is told to come back.
const EVENTS: usize = 200_000;

/// One request: all of its events are stored, or none.
#[derive(Debug)]
pub struct Request {
    /// At least one.
    pub events: Vec<Event>,
    /// A list in, a list out.
    pub many: bool,
    /// What was taken otherwise than it was sent.
    pub warnings: Vec<String>,
    /// The idempotency key.
    pub key: Option<Key>,
}

/// An idempotency key as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who and which route.
    pub scope: String,
    /// What the client chose.
    pub key: String,
    /// Hash of the body: the same key with another body is refused.
    pub body_hash: String,
}

/// Why a request is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much is waiting; come back.
    Overloaded,
    /// The database is away; come back.
    Unavailable,
    /// The database has no room.
    Full,
    /// The key was used with another body.
    KeyReused,
    /// The database can't keep this data, in words.
    Data(String),
    /// Vigil is ending.
    Closing,
}

/// The answer's body, as it was or will be stored.
pub type Reply = Result<Bytes, Refused>;

pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Reply>,
    _room: OwnedSemaphorePermit,
    _underway: Underway,
}

/// The door to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest {
    send: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    books: Books,
    known: Arc<Known>,
    look: Arc<Look>,
    approvals: mpsc::Sender<Approving>,
}

/// A yes that waits for the writer.
#[derive(Debug)]
pub(super) struct Approving {
    pub(super) yes: Approve,
    pub(super) reply: oneshot::Sender<Result<Approved, Refused>>,
}

/// How the writer is told that the policies have changed, and tells that it works with them.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) asked: Notify,
    pub(super) seen: watch::Sender<i64>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Waiting").field("events", &self.request.events.len()).finish_non_exhaustive()
    }
}

impl Ingest {
    /// A door, and what comes through it.
    #[must_use]
    pub fn new(books: Books) -> (Self, Arrivals) {
        let (send, receive) = mpsc::channel(REQUESTS);
        let look = Arc::new(Look { asked: Notify::new(), seen: watch::Sender::new(-1) });
        let room = Arc::new(Semaphore::new(EVENTS));
        let (approvals, asks) = mpsc::channel(APPROVALS);
        let door = Self { send, room, known: Arc::default(), look: Arc::clone(&look), approvals, books };
        (door, Arrivals(receive, look, Some(asks)))
    }

    /// The series that have been sent before.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Waits until the writer works with the policies of revision `rev` or a later one, at most a second: then
    /// it takes them up by itself, before its next event.
    pub async fn policies_changed(&self, rev: i64) {
        let mut seen = self.look.seen.subscribe();
        self.look.asked.notify_one();
        let _ = tokio::time::timeout(Duration::from_secs(1), seen.wait_for(|seen| *seen >= rev)).await;
    }

    /// Hands somebody's yes to the writer, ahead of all events that wait, and waits for what becomes of it.
    pub async fn approve(&self, yes: Approve) -> Result<Approved, Refused> {
        let (reply, answer) = oneshot::channel();
        self.approvals.try_send(Approving { yes, reply }).map_err(|wrong| match wrong {
            mpsc::error::TrySendError::Full(_) => Refused::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Refused::Closing,
        })?;
        answer.await.unwrap_or(Err(Refused::Closing))
    }

    /// Hands a request to the writer and waits until it is on disk.
    pub async fn accept(&self, request: Request) -> Reply {
        let weight = u32::try_from(request.events.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(weight).map_err(|_| Refused::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let (slot, count) = (self.send.try_reserve(), request.events.len());
        let slot = slot.map_err(|wrong| match wrong {
            mpsc::error::TrySendError::Full(()) => Refused::Overloaded,
            mpsc::error::TrySendError::Closed(()) => Refused::Closing,
        })?;
        slot.send(Waiting { request, reply, _room: room, _underway: self.books.received(count) });
        answer.await.unwrap_or(Err(Refused::Closing))
    }
}

/// What the writer takes from.
#[derive(Debug)]
pub struct Arrivals(mpsc::Receiver<Waiting>, Arc<Look>, Option<mpsc::Receiver<Approving>>);

/// Events of one transaction, if so many have arrived.
const BATCH: usize = 10_000;
/// Requests of one transaction.
const BATCH_REQUESTS: usize = 1_000;
/// How often the other tasks are let through before a batch is closed.
const ROUNDS: usize = 4;

impl Arrivals {
    /// Waits for a request and takes along what has arrived with it. No timer: while one batch commits the
    /// next one gathers. Empty: the door is closed.
    pub(super) async fn drain(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::new();
        let Some(first) = self.0.recv().await else { return batch };
        batch.push(first);
        self.take_along(&mut batch);
        batch
    }

    /// Takes along those that are about to arrive: when a batch has been answered, its clients send again at
    /// nearly the same time, and the first of them would else pay for a commit of its own while all others
    /// wait for it. Nothing is waited for but tasks that are ready to run.
    pub(super) async fn gather(&mut self, batch: &mut Vec<Waiting>) {
        for _ in 0..ROUNDS {
            let before = batch.len();
            tokio::task::yield_now().await;
            self.take_along(batch);
            if batch.len() == before {
                return;
            }
        }
    }

    fn take_along(&mut self, batch: &mut Vec<Waiting>) {
        let mut events: usize = batch.iter().map(|waiting| waiting.request.events.len()).sum();
        while events < BATCH && batch.len() < BATCH_REQUESTS {
            let Ok(next) = self.0.try_recv() else { break };
            events += next.request.events.len();
            batch.push(next);
        }
    }

    /// Where people's answers arrive; the first who asks has it.
    pub(super) fn approvals(&mut self) -> mpsc::Receiver<Approving> {
        self.2.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// How it is told that the policies have changed.
    pub(super) fn look(&self) -> Arc<Look> {
        Arc::clone(&self.1)
    }

    /// Lets nobody in any more; what has arrived is still drained.
    pub(super) fn close(&mut self) {
        self.0.close();
    }
}
