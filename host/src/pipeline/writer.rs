//! The one writer of a node: drains requests, decides and records them in one transaction, ticks.

mod apply;
mod approve;
mod batch;
mod ledgers;
mod pace;
mod rehearse;
mod reply;
mod series;
mod sight;
mod tick;

pub(super) use rehearse::{Home, opened};

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ingest::{Arrivals, Refused, Reply, Request, Waiting};
use super::rehearsal::cores::Cores;
use super::settings::Live;
use super::worker::refusal;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::event::PARTITIONS;
use crate::domain::policy::Policy;
use crate::engine::{Compiled, Findings, Limits, Partition, PolicySet};
use crate::metrics::{Metrics, PolicySeries};
use crate::plugin::Plugins;
use crate::queue::Queue;
use crate::store::{Block, Error, Plan, Store, Writing};

/// Longest time between two looks at the policies' revision.
const LOOK: Duration = Duration::from_millis(500);

/// What a writer works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where it records.
    pub store: Store,
    /// Whom it tells.
    pub queue: Queue,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
    /// How the engine reads.
    pub limits: Limits,
    /// When what only time decides is looked at, and how many attempts a new action has.
    pub settings: Live,
    /// This node's name.
    pub node: String,
    /// What would run a simulated action, or one that people are asked about; none where neither is to be.
    pub plugins: Option<Plugins>,
    /// Whether what no plugin here serves is pushed to a remediator.
    pub pushes: bool,
    /// The policies in force, for everybody who wants to look.
    pub policies: Arc<RwLock<Arc<PolicySet>>>,
}

/// See the module.
#[derive(Debug)]
pub struct Writer {
    parts: Parts,
    partitions: Vec<Partition>,
    policies: Arc<PolicySet>,
    compiled: HashMap<(i64, i64), Arc<Compiled>>,
    block: Block,
    /// Policies that the batch at hand violated, to be counted once it is stored.
    violated: Vec<u32>,
    /// What is counted of each policy of the set, by position.
    counters: Vec<PolicySeries>,
    /// Where findings are noted, kept between batches.
    findings: Findings,
    /// The targets that percentages are of.
    fleet: ledgers::Targets,
    unreadable: sight::Unreadable,
    /// Events that the transaction at hand has stored.
    stored: usize,
    /// In a rehearsal: where a second thread may run.
    cores: Option<Cores>,
}

