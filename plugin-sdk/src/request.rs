//! What a plugin is asked to do.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;

/// Why an action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A person or an API client asked for it.
    Manual,
    /// A policy was violated.
    Alert,
    /// Its time had come.
    Schedule,
    /// A step of a larger plan.
    Workflow,
    /// An operator repeats a failed one.
    Retry,
}

impl Trigger {
    /// The word for it, as in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Alert => "alert",
            Self::Schedule => "schedule",
            Self::Workflow => "workflow",
            Self::Retry => "retry",
        }
    }
}

/// What an action is applied to. Only `name` identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The tag that named it, such as `host`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The event's namespace, if it had one.
    pub namespace: Option<String>,
    /// The event's tags.
    pub labels: Vec<(String, String)>,
}

/// One request to carry out an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Stable across the attempts of one execution.
    pub execution_id: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// Name of the action.
    pub action: String,
    /// What to act on.
    pub target: Target,
    /// Already checked against the action's schema.
    pub params: Value,
    /// Why it runs.
    pub trigger: Trigger,
    /// The host stops the call at this time, in ms since the Unix epoch.
    pub deadline: u64,
    /// W3C `traceparent` of the host's span for this call.
    pub traceparent: Option<String>,
    /// Such as `policy` or `severity`.
    pub attributes: Vec<(String, String)>,
}

impl Request {
    /// The parameters as a type of the plugin's own; what does not fit is
    /// [`Error::Invalid`].
    pub fn params_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(self.params.clone())
            .map_err(|cause| Error::Invalid(vec![ParamProblem::new("", &cause.to_string())]))
    }
}

/// One problem with one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamProblem {
    /// JSON Pointer into the parameters; empty for the whole document.
    pub pointer: String,
    /// One line for people.
    pub message: String,
}

impl ParamProblem {
    /// A problem with the parameter at `pointer`.
    #[must_use]
    pub fn new(pointer: &str, message: &str) -> Self {
        Self { pointer: pointer.to_owned(), message: message.to_owned() }
    }
}
