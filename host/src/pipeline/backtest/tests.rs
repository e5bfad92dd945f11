//! A back-test comes to the decisions that were made live, byte for byte: the writer, the store and its claims record a
//! busy while in virtual time, and what was recorded is lived again.

pub(in crate::pipeline) mod asked;
mod month;
mod policies;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::policies::{everywhere, policy};
use super::{Compared, Outcome, Wanted, run};
use crate::clock::Clock;
use crate::config::{Config, Inputs, Settings};
use crate::domain::Timestamp;
use crate::domain::action::Effects;
use crate::domain::event::{Event, Mark, Series, Tags, Target};
use crate::domain::policy::Source;
use crate::domain::silence::Wish;
use crate::engine::Limits;
use crate::metrics::Metrics;
use crate::pipeline::ingest::{Parts, Request, Writer};
use crate::pipeline::model::scene::Random;
use crate::pipeline::rehearsal::{Assumed, Stage};
use crate::pipeline::settings::Live;
use crate::queue::Queue;
use crate::store::{
    Change, Dispatch, Durability, Ending, Finished, Lease, Location, Planned, Silenced, Store,
};

const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const METRICS: [&str; 4] = ["cpu", "memory", "errors", "queue"];
const LOOKBACK: Duration = Duration::from_mins(5);

/// How much is recorded.
struct Size {
    seconds: u64,
    targets: u64,
    policies: u64,
    events_per_second: u64,
}

fn size() -> Size {
    if std::env::var_os("VIGIL_CAMPAIGN").is_some_and(|value| value == "1") {
        Size { seconds: 3_600, targets: 300, policies: 200, events_per_second: 290 }
    } else {
        Size { seconds: 900, targets: 40, policies: 40, events_per_second: 24 }
    }
}

/// The live half: what a server does, by the very writer, store and claims, with a clock that we turn.
struct Server {
    store: Store,
    writer: Writer,
    clock: Clock,
    random: Random,
    series: BTreeMap<(u64, usize), Arc<Series>>,
    sick: Vec<bool>,
    running: Vec<(Timestamp, Lease)>,
    events: usize,
    paused: bool,
    silenced: Vec<i64>,
    /// Actions that people were asked about, in order.
    asked: Vec<i64>,
    _dir: tempfile::TempDir,
}

fn stage() -> Stage {
    let flags = BTreeMap::from([("server.data_dir", "/nowhere".to_owned())]);
    let config = Config::load(&Inputs { flags, ..Inputs::default() }).unwrap();
    let mut settings = Settings::of(&config);
    settings.policy.interval = 15.0;
    Stage { lookback: LOOKBACK, settings: Live::new(settings, Arc::new(|_| ())), everywhere: everywhere() }
}

/// The writer of a server with that database and that time.
pub(in crate::pipeline) fn writer(store: &Store, clock: &Clock) -> Writer {
    Writer::new(Parts {
        store: store.clone(),
        queue: Queue::embedded(),
        metrics: Arc::new(Metrics::new().unwrap()),
        clock: clock.clone(),
        limits: Limits { lookback: LOOKBACK, sparing: false },
        settings: stage().settings,
        node: "live".to_owned(),
        plugins: None,
        pushes: false,
        policies: Arc::new(RwLock::default()),
    })
}

impl Server {
    async fn new(size: &Size, seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(dir.path().join("vigil.db"));
        let store = Store::open(location, Durability::Scratch, 1).await.unwrap().within(everywhere());
        store.migrate("live").await.unwrap();
        let mut random = Random(seed);
        let add = |number| Change::Add {
            spec: Box::new(policy(number, size, &mut random)),
            enabled: true,
            source: Source::Api,
            declared: None,
        };
        let changes: Vec<Change> = (0..size.policies).map(add).collect();
        store.change_policies(&changes, "test", BEGIN).await.unwrap();
        let clock = Clock::manual(BEGIN);
        let writer = writer(&store, &clock);
        Self {
            store,
            writer,
            clock,
            random,
            series: BTreeMap::new(),
            sick: vec![false; size.targets as usize],
            running: Vec::new(),
            events: 0,
            paused: false,
            silenced: Vec::new(),
            asked: Vec::new(),
            _dir: dir,
        }
    }

