//! Approvals against a model: random histories of requests, answers, changes of plugin and policy, waits and dispatches.
//! Whatever runs is held against the answers as they were given, counted anew. Each safety is taken away once and must be
//! missed.

use std::collections::BTreeMap;

use super::*;
use crate::domain::mutant::{APPROVALS, PLANTED};

const STEPS: usize = 200;
const PEOPLE: u64 = 5;

/// splitmix64, public domain, by Sebastiano Vigna.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn plan(version: u64, digest: u64) -> ActionPlan {
    ActionPlan {
        policy: "p".to_owned(),
        policy_id: 1,
        policy_version: i64::try_from(version).unwrap_or(0),
        action: "restart".to_owned(),
        target: "web-1".to_owned(),
        params: serde_json::json!({"graceful": true}),
        plugin: Some("supervisor".to_owned()),
        digest: Some(format!("{digest}")),
        plugin_action: Some("restart".to_owned()),
        grant: Some("g".to_owned()),
        connections: BTreeMap::from([("supervisor".to_owned(), "local@1".to_owned())]),
        calls: None,
    }
}

/// What was asked, and every answer to it that has to count.
struct Asked {
    request: Request,
    required: usize,
    barred: Option<u64>,
    until: Timestamp,
    said: Vec<(u64, String)>,
    /// It came to nothing.
    over: bool,
    /// It has run: no worker is offered it again.
    taken: bool,
}

struct World {
    random: Random,
    now: Timestamp,
    version: u64,
    digest: u64,
    /// Hashes by (version, digest), since they take long.
    hashes: BTreeMap<(u64, u64), String>,
    asked: Option<Asked>,
    ran: usize,
    refused: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            now: Timestamp::from_micros(1_800_000_000_000_000),
            version: 1,
            digest: 0,
            hashes: BTreeMap::new(),
            asked: None,
            ran: 0,
            refused: 0,
        }
    }

    fn hash(&mut self, version: u64, digest: u64) -> String {
        self.hashes.entry((version, digest)).or_insert_with(|| plan(version, digest).hash()).clone()
    }

    fn current(&mut self) -> String {
        self.hash(self.version, self.digest)
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(16) {
            0..=6 => self.yes(),
            7 if self.random.below(3) == 0 => self.end(State::Rejected),
            8 if self.random.below(4) == 0 => self.end(State::Withdrawn),
            9 => self.digest = self.random.below(2),
            10 if self.random.below(6) == 0 => self.version += 1,
            11 => self.now = self.now.after(Duration::from_secs(self.random.below(600))),
            12 => self.expire(),
            13 | 14 => return self.dispatch(),
            _ => self.ask(),
        }
        Ok(())
    }

    /// One open request at a time; a new one where there is none.
    fn ask(&mut self) {
        if self.asked.as_ref().is_some_and(|asked| !asked.over && !asked.taken) {
            return;
        }
        let required = self.random.below(3) + 1;
        let barred = (self.random.below(3) == 0).then_some(0);
        let until = self.now.after(Duration::from_mins(30));
        let request = Request {
            state: State::Waiting,
            required: u32::try_from(required).unwrap_or(1),
            barred: barred.map(|who: u64| format!("token:{who}")),
            expires_at: until,
            votes: Vec::new(),
            hash: self.current(),
        };
        let required = usize::try_from(required).unwrap_or(1);
        self.asked =
            Some(Asked { request, required, barred, until, said: Vec::new(), over: false, taken: false });
    }

    /// Somebody says yes to the plan of now, or to another one, or to one that never was.
    fn yes(&mut self) {
        let (who, now) = (self.random.below(PEOPLE), self.now);
        let current = self.current();
        let to = match self.random.below(6) {
            0 => self.hash(self.version, 1 - self.digest),
            1 => "0".repeat(64),
            _ => current.clone(),
        };
        let Some(asked) = &mut self.asked else { return };
        let nobody = asked.request.clone().approve(None, (&to, &current), now);
        assert!(nobody.is_err(), "nobody in particular said yes");
        let by = format!("token:{who}");
        let before = (asked.request.state, asked.request.votes.len());
        let counted = asked.request.approve(Some(&by), (&to, &current), now);
        if counted.is_err() {
            self.refused += 1;
            assert_eq!(before, (asked.request.state, asked.request.votes.len()), "a refusal changes nothing");
        }
        // By the words of the product, whatever the code says.
        let in_time = now < asked.until && before.0 == State::Waiting;
        if in_time && to == current && asked.barred != Some(who) {
            asked.said.push((who, to));
        }
    }

    fn end(&mut self, state: State) {
        let now = self.now;
        let Some(asked) = &mut self.asked else { return };
        if asked.request.end(state, now).is_ok() {
            asked.over = true;
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        let Some(asked) = &mut self.asked else { return };
        if asked.request.expire(now) {
            assert!(now >= asked.until, "expired too soon");
            asked.over = true;
        }
    }

    /// A worker takes it, if it may: is every promise kept?
    fn dispatch(&mut self) -> Result<(), String> {
        let current = self.current();
        let Some(asked) = self.asked.as_mut().filter(|asked| !asked.taken) else { return Ok(()) };
        if !may_run(asked.request.state, &asked.request.hash, &current) {
            // What diverged is over; a new one may be asked for.
            if asked.request.state == State::Approved {
                asked.request.state = State::Diverged;
                asked.over = true;
            }
            return Ok(());
        }
        if asked.over {
            return Err("ran after it was over".to_owned());
        }
        let who: BTreeSet<u64> =
            asked.said.iter().filter(|(_, hash)| *hash == current).map(|(who, _)| *who).collect();
        if who.len() < asked.required {
            return Err(format!("ran with the yes of {who:?}, and it takes {}", asked.required));
        }
        asked.taken = true;
        self.ran += 1;
        Ok(())
    }
}

