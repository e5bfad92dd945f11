//! What people were promised, counted anew from the history whenever something is done.

use std::time::Duration;

use super::pace::Found;
use super::scene::{UNDONE, zone};
use super::{EVERYBODY, Made, Open, TARGETS, World};
use crate::domain::Timestamp;
use crate::domain::incident::State;
use crate::engine::{Finding, Truth};
use crate::pipeline::decide::Pair;
use crate::store::{IncidentChange, Plan, Verdict};

/// Whether a promise was kept.
pub(super) fn promise(kept: bool, what: &str) -> Result<(), String> {
    if kept { Ok(()) } else { Err(what.to_owned()) }
}

impl World {
    pub(super) fn apply(
        &mut self,
        at: usize,
        finding: &Finding,
        pair: &Pair,
        plan: &Plan,
    ) -> Result<(), String> {
        let before = self.incidents.get(pair).cloned();
        for opened in &plan.opened {
            if before.is_some() {
                return Err("a second incident of one policy and target".to_owned());
            }
            self.incidents.insert(
                pair.clone(),
                Open {
                    id: self.next_id,
                    state: State::Open,
                    opened_at: plan.now,
                    clear_since: None,
                    flapping_until: opened.flapping_until,
                },
            );
            self.openings.entry(pair.clone()).or_default().push((plan.now, opened.flapping_until));
            self.next_id += 1;
        }
        for change in &plan.changes {
            match change {
                IncidentChange::Decided { verdict: Verdict::Act(_), .. } => {
                    self.acted(at, (finding, None), pair, plan)?
                }
                IncidentChange::Decided { verdict: Verdict::Ask(_), .. } => {
                    let until = plan.now.after(self.policies[at].policy.approval.within);
                    self.acted(at, (finding, Some(until)), pair, plan)?
                }
                IncidentChange::Withdrawn { .. } => self.refuse(pair, plan.now),
                IncidentChange::Decided { verdict: Verdict::HandOver(why), .. } => {
                    if *why == "ineffective" {
                        self.all_in_vain(at, plan.now)?;
                    }
                    let incident = self.incidents.get_mut(pair).map(|open| {
                        open.state = State::HandedOver;
                        open.id
                    });
                    self.judge(incident.unwrap_or(0), Found::DidNot);
                }
                IncidentChange::Decided { verdict: Verdict::Suppress { reason, .. }, facts, .. } => {
                    if *reason == "opposite" {
                        let wanted = facts["guardrail"]["wanted"].as_str().unwrap_or_default();
                        self.duel(pair, wanted, plan.now);
                    }
                }
                IncidentChange::Calm { .. } => {}
                IncidentChange::Clearing { since, .. } => {
                    if let Some(open) = self.incidents.get_mut(pair) {
                        open.clear_since = *since;
                    }
                }
                IncidentChange::Closed { .. } => self.closed(at, finding, pair)?,
            }
        }
        self.duels.extend(plan.duels.iter().cloned());
        for storm in &plan.storms {
            self.storms.insert(storm.clone(), plan.now);
        }
        Ok(())
    }