    fn event(&mut self, size: &Size) -> Event {
        let (target, metric) = (self.random.below(size.targets), self.random.below(4) as usize);
        let series = self.series.entry((target, metric)).or_insert_with(|| {
            let name = format!("web-{target}");
            let mut tags = Tags::from([("service".to_owned(), name)]);
            if let Some(zone) = [Some("a"), Some("b"), None][target as usize % 3] {
                tags.insert("zone".to_owned(), zone.to_owned());
            }
            let named = Target::resolve(&tags).unwrap();
            Arc::new(Series::new(METRICS[metric].to_owned(), tags, named))
        });
        let series = Arc::clone(series);
        let sick = self.sick[target as usize];
        let value = if sick { 60 + self.random.below(45) } else { 2 + self.random.below(70) } as f64;
        let late = if self.random.below(30) == 0 { self.random.seconds(200) } else { Duration::ZERO };
        let observed_at = self.clock.now().before(late);
        Event { series, value, observed_at, timed: self.random.below(3) == 0, mark: Mark::Real }
    }

    /// One second: events in one to three transactions, claims, ends, sometimes people.
    async fn second(&mut self, size: &Size, second: u64) {
        if self.random.below(8) == 0 {
            let storm = self.random.below(25) == 0;
            for at in 0..self.sick.len() {
                if storm || self.random.below(12) == 0 {
                    self.sick[at] = storm || self.random.below(4) == 0;
                }
            }
        }
        let parts = 1 + self.random.below(3);
        for _ in 0..parts {
            self.clock.advance(Duration::from_micros(300_000 + self.random.below(9_000)));
            let count = size.events_per_second / parts + self.random.below(4);
            let events: Vec<Event> = (0..count).map(|_| self.event(size)).collect();
            self.events += events.len();
            let request = Request { events, many: true, warnings: Vec::new(), key: None };
            for answer in self.writer.record(&[&request]).await.unwrap() {
                answer.unwrap();
            }
        }
        self.work().await;
        if second % 15 == 7 {
            self.clock.advance(Duration::from_micros(700));
            self.writer.tick().await;
        }
        self.people(second).await;
        self.answers().await;
        let whole = BEGIN.after(Duration::from_secs(second + 1));
        self.clock.reach(whole);
    }

    async fn work(&mut self) {
        self.clock.advance(Duration::from_micros(11));
        let now = self.clock.now();
        let dispatch = Dispatch {
            plugin: "test".to_owned(),
            digest: "sha256:0".to_owned(),
            effects: Effects::Idempotent,
        };
        let claimed = self.store.claim("live", 50, now, |_| Planned::Run(dispatch.clone())).await.unwrap();
        for lease in claimed.leases {
            self.running.push((now.after(self.random.seconds(40)), lease));
        }
        let (ended, running) = self.running.drain(..).partition(|(at, _)| *at <= now);
        self.running = running;
        let ended: Vec<(Timestamp, Lease)> = ended;
        for (_, lease) in ended {
            self.clock.advance(Duration::from_micros(1));
            let ending = match self.random.below(10) {
                0 => Ending::Dead { error: "it did not work".to_owned() },
                1 => Ending::Uncertain { error: "nobody saw it".to_owned() },
                2 => Ending::Retry { error: "later".to_owned(), delay: Duration::from_secs(2) },
                _ => Ending::Succeeded { summary: "done".to_owned() },
            };
            let helped = matches!(ending, Ending::Succeeded { .. }) && self.random.below(2) == 0;
            let done = Finished {
                ending,
                outcome: "test",
                message: String::new(),
                result: Value::Null,
                logs: Value::Null,
                calls: Vec::new(),
            };
            self.store.finish(&lease, &done, self.clock.now()).await.unwrap();
            let target = lease.task.target.strip_prefix("web-").and_then(|n| n.parse::<usize>().ok());
            if let Some(sick) = target.filter(|_| helped).and_then(|at| self.sick.get_mut(at)) {
                *sick = false;
            }
        }
        self.clock.advance(Duration::from_micros(1));
        self.store.sweep(self.clock.now(), Duration::from_secs(10)).await.unwrap();
    }

