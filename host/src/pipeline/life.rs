//! The life of actions against a real database: random histories of events, claims, results, lost workers, people and
//! unreadable rows, after each step of which the tables are asked whether anything is there that must never be. Each safety is
//! also taken away once ([`Fault`]), and must be missed.

mod people;
mod workers;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use self::workers::Worker;
use super::backtest::tests::writer;
use super::ingest::{Request, Writer};
use super::model::scene::Random;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::event::{Event, Mark, Series, Tags, Target};
use crate::domain::guardrails::Everywhere;
use crate::domain::mutant::{PLANTED, STORED};
use crate::domain::policy::{Mode, Severity, Source, Spec};
use crate::store::{Change, Durability, Lease, Location, Store};

const TARGETS: u64 = 4;
const STEPS: usize = 120;
const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// The world: one database, the node's writer, two workers, people.
struct World {
    store: Store,
    writer: Writer,
    clock: Clock,
    random: Random,
    series: Vec<Arc<Series>>,
    workers: Vec<Worker>,
    /// Leases of workers that were lost: what they say must not count.
    gone: Vec<Lease>,
    acknowledged: i64,
    paused: bool,
    disabled: HashSet<String>,
    actions: i64,
    /// When a retry was granted.
    retries: Vec<Timestamp>,
    _dir: tempfile::TempDir,
}

fn spec(name: &str, action: &str) -> Box<Spec> {
    let rails = json!({"cooldown": "0s", "settle": "5s", "breaker": 100, "flapping": {"changes": 100},
        "max_actions": 8, "blast_radius": {"max": 100}, "mass_failure": {"targets": 100}});
    Box::new(Spec {
        name: name.to_owned(),
        description: String::new(),
        severity: Severity::Warning,
        target: "web-*".to_owned(),
        mode: Mode::Auto,
        condition: json!({"type": "metric_exceeds", "metric": "heat", "threshold": 90}),
        clear: None,
        action: action.to_owned(),
        params: serde_json::Map::new(),
        steps: Vec::new(),
        guardrails: serde_json::from_value(rails).unwrap(),
        approval: crate::domain::approval::Terms::default(),
    })
}

fn everywhere() -> Everywhere {
    let (window, max_actions, max_retries) = (Duration::from_mins(10), 30, 1);
    Everywhere { max_actions, window, max_retries, opposites: Arc::default(), plugins: Arc::default() }
}

fn promise(kept: bool, what: &str) -> Result<(), String> {
    if kept { Ok(()) } else { Err(what.to_owned()) }
}

impl World {
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(dir.path().join("vigil.db"));
        let store = Store::open(location, Durability::Scratch, 1).await.unwrap().within(everywhere());
        store.migrate("life").await.unwrap();
        let add = |name: &str, action: &str| Change::Add {
            spec: spec(name, action),
            enabled: true,
            source: Source::Api,
            declared: None,
        };
        // One may be repeated, the other may not.
        let changes = [add("mild", "restart"), add("harsh", "charge")];
        store.change_policies(&changes, "test", BEGIN).await.unwrap();
        let clock = Clock::manual(BEGIN);
        let writer = writer(&store, &clock);
        let series = |n: u64| {
            let tags = Tags::from([("service".to_owned(), format!("web-{n}"))]);
            let target = Target::resolve(&tags).unwrap();
            Arc::new(Series::new("heat".to_owned(), tags, target))
        };
        Self {
            store,
            writer,
            clock,
            random: Random(seed),
            series: (0..TARGETS).map(series).collect(),
            workers: vec![Worker::new(0), Worker::new(1)],
            gone: Vec::new(),
            acknowledged: 0,
            paused: false,
            disabled: HashSet::new(),
            actions: 0,
            retries: Vec::new(),
            _dir: dir,
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        self.clock.advance(Duration::from_micros(1_000));
        match self.random.below(20) {
            0..=4 => self.events().await?,
            5 => {
                let by = self.random.seconds(90);
                self.clock.advance(by);
                self.writer.tick().await;
            }
            6..=10 => self.claim().await?,
            11..=14 => self.finish().await?,
            15 => self.lose_a_worker().await,
            16 => self.late_answer().await?,
            17 | 18 => self.person().await?,
            _ => self.unreadable().await?,
        }
        match self.store.broken_promise().await.unwrap() {
            Some(what) => Err(what.to_owned()),
            None => Ok(()),
        }
    }

