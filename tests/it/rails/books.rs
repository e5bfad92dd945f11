//! The books: what comes in is what was decided about, and what is on its way.

use std::thread;

use serde_json::json;

use super::{Scene, cel};
use crate::stage::Setting;
use crate::support::{Request, wait_until};

fn ended(scene: &Scene, decision: &str) -> f64 {
    scene.vigil.metric(&format!("vigil_events_total{{decision=\"{decision}\"}}"))
}

const ENDS: [&str; 7] = ["no_policy", "clear", "met", "no_data", "error", "repeat", "refused"];

fn balanced(setting: Setting) {
    let scene = Scene::new(setting, |config| config);
    scene.policy("p", "web-*", json!({}), json!({}));
    let both = json!({"condition": cel("last(\"heat\") > 1000.0 && last(\"other\") > 1.0")});
    scene.policy("q", "db-*", json!({}), both);
    let (before, sum) = (scene.vigil.metric("vigil_events_received_total"), |scene: &Scene| {
        ENDS.iter().map(|end| ended(scene, end)).sum::<f64>()
    });
    let began = ENDS.map(|end| ended(&scene, end));
    let event = |name: &str, value: f64, service: &str| json!({"name": name, "value": value, "tags": {"service": service}});
    scene.vigil.post_json("/api/v1/ingest", &event("nobody_reads_this", 1.0, "web-1"));
    scene
        .vigil
        .post_json("/api/v1/ingest", &json!([event("heat", 10.0, "web-1"), event("heat", 95.0, "web-2")]));
    // Of the two that it reads one is missing.
    scene.vigil.post_json("/api/v1/ingest", &event("heat", 2000.0, "db-1"));
    let mut twice = event("heat", 20.0, "web-1");
    twice["timestamp"] = json!("2026-01-01T00:00:00Z");
    for _ in 0..2 {
        scene.vigil.post_json("/api/v1/ingest", &twice);
    }
    // Under one key it is known, too; what is no event never came in.
    for _ in 0..2 {
        let keyed =
            Request::post("/api/v1/ingest", &event("heat", 30.0, "web-1")).header("Idempotency-Key", "k-1");
        assert_eq!(scene.vigil.send(&keyed).status, 201);
    }
    assert_eq!(scene.vigil.post("/api/v1/ingest", &json!({"name": "heat"})).status, 422);
    let came: Vec<f64> = ENDS.iter().zip(began).map(|(end, began)| ended(&scene, end) - began).collect();
    assert_eq!(came, [1.0, 3.0, 1.0, 1.0, 0.0, 2.0, 0.0], "{ENDS:?}");
    assert_eq!(scene.vigil.metric("vigil_events_received_total") - before, 8.0);
    // Under load they balance again as soon as everything is answered.
    thread::scope(|scope| {
        for client in 0..4 {
            let scene = &scene;
            scope.spawn(move || {
                for n in 0..40 {
                    let batch = json!([
                        event("heat", f64::from(n % 100), &format!("web-{client}")),
                        event("x", 1.0, "y")
                    ]);
                    scene.vigil.post_json("/api/v1/ingest", &batch);
                }
            });
        }
    });
    wait_until(super::LONG, "the books to balance", || {
        scene.vigil.metric("vigil_events_in_flight") == 0.0
            && scene.vigil.metric("vigil_events_received_total") == sum(&scene)
    });
    assert_eq!(scene.vigil.metric("vigil_events_received_total") - before, 8.0 + 4.0 * 40.0 * 2.0);
}

#[test]
fn the_books_balance_on_sqlite() {
    balanced(Setting::Small);
}

#[test]
fn the_books_balance_on_postgresql() {
    balanced(Setting::Postgres);
}