    /// Now and then a person pauses everything, lets it go on, or makes an action by hand.
    async fn people(&mut self, second: u64) {
        self.clock.advance(Duration::from_micros(13));
        let now = self.clock.now();
        if second % 211 == 100 {
            let until = (self.random.below(2) == 0).then(|| now.after(Duration::from_secs(25)));
            self.store.pause(until, ("ann", "looking"), now).await.unwrap();
            self.paused = true;
        } else if self.paused && second % 211 == 140 {
            self.store.resume("ann", now).await.unwrap();
            self.paused = false;
        } else if second % 53 == 20 {
            // Sometimes until somebody ends it, sometimes by itself, and once in a while said anew.
            let wish = quiet(&mut self.random, now);
            if let Silenced::Done(made) = self.store.add_silence(wish, "ann", now).await.unwrap() {
                self.silenced.push(made.id);
            }
        } else if second % 53 == 40 {
            let Some(id) = self.silenced.pop() else { return };
            if self.random.below(2) == 0 {
                self.store.expire_silence(id, ("bob", |_| true), now).await.unwrap();
            } else {
                let wish = quiet(&mut self.random, now);
                self.store.replace_silence(id, wish, ("bob", |_| true), now).await.unwrap();
            }
        } else if second % 37 == 5 {
            let mut draft = asked::by_hand(format!("web-{}", self.random.below(40)), self.clock.id());
            self.store.create_action(&mut draft, None, "ann", now).await.unwrap();
        }
    }
}

/// Some targets, a policy or all, for a time.
fn quiet(random: &mut Random, now: Timestamp) -> Wish {
    let selector = ["target=~web-.*[1-4]", "policy=~policy-.*[05]", "target=~.+"];
    let matchers = vec![selector[usize::try_from(random.below(3)).unwrap_or(0)].to_owned()];
    let ends_at = Some(now.after(Duration::from_secs(5 + random.below(40))));
    Wish { matchers, starts_at: now, ends_at, recurring: None, comment: "release".to_owned() }
}

async fn recorded(size: &Size, seed: u64) -> (Server, Wanted) {
    let mut server = Server::new(size, seed).await;
    for second in 0..size.seconds {
        server.second(size, second).await;
    }
    let (policies, _) = server.store.policies().await.unwrap();
    let wanted = Wanted {
        policies,
        from: BEGIN,
        to: server.clock.now().after(Duration::from_secs(1)),
        assumed: Assumed::default(),
        as_it_was: true,
        limit: 100_000,
    };
    (server, wanted)
}

async fn lived(server: &Server, wanted: &Wanted) -> Outcome {
    run(&server.store, &stage(), wanted, &CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn it_comes_to_the_decisions_that_were_made_live() {
    let size = size();
    let begun = std::time::Instant::now();
    let (server, wanted) = recorded(&size, 7).await;
    let took = begun.elapsed();
    let outcome = lived(&server, &wanted).await;
    let Compared { recorded, rehearsed, difference } = outcome.live.clone().unwrap();
    if let Some((recorded, rehearsed)) = &difference {
        panic!(
            "recorded  {}\nrehearsed {}",
            recorded.as_deref().unwrap_or("-"),
            rehearsed.as_deref().unwrap_or("-")
        );
    }
    let words: BTreeMap<&str, i64> =
        outcome.tally.iter().fold(BTreeMap::new(), |mut all, (_, word, count)| {
            *all.entry(word.as_str()).or_default() += count;
            all
        });
    println!(
        "{} events, {} policies: recorded in {took:?}, {recorded} decisions = {rehearsed}, {} actions, {words:?}, in all {:?}",
        server.events,
        size.policies,
        outcome.counts.actions,
        begun.elapsed()
    );
    assert!(recorded > 100 && outcome.counts.actions > 20, "{recorded} decisions");
    let usual =
        ["act", "observe", "settling", "cooldown", "incident_open", "paused", "silenced", "handed_over"];
    for word in usual.into_iter().chain(asked::WORDS) {
        assert!(words.contains_key(word), "{word} never happened: {words:?}");
    }
}

#[tokio::test]
async fn a_policy_that_is_stricter_decides_otherwise_and_is_seen_to() {
    let size = Size { seconds: 300, targets: 20, policies: 12, events_per_second: 20 };
    let (server, mut wanted) = recorded(&size, 3).await;
    for policy in &mut wanted.policies {
        policy.spec.guardrails.cooldown += Duration::from_hours(1);
        policy.spec.guardrails.settle += Duration::from_secs(30);
    }
    let outcome = lived(&server, &wanted).await;
    assert!(outcome.live.unwrap().difference.is_some(), "a difference is not noticed");
}
