//! The bodies of the back-test.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::lax::Flag;
use crate::domain::Timestamp;
use crate::pipeline::backtest::{Compared, Outcome, Wanted};
use crate::store::{EpisodeRow, LogRow};

/// Members that are read.
pub(super) const MEMBERS: [&str; 8] =
    ["policies", "names", "from", "to", "action_takes", "limit", "compare", "as_auto"];

/// What is asked.
#[derive(ToSchema)]
#[schema(as = BacktestAsked)]
#[expect(dead_code, reason = "it describes what `read` reads")]
pub(super) struct Asked {
    /// Policies as they are sent to `/api/v1/policies`, each in the place of the stored one of its name, if there is one.
    #[schema(required = false, value_type = Option<Vec<Object>>, min_items = 1, max_items = 1000)]
    policies: Option<Vec<Value>>,
    /// Stored policies, enabled or not; without these and `policies`, all that are in force.
    #[schema(required = false, min_items = 1, max_items = 1000)]
    names: Option<Vec<String>>,
    /// From when; absent: a day before `to`.
    #[schema(required = false)]
    from: Option<Timestamp>,
    /// Until when; absent, or in the future: now.
    #[schema(required = false)]
    to: Option<Timestamp>,
    /// How long an action is assumed to take, such as `10s`, or a number of seconds. It is assumed to succeed.
    #[schema(required = false, value_type = Option<Object>)]
    action_takes: Option<Value>,
    /// Decisions and incidents that are listed, the first ones of each; counts are of all.
    #[schema(required = false, minimum = 1, maximum = 10000)]
    limit: Option<i64>,
    /// Whether to hold it beside what was decided live: recorded pauses hold, and actions end as they did.
    #[schema(required = false)]
    compare: Option<Flag>,
    /// Whether to look at all policies as if their mode were `auto`; absent: yes, unless it is compared.
    #[schema(required = false)]
    as_auto: Option<Flag>,
}

/// What would have been decided.
#[derive(Serialize, ToSchema)]
pub struct Backtest {
    /// From when.
    from: Timestamp,
    /// Until when.
    to: Timestamp,
    /// What to bear in mind.
    notes: Vec<String>,
    /// Samples that policies read.
    samples: u64,
    /// Scheduled evaluations.
    evaluations: u64,
    /// How long it took, in milliseconds.
    took_ms: u64,
    /// Each policy.
    policies: Vec<OfPolicy>,
    /// The first incidents that would have opened, in their order.
    incidents: Vec<Episode>,
    /// The first decisions, in their order; the same one in a row is one entry.
    decisions: Vec<Decided>,
    /// There are more incidents or decisions than are listed.
    truncated: bool,
    /// Beside what was decided live, if that was asked for.
    live: Option<Beside>,
}

/// What one policy would have done.
#[derive(Serialize, ToSchema)]
#[schema(as = BacktestPolicy)]
struct OfPolicy {
    /// Its name.
    name: String,
    /// Violations that were decided about.
    violations: i64,
    /// Actions it would have made.
    actions: i64,
    /// How often each decision was made: `act`, `ask`, or the reason why neither.
    decisions: BTreeMap<String, i64>,
}

/// An incident that would have opened.
#[derive(Serialize, ToSchema)]
#[schema(as = BacktestIncident)]
struct Episode {
    /// The policy.
    policy_name: String,
    /// The target.
    target: String,
    /// When it would have opened.
    opened_at: Timestamp,
    /// When it would have been over; null: not by the end.
    cleared_at: Option<Timestamp>,
    /// `open`, `healed`, `expired` or `handed_over`.
    state: String,
    /// Actions in it.
    actions: i64,
    /// Violations in it.
    violations: i64,
    /// How long it lasted, in seconds; until the end, where it was not over by then.
    seconds: f64,
}

