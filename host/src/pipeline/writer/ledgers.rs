//! What the decision is told of the past: read in the transaction that may add to it, under lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use crate::domain::Timestamp;
use crate::domain::decide::{Fleet, Ledger, Spent};
use crate::domain::silence::Active;
use crate::engine::{Compiled, Findings};
use crate::pipeline::decide::Pair;
use crate::store::{Error, Writing};

/// A target that has sent nothing for so long is none any more; it is noted once an hour that it does.
const ALIVE: Duration = Duration::from_hours(25);
/// How old what is known of the targets may be: other nodes note theirs, too.
const FRESH: Duration = Duration::from_mins(1);

/// The names of all real targets, and how many of them each policy has.
#[derive(Debug, Default)]
pub(super) struct Targets {
    names: HashSet<Arc<str>>,
    /// Seen here since the names were read: the batch at hand is not in the database yet.
    added: Vec<Arc<str>>,
    read_at: Option<Timestamp>,
    /// When each was last noted, where no database is asked: in a back-test.
    noted: Option<HashMap<Arc<str>, Timestamp>>,
    counts: HashMap<(i64, i64), u32>,
}

impl Targets {
    /// Those of a back-test, which knows all there are.
    pub(super) fn of_its_own() -> Self {
        Self { noted: Some(HashMap::new()), ..Self::default() }
    }

    /// This one is alive at that time.
    pub(super) fn note(&mut self, name: Arc<str>, now: Timestamp) {
        self.add(std::slice::from_ref(&name));
        if let Some(noted) = &mut self.noted {
            noted.insert(name, now);
        }
    }

    /// These are alive, too.
    pub(super) fn add(&mut self, seen: &[Arc<str>]) {
        for name in seen {
            if self.names.insert(Arc::clone(name)) {
                self.added.push(Arc::clone(name));
                self.counts.clear();
            }
        }
    }

    /// Reads the names again if they may be out of date.
    async fn refresh(&mut self, tx: &mut Writing, now: Timestamp) -> Result<(), Error> {
        if self.read_at.is_some_and(|at| at <= now && now < at.after(FRESH)) {
            return Ok(());
        }
        let since = now.before(ALIVE);
        self.names = match &self.noted {
            None => tx.fleet(since).await?.into_iter().map(Arc::from).collect(),
            Some(noted) => {
                noted.iter().filter(|(_, at)| **at > since).map(|(name, _)| Arc::clone(name)).collect()
            }
        };
        self.names.extend(self.added.drain(..));
        self.counts.clear();
        self.read_at = Some(now);
        Ok(())
    }

    /// How many of them are the policy's.
    fn of(&mut self, compiled: &Compiled) -> u32 {
        let key = (compiled.policy.id, compiled.policy.version);
        let names = &self.names;
        *self.counts.entry(key).or_insert_with(|| {
            let mine = names.iter().filter(|name| compiled.pattern.matches(name)).count();
            u32::try_from(mine).unwrap_or(u32::MAX)
        })
    }
}

/// What all pairs of one policy share.
#[derive(Clone, Copy, Debug, Default)]
struct OfPolicy {
    failures: (u32, Option<Timestamp>),
    fleet: Fleet,
}

impl Writer {
    /// The ledgers of every pair among the findings; those of policies that may act are locked first.
    pub(super) async fn ledgers(
        &mut self,
        tx: &mut Writing,
        findings: &Findings,
        now: Timestamp,
    ) -> Result<HashMap<Pair, Ledger>, Error> {
        let policies = Arc::clone(&self.policies);
        let violated = findings.list.iter().filter(|finding| finding.violated);
        let mut spending: Vec<i64> = violated.map(|finding| policies.get(finding.policy).policy.id).collect();
        spending.sort_unstable();
        spending.dedup();
        tx.lock_ledgers(&spending).await?;
        // Who only observes spends nothing: it is not asked what there is to spend, nor whether that is allowed.
        spending.retain(|id| policies.by_id(*id).is_some_and(|of| of.policy.mode.acts()));
        let (mut everybody, mut paused, mut silences) = (Spent::default(), None, Active::default());
        if !spending.is_empty() {
            everybody = tx.spent(self.parts.store.everywhere(), now).await?;
            paused = tx.paused(now).await?;
            silences = tx.silenced(&self.parts.store, now).await?;
        }
        let mut shared = HashMap::new();
        for id in spending {
            if let Some(compiled) = policies.by_id(id) {
                shared.insert(id, self.of_policy(tx, compiled, (findings.list.len(), now)).await?);
            }
        }
        let mut ledgers = HashMap::new();
        for finding in &findings.list {
            let policy = &policies.get(finding.policy).policy;
            let pair = Pair::of(policy.id, finding);
            if ledgers.contains_key(&pair) {
                continue;
            }
            let window = now.before(policy.guardrails.window);
            let ledger = tx.ledger(pair.policy, pair.subject(), window).await?;
            let OfPolicy { failures, fleet } = shared.get(&policy.id).copied().unwrap_or_default();
            let silences = silences.clone();
            ledgers.insert(pair, Ledger { paused, silences, everybody, fleet, failures, ..ledger });
        }
        Ok(ledgers)
    }

    async fn of_policy(
        &mut self,
        tx: &mut Writing,
        compiled: &Compiled,
        (most, now): (usize, Timestamp),
    ) -> Result<OfPolicy, Error> {
        let (id, rails) = (compiled.policy.id, &compiled.policy.guardrails);
        self.fleet.refresh(tx, now).await?;
        let known = self.fleet.of(compiled);
        let since = now.before(rails.window);
        let mut touched = tx.touches(since).await?;
        // Whose they were is only asked where it can matter, with what this batch may add.
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        if touched.saturating_add(most) >= rails.blast_radius.allows(known) {
            let here = tx.touched(since).await?;
            let here = here.iter().filter(|target| compiled.pattern.matches(target)).count();
            touched = u32::try_from(here).unwrap_or(u32::MAX);
        }
        let (sick, storm_at) = tx.sick(id).await?;
        let fleet = Fleet { known, touched, sick, storm_at };
        Ok(OfPolicy { failures: tx.failures(id, rails.breaker.max(1)).await?, fleet })
    }
}
