//! Times that come again, over HTTP. What they mean is held against the clock on the wall elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{ahead, heat, hot, why};
use crate::stage::{Backend, Setting, config, fleet, open_policy};
use crate::support::{CountingTarget, Vigil};

/// `HH:MM` in UTC, some hours from now.
fn clock(hours: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_hours(hours);
    format!("{:02}:{:02}", now.as_secs() / 3_600 % 24, now.as_secs() / 60 % 60)
}

fn recurring(intervals: &Value) -> Value {
    json!({"matchers": ["target=~web-.+"], "comment": "nights",
        "recurring": {"zone": "UTC", "intervals": intervals}})
}

#[test]
fn it_holds_on_its_days_and_hours() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    vigil.post_json("/api/v1/policies", &open_policy("p", "web-*", "custom"));
    // From two hours from now until one hour ago: every day, and not now.
    let body = recurring(&json!([{"times": [format!("{}-{}", clock(2), clock(23))]}]));
    let quiet = vigil.post("/api/v1/silences", &body).expect(201).json();
    assert_eq!((&quiet["state"], &quiet["ends_at"]), (&json!("pending"), &Value::Null), "{quiet}");
    assert_eq!(hot(&vigil, "web-1")["decision"], "act");
    // From an hour ago until in two hours.
    let until = clock(2);
    let body = recurring(&json!([{"times": [format!("{}-{until}", clock(23))]}]));
    let holds = vigil.post("/api/v1/silences", &body).expect(201).json();
    assert_eq!(holds["state"], "active", "{holds}");
    assert!(holds["holds_until"].as_str().unwrap().contains(&format!("T{until}:00")), "{holds}");
    let seen = hot(&vigil, "web-2");
    assert_eq!(seen["decision"], "silenced");
    let told = why(&vigil, &seen);
    assert_eq!(told["decisions"][0]["until"], holds["holds_until"], "{told}");
    // An end of its own cuts its times.
    let mut body = recurring(&json!([{"times": [format!("{}-{}", clock(23), clock(2))]}]));
    body["ends_at"] = json!(ahead(Duration::from_hours(1)));
    let cut = vigil.post("/api/v1/silences", &body).expect(201).json();
    assert_eq!(cut["holds_until"], cut["ends_at"], "{cut}");
}

#[test]
fn a_preview_shows_what_and_when() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    fleet(&vigil, "web-", 3);
    fleet(&vigil, "db-", 2);
    for (name, target) in [("p", "web-*"), ("q", "db-*"), ("r", "all")] {
        vigil.post_json("/api/v1/policies", &open_policy(name, target, "custom"));
    }
    let mut only_watches = open_policy("watches", "web-*", "custom");
    only_watches["auto_remediate"] = json!(false);
    vigil.post_json("/api/v1/policies", &only_watches);
    heat(&vigil, "web-1", 95);
    heat(&vigil, "db-1", 95);
    let mut body = recurring(&json!([{"weekdays": ["sat", "sun"], "times": ["00:00-06:00"]}]));
    body["recurring"]["zone"] = json!("Europe/Berlin");
    body.as_object_mut().unwrap().remove("comment");
    let seen = vigil.post("/api/v1/silences/preview", &body).expect(200).json();
    assert_eq!((&seen["targets"], &seen["matchers"]), (&json!(3), &json!(["target=~web-.+"])), "{seen}");
    assert_eq!(seen["policies"], json!([{"name": "p", "targets": 3}, {"name": "r", "targets": 3}]), "{seen}");
    let of: Vec<&Value> =
        seen["incidents"].as_array().unwrap().iter().map(|one| &one["policy_name"]).collect();
    assert_eq!((of.len(), &seen["incidents"][0]["target"]), (2, &json!("web-1")), "{seen}");
    let times = seen["intervals"].as_array().unwrap();
    assert_eq!(times.len(), 5, "{seen}");
    for one in times {
        let from = one["from"].as_str().unwrap();
        assert!(from.contains("T23:00:00") || from.contains("T22:00:00"), "midnight in Berlin: {seen}");
    }
    // By a tag that only one of them has, and by one that none has.
    for (matcher, count) in [("tags.env=prod", 1), ("tags.env=~x.+", 0)] {
        let body = json!({"matchers": [matcher, "policy=p"], "duration": "1h"});
        let seen = vigil.post("/api/v1/silences/preview", &body).expect(200).json();
        assert_eq!(seen["incidents"].as_array().unwrap().len(), count, "{matcher}: {seen}");
        assert_eq!(seen["intervals"].as_array().unwrap().len(), 1, "{seen}");
    }
    assert_eq!(vigil.get_json("/api/v1/silences")["total"], 0, "nothing is kept");
}
