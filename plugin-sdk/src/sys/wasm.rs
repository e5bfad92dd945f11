//! The bindings of `vigil:remediator` and `vigil:host`, and the two ways
//! between their types and ours.

use std::marker::PhantomData;

use crate::connections::{Call, HttpError, Method, Response};
use crate::log::Level;
use crate::{Action, Change, ChangeStatus, Effects, Error, Failure, Outcome, ParamProblem, Plugin, Request};
use crate::{Description, Risk, Target, Trigger};

use bindings::exports::vigil::remediator::remediator as export;
use bindings::vigil::host::{config as host_config, connections, execution, log as host_log};
use bindings::vigil::remediator::types;

/// What the generator makes of `wit/`.
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
#[allow(clippy::allow_attributes, unused_qualifications, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "plugin",
        pub_export_macro: true,
        default_bindings_module: "vigil_plugin_sdk::sys::bindings",
        generate_all,
    });
}

/// Makes the component's exports of a [`Plugin`].
#[derive(Debug)]
pub struct Adapter<P>(PhantomData<P>);

impl<P: Plugin> export::Guest for Adapter<P> {
    fn describe() -> export::Description {
        description(P::describe())
    }

    fn validate(asked: types::ActionRequest) -> Result<(), Vec<types::ParamProblem>> {
        let asked = request(asked).map_err(|problem| vec![self::problem(problem)])?;
        P::validate(&asked).map_err(|problems| problems.into_iter().map(problem).collect())
    }

    fn execute(asked: types::ActionRequest) -> Result<types::Outcome, types::Error> {
        let asked = request(asked).map_err(|problem| types::Error::Invalid(vec![self::problem(problem)]))?;
        P::execute(&asked).map(outcome).map_err(error)
    }
}

fn description(d: Description) -> export::Description {
    export::Description {
        name: d.name,
        version: d.version,
        summary: d.summary,
        actions: d.actions.into_iter().map(action).collect(),
        capabilities: d
            .capabilities
            .into_iter()
            .map(|c| export::CapabilityRequest {
                kind: c.kind,
                name: c.name,
                reason: c.reason,
                optional: c.optional,
            })
            .collect(),
        config_schema: d.config_schema.map(|schema| schema.to_string()),
        attributes: d.attributes,
    }
}

fn action(a: Action) -> export::ActionInfo {
    export::ActionInfo {
        name: a.name,
        title: a.title,
        description: a.description,
        params_schema: a.params_schema.to_string(),
        target_kinds: a.target_kinds,
        risk: match a.risk {
            Risk::Low => export::Risk::Low,
            Risk::Medium => export::Risk::Medium,
            Risk::High => export::Risk::High,
        },
        effects: match a.effects {
            Effects::Idempotent => export::Effects::Idempotent,
            Effects::Keyed => export::Effects::Keyed,
            Effects::Unsafe => export::Effects::Unsafe,
        },
        default_timeout_ms: a.default_timeout_ms,
        attributes: a.attributes,
    }
}

fn request(r: types::ActionRequest) -> Result<Request, ParamProblem> {
    let params =
        serde_json::from_str(&r.params).map_err(|cause| ParamProblem::new("", &cause.to_string()))?;
    Ok(Request {
        execution_id: r.execution_id,
        attempt: r.attempt,
        action: r.action,
        target: Target {
            kind: r.target.kind,
            name: r.target.name,
            namespace: r.target.namespace,
            labels: r.target.labels,
        },
        params,
        trigger: match r.trigger {
            types::Trigger::Manual => Trigger::Manual,
            types::Trigger::Alert => Trigger::Alert,
            types::Trigger::Schedule => Trigger::Schedule,
            types::Trigger::Workflow => Trigger::Workflow,
            types::Trigger::Retry => Trigger::Retry,
        },
        deadline: r.deadline,
        traceparent: r.traceparent,
        attributes: r.attributes,
    })
}

fn problem(p: ParamProblem) -> types::ParamProblem {
    types::ParamProblem { pointer: p.pointer, message: p.message }
}

fn outcome(o: Outcome) -> types::Outcome {
    types::Outcome {
        summary: o.summary,
        changes: o.changes.into_iter().map(change).collect(),
        output: o.output.map(|output| output.to_string()),
        checkpoint: o.checkpoint,
        attributes: o.attributes,
    }
}

fn change(c: Change) -> types::Change {
    types::Change {
        subject: c.subject,
        status: match c.status {
            ChangeStatus::Applied => types::ChangeStatus::Applied,
            ChangeStatus::Requested => types::ChangeStatus::Requested,
            ChangeStatus::NoChange => types::ChangeStatus::NoChange,
        },
        before: c.before.map(|state| state.to_string()),
        after: c.after.map(|state| state.to_string()),
    }
}

fn error(e: Error) -> types::Error {
    match e {
        Error::Invalid(problems) => types::Error::Invalid(problems.into_iter().map(problem).collect()),
        Error::Permanent(f) => types::Error::Permanent(failure(*f)),
        Error::Retryable { failure: f, retry_after_ms } => {
            types::Error::Retryable(types::RetryFailure { failure: failure(*f), retry_after_ms })
        }
        Error::Cancelled(f) => types::Error::Cancelled(failure(*f)),
    }
}

fn failure(f: Failure) -> types::Failure {
    types::Failure {
        code: f.code,
        message: f.message,
        details: f.details.map(|details| details.to_string()),
        changes: f.changes.into_iter().map(change).collect(),
        checkpoint: f.checkpoint,
    }
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => host_log::Level::Trace,
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    let fields: Vec<_> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    host_log::log(level, message, &fields);
}

pub(crate) fn config(key: &str) -> Option<String> {
    host_config::get(key)
}

pub(crate) fn report_progress(percent: Option<u8>, message: &str) {
    execution::report_progress(percent, message);
}

pub(crate) fn is_cancelled() -> bool {
    execution::is_cancelled()
}

pub(crate) fn remaining_ms() -> u64 {
    execution::remaining_ms()
}

pub(crate) fn sleep_ms(ms: u64) -> bool {
    execution::sleep_ms(ms)
}

pub(crate) fn send(call: Call) -> Result<Response, HttpError> {
    let request = connections::Request {
        method: match call.method {
            Method::Get => connections::Method::Get,
            Method::Head => connections::Method::Head,
            Method::Post => connections::Method::Post,
            Method::Put => connections::Method::Put,
            Method::Patch => connections::Method::Patch,
            Method::Delete => connections::Method::Delete,
        },
        path: call.path,
        headers: call.headers,
        body: call.body,
        timeout_ms: call.timeout_ms,
    };
    match connections::send(&call.slot, &request) {
        Ok(r) => Ok(Response { status: r.status, headers: r.headers, body: r.body, truncated: r.truncated }),
        Err(connections::HttpError::Denied(why)) => Err(HttpError::Denied(why)),
        Err(connections::HttpError::InvalidRequest(why)) => Err(HttpError::InvalidRequest(why)),
        Err(connections::HttpError::ConnectFailed(why)) => Err(HttpError::ConnectFailed(why)),
        Err(connections::HttpError::Timeout) => Err(HttpError::Timeout),
        Err(connections::HttpError::RateLimited(ms)) => Err(HttpError::RateLimited(ms)),
        Err(connections::HttpError::CircuitOpen(ms)) => Err(HttpError::CircuitOpen(ms)),
        Err(connections::HttpError::Failed(why)) => Err(HttpError::Failed(why)),
    }
}
