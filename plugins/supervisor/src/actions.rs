//! The actions: which calls are made, in which order, and what is waited for.

mod scale;

use vigil_plugin_sdk::serde_json::json;
use vigil_plugin_sdk::{Change, ChangeStatus, Error, Outcome, Request};

use crate::params::Params;
use crate::process::{self, Process, State};
use crate::rpc::{self, Done, Rpc};

const POLL_MS: u64 = 100;
/// Left for the answer on its way back to the host.
const MARGIN_MS: u64 = 200;

/// Carries out a request.
pub(crate) fn run(rpc: &mut impl Rpc, request: &Request, params: &Params) -> Result<Outcome, Error> {
    let all = rpc::processes(rpc)?;
    let members = process::named(&all, params.process(request))?;
    let mut work = Work { rpc, timeout_ms: params.timeout_ms(), changes: Vec::new(), lines: Vec::new() };
    let result = match request.action.as_str() {
        "restart" => match &params.signal {
            Some(signal) => work.signal(&running(members), signal),
            None => work.restart(&running(members), params.rolling()),
        },
        "start" => work.start(&members),
        "stop" => work.stop(&members),
        "scale" | "scale-up" | "scale-down" => return scale::run(&mut work, request, params, &all, &members),
        other => Err(Error::permanent("unknown-action", format!("there is no action {other}"))),
    };
    work.finish(result, params.process(request))
}

/// A group without the members that were stopped on purpose, so that a restart
/// does not undo a scaling. What is stopped altogether is started.
fn running(members: Vec<Process>) -> Vec<Process> {
    let up: Vec<_> = members.iter().filter(|p| p.state != State::Stopped).cloned().collect();
    if up.is_empty() { members } else { up }
}

/// An execution as far as it has come.
struct Work<'a, R> {
    rpc: &'a mut R,
    /// For each wait.
    timeout_ms: u64,
    changes: Vec<Change>,
    /// One for each process, for the summary.
    lines: Vec<String>,
}

impl<R: Rpc> Work<'_, R> {
    fn restart(&mut self, members: &[Process], rolling: bool) -> Result<(), Error> {
        let batch = if rolling { 1 } else { members.len().max(1) };
        members.chunks(batch).try_for_each(|batch| self.restart_together(batch))
    }

    fn restart_together(&mut self, members: &[Process]) -> Result<(), Error> {
        let mut told = Vec::new();
        for member in members {
            told.push(self.stop_up(member)?);
        }
        for (member, stopped) in members.iter().zip(told) {
            if stopped != Done::Accepted {
                self.wait(&member.full_name(), |p| p.state.is_down())?;
            }
            self.launch(member, "restarted")?;
        }
        Ok(())
    }

    /// Tells a process to stop, unless it has been told or has stopped.
    fn stop_up(&mut self, member: &Process) -> Result<Done, Error> {
        if member.state.is_down() || member.state == State::Stopping {
            return Ok(Done::Already);
        }
        rpc::stop(self.rpc, &member.full_name())
    }

    fn start(&mut self, members: &[Process]) -> Result<(), Error> {
        members.iter().try_for_each(|member| self.start_one(member))
    }

    fn start_one(&mut self, before: &Process) -> Result<(), Error> {
        if before.state == State::Stopping {
            // supervisord forgets a start that comes while the old process is still there.
            self.wait(&before.full_name(), |p| p.state.is_down())?;
        }
        self.launch(before, "started")
    }

    /// Starts what is down and waits until it runs.
    fn launch(&mut self, before: &Process, verb: &str) -> Result<(), Error> {
        let done = rpc::start(self.rpc, &before.full_name())?;
        let after = if done == Done::Accepted { None } else { Some(self.wait_running(before)?) };
        self.record(before, after.as_ref(), verb);
        Ok(())
    }

    fn stop(&mut self, members: &[Process]) -> Result<(), Error> {
        let mut told = Vec::new();
        for member in members {
            told.push(rpc::stop(self.rpc, &member.full_name())?);
        }
        for (member, done) in members.iter().zip(told) {
            let after = match done {
                Done::Accepted => None,
                Done::Yes | Done::Already => Some(self.wait(&member.full_name(), |p| p.state.is_down())?),
            };
            self.record(member, after.as_ref(), "stopped");
        }
        Ok(())
    }

    fn signal(&mut self, members: &[Process], signal: &str) -> Result<(), Error> {
        for member in members {
            let name = member.full_name();
            if rpc::signal(self.rpc, &name, signal)? == Done::Already {
                return Err(Error::permanent("not-running", format!("{}; no signal sent", member.why())));
            }
            self.changes.push(Change::new(&format!("process/{name}"), ChangeStatus::Requested));
            self.lines.push(format!("{name} got {signal}"));
        }
        Ok(())
    }

    fn wait_running(&mut self, before: &Process) -> Result<Process, Error> {
        let settled =
            |p: &Process| matches!(p.state, State::Running | State::Fatal | State::Exited | State::Unknown);
        let after = self.wait(&before.full_name(), settled)?;
        if after.state == State::Running {
            Ok(after)
        } else {
            Err(Error::retryable("start-failed", after.why()))
        }
    }

    /// Asks until `settled`, within the time left.
    fn wait(&mut self, name: &str, settled: impl Fn(&Process) -> bool) -> Result<Process, Error> {
        let mut waited = 0;
        loop {
            let now = rpc::process(self.rpc, name)?;
            if settled(&now) {
                return Ok(now);
            }
            if waited >= self.timeout_ms || self.rpc.remaining_ms() < POLL_MS + MARGIN_MS {
                return Err(Error::retryable("not-settled", format!("{} after {waited} ms", now.why())));
            }
            if !self.rpc.sleep_ms(POLL_MS) {
                return Err(Error::cancelled(format!("stopped waiting: {}", now.why())));
            }
            waited += POLL_MS;
        }
    }

    /// Notes a change; without `after` it was only accepted.
    fn record(&mut self, before: &Process, after: Option<&Process>, verb: &str) {
        let name = before.full_name();
        let subject = format!("process/{name}");
        let Some(after) = after else {
            let change = Change::new(&subject, ChangeStatus::Requested).before(before.state_json());
            self.changes.push(change);
            self.lines.push(format!("{name} to be {verb}"));
            return;
        };
        let same = before.pid == after.pid && before.state == after.state;
        let status = if same { ChangeStatus::NoChange } else { ChangeStatus::Applied };
        let change = Change::new(&subject, status).before(before.state_json()).after(after.state_json());
        self.changes.push(change);
        self.lines.push(match (same, before.pid, after.pid) {
            (true, _, _) => format!("{name} was {} already", after.state.as_str()),
            (false, 0, new) => format!("{name} {verb}, pid {new}"),
            (false, old, 0) => format!("{name} {verb}, was pid {old}"),
            (false, old, new) => format!("{name} {verb}, pid {old} → {new}"),
        });
    }

    /// The outcome, or the error with what had been done before it.
    fn finish(self, result: Result<(), Error>, name: &str) -> Result<Outcome, Error> {
        if let Err(error) = result {
            return Err(error.after(self.changes));
        }
        let summary = match self.lines.as_slice() {
            [line] => line.clone(),
            lines => {
                let first = lines.first().map_or("nothing to do", String::as_str);
                format!("{name}: {} processes; {first} …", lines.len())
            }
        };
        let output = json!({ "processes": self.lines });
        Ok(Outcome::new(summary).changes(self.changes).output(output))
    }
}