fn broken(seed: u64) -> Option<String> {
    let mut world = World::new(seed);
    (0..STEPS).find_map(|at| world.step().err().map(|why| format!("seed {seed}, step {at}: {why}")))
}

fn seeds(short: u64) -> u64 {
    if std::env::var_os("VIGIL_CAMPAIGN").is_some_and(|value| value == "1") { 10_000 } else { short }
}

#[test]
fn nothing_runs_without_enough_people_s_yes_to_exactly_that() {
    let (begun, count) = (std::time::Instant::now(), seeds(1_000));
    for seed in 0..count {
        assert_eq!(broken(seed), None);
    }
    let (mut ran, mut refused) = (0, 0);
    for seed in 0..20 {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step().unwrap_or_default());
        (ran, refused) = (ran + world.ran, refused + world.refused);
    }
    println!(
        "{count} histories of {STEPS} steps in {:?}; 20 of them: {ran} ran, {refused} refusals",
        begun.elapsed()
    );
    assert!(ran > 40 && refused > 200, "histories in which little happens prove little: {ran} {refused}");
}

#[test]
fn each_safety_of_approvals_taken_away_is_missed() {
    let mut missed = Vec::new();
    for fault in APPROVALS {
        PLANTED.set(Some(fault));
        let found = std::panic::catch_unwind(|| (0..seeds(2_000)).find_map(broken));
        PLANTED.set(None);
        let found = found.unwrap_or_else(|_| Some("an assertion".to_owned()));
        println!("without {fault:?}: {}", found.as_deref().unwrap_or("nobody noticed"));
        missed.extend(found.is_none().then_some(fault));
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_hash_tells_everything_apart_that_would_run() {
    let base = plan(1, 0);
    assert_eq!(base.hash(), plan(1, 0).hash());
    assert_eq!(base.hash().len(), 64);
    assert!(base.changes(&base).is_empty());
    let with = |change: &dyn Fn(&mut ActionPlan)| {
        let mut plan = base.clone();
        change(&mut plan);
        plan
    };
    let others = [
        with(&|plan| plan.policy_id = 2),
        with(&|plan| plan.policy_version = 2),
        with(&|plan| plan.action = "scale".to_owned()),
        with(&|plan| plan.target = "web-2".to_owned()),
        with(&|plan| plan.params = serde_json::json!({"graceful": false})),
        with(&|plan| plan.plugin = None),
        with(&|plan| plan.digest = Some("1".to_owned())),
        with(&|plan| plan.plugin_action = None),
        with(&|plan| plan.grant = None),
        with(&|plan| plan.connections = BTreeMap::new()),
        with(&|plan| plan.connections = BTreeMap::from([("supervisor".into(), "local@2".into())])),
    ];
    let hashes: BTreeSet<String> = others.iter().chain([&base]).map(ActionPlan::hash).collect();
    assert_eq!(hashes.len(), others.len() + 1, "no two are alike");
    for other in &others {
        assert_eq!(base.changes(other).len(), 1, "it is named: {other:?}");
    }
    // The order of members in the text that it was read from says nothing.
    let (one, two) = (r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{"b":{"d":3,"c":2},"a":1}"#);
    let read = |text: &str| with(&|plan| plan.params = serde_json::from_str(text).unwrap()).hash();
    assert_eq!(read(one), read(two));
}
