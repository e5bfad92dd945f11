//! A supervisor for one process, on a unix socket, in supervisord's language.
//!
//! It answers as supervisord 4.2.5 does, for the part of its interface that starting and stopping needs, so that the
//! plugin meets in the demo what it meets in production.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedSender;

use super::process::{Process, State};
use super::xmlrpc::{self, Call, Fault, Value};

type Answer = Result<Value, Fault>;

/// What it can be asked; with other parameters than those below it is a fault of the caller's.
const METHODS: [&str; 12] = [
    "getState",
    "getAPIVersion",
    "getVersion",
    "getSupervisorVersion",
    "getIdentification",
    "getPID",
    "getAllProcessInfo",
    "getProcessInfo",
    "startProcess",
    "stopProcess",
    "startProcessGroup",
    "stopProcessGroup",
];

/// The supervisor; clones are the same one.
#[derive(Clone)]
pub(super) struct Supervisor {
    process: Arc<Mutex<Process>>,
    /// Tells the story which call changed something.
    calls: UnboundedSender<String>,
}

impl Supervisor {
    pub(super) fn new(process: Process, calls: UnboundedSender<String>) -> Self {
        Self { process: Arc::new(Mutex::new(process)), calls }
    }

    /// The process, for the one who breaks and measures it.
    pub(super) fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves until dropped.
    pub(super) async fn serve(self, socket: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(socket)?;
        let refuse = || async { StatusCode::BAD_REQUEST };
        let router = Router::new().route("/RPC2", post(rpc).fallback(refuse)).with_state(self);
        axum::serve(listener, router).await
    }

    async fn call(&self, call: &Call) -> Answer {
        if call.method != "system.multicall" {
            return self.one(call).await;
        }
        let [Value::Array(calls)] = call.params.as_slice() else { return Err(incorrect()) };
        let mut answers = Vec::new();
        for inner in calls.iter().map(member_call) {
            let answer = match inner {
                Some(inner) if inner.method == "system.multicall" => {
                    Err(Fault::new(2, "INCORRECT_PARAMETERS: Recursive system.multicall forbidden"))
                }
                Some(inner) => self.one(&inner).await,
                None => Err(Fault::new(2, "INCORRECT_PARAMETERS: No methodName")),
            };
            answers.push(answer.unwrap_or_else(Fault::value));
        }
        Ok(Value::Array(answers))
    }

    async fn one(&self, Call { method, params }: &Call) -> Answer {
        let name = method.strip_prefix("supervisor.").unwrap_or_default();
        match (name, params.as_slice()) {
            ("getState", []) => Ok(Value::Struct(vec![
                ("statecode", Value::Int(1)),
                ("statename", Value::Text("RUNNING".into())),
            ])),
            ("getAPIVersion" | "getVersion", []) => Ok(Value::Text("3.0".into())),
            ("getSupervisorVersion", []) => Ok(Value::Text("4.2.5".into())),
            ("getIdentification", []) => Ok(Value::Text("supervisor".into())),
            ("getPID", []) => Ok(Value::Int(std::process::id().into())),
            ("getAllProcessInfo", []) => Ok(Value::Array(vec![self.process().info()])),
            ("getProcessInfo", [Value::Text(name)]) => match self.find(name)? {
                Found::Process => Ok(self.process().info()),
                Found::Group => Err(bad_name(name)),
            },
            (
                "startProcess" | "stopProcess" | "startProcessGroup" | "stopProcessGroup",
                [Value::Text(who), rest @ ..],
            ) => {
                let wait = match rest {
                    [] => true,
                    [Value::Bool(wait)] => *wait,
                    _ => return Err(incorrect()),
                };
                let _ = self.calls.send(format!("{method}({who})"));
                self.change(name, who, wait).await
            }
            (known, _) if METHODS.contains(&known) => Err(incorrect()),
            _ => Err(Fault::new(1, "UNKNOWN_METHOD")),
        }
    }

    async fn change(&self, method: &str, who: &str, wait: bool) -> Answer {
        let group = method.ends_with("Group");
        let found = self.find(who)?;
        if group && who.contains(':') {
            return Err(bad_name(who));
        }
        let changed = if method.starts_with("start") { self.start(who)? } else { self.stop(who) };
        match (changed, group || found == Found::Group) {
            // A group is told as a list of what was done, and doing nothing is no fault.
            (changed, true) => {
                if changed.is_ok() {
                    self.settle(wait).await;
                }
                Ok(Value::Array(changed.is_ok().then(|| self.done()).into_iter().collect()))
            }
            (Ok(()), false) => {
                self.settle(wait).await;
                Ok(Value::Bool(true))
            }
            (Err(fault), false) => Err(fault),
        }
    }

    /// The outer error is one of spawning, the inner says that there was nothing to do.
    fn start(&self, who: &str) -> Result<Result<(), Fault>, Fault> {
        let mut process = self.process();
        if process.state().is_running() {
            return Ok(Err(Fault::new(60, format!("ALREADY_STARTED: {who}"))));
        }
        process.start().map(Ok).map_err(|_| Fault::new(50, format!("SPAWN_ERROR: {who}")))
    }

    fn stop(&self, who: &str) -> Result<(), Fault> {
        let mut process = self.process();
        if !process.state().is_running() {
            return Err(Fault::new(70, format!("NOT_RUNNING: {who}")));
        }
        process.stop();
        Ok(())
    }

    /// Waits until it is neither starting nor stopping.
    async fn settle(&self, wait: bool) {
        while wait && matches!(self.process().state(), State::Starting | State::Stopping) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn done(&self) -> Value {
        let name = self.process().name;
        Value::Struct(vec![
            ("name", Value::Text(name.into())),
            ("group", Value::Text(name.into())),
            ("status", Value::Int(80)),
            ("description", Value::Text("OK".into())),
        ])
    }

    fn find(&self, who: &str) -> Result<Found, Fault> {
        let name = self.process().name;
        match who.split_once(':') {
            None if who == name => Ok(Found::Process),
            Some((group, process)) if group == name && process == name => Ok(Found::Process),
            Some((group, "*" | "")) if group == name => Ok(Found::Group),
            _ => Err(bad_name(who)),
        }
    }
}

#[derive(PartialEq)]
enum Found {
    Process,
    Group,
}

fn bad_name(who: &str) -> Fault {
    Fault::new(10, format!("BAD_NAME: {who}"))
}

fn incorrect() -> Fault {
    Fault::new(2, "INCORRECT_PARAMETERS")
}

/// A call inside a multicall.
fn member_call(value: &Value) -> Option<Call> {
    let Value::Members(members) = value else { return None };
    let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let Value::Text(method) = member("methodName")? else { return None };
    let params = match member("params") {
        Some(Value::Array(params)) => params.clone(),
        _ => Vec::new(),
    };
    Some(Call { method: method.clone(), params })
}

async fn rpc(Shared(supervisor): Shared<Supervisor>, body: String) -> Response {
    let Some(call) = xmlrpc::call(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let xml = xmlrpc::answer(supervisor.call(&call).await);
    ([(header::CONTENT_TYPE, "text/xml")], xml).into_response()
}

#[cfg(test)]
mod tests;
