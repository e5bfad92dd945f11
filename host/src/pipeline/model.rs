//! The decision against a model of the world: random histories of events, endings, pauses and waits, in which every action is
//! held against what people were promised, counted anew from the history and not by the code under test. Each safety is also
//! taken away once ([`Fault`]), and must be missed.

mod asks;
mod pace;
mod promises;
pub(super) mod scene;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use self::pace::Found;
use self::scene::{Random, domains, known, opposites, policy};
use super::decide::{About, Deciding, Pair};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::decide::{Ledger, Sight, Spent};
use crate::domain::event::{NO_TARGET, Tags};
use crate::domain::flapping::Flaps;
use crate::domain::fleet::{Counted, Domains, Parts};
use crate::domain::incident::{Standing, State};
use crate::domain::ladder::Relapse;
use crate::domain::mutant::{ALL, Fault, PLANTED};
use crate::domain::opposites::{Act, Duel, Lately, Of, Opposites};
use crate::domain::silence::Active;
use crate::engine::{Compiled, Finding, Known, Partition, SeriesKey, Truth};
use crate::store::Plan;

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
    kind: String,
    ended: Option<Timestamp>,
    found: Option<Found>,
    id: usize,
    /// It waits for people's yes, until then.
    waits: Option<Timestamp>,
}

/// An incident that has not cleared.
#[derive(Clone)]
struct Open {
    id: i64,
    state: State,
    opened_at: Timestamp,
    clear_since: Option<Timestamp>,
    flapping_until: Option<Timestamp>,
}

