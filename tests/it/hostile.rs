//! Hostile plugins, dropped into a running server: each is refused in words or its attempt fails in words;
//! the server lives, its other plugins work, its memory is bounded, and ingesting goes on as fast as before.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attempts;
pub(crate) use crate::hostile_fixtures as fixtures;
mod refused;
mod speed;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Options, Vigil};

/// What anything here may take at most; a debug build compiles a component in seconds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// A server for plugins that misbehave: an attempt is not repeated.
fn settings() -> Options {
    Options::default().config("[retry]\nmax_attempts = 1\n")
}

pub(crate) fn plugins_dir(vigil: &Vigil) -> PathBuf {
    vigil.data_dir().join("plugins")
}

/// Puts a file among the plugins as an operator should: complete by its renaming.
pub(crate) fn put(vigil: &Vigil, file: &str, bytes: &[u8]) {
    let half = plugins_dir(vigil).join(format!(".{file}.new"));
    fs::write(&half, bytes).unwrap();
    fs::rename(half, plugins_dir(vigil).join(file)).unwrap();
}

/// What the server says about the plugin of a file; `None` where it has not looked at it yet.
pub(crate) fn of_file(listing: &Value, file: &str) -> Option<Value> {
    let here = |plugin: &&Value| {
        plugin["source"]["path"].as_str().is_some_and(|path| path.ends_with(&format!("/{file}")))
    };
    listing["plugins"].as_array().unwrap().iter().find(here).cloned()
}

/// Waits until the server has an opinion about a file that satisfies `done`.
#[track_caller]
pub(crate) fn wait_file(vigil: &Vigil, file: &str, done: impl Fn(&Value) -> bool) -> Value {
    let listing = vigil.wait_json("/api/v1/plugins", PATIENCE, |listing| {
        of_file(listing, file).is_some_and(|plugin| done(&plugin))
    });
    of_file(&listing, file).unwrap()
}

/// Puts a component there and waits until it is served.
#[track_caller]
pub(crate) fn serve(vigil: &Vigil, name: &str) -> Value {
    let file = format!("{name}.wasm");
    put(vigil, &file, &fixtures::component(name));
    let plugin = wait_file(vigil, &file, |_| true);
    assert_eq!(plugin["status"], "active", "{name} should be served: {plugin}");
    plugin
}

/// Queues an action of a kind; answers its id.
#[track_caller]
pub(crate) fn queue(vigil: &Vigil, kind: &str, target: &str) -> i64 {
    let action = json!({"target": target, "action": kind, "queue_immediately": true});
    vigil.post_json("/api/v1/actions", &action)["action_id"].as_i64().unwrap()
}

/// Waits until an action has ended; answers it.
#[track_caller]
pub(crate) fn ended(vigil: &Vigil, id: i64) -> Value {
    vigil.wait_json(&format!("/api/v1/actions/{id}"), PATIENCE, |action| {
        ["completed", "failed", "cancelled"].iter().any(|status| action["status"] == *status)
    })
}

/// The only attempt of an action that has ended.
#[track_caller]
pub(crate) fn attempt(vigil: &Vigil, id: i64) -> Value {
    let attempts = vigil.get_json(&format!("/api/v1/actions/{id}/attempts"));
    let list = attempts["attempts"].as_array().unwrap();
    assert_eq!(list.len(), 1, "one attempt: {attempts}");
    list[0].clone()
}

/// A plugin that behaves still does its work.
#[track_caller]
fn others_work(vigil: &Vigil, after: &str) {
    let id = queue(vigil, "noop", &format!("after-{after}"));
    let action = ended(vigil, id);
    assert_eq!(action["status"], "completed", "another plugin after {after}: {action}");
    let health = vigil.get("/health");
    assert_eq!(health.status, 200, "alive after {after}");
}
