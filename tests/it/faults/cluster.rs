//! Two servers on one PostgreSQL and one Redis; and a PostgreSQL that goes away.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Scene;
use crate::stage::{Backend, Load, Setting, ask, config, install, open_policy, settle, wait_for_plugin};
use crate::support::{CountingTarget, Vigil};

#[test]
fn two_servers_open_one_incident_and_run_each_action_once() {
    let target = CountingTarget::start();
    let backend = Backend::new(Setting::PostgresRedis);
    let config = config(&target.url());
    let servers: Vec<Vigil> = (0..2).map(|_| Vigil::start(backend.options(&config))).collect();
    for server in &servers {
        install(&server.data_dir(), "charge-unsafe");
        wait_for_plugin(server, "charge-unsafe");
    }
    // Ten policies on a hundred targets: a thousand pairs, each of which may open one incident and, within its
    // cooldown and before it has settled, make one action.
    for number in 0..10 {
        let mut policy = open_policy(&format!("p-{number}"), "u-*", "charge-unsafe");
        policy["guardrails"]["cooldown"] = json!("10m");
        policy["guardrails"]["settle"] = json!("10m");
        servers[0].post_json("/api/v1/policies", &policy);
    }
    thread::scope(|scope| {
        for (at, server) in servers.iter().enumerate() {
            scope.spawn(move || (0..300).for_each(|number| hot(server, number, at)));
        }
    });
    let states = settle(&servers[0], Duration::from_secs(120));
    assert_eq!(states.get("succeeded"), Some(&1_000), "{states:?}");
    assert_eq!(target.count(), 1_000, "each action was executed once");
    assert!(target.count_by_key().values().all(|count| *count == 1), "no key twice");
    target.assert_never_two_at_once();
    let database = backend.database.as_ref();
    let incidents = ask(database, servers[0].data_dir().as_path(), "SELECT COUNT(*) FROM incident");
    assert_eq!(incidents, [1_000], "one incident per policy and target");
    let by_worker =
        ask(database, servers[0].data_dir().as_path(), "SELECT COUNT(*) FROM attempt GROUP BY worker");
    println!("attempts by worker: {by_worker:?}");
    assert_eq!(by_worker.len(), 2, "both took part: {by_worker:?}");
}

/// Every target three times on either server, in another order on each.
fn hot(server: &Vigil, number: usize, shift: usize) {
    let name = format!("u-{}", (number * 7 + shift * 13) % 100);
    server.post_json("/api/v1/ingest", &json!({"name": "heat", "value": 95, "tags": {"service": name}}));
}

#[test]
fn a_policy_made_on_one_server_holds_on_the_other_at_once() {
    let backend = Backend::new(Setting::Postgres);
    let target = CountingTarget::start();
    let servers: Vec<Vigil> = (0..2).map(|_| Vigil::start(backend.options(&config(&target.url())))).collect();
    for round in 0..20 {
        let (here, there) = (&servers[round % 2], &servers[(round + 1) % 2]);
        let name = format!("p-{round}");
        let mut policy = open_policy(&name, &format!("t-{round}"), "custom");
        policy["auto_remediate"] = json!(false);
        here.post_json("/api/v1/policies", &policy);
        let body = json!({"name": "heat", "value": 95, "tags": {"service": format!("t-{round}")}});
        let answer = there.post_json("/api/v1/ingest", &body);
        assert_eq!(answer["violations"][0]["policy_name"], json!(name), "round {round}: {answer}");
    }
}

#[test]
fn one_server_of_two_is_killed_and_the_other_takes_over() {
    let mut scene = Scene::new(Setting::Postgres);
    let second = Vigil::start(scene.backend.options(&config(&scene.target.url())));
    install(&second.data_dir(), "charge-unsafe");
    wait_for_plugin(&second, "charge-unsafe");
    let load = Load::start(&[scene.vigil.port(), second.port()], 100);
    thread::sleep(Duration::from_secs(3));
    scene.vigil.kill9();
    thread::sleep(Duration::from_secs(6));
    scene.vigil.start_again();
    thread::sleep(Duration::from_secs(2));
    let acknowledged = load.finish();
    scene.judge(&acknowledged);
    let by_worker = ask(
        scene.backend.database.as_ref(),
        scene.vigil.data_dir().as_path(),
        "SELECT COUNT(*) FROM attempt GROUP BY worker",
    );
    assert!(by_worker.len() >= 2, "the other one took part: {by_worker:?}");
}
