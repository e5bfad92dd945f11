//! What must hold when things break: each fault under load, judged by the target's own count and the database.

mod clock;
mod cluster;
mod database;
mod disk;
mod redis;

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::stage::{
    Backend, Load, Setting, ask, campaign, config, install, open_policy, settle, stored, wait_for_plugin,
};
use crate::support::{Behaviour, CountingTarget, Options, Vigil, wait_until};

/// A server with the two policies of the load and the plugin that may not be run twice.
pub(crate) struct Scene {
    pub(crate) target: CountingTarget,
    pub(crate) backend: Backend,
    pub(crate) vigil: Vigil,
}

impl Scene {
    pub(crate) fn new(setting: Setting) -> Self {
        Self::on(Backend::new(setting))
    }

    pub(crate) fn on(backend: Backend) -> Self {
        Self::with(backend, |options| options)
    }

    /// `change` has the last word on how the server is started.
    pub(crate) fn with(backend: Backend, change: impl FnOnce(Options) -> Options) -> Self {
        let target = CountingTarget::start();
        target.behave(Behaviour { delay: Duration::from_millis(30), ..Behaviour::default() });
        let vigil = Vigil::start(change(backend.options(&config(&target.url()))));
        install(&vigil.data_dir(), "charge-unsafe");
        wait_for_plugin(&vigil, "charge-unsafe");
        vigil.post_json("/api/v1/policies", &open_policy("unsafe", "u-*", "charge-unsafe"));
        vigil.post_json("/api/v1/policies", &open_policy("keyed", "k-*", "custom"));
        Self { target, backend, vigil }
    }

    /// Everything acknowledged is stored, every action has ended, nothing ran twice that must not, and no
    /// two ran at once on one target.
    pub(crate) fn judge(&self, acknowledged: &[i64]) {
        assert!(acknowledged.len() > 50, "the load must have done something: {}", acknowledged.len());
        let states = settle(&self.vigil, Duration::from_secs(120));
        println!(
            "{} events acknowledged, actions: {states:?}, calls: {}",
            acknowledged.len(),
            self.target.count()
        );
        assert!(states.get("succeeded").is_some_and(|count| *count > 10), "{states:?}");
        let stored = stored(self.backend.database.as_ref(), &self.vigil.data_dir());
        let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
        assert!(lost.is_empty(), "{} acknowledged events are not in the database: {lost:?}", lost.len());
        let distinct: HashSet<_> = acknowledged.iter().collect();
        assert_eq!(distinct.len(), acknowledged.len(), "an id was given twice");
        let mut keys = HashSet::new();
        for call in self.target.calls().iter().filter(|call| call.path.starts_with("/u-")) {
            let key = call.key().expect("a mutating call carries a key").to_owned();
            assert!(keys.insert(key.clone()), "an unsafe action was carried out twice: {key}");
        }
        assert!(!keys.is_empty(), "no unsafe action was carried out at all");
        self.target.assert_never_two_at_once();
    }
}

#[test]
fn kill_9_loses_nothing_and_repeats_nothing_unsafe() {
    kills(Setting::Small);
}

#[test]
fn kill_9_on_postgresql_with_redis() {
    kills(Setting::PostgresRedis);
}

fn kills(setting: Setting) {
    let mut scene = Scene::new(setting);
    let load = Load::start(&[scene.vigil.port()], 200);
    let rounds = if campaign() { 50 } else { 4 };
    let mut random = 0x9e37_79b9_u64;
    for _ in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        thread::sleep(Duration::from_millis(700 + (random >> 33) % 1_500));
        scene.vigil.kill9();
        scene.vigil.start_again();
    }
    thread::sleep(Duration::from_secs(2));
    let acknowledged = load.finish();
    scene.judge(&acknowledged);
}

#[test]
fn sigterm_lets_attempts_finish_and_leaves_nothing_running() {
    let mut scene = Scene::new(Setting::Small);
    scene.target.behave(Behaviour { delay: Duration::from_secs(1), ..Behaviour::default() });
    let load = Load::start(&[scene.vigil.port()], 50);
    thread::sleep(Duration::from_secs(3));
    let status = scene.vigil.sigterm();
    assert!(status.success(), "{status}\n{}", scene.vigil.log());
    let running = "SELECT COUNT(*) FROM action WHERE state = 'running'";
    assert_eq!(ask(None, &scene.vigil.data_dir(), running), [0], "nothing is left in running");
    assert_eq!(
        ask(None, &scene.vigil.data_dir(), "SELECT COUNT(*) FROM node"),
        [0],
        "nobody waits for its lease"
    );
    scene.target.behave(Behaviour::default());
    scene.vigil.start_again();
    thread::sleep(Duration::from_secs(1));
    let acknowledged = load.finish();
    scene.judge(&acknowledged);
}

#[test]
fn a_process_that_slept_through_its_lease_makes_no_further_call() {
    let scene = Scene::new(Setting::Small);
    scene.target.behave(Behaviour { delay: Duration::from_millis(300), ..Behaviour::default() });
    let load = Load::start(&[scene.vigil.port()], 100);
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(2));
        scene.vigil.signal(rustix::process::Signal::STOP);
        thread::sleep(Duration::from_secs(6));
        scene.vigil.signal(rustix::process::Signal::CONT);
    }
    thread::sleep(Duration::from_secs(2));
    let acknowledged = load.finish();
    scene.judge(&acknowledged);
}

#[test]
fn a_cancelled_attempt_makes_no_further_call_and_its_result_changes_nothing() {
    let scene = Scene::new(Setting::Small);
    scene.target.behave(Behaviour { delay: Duration::from_secs(3), ..Behaviour::default() });
    let body = json!({"target": "k-1", "action": "custom", "queue_immediately": true});
    let id = scene.vigil.post_json("/api/v1/actions", &body)["action_id"].clone();
    let path = format!("/api/v1/actions/{id}");
    wait_until(Duration::from_secs(20), "the call to begin", || scene.target.count() == 1);
    let answer = scene.vigil.send(&crate::support::Request::new("PUT", &format!("{path}/cancel"))).json();
    assert_eq!(answer["previous_status"], "running", "{answer}");
    // The next one on that target waits for the one that the target may still be working on.
    let next = scene.vigil.post_json("/api/v1/actions", &body)["action_id"].clone();
    wait_until(Duration::from_secs(30), "the next action to be done", || {
        scene.vigil.get_json(&format!("/api/v1/actions/{next}"))["status"] == "completed"
    });
    let action = scene.vigil.get_json(&path);
    assert_eq!(action["status"], "cancelled", "{action}");
    assert_eq!(scene.target.count(), 2, "one call each");
    scene.target.assert_never_two_at_once();
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused() {
    let scene = Scene::new(Setting::Small);
    let mut options = Options::default();
    options.data_dir = Some(scene.vigil.data_dir());
    options.no_wait = true;
    let mut second = Vigil::start(options);
    let status = second.wait_exit(Duration::from_secs(20)).expect("it must not go on");
    assert!(!status.success(), "{status}");
    assert!(second.log().contains("another vigil is using it"), "{}", second.log());
}
