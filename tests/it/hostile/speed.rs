//! Ingesting beside hostile plugins is about as fast as without them.

use std::time::Duration;

use super::{ended, queue, serve, settings};
use crate::pulse::{Pulse, Times};
use crate::support::Vigil;

/// Of each half of a round.
const HALF: Duration = Duration::from_millis(2500);
/// Times below this are not told apart: it is what a scheduler on two busy cores takes at times.
const FLOOR: Duration = Duration::from_millis(2);

#[test]
fn ingest_keeps_its_pace_beside_hostile_plugins() {
    let vigil = Vigil::start(settings());
    let hostile = ["execute-loops", "memory-grows", "table-grows", "log-flood"];
    for name in hostile {
        serve(&vigil, name);
    }
    let _ = Pulse::measure(vigil.port(), Duration::from_millis(500));
    // In turns, so that whatever else this machine does falls on both alike.
    let (mut calm, mut beside) = (Times::default(), Times::default());
    for round in 0..4 {
        calm.add(Pulse::measure(vigil.port(), HALF));
        let ids: Vec<i64> = (0..4)
            .flat_map(|n| hostile.map(|name| queue(&vigil, name, &format!("{name}-{round}-{n}"))))
            .collect();
        beside.add(Pulse::measure(vigil.port(), HALF));
        for id in ids {
            ended(&vigil, id);
        }
    }
    assert!(calm.count() > 200 && beside.count() > 200, "too few: {}, {}", calm.count(), beside.count());
    println!("p99 of ingest: {:?} alone, {:?} beside hostile plugins", calm.p99(), beside.p99());
    assert!(
        beside.p99() <= calm.p99().max(FLOOR) * 2,
        "p99 went from {:?} to {:?}",
        calm.p99(),
        beside.p99()
    );
}
