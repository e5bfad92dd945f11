//! `vigil:host/connections`: every effect of a plugin passes here. The order of the checks is the
//! promise: grant, rules, approved plan, lease, intent, lease again, and only then the wire. In plan mode
//! a call that writes ends after the lease: it is written down, and the host answers it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wasmtime::Result;

use super::super::bindings::vigil::host::connections::{
    ConnectionInfo, Host, HttpError, Method as GuestMethod, Request, Response,
};
use super::super::connections::{Answer, Call, Checked, Connection, Effect, Failed, Method, Refusal};
use super::super::load::digest;
use super::super::state::{Attempt, Kill, Sandbox};
use super::super::types::{CallRecord, CallState, Effects, JournalEntry};
use crate::domain::plan::PlannedCall;
use crate::domain::secret::excerpt;

/// As much of a path as is kept.
const KEPT_PATH: usize = 1 << 10;
/// Characters of a body that a plan shows.
const SHOWN_BODY: usize = 500;

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
    let at = begin(attempt, slot, method, &request);
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
    if let Some(passes) = attempt.plan {
        if !passes.sends(!mutating, method.usual_effect() == Effect::Read) {
            lease(attempt, at)?;
            return Ok(Ok(planned(attempt, at, checked)));
        }
    } else if mutating && let Err(why) = allowed(attempt, at) {
        return Ok(Err(refused(attempt, at, Refusal::NotAllowed(why))));
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

/// Whether this attempt may change something by that call; the error says why not.
fn allowed(attempt: &Attempt, at: usize) -> Result<(), String> {
    if attempt.journal.is_none() {
        return Err("`validate` may change nothing".to_owned());
    }
    let Some(bound) = &attempt.bound else { return Ok(()) };
    let mut record = attempt.record();
    let call = &record.calls[at];
    let call = PlannedCall {
        connection: call.connection.clone(),
        method: call.method.clone(),
        path: call.path.clone(),
        body_hash: call.body_hash.clone(),
    };
    if bound.lock().unwrap_or_else(PoisonError::into_inner).take(&call) {
        return Ok(());
    }
    record.diverged.get_or_insert_with(|| call.to_string());
    Err("plan_diverged: the approved plan has no such call here".to_owned())
}

/// Writes a call down that is not made, and answers it.
fn planned(attempt: &Attempt, at: usize, checked: Checked) -> Response {
    let answer = checked.planned();
    let call = &mut attempt.record().calls[at];
    call.state = CallState::Planned;
    call.status = Some(answer.status);
    response(answer)
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
fn begin(attempt: &Attempt, slot: &str, method: Method, request: &Request) -> usize {
    let mut path = request.path.clone();
    if path.len() > KEPT_PATH {
        path.truncate(path.floor_char_boundary(KEPT_PATH));
        path.push_str("#sha256:");
        path.push_str(&digest(request.path.as_bytes()));
    }
    let body = request.body.as_deref().filter(|body| !body.is_empty());
    let connection = attempt.connections.get(slot).map_or(slot, |c| c.name());
    let mut record = attempt.record();
    let at = record.calls.len();
    record.calls.push(CallRecord {
        n: u32::try_from(at + 1).unwrap_or(u32::MAX),
        connection: connection.to_owned(),
        method: method.as_str().to_owned(),
        path,
        body_hash: body.map(digest),
        body: body.filter(|_| attempt.plan.is_some()).and_then(|body| excerpt(body, SHOWN_BODY)),
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
    Ok(response(connection.send(checked, &own).await?))
}

fn response(answer: Answer) -> Response {
    let Answer { status, headers, body, truncated } = answer;
    Response { status, headers, body, truncated }
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

#[cfg(test)]
mod tests;
