//! A database that goes away: restarted under load, cut off from one node, lost in the middle of an answer.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Scene;
use crate::stage::{Backend, Load, campaign, config, install, stored, wait_for_plugin};
use crate::support::{FaultProxy, Mode, Options, Postgres, Request, Vigil, wait_for, wait_until};

/// A cluster that a test may stop, with everything it acknowledged on the disk.
fn own_cluster() -> (Postgres, Backend) {
    let cluster = Postgres::start(true);
    let database = Some(cluster.database());
    (cluster, Backend { redis: None, database })
}

#[test]
fn postgresql_crashes_under_load_and_work_resumes_by_itself() {
    let (mut cluster, backend) = own_cluster();
    let scene = Scene::on(backend);
    let load = Load::start(&[scene.vigil.port()], 100);
    for _ in 0..if campaign() { 10 } else { 2 } {
        thread::sleep(Duration::from_secs(2));
        cluster.crash();
        let body = json!({"name": "heat", "value": 1, "tags": {"service": "k-1"}});
        let answer = wait_for(Duration::from_secs(20), "ingest to say that it can't store", || {
            let answer = scene.vigil.post("/api/v1/ingest", &body);
            (answer.status != 201).then_some(answer)
        });
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some(), "503 says when to come back");
        assert_eq!(scene.vigil.get("/health").status, 200, "liveness does not ask the database");
        assert_eq!(scene.vigil.get("/health/ready").status, 503);
        cluster.start_again();
        wait_until(Duration::from_secs(60), "readiness to recover", || {
            scene.vigil.get("/health/ready").status == 200
        });
    }
    thread::sleep(Duration::from_secs(2));
    assert!(load.refused.load(Ordering::Relaxed) > 0, "the fault was never felt");
    let acknowledged = load.finish();
    scene.judge(&acknowledged);
}

#[test]
fn a_node_cut_off_from_the_database_is_replaced_only_after_it_has_stopped() {
    let (cluster, backend) = own_cluster();
    let proxy = FaultProxy::tcp(cluster.port());
    let name = backend.database.as_ref().and_then(|url| url.rsplit('/').next()).expect("a name").to_owned();
    let scene = Scene::on(backend);
    let options = Options::default().config(config(&scene.target.url()));
    let lonely = Vigil::start(options.database(cluster.url_at(proxy.port(), &name)));
    install(&lonely.data_dir(), "charge-unsafe");
    wait_for_plugin(&lonely, "charge-unsafe");
    let load = Load::start(&[scene.vigil.port(), lonely.port()], 100);
    for _ in 0..if campaign() { 5 } else { 1 } {
        thread::sleep(Duration::from_secs(3));
        // Longer than lease and grace: the other node takes over what this one was doing.
        proxy.set(Mode::Blackhole);
        thread::sleep(Duration::from_secs(8));
        assert_eq!(lonely.get("/health").status, 200, "it lives, cut off or not");
        proxy.set(Mode::Reset);
        thread::sleep(Duration::from_millis(200));
        proxy.set(Mode::Pass);
        wait_until(Duration::from_secs(60), "the lonely node to come back", || {
            lonely.get("/health/ready").status == 200
        });
    }
    thread::sleep(Duration::from_secs(2));
    let acknowledged = load.finish();
    scene.judge(&acknowledged);
}

#[test]
fn an_answer_lost_on_the_way_from_the_database_is_given_again_to_the_same_key() {
    let (cluster, backend) = own_cluster();
    let proxy = FaultProxy::tcp(cluster.port());
    let url = backend.database.as_ref().expect("PostgreSQL");
    let name = url.rsplit('/').next().expect("a name");
    let vigil = Vigil::start(Options::default().database(cluster.url_at(proxy.port(), name)));
    let event = |round: u64| json!({"name": format!("once-{round}"), "value": 1, "tags": {"host": "h"}});
    vigil.post_json("/api/v1/ingest", &event(0));
    let mut cut = 0;
    let rounds = if campaign() { 400 } else { 60 };
    for round in 1..=rounds {
        // The connection breaks at another byte of what the database says each time, its last word included.
        proxy.set(Mode::CutAfter(round * if campaign() { 3 } else { 20 }));
        let request =
            Request::post("/api/v1/ingest", &event(round)).header("Idempotency-Key", &format!("k{round}"));
        let first = vigil.send(&request);
        proxy.set(Mode::Pass);
        cut += u64::from(first.status != 201);
        assert!([201, 503].contains(&first.status), "{} {}", first.status, first.text());
        let again = wait_for(Duration::from_secs(30), "the repeat to be answered", || {
            let again = vigil.send(&request);
            (again.status == 201).then(|| again.json())
        });
        if first.status == 201 {
            assert_eq!(first.json()["metric_id"], again["metric_id"], "round {round}");
        }
        let stored = stored(backend.database.as_ref(), &vigil.data_dir());
        assert!(again["metric_id"].as_i64().is_some_and(|id| stored.contains(&id)), "round {round}: {again}");
        assert_eq!(stored.len() as u64, round + 1, "stored twice or not at all");
    }
    println!("{cut} of {rounds} first answers were lost");
    assert!(cut > 0, "the fault was never felt");
}
