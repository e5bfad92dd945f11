//! The past, or what a test says, once more: the writer itself over a scratch database, in virtual time. What it decides
//! is what it decides live, because it is the same code; the only difference is where samples and the time come from.
//!
//! It predicts decisions, not the world's answer to them: samples stay as they are, whatever an action would have changed.

pub(super) mod cores;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tempfile::TempDir;

use self::cores::Cores;
use super::settings::Live;
use super::writer::{Home, Parts, Writer, opened};
use crate::clock::Clock;
use crate::domain::approval::State;
use crate::domain::guardrails::Everywhere;
use crate::domain::policy::{Pattern, Policy};
use crate::domain::{Phase, Timestamp};
use crate::engine::{Compiled, Fault, Limits};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::store::{
    Error as StoreError, PastAnswer, PastPause, PastSilence, PastSpent, Plan, SeriesRow, Store, TailSample,
    Which,
};

/// What a rehearsal stands on, as the server it is of does.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Samples older than this are no data.
    pub lookback: Duration,
    /// Attempts of an action, and when the scheduled evaluation looks.
    pub settings: Live,
    /// What limits all actions together.
    pub everywhere: Everywhere,
}

/// Why it can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scratch database, or the one that is read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no place for the scratch database.
    #[error("no room for a scratch database: {0}")]
    Scratch(#[from] std::io::Error),
    /// A policy can't be compiled.
    #[error("policy {name}: {fault}")]
    Policy {
        /// Whose.
        name: String,
        /// What is wrong.
        fault: Fault,
    },
    /// What it counts can't be set up.
    #[error("{0}")]
    Metrics(String),
    /// It was told to stop.
    #[error("it was stopped")]
    Stopped,
}

/// How an action ends where nobody knows.
#[derive(Clone, Copy, Debug)]
pub struct Assumed {
    /// How long it takes.
    pub takes: Duration,
    /// What it comes to.
    pub phase: Phase,
}

impl Default for Assumed {
    fn default() -> Self {
        Self { takes: Duration::from_secs(10), phase: Phase::Succeeded }
    }
}

/// Policy, target, step and time of an action.
pub type Made = (i64, String, i64, Timestamp);

/// What actions of some kind come to.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The kind of action.
    pub kind: String,
    /// On which targets.
    pub target: Pattern,
    /// How long it takes, and what it comes to.
    pub end: Assumed,
}

/// How actions end.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Those of which it is known: when and how; none: not yet.
    pub known: HashMap<Made, Option<(Timestamp, Phase)>>,
    /// Those that were not started when their turn came.
    pub withheld: HashSet<Made>,
    /// How people answered what they were asked; what is not known is approved at once.
    pub answers: HashMap<Made, PastAnswer>,
    /// The first of these that fits.
    pub rules: Vec<Rule>,
    /// All others.
    pub assumed: Assumed,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Samples taken in.
    pub samples: u64,
    /// Scheduled evaluations.
    pub ticks: u64,
    /// Actions made.
    pub actions: u64,
}

/// An action that will end.
#[derive(Debug)]
struct Due {
    target: String,
    incident: Option<i64>,
    assumed: Assumed,
    withheld: bool,
    /// It is asked about, and this is the answer; its end comes after that.
    answer: Option<(Made, PastAnswer)>,
}

/// See the module.
#[derive(Debug)]
pub struct Rehearsal {
    writer: Writer,
    store: Store,
    clock: Clock,
    /// Where each series is, by its id.
    homes: Vec<Option<Home>>,
    ends: Ends,
    due: BTreeMap<(Timestamp, i64), Due>,
    /// When what others do is over, and how.
    others: BTreeMap<(Timestamp, i64), Phase>,
    /// Incidents that stand.
    open: i64,
    spent: i64,
    counts: Counts,
    batch: Vec<(Home, TailSample)>,
    cores: Cores,
    // Deleted when the rehearsal is over.
    _scratch: TempDir,
}

