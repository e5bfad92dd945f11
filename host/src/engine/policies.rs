//! Policies compiled, and the index that leads from a new series to the few of them that read it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::condition::{Fault, parse};
use super::partition::Limits;
use crate::cel::{Function, Program, Window};
use crate::domain::Timestamp;
use crate::domain::event::Tags;
use crate::domain::policy::{Pattern, Policy};

/// A policy, ready to be evaluated.
#[derive(Debug)]
pub struct Compiled {
    /// What it says.
    pub policy: Policy,
    /// When it is violated.
    pub program: Program,
    /// When it is over; none: when it is not violated.
    pub clear: Option<Program>,
    /// On what.
    pub pattern: Pattern,
    /// The longest of its windows; zero without any.
    pub window: Duration,
}

impl Compiled {
    /// Compiles a stored policy. It was checked when it was saved, so an error means that this version is
    /// stricter than the one that saved it.
    pub fn new(policy: Policy) -> Result<Self, Fault> {
        let compile =
            |condition| parse(condition).and_then(|it| Program::from_condition(&it).map_err(Fault::Compile));
        let (program, clear) = (compile(&policy.condition)?, policy.clear.as_ref().map(compile).transpose()?);
        let pattern = Pattern::new(&policy.target).map_err(Fault::Typed)?;
        let mut compiled = Self { policy, program, clear, pattern, window: Duration::ZERO };
        compiled.window = compiled.windows().map(|window| window.over).max().unwrap_or_default();
        Ok(compiled)
    }

    /// When it is over, as CEL, where the policy says so.
    #[must_use]
    pub fn over(&self) -> Option<&str> {
        self.clear.as_ref().map(Program::source)
    }

    fn programs(&self) -> impl Iterator<Item = &Program> {
        std::iter::once(&self.program).chain(&self.clear)
    }

    fn windows(&self) -> impl Iterator<Item = &Arc<Window>> {
        self.programs().flat_map(Program::windows)
    }
}

impl Compiled {
    /// Whether what a series last said at `last_at` can still matter to a window, or its silence has just begun to:
    /// the tick judges for one look-back longer than the longest window lasts. What uses `metric` needs a fresh event.
    pub(super) fn looks_back_to(&self, last_at: Timestamp, now: Timestamp, limits: Limits) -> bool {
        !self.window.is_zero()
            && self.programs().any(|program| program.events().is_empty())
            && last_at >= now.before(limits.lookback).before(self.window)
    }
}

/// Who reads one metric, by how their target patterns are matched.
#[derive(Debug, Default)]
struct Readers {
    everywhere: Vec<u32>,
    by_name: HashMap<String, Vec<u32>>,
    by_glob: Vec<u32>,
    all: Vec<u32>,
}

/// All enabled policies at one revision.
#[derive(Debug, Default)]
pub struct PolicySet {
    /// The revision; a series resolves its policies again when it changes.
    pub rev: i64,
    policies: Vec<Arc<Compiled>>,
    readers: HashMap<String, Readers>,
    by_id: HashMap<i64, u32>,
    /// The policies that have windows, by id and version.
    windowed: BTreeSet<(i64, i64)>,
    /// Tags by which a policy counts parts of its fleet.
    domains: BTreeSet<Arc<str>>,
}

impl PolicySet {
    /// Builds the index over `compiled`, which are in the order of registration.
    #[must_use]
    pub fn new(compiled: Vec<Arc<Compiled>>, rev: i64) -> Self {
        let mut set = Self { rev, ..Self::default() };
        for policy in compiled.into_iter().filter(|compiled| compiled.policy.enabled) {
            let at = u32::try_from(set.policies.len()).unwrap_or(u32::MAX);
            let mut names: Vec<&str> =
                policy.programs().flat_map(Program::reads).map(|read| read.metric.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let readers = set.readers.entry(name.to_owned()).or_default();
                readers.all.push(at);
                match &policy.pattern {
                    Pattern::Everything => readers.everywhere.push(at),
                    Pattern::Exactly(target) => {
                        readers.by_name.entry(target.clone()).or_default().push(at);
                    }
                    Pattern::Glob(_) => readers.by_glob.push(at),
                }
            }
            if !policy.window.is_zero() {
                set.windowed.insert((policy.policy.id, policy.policy.version));
            }
            let rails = &policy.policy.guardrails;
            set.domains.extend(
                [rails.blast_tag(), rails.mass_tag(), rails.group_tag()].into_iter().flatten().map(Arc::from),
            );
            set.by_id.insert(policy.policy.id, at);
            set.policies.push(policy);
        }
        set
    }

    /// The policies that a series of `metric` on `target` concerns, in the order of registration. Without a
    /// target every policy that reads the metric is evaluated and reported.
    #[must_use]
    pub fn concerned(&self, metric: &str, target: Option<&str>) -> Box<[u32]> {
        let Some(readers) = self.readers.get(metric) else { return Box::default() };
        let Some(target) = target else { return readers.all.clone().into_boxed_slice() };
        let mut found = readers.everywhere.clone();
        found.extend(readers.by_name.get(target).into_iter().flatten());
        found.extend(readers.by_glob.iter().filter(|at| self.get(**at).pattern.matches(target)));
        found.sort_unstable();
        found.into_boxed_slice()
    }

    /// The longest window that one of the policies `concerned` has over a series of that name and tags, and over how
    /// long they sum it up.
    pub(super) fn kept(
        &self,
        concerned: &[u32],
        metric: &str,
        tags: &Tags,
    ) -> Option<(Duration, Vec<Duration>)> {
        if self.windowed.is_empty() {
            return None;
        }
        let windows = concerned.iter().flat_map(|at| self.get(*at).windows());
        let read: Vec<_> =
            windows.filter(|window| window.read.metric == metric && window.read.covers(tags)).collect();
        let sums = read.iter().filter(|window| matches!(window.function, Function::Sum | Function::Avg));
        let sums: BTreeSet<Duration> = sums.map(|window| window.over).collect();
        let longest = read.iter().map(|window| window.over).max()?;
        Some((longest, sums.into_iter().collect()))
    }

    /// The metrics that windows read, and the longest window; none without any.
    #[must_use]
    pub fn windows(&self) -> Option<(Vec<String>, Duration)> {
        let windows = || self.policies.iter().flat_map(|compiled| compiled.windows());
        let longest = windows().map(|window| window.over).max()?;
        let names: BTreeSet<&str> = windows().map(|window| window.read.metric.as_str()).collect();
        Some((names.into_iter().map(str::to_owned).collect(), longest))
    }

    /// Whether histories that were kept for `before` may lack what a policy of this set looks back at.
    #[must_use]
    pub fn looks_further(&self, before: &Self) -> bool {
        !self.windowed.is_subset(&before.windowed)
    }

    /// The policy at a position that [`PolicySet::concerned`] answered.
    #[must_use]
    pub fn get(&self, at: u32) -> &Arc<Compiled> {
        &self.policies[at as usize]
    }

    /// All of them, by position.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.policies.iter()
    }

    /// The enabled policy of that id.
    #[must_use]
    pub fn by_id(&self, id: i64) -> Option<&Arc<Compiled>> {
        self.by_id.get(&id).map(|at| self.get(*at))
    }

    /// Tags by which some policy counts parts of its fleet.
    #[must_use]
    pub fn domains(&self) -> &BTreeSet<Arc<str>> {
        &self.domains
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}
