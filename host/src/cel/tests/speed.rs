//! Nanoseconds per evaluation; run with `--release -- --ignored --nocapture speed`.

use super::oracle;
use super::world::world;
use crate::cel::compile;
use std::hint::black_box;
use std::time::{Duration, Instant};

const SOURCES: [&str; 5] = [
    "metric.name == 'cpu' && metric.value > 90.0",
    "metric.name == 'cpu' && metric.value > 90.0 && metric.tags['region'] == 'us-east-1'",
    "last('cpu') > 90.0",
    "metric.name in ['cpu', 'mem'] && metric.value > 90.0 && target.namespace == 'prod' && target.kind in ['host', 'pod']",
    "has(target.labels.team) && target.name.startsWith('web')",
];

fn nanoseconds(mut work: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..20_000 {
            work();
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9 / 20_000.0
}

#[test]
#[ignore = "a measurement, for optimised builds on a quiet machine"]
#[expect(clippy::print_stdout, reason = "the figures are its result")]
fn speed() {
    let world = world();
    for source in SOURCES {
        let program = compile(source).expect(source);
        let view = world.resolve(&program);
        let ours = nanoseconds(|| {
            black_box(program.eval(black_box(&view))).ok();
        });
        let context = oracle::context(&world);
        let theirs = cel::Program::compile(source).expect(source);
        let crate_ns = nanoseconds(|| {
            black_box(theirs.execute(black_box(&context))).ok();
        });
        println!("{ours:8.1} ns, the crate {crate_ns:9.1} ns, {:5.0} times: {source}", crate_ns / ours);
    }
    let start = Instant::now();
    for _ in 0..100 {
        black_box(compile(SOURCES[3])).ok();
    }
    println!("{:?} per compilation", start.elapsed() / 100);
}
