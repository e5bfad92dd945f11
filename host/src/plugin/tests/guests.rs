//! Guests that misbehave: each ends by name, and the host goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::super::{Ended, Guard, Settings, Status};
use super::{Host, guard, request, small};

/// How one fixture's `execute` ends; the word must be in what is said.
async fn ends(settings: Settings, name: &str, kind: &str, word: &str) {
    let host = Host::hostile(settings, &[name]).await;
    assert_eq!(host.info(name).status, Status::Active, "{name}: {:?}", host.info(name).reason);
    let report = host.run(name).await;
    assert_eq!(report.result.kind(), kind, "{name}: {:?}", report.result);
    let said = super::super::report::words(&report.result);
    assert!(said.contains(word), "{name}: {said}");
    assert_eq!(host.plugins.counters().ended[kind], 1);
    assert_eq!(host.plugins.counters().running, 0);
}

fn brief() -> Settings {
    Settings { timeout: Duration::from_millis(200), ..small() }
}

#[tokio::test]
async fn one_that_does_nothing_ends_well() {
    let host = Host::hostile(small(), &["noop"]).await;
    let report = host.run("noop").await;
    let Ended::Ok(outcome) = &report.result else { panic!("{:?}", report.result) };
    assert_eq!(outcome.summary, "done");
    assert!(report.fuel_used > 0 && report.peak_memory == 128 << 10, "{report:?}");
}

#[tokio::test]
async fn loops_end_at_the_deadline_or_without_fuel() {
    ends(brief(), "execute-loops", "deadline", "too long").await;
    ends(Settings { fuel: 100_000, ..small() }, "execute-loops", "limit", "fuel").await;
}

#[tokio::test]
async fn sleepers_end_at_the_deadline() {
    ends(brief(), "sleeps", "deadline", "too long").await;
}

#[tokio::test]
async fn greed_for_memory_is_named() {
    ends(small(), "memory-grows", "memory", "limit is 64 MiB").await;
}

#[tokio::test]
async fn greed_for_tables_is_named() {
    ends(small(), "table-grows", "limit", "table").await;
}

#[tokio::test]
async fn recursion_and_traps_are_named() {
    ends(small(), "recursion", "trap", "stack").await;
    ends(small(), "execute-traps", "trap", "unreachable").await;
}

#[tokio::test]
async fn an_answer_can_be_too_large() {
    ends(small(), "huge-result", "limit", "").await;
}

#[tokio::test]
async fn calls_are_counted() {
    ends(small(), "connection-denied", "limit", "1000 host calls").await;
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_and_counted() {
    let host = Host::hostile(small(), &["log-flood"]).await;
    let report = host.run("log-flood").await;
    assert_eq!(report.result.kind(), "ok", "{:?}", report.result);
    assert!(report.logs.len() > 50 && report.logs.len() < 70, "{}", report.logs.len());
    assert_eq!(report.logs.len() as u64 + report.logs_dropped, 100_000);
}

#[tokio::test]
async fn a_huge_line_ends_it() {
    ends(small(), "log-huge", "limit", "").await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_its_reason() {
    let cases = [
        ("describe-bad-action", "an action's name is"),
        ("describe-bad-schema", "bad params-schema"),
        ("describe-bad-utf8", ""),
        ("describe-calls", "must call nothing"),
        ("describe-loops", "could not be asked what it is"),
        ("describe-many-actions", ""),
        ("describe-no-actions", "describes no action"),
        ("describe-out-of-bounds", ""),
        ("describe-traps", "it trapped"),
        ("memory-minimum", "limit"),
        ("start-loops", ""),
        ("table-minimum", ""),
        ("unknown-import", "imports evil:host/x@1.0.0, which the host does not offer"),
    ];
    let host = Host::hostile(small(), &cases.map(|(name, _)| name)).await;
    for (name, reason) in cases {
        let said = host.refused(name);
        assert!(said.starts_with("it ") && said.contains(reason), "{name}: {said}");
    }
    assert_eq!(host.plugins.counters().refused, 13);
    assert_eq!(host.info("webhook").status, Status::Active);
}

#[tokio::test]
async fn validate_cannot_hang() {
    let host = Host::hostile(brief(), &["validate-loops"]).await;
    let route = host.plugins.route("validate-loops", "web").unwrap();
    let problems = host.plugins.validate(&route, &request(&route)).await.unwrap_err();
    assert!(problems[0].message.contains("took too long"), "{problems:?}");
}

#[tokio::test]
async fn a_cancelled_guest_is_stopped_after_its_grace() {
    let settings = Settings { cancel_grace: Duration::from_millis(50), ..small() };
    let host = Host::hostile(settings, &["execute-loops", "sleeps"]).await;
    let route = host.plugins.route("execute-loops", "web").unwrap();
    let cancel = CancellationToken::new();
    let begun = Instant::now();
    let (report, ()) = tokio::join!(
        host.plugins.execute(&route, request(&route), Guard { cancel: cancel.clone(), ..guard() }),
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancel.cancel();
        }
    );
    assert!(matches!(&report.result, Ended::Cancelled(f) if f.code == "stopped"), "{:?}", report.result);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // A sleep is cut short, and the guest ends by itself.
    let route = host.plugins.route("sleeps", "web").unwrap();
    let report = host.plugins.execute(&route, request(&route), Guard { cancel, ..guard() }).await;
    assert_eq!(report.result.kind(), "cancelled", "cancelled before it began");
}

#[tokio::test]
async fn a_lapsed_lease_ends_a_guest_that_computes_and_one_that_waits() {
    let host = Host::hostile(small(), &["execute-loops", "sleeps"]).await;
    for name in ["execute-loops", "sleeps"] {
        let route = host.plugins.route(name, "web").unwrap();
        let held = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&held);
        let lease = Guard { holds: Arc::new(move || seen.load(Ordering::Relaxed)), ..guard() };
        let (report, ()) = tokio::join!(host.plugins.execute(&route, request(&route), lease), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            held.store(false, Ordering::Relaxed);
        });
        assert_eq!(report.result, Ended::Fenced, "{name}");
        assert!(report.duration < Duration::from_secs(1), "{name}: {:?}", report.duration);
    }
}

#[tokio::test]
async fn spinning_guests_do_not_keep_others_from_their_turn() {
    let settings = Settings { timeout: Duration::from_secs(2), ..small() };
    let host = Host::hostile(settings, &["execute-loops", "noop"]).await;
    let (spin, noop) =
        (host.plugins.route("execute-loops", "web").unwrap(), host.plugins.route("noop", "web").unwrap());
    let begun = Instant::now();
    tokio::select! {
        _ = host.plugins.execute(&spin, request(&spin), guard()) => panic!("it ended first"),
        _ = host.plugins.execute(&spin, request(&spin), guard()) => panic!("it ended first"),
        report = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            host.plugins.execute(&noop, request(&noop), guard()).await
        } => assert_eq!(report.result.kind(), "ok"),
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
