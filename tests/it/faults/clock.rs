//! A wall clock that jumps: leases are timed on a clock that does not.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::Scene;
use crate::stage::{Backend, Load, Setting, campaign};
use crate::support::{missing, temp_dir};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn a_clock_that_jumps_an_hour_lets_nobody_take_a_lease_twice() {
    if !Path::new(LIBRARY).exists() {
        missing("libfaketime.so.1", "libfaketime");
    }
    let place = temp_dir();
    let offset = place.path().join("offset");
    fs::write(&offset, "+0").expect("the clock's offset");
    let scene = Scene::with(Backend::new(Setting::Small), |options| {
        options
            .env("LD_PRELOAD", LIBRARY)
            .env("FAKETIME_TIMESTAMP_FILE", offset.display().to_string())
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
    });
    let before = scene.vigil.get_json("/api/v1/actions?limit=1");
    assert_eq!(before["total"], 0);
    let load = Load::start(&[scene.vigil.port()], 100);
    for jump in ["+3600", "-3600", "+0"].repeat(if campaign() { 10 } else { 1 }) {
        thread::sleep(Duration::from_secs(3));
        fs::write(&offset, jump).expect("the clock's offset");
    }
    thread::sleep(Duration::from_secs(3));
    let acknowledged = load.finish();
    let spread =
        crate::stage::ask(None, &scene.vigil.data_dir(), "SELECT (MAX(at) - MIN(at)) / 1000000 FROM chunk");
    assert!(spread[0] > 7_000, "the clock did not jump: {spread:?}");
    scene.judge(&acknowledged);
}
