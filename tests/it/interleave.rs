//! The ledger under random interleavings: two nodes, ten policies on the same targets, and people, all at the same moment
//! again and again. Afterwards every window of every budget is counted anew from what was reserved.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting, ask, campaign, config};
use crate::support::{CountingTarget, Vigil};

const WINDOW: i64 = 2_000_000;
/// What each policy may do in a window, what may be done to `web-*`, and what all may do together.
const OF_POLICY: usize = 3;
const OF_FLEET: usize = 9;
const OF_ALL: usize = 12;
const POLICIES: usize = 10;
const TARGETS: u64 = 40;

/// splitmix64, public domain, by Sebastiano Vigna.
fn below(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % end
}

fn policy(number: usize) -> Value {
    json!({
        "name": format!("p-{number}"), "target": "web-*", "action": "custom", "auto_remediate": true,
        "condition": {"type": "metric_exceeds", "metric": "heat", "threshold": 90},
        "guardrails": {"cooldown": "0s", "settle": "0s", "max_actions": OF_POLICY, "window": "2s", "breaker": 100,
            "rest": "1s", "blast_radius": {"max": OF_FLEET}, "mass_failure": {"targets": 1_000_000}},
    })
}

/// One of three that act at the same moment, round after round. Answers how often an action came of it.
fn actor(server: &Vigil, seed: u64, (rounds, barrier): (usize, &Barrier), by_hand: bool) -> usize {
    let (mut state, mut acted) = (seed, 0);
    for _ in 0..rounds {
        let target = below(&mut state, TARGETS);
        barrier.wait();
        if by_hand {
            // On a target of the fleet or beside it.
            let name = if below(&mut state, 2) == 0 { "web" } else { "hand" };
            let body =
                json!({"target": format!("{name}-{target}"), "action": "custom", "queue_immediately": true});
            let made = server.post("/api/v1/actions", &body).expect(201).json();
            acted += usize::from(made["queued"] == true);
            continue;
        }
        let value = if below(&mut state, 3) == 0 { 10 } else { 95 };
        let metric = json!({"name": "heat", "value": value, "tags": {"service": format!("web-{target}")}});
        let answer = server.post("/api/v1/ingest", &metric).expect(201).json();
        acted += answer["actions_triggered"].as_array().unwrap().len();
    }
    acted
}

/// The most reservations that any window holds.
fn fullest(times: &[i64]) -> usize {
    let mut first = 0;
    let counts = times.iter().enumerate().map(|(at, time)| {
        while times[first] <= time - WINDOW {
            first += 1;
        }
        at + 1 - first
    });
    counts.max().unwrap_or(0)
}

fn no_window_is_exceeded(setting: Setting, nodes: usize) {
    let target = CountingTarget::start();
    let backend = Backend::new(setting);
    let config = config(&target.url())
        .replace("max_actions = 10_000_000", &format!("max_actions = {OF_ALL}\nwindow = \"2s\""));
    let config = format!("{config}\n[limits.rate]\nenabled = false\n");
    let servers: Vec<Vigil> = (0..nodes).map(|_| Vigil::start(backend.options(&config))).collect();
    for number in 0..POLICIES {
        servers[0].post("/api/v1/policies", &policy(number)).expect(201);
    }
    let rounds = if campaign() { 20_000 } else { 250 };
    let barrier = Barrier::new(3);
    let acted: usize = thread::scope(|scope| {
        let actors: Vec<_> = (0..3)
            .map(|n| {
                let (server, barrier) = (&servers[n % nodes], &barrier);
                scope.spawn(move || actor(server, 77 + n as u64, (rounds, barrier), n == 2))
            })
            .collect();
        actors.into_iter().map(|actor| actor.join().unwrap()).sum()
    });
    let database = backend.database.as_ref();
    let dir = servers[0].data_dir();
    let times = ask(database, &dir, "SELECT at FROM reservation ORDER BY at, action_id");
    let owners = ask(database, &dir, "SELECT policy_id FROM reservation ORDER BY at, action_id");
    let fleet: BTreeSet<i64> =
        ask(database, &dir, "SELECT action_id FROM reservation WHERE target LIKE 'web-%'")
            .into_iter()
            .collect();
    let ids = ask(database, &dir, "SELECT action_id FROM reservation ORDER BY at, action_id");
    let mut of_policy = BTreeMap::<i64, Vec<i64>>::new();
    for (at, owner) in times.iter().zip(&owners) {
        of_policy.entry(*owner).or_default().push(*at);
    }
    let policies = ask(database, &dir, "SELECT id FROM policy");
    let most = policies.iter().map(|id| fullest(of_policy.get(id).map_or(&[], Vec::as_slice))).max().unwrap();
    let all = fullest(&times);
    // A policy stops where the fleet was touched often enough, by whomever; people answer for themselves.
    let on_fleet: Vec<(i64, i64)> =
        (0..times.len()).filter(|at| fleet.contains(&ids[*at])).map(|at| (times[at], owners[at])).collect();
    let before =
        |at: usize| on_fleet[..at].iter().filter(|(time, _)| *time > on_fleet[at].0 - WINDOW).count();
    let of_policies = (0..on_fleet.len()).filter(|at| policies.contains(&on_fleet[*at].1));
    let touched = of_policies.map(|at| before(at) + 1).max().unwrap_or(0);
    println!(
        "{setting:?}: {rounds} interleavings, {acted} actions answered, {} reserved; fullest windows: policy {most} of {OF_POLICY}, fleet {touched} of {OF_FLEET} where a policy acted, all {all} of {OF_ALL}",
        times.len()
    );
    let lost =
        "SELECT COUNT(*) FROM reservation r LEFT JOIN action a ON a.id = r.action_id WHERE a.id IS NULL";
    assert_eq!(ask(database, &dir, lost), [0], "a reservation without its action");
    assert!(times.len() >= acted, "an action without its reservation");
    assert!(most <= OF_POLICY && touched <= OF_FLEET && all <= OF_ALL, "a window is exceeded");
    assert!(
        most == OF_POLICY && touched == OF_FLEET && all == OF_ALL,
        "a budget that is never reached shows nothing"
    );
}

#[test]
fn no_window_of_any_budget_is_exceeded_on_sqlite() {
    no_window_is_exceeded(Setting::Small, 1);
}

#[test]
fn no_window_of_any_budget_is_exceeded_on_postgresql() {
    no_window_is_exceeded(Setting::Postgres, 2);
}
