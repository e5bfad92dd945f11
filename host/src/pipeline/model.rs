//! The decision against a model of the world: random histories of events, endings, pauses and waits, in which every action is
//! held against what people were promised, counted anew from the history and not by the code under test. Each safety is also
//! taken away once ([`Fault`]), and must be missed.

mod asks;
pub(super) mod scene;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use self::scene::{Random, policy};
use super::decide::{About, Deciding, Pair};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::decide::{Fleet, Ledger, Spent};
use crate::domain::event::Tags;
use crate::domain::incident::{Standing, State};
use crate::domain::ladder::Relapse;
use crate::domain::mutant::{ALL, Fault, PLANTED};
use crate::domain::policy::Mode;
use crate::engine::{Compiled, Finding, Known, Partition, SeriesKey, Truth};
use crate::store::{IncidentChange, Plan, Verdict};

const TARGETS: usize = 8;
const STEPS: usize = 200;
/// What everybody shares.
const EVERYBODY: (u32, Duration) = (9, Duration::from_mins(10));

/// An action that was made.
#[derive(Clone)]
struct Made {
    at: Timestamp,
    policy: i64,
    target: String,
    incident: i64,
    step: usize,
    ended: Option<Timestamp>,
    /// It waits for people's yes, until then.
    waits: Option<Timestamp>,
}

/// An incident that has not cleared.
#[derive(Clone)]
struct Open {
    id: i64,
    state: State,
    opened_at: Timestamp,
}

struct World {
    random: Random,
    clock: Clock,
    policies: Vec<Compiled>,
    key: SeriesKey,
    incidents: HashMap<Pair, Open>,
    healed: HashMap<Pair, (usize, Timestamp)>,
    /// When a request last came to nothing.
    refused: HashMap<Pair, Timestamp>,
    actions: Vec<Made>,
    storms: HashMap<i64, Timestamp>,
    paused: bool,
    /// The target that people want left alone.
    silenced: Option<String>,
    next_id: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let policies = (1..=3).map(|id| policy(id, &mut random)).collect();
        let mut partition = Partition::default();
        let tags = Arc::new(Tags::new());
        let identity = crate::domain::event::Series::new("m".to_owned(), Tags::new(), None).identity;
        let known = Known {
            id: 1,
            identity,
            name: "m",
            target: None,
            kind: "",
            namespace: "",
            simulated: false,
            tags,
        };
        Self {
            key: partition.add_series(known),
            random,
            clock: Clock::manual(Timestamp::from_micros(1_800_000_000_000_000)),
            policies,
            incidents: HashMap::new(),
            healed: HashMap::new(),
            refused: HashMap::new(),
            actions: Vec::new(),
            storms: HashMap::new(),
            paused: false,
            silenced: None,
            next_id: 1,
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(11) {
            0..=5 => self.event(),
            6 => {
                let by = self.random.seconds(240);
                self.clock.advance(by);
                Ok(())
            }
            10 => {
                self.answer();
                Ok(())
            }
            7 | 8 => {
                let now = self.clock.now();
                let running: Vec<usize> =
                    (0..self.actions.len()).filter(|at| self.actions[*at].runs()).collect();
                if !running.is_empty() {
                    let at = running[usize::try_from(self.random.below(running.len() as u64)).unwrap_or(0)];
                    self.actions[at].ended = Some(now);
                    // Nobody knows how it ended: the store gives the incident to a human.
                    if self.random.below(8) == 0 {
                        let incident = self.actions[at].incident;
                        let open = self.incidents.values_mut().find(|open| open.id == incident);
                        open.into_iter().for_each(|open| open.state = State::HandedOver);
                    }
                }
                Ok(())
            }
            _ => {
                self.paused = self.random.below(4) == 0;
                let target = self.random.below(TARGETS as u64 * 2);
                self.silenced = (target < TARGETS as u64).then(|| format!("web-{target}"));
                Ok(())
            }
        }
    }