/// A decision that would have been made.
#[derive(Serialize, ToSchema)]
#[schema(as = BacktestDecision)]
struct Decided {
    /// When.
    at: Timestamp,
    /// The policy.
    policy_name: String,
    /// The target.
    target: String,
    /// `act`, `ask`, or the reason why neither.
    decision: String,
    /// Until when that reason holds, where it is known.
    until: Option<Timestamp>,
    /// How often it was made in a row.
    times: i64,
    /// The kind of action.
    action: Option<String>,
    /// Its step of the ladder, from 0.
    step: Option<i64>,
    /// Its parameters.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// The sample that led to it.
    event_id: i64,
    /// What the condition saw.
    #[schema(value_type = Object)]
    saw: Value,
}

/// Live decisions beside those of the back-test.
#[derive(Serialize, ToSchema)]
#[schema(as = BacktestCompared)]
struct Beside {
    /// They are the same, decision by decision.
    same: bool,
    /// Decisions recorded live.
    recorded: usize,
    /// Decisions of the back-test.
    rehearsed: usize,
    /// The first recorded decision that differs; null: there is none in its place.
    first_recorded: Option<String>,
    /// What the back-test has in its place.
    first_rehearsed: Option<String>,
}

impl Backtest {
    /// Of what came of it.
    #[must_use]
    pub fn new(wanted: &Wanted, outcome: Outcome, mut notes: Vec<String>, took: Duration) -> Self {
        if let Some(begins) = outcome.begins {
            notes.push(format!("the stored history begins at {begins}"));
        }
        notes.push(
            "decisions are predicted, not the world's answer: samples stay as they were, whatever an action would have changed"
                .to_owned(),
        );
        let mut policies: Vec<OfPolicy> = wanted.policies.iter().map(|policy| of(&policy.name)).collect();
        for (name, word, count) in outcome.tally {
            let Some(policy) = policies.iter_mut().find(|policy| policy.name == name) else { continue };
            policy.violations += count;
            policy.actions += if word == "act" { count } else { 0 };
            policy.decisions.insert(word, count);
        }
        Self {
            from: wanted.from,
            to: outcome.to,
            notes,
            samples: outcome.counts.samples,
            evaluations: outcome.counts.ticks,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            policies,
            truncated: outcome.truncated,
            incidents: outcome.incidents.into_iter().map(|row| episode(row, wanted.to)).collect(),
            decisions: outcome.decisions.into_iter().map(decided).collect(),
            live: outcome.live.map(beside),
        }
    }
}

fn of(name: &str) -> OfPolicy {
    OfPolicy { name: name.to_owned(), violations: 0, actions: 0, decisions: BTreeMap::new() }
}

fn episode(row: EpisodeRow, to: Timestamp) -> Episode {
    let opened_at = Timestamp::from_micros(row.opened_at);
    let cleared_at = row.cleared_at.map(Timestamp::from_micros);
    Episode {
        seconds: cleared_at.unwrap_or(to).since(opened_at).as_secs_f64(),
        policy_name: row.policy_name,
        target: row.target,
        opened_at,
        cleared_at,
        state: row.state,
        actions: row.actions,
        violations: row.violations,
    }
}

fn decided(row: LogRow) -> Decided {
    let facts: Value = serde_json::from_str(&row.facts).unwrap_or_default();
    Decided {
        at: Timestamp::from_micros(row.at),
        policy_name: row.policy_name,
        target: row.target,
        decision: row.reason.unwrap_or(row.verdict),
        until: row.until_at.map(Timestamp::from_micros),
        times: row.repeats,
        action: row.kind,
        step: row.step,
        params: row.params.and_then(|params| serde_json::from_str(&params).ok()),
        event_id: row.event_id,
        saw: facts.get("values").cloned().unwrap_or(facts),
    }
}

fn beside(compared: Compared) -> Beside {
    let same = compared.difference.is_none();
    let (first_recorded, first_rehearsed) = compared.difference.unwrap_or_default();
    Beside {
        same,
        recorded: compared.recorded,
        rehearsed: compared.rehearsed,
        first_recorded,
        first_rehearsed,
    }
}
