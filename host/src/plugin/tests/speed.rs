//! Figures, for a release build: `cargo test --release -p vigil --lib plugin::tests::speed -- --ignored
//! --nocapture`.

use std::time::{Duration, Instant};

use super::super::embedded::EMBEDDED;
use super::{Host, guard, open, request, small};

fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

async fn times(host: &Host, action: &str) -> String {
    let route = host.plugins.route(action, "web").unwrap();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for _ in 0..2_200 {
        let begun = Instant::now();
        let report = host.plugins.execute(&route, request(&route), guard()).await;
        outside.push(begun.elapsed());
        inside.push(report.duration);
    }
    let (inside, outside) = (quantiles(inside.split_off(200)), quantiles(outside.split_off(200)));
    format!("{action}: sandbox and call {inside:?}, as seen by a caller {outside:?} (p50, p99)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a check"]
#[expect(clippy::print_stdout, reason = "figures are for a person")]
async fn a_fresh_sandbox_and_a_call() {
    let host = Host::hostile(small(), &["noop"]).await;
    println!("{}\n{}", times(&host, "noop").await, times(&host, "notify").await);
    let mut loads = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        let loaded = host.plugins.0.loader.load(&host.plugins.0.runtime, EMBEDDED[1].1, true).await;
        loads.push(begun.elapsed());
        assert!(loaded.is_ok());
    }
    println!("webhook loaded from the cache, described and checked: {:?}", quantiles(loads));
    let begun = Instant::now();
    drop(open(small(), host.data.path()).await);
    println!("open with everything in the cache: {:?}", begun.elapsed());
}
