//! What stands still beside us and what piles up: a stalled Redis, a locked database, an idle worker, old rows.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{heat, limitless};
use crate::pulse::Pulse;
use crate::stage::{ask, campaign};
use crate::support::{CountingTarget, Redis, Vigil, wait_until};

/// The seed's defect 38: a blocking client on the event loop.
#[test]
fn a_stalled_redis_slows_nothing() {
    let redis = Redis::start();
    let vigil = Vigil::start(limitless().redis(redis.url()));
    wait_until(Duration::from_secs(10), "Redis to be seen", || {
        vigil.get_json("/api/v1/queue/health")["redis_connected"] == true
    });
    redis.freeze(true);
    let pulse = Pulse::start(vigil.port());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        vigil.post_json(
            "/api/v1/actions",
            &json!({"target": "t", "action": "custom", "queue_immediately": true}),
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let times = pulse.stop();
    redis.freeze(false);
    assert!(times.count() > 50, "{}", times.count());
    assert!(times.p99() < Duration::from_millis(50), "p99 of /health was {:?}", times.p99());
}

/// The first half of the seed's defect 37: one lock that passes.
#[test]
fn a_lock_that_passes_costs_no_event() {
    let vigil = Vigil::start(limitless());
    heat(&vigil, "h", 1.0);
    let file = format!("sqlite://{}/vigil.db", vigil.data_dir().display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lock = runtime.block_on(async {
        let pool = sqlx::SqlitePool::connect(&file).await.unwrap();
        pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
    });
    let answer = std::thread::scope(|scope| {
        let posting = scope.spawn(|| heat(&vigil, "h", 2.0));
        std::thread::sleep(Duration::from_millis(1_200));
        assert!(!posting.is_finished(), "it waits for the lock");
        runtime.block_on(lock.rollback()).unwrap();
        posting.join().unwrap()
    });
    assert_eq!(answer["status"], "stored", "{answer}");
    let stored = ask(None, &vigil.data_dir(), "SELECT COUNT(*) FROM chunk");
    assert_eq!(stored, [2]);
}

/// The second half: what is old goes.
#[test]
fn old_rows_are_deleted() {
    let vigil =
        Vigil::start(limitless().config("[retention]\nsamples = \"2s\"\n[queue]\nsweep = \"30ms\"\n"));
    let rows = || ask(None, &vigil.data_dir(), "SELECT COUNT(*) FROM chunk")[0];
    for at in 0..500 {
        heat(&vigil, &format!("h{}", at % 5), f64::from(at));
    }
    let before = rows();
    assert!(before > 0);
    wait_until(Duration::from_secs(30), "the old rows to go", || rows() == 0);
}

/// The seed's defect 24: a worker that is deaf for a second in eighteen.
#[test]
fn an_idle_worker_hears_every_task() {
    let target = CountingTarget::start();
    let config =
        format!("[connections.webhook]\nurl = \"{}\"\nallow = [\"POST /**\", \"POST /\"]\n", target.url());
    let redis = Redis::start();
    for options in [limitless(), limitless().redis(redis.url())] {
        let vigil = Vigil::start(options.config(&config));
        target.forget();
        let rounds = if campaign() { 60 } else { 15 };
        let mut slow = Vec::new();
        for at in 0..rounds {
            let begun = Instant::now();
            let body = json!({"target": format!("t{at}"), "action": "custom", "queue_immediately": true});
            vigil.post_json("/api/v1/actions", &body);
            wait_until(Duration::from_secs(5), "the call", || target.count() == at + 1);
            if begun.elapsed() > Duration::from_millis(200) {
                slow.push((at, begun.elapsed()));
            }
            std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
        }
        assert!(slow.is_empty(), "started later than 200 ms: {slow:?}");
    }
}
