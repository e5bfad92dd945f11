//! Redis is a hint: flushed, stopped or slow, nothing is lost, nothing is done twice and nobody is refused.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::Scene;
use crate::stage::{Load, Setting, campaign};
use crate::support::wait_until;

#[test]
fn redis_flushed_and_stopped_under_load() {
    let mut scene = Scene::new(Setting::SmallRedis);
    let load = Load::start(&[scene.vigil.port()], 200);
    let (flushes, away) = if campaign() { (20, 60) } else { (5, 6) };
    for _ in 0..flushes {
        thread::sleep(Duration::from_millis(400));
        scene.backend.redis.as_ref().expect("Redis").flush();
    }
    let redis = scene.backend.redis.as_mut().expect("Redis");
    redis.stop();
    wait_until(Duration::from_secs(20), "readiness to say degraded", || {
        scene.vigil.get("/health/ready").expect(200).json()["status"] == "degraded"
    });
    thread::sleep(Duration::from_secs(away));
    redis.start_again();
    wait_until(Duration::from_secs(60), "readiness to recover", || {
        scene.vigil.get_json("/health/ready")["status"] == "healthy"
    });
    thread::sleep(Duration::from_secs(1));
    let refused = load.refused.load(Ordering::Relaxed);
    let acknowledged = load.finish();
    assert_eq!(refused, 0, "an event was refused while Redis was away");
    scene.judge(&acknowledged);
}
