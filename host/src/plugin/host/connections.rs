//! `vigil:host/connections`: every effect of a plugin passes here. The order of the checks is the
//! promise: grant, rules, lease, intent, lease again, and only then the wire.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wasmtime::Result;

use super::super::bindings::vigil::host::connections::{
    ConnectionInfo, Host, HttpError, Method as GuestMethod, Request, Response,
};
use super::super::connections::{Call, Checked, Connection, Effect, Failed, Method, Refusal};
use super::super::state::{Attempt, Kill, Sandbox};
use super::super::types::{CallRecord, CallState, Effects, JournalEntry};

/// As much of a path as is kept.
const KEPT_PATH: usize = 1 << 10;

impl Host for Sandbox {
    fn available(&mut self) -> Result<Vec<ConnectionInfo>> {
        let attempt = self.dear("connections.available")?;
        let info = |(slot, connection): (&String, &Arc<Connection>)| ConnectionInfo {
            slot: slot.clone(),
            kind: connection.kind().to_owned(),
        };
        Ok(attempt.connections.iter().map(info).collect())
    }

    async fn send(&mut self, slot: String, request: Request) -> Result<Result<Response, HttpError>> {
        let attempt = Arc::clone(self.dear("connections.send")?);
        Ok(outgoing(&attempt, &slot, request).await?)
    }
}

/// One call from the plugin's request to its answer; the outer error ends the guest.
async fn outgoing(
    attempt: &Attempt,
    slot: &str,
    request: Request,
) -> Result<Result<Response, HttpError>, Kill> {
    let method = method(request.method);
    let at = begin(attempt, slot, method, &request.path);
    let Some(connection) = attempt.connections.get(slot) else {
        let why = format!("no connection fills the slot {slot:?}");
        return Ok(Err(refused(attempt, at, Refusal::NotAllowed(why))));
    };
    let call = call(attempt, method, request);
    let checked = match connection.check(call) {
        Ok(checked) => checked,
        Err(refusal) => return Ok(Err(refused(attempt, at, refusal))),
    };
    let mutating = checked.effect == Effect::Write;
    attempt.record().calls[at].mutating = mutating;
    if mutating && attempt.journal.is_none() {
        let why = Refusal::NotAllowed("`validate` may change nothing".to_owned());
        return Ok(Err(refused(attempt, at, why)));
    }
    lease(attempt, at)?;
    if mutating
        && attempt.effects == Effects::Unsafe
        && let Err(why) = intent(attempt, at).await
    {
        return Ok(Err(refused(attempt, at, Refusal::NotAllowed(why))));
    }
    // Writing the intent took time.
    lease(attempt, at)?;
    let sent = Instant::now();
    let answer = wire(attempt, connection, checked).await;
    Ok(finish(attempt, at, sent, answer))
}

fn method(method: GuestMethod) -> Method {
    match method {
        GuestMethod::Get => Method::Get,
        GuestMethod::Head => Method::Head,
        GuestMethod::Post => Method::Post,
        GuestMethod::Put => Method::Put,
        GuestMethod::Patch => Method::Patch,
        GuestMethod::Delete => Method::Delete,
    }
}

fn call(attempt: &Attempt, method: Method, request: Request) -> Call {
    let left = attempt.deadline.saturating_duration_since(Instant::now());
    Call {
        method,
        path: request.path,
        headers: request.headers,
        body: request.body,
        timeout: request.timeout_ms.map_or(left, |ms| left.min(Duration::from_millis(ms))),
    }
}

/// Writes the call down before anything is decided; the answer is its place in the record.
fn begin(attempt: &Attempt, slot: &str, method: Method, path: &str) -> usize {
    let mut path = path.to_owned();
    path.truncate(path.floor_char_boundary(KEPT_PATH));
    let connection = attempt.connections.get(slot).map_or(slot, |c| c.name());
    let mut record = attempt.record();
    let at = record.calls.len();
    record.calls.push(CallRecord {
        n: u32::try_from(at + 1).unwrap_or(u32::MAX),
        connection: connection.to_owned(),
        method: method.as_str().to_owned(),
        path,
        mutating: method.usual_effect() == Effect::Write,
        started_us: (attempt.now)(),
        duration: Duration::ZERO,
        status: None,
        error: None,
        state: CallState::Intent,
    });
    at
}

fn refused(attempt: &Attempt, at: usize, refusal: Refusal) -> HttpError {
    let mut record = attempt.record();
    let call = &mut record.calls[at];
    call.state = CallState::Refused;
    call.error = Some(refusal.to_string());
    let words = format!("{} {} on connection {:?}: {refusal}", call.method, call.path, call.connection);
    record.refused.push(words);
    match refusal {
        Refusal::Malformed(why) => HttpError::InvalidRequest(why),
        Refusal::NotAllowed(why) => HttpError::Denied(why),
    }
}

fn lease(attempt: &Attempt, at: usize) -> Result<(), Kill> {
    attempt.check().inspect_err(|kill| {
        let mut record = attempt.record();
        record.calls[at].state = CallState::Refused;
        record.calls[at].error = Some(kill.to_string());
    })
}

/// Waits until the intent is durable.
async fn intent(attempt: &Attempt, at: usize) -> Result<(), String> {
    let lost = || "the intent could not be written".to_owned();
    let journal = attempt.journal.as_ref().ok_or_else(lost)?;
    let call = attempt.record().calls[at].clone();
    let (ack, answer) = oneshot::channel();
    journal.send(JournalEntry::Intent { call, ack }).await.map_err(|_| lost())?;
    answer.await.map_err(|_| lost())?
}

async fn wire(attempt: &Attempt, connection: &Connection, checked: Checked) -> Result<Response, Failed> {
    let mut own = Vec::new();
    if checked.effect == Effect::Write {
        let n = attempt.mutations.fetch_add(1, Ordering::Relaxed) + 1;
        own.push(("idempotency-key", format!("{}-{n}", attempt.execution_id)));
        own.push(("vigil-fence", attempt.fence.to_string()));
    }
    let answer = connection.send(checked, &own).await?;
    Ok(Response {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        truncated: answer.truncated,
    })
}

fn finish(
    attempt: &Attempt,
    at: usize,
    sent: Instant,
    answer: Result<Response, Failed>,
) -> Result<Response, HttpError> {
    let mut record = attempt.record();
    let call = &mut record.calls[at];
    call.duration = sent.elapsed();
    call.state = CallState::Done;
    let failed = match answer {
        Ok(response) => {
            call.status = Some(response.status);
            return Ok(response);
        }
        Err(failed) => failed,
    };
    let (error, words, reached) = match failed {
        Failed::Connect(why) => (HttpError::ConnectFailed(why.clone()), why, false),
        Failed::Timeout => (HttpError::Timeout, "no answer in time".to_owned(), true),
        Failed::Other(why) => (HttpError::Failed(why.clone()), why, true),
    };
    call.error = Some(words);
    if reached && call.mutating {
        call.state = CallState::Unknown;
    }
    Err(error)
}