/// Compiles policies for a rehearsal.
pub fn compiled(policies: Vec<Policy>) -> Result<Vec<Arc<Compiled>>, Error> {
    let one = |policy: Policy| {
        let name = policy.name.clone();
        Compiled::new(policy).map(Arc::new).map_err(|fault| Error::Policy { name, fault })
    };
    policies.into_iter().map(one).collect()
}

impl Rehearsal {
    /// An empty past under those policies, at that time.
    pub async fn new(
        stage: &Stage,
        policies: Vec<Arc<Compiled>>,
        ends: Ends,
        at: Timestamp,
    ) -> Result<Self, Error> {
        let cores = Cores::keep_to_one();
        let scratch = tempfile::Builder::new().prefix("vigil-rehearsal-").tempdir()?;
        let store =
            Store::scratch(&scratch.path().join("scratch.db")).await?.within(stage.everywhere.clone());
        let clock = Clock::manual(at);
        let metrics = Metrics::new().map_err(|wrong| Error::Metrics(wrong.to_string()))?;
        let mut writer = Writer::new(Parts {
            store: store.clone(),
            queue: Queue::embedded(),
            metrics: Arc::new(metrics),
            clock: clock.clone(),
            limits: Limits { lookback: stage.lookback, sparing: true },
            settings: stage.settings.clone(),
            node: "rehearsal".to_owned(),
            plugins: None,
            pushes: false,
            policies: Arc::new(RwLock::default()),
        });
        writer.rehearse(policies, 1, cores);
        Ok(Self {
            writer,
            store,
            clock,
            homes: Vec::new(),
            ends,
            due: BTreeMap::new(),
            others: BTreeMap::new(),
            open: 0,
            spent: 0,
            counts: Counts::default(),
            batch: Vec::new(),
            cores,
            _scratch: scratch,
        })
    }

    /// From now on other policies hold; `rev` grows.
    pub fn put_in_force(&mut self, policies: Vec<Arc<Compiled>>, rev: i64) {
        self.writer.put_in_force(policies, rev);
    }

    /// Makes a series known, if a policy reads it.
    pub fn know(&mut self, row: &SeriesRow) -> Result<(), Error> {
        let Ok(at) = usize::try_from(row.id) else { return Ok(()) };
        if self.writer.reads(row) {
            if self.homes.len() <= at {
                self.homes.resize(at + 1, None);
            }
            self.homes[at] = self.writer.introduce(row)?;
        }
        Ok(())
    }

    /// Whether a policy reads that series.
    #[must_use]
    pub fn knows(&self, series: i64) -> bool {
        self.home(series).is_some()
    }

    fn home(&self, series: i64) -> Option<Home> {
        usize::try_from(series).ok().and_then(|at| *self.homes.get(at)?)
    }

    /// What was observed before it begins; `judged`: conditions are moved along, without a decision.
    pub fn recall(&mut self, sample: &TailSample, judged: bool) {
        if let Some(home) = self.home(sample.series_id) {
            self.writer.recall(home, sample, judged);
        }
    }

    /// Samples that were accepted at that time, in one transaction.
    pub async fn batch(&mut self, at: Timestamp, samples: &[TailSample]) -> Result<(), Error> {
        self.reach(at).await?;
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch.extend(samples.iter().filter_map(|sample| Some((self.home(sample.series_id)?, *sample))));
        self.counts.samples += batch.len() as u64;
        let done = self.writer.live_through(&batch).await;
        self.batch = batch;
        if let Some(plan) = done? {
            self.follow(&plan);
        }
        Ok(())
    }

    /// The scheduled evaluation looks at those partitions (bit n is partition n).
    pub async fn tick(&mut self, at: Timestamp, mask: u64) -> Result<(), Error> {
        self.reach(at).await?;
        let partitions: Vec<u16> = (0..64).filter(|n| mask >> n & 1 == 1).collect();
        self.counts.ticks += 1;
        if let Some(plan) = self.writer.live_tick(&partitions, self.open == 0).await? {
            self.follow(&plan);
        }
        Ok(())
    }

