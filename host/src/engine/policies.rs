//! Policies compiled, and the index that leads from a new series to the few of them that read it.

use std::collections::HashMap;
use std::sync::Arc;

use super::condition::{Fault, parse};
use crate::cel::Program;
use crate::domain::policy::{Pattern, Policy};

/// A policy, ready to be evaluated.
#[derive(Debug)]
pub struct Compiled {
    /// What it says.
    pub policy: Policy,
    /// When it is violated.
    pub program: Program,
    /// On what.
    pub pattern: Pattern,
}

impl Compiled {
    /// Compiles a stored policy. It was checked when it was saved, so an error means that this version is
    /// stricter than the one that saved it.
    pub fn new(policy: Policy) -> Result<Self, Fault> {
        let condition = parse(&policy.condition)?;
        let program = Program::from_condition(&condition).map_err(Fault::Compile)?;
        let pattern = Pattern::new(&policy.target).map_err(Fault::Typed)?;
        Ok(Self { policy, program, pattern })
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
}

impl PolicySet {
    /// Builds the index over `compiled`, which are in the order of registration.
    #[must_use]
    pub fn new(compiled: Vec<Arc<Compiled>>, rev: i64) -> Self {
        let mut set = Self { rev, ..Self::default() };
        for policy in compiled.into_iter().filter(|compiled| compiled.policy.enabled) {
            let at = u32::try_from(set.policies.len()).unwrap_or(u32::MAX);
            let mut names: Vec<&str> =
                policy.program.reads().iter().map(|read| read.metric.as_str()).collect();
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
