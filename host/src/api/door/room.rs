//! How much is worked on at once. What finds no room within a tenth of a second is sent away, and health, cancel,
//! pause, approve and reject never need any.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
pub(super) struct Held(#[expect(dead_code, reason = "held, never read")] Vec<OwnedSemaphorePermit>);

impl Rooms {
    pub(super) fn new(ingest: usize, other: usize, bodies: usize) -> Self {
        let room = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let units = (bodies / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { ingest: room(ingest), other: room(other), bodies: room(units), units }
    }

    /// Room for a request of this class whose body may take so many bytes.
    pub(super) async fn enter(&self, class: Class, bytes: usize) -> Result<Held, Problem> {
        let places = match class {
            Class::Exempt => return Ok(Held::default()),
            Class::Ingest => &self.ingest,
            Class::Actions | Class::Other => &self.other,
        };
        // A single body is let in even if it is allowed to be larger than all of them together.
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.units)).unwrap_or(u32::MAX);
        let enter = async {
            let place = Arc::clone(places).acquire_owned().await?;
            let memory = Arc::clone(&self.bodies).acquire_many_owned(units).await?;
            Ok::<_, tokio::sync::AcquireError>(Held(vec![place, memory]))
        };
        if let Ok(Ok(held)) = tokio::time::timeout(PATIENCE, enter).await {
            return Ok(held);
        }
        let text = "too many requests are being worked on; come back in a second";
        Err(Problem::limited(StatusCode::TOO_MANY_REQUESTS, text, 1))
    }
}
