//! What an action would do: its plugin in plan mode, and what came of it in the words of the product. No lease, no slot, no
//! ledger, no intent: nothing is decided, and nothing outside is changed.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::approve::{Deed, planned};
use super::execute::{message, result};
use super::order;
use crate::clock::Clock;
use crate::domain::plan::{PlanOutcome, PlanReport, PlanReportCall};
use crate::plugin::{CallRecord, CallState, Ended, Plugins, Report, Route};
use crate::store::Task;

/// What is to be planned.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The action.
    pub task: &'a Task,
    /// Its id; none: it was made up.
    pub id: Option<i64>,
    /// The policy that asks for it, with its id and version; empty and 0: none does.
    pub policy: (&'a str, i64, i64),
    /// Who carries it out.
    pub route: Route,
    /// Who wants to know.
    pub by: String,
}

/// What an action would do.
#[derive(Debug)]
pub struct Preview {
    /// In words.
    pub report: PlanReport,
    /// The hash of what it was made of.
    pub basis: String,
}

/// Runs the plugin in plan mode until it ends or `stop` says so. None: enough plans are being made here.
pub async fn preview(
    plugins: &Plugins,
    clock: &Clock,
    wanted: Wanted<'_>,
    stop: CancellationToken,
) -> Option<Preview> {
    let Wanted { task, route, .. } = &wanted;
    let request = order::request(clock, task, (task.attempts + 1, 0), route);
    let report = match plugins.check_params(route, &request.params) {
        Err(problems) => Report::only(Ended::Invalid(problems), std::time::Duration::ZERO),
        Ok(()) => plugins.plan(route, &request, stop).await?,
    };
    Some(told(clock, wanted, &report))
}

fn told(clock: &Clock, wanted: Wanted<'_>, report: &Report) -> Preview {
    let Wanted { task, id, policy, route, by } = wanted;
    let params: Value = serde_json::from_str(&task.params).unwrap_or_default();
    let deed = Deed { policy, kind: &task.kind, target: &task.target, params: &params };
    let foretold = route.foretold();
    let (version, route) = (route.version.clone(), Ok(route));
    let mut plan = planned(&route, false, deed);
    let basis = plan.hash();
    let of = |which: fn(&CallRecord) -> bool| -> Vec<PlanReportCall> {
        report.calls.iter().filter(|call| which(call)).map(call).collect()
    };
    let mutating = of(|call| call.state == CallState::Planned);
    let first = mutating.first().map(|call| call.n).filter(|_| !foretold);
    let told = PlanReport {
        action_id: id,
        action: task.kind.clone(),
        target: task.target.clone(),
        params,
        at: clock.now(),
        by,
        plugin: plan.plugin.clone().unwrap_or_default(),
        version,
        digest: plan.digest.clone().unwrap_or_default(),
        plugin_action: plan.plugin_action.clone().unwrap_or_default(),
        connections: plan.connections.clone(),
        hash: String::new(),
        outcome: PlanOutcome {
            kind: report.result.kind().to_owned(),
            message: message(&report.result),
            result: result(&report.result),
            duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        },
        passed: of(|call| !matches!(call.state, CallState::Planned | CallState::Refused)),
        mutating,
        refused: of(|call| call.state == CallState::Refused),
        holds_up_to: first,
        binding: matches!(report.result, Ended::Ok(_)),
    };
    plan.calls = Some(told.calls());
    let hash = plan.hash();
    Preview { report: PlanReport { hash, ..told }, basis }
}

fn call(call: &CallRecord) -> PlanReportCall {
    PlanReportCall {
        n: call.n,
        connection: call.connection.clone(),
        method: call.method.clone(),
        path: call.path.clone(),
        body_hash: call.body_hash.clone(),
        body: call.body.clone(),
        status: call.status,
        error: call.error.clone(),
    }
}
