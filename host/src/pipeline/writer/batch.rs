//! One transaction: many requests in, one answer each out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::Writer;
use super::reply::{Outcome, answers};
use crate::domain::Timestamp;
use crate::domain::event::{Event, NO_TARGET, partition_of, series_identity};
use crate::engine::{Findings, Observed};
use crate::pipeline::answer::Violation;
use crate::pipeline::decide::{About, Came, Deciding, Pair};
use crate::pipeline::ingest::{Refused, Reply, Request};
use crate::store::{Error, NewSample, NewSeries, PartitionSeq, Plan, SeriesRow, Writing};

/// One event on its way through the batch.
struct Item<'a> {
    request: usize,
    event: &'a Event,
    partition: u16,
    identity: String,
    id: i64,
    repeat: bool,
    findings: std::ops::Range<usize>,
}

impl Writer {
    /// Records the events of `requests` in one transaction and answers each. On an error nothing is stored and
    /// the engine's state of the touched partitions is thrown away.
    pub(super) async fn record(&mut self, requests: &[&Request]) -> Result<Vec<Reply>, Error> {
        let began = Instant::now();
        self.violated.clear();
        let mut items = items(requests);
        let touched: Vec<u16> =
            items.iter().map(|item| item.partition).collect::<BTreeSet<_>>().into_iter().collect();
        let first = self.parts.store.metric_ids(&mut self.block, items.len()).await?;
        let (mut tx, seqs, rev) = self.parts.store.begin_partitions(&touched).await?;
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

    /// A commit whose outcome is unknown is looked up before anyone is told that it failed.
    pub(super) async fn commit(&self, tx: Writing, plan: &Plan) -> Result<(), Error> {
        match tx.commit().await {
            Err(Error::CommitUnknown(why)) => {
                let Some((partition, _, _)) = plan.partitions.first() else {
                    return Err(Error::Unavailable(why));
                };
                match self.parts.store.was_recorded(partition.id, partition.seq, &plan.batch).await {
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
        number_partitions(seqs, items, &mut plan);
        self.decide(tx, items, &findings, (&mut plan, &mut outcomes)).await?;
        tx.record(&mut plan).await?;
        let answers = answers(tx, requests, outcomes, &plan, &self.policies).await?;
        self.count(&findings);
        Ok((plan, answers))
    }

    /// Finds the series of every event, and makes those that are new.
    async fn know_series(
        &mut self,
        tx: &mut Writing,
        items: &[Item<'_>],
        outcomes: &[Outcome],
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let mut unknown: HashMap<&str, &Item<'_>> = HashMap::new();
        for item in items.iter().filter(|item| outcomes[item.request].settled.is_none()) {
            if self.partitions[usize::from(item.partition)].find(&item.identity).is_none() {
                unknown.entry(&item.identity).or_insert(item);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = unknown.keys().copied().collect();
        let known = tx.known_series(&names).await?;
        let count = names.len() - known.len();
        let mut next = if count > 0 { tx.series_ids(count).await? } else { 0 };
        for (identity, item) in unknown {
            let id = known.get(identity).copied().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            let row = row_of(id, item);
            if !known.contains_key(identity) {
                plan.series.push(new_series(item.partition, &row));
            }
            self.add_series(item.partition, row)?;
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
        let mut findings = Findings::default();
        let mut next = first;
        for item in items {
            let outcome = &mut outcomes[item.request];
            if outcome.settled.is_some() {
                continue;
            }
            let partition = &mut self.partitions[usize::from(item.partition)];
            let Some(key) = partition.find(&item.identity) else { continue };
            let event = item.event;
            let repeat =
                if event.timed { partition.repeat(key, event.observed_at, event.value) } else { None };
            let place = outcome.ids.len();
            if let Some(seen) = repeat {
                let (Ok(id) | Err(id)) = seen;
                if seen.is_err() {
                    outcome.fresh = true;
                    outcome.warnings.push(format!(
                        "{}: another value is stored for this series and time; the first is kept",
                        event.name
                    ));
                }
                (item.id, item.repeat) = (id, true);
                outcome.ids.push((place, id));
                continue;
            }
            item.id = next;
            next += 1;
            outcome.fresh = true;
            outcome.ids.push((place, item.id));
            let sample =
                Observed { id: item.id, at: event.observed_at, value: event.value, timed: event.timed };
            let begin = findings.list.len();
            let code = partition.observe(&policies, key, sample, (plan.now, limits), &mut findings);
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
        for item in items {
            for finding in &findings.list[item.findings.clone()] {
                let compiled = policies.get(finding.policy);
                let partition = &mut self.partitions[usize::from(item.partition)];
                let (tags, kind, namespace) = partition.labels(finding.key);
                let came = deciding.finding(compiled, finding, About { tags, kind, namespace });
                let target = finding.target.as_deref().unwrap_or(NO_TARGET);
                match came {
                    Came::Violated { decision, action, incident } => {
                        self.violated.push(finding.policy);
                        let violation = Violation::new(compiled, target, deciding.plan.now, decision);
                        outcomes[item.request].violated(violation, incident, action);
                    }
                    Came::Cleared => partition.set_standing(compiled.policy.id, target, false),
                    Came::Nothing => {}
                }
            }
        }
        Ok(())
    }

    /// The ledgers of every pair among the findings; those of policies that may act are locked first.
    pub(super) async fn ledgers(
        &self,
        tx: &mut Writing,
        findings: &Findings,
        now: Timestamp,
    ) -> Result<HashMap<Pair, crate::domain::decide::Ledger>, Error> {
        let mut spending: Vec<i64> = findings
            .list
            .iter()
            .filter(|finding| finding.violated)
            .map(|finding| self.policies.get(finding.policy).policy.id)
            .collect();
        spending.sort_unstable();
        spending.dedup();
        tx.lock_ledgers(&spending).await?;
        let mut ledgers = HashMap::new();
        for finding in &findings.list {
            let policy = &self.policies.get(finding.policy).policy;
            let pair = (policy.id, finding.target.as_deref().unwrap_or(NO_TARGET).to_owned());
            if ledgers.contains_key(&pair) {
                continue;
            }
            let ledger = tx.ledger(pair.0, &pair.1, now.before(policy.guardrails.window)).await?;
            ledgers.insert(pair, ledger);
        }
        Ok(ledgers)
    }

    /// Counts evaluations.
    pub(super) fn count(&self, findings: &Findings) {
        for (at, tally) in findings.tally.iter().enumerate() {
            let Ok(at) = u32::try_from(at) else { continue };
            let name = &self.policies.get(at).policy.name;
            for (result, count) in ["violation", "ok", "no_data", "error"].iter().zip(tally) {
                if *count > 0 {
                    self.parts.metrics.policy_evaluation(name, result, u64::from(*count));
                }
            }
        }
    }

    fn committed(&mut self, plan: &Plan, items: &[Item<'_>], began: Instant) {
        let metrics = Arc::clone(&self.parts.metrics);
        metrics.ingest_committed(plan.samples.len(), began.elapsed());
        let mut names: HashMap<&str, u64> = HashMap::new();
        for item in items.iter().filter(|item| item.id > 0 && !item.repeat) {
            *names.entry(item.event.name.as_str()).or_default() += 1;
        }
        for (name, count) in names {
            metrics.ingest(name, count);
        }
        for policy in self.violated.drain(..) {
            metrics.violation(&self.policies.get(policy).policy.name);
        }
        self.announce(plan);
    }
}

/// Gives each partition that got samples its next sequence number and the range of their ids.
fn number_partitions(seqs: &[PartitionSeq], items: &[Item<'_>], plan: &mut Plan) {
    for at in seqs {
        let mut ids = items
            .iter()
            .filter(|item| item.partition == at.id && item.id > 0 && !item.repeat)
            .map(|item| item.id);
        if let Some(first) = ids.next() {
            let last = ids.next_back().unwrap_or(first);
            plan.partitions.push((PartitionSeq { id: at.id, seq: at.seq + 1 }, first, last));
        }
    }
}

/// The events of all requests, those of one partition together, else in the order of arrival.
fn items<'a>(requests: &[&'a Request]) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(requests.iter().map(|request| request.events.len()).sum());
    for (at, request) in requests.iter().enumerate() {
        for event in &request.events {
            let target = event.target.as_ref().map_or(NO_TARGET, |target| target.name.as_str());
            items.push(Item {
                request: at,
                event,
                partition: partition_of(target),
                identity: series_identity(&event.name, &event.tags),
                id: 0,
                repeat: false,
                findings: 0..0,
            });
        }
    }
    items.sort_by_key(|item| item.partition);
    items
}

/// Settles the requests whose idempotency key has been answered before.
async fn remembered(tx: &mut Writing, requests: &[&Request]) -> Result<Vec<Outcome>, Error> {
    let mut outcomes: Vec<Outcome> = requests.iter().map(|_| Outcome::default()).collect();
    for (at, request) in requests.iter().enumerate() {
        let Some(key) = &request.key else { continue };
        if let Some((hash, answer)) = tx.remembered(&key.scope, &key.key).await? {
            let same = hash == key.body_hash;
            outcomes[at].settled = Some(if same { Ok(answer.into()) } else { Err(Refused::KeyReused) });
        }
    }
    Ok(outcomes)
}

fn row_of(id: i64, item: &Item<'_>) -> SeriesRow {
    let target = item.event.target.as_ref();
    SeriesRow {
        id,
        identity: item.identity.clone(),
        name: item.event.name.clone(),
        target: target.map_or(NO_TARGET, |target| target.name.as_str()).to_owned(),
        target_kind: target.map(|target| target.kind.clone()),
        namespace: target.and_then(|target| target.namespace.clone()),
        tags: serde_json::to_string(&*item.event.tags).unwrap_or_else(|_| "{}".to_owned()),
    }
}

fn new_series(partition: u16, row: &SeriesRow) -> NewSeries {
    NewSeries {
        id: row.id,
        partition,
        identity: row.identity.clone(),
        name: row.name.clone(),
        target: row.target.clone(),
        target_kind: row.target_kind.clone(),
        namespace: row.namespace.clone(),
        tags: row.tags.clone(),
    }
}
