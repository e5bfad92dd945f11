//! The writer in a back-test: the same partitions, ledgers, decisions and statements, over a scratch database and a clock
//! that is told what time it is. Samples are not stored again, nothing is announced, and where nothing is found nothing
//! is asked of the database.

use std::sync::Arc;

use super::{Writer, ledgers};
use crate::domain::Timestamp;
use crate::domain::event::{Identity, NO_TARGET, partition_of};
use crate::domain::fleet::Alive;
use crate::engine::{Compiled, Findings, Limits, Observed, Partition, PolicySet, SeriesKey};
use crate::pipeline::decide::{About, Came, Deciding};
use crate::pipeline::rehearsal::cores::Cores;
use crate::store::{Error, IncidentChange, Plan, SeriesRow, TailSample};

/// Where a series is: its partition, and its place there.
pub(in crate::pipeline) type Home = (u16, SeriesKey);

impl Writer {
    /// Prepares it to live the past again, under those policies.
    pub(in crate::pipeline) fn rehearse(&mut self, compiled: Vec<Arc<Compiled>>, rev: i64, cores: Cores) {
        self.cores = Some(cores);
        self.fleet = ledgers::Targets::of_its_own();
        self.put_in_force(compiled, rev);
    }

    /// From now on these policies hold.
    pub(in crate::pipeline) fn put_in_force(&mut self, mut compiled: Vec<Arc<Compiled>>, rev: i64) {
        compiled.sort_by_key(|compiled| compiled.policy.id);
        self.policies = Arc::new(PolicySet::new(compiled, rev));
    }

    /// Whether a policy in force reads a series of that metric and target.
    pub(in crate::pipeline) fn reads(&self, row: &SeriesRow) -> bool {
        let named = row.target_kind.is_some().then_some(row.target.as_str());
        !self.policies.concerned(&row.name, named).is_empty()
    }

    /// Makes a series known, and answers where it is.
    pub(in crate::pipeline) fn introduce(&mut self, row: &SeriesRow) -> Result<Option<Home>, Error> {
        let partition = partition_of(&row.target);
        let identity = Identity::new(row.identity.as_str().into());
        self.add_series(partition, row, identity)?;
        Ok(self.partitions[usize::from(partition)].find_id(row.id).map(|key| (partition, key)))
    }

    /// Takes a sample of before the beginning in, and decides nothing.
    pub(in crate::pipeline) fn recall(&mut self, home: Home, sample: &TailSample, judged: bool) {
        let (policies, limits) = (Arc::clone(&self.policies), self.parts.limits);
        let partition = &mut self.partitions[usize::from(home.0)];
        if judged {
            let mut ignored = Findings::default();
            partition.observe(&policies, home.1, observed(sample), (sample.at, limits), &mut ignored);
        } else {
            partition.remember(&policies, home.1, observed(sample), sample.at);
        }
        if let Some(alive) = self.partitions[usize::from(home.0)].alive(&policies, home.1, sample.at) {
            self.fleet.note(alive, sample.at);
        }
    }