    /// One sample, shown to every policy.
    fn event(&mut self) -> Result<(), String> {
        let by = self.random.seconds(20);
        self.clock.advance(by);
        let named = self.random.below(20) > 0;
        let target = named.then(|| format!("web-{}", self.random.below(TARGETS as u64)));
        let met = self.random.below(3) > 0;
        let age = if self.random.below(8) == 0 { self.random.seconds(600) } else { Duration::ZERO };
        for at in 0..self.policies.len() {
            let finding = Finding {
                policy: u32::try_from(at).unwrap_or(0),
                target: target.as_deref().map(Arc::from),
                truth: if met { Truth::Met } else { Truth::Clear },
                violated: met,
                standing: true,
                observed_at: self.clock.now().before(age),
                event_id: 1,
                saw: Vec::new(),
                key: self.key,
                simulated: false,
            };
            self.decide(at, &finding)?;
        }
        Ok(())
    }

    fn decide(&mut self, at: usize, finding: &Finding) -> Result<(), String> {
        let now = self.clock.now();
        let pair = Pair::of(self.policies[at].policy.id, finding);
        let ledger = self.ledger(at, &pair, now);
        let mut plan = Plan { now, ..Plan::default() };
        let clock = self.clock.clone();
        let tags = Tags::new();
        let about = About { tags: &tags, kind: "", namespace: "" };
        let mut deciding = Deciding::new(&mut plan, HashMap::from([(pair.clone(), ledger)]), 3, &clock);
        deciding.finding(&self.policies[at], finding, about);
        self.apply(at, finding, &pair, &plan)
    }

    /// What the database would say, from the history.
    fn ledger(&self, at: usize, pair: &Pair, now: Timestamp) -> Ledger {
        let policy = &self.policies[at].policy;
        let since = now.before(policy.guardrails.window);
        let mine: Vec<&Made> = self
            .actions
            .iter()
            .filter(|made| made.policy == pair.policy && made.target == pair.target)
            .collect();
        let incident = self.incidents.get(pair).map(|open| {
            let of: Vec<&&Made> =
                mine.iter().filter(|made| made.incident == open.id && made.is_its()).collect();
            let step = of.last().map_or(0, |made| made.step);
            let tries = of.iter().filter(|made| made.step == step).count();
            Standing {
                id: open.id,
                state: open.state,
                opened_at: open.opened_at,
                actions: i64::try_from(of.len()).unwrap_or(0),
                step,
                tries: u32::try_from(tries).unwrap_or(0),
                busy: of.last().is_some_and(|made| made.ended.is_none()),
                last_ended_at: of.last().and_then(|made| made.ended),
                last_violated_at: now,
                reason: None,
                silence: None,
                calm: false,
            }
        });
        let (known, touched, sick) = self.fleet(at, now);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ledger {
            incident,
            last_reserved_at: mine.last().map(|made| made.at),
            relapse: self.healed.get(pair).map(|(step, at)| Relapse { step: *step, cleared_at: *at }),
            used: number(
                self.actions.iter().filter(|made| made.policy == pair.policy && made.at > since).count(),
            ),
            paused: self.paused.then_some(None),
            silences: scene::silence(self.silenced.as_deref(), now),
            silenced: None,
            everybody: Spent {
                used: number(self.since(now.before(EVERYBODY.1)).count()),
                limit: EVERYBODY.0,
                until: None,
            },
            fleet: Fleet { known, touched, sick, storm_at: self.storms.get(&pair.policy).copied() },
            failures: (0, None),
            awaiting: self.waiting(pair),
            refused_at: self.refused.get(pair).copied(),
        }
    }

    fn since(&self, since: Timestamp) -> impl Iterator<Item = &Made> {
        self.actions.iter().filter(move |made| made.at > since)
    }

    fn fleet(&self, at: usize, now: Timestamp) -> (u32, u32, u32) {
        let compiled = &self.policies[at];
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let known = (0..TARGETS).filter(|n| compiled.pattern.matches(&format!("web-{n}"))).count();
        let window = now.before(compiled.policy.guardrails.window);
        let touched = self.since(window).filter(|made| compiled.pattern.matches(&made.target)).count();
        let sick = self.incidents.keys().filter(|pair| pair.policy == compiled.policy.id).count();
        (number(known), number(touched), number(sick))
    }