impl Writer {
    /// A writer that has loaded nothing yet; partitions are rebuilt from the store when they are first touched.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let partitions = (0..PARTITIONS).map(|_| Partition::default()).collect();
        let policies = Arc::new(PolicySet::new(Vec::new(), -1));
        Self {
            parts,
            partitions,
            policies,
            compiled: HashMap::new(),
            block: Block::default(),
            violated: Vec::new(),
            counters: Vec::new(),
            findings: Findings::default(),
            fleet: ledgers::Targets::default(),
            unreadable: sight::Unreadable::default(),
            stored: 0,
            cores: None,
        }
    }

    /// Serves until `stop`, then finishes what has arrived.
    pub async fn run(mut self, mut arrivals: Arrivals, stop: CancellationToken) {
        let (mut next, look) = (tokio::time::Instant::now(), arrivals.look());
        let mut approvals = arrivals.approvals();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {
                    self.tick().await;
                    // Every second a look: at what is due, and at the policies' revision.
                    next = tokio::time::Instant::now() + self.parts.settings.tick().min(LOOK);
                }
                () = look.asked.notified() => self.look().await,
                Some(asked) = approvals.recv() => {
                    // Who went away finds it done.
                    let _ = asked.reply.send(self.approve(&asked.yes).await);
                }
                batch = arrivals.drain() => {
                    let mut batch = batch;
                    if batch.is_empty() { return }
                    arrivals.gather(&mut batch).await;
                    self.serve(batch).await;
                }
            }
            look.seen.send_if_modified(|seen| {
                let newer = *seen < self.policies.rev;
                *seen = self.policies.rev;
                newer
            });
        }
        arrivals.close();
        loop {
            let batch = arrivals.drain().await;
            if batch.is_empty() {
                return;
            }
            self.serve(batch).await;
        }
    }

    /// Records a batch and answers it. Of requests under one idempotency key only the first goes into the
    /// batch; the others come after its commit and find its answer.
    async fn serve(&mut self, batch: Vec<Waiting>) {
        let mut keys = HashSet::new();
        let (first, later): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|waiting| waiting.request.key.as_ref().is_none_or(|key| keys.insert(key.clone())));
        self.serve_distinct(first).await;
        for waiting in later {
            self.serve_distinct(vec![waiting]).await;
        }
    }

    /// A batch that fails on one request's data is tried request by request.
    async fn serve_distinct(&mut self, batch: Vec<Waiting>) {
        let requests: Vec<_> = batch.iter().map(|waiting| &waiting.request).collect();
        match self.booked(&requests).await {
            Ok(answers) => {
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    // A client that went away has its events stored all the same.
                    let _ = waiting.reply.send(answer);
                }
            }
            Err(Error::Data(_) | Error::Conflict) if batch.len() > 1 => {
                for waiting in batch {
                    let answer = self.booked(&[&waiting.request]).await;
                    if answer.is_err() {
                        self.parts.metrics.books().refused(waiting.request.events.len());
                    }
                    let _ = waiting.reply.send(one(answer));
                }
            }
            Err(wrong) => {
                tracing::warn!(error = %wrong, requests = batch.len(), "a batch was not stored");
                let refused = refused(&wrong);
                for waiting in batch {
                    self.parts.metrics.books().refused(waiting.request.events.len());
                    let _ = waiting.reply.send(Err(refused.clone()));
                }
            }
        }
    }

    /// Records requests, and writes into the books what became of their events.
    async fn booked(&mut self, requests: &[&Request]) -> Result<Vec<Reply>, Error> {
        self.stored = 0;
        let answers = self.record(requests).await?;
        let count = |answered: fn(&Reply) -> bool| -> usize {
            let of = requests.iter().zip(&answers).filter(|(_, answer)| answered(answer));
            of.map(|(request, _)| request.events.len()).sum()
        };
        let books = self.parts.metrics.books();
        books.refused(count(Result::is_err));
        books.repeated(count(Result::is_ok).saturating_sub(self.stored));
        Ok(answers)
    }

    /// Reads the policies again if their revision has moved.
    async fn refresh(&mut self, tx: &mut Writing, rev: i64) -> Result<(), Error> {
        if self.policies.rev == rev {
            return Ok(());
        }
        let (stored, rev) = tx.policies().await?;
        let set = Arc::new(self.compile(stored, rev).await);
        if set.looks_further(&self.policies) {
            self.partitions.iter_mut().for_each(|partition| partition.incomplete = true);
        }
        self.counters = set.all().map(|compiled| self.parts.metrics.policy(&compiled.policy.name)).collect();
        self.policies = Arc::clone(&set);
        *self.parts.policies.write().unwrap_or_else(PoisonError::into_inner) = set;
        Ok(())
    }

    /// Compiles what has changed, away from the threads that answer requests.
    async fn compile(&mut self, stored: Vec<Policy>, rev: i64) -> PolicySet {
        let known = std::mem::take(&mut self.compiled);
        let work = move || {
            let mut compiled = HashMap::new();
            for policy in stored {
                let key = (policy.id, policy.version);
                if let Some(same) = known.get(&key) {
                    compiled.insert(key, Arc::clone(same));
                    continue;
                }
                let name = policy.name.clone();
                match Compiled::new(policy) {
                    Ok(fresh) => {
                        compiled.insert(key, Arc::new(fresh));
                    }
                    Err(fault) => {
                        tracing::error!(policy_name = %name, error = %fault,
                            "a stored policy does not compile any more and is not evaluated");
                    }
                }
            }
            compiled
        };
        self.compiled = tokio::task::spawn_blocking(work).await.unwrap_or_default();
        let mut all: Vec<_> = self.compiled.values().cloned().collect();
        all.sort_by_key(|compiled| compiled.policy.id);
        PolicySet::new(all, rev)
    }

    /// Says of simulated actions what would have run: nothing does, they are over when they are recorded.
    fn name_plugins(&self, plan: &mut Plan) {
        self.bind(plan);
        let Some(plugins) = &self.parts.plugins else { return };
        for action in plan.actions.iter_mut().filter(|action| action.simulated) {
            action.details = Some(match plugins.route(&action.kind, &action.target) {
                Ok(route) if action.approval.is_some() => {
                    format!("Simulated: would ask for an approval and run {}/{}", route.plugin, route.action)
                }
                Ok(route) => format!("Simulated: would run {}/{}", route.plugin, route.action),
                Err(wrong) => format!("Simulated: would fail: {}", refusal(&action.kind, &wrong)),
            });
        }
    }

    /// Throws the state of partitions away; it is rebuilt from the store when they are next touched.
    fn forget(&mut self, partitions: &[u16]) {
        for partition in partitions {
            self.partitions[usize::from(*partition)] = Partition::default();
        }
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

fn one(answers: Result<Vec<Reply>, Error>) -> Reply {
    match answers {
        Ok(mut answers) => answers.pop().unwrap_or(Err(Refused::Closing)),
        Err(wrong) => Err(refused(&wrong)),
    }
}

fn refused(wrong: &Error) -> Refused {
    match wrong {
        Error::Full(_) => Refused::Full,
        Error::Data(why) => Refused::Data(why.clone()),
        Error::Conflict | Error::Unavailable(_) | Error::CommitUnknown(_) | Error::Broken(_) => {
            Refused::Unavailable
        }
    }
}

/// The metric by which reporters say how long a drift went unseen; it has a histogram of its own.
fn drift_latency(metrics: &Metrics, event: &crate::domain::Event) {
    if event.series.name == "drift_detection_latency_seconds" {
        let tag = |name: &str| event.series.tags.get(name).map_or("unknown", String::as_str);
        metrics.drift(tag("manifest_type"), tag("status"), event.value);
    }
}
