//! supervisord's processes: what is known about one, and which ones a name
//! stands for.

use std::collections::BTreeMap;

use vigil_plugin_sdk::Error;
use vigil_plugin_sdk::serde_json::{Value as Json, json};

use crate::xmlrpc::Value;

/// The states of supervisord's documentation, "Process States".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Stopped,
    Starting,
    Running,
    Backoff,
    Stopping,
    Exited,
    Fatal,
    Unknown,
}

impl State {
    fn of(code: i64) -> Self {
        match code {
            0 => Self::Stopped,
            10 => Self::Starting,
            20 => Self::Running,
            30 => Self::Backoff,
            40 => Self::Stopping,
            100 => Self::Exited,
            200 => Self::Fatal,
            _ => Self::Unknown,
        }
    }

    /// Runs or is about to.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Backoff)
    }

    /// Has no process any more.
    pub(crate) fn is_down(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited | Self::Fatal)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// One process as `getProcessInfo` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) state: State,
    /// 0 without a process.
    pub(crate) pid: i64,
    pub(crate) spawn_error: String,
}

impl Process {
    /// Reads one answer; none if a member is missing.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let Value::Struct(members) = value else { return None };
        Some(Self {
            group: text(members, "group")?,
            name: text(members, "name")?,
            state: State::of(int(members, "state")?),
            pid: int(members, "pid")?,
            spawn_error: text(members, "spawnerr").unwrap_or_default(),
        })
    }

    /// The name that every call takes.
    pub(crate) fn full_name(&self) -> String {
        format!("{}:{}", self.group, self.name)
    }

    /// For the outcome.
    pub(crate) fn state_json(&self) -> Json {
        let pid = if self.pid == 0 { Json::Null } else { self.pid.into() };
        json!({ "state": self.state.as_str(), "pid": pid })
    }

    /// For people.
    pub(crate) fn why(&self) -> String {
        let reason = if self.spawn_error.is_empty() { "" } else { ": " };
        format!("{} is {}{reason}{}", self.full_name(), self.state.as_str(), self.spawn_error)
    }
}

fn text(members: &BTreeMap<String, Value>, name: &str) -> Option<String> {
    if let Value::Text(text) = members.get(name)? { Some(text.clone()) } else { None }
}

fn int(members: &BTreeMap<String, Value>, name: &str) -> Option<i64> {
    if let Value::Int(n) = members.get(name)? { Some(*n) } else { None }
}

/// The processes that `name` stands for: an exact `group:process`, else a
/// process, else a whole group (`group` or `group:*`), in order of name.
pub(crate) fn named(all: &[Process], name: &str) -> Result<Vec<Process>, Error> {
    let select = |is: &dyn Fn(&Process) -> bool| -> Vec<Process> {
        let mut found: Vec<_> = all.iter().filter(|p| is(p)).cloned().collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    };
    let exact = select(&|p| p.full_name() == name);
    if !exact.is_empty() {
        return Ok(exact);
    }
    let processes = select(&|p| p.name == name);
    if processes.len() > 1 {
        let names = processes.iter().map(Process::full_name).collect::<Vec<_>>().join(", ");
        return Err(Error::permanent("target-ambiguous", format!("{name} is one of {names}; say which")));
    }
    if !processes.is_empty() {
        return Ok(processes);
    }
    let group = name.strip_suffix(":*").unwrap_or(name);
    let members = select(&|p| p.group == group);
    if members.is_empty() { Err(not_found(all, name)) } else { Ok(members) }
}

fn not_found(all: &[Process], name: &str) -> Error {
    const SHOWN: usize = 10;
    let mut names: Vec<_> = all.iter().map(Process::full_name).collect();
    names.sort();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let there = match (names.is_empty(), more) {
        (true, _) => "supervisord has no processes".to_owned(),
        (false, 0) => format!("there are {}", names.join(", ")),
        (false, more) => format!("there are {} and {more} more", names.join(", ")),
    };
    Error::permanent("target-not-found", format!("no process or group {name}; {there}"))
}
