//! Approvals: what a yes is bound to, and the way of a yes to the writer, who alone knows whether what was asked for is
//! still right.

use serde_json::Value;

use crate::domain::approval::{ActionPlan, Counted, Refusal, may_run};
use crate::domain::{Phase, Timestamp};
use crate::plugin::{Plugins, Route, RouteError};
use crate::store::Task;

/// Somebody's yes.
#[derive(Clone, Debug)]
pub struct Approve {
    /// To which action.
    pub action: i64,
    /// On what that is.
    pub target: String,
    /// Whose: the principal; none: with authentication off nobody knows.
    pub by: Option<String>,
    /// The same as audit entries name it.
    pub actor: String,
    /// The hash of the plan it is a yes to.
    pub hash: String,
    /// What they said.
    pub note: String,
}

/// What became of a yes.
#[derive(Clone, Debug)]
pub enum Approved {
    /// There is no such request.
    Missing,
    /// It does not count.
    Refused {
        /// Why not.
        refusal: Refusal,
        /// How the plan is another one, where that is why.
        changes: Vec<String>,
    },
    /// It would count, but what was asked for is not right any more.
    Blocked {
        /// `cleared`, `stale`, or the reason for which nothing would be asked now.
        reason: &'static str,
        /// Until when that holds.
        until: Option<Timestamp>,
    },
    /// It counts.
    Done {
        /// What it came to.
        counted: Counted,
        /// Where the action stands now.
        phase: Phase,
        /// How long people took, where this was the last yes that was needed.
        took: Option<std::time::Duration>,
    },
}

/// What an action does and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    /// The policy's name, id and version.
    pub policy: (&'a str, i64, i64),
    /// The kind of action.
    pub kind: &'a str,
    /// On what.
    pub target: &'a str,
    /// Its parameters.
    pub params: &'a Value,
}

/// What would run now; without plugins nobody would run it. `pushes`: what no plugin here serves is pushed to a
/// remediator.
#[must_use]
pub fn plan_of(plugins: Option<&Plugins>, pushes: bool, deed: Deed<'_>) -> ActionPlan {
    let route = plugins.map_or(Err(RouteError::NoPlugin), |plugins| plugins.route(deed.kind, deed.target));
    planned(&route, pushes, deed)
}

/// The plugin that would do it, by the name under which its actions are counted; none: nobody.
#[must_use]
pub fn served_by(plugins: &Plugins, pushes: bool, (kind, target): (&str, &str)) -> Option<String> {
    let params = Value::Null;
    plan_of(Some(plugins), pushes, Deed { policy: ("", 0, 0), kind, target, params: &params }).plugin
}

/// The same, of a route that was looked up: what is hashed is what runs.
#[must_use]
pub fn planned(route: &Result<Route, RouteError>, pushes: bool, deed: Deed<'_>) -> ActionPlan {
    let (policy, policy_id, policy_version) = deed.policy;
    let mut plan = ActionPlan {
        policy: policy.to_owned(),
        policy_id,
        policy_version,
        action: deed.kind.to_owned(),
        target: deed.target.to_owned(),
        params: deed.params.clone(),
        plugin: None,
        digest: None,
        plugin_action: None,
        grant: None,
        connections: std::collections::BTreeMap::new(),
        calls: None,
    };
    match route {
        Ok(route) if route.bound() || !pushes => {
            plan.plugin = Some(route.plugin.clone());
            plan.digest = Some(route.digest.clone());
            plan.plugin_action = Some(route.action.clone());
            plan.grant = route.grant();
            plan.connections = route.bound_to();
        }
        Err(RouteError::Ambiguous(_)) => {}
        Ok(_) | Err(RouteError::NoPlugin) => {
            plan.plugin = pushes.then(|| super::push::REMEDIATOR.to_owned());
        }
    }
    plan
}

/// How what would run by that route is not what was approved, in words; none: it is, or needs no approval.
#[must_use]
pub fn diverged(route: &Result<Route, RouteError>, pushes: bool, task: &Task) -> Option<String> {
    let approved = task.approval()?;
    let params: Value = serde_json::from_str(&task.params).unwrap_or_default();
    let deed = Deed {
        policy: (&approved.plan.policy, approved.plan.policy_id, approved.policy_now.unwrap_or(0)),
        kind: &task.kind,
        target: &task.target,
        params: &params,
    };
    // What it may change was approved with it and is asked about call by call.
    let now = ActionPlan { calls: approved.plan.calls.clone(), ..planned(route, pushes, deed) };
    if may_run(approved.state, &approved.hash, &now.hash()) {
        return None;
    }
    let mut changes = approved.plan.changes(&now);
    if approved.policy_now.is_none() {
        changes = vec![format!("policy `{}` is gone or off", approved.plan.policy)];
    }
    Some(if changes.is_empty() { "it is not approved".to_owned() } else { changes.join("; ") })
}
