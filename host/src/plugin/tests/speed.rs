//! Figures, for a release build: `cargo test --release -p vigil --lib plugin::tests::speed -- --ignored
//! --nocapture`.

use std::time::{Duration, Instant};

use super::{Host, guard, open, request, small};

fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a check"]
async fn a_fresh_sandbox_and_a_call() {
    let host = Host::hostile(small(), &["noop"]).await;
    for name in ["noop", "notify"] {
        let route = host.plugins.route(name, "web").unwrap();
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for n in 0..2_200 {
            let begun = Instant::now();
            let report = host.plugins.execute(&route, request(&route), guard()).await;
            if n >= 200 {
                outside.push(begun.elapsed());
                inside.push(report.duration);
            }
        }
        println!(
            "{name}: sandbox and call {:?}, as seen by a caller {:?}",
            quantiles(inside),
            quantiles(outside)
        );
    }
    let begun = Instant::now();
    drop(open(small(), host.data.path()).await);
    println!("open with everything in the cache: {:?}", begun.elapsed());
}
