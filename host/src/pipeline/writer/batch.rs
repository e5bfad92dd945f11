//! One transaction: many requests in, one answer each out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::Writer;
use super::reply::{Outcome, answers};
use super::series::{new_series, row_of};
use crate::domain::event::{Event, Mark, NO_TARGET, PARTITIONS, Series};
use crate::domain::mutant::{Fault, holds};
use crate::engine::{Findings, Observed, SeriesKey};
use crate::pipeline::answer::Violation;
use crate::pipeline::decide::{About, Came, Deciding, Pair};
use crate::pipeline::ingest::{Refused, Reply, Request};
use crate::store::{Error, NewSample, PartitionSeq, Plan, Writing};

/// One event on its way through the batch.
struct Item<'a> {
    /// Which request it came with, and its place there.
    request: usize,
    place: usize,
    event: &'a Event,
    key: Option<SeriesKey>,
    id: i64,
    repeat: bool,
    findings: std::ops::Range<usize>,
}

impl Writer {
    /// Records the events of `requests` in one transaction and answers each. On an error nothing is stored and
    /// the engine's state of the touched partitions is thrown away.
    pub(in crate::pipeline) async fn record(&mut self, requests: &[&Request]) -> Result<Vec<Reply>, Error> {
        let began = Instant::now();
        self.violated.clear();
        let (mut items, touched) = items(requests);
        let first = self.parts.store.metric_ids(&mut self.block, items.len()).await?;
        let (mut tx, seqs, rev) = self.parts.store.begin_partitions(&touched, self.reached(&touched)).await?;
        let done = self.write(&mut tx, requests, (&mut items, first), (&seqs, rev)).await;
        let (plan, answers) = match done {
            Ok(done) => done,
            Err(wrong) => {
                self.forget(&touched);
                return Err(wrong);
            }
        };
        if let Err(wrong) = self.commit(tx, &plan).await {
            self.forget(&touched);
            return Err(wrong);
        }
        for (partition, _, _) in &plan.partitions {
            self.partitions[usize::from(partition.id)].seq = Some(partition.seq);
        }
        self.committed(&plan, &items, began);
        Ok(answers)
    }

    /// How far the engine is in those partitions; none where it does not know one of them.
    fn reached(&self, touched: &[u16]) -> Option<Vec<PartitionSeq>> {
        let at = |id: &u16| Some(PartitionSeq { id: *id, seq: self.partitions[usize::from(*id)].seq? });
        touched.iter().map(at).collect()
    }

