//! Scaling: so many of a group's processes run, up to its numprocs.

use std::fmt::Write as _;

use vigil_plugin_sdk::serde_json::json;
use vigil_plugin_sdk::{Error, Outcome, Request};

use super::Work;
use crate::params::Params;
use crate::process::Process;
use crate::rpc::Rpc;

/// How many run, how many were asked for and how many it will be.
struct Plan {
    running: usize,
    wanted: usize,
    goal: usize,
}

pub(super) fn run<R: Rpc>(
    work: &mut Work<'_, R>,
    request: &Request,
    params: &Params,
    all: &[Process],
    named: &[Process],
) -> Result<Outcome, Error> {
    let group = named.first().map(|p| p.group.clone()).unwrap_or_default();
    let mut members: Vec<&Process> = all.iter().filter(|p| p.group == group).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let plan = plan(&request.action, params, &members);
    if let Err(error) = reach(work, &members, &plan) {
        let changes = std::mem::take(&mut work.changes);
        // A second attempt would count what the first one did and go too far.
        let again = params.replicas.is_some() || changes.is_empty();
        return Err(if again { error } else { for_good(error) }.after(changes));
    }
    let of = members.len();
    let mut summary = if plan.goal == plan.running {
        format!("{group} has {} of {of} processes running already", plan.running)
    } else {
        format!("{group} scaled from {} to {} of {of} processes", plan.running, plan.goal)
    };
    if plan.wanted > of {
        let _ = write!(summary, "; {} were asked for, but numprocs is {of}", plan.wanted);
    }
    let output = json!({ "before": plan.running, "after": plan.goal, "wanted": plan.wanted, "numprocs": of });
    Ok(Outcome::new(summary).changes(std::mem::take(&mut work.changes)).output(output))
}

fn plan(action: &str, params: &Params, members: &[&Process]) -> Plan {
    let running = members.iter().filter(|p| p.state.is_up()).count();
    let step = params.increment.unwrap_or(1);
    let by = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    let replicas = params.replicas.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let wanted = match action {
        "scale-up" => replicas.unwrap_or(running.saturating_add(by)).max(running),
        "scale-down" => replicas.unwrap_or(running.saturating_sub(by)).min(running),
        _ if step < 0 => replicas.unwrap_or(running.saturating_sub(by)),
        _ => replicas.unwrap_or(running.saturating_add(by)),
    };
    Plan { running, wanted, goal: wanted.min(members.len()) }
}

/// Starts the first that are down, or stops the last that are up.
fn reach<R: Rpc>(work: &mut Work<'_, R>, members: &[&Process], plan: &Plan) -> Result<(), Error> {
    let up = |p: &&&Process| p.state.is_up();
    let take = |n: usize, of: &mut dyn Iterator<Item = &&Process>| {
        of.take(n).map(|p| (*p).clone()).collect::<Vec<_>>()
    };
    if plan.goal > plan.running {
        work.start(&take(plan.goal - plan.running, &mut members.iter().filter(|p| !up(p))))
    } else {
        work.stop(&take(plan.running - plan.goal, &mut members.iter().rev().filter(up)))
    }
}

fn for_good(error: Error) -> Error {
    match error {
        Error::Retryable { failure, .. } => Error::Permanent(failure),
        other @ (Error::Invalid(_) | Error::Permanent(_) | Error::Cancelled(_)) => other,
    }
}
