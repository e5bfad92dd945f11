//! Plan mode: what an action would do. Its plugin runs in the same sandbox with the same code; calls that read pass, and
//! calls that change something are written down and answered by the host. Decided without I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Timestamp;
use super::mutant::{Fault, holds};

/// A call that changes something, as a yes is bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedCall {
    /// The connection's name.
    pub connection: String,
    /// GET, POST and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// SHA-256 of the body in hexadecimal digits; null: no body.
    pub body_hash: Option<String>,
}

impl std::fmt::Display for PlannedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} on connection {:?}", self.method, self.path, self.connection)
    }
}

/// Which calls of a plan are sent; the others are answered by the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passes {
    reads: bool,
    writes: bool,
    by_rule: bool,
}

impl Passes {
    /// As it must be: what reads, by the rule that lets it through, and nothing else.
    pub(crate) fn new() -> Self {
        Self {
            reads: holds(Fault::PlanReads),
            writes: !holds(Fault::PlanPasses),
            by_rule: holds(Fault::PlanEffect),
        }
    }

    /// Whether a call is sent. `reads`: by its rule it changes nothing; `usual`: by its method it does not.
    pub(crate) fn sends(self, reads: bool, usual: bool) -> bool {
        if if self.by_rule { reads } else { usual } { self.reads } else { self.writes }
    }
}

/// The calls that an approved action may make: those of its plan, in their order. What was done already may be left out.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    left: Vec<PlannedCall>,
    over: bool,
}

impl Bound {
    /// Nothing but these.
    pub(crate) fn new(calls: &[PlannedCall]) -> Self {
        Self { left: calls.iter().rev().cloned().collect(), over: false }
    }

    /// Takes the next call that changes something; false: it is none of the plan, and nothing may follow it.
    pub(crate) fn take(&mut self, call: &PlannedCall) -> bool {
        while let Some(next) = self.left.pop().filter(|_| !self.over) {
            if next == *call {
                return true;
            }
        }
        self.over = true;
        !holds(Fault::PlanDiverges)
    }
}

/// What an action would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanReport {
    /// The action; null: it was made up to be planned.
    pub action_id: Option<i64>,
    /// Its kind.
    pub action: String,
    /// On what.
    pub target: String,
    /// Its parameters.
    #[schema(value_type = Object)]
    pub params: Value,
    /// When it was planned.
    pub at: Timestamp,
    /// Who asked.
    pub by: String,
    /// The plugin that would carry it out.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// SHA-256 of the plugin's component.
    pub digest: String,
    /// The plugin's own name for the action.
    pub plugin_action: String,
    /// The plugin's slots, and the connection that fills each with the revision of its settings: `NAME@REVISION`.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub connections: BTreeMap<String, String>,
    /// SHA-256 of all that the plan depends on and of the calls that change something.
    pub hash: String,
    /// How the plugin ended.
    pub outcome: PlanOutcome,
    /// The calls that read, in order: they were made.
    pub passed: Vec<PlanReportCall>,
    /// The calls that would change something, in order: they were not made.
    pub mutating: Vec<PlanReportCall>,
    /// Calls that the host refused, as it would refuse them live.
    pub refused: Vec<PlanReportCall>,
    /// The live run does the same up to this call (by its `n`), as long as what it reads stays the same; what follows rests on
    /// an answer that the host made up. Null: to the end, since nothing would be changed or the plugin says so.
    #[schema(required = true)]
    pub holds_up_to: Option<u32>,
    /// Whether a yes to the action is bound to these calls: only if the plugin came to a good end.
    pub binding: bool,
}

/// How a plugin ended in plan mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanOutcome {
    /// One word, as for an attempt: `ok`, `permanent`, `trap` and so on.
    pub kind: String,
    /// In one line.
    pub message: String,
    /// What the plugin answered.
    pub result: Value,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// One call of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanReportCall {
    /// Its number among all calls of the plan, from 1.
    pub n: u32,
    /// The connection's name, or the slot's where no connection fills it.
    pub connection: String,
    /// GET, POST and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// SHA-256 of the body in hexadecimal digits; null: no body.
    pub body_hash: Option<String>,
    /// The body's beginning, secrets masked.
    pub body: Option<String>,
    /// The status code that the plugin saw: the other side's, or for a call that was not made the host's own.
    pub status: Option<u16>,
    /// Why there is no answer.
    pub error: Option<String>,
}

impl PlanReport {
    /// What a yes is bound to.
    #[must_use]
    pub fn calls(&self) -> Vec<PlannedCall> {
        let call = |call: &PlanReportCall| PlannedCall {
            connection: call.connection.clone(),
            method: call.method.clone(),
            path: call.path.clone(),
            body_hash: call.body_hash.clone(),
        };
        self.mutating.iter().map(call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str) -> PlannedCall {
        let body_hash = Some("0".repeat(64));
        PlannedCall {
            connection: "c".to_owned(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            body_hash,
        }
    }

    fn taken(plan: &[&str], made: &[&str]) -> Vec<bool> {
        let plan: Vec<_> = plan.iter().map(|path| call(path)).collect();
        let mut bound = Bound::new(&plan);
        made.iter().map(|path| bound.take(&call(path))).collect()
    }

    #[test]
    fn only_the_planned_calls_are_taken_and_in_their_order() {
        assert_eq!(taken(&["a", "b"], &["a", "b"]), [true, true]);
        assert_eq!(taken(&["a", "b"], &["b"]), [true], "what was done already may be left out");
        assert_eq!(taken(&["a", "b"], &["b", "a"]), [true, false]);
        assert_eq!(taken(&["a"], &["a", "a"]), [true, false]);
        assert_eq!(taken(&["a", "b"], &["x", "a", "b"]), [false; 3], "nothing follows another call");
        assert_eq!(taken(&[], &["a"]), [false]);
        let mut bound = Bound::new(&[call("a")]);
        assert!(!bound.take(&PlannedCall { body_hash: None, ..call("a") }), "the body counts");
    }

    #[test]
    fn a_call_of_another_plan_is_what_a_fault_lets_through() {
        super::super::mutant::PLANTED.set(Some(Fault::PlanDiverges));
        let let_through = taken(&["a"], &["b"]);
        super::super::mutant::PLANTED.set(None);
        assert_eq!(let_through, [true]);
    }
}
