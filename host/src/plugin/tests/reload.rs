//! The directory of plugins while the host runs.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::super::{Guard, RouteError, Settings, Status};
use super::{Host, drop_file, guard, hostile, open, request, small};

/// Waits until something is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn files_come_change_and_go() {
    let host = Host::with(small(), &[]).await;
    let stop = CancellationToken::new();
    let story = async {
        let route = || host.plugins.route("noop", "web");
        assert_eq!(route().unwrap_err(), RouteError::NoPlugin);
        drop_file(host.data.path(), "mine", &hostile::component("noop"));
        until("loaded", || route().is_ok()).await;
        let first = route().unwrap();

        // A bad file in its place: the last good one goes on.
        drop_file(host.data.path(), "mine", b"(module)");
        until("refused", || host.info("noop").refused_update.is_some()).await;
        let update = host.info("noop").refused_update.unwrap();
        assert_eq!(update.reason, "it is text, not WebAssembly");
        assert_eq!(host.info("noop").status, Status::Active);
        assert_eq!(host.run("noop").await.result.kind(), "ok");

        // A good one of another name takes over; a route that was looked up before still works.
        drop_file(host.data.path(), "mine", &hostile::component("noop-unsafe"));
        until("exchanged", || host.plugins.route("noop-unsafe", "web").is_ok()).await;
        assert_eq!(route().unwrap_err(), RouteError::NoPlugin);
        let report = host.plugins.execute(&first, request(&first), guard()).await;
        assert_eq!(report.result.kind(), "ok");

        std::fs::remove_file(host.data.path().join("plugins/mine.wasm")).unwrap();
        until("removed", || host.plugins.route("noop-unsafe", "web").is_err()).await;
        assert_eq!(host.plugins.list().len(), 2, "the embedded ones stay");
        stop.cancel();
    };
    tokio::join!(host.plugins.watch(stop.clone()), story);
}

#[tokio::test]
async fn a_running_attempt_finishes_on_the_plugin_it_began_with() {
    let host =
        Host::hostile(Settings { timeout: Duration::from_millis(1_500), ..small() }, &["sleeps"]).await;
    let stop = CancellationToken::new();
    let story = async {
        let route = host.plugins.route("sleeps", "web").unwrap();
        let lease = Guard { cancel: CancellationToken::new(), ..guard() };
        let cancel = lease.cancel.clone();
        let (report, ()) = tokio::join!(host.plugins.execute(&route, request(&route), lease), async {
            drop_file(host.data.path(), "sleeps", &hostile::component("noop"));
            until("exchanged", || host.plugins.route("noop", "web").is_ok()).await;
            cancel.cancel();
        });
        assert_eq!(report.result.kind(), "ok", "{:?}", report.result);
        stop.cancel();
    };
    tokio::join!(host.plugins.watch(stop.clone()), story);
}

#[tokio::test]
async fn a_taken_name_is_refused_until_it_is_free() {
    let noop = hostile::component("noop");
    let host = Host::with(small(), &[("a", noop.clone()), ("b", noop)]).await;
    assert!(host.refused("b").contains("has the name \"noop\" of"), "{}", host.refused("b"));
    let stop = CancellationToken::new();
    let story = async {
        std::fs::remove_file(host.data.path().join("plugins/a.wasm")).unwrap();
        until("b serves", || host.plugins.list().iter().all(|p| p.status == Status::Active)).await;
        assert!(host.plugins.route("noop", "web").is_ok());
        stop.cancel();
    };
    tokio::join!(host.plugins.watch(stop.clone()), story);
}

#[tokio::test]
async fn an_embedded_name_is_refused() {
    let (_, webhook) = super::super::embedded::EMBEDDED[1];
    let host = Host::with(small(), &[("copy", webhook.to_vec())]).await;
    assert!(host.refused("copy").contains("plugins.replace does not list it"));
}

#[tokio::test]
async fn several_that_declare_an_action_are_ambiguous() {
    // The same action under another plugin's name: the fixture's name is in its data.
    let mut other = hostile::component("noop");
    let at = other.windows(4).position(|w| w == b"noop").unwrap();
    other[at..at + 4].copy_from_slice(b"moop");
    let host = Host::with(small(), &[("a", hostile::component("noop")), ("b", other)]).await;
    let error = host.plugins.route("noop", "web").unwrap_err();
    assert_eq!(error, RouteError::Ambiguous(vec!["moop".to_owned(), "noop".to_owned()]));
}

#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let host = Host::hostile(small(), &["noop"]).await;
    let counted = host.plugins.counters();
    assert_eq!((counted.compiled, counted.cached, counted.loads), (3, 0, 3));
    let again = open(small(), host.data.path()).await;
    let counted = again.counters();
    assert_eq!((counted.compiled, counted.cached, counted.loads), (0, 3, 3));
}