    fn apply(&mut self, at: usize, finding: &Finding, pair: &Pair, plan: &Plan) -> Result<(), String> {
        let before = self.incidents.get(pair).cloned();
        for _ in &plan.opened {
            if before.is_some() {
                return Err("a second incident of one policy and target".to_owned());
            }
            self.incidents
                .insert(pair.clone(), Open { id: self.next_id, state: State::Open, opened_at: plan.now });
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
                IncidentChange::Decided { verdict: Verdict::HandOver(_), .. } => {
                    if let Some(open) = self.incidents.get_mut(pair) {
                        open.state = State::HandedOver;
                    }
                }
                IncidentChange::Decided { verdict: Verdict::Suppress { .. }, .. } => {}
                IncidentChange::Calm { .. } => {}
                IncidentChange::Closed { .. } => self.closed(at, finding, pair)?,
            }
        }
        for policy in &plan.storms {
            self.storms.insert(*policy, plan.now);
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
        let promise = |kept: bool, what: &str| if kept { Ok(()) } else { Err(what.to_owned()) };
        promise(finding.target.is_some(), "acted without a target")?;
        let asks = if waits.is_some() { Mode::Approve } else { Mode::Auto };
        promise(policy.mode == asks, "a policy that observes or has to ask acted")?;
        promise(self.waiting(pair).is_none(), "asked twice")?;
        let refused = self.refused.get(pair).is_none_or(|at| now >= at.after(rails.cooldown));
        promise(refused, "asked again right after a no")?;
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
            promise(step == last.step || step == last.step + 1, "a step was left out, or gone back to")?;
        } else if let Some(last) = of_pair.last() {
            promise(now >= last.at.after(rails.cooldown), "acted within the cooldown")?;
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
        let (known, touched, sick) = self.fleet(at, now);
        let share = rails.blast_radius.percent.map_or(u32::MAX, |_| (known / 5).max(1));
        promise(touched < share.min(rails.blast_radius.max), "more of the fleet than may be touched")?;
        promise(!(sick >= 6 && sick * 100 >= known * 60), "a fleet that looks dead was believed")?;
        let quiet = self.storms.get(&pair.policy).is_none_or(|at| now >= at.after(rails.mass_failure.quiet));
        promise(quiet, "acted before the quiet time was over")?;
        promise(draft.expires_at.is_some() != waits.is_some(), "an action that never expires")?;
        let made = Made {
            at: now,
            policy: pair.policy,
            target: pair.target.clone(),
            incident: incident.id,
            step,
            ended: None,
            waits,
        };
        self.actions.push(made);
        Ok(())
    }
}

/// The first promise that a history breaks, if it does.
fn broken(seed: u64) -> Option<String> {
    let mut world = World::new(seed);
    (0..STEPS).find_map(|at| world.step().err().map(|why| format!("seed {seed}, step {at}: {why}")))
}

fn seeds(short: u64, long: u64) -> u64 {
    if std::env::var_os("VIGIL_CAMPAIGN").is_some_and(|value| value == "1") { long } else { short }
}

#[test]
fn no_history_breaks_a_promise() {
    let (begun, count) = (std::time::Instant::now(), seeds(600, 10_000));
    let mut acted = 0;
    for seed in 0..count {
        assert_eq!(broken(seed), None);
    }
    for seed in 0..20 {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step().unwrap_or_default());
        acted += world.actions.len();
    }
    println!("{count} histories of {STEPS} steps in {:?}; 20 of them made {acted} actions", begun.elapsed());
    assert!(acted > 100, "histories in which little happens prove little: {acted}");
}

#[test]
fn each_safety_taken_away_is_missed() {
    let mut missed = BTreeMap::new();
    for fault in ALL {
        PLANTED.set(Some(fault));
        let found = (0..seeds(600, 2_000)).find_map(broken);
        PLANTED.set(None);
        missed.insert(format!("{fault:?}"), found);
    }
    for (fault, found) in &missed {
        println!("without {fault}: {}", found.as_deref().unwrap_or("nobody noticed"));
    }
    assert!(missed.values().all(Option::is_some), "{missed:?}");
    assert_eq!(PLANTED.get(), None::<Fault>);
}
