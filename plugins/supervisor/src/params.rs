//! The parameters, read once and checked for what a schema cannot say.

use serde::Deserialize;
use vigil_plugin_sdk::{ParamProblem, Request};

/// What a policy may say; the schemas in `describe` say which action takes
/// what.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    process: Option<String>,
    timeout: Option<f64>,
    graceful: Option<bool>,
    #[serde(rename = "reason")]
    _reason: Option<String>,
    pub(crate) signal: Option<String>,
    pub(crate) replicas: Option<u32>,
    pub(crate) increment: Option<i32>,
}

impl Params {
    pub(crate) fn of(request: &Request) -> Result<Self, Vec<ParamProblem>> {
        let problem = |pointer: &str, message: &str| Err(vec![ParamProblem::new(pointer, message)]);
        let params: Self = match Self::deserialize(&request.params) {
            Ok(params) => params,
            Err(cause) => return problem("", &cause.to_string()),
        };
        if request.action == "scale" && params.replicas.is_none() && params.increment.is_none() {
            return problem("", "one of replicas and increment is needed");
        }
        if params.process.as_ref().is_some_and(|name| name.chars().any(char::is_control)) {
            return problem("/process", "holds a control character");
        }
        Ok(params)
    }

    /// The name to look up.
    pub(crate) fn process<'a>(&'a self, request: &'a Request) -> &'a str {
        self.process.as_deref().unwrap_or(&request.target.name)
    }

    /// One process after another.
    pub(crate) fn rolling(&self) -> bool {
        self.graceful.unwrap_or(true)
    }

    /// How long to wait for one process.
    pub(crate) fn timeout_ms(&self) -> u64 {
        self.timeout
            .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
            .and_then(|duration| u64::try_from(duration.as_millis()).ok())
            .unwrap_or(u64::MAX)
    }
}
