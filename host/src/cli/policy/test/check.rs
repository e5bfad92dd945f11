//! One test: its series lived through, and what came of it held against what is expected.

use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::file::{Case, Expected, Outcome, TestFile};
use super::values::values;
use crate::domain::event::{Series, Tags, Target};
use crate::domain::policy::Pattern;
use crate::domain::{Phase, Timestamp};
use crate::pipeline::rehearsal::{Assumed, Ends, Rule, Stage, compiled};
use crate::pipeline::scenario::{Reading, Scenario};
use crate::store::{DeedRow, EpisodeRow, LogRow, PastPause, Store};

/// Rows of one look.
const ALL: i64 = 1_000_000;

/// What happens at one time.
enum Happens {
    /// These values are read.
    Values(Vec<Reading>),
    /// People stop everything, or let it go on.
    Pause(PastPause),
    /// That many expectations are looked at.
    Expected(usize),
}

/// The first difference between what is expected and what happens; none: there is none.
pub(super) async fn run(stage: &Stage, file: &TestFile, case: &Case) -> Result<Option<String>, String> {
    let text = |wrong: &dyn Display| wrong.to_string();
    let policies = compiled(file.policies()).map_err(|wrong| text(&wrong))?;
    let ends = Ends { rules: rules(case)?, ..Ends::default() };
    let times = (file.begin, file.tick);
    let mut scenario = Scenario::new(stage, policies, ends, times).await.map_err(|wrong| text(&wrong))?;
    let mut seen = Seen::default();
    for (at, happens) in agenda(file, case)? {
        match happens {
            Happens::Values(readings) => {
                scenario.arrive(at, &readings).await.map_err(|wrong| text(&wrong))?;
            }
            Happens::Pause(pause) => scenario.pause(pause).await.map_err(|wrong| text(&wrong))?,
            Happens::Expected(place) => {
                scenario.until(at).await.map_err(|wrong| text(&wrong))?;
                let found = seen.look(scenario.rehearsal().store()).await.map_err(|wrong| text(&wrong))?;
                let expected = &case.expect[place];
                if let Some(difference) = found.difference(expected) {
                    let at = humantime_serde::re::humantime::format_duration(expected.at);
                    return Ok(Some(format!("at {at}: {difference}")));
                }
            }
        }
    }
    Ok(None)
}

fn rules(case: &Case) -> Result<Vec<Rule>, String> {
    let rule = |ending: &super::file::Ending| {
        let phase = match ending.outcome {
            Outcome::Succeeded => Phase::Succeeded,
            Outcome::Failed => Phase::Dead,
            Outcome::Unknown => Phase::Uncertain,
        };
        let target = Pattern::new(&ending.target).map_err(|why| format!("endings: target: {why}"))?;
        let end = Assumed { takes: ending.after, phase };
        Ok(Rule { kind: ending.action.clone(), target, end })
    };
    case.endings.iter().map(rule).collect()
}

/// Everything in the order of time; what is expected at a time is looked at after what else happens then.
fn agenda(file: &TestFile, case: &Case) -> Result<Vec<(Timestamp, Happens)>, String> {
    let end = case.expect.last().map_or(file.begin, |last| file.begin.after(last.at));
    let mut values_at = std::collections::BTreeMap::<Timestamp, Vec<Reading>>::new();
    for of in &case.series {
        let tags: Tags = of.tags.clone();
        let target =
            Target::resolve(&tags).map_err(|(tag, why)| format!("{}: tag {tag}: {why}", of.metric))?;
        let series = Arc::new(Series::new(of.metric.trim().to_owned(), tags, target));
        let mut at = file.begin;
        for value in values(&of.values).map_err(|why| format!("{}: {why}", of.metric))? {
            if let Some(value) = value.filter(|_| at <= end) {
                let reading = Reading { series: Arc::clone(&series), value, observed_at: at };
                values_at.entry(at).or_default().push(reading);
            }
            at = at.after(file.interval);
        }
    }
    let mut all: Vec<(Timestamp, Happens)> =
        values_at.into_iter().map(|(at, readings)| (at, Happens::Values(readings))).collect();
    for pause in &case.pauses {
        let at = file.begin.after(pause.at);
        let paused = Some(pause.span.map(|span| at.after(span)));
        all.push((at, Happens::Pause(PastPause { at, paused })));
    }
    for (place, expected) in case.expect.iter().enumerate() {
        all.push((file.begin.after(expected.at), Happens::Expected(place)));
    }
    all.sort_by_key(|(at, happens)| (*at, matches!(happens, Happens::Expected(_))));
    Ok(all)
}

