//! What the decision is told of the past: read in the transaction that may add to it, under lock.

use std::collections::hash_map;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use super::pace::Paces;
use crate::domain::Timestamp;
use crate::domain::decide::{Ledger, Sight};
use crate::domain::event::partition_of;
use crate::domain::fleet::{Alive, Counted, Domains, Parts, Place};
use crate::domain::mutant::{Fault, holds};
use crate::engine::{Compiled, Finding, Findings};
use crate::pipeline::decide::Pair;
use crate::store::{Entry, Error, Located, Writing};

/// A target that has sent nothing for so long is none any more; it is noted once an hour that it does.
const ALIVE: Duration = Duration::from_hours(25);
/// How old what is known of the targets may be: other nodes note theirs, too.
const FRESH: Duration = Duration::from_mins(1);

/// All real targets, and how many of them each policy has in which part of its fleet.
#[derive(Debug, Default)]
pub(super) struct Targets {
    places: HashMap<Arc<str>, Domains>,
    /// Seen here since they were read: the batch at hand is not in the database yet.
    added: HashMap<Arc<str>, Domains>,
    read_at: Option<Timestamp>,
    /// When each was last noted, where no database is asked: in a back-test.
    noted: Option<HashMap<Arc<str>, Timestamp>>,
    counts: HashMap<(i64, i64), (Counted, Counted)>,
}

impl Targets {
    /// Those of a back-test, which knows all there are.
    pub(super) fn of_its_own() -> Self {
        Self { noted: Some(HashMap::new()), ..Self::default() }
    }

    /// This one is alive at that time.
    pub(super) fn note(&mut self, alive: Alive, now: Timestamp) {
        self.add(std::slice::from_ref(&alive));
        if let Some(noted) = &mut self.noted {
            noted.insert(alive.target, now);
        }
    }

    /// Where a target is: as the database says, which a back-test's does not.
    fn place(&self, at: &Located, tag: Option<&str>) -> Place {
        self.domains(at).place(tag)
    }

    /// What this batch has just seen of a target is not in the database yet.
    pub(super) fn domains<'a>(&'a self, (target, domains): &'a Located) -> &'a Domains {
        let seen = || self.added.contains_key(target.as_str());
        let ours = self.noted.is_some() || *domains == Domains::default() || seen();
        self.places.get(target.as_str()).filter(|_| ours).unwrap_or(domains)
    }

    /// These are alive, too.
    pub(super) fn add(&mut self, seen: &[Alive]) {
        for alive in seen {
            let before = self.places.insert(Arc::clone(&alive.target), alive.domains.clone());
            if before.as_ref() != Some(&alive.domains) {
                self.added.insert(Arc::clone(&alive.target), alive.domains.clone());
                self.counts.clear();
            }
        }
    }

    /// Reads them again if they may be out of date.
    async fn refresh(&mut self, tx: &mut Writing, now: Timestamp) -> Result<(), Error> {
        if self.read_at.is_some_and(|at| at <= now && now < at.after(FRESH)) {
            return Ok(());
        }
        let since = now.before(ALIVE);
        match &self.noted {
            None => {
                let rows = tx.fleet(since).await?;
                self.places =
                    rows.into_iter().map(|(target, domains)| (Arc::from(target), domains)).collect();
            }
            Some(noted) => self.places.retain(|name, _| noted.get(name).is_some_and(|at| *at > since)),
        }
        self.places.extend(self.added.drain());
        self.counts.clear();
        self.read_at = Some(now);
        Ok(())
    }

    /// How many of them are the policy's: as its blast radius counts them, and as its mass failures do.
    fn of(&mut self, compiled: &Compiled) -> (Counted, Counted) {
        let (key, rails) = ((compiled.policy.id, compiled.policy.version), &compiled.policy.guardrails);
        let places = &self.places;
        let count = |tag: Option<&str>| {
            let mine = places.iter().filter(|(name, _)| compiled.pattern.matches(name));
            Counted::new(mine.map(|(_, domains)| domains.place(tag)))
        };
        let counts = self.counts.entry(key).or_insert_with(|| {
            let known = count(rails.blast_tag());
            let same = rails.blast_tag() == rails.mass_tag();
            (known.clone(), if same { known } else { count(rails.mass_tag()) })
        });
        counts.clone()
    }
}