struct World {
    random: Random,
    clock: Clock,
    policies: Vec<Compiled>,
    /// Where each target is, and those without one.
    places: HashMap<String, Arc<Domains>>,
    /// How many targets each policy has, by its two tags.
    known: Vec<(Counted, Counted)>,
    key: SeriesKey,
    incidents: HashMap<Pair, Open>,
    healed: HashMap<Pair, (usize, Timestamp)>,
    /// When a request last came to nothing.
    refused: HashMap<Pair, Timestamp>,
    /// Since when nothing but clear was observed.
    clear: HashMap<Pair, Timestamp>,
    actions: Vec<Made>,
    storms: HashMap<(i64, String), Timestamp>,
    /// What the store would have of duels.
    duels: Vec<(String, Duel)>,
    /// Each opening, and until when it was flapping as it was recorded.
    openings: HashMap<Pair, Vec<(Timestamp, Option<Timestamp>)>>,
    /// Who was in one, over which target and until when, as the history has it.
    duelists: HashMap<(i64, String), Timestamp>,
    opposites: Arc<Opposites>,
    paused: bool,
    /// The target that people want left alone.
    silenced: Option<String>,
    /// The same, as the store would have it: made once, since that takes its time.
    silences: Active,
    next_id: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let policies: Vec<Compiled> = (1..=3).map(|id| policy(id, &mut random)).collect();
        let names: Vec<String> = (0..TARGETS).map(|n| format!("web-{n}")).collect();
        let all = names.iter().map(String::as_str).chain([NO_TARGET]);
        let places = all.map(|name| (name.to_owned(), Arc::new(domains(name)))).collect();
        let counts = policies.iter().map(|of| known(of, &names)).collect();
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
            places,
            known: counts,
            incidents: HashMap::new(),
            healed: HashMap::new(),
            refused: HashMap::new(),
            clear: HashMap::new(),
            actions: Vec::new(),
            storms: HashMap::new(),
            duels: Vec::new(),
            openings: HashMap::new(),
            duelists: HashMap::new(),
            opposites: opposites(),
            paused: false,
            silenced: None,
            silences: Active::default(),
            next_id: 1,
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(12) {
            0..=5 => self.event(),
            6 => {
                let by = self.random.seconds(400);
                self.clock.advance(by);
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
                        self.actions[at].found = Some(Found::Uncertain);
                        let incident = self.actions[at].incident;
                        let open = self.incidents.values_mut().find(|open| open.id == incident);
                        open.into_iter().for_each(|open| open.state = State::HandedOver);
                    }
                }
                Ok(())
            }
            11 => {
                self.answer();
                Ok(())
            }
            9 => {
                self.by_hand();
                Ok(())
            }
            _ => {
                self.paused = self.random.below(4) == 0;
                let target = self.random.below(TARGETS as u64 * 2);
                self.silenced = (target < TARGETS as u64).then(|| format!("web-{target}"));
                self.silences = scene::silence(self.silenced.as_deref(), self.clock.now());
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
        let truth = match self.random.below(9) {
            0..=5 => Truth::Met,
            6 => Truth::Between,
            7 if self.random.below(2) == 0 => Truth::NoData,
            _ => Truth::Clear,
        };
        let age = if self.random.below(8) == 0 { self.random.seconds(600) } else { Duration::ZERO };
        for at in 0..self.policies.len() {
            let finding = Finding {
                policy: u32::try_from(at).unwrap_or(0),
                target: target.as_deref().map(Arc::from),
                truth,
                violated: truth == Truth::Met,
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
        match finding.truth {
            Truth::Clear => drop(self.clear.entry(pair.clone()).or_insert(now)),
            Truth::NoData | Truth::Failed => {}
            Truth::Met | Truth::Between => drop(self.clear.remove(&pair)),
        }
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
                clear_since: open.clear_since,
                flapping_until: open.flapping_until,
                last_violated_at: now,
                reason: None,
                silence: None,
                calm: false,
            }
        });
        let fleet = self.parts(at, now).of(policy, Arc::clone(&self.places[&pair.target]));
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ledger {
            sight: Sight::default(),
            incident,
            last_reserved_at: mine.last().map(|made| made.at),
            relapse: self.healed.get(pair).map(|(step, at)| Relapse { step: *step, cleared_at: *at }),
            used: number(
                self.actions.iter().filter(|made| made.policy == pair.policy && made.at > since).count(),
            ),
            paused: self.paused.then_some(None),
            silences: self.silences.clone(),
            silenced: None,
            everybody: Spent {
                used: number(self.since(now.before(EVERYBODY.1)).count()),
                limit: EVERYBODY.0,
                until: None,
            },
            fleet,
            failures: (0, None),
            awaiting: self.waiting(pair),
            refused_at: self.refused.get(pair).copied(),
            flaps: self.flaps(at, pair, now),
            lately: self.lately(&pair.target, now),
            opposites: Arc::clone(&self.opposites),
            pace: self.pace(at, pair, now),
        }
    }

    /// What the store would have of a target's opposites.
    fn lately(&self, target: &str, now: Timestamp) -> Lately {
        let acts = self
            .since(now.before(self.opposites.window))
            .filter(|made| made.target == target && made.is_its());
        let act = |made: &Made| Act {
            action: Of::Known(0),
            policy: made.policy,
            kind: made.kind.clone(),
            at: made.at,
        };
        let duels = self.duels.iter().filter(|(over, duel)| *over == target && duel.until > now);
        Lately { acts: acts.map(act).collect(), duels: duels.map(|(_, duel)| duel.clone()).collect() }
    }

    /// What the store would count of a pair's openings.
    fn flaps(&self, at: usize, pair: &Pair, now: Timestamp) -> Flaps {
        let since = now.before(self.policies[at].policy.guardrails.flapping.within);
        let openings = self.openings.get(pair).into_iter().flatten().filter(|(at, _)| *at > since);
        Flaps {
            openings: u32::try_from(openings.clone().count()).unwrap_or(u32::MAX),
            until: openings.filter_map(|(_, until)| *until).max(),
        }
    }

    fn since(&self, since: Timestamp) -> impl Iterator<Item = &Made> {
        self.actions.iter().filter(move |made| made.at > since)
    }

    /// What the store would count of a policy's targets.
    fn parts(&self, at: usize, now: Timestamp) -> Parts {
        let (compiled, rails) = (&self.policies[at], &self.policies[at].policy.guardrails);
        let touched =
            self.since(now.before(rails.window)).filter(|made| compiled.pattern.matches(&made.target));
        let sick = self.incidents.keys().filter(|pair| pair.policy == compiled.policy.id);
        let mine = self.storms.iter().filter(|((policy, _), _)| *policy == compiled.policy.id);
        let place = |target: &String, tag| self.places[target].place(tag);
        let (known, watched) = self.known[at].clone();
        Parts {
            known,
            touched: Counted::new(touched.map(|made| place(&made.target, rails.blast_tag()))),
            watched,
            sick: Counted::new(sick.map(|pair| place(&pair.target, rails.mass_tag()))),
            storms: mine.map(|((_, part), at)| (part.clone(), *at)).collect(),
        }
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
    // Two cores: even seeds here, odd ones there.
    std::thread::scope(|scope| {
        let odd = scope.spawn(|| (1..count).step_by(2).find_map(broken));
        assert_eq!((0..count).step_by(2).find_map(broken), None);
        assert_eq!(odd.join().ok(), Some(None));
    });
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