    /// People stopped everything, or let it go on.
    pub async fn pause(&mut self, pause: PastPause) -> Result<(), Error> {
        self.reach(pause.at).await?;
        match pause.paused {
            Some(until) => {
                self.store.pause(until, ("recorded", ""), pause.at).await?;
            }
            None => {
                self.store.resume("recorded", pause.at).await?;
            }
        }
        Ok(())
    }

    /// People silenced something, or ended that.
    pub async fn silence(&mut self, past: &PastSilence) -> Result<(), Error> {
        self.reach(past.at).await?;
        Ok(self.store.rehearse_silence(past).await?)
    }

    /// Somebody else made an action.
    pub async fn spent(&mut self, spent: &PastSpent) -> Result<(), Error> {
        self.reach(spent.at).await?;
        self.spent += 1;
        let id = self.store.rehearse_spent(self.spent, spent).await?;
        if let Some((at, phase)) = spent.ended {
            self.others.insert((at, id), phase);
        }
        Ok(())
    }

    /// Goes on to that time; actions that end until then end.
    pub async fn reach(&mut self, at: Timestamp) -> Result<(), Error> {
        // In whatever order they end: nothing is decided meanwhile.
        while let Some(entry) = self.others.first_entry().filter(|entry| entry.key().0 <= at) {
            let ((when, action), phase) = entry.remove_entry();
            self.store.rehearse_over(action, phase, when).await?;
        }
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= at) {
            let ((when, action), due) = entry.remove_entry();
            self.clock.reach(when);
            if let Some((made, answer)) = &due.answer {
                if self.store.rehearse_answer(action, answer, when).await? {
                    self.will_end(action, (made, when), due.assumed, (due.target.clone(), due.incident));
                }
                continue;
            }
            self.store
                .rehearse_end((action, &due.target), due.incident, (due.assumed.phase, due.withheld), when)
                .await?;
        }
        self.clock.reach(at);
        Ok(())
    }

    fn follow(&mut self, plan: &Plan) {
        self.open += opened(plan);
        for action in &plan.actions {
            self.counts.actions += 1;
            let Some((policy, ..)) = &action.policy else { continue };
            let made = (*policy, action.target.clone(), action.step.unwrap_or(-1), plan.now);
            let fits = |rule: &&Rule| rule.kind == action.kind && rule.target.matches(&action.target);
            let assumed = self.ends.rules.iter().find(fits).map_or(self.ends.assumed, |rule| rule.end);
            // The action that tells a human is none of its incident's own.
            let incident = action.incident.filter(|_| !action.tells).map(|which| match which {
                Which::New(at) => plan.opened[at].id,
                Which::Known(id) => id,
            });
            let of = (action.target.clone(), incident);
            if action.phase != Phase::Approval {
                self.will_end(action.id, (&made, plan.now), assumed, of);
                continue;
            }
            let answer = match self.ends.answers.get(&made) {
                Some(answer) => answer.clone(),
                // It was asked and has not been answered.
                None if self.ends.known.contains_key(&made) => continue,
                None => {
                    PastAnswer { state: State::Approved, at: None, by: String::new(), note: String::new() }
                }
            };
            let (at, (target, incident)) = (answer.at.unwrap_or(plan.now), of);
            let due = Due { target, incident, assumed, withheld: false, answer: Some((made, answer)) };
            self.due.insert((at, action.id), due);
        }
    }

    /// An action that began then ends as it did, or as is assumed.
    fn will_end(
        &mut self,
        action: i64,
        (made, now): (&Made, Timestamp),
        assumed: Assumed,
        (target, incident): (String, Option<i64>),
    ) {
        let end = match self.ends.known.get(made) {
            Some(known) => *known,
            None => Some((now.after(assumed.takes), assumed.phase)),
        };
        let Some((at, phase)) = end else { return };
        let (withheld, assumed) = (self.ends.withheld.contains(made), Assumed { phase, ..assumed });
        self.due.insert((at, action), Due { target, incident, assumed, withheld, answer: None });
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The scratch database: decisions, incidents and actions are read there.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        self.cores.spread();
    }
}