/// What all pairs of one policy share.
#[derive(Debug, Default)]
struct OfPolicy {
    failures: (u32, Option<Timestamp>),
    parts: Parts,
}

/// What all pairs of one transaction share; without anything in it nothing is allowed.
#[derive(Debug, Default)]
struct Shared {
    /// The pause, the silences, and what everybody has spent.
    common: Ledger,
    of: HashMap<i64, OfPolicy>,
    paces: Paces,
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
        let shared = self.shared(tx, &spending, (findings.list.len(), now)).await;
        let shared = self.sees(|| "what everybody shares".to_owned(), shared)?;
        let sight =
            if shared.is_some() || !holds(Fault::Unreadable) { Sight::Clear } else { Sight::Unreadable };
        let mut shared = shared.unwrap_or_default();
        if !holds(Fault::Unreadable) {
            shared.common.everybody.limit = u32::MAX;
        }
        let mut pairs = Vec::with_capacity(findings.list.len());
        let mut seen = HashSet::new();
        for finding in &findings.list {
            let pair = Pair::of(policies.get(finding.policy).policy.id, finding);
            if seen.insert(pair.clone()) {
                pairs.push((pair, finding));
            }
        }
        let mut entries = Vec::with_capacity(pairs.len());
        for (pair, finding) in &pairs {
            let policy = &policies.get(finding.policy).policy;
            let (since, ladder) = (now.before(policy.guardrails.window), !policy.steps.is_empty());
            entries.push(Entry { policy: pair.policy, subject: pair.subject(), since, ladder });
        }
        let read = tx.ledgers(&entries).await?;
        let mut ledgers = HashMap::with_capacity(pairs.len());
        for ((pair, finding), ledger) in pairs.iter().zip(read) {
            let compiled = policies.get(finding.policy);
            let ledger = match ledger {
                Ok(ledger) => self.of_pair(tx, (compiled, finding, pair), (ledger, &mut shared), now).await,
                Err(wrong) => Err(wrong),
            };
            let what = || format!("policy {} on target {}", compiled.policy.name, pair.target);
            let ledger = match self.sees(what, ledger)? {
                Some(ledger) => Ledger { sight, ..ledger },
                None => Ledger { sight: Sight::Blind, ..Ledger::default() },
            };
            ledgers.insert(pair.clone(), ledger);
        }
        Ok(ledgers)
    }

    /// What all pairs share, of the policies that may act.
    async fn shared(
        &mut self,
        tx: &mut Writing,
        spending: &[i64],
        (most, now): (usize, Timestamp),
    ) -> Result<Shared, Error> {
        let (policies, mut shared) = (Arc::clone(&self.policies), Shared::default());
        if !spending.is_empty() {
            shared.common.everybody = tx.spent(self.parts.store.everywhere(), now).await?;
            shared.common.paused = tx.paused(now).await?;
            shared.common.silences = tx.silenced(&self.parts.store, now).await?;
        }
        let acting: Vec<&Arc<Compiled>> = spending.iter().filter_map(|id| policies.by_id(*id)).collect();
        if !acting.is_empty() {
            self.fleet.refresh(tx, now).await?;
            let mut counts = Counts::of(tx, spending).await?;
            // Mostly the window that all share is as long as the policies' own.
            let since = now.before(self.parts.store.everywhere().window);
            counts.touches.insert(since, shared.common.everybody.used);
            for compiled in &acting {
                let (known, watched) = self.fleet.of(compiled);
                let of = self.of_policy(tx, compiled, (&mut counts, known, watched), (most, now)).await?;
                shared.of.insert(compiled.policy.id, of);
            }
        }
        shared.paces = Paces::read(tx, &self.fleet, acting.into_iter(), now).await?;
        Ok(shared)
    }

    async fn of_pair(
        &self,
        tx: &mut Writing,
        (compiled, finding, pair): (&Compiled, &Finding, &Pair),
        (ledger, shared): (Ledger, &mut Shared),
        now: Timestamp,
    ) -> Result<Ledger, Error> {
        let (policy, everywhere) = (&compiled.policy, self.parts.store.everywhere());
        let mut ledger = Ledger {
            paused: shared.common.paused,
            silences: shared.common.silences.clone(),
            everybody: shared.common.everybody,
            opposites: Arc::clone(&everywhere.opposites),
            ..ledger
        };
        // An incident that stands knows whether it is one of too many.
        if finding.violated && ledger.incident.is_none() && policy.mode.acts() {
            let since = now.before(policy.guardrails.flapping.within);
            ledger.flaps = tx.flaps(pair.policy, pair.subject(), since).await?;
        }
        if let Some(OfPolicy { failures, parts }) = shared.of.get(&policy.id) {
            ledger.failures = *failures;
            ledger.fleet = parts.of(policy, self.place(pair, finding));
            let place = &ledger.fleet.domains;
            ledger.pace = shared.paces.of(tx, (compiled, everywhere), (pair, place)).await?;
            if finding.violated && !pair.simulated && ledger.opposites.any(policy) {
                let since = now.before(ledger.opposites.window);
                ledger.lately = tx.lately(&pair.target, since, now).await?;
            }
        }
        Ok(ledger)
    }

    /// Where the target of a finding is, by the tags that policies count parts of their fleets by.
    fn place(&self, pair: &Pair, finding: &Finding) -> Arc<Domains> {
        if self.policies.domains().is_empty() {
            return Arc::default();
        }
        let partition = &self.partitions[usize::from(partition_of(&pair.target))];
        Arc::new(partition.domains(&self.policies, finding.key))
    }

    async fn of_policy(
        &self,
        tx: &mut Writing,
        compiled: &Compiled,
        (counted, known, watched): (&mut Counts, Counted, Counted),
        (most, now): (usize, Timestamp),
    ) -> Result<OfPolicy, Error> {
        let (id, rails) = (compiled.policy.id, &compiled.policy.guardrails);
        let since = now.before(rails.window);
        let count = counted.touches(tx, since).await?;
        let mut touched = Counted::whole(count);
        // Whose they were is only asked where it can matter, with what this batch may add.
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let limit = rails.blast_radius.allows(known.known(&Place::Without));
        if rails.blast_tag().is_some() || count.saturating_add(most) >= limit {
            let here = counted.touched(tx, since).await?.iter();
            let here = here.filter(|(target, _)| compiled.pattern.matches(target));
            touched = Counted::new(here.map(|at| self.fleet.place(at, rails.blast_tag())));
        }
        let sick = match rails.mass_tag() {
            None => Counted::whole(counted.sick.get(&id).copied().unwrap_or(0)),
            tag => Counted::new(tx.sick_where(id).await?.iter().map(|at| self.fleet.place(at, tag))),
        };
        let storms = counted.storms.remove(&id).unwrap_or_default();
        let parts = Parts { known, touched, watched, sick, storms };
        let failures = counted.failures.remove(&id).unwrap_or_default();
        Ok(OfPolicy { failures, parts })
    }
}

