//! The state of one partition: the last samples of its targets' series and where each policy stands on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::findings::{Finding, Findings};
use super::policies::PolicySet;
use super::series::{Series, TargetState};
use super::view::View;
use crate::domain::Timestamp;
use crate::domain::event::{HashedMap, Identity, Tags};
use crate::domain::fleet::Domains;

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Met.
    Met,
    /// Over: not met or, where the policy says when it is over, that.
    Clear,
    /// Not met any more, and not over either.
    Between,
    /// Neither: a sample is missing, or too old.
    NoData,
    /// Neither: the evaluation failed.
    Failed,
}

impl Truth {
    /// What is worth more where one policy finds several: met before clear before unknown.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Met => 4,
            Self::Between => 3,
            Self::Clear => 2,
            Self::Failed => 1,
            Self::NoData => 0,
        }
    }
}

/// Numbers the engine works with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Samples older than this are no data.
    pub lookback: Duration,
    /// The tick passes over targets of which time alone decides nothing. What it finds is the same; evaluations are
    /// not all counted.
    pub sparing: bool,
}

/// Where a series is: its target, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesKey {
    pub(super) target: u32,
    pub(super) series: u32,
}

/// One sample as it reaches the engine.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// Its metric id.
    pub id: i64,
    /// When it was observed.
    pub at: Timestamp,
    /// What was observed.
    pub value: f64,
    /// The sender gave the time.
    pub timed: bool,
}

/// Whether a tag names the target, whether it is simulated, and its name.
type TargetKey = (bool, bool, Arc<str>);

/// A series and its target, as they become known.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The database's id of the series.
    pub id: i64,
    /// Its mark, name and tags.
    pub identity: Identity,
    /// The metric.
    pub name: &'a str,
    /// The target's name; none where no tag names it.
    pub target: Option<&'a str>,
    /// The tag that named it, or nothing.
    pub kind: &'a str,
    /// The target's namespace, or nothing.
    pub namespace: &'a str,
    /// Apart from the real target of that name.
    pub simulated: bool,
    /// The series' tags.
    pub tags: Arc<Tags>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Partition {
    /// The last sequence number applied; none: nothing is loaded.
    pub seq: Option<i64>,
    /// A policy looks back at more than the histories here were kept for.
    pub incomplete: bool,
    /// When the tick looked last.
    ticked_at: Option<Timestamp>,
    pub(super) targets: Vec<TargetState>,
    by_name: HashMap<TargetKey, u32>,
    by_identity: HashedMap<Identity, SeriesKey>,
    by_series_id: HashMap<i64, SeriesKey>,
}