    /// An action was made: is every promise kept?
    fn acted(
        &mut self,
        at: usize,
        (finding, waits): (&Finding, Option<Timestamp>),
        pair: &Pair,
        plan: &Plan,
    ) -> Result<(), String> {
        let (policy, now) = (&self.policies[at].policy, plan.now);
        let rails = &policy.guardrails;
        let draft = plan.actions.first().ok_or("acted without an action")?;
        let step = usize::try_from(draft.step.unwrap_or(0)).unwrap_or(usize::MAX);
        let incident = self.incidents.get(pair).cloned().ok_or("acted without an incident")?;
        let of_pair: Vec<&Made> = self
            .actions
            .iter()
            .filter(|made| made.policy == pair.policy && made.target == pair.target)
            .collect();
        let earlier: Vec<&&Made> =
            of_pair.iter().filter(|made| made.incident == incident.id && made.is_its()).collect();
        promise(finding.target.is_some(), "acted without a target")?;
        self.may_ask(policy, pair, waits.is_some(), now)?;
        promise(!self.paused, "acted in a pause")?;
        promise(self.silenced.as_ref() != Some(&pair.target), "acted on what was to be left alone")?;
        promise(incident.state == State::Open, "acted after a human was given it")?;
        promise(now.since(finding.observed_at) <= rails.max_event_age, "acted on an old event")?;
        promise(earlier.iter().all(|made| made.ended.is_some()), "two at once")?;
        if let Some(last) = earlier.last() {
            let settle = policy.rung(last.step).map_or(Duration::ZERO, |rung| rung.settle);
            let settled = last.ended.map(|ended| ended.after(settle));
            promise(
                settled.is_none_or(|settled| finding.observed_at > settled),
                "judged before it had settled",
            )?;
            promise(
                step == last.step || self.skipped_in_vain(at, (last.step, step), now),
                "a step was left out, or gone back to",
            )?;
        } else if let Some(last) = of_pair.last() {
            promise(now >= last.at.after(rails.cooldown), "acted within the cooldown")?;
        }
        if earlier.is_empty() {
            promise(!self.flapping(at, pair, now), "acted on what is flapping")?;
        }
        let tries = earlier.iter().filter(|made| made.step == step).count() + 1;
        let allowed = policy.rung(step).map(|rung| rung.tries).ok_or("acted on a step that is none")?;
        promise(tries <= allowed as usize, "one step made more actions than it may")?;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mine = self.since(now.before(rails.window)).filter(|made| made.policy == pair.policy).count();
        promise(number(mine) < rails.max_actions, "over the policy's budget")?;
        promise(
            number(self.since(now.before(EVERYBODY.1)).count()) < EVERYBODY.0,
            "over everybody's budget",
        )?;
        self.part_of_the_fleet(at, pair, now)?;
        self.nothing_undone(pair, &draft.kind, now)?;
        self.in_pace(at, pair, (step, &draft.kind, earlier.is_empty()), now)?;
        promise(draft.expires_at.is_some() != waits.is_some(), "an action that never expires")?;
        let made = Made {
            // What waits is spent for as long as it does.
            at: waits.unwrap_or(now),
            policy: pair.policy,
            target: pair.target.clone(),
            incident: incident.id,
            step,
            kind: draft.kind.clone(),
            ended: None,
            found: None,
            id: self.actions.len(),
            waits,
        };
        self.judge(incident.id, Found::DidNot);
        self.actions.push(made);
        Ok(())
    }

    /// An incident ended: only by what was observed after its last action had settled.
    fn closed(&mut self, at: usize, finding: &Finding, pair: &Pair) -> Result<(), String> {
        promise(self.waiting(pair).is_none(), "a request outlived its incident")?;
        let incident = self.incidents.remove(pair).ok_or("closed what is not open")?;
        let (keep, since) = (self.policies[at].policy.guardrails.keep, self.clear.get(pair).copied());
        let since = since.filter(|_| finding.truth == Truth::Clear).ok_or("over though it is not clear")?;
        if self.clock.now().since(since) < keep {
            return Err("over though it was clear for a moment only".to_owned());
        }
        let last = self.actions.iter().rev().find(|made| made.incident == incident.id);
        let Some(last) = last.filter(|_| incident.state == State::Open) else { return Ok(()) };
        let settle = self.policies[at].policy.rung(last.step).map_or(Duration::ZERO, |rung| rung.settle);
        match last.ended {
            Some(ended) if finding.observed_at > ended.after(settle) => {
                self.healed.insert(pair.clone(), (last.step, self.clock.now()));
                self.judge(incident.id, Found::Helped);
                Ok(())
            }
            _ => Err("healed by what was observed before".to_owned()),
        }
    }