    fn event(&mut self, hot: bool) -> Event {
        let at = usize::try_from(self.random.below(TARGETS)).unwrap();
        let age = if self.random.below(8) == 0 { self.random.seconds(280) } else { Duration::ZERO };
        let observed_at = self.clock.now().before(age);
        let value = if hot { 95.0 } else { 10.0 };
        let series = Arc::clone(&self.series[at]);
        Event { series, value, observed_at, timed: false, mark: Mark::Real }
    }

    /// Events are taken in: what is acknowledged is stored.
    async fn events(&mut self) -> Result<(), String> {
        let count = 1 + self.random.below(3);
        let mut events = Vec::new();
        for _ in 0..count {
            let hot = self.random.below(3) > 0;
            events.push(self.event(hot));
        }
        self.take(events).await
    }

    async fn take(&mut self, events: Vec<Event>) -> Result<(), String> {
        let count = i64::try_from(events.len()).unwrap();
        let request = Request { events, many: true, warnings: Vec::new(), key: None };
        for answer in self.writer.record(&[&request]).await.map_err(|wrong| format!("{wrong:?}"))? {
            answer.map_err(|wrong| format!("an event was refused: {wrong:?}"))?;
        }
        self.acknowledged += count;
        let stored = self.store.samples_stored().await.unwrap();
        promise(stored == self.acknowledged, "an event was acknowledged and is not stored")
    }

    /// A row that limits actions can't be read for a while: nothing is done, once somebody is told, and no event is lost.
    async fn unreadable(&mut self) -> Result<(), String> {
        let shared = self.random.below(2) == 0 && !self.paused;
        let before = self.clock.now();
        let spoiled = self.store.spoil(shared).await.unwrap();
        for _ in 0..2 {
            self.clock.advance(Duration::from_micros(10));
            self.all_hot().await?;
        }
        if shared {
            let made = self.store.made_since(before).await.unwrap();
            promise(made == 0, "acted although what limits actions could not be read")?;
        }
        let told = self.writer.alarms();
        let sees = self.disabled.is_empty() && spoiled > 0;
        promise(!sees || told > 0, "nobody was told that what limits actions can't be read")?;
        promise(!shared || told <= 1, "told more than once")?;
        self.store.mend().await.unwrap();
        self.all_hot().await?;
        promise(!self.disabled.is_empty() || self.writer.alarms() == 0, "the alarm did not end")
    }

    async fn all_hot(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        let hot = |series: &Arc<Series>| {
            let (series, observed_at) = (Arc::clone(series), now);
            Event { series, value: 95.0, observed_at, timed: false, mark: Mark::Real }
        };
        let events = self.series.iter().map(hot).collect();
        self.take(events).await
    }
}

/// The first promise that a history breaks, if it does.
async fn broken(seed: u64) -> Option<String> {
    let mut world = World::new(seed).await;
    for at in 0..STEPS {
        if let Err(why) = world.step().await {
            return Some(format!("seed {seed}, step {at}: {why}"));
        }
    }
    None
}

fn seeds() -> u64 {
    if std::env::var_os("VIGIL_CAMPAIGN").is_some_and(|value| value == "1") { 1_000 } else { 24 }
}

#[tokio::test]
async fn nothing_is_stored_that_must_never_be() {
    let begun = std::time::Instant::now();
    let mut acted = 0;
    for seed in 0..seeds() {
        let mut world = World::new(seed).await;
        for at in 0..STEPS {
            if let Err(why) = world.step().await {
                panic!("seed {seed}, step {at}: {why}");
            }
        }
        acted += world.actions;
    }
    println!("{} histories of {STEPS} steps in {:?}: {acted} attempts", seeds(), begun.elapsed());
    assert!(acted > 100, "histories in which little happens prove little: {acted}");
}

#[tokio::test]
async fn each_safety_of_the_store_taken_away_is_missed() {
    let mut missed = BTreeMap::new();
    for fault in STORED {
        PLANTED.set(Some(fault));
        let mut found = None;
        for seed in 0..200 {
            found = broken(seed).await;
            if found.is_some() {
                break;
            }
        }
        PLANTED.set(None);
        println!("without {fault:?}: {}", found.as_deref().unwrap_or("nobody noticed"));
        missed.insert(format!("{fault:?}"), found);
    }
    assert!(missed.values().all(Option::is_some), "{missed:?}");
}
