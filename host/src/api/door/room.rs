//! How much is worked on at once. What finds no room within a tenth of a second is sent away, and health, cancel,
//! pause, approve and reject never need any.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::super::Problem;
use super::Class;

/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes that one permit of the bodies' memory stands for.
const UNIT: usize = 4 << 10;

/// The rooms.
#[derive(Debug)]
pub(super) struct Rooms {
    ingest: Arc<Semaphore>,
    other: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    units: usize,
}

/// Room that a request has until it is answered.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<OwnedSemaphorePermit>);

impl Rooms {
    pub(super) fn new(ingest: usize, other: usize, bodies: usize) -> Self {
        let room = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let units = (bodies / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { ingest: room(ingest), other: room(other), bodies: room(units), units }
    }

    /// A place for a request of this class, and room for as many bytes of its body.
    pub(super) async fn enter(&self, class: Class, bytes: usize) -> Result<Held, Problem> {
        let places = match class {
            Class::Exempt => return Ok(Held::default()),
            Class::Ingest => &self.ingest,
            Class::Actions | Class::Other => &self.other,
        };
        let enter = async {
            let place = Arc::clone(places).acquire_owned().await?;
            let memory = self.memory(bytes).await?;
            Ok::<_, AcquireError>(Held(vec![place, memory]))
        };
        patient(enter).await
    }

    /// Room for so many bytes more, for one that is in. What needed none before needs none now.
    pub(super) async fn grow(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        if held.0.is_empty() {
            return Ok(());
        }
        held.0.push(patient(self.memory(bytes)).await?);
        Ok(())
    }

    /// A single body is let in even if it is allowed to be larger than all of them together.
    async fn memory(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.units)).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies).acquire_many_owned(units).await
    }
}

async fn patient<T>(enter: impl Future<Output = Result<T, AcquireError>>) -> Result<T, Problem> {
    if let Ok(Ok(got)) = tokio::time::timeout(PATIENCE, enter).await {
        return Ok(got);
    }
    let text = "too many requests are being worked on; come back in a second";
    Err(Problem::limited(StatusCode::TOO_MANY_REQUESTS, text, 1))
}