    /// One transaction of the past: its samples, decided about. Answers what it led to, if anything.
    pub(in crate::pipeline) async fn live_through(
        &mut self,
        samples: &[(Home, TailSample)],
    ) -> Result<Option<Plan>, Error> {
        let (policies, limits, now) = (Arc::clone(&self.policies), self.parts.limits, self.now());
        let mut findings = std::mem::take(&mut self.findings);
        findings.clear(|_, _| ());
        // Each partition is for itself: of many samples two threads take half each.
        let halves = if samples.len() < WORTHWHILE {
            vec![observe((&mut self.partitions, 0), samples, &policies, (now, limits))]
        } else {
            let middle = self.partitions.len() / 2;
            let cores = self.cores;
            let (low, high) = self.partitions.split_at_mut(middle);
            std::thread::scope(|scope| {
                let there = scope.spawn(|| {
                    if let Some(cores) = cores {
                        cores.spread();
                    }
                    observe((high, middle), samples, &policies, (now, limits))
                });
                let here = observe((low, 0), samples, &policies, (now, limits));
                vec![here, there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))]
            })
        };
        merge(halves, &mut findings, |alive| self.fleet.note(alive, now));
        let plan = if findings.list.is_empty() { None } else { Some(self.found(&findings).await?) };
        self.findings = findings;
        Ok(plan)
    }

    async fn found(&mut self, findings: &Findings) -> Result<Plan, Error> {
        let mut plan = self.plan();
        let mut tx = self.parts.store.begin_past().await?;
        let ledgers = self.ledgers(&mut tx, findings, plan.now).await?;
        let (clock, policies) = (self.parts.clock.clone(), Arc::clone(&self.policies));
        let mut deciding = Deciding::new(&mut plan, ledgers, self.parts.settings.max_attempts(), &clock);
        for finding in &findings.list {
            let compiled = policies.get(finding.policy);
            let target = finding.target.as_deref().unwrap_or(NO_TARGET);
            let partition = &mut self.partitions[usize::from(partition_of(target))];
            let (tags, kind, namespace) = partition.labels(finding.key);
            if deciding.finding(compiled, finding, About { tags, kind, namespace }) == Came::Cleared {
                partition.set_standing(compiled.policy.id, (target, finding.simulated), false);
            }
        }
        self.bind(&mut plan);
        tx.record(&mut plan).await?;
        tx.commit(&plan).await?;
        Ok(plan)
    }

    /// One scheduled evaluation of the past. `quiet`: no incident stands. Answers what it led to, if anything.
    pub(in crate::pipeline) async fn live_tick(
        &mut self,
        partitions: &[u16],
        quiet: bool,
    ) -> Result<Option<Plan>, Error> {
        let (policies, limits, now) = (Arc::clone(&self.policies), self.parts.limits, self.now());
        let mut begun = None;
        let mut standing = Vec::new();
        if !quiet {
            let mut tx = self.parts.store.begin_past().await?;
            standing = self.standing(&mut tx, partitions).await?;
            begun = Some(tx);
        }
        let mut findings = Findings::default();
        for id in partitions {
            self.partitions[usize::from(*id)].tick(&policies, (now, limits), &mut findings);
        }
        if findings.list.is_empty() && standing.is_empty() {
            return Ok(None);
        }
        let mut tx = match begun {
            Some(tx) => tx,
            None => self.parts.store.begin_past().await?,
        };
        let mut plan = self.plan();
        self.conclude(&mut tx, (&standing, findings), &mut plan).await?;
        tx.commit(&plan).await?;
        Ok(Some(plan))
    }

    fn plan(&self) -> Plan {
        Plan { now: self.now(), policy_rev: self.policies.rev, ..Plan::default() }
    }
}

/// So many samples are worth a second thread.
const WORTHWHILE: usize = 200;

/// What some partitions found in a transaction.
#[derive(Default)]
struct Half {
    findings: Findings,
    /// Which sample led to how many of them.
    marks: Vec<(usize, usize)>,
    alive: Vec<Alive>,
}

/// Shows the samples of those partitions, the first of which has that number, to them.
fn observe(
    (partitions, first): (&mut [Partition], usize),
    samples: &[(Home, TailSample)],
    policies: &PolicySet,
    (now, limits): (Timestamp, Limits),
) -> Half {
    let mut half = Half::default();
    for (place, ((at, key), sample)) in samples.iter().enumerate() {
        let Some(partition) = usize::from(*at).checked_sub(first).and_then(|at| partitions.get_mut(at))
        else {
            continue;
        };
        let before = half.findings.list.len();
        partition.observe(policies, *key, observed(sample), (now, limits), &mut half.findings);
        if half.findings.list.len() > before {
            half.marks.push((place, half.findings.list.len() - before));
        }
        half.alive.extend(partition.alive(policies, *key, now));
    }
    half
}

/// Brings what was found into the order of the samples.
fn merge(halves: Vec<Half>, findings: &mut Findings, mut alive: impl FnMut(Alive)) {
    let mut found = Vec::new();
    for half in halves {
        half.alive.into_iter().for_each(&mut alive);
        let mut list = half.findings.list.into_iter();
        for (place, count) in half.marks {
            found.push((place, list.by_ref().take(count).collect::<Vec<_>>()));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    findings.list.extend(found.into_iter().flat_map(|(_, found)| found));
}

/// How many incidents more stand after that plan than before.
pub(in crate::pipeline) fn opened(plan: &Plan) -> i64 {
    let closed = plan.changes.iter().filter(|change| matches!(change, IncidentChange::Closed { .. })).count();
    i64::try_from(plan.opened.len()).unwrap_or(0) - i64::try_from(closed).unwrap_or(0)
}

fn observed(sample: &TailSample) -> Observed {
    Observed { id: sample.id, at: sample.observed_at, value: sample.value, timed: sample.flags & 1 == 1 }
}