impl Partition {
    /// The series of that identity.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<SeriesKey> {
        self.by_identity.get(identity).copied()
    }

    /// The series of that id.
    #[must_use]
    pub fn find_id(&self, id: i64) -> Option<SeriesKey> {
        self.by_series_id.get(&id).copied()
    }

    /// The database's id of a series.
    #[must_use]
    pub fn series_id(&self, key: SeriesKey) -> i64 {
        self.series(key).id
    }

    /// The tags of a series, and the kind and namespace of its target.
    #[must_use]
    pub fn labels(&self, key: SeriesKey) -> (&Arc<Tags>, &str, &str) {
        let target = &self.targets[key.target as usize];
        (&self.series(key).tags, &target.kind, &target.namespace)
    }

    fn series(&self, key: SeriesKey) -> &Series {
        &self.targets[key.target as usize].series[key.series as usize]
    }

    /// Makes a series known.
    pub fn add_series(&mut self, known: Known<'_>) -> SeriesKey {
        let about = (known.kind, known.namespace);
        let at = self.target(known.target, known.simulated, about);
        let state = &mut self.targets[at as usize];
        let key = SeriesKey { target: at, series: u32::try_from(state.series.len()).unwrap_or(u32::MAX) };
        state.series.push(Series::new(known.id, known.name, known.tags));
        state.windowed.0 = i64::MIN;
        self.by_identity.insert(known.identity, key);
        self.by_series_id.insert(known.id, key);
        key
    }

    fn target(&mut self, name: Option<&str>, simulated: bool, (kind, namespace): (&str, &str)) -> u32 {
        let named = name.is_some();
        let name: Arc<str> = name.unwrap_or(crate::domain::event::NO_TARGET).into();
        let next = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        let at = *self.by_name.entry((named, simulated, name.clone())).or_insert(next);
        if at == next {
            self.targets.push(TargetState {
                name,
                named,
                simulated,
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                noted: (Timestamp::from_micros(i64::MIN), Domains::default()),
                windowed: (i64::MIN, false),
                series: Vec::new(),
                pairs: Vec::new(),
            });
        }
        at
    }

    /// Marks that an incident of that policy stands on that target, real or simulated: its end must be
    /// noticed.
    pub fn set_standing(&mut self, policy_id: i64, (target, simulated): (&str, bool), standing: bool) {
        for named in [true, false] {
            let Some(at) = self.by_name.get(&(named, simulated, Arc::from(target))) else {
                if standing && named {
                    let at = self.target(Some(target), simulated, ("", ""));
                    self.targets[at as usize].pair(policy_id).standing = true;
                }
                continue;
            };
            let state = &mut self.targets[*at as usize];
            if standing {
                state.pair(policy_id).standing = true;
            } else if let Some(pair) = state.pairs.iter_mut().find(|pair| pair.policy_id == policy_id) {
                pair.standing = false;
            }
        }
    }

    /// The id of the same sample, if the sender gave its time and sent it before: `Ok` with the same value,
    /// `Err` with another one.
    #[must_use]
    pub fn repeat(&self, key: SeriesKey, at: Timestamp, value: f64) -> Option<Result<i64, i64>> {
        let (_, first, id) = self.series(key).timed.iter().find(|(when, _, _)| *when == at)?;
        Some(if first.to_bits() == value.to_bits() { Ok(*id) } else { Err(*id) })
    }

    /// Takes one sample in and appends what its policies find. Answers the sample's decision code (see
    /// [`NewSample::flags`](crate::store::NewSample)) and calls `evaluated` for each policy.
    pub fn observe(
        &mut self,
        policies: &PolicySet,
        key: SeriesKey,
        sample: Observed,
        (now, limits): (Timestamp, Limits),
        findings: &mut Findings,
    ) -> i64 {
        let target = &mut self.targets[key.target as usize];
        let named = target.named.then(|| target.name.clone());
        let series = &mut target.series[key.series as usize];
        series.resolve(policies, named.as_deref());
        series.take(sample, now);
        let concerned = std::mem::take(&mut series.policies);
        let mut code = 0;
        for at in &concerned {
            let judged = judge(policies, target, (*at, key), sample, (now, limits));
            findings.count(*at, judged.condition);
            code = code.max(match judged.condition {
                Truth::Clear | Truth::Between => 1,
                Truth::Met => 2,
                Truth::NoData => 3,
                Truth::Failed => 4,
            });
            if judged.violated || judged.standing {
                findings.list.push(judged.finding(target, (*at, key), sample));
            }
        }
        target.series[key.series as usize].policies = concerned;
        code
    }

    #[cfg(test)]
    pub(super) fn keeps_history(&self, key: SeriesKey) -> bool {
        self.series(key).history.is_some()
    }

    /// Empties the histories, to be filled again from the store.
    pub fn forget_histories(&mut self) {
        for series in self.targets.iter_mut().flat_map(|target| &mut target.series) {
            series.forget();
        }
    }

    /// Takes a stored sample into its series' history, where a window reads it, and judges nothing.
    pub fn remember(&mut self, policies: &PolicySet, key: SeriesKey, sample: Observed, now: Timestamp) {
        let target = &mut self.targets[key.target as usize];
        let series = &mut target.series[key.series as usize];
        series.resolve(policies, target.named.then_some(&*target.name));
        series.remember(sample, now);
    }

    /// Looks at every target again, with its series' last samples in the place of events: what only time
    /// decides. Per policy and target the worst finding is appended.
    pub fn tick(
        &mut self,
        policies: &PolicySet,
        (now, limits): (Timestamp, Limits),
        findings: &mut Findings,
    ) {
        let (since, before) = (self.ticked_at.replace(now), findings.list.len());
        for at in 0..self.targets.len() {
            let aged = (since.map(|since| since.before(limits.lookback)), now.before(limits.lookback));
            if limits.sparing && !self.targets[at].restless(policies, aged) {
                continue;
            }
            let mut of_target: Vec<Finding> = Vec::new();
            let target = &mut self.targets[at];
            let named = target.named.then(|| target.name.clone());
            for place in 0..target.series.len() {
                let key = SeriesKey {
                    target: u32::try_from(at).unwrap_or(u32::MAX),
                    series: u32::try_from(place).unwrap_or(u32::MAX),
                };
                let series = &mut target.series[place];
                series.resolve(policies, named.as_deref());
                series.slide(now);
                let sample =
                    Observed { id: series.last_id, at: series.last_at, value: series.value, timed: false };
                let last_at = series.last_at;
                let fresh = last_at >= now.before(limits.lookback);
                for policy in series.policies.clone() {
                    let standing = target.stands(policies.get(policy).policy.id);
                    if !fresh && !standing && !policies.get(policy).looks_back_to(last_at, now, limits) {
                        continue;
                    }
                    let judged = judge(policies, target, (policy, key), sample, (now, limits));
                    findings.count(policy, judged.condition);
                    if judged.violated || judged.standing {
                        merge(&mut of_target, judged.finding(target, (policy, key), sample));
                    }
                }
            }
            findings.list.append(&mut of_target);
        }
        // Whoever decides about the first of them may leave nothing for the last: the order is that of names, not the one in
        // which this engine happened to meet them.
        findings.list[before..].sort_by(|a, b| (&a.target, a.simulated).cmp(&(&b.target, b.simulated)));
    }
}

