//! Invariant 18: what plan mode finds equals what the live run does, up to and including the first call that would change
//! something; nothing outside is changed. Shown with a real sandbox, real connections, and random sequences of calls whose
//! course depends on what is read; each fault of plan mode is found by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request as Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::{CallRecord, CallState, ConnectionSettings, Ended, Grant, Guard, Report, Request, Route};
use super::{Host, guard, hostile, request, small};
use crate::domain::mutant::{PLANS, PLANTED};
use crate::domain::plan::PlannedCall;

/// What the letters of a script do: all that a rule calls a write, whatever its method.
const LETTERS: &[u8] = b"ghqpuxdr";
const WRITES: &str = "puxdr";
/// Sequences of one round.
const ROUNDS: u64 = 400;

/// A world that answers, counts and remembers.
struct World {
    seen: Arc<Mutex<Vec<String>>>,
    host: Host,
    _tasks: JoinSet<()>,
}

impl World {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Incoming| {
            let path = request.uri().path().to_owned();
            // The same question has the same answer; every third makes the guest go another way.
            let skip = path.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte)) % 3 == 0;
            kept.lock().unwrap().push(path);
            std::future::ready(if skip { "skip" } else { "go on" })
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let connection: ConnectionSettings = toml::from_str(&format!(
            r#"url = "http://{address}"
            allow = [
              {{ methods = ["POST"], path = "/q*", effect = "read" }},
              {{ methods = ["GET"], path = "/r*", effect = "write", plan = {{ status = 201, body = "so" }} }},
              "GET,HEAD,POST,PUT,PATCH,DELETE /*",
            ]"#
        ))
        .unwrap();
        let component = hostile::scripted();
        let mut settings = small();
        settings.connections.insert("outside".to_owned(), connection);
        settings.grants.push(Grant {
            plugin: "scripted".to_owned(),
            digest: Some(hostile::digest_of(&component)),
            connections: BTreeMap::from([("world".to_owned(), "outside".to_owned())]),
            config: serde_json::Map::new(),
        });
        let host = Host::with(settings, &[("scripted", component)]).await;
        Self { seen, host, _tasks: tasks }
    }

    fn asked(&self, script: &str) -> (Route, Request) {
        let route = self.host.plugins.route("scripted", "web").unwrap();
        let mut request = request(&route);
        script.clone_into(&mut request.target.name);
        (route, request)
    }

    /// The report of a plan, and the paths that the world saw.
    async fn plan(&self, script: &str) -> (Report, Vec<String>) {
        let (route, request) = self.asked(script);
        let report = self.host.plugins.plan(&route, &request, CancellationToken::new()).await.unwrap();
        (report, std::mem::take(&mut *self.seen.lock().unwrap()))
    }

    async fn run(&self, script: &str, guard: Guard) -> (Report, Vec<String>) {
        let (route, request) = self.asked(script);
        let report = self.host.plugins.execute(&route, request, guard).await;
        (report, std::mem::take(&mut *self.seen.lock().unwrap()))
    }

    /// Whether a script keeps the invariant; the error says how it does not.
    async fn holds(&self, script: &str) -> Result<(), String> {
        let wrong = |what: &str, it: &dyn std::fmt::Debug| Err(format!("{script}: {what}: {it:?}"));
        let (plan, reached) = self.plan(script).await;
        if !matches!(plan.result, Ended::Ok(_)) {
            return wrong("the plan ended badly", &plan.result);
        }
        if reached.iter().any(|path| WRITES.contains(&path[1..2])) {
            return wrong("plan mode changed something", &reached);
        }
        let read: Vec<&String> =
            plan.calls.iter().map(|call| &call.path).filter(|path| !WRITES.contains(&path[1..2])).collect();
        if read != reached.iter().collect::<Vec<_>>() {
            return wrong("not every read reached the other side", &(read, reached));
        }
        let (live, _) = self.run(script, guard()).await;
        let (foretold, done) = (up_to_first(&plan.calls), up_to_first(&live.calls));
        if foretold != done {
            return wrong("the live run is another one", &(foretold, done));
        }
        if plan.calls.iter().any(|call| (call.state == CallState::Planned) != call.mutating) {
            return wrong("what is written down is what changes something", &plan.calls);
        }
        Ok(())
    }
}

/// The calls up to and including the first that changes something, by the world's own reckoning.
fn up_to_first(calls: &[CallRecord]) -> Vec<(bool, PlannedCall)> {
    let first = calls.iter().position(|call| WRITES.contains(&call.path[1..2]));
    let upto = first.map_or(calls.len(), |first| first + 1);
    calls[..upto].iter().map(|call| (call.mutating, bare(call))).collect()
}

fn bare(call: &CallRecord) -> PlannedCall {
    PlannedCall {
        connection: call.connection.clone(),
        method: call.method.clone(),
        path: call.path.clone(),
        body_hash: call.body_hash.clone(),
    }
}

