//! Calls to supervisord, and what its faults mean.

use vigil_plugin_sdk::{Error, Path, connections, execution};

use crate::process::Process;
use crate::xmlrpc::{self, Fault, Value};

const SLOT: &str = "supervisor";

/// Where calls go and how time passes: the host, or a test's stand-in.
pub(crate) trait Rpc {
    /// Sends an XML document to `/RPC2` and answers with status and body.
    fn post(&mut self, xml: String) -> Result<(u16, String), Error>;
    /// Milliseconds left.
    fn remaining_ms(&mut self) -> u64;
    /// False if cut short by a cancellation.
    fn sleep_ms(&mut self, ms: u64) -> bool;
}

/// The host's side of [`Rpc`].
pub(crate) struct Host;

impl Rpc for Host {
    fn post(&mut self, xml: String) -> Result<(u16, String), Error> {
        let call = connections::post(SLOT, &Path::root().segment("RPC2")).body("text/xml", xml);
        let answer = call.send()?;
        if answer.truncated {
            return Err(Error::permanent(
                "answer-too-long",
                "supervisord's answer was cut at the connection's limit",
            ));
        }
        Ok((answer.status, answer.text()))
    }

    fn remaining_ms(&mut self) -> u64 {
        execution::remaining_ms()
    }

    fn sleep_ms(&mut self, ms: u64) -> bool {
        execution::sleep_ms(ms)
    }
}

/// What a mutating call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Carried out.
    Yes,
    /// It was so already.
    Already,
    /// Taken but not carried out by supervisord itself: an answer 202, as the
    /// host gives in plan mode or a gateway may. There is nothing to wait for.
    Accepted,
}

/// Every process.
pub(crate) fn processes(rpc: &mut impl Rpc) -> Result<Vec<Process>, Error> {
    let Some(Value::Array(items)) = read(rpc, "supervisor.getAllProcessInfo", &[])? else {
        return Err(not_understood("no list of processes"));
    };
    items
        .iter()
        .map(|item| Process::of(item).ok_or_else(|| not_understood("a process without its state")))
        .collect()
}

/// One process as it is now.
pub(crate) fn process(rpc: &mut impl Rpc, name: &str) -> Result<Process, Error> {
    let value = read(rpc, "supervisor.getProcessInfo", &[Value::Text(name.to_owned())])?;
    value.as_ref().and_then(Process::of).ok_or_else(|| not_understood("a process without its state"))
}

/// Begins to start a process.
pub(crate) fn start(rpc: &mut impl Rpc, name: &str) -> Result<Done, Error> {
    change(rpc, "supervisor.startProcess", name, Value::Bool(false))
}

/// Begins to stop a process.
pub(crate) fn stop(rpc: &mut impl Rpc, name: &str) -> Result<Done, Error> {
    change(rpc, "supervisor.stopProcess", name, Value::Bool(false))
}

/// Sends a signal to a process.
pub(crate) fn signal(rpc: &mut impl Rpc, name: &str, signal: &str) -> Result<Done, Error> {
    change(rpc, "supervisor.signalProcess", name, Value::Text(signal.to_owned()))
}

fn read(rpc: &mut impl Rpc, method: &str, params: &[Value]) -> Result<Option<Value>, Error> {
    match call(rpc, method, params)? {
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(fault)) => Err(meaning(&fault)),
        None => Ok(None),
    }
}

fn change(rpc: &mut impl Rpc, method: &str, name: &str, second: Value) -> Result<Done, Error> {
    match call(rpc, method, &[Value::Text(name.to_owned()), second])? {
        None => Ok(Done::Accepted),
        Some(Ok(_)) => Ok(Done::Yes),
        // ALREADY_STARTED and NOT_RUNNING: asked for what is.
        Some(Err(Fault { code: 60 | 70, .. })) => Ok(Done::Already),
        Some(Err(fault)) => Err(meaning(&fault)),
    }
}

/// None where the answer is a 202 without a body.
fn call(rpc: &mut impl Rpc, method: &str, params: &[Value]) -> Result<Option<Result<Value, Fault>>, Error> {
    let (status, body) = rpc.post(xmlrpc::call(method, params))?;
    match status {
        202 if body.trim().is_empty() => Ok(None),
        200..=299 => xmlrpc::answer(&body).map(Some).map_err(|cause| not_understood(&cause.0)),
        401 | 403 => Err(Error::permanent(
            "connection-unauthorized",
            format!("supervisord answered {status}: the connection needs its username and password"),
        )),
        404 => Err(Error::permanent(
            "no-xml-rpc",
            "there is no /RPC2: is the connection's address supervisord's?",
        )),
        429 | 500..=599 => {
            Err(Error::retryable("supervisord-failed", format!("supervisord answered {status}")))
        }
        _ => Err(Error::permanent("supervisord-refused", format!("supervisord answered {status}"))),
    }
}

fn not_understood(why: &str) -> Error {
    Error::permanent("answer-not-understood", format!("not supervisord's XML-RPC: {why}"))
}

/// supervisord's fault codes, from its `xmlrpc.py`.
fn meaning(fault: &Fault) -> Error {
    let text = format!("{} (fault {})", fault.text, fault.code);
    match fault.code {
        1..=3 => Error::permanent("not-supported", text),
        6 => Error::retryable("supervisord-shutting-down", text),
        10 => Error::permanent("target-not-found", text),
        11 => Error::permanent("bad-signal", text),
        20 => Error::permanent("no-such-file", text),
        21 => Error::permanent("not-executable", text),
        30 => Error::retryable("failed", text),
        40 => Error::retryable("abnormal-termination", text),
        50 => Error::retryable("spawn-error", text),
        91 => Error::retryable("still-running", text),
        _ => Error::permanent("supervisord-fault", text),
    }
}
