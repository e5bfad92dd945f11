//! What the decision is told of the pace: read once per transaction and policy, and only where somebody asks for it.

use std::collections::HashMap;
use std::sync::Arc;

use super::ledgers::Targets;
use crate::domain::Timestamp;
use crate::domain::fleet::Domains;
use crate::domain::guardrails::Everywhere;
use crate::domain::pace::{Achieved, Pace, Share};
use crate::engine::Compiled;
use crate::pipeline::decide::Pair;
use crate::store::{Error, Unproven, Writing};

/// What all findings of one transaction share.
#[derive(Debug, Default)]
pub(super) struct Paces {
    now: Timestamp,
    unproven: Vec<Unproven>,
    helped: HashMap<i64, u32>,
    achieved: HashMap<i64, Arc<[Achieved]>>,
    shares: HashMap<String, Share>,
}

impl Paces {
    /// Of the policies that may act.
    pub(super) async fn read(
        tx: &mut Writing,
        fleet: &Targets,
        policies: impl Iterator<Item = &Arc<Compiled>>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut paces = Self { now, ..Self::default() };
        let mut counted = false;
        for compiled in policies {
            let (id, rails) = (compiled.policy.id, &compiled.policy.guardrails);
            if let Some(ramp) = &rails.ramp {
                let helped = tx.helped(id, now.before(ramp.within), ramp.most).await?;
                paces.helped.insert(id, helped);
            }
            if let Some(asked) = &rails.effectiveness {
                let achieved = tx.achieved((id, &compiled.policy), now.before(asked.within)).await?;
                paces.achieved.insert(id, achieved.into());
            }
            counted |= rails.ramp.is_some() || rails.group.is_some();
        }
        if counted {
            paces.unproven = tx.unproven(now).await?;
            for one in &mut paces.unproven {
                one.at.1 = fleet.domains(&one.at).clone();
            }
        }
        Ok(paces)
    }

    /// What one policy on one target is held against.
    pub(super) async fn of(
        &mut self,
        tx: &mut Writing,
        (compiled, everywhere): (&Compiled, &Everywhere),
        (pair, at): (&Pair, &Domains),
    ) -> Result<Pace, Error> {
        let (policy, rails) = (&compiled.policy, &compiled.policy.guardrails);
        // Nothing simulated is held back by what is real.
        if pair.simulated {
            return Ok(Pace::default());
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut pace = Pace { helped: self.helped.get(&policy.id).copied().unwrap_or(0), ..Pace::default() };
        // What was done to the very target is judged by this very decision, or stands in its slot.
        let others = |one: &&Unproven| one.at.0 != pair.target;
        if rails.ramp.is_some() {
            pace.unproven = count(
                self.unproven.iter().filter(|one| one.policy == Some(policy.id)).filter(others).count(),
            );
        }
        if let Some(tag) = rails.group_tag() {
            let here = at.place(Some(tag));
            let near = |one: &&Unproven| one.at.1.place(Some(tag)).counts(&here);
            let mine = |one: &&Unproven| compiled.pattern.matches(&one.at.0);
            pace.grouped = count(self.unproven.iter().filter(others).filter(mine).filter(near).count());
        }
        if let Some(achieved) = self.achieved.get(&policy.id) {
            pace.achieved = Arc::clone(achieved);
        }
        if everywhere.plugins.limited() {
            for step in 0.. {
                let Some(rung) = policy.rung(step) else { break };
                pace.plugins.push(self.share(tx, everywhere, (rung.action, &pair.target)).await?);
            }
        }
        Ok(pace)
    }

    async fn share(
        &mut self,
        tx: &mut Writing,
        everywhere: &Everywhere,
        (kind, target): (&str, &str),
    ) -> Result<Option<Share>, Error> {
        let Some((plugin, budget)) = everywhere.plugins.of(kind, target) else { return Ok(None) };
        if let Some(known) = self.shares.get(plugin) {
            return Ok(Some(known.clone()));
        }
        let share = tx.share(plugin, budget, self.now).await?;
        self.shares.insert(plugin.to_owned(), share.clone());
        Ok(Some(share))
    }
}