    /// A commit whose outcome is unknown is looked up before anyone is told that it failed.
    pub(super) async fn commit(&self, tx: Writing, plan: &Plan) -> Result<(), Error> {
        if !holds(Fault::Committed) {
            return Ok(());
        }
        match tx.commit(plan).await {
            Err(Error::CommitUnknown(why)) => {
                let Some(first) = plan.samples.first() else {
                    return Err(Error::Unavailable(why));
                };
                match self.parts.store.was_recorded(first.id, &plan.batch).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(Error::Unavailable(why)),
                    Err(_) => Err(Error::CommitUnknown(why)),
                }
            }
            other => other,
        }
    }

    async fn write(
        &mut self,
        tx: &mut Writing,
        requests: &[&Request],
        (items, first): (&mut [Item<'_>], i64),
        (seqs, rev): (&[PartitionSeq], i64),
    ) -> Result<(Plan, Vec<Reply>), Error> {
        self.refresh(tx, rev).await?;
        self.catch_up(tx, seqs).await?;
        let mut outcomes = remembered(tx, requests).await?;
        let now = self.now();
        let mut plan =
            Plan { batch: self.parts.clock.id(), now, policy_rev: self.policies.rev, ..Plan::default() };
        self.know_series(tx, items, &outcomes, &mut plan).await?;
        let findings = self.observe(items, &mut outcomes, first, &mut plan);
        self.fleet.add(&plan.seen);
        number_partitions(seqs, items, &mut plan);
        self.decide(tx, items, &findings, (&mut plan, &mut outcomes)).await?;
        self.name_plugins(&mut plan);
        tx.record(&mut plan).await?;
        let answers = answers(tx, requests, outcomes, &plan, &self.policies).await?;
        self.count(findings);
        Ok((plan, answers))
    }

    /// Finds the series of every event, and makes those that are new.
    async fn know_series(
        &mut self,
        tx: &mut Writing,
        items: &mut [Item<'_>],
        outcomes: &[Outcome],
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let mut unknown: HashMap<&str, &Arc<Series>> = HashMap::new();
        for item in items.iter_mut().filter(|item| outcomes[item.request].settled.is_none()) {
            let series = &item.event.series;
            item.key = self.partitions[usize::from(series.partition)].find(&series.identity);
            if item.key.is_none() {
                unknown.entry(series.identity.text()).or_insert(series);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = unknown.keys().copied().collect();
        let known = tx.known_series(&names).await?;
        let count = names.len() - known.len();
        let mut next = if count > 0 { tx.series_ids(count).await? } else { 0 };
        for (identity, series) in unknown {
            let id = known.get(identity).copied().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            let row = row_of(id, series);
            if !known.contains_key(identity) {
                plan.series.push(new_series(series.partition, &row));
            }
            // The very text that the events carry, which is soon compared.
            self.add_series(series.partition, &row, series.identity.clone())?;
        }
        for item in items.iter_mut().filter(|item| item.key.is_none()) {
            let series = &item.event.series;
            item.key = self.partitions[usize::from(series.partition)].find(&series.identity);
        }
        Ok(())
    }

    /// Shows every event to the engine, in order; ids go out by partition, so that a partition's are a range.
    fn observe(
        &mut self,
        items: &mut [Item<'_>],
        outcomes: &mut [Outcome],
        first: i64,
        plan: &mut Plan,
    ) -> Findings {
        let (policies, limits) = (Arc::clone(&self.policies), self.parts.limits);
        let mut findings = std::mem::take(&mut self.findings);
        findings.clear(|_, _| ());
        plan.samples.reserve(items.len());
        let mut next = first;
        for item in items {
            let outcome = &mut outcomes[item.request];
            if outcome.settled.is_some() {
                continue;
            }
            let Some(key) = item.key else { continue };
            let event = item.event;
            let partition = &mut self.partitions[usize::from(event.series.partition)];
            let repeat =
                if event.timed { partition.repeat(key, event.observed_at, event.value) } else { None };
            if let Some(seen) = repeat {
                let (Ok(id) | Err(id)) = seen;
                if seen.is_err() {
                    outcome.fresh = true;
                    outcome.warnings.push(format!(
                        "{}: another value is stored for this series and time; the first is kept",
                        event.series.name
                    ));
                }
                (item.id, item.repeat) = (id, true);
                outcome.ids[item.place] = id;
                continue;
            }
            item.id = next;
            next += 1;
            outcome.fresh = true;
            outcome.ids[item.place] = item.id;
            let sample =
                Observed { id: item.id, at: event.observed_at, value: event.value, timed: event.timed };
            let begin = findings.list.len();
            let code = partition.observe(&policies, key, sample, (plan.now, limits), &mut findings);
            plan.seen.extend(partition.alive(&policies, key, plan.now));
            item.findings = begin..findings.list.len();
            plan.samples.push(NewSample {
                id: item.id,
                series_id: partition.series_id(key),
                observed_at: event.observed_at,
                value: event.value,
                flags: i64::from(event.timed) | (code << 1),
            });
        }
        findings
    }

    /// Reads the ledgers that the findings need, under lock, and decides finding by finding.
    async fn decide(
        &mut self,
        tx: &mut Writing,
        items: &[Item<'_>],
        findings: &Findings,
        (plan, outcomes): (&mut Plan, &mut [Outcome]),
    ) -> Result<(), Error> {
        if findings.list.is_empty() {
            return Ok(());
        }
        let ledgers = self.ledgers(tx, findings, plan.now).await?;
        let (clock, policies) = (self.parts.clock.clone(), Arc::clone(&self.policies));
        let mut deciding = Deciding::new(plan, ledgers, self.parts.settings.max_attempts(), &clock);
        let mut begun = HashSet::new();
        for item in items {
            for finding in &findings.list[item.findings.clone()] {
                let compiled = policies.get(finding.policy);
                if let Mark::Test { policy } = item.event.mark {
                    if policy != compiled.policy.id {
                        continue;
                    }
                    let pair = Pair::of(policy, finding);
                    if begun.insert((item.request, pair.clone())) {
                        deciding.begin_again(&pair);
                    }
                }
                let partition = &mut self.partitions[usize::from(item.event.series.partition)];
                let (tags, kind, namespace) = partition.labels(finding.key);
                let came = deciding.finding(compiled, finding, About { tags, kind, namespace });
                let target = finding.target.as_deref().unwrap_or(NO_TARGET);
                match came {
                    Came::Violated { decision, action, incident } => {
                        self.violated.push(finding.policy);
                        let violation = Violation::new(compiled, target, deciding.plan.now, decision);
                        outcomes[item.request].violated(violation, incident, action);
                    }
                    Came::Cleared => {
                        partition.set_standing(compiled.policy.id, (target, finding.simulated), false);
                    }
                    Came::Nothing => {}
                }
            }
        }
        Ok(())
    }

    /// Counts evaluations, and keeps the findings' room for the next batch.
    pub(super) fn count(&mut self, mut findings: Findings) {
        findings.clear(|policy, tally| {
            if let Some(counters) = self.counters.get(policy as usize) {
                counters.evaluated(tally);
            }
        });
        self.findings = findings;
    }

    fn committed(&mut self, plan: &Plan, items: &[Item<'_>], began: Instant) {
        let metrics = Arc::clone(&self.parts.metrics);
        metrics.ingest_committed(plan.samples.len(), began.elapsed());
        self.stored += plan.samples.len();
        metrics.books().stored(plan.samples.iter().map(|sample| sample.flags >> 1));
        // A sender's events mostly follow each other by name.
        let (mut names, mut run) = (HashMap::<&str, u64>::new(), ("", 0));
        for item in items.iter().filter(|item| item.id > 0 && !item.repeat) {
            super::drift_latency(&metrics, item.event);
            let name = item.event.series.name.as_str();
            if name != run.0 {
                *names.entry(run.0).or_default() += run.1;
                run = (name, 0);
            }
            run.1 += 1;
        }
        *names.entry(run.0).or_default() += run.1;
        for (name, count) in names.into_iter().filter(|(_, count)| *count > 0) {
            metrics.ingest(name, count);
        }
        for policy in self.violated.drain(..) {
            if let Some(counters) = self.counters.get(policy as usize) {
                counters.violation();
            }
        }
        self.announce(plan);
    }
}

/// Gives each partition that got samples its next sequence number and the range of their ids.
fn number_partitions(seqs: &[PartitionSeq], items: &[Item<'_>], plan: &mut Plan) {
    for of_one in items.chunk_by(|a, b| a.event.series.partition == b.event.series.partition) {
        let mut ids = of_one.iter().filter(|item| item.id > 0 && !item.repeat).map(|item| item.id);
        let (Some(first), Some(item)) = (ids.next(), of_one.first()) else { continue };
        let last = ids.next_back().unwrap_or(first);
        let id = item.event.series.partition;
        if let Some(at) = seqs.iter().find(|at| at.id == id) {
            plan.partitions.push((PartitionSeq { id, seq: at.seq + 1 }, first, last));
        }
    }
}

/// The events of all requests, those of one partition together, else in the order of arrival; and the
/// partitions, ascending.
fn items<'a>(requests: &[&'a Request]) -> (Vec<Item<'a>>, Vec<u16>) {
    let mut ends = [0_usize; PARTITIONS as usize];
    for event in requests.iter().flat_map(|request| &request.events) {
        ends[usize::from(event.series.partition)] += 1;
    }
    let touched = (0..PARTITIONS).filter(|at| ends[usize::from(*at)] > 0).collect();
    let mut total = 0;
    for end in &mut ends {
        (*end, total) = (total, total + *end);
    }
    let mut order = vec![(0, 0); total];
    for (request, of) in requests.iter().enumerate() {
        for (place, event) in of.events.iter().enumerate() {
            let end = &mut ends[usize::from(event.series.partition)];
            order[*end] = (request, place);
            *end += 1;
        }
    }
    let item = |(request, place): (usize, usize)| Item {
        request,
        place,
        event: &requests[request].events[place],
        key: None,
        id: 0,
        repeat: false,
        findings: 0..0,
    };
    (order.into_iter().map(item).collect(), touched)
}

/// Settles the requests whose idempotency key has been answered before.
async fn remembered(tx: &mut Writing, requests: &[&Request]) -> Result<Vec<Outcome>, Error> {
    let fresh = |request: &&Request| Outcome { ids: vec![0; request.events.len()], ..Outcome::default() };
    let mut outcomes: Vec<Outcome> = requests.iter().map(fresh).collect();
    for (at, request) in requests.iter().enumerate() {
        let Some(key) = &request.key else { continue };
        if let Some((hash, answer)) = tx.remembered(&key.scope, &key.key).await? {
            let same = hash == key.body_hash;
            outcomes[at].settled = Some(if same { Ok(answer.into()) } else { Err(Refused::KeyReused) });
        }
    }
    Ok(outcomes)
}