/// What is counted once for all policies of a transaction.
#[derive(Debug, Default)]
struct Counts {
    sick: HashMap<i64, u32>,
    storms: HashMap<i64, HashMap<String, Timestamp>>,
    failures: HashMap<i64, (u32, Option<Timestamp>)>,
    /// Reservations since then: how many, and of what.
    touches: HashMap<Timestamp, u32>,
    touched: HashMap<Timestamp, Vec<Located>>,
}

impl Counts {
    async fn of(tx: &mut Writing, policies: &[i64]) -> Result<Self, Error> {
        let (sick, storms) = (tx.sick(policies).await?, tx.storms(policies).await?);
        Ok(Self { sick, storms, failures: tx.failures(policies).await?, ..Self::default() })
    }

    async fn touches(&mut self, tx: &mut Writing, since: Timestamp) -> Result<u32, Error> {
        if let Some(count) = self.touches.get(&since) {
            return Ok(*count);
        }
        let count = tx.touches(since).await?;
        self.touches.insert(since, count);
        Ok(count)
    }

    async fn touched(&mut self, tx: &mut Writing, since: Timestamp) -> Result<&[Located], Error> {
        Ok(match self.touched.entry(since) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(vacant) => vacant.insert(tx.touched(since).await?),
        })
    }
}