/// How far it was looked before.
#[derive(Default)]
struct Seen {
    decision: i64,
    action: i64,
}

/// What came of it, in the words of the file.
struct Found {
    incidents: Vec<Value>,
    decisions: Vec<Value>,
    actions: Vec<Value>,
    verdicts: Vec<Value>,
}

impl Seen {
    async fn look(&mut self, store: &Store) -> Result<Found, crate::store::Error> {
        store.settle().await?;
        let decisions = store.decision_log(self.decision, ALL).await?;
        let deeds = store.deeds(0, ALL).await?;
        let incidents = store.episodes(0, ALL).await?;
        let found = Found {
            incidents: incidents.iter().filter(|row| row.cleared_at.is_none()).map(incident).collect(),
            decisions: decisions.iter().map(decision).collect(),
            actions: deeds.iter().filter(|row| row.id > self.action).map(deed).collect(),
            verdicts: deeds.iter().filter(|row| row.verdict.is_some()).map(deed).collect(),
        };
        self.decision = decisions.last().map_or(self.decision, |last| last.id);
        self.action = deeds.last().map_or(self.action, |last| last.id);
        Ok(found)
    }
}

fn incident(row: &EpisodeRow) -> Value {
    json!({"policy": row.policy_name, "target": row.target, "state": row.state, "actions": row.actions})
}

fn decision(row: &LogRow) -> Value {
    let facts: Value = serde_json::from_str(&row.facts).unwrap_or_default();
    let decision = row.reason.as_deref().unwrap_or(&row.verdict);
    json!({"policy": row.policy_name, "target": row.target, "decision": decision, "times": row.repeats,
        "saw": facts["values"]})
}

fn deed(row: &DeedRow) -> Value {
    let params: Value = serde_json::from_str(&row.params).unwrap_or_default();
    json!({"policy": row.policy_name, "target": row.target, "action": row.kind, "step": row.step, "params": params,
        "state": row.state, "verdict": row.verdict})
}

impl Found {
    fn difference(&self, expected: &Expected) -> Option<String> {
        let lists = [
            ("incidents", &expected.incidents, &self.incidents),
            ("decisions", &expected.decisions, &self.decisions),
            ("actions", &expected.actions, &self.actions),
            ("verdicts", &expected.verdicts, &self.verdicts),
        ];
        lists.into_iter().find_map(|(name, wanted, found)| differs(name, wanted.as_ref()?, found))
    }
}

fn differs(name: &str, wanted: &[Map<String, Value>], found: &[Value]) -> Option<String> {
    for (at, entry) in wanted.iter().enumerate() {
        let Some(real) = found.get(at) else {
            return Some(format!(
                "{name}[{at}]: expected {}, but there is none",
                Value::Object(entry.clone())
            ));
        };
        for (member, value) in entry {
            let Some(known) = real.get(member) else {
                let members: Vec<&str> =
                    real.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                return Some(format!(
                    "{name}[{at}]: has no member `{member}`; it has {}",
                    members.join(", ")
                ));
            };
            if !same(value, known) {
                return Some(format!("{name}[{at}].{member}: expected {value}, got {known} in {real}"));
            }
        }
    }
    found.get(wanted.len()).map(|more| format!("{name}[{}]: expected no more, got {more}", wanted.len()))
}

/// Numbers are the same whether written with a point or not.
fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|found| same(value, found)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => one == other,
    }
}
