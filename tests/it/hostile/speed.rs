//! Ingesting beside hostile plugins is about as fast as without them.

use std::time::Duration;

use super::{ended, queue, serve, settings};
use crate::pulse::Pulse;
use crate::support::Vigil;

/// Of each half of a round.
const HALF: Duration = Duration::from_millis(2500);
/// Times below this are not told apart: it is what a scheduler on two busy cores takes at times.
const FLOOR: Duration = Duration::from_millis(10);

#[test]
fn ingest_keeps_its_pace_beside_hostile_plugins() {
    let vigil = Vigil::start(settings());
    let hostile = ["execute-loops", "memory-grows", "table-grows", "log-flood"];
    for name in hostile {
        serve(&vigil, name);
    }
    let _ = Pulse::measure(vigil.port(), Duration::from_millis(500));
    let mut ratios = Vec::new();
    for round in 0..3 {
        let calm = Pulse::measure(vigil.port(), HALF);
        let ids: Vec<i64> = (0..4)
            .flat_map(|n| hostile.map(|name| queue(&vigil, name, &format!("{name}-{round}-{n}"))))
            .collect();
        let beside = Pulse::measure(vigil.port(), HALF);
        assert!(
            calm.count() > 50 && beside.count() > 50,
            "too few samples: {}, {}",
            calm.count(),
            beside.count()
        );
        ratios.push(beside.p99().max(FLOOR).as_secs_f64() / calm.p99().max(FLOOR).as_secs_f64());
        for id in ids {
            ended(&vigil, id);
        }
    }
    let mut sorted = ratios.clone();
    sorted.sort_by(f64::total_cmp);
    println!("p99 of ingest beside hostile plugins, relative to p99 without: {ratios:.2?}");
    assert!(sorted[1] <= 2.0, "p99 beside hostile plugins, relative to p99 without: {ratios:.2?}");
}
