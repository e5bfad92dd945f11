//! The one process of the demo's supervisor, in the states of supervisord's documentation.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::xmlrpc::Value;
use crate::clock::Clock;

/// How long a process must run before it counts as started; supervisord's own default is 1 s.
const START_TIME: Duration = Duration::from_millis(500);
/// How long a process may take to stop before it is killed.
const STOP_TIME: Duration = Duration::from_secs(10);

/// supervisord's process states, as far as this supervisor can be in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Stopped = 0,
    Starting = 10,
    Running = 20,
    Stopping = 40,
    Exited = 100,
    Fatal = 200,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
        }
    }

    /// supervisord's `RUNNING_STATES`.
    pub(super) fn is_running(self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }
}

/// A program that is started and stopped on demand.
#[derive(Debug)]
pub(super) struct Process {
    pub name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    child: Option<std::process::Child>,
    state: State,
    since: Instant,
    started: i64,
    stopped: i64,
    exit_status: i64,
    spawn_error: String,
}

impl Process {
    pub(super) fn new(name: &'static str, program: PathBuf, args: Vec<OsString>) -> Self {
        Self {
            name,
            program,
            args,
            child: None,
            state: State::Stopped,
            since: Instant::now(),
            started: 0,
            stopped: 0,
            exit_status: 0,
            spawn_error: String::new(),
        }
    }

    /// 0 where there is no process.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, std::process::Child::id)
    }

    /// The state after looking.
    pub(super) fn state(&mut self) -> State {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if let Some(status) = ended {
            self.child = None;
            self.exit_status = status.code().map_or(-1, i64::from);
            self.stopped = now();
            self.enter(if self.state == State::Stopping { State::Stopped } else { State::Exited });
        }
        match self.state {
            State::Starting if self.since.elapsed() >= START_TIME => self.enter(State::Running),
            State::Stopping if self.since.elapsed() >= STOP_TIME => {
                let _ = self.child.as_mut().map(std::process::Child::kill);
            }
            State::Stopped
            | State::Starting
            | State::Running
            | State::Stopping
            | State::Exited
            | State::Fatal => {}
        }
        self.state
    }

    /// Starts it unless there is a process already.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.state().is_running() || self.child.is_some() {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        // A process group of its own, or Ctrl-C at the terminal would reach it before us.
        command.arg0(self.name).args(&self.args).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => {
                self.child = Some(child);
                self.started = now();
                self.spawn_error.clear();
                self.enter(State::Starting);
                Ok(())
            }
            Err(error) => {
                self.spawn_error = error.to_string();
                self.enter(State::Fatal);
                Err(error)
            }
        }
    }

    /// Asks it to stop.
    pub(super) fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.enter(State::Stopping);
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // An error means that it has ended, which `state` will find.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.since = Instant::now();
    }

    /// As `getProcessInfo` answers.
    pub(super) fn info(&mut self) -> Value {
        let state = self.state();
        let text = |text: &str| Value::Text(text.to_owned());
        let description = match state {
            State::Running => {
                let up = (now() - self.started).max(0);
                format!("pid {}, uptime {}:{:02}:{:02}", self.pid(), up / 3600, up / 60 % 60, up % 60)
            }
            State::Stopped if self.started == 0 => "Not started".to_owned(),
            State::Fatal => self.spawn_error.clone(),
            // supervisord writes local time here, which nobody reads.
            State::Stopped | State::Exited => {
                let stopped = chrono::DateTime::from_timestamp(self.stopped, 0).unwrap_or_default();
                stopped.format("%b %d %I:%M %p").to_string()
            }
            State::Starting | State::Stopping => String::new(),
        };
        Value::Struct(vec![
            ("name", text(self.name)),
            ("group", text(self.name)),
            ("start", Value::Int(self.started)),
            ("stop", Value::Int(self.stopped)),
            ("now", Value::Int(now())),
            ("state", Value::Int(state as i64)),
            ("statename", text(state.name())),
            ("spawnerr", text(&self.spawn_error)),
            ("exitstatus", Value::Int(self.exit_status)),
            ("logfile", text("")),
            ("stdout_logfile", text("")),
            ("stderr_logfile", text("")),
            ("pid", Value::Int(self.pid().into())),
            ("description", Value::Text(description)),
        ])
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn now() -> i64 {
    Clock::System.now().micros() / 1_000_000
}