/// Keeps the worse of two findings of one policy; of equals the newer sample.
fn merge(found: &mut Vec<Finding>, finding: Finding) {
    match found.iter_mut().find(|other| other.policy == finding.policy) {
        Some(other) => {
            if (finding.truth.rank(), finding.observed_at) > (other.truth.rank(), other.observed_at) {
                *other = finding;
            }
        }
        None => found.push(finding),
    }
}

/// One evaluation's result.
struct Judged {
    /// What the condition says.
    condition: Truth,
    /// What that means for an incident.
    truth: Truth,
    violated: bool,
    standing: bool,
    saw: Vec<(String, Option<f64>)>,
}

impl Judged {
    fn finding(self, target: &TargetState, (policy, key): (u32, SeriesKey), sample: Observed) -> Finding {
        Finding {
            policy,
            target: target.named.then(|| target.name.clone()),
            truth: self.truth,
            violated: self.violated,
            standing: self.standing,
            observed_at: sample.at,
            event_id: sample.id,
            saw: self.saw,
            key,
            simulated: target.simulated,
        }
    }
}

/// Evaluates one policy and moves its pair along.
fn judge(
    policies: &PolicySet,
    target: &mut TargetState,
    (at, key): (u32, SeriesKey),
    sample: Observed,
    (now, limits): (Timestamp, Limits),
) -> Judged {
    let compiled = policies.get(at);
    let fresh_from = now.before(limits.lookback);
    let metric = (&target.series[key.series as usize], sample.value);
    let view = |program| View::of(program, target, metric, (fresh_from, now));
    let says = |program| view(program).says(program);
    let condition = says(&compiled.program);
    let truth = match &compiled.clear {
        Some(clear) if condition != Truth::Met => match (condition, says(clear)) {
            (_, Truth::Met) => Truth::Clear,
            (Truth::Clear, Truth::Clear) => Truth::Between,
            (Truth::Clear, unknown) | (unknown, _) => unknown,
        },
        Some(_) | None => condition,
    };
    let saw = match (truth, &compiled.clear) {
        (Truth::Met, _) => view(&compiled.program).saw(&compiled.program),
        (Truth::Clear, Some(clear)) if target.stands(compiled.policy.id) => view(clear).saw(clear),
        (Truth::Clear | Truth::Between | Truth::NoData | Truth::Failed, _) => Vec::new(),
    };
    let (violated, standing) =
        target.advance(compiled.policy.id, condition, compiled.policy.guardrails.hold, now);
    Judged { condition, truth, violated, standing, saw }
}