/// A script of up to 12 letters; splitmix64.
fn script(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = |end: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end).unwrap()
    };
    // Reads are likelier, so that the first write comes late now and then.
    let letters = (0..=next(12)).map(|_| if next(3) > 0 { next(3) } else { next(LETTERS.len() as u64) });
    letters.map(|at| char::from(LETTERS[at])).collect()
}

#[tokio::test]
async fn plan_mode_equals_live_up_to_the_first_change_and_changes_nothing() {
    let world = World::new().await;
    let (mut changing, mut skipped) = (0, 0);
    for seed in 0..ROUNDS {
        let script = script(seed);
        world.holds(&script).await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        changing += u64::from(script.chars().any(|letter| WRITES.contains(letter)));
        skipped += u64::from(world.plan(&script).await.0.calls.len() < script.len());
    }
    println!("{ROUNDS} sequences, {changing} of them with a change, {skipped} that a read has turned");
    assert!(changing > ROUNDS / 2 && skipped > ROUNDS / 4, "{changing} {skipped}");
}

#[tokio::test]
async fn each_fault_of_plan_mode_is_found() {
    let world = World::new().await;
    for fault in PLANS {
        let mut found = None;
        for seed in 0..ROUNDS {
            // The runtime has but this thread, on which plan mode settles what it keeps to.
            PLANTED.set(Some(fault));
            let holds = world.holds(&script(seed)).await;
            PLANTED.set(None);
            if let Err(why) = holds {
                found = Some((seed, why));
                break;
            }
        }
        let (seed, why) = found.unwrap_or_else(|| panic!("nobody notices {fault:?}"));
        println!("{fault:?} is found by seed {seed}: {why}");
    }
}

#[tokio::test]
async fn what_is_planned_is_told_and_answered_as_configured() {
    let world = World::new().await;
    let (report, seen) = world.plan("gpr").await;
    assert_eq!(seen, ["/g00"]);
    let told: Vec<_> = report.calls.iter().map(|c| (c.n, c.path.as_str(), c.state, c.status)).collect();
    let expected = [
        (1, "/g00", CallState::Done, Some(200)),
        (2, "/p01", CallState::Planned, Some(202)),
        (3, "/r02", CallState::Planned, Some(201)),
    ];
    assert_eq!(told, expected);
    assert_eq!(report.calls[1].body.as_deref(), Some("/p01"));
    assert_eq!(report.calls[1].body_hash.as_deref().map(str::len), Some(64));
    assert_eq!(report.calls[0].body_hash, None);
    // An answer that begins with `s` is heeded, whoever gave it.
    let (report, _) = world.plan("rgg").await;
    assert_eq!(report.calls.len(), 2, "{:?}", report.calls);
}

#[tokio::test]
async fn an_approved_run_makes_the_planned_changes_and_no_other() {
    let world = World::new().await;
    let bound = |calls: &[CallRecord]| {
        let changes = calls.iter().filter(|call| call.mutating).map(bare);
        Guard { bound: Some(changes.collect()), ..guard() }
    };
    let script = "gpqu";
    let (plan, _) = world.plan(script).await;
    assert_eq!(plan.calls.iter().filter(|call| call.mutating).count(), 2, "{:?}", plan.calls);
    let (live, seen) = world.run(script, bound(&plan.calls)).await;
    assert!(matches!(live.result, Ended::Ok(_)), "{:?}", live.result);
    assert_eq!(seen, ["/g00", "/p01", "/q02", "/u03"]);
    // The same plan, another run: what was not planned does not leave, nor does what would follow it.
    for other in ["gxqu", "gdpu"] {
        let (live, seen) = world.run(other, bound(&plan.calls)).await;
        let Ended::Denied(why) = &live.result else { panic!("{other}: {:?}", live.result) };
        assert!(why.starts_with("plan_diverged: "), "{why}");
        assert!(seen.iter().all(|path| !WRITES.contains(&path[1..2])), "{other}: {seen:?}");
    }
    let (nothing, seen) = world.run("p", Guard { bound: Some(Vec::new()), ..guard() }).await;
    assert_eq!((nothing.result.kind(), seen.len()), ("denied", 0));
}

#[tokio::test]
async fn only_so_many_plans_are_made_at_once() {
    let host = Host::hostile(small(), &["sleeps"]).await;
    let route = host.plugins.route("sleeps", "web").unwrap();
    let (asked, stop) = (request(&route), CancellationToken::new());
    let one = || host.plugins.plan(&route, &asked, stop.clone());
    tokio::select! {
        _ = one() => panic!("it ended"),
        _ = one() => panic!("it ended"),
        () = async {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            assert!(one().await.is_none(), "a third is made");
        } => {}
    }
    stop.cancel();
    assert!(one().await.is_some(), "those that were dropped have left their places");
}