    /// Of the part of the fleet in which the target is no more is touched than may be, and it does not look dead.
    fn part_of_the_fleet(&self, at: usize, pair: &Pair, now: Timestamp) -> Result<(), String> {
        let (compiled, rails) = (&self.policies[at], &self.policies[at].policy.guardrails);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let names: Vec<String> = (0..TARGETS).map(|n| format!("web-{n}")).collect();
        let near = |by_zone: bool, other: &str| !by_zone || zone(other) == zone(&pair.target);
        let known = |by_zone| {
            names.iter().filter(|name| compiled.pattern.matches(name) && near(by_zone, name)).count()
        };
        let by_zone = rails.blast_radius.per.is_some();
        let touched = self.since(now.before(rails.window)).map(|made| &made.target);
        let touched = touched.filter(|name| compiled.pattern.matches(name) && near(by_zone, name)).count();
        let share = rails.blast_radius.percent;
        let share = share.map_or(u32::MAX, |percent| (number(known(by_zone)) * percent / 100).max(1));
        promise(
            number(touched) < share.min(rails.blast_radius.max),
            "more of the fleet than may be touched",
        )?;
        let by_zone = match rails.mass_failure.per.as_deref() {
            Some(tag) => tag != "*",
            None => by_zone,
        };
        let sick = self.incidents.keys().filter(|sick| sick.policy == pair.policy);
        let sick = number(sick.filter(|sick| near(by_zone, &sick.target)).count());
        let mass = &rails.mass_failure;
        let dead = sick >= mass.targets && sick * 100 >= number(known(by_zone)) * mass.percent;
        promise(!dead, "a fleet that looks dead was believed")?;
        let part = if by_zone { zone(&pair.target).unwrap_or("") } else { "" };
        let storm_at = self.storms.get(&(pair.policy, part.to_owned()));
        promise(storm_at.is_none_or(|at| now >= at.after(mass.quiet)), "acted before the quiet time was over")
    }

    /// The latest action on a target that `kind` undoes.
    pub(super) fn undone(&self, target: &str, kind: &str, now: Timestamp) -> Option<&Made> {
        let scales = |kind: &str| match kind {
            "scale-up" => 1,
            "scale-down" | "scale_down" => -1,
            _ => 0,
        };
        let window = self.actions.iter().rev().filter(|made| now < made.at.after(UNDONE));
        let mut here = window.filter(|made| made.target == target && made.is_its());
        here.find(|made| scales(&made.kind) * scales(kind) < 0)
    }

    fn nothing_undone(&self, pair: &Pair, kind: &str, now: Timestamp) -> Result<(), String> {
        promise(self.undone(&pair.target, kind, now).is_none(), "undid what had just been done")?;
        let until = self.duelists.get(&(pair.policy, pair.target.clone()));
        promise(until.is_none_or(|until| now >= *until), "went on with a duel")
    }

    /// A policy was stopped from undoing something: both parties wait from now on.
    fn duel(&mut self, pair: &Pair, wanted: &str, now: Timestamp) {
        let undone = self.undone(&pair.target, wanted, now);
        let Some((first, until)) = undone.map(|made| (made.policy, made.at.after(UNDONE))) else { return };
        // Who was in a duel with somebody else is no party of one with whoever acted since.
        if self.duelists.get(&(pair.policy, pair.target.clone())).is_some_and(|until| now < *until) {
            return;
        }
        for party in [first, pair.policy] {
            self.duelists.insert((party, pair.target.clone()), until);
        }
    }

    /// Whether so many incidents of a pair opened within the time that it is to be left alone, and none has been quiet for as
    /// long since.
    fn flapping(&self, at: usize, pair: &Pair, now: Timestamp) -> bool {
        let rails = self.policies[at].policy.guardrails.flapping;
        let openings: Vec<Timestamp> = self.openings[pair].iter().map(|(at, _)| *at).collect();
        let mut flapping = false;
        for (at, opened) in openings.iter().enumerate() {
            let quiet = at > 0 && opened.since(openings[at - 1]) >= rails.within;
            let close = openings[..=at].iter().filter(|other| opened.since(**other) < rails.within).count();
            flapping = (flapping && !quiet) || close >= rails.changes as usize;
        }
        flapping && openings.last().is_some_and(|last| now.since(*last) < rails.within)
    }
}
