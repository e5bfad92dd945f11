//! Plugin files come, change, break and go while the server runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hostile::{PATIENCE, attempt, ended, fixtures, of_file, plugins_dir, put, queue, wait_file};
use crate::support::{Options, Vigil};

/// The file of the plugin that all of this is about.
const FILE: &str = "sleeps.wasm";

/// The fixture `sleeps` with another length of its sleep, which is written into its one `i64.const`.
fn sleeper(millis: u32) -> Vec<u8> {
    let mut bytes = fixtures::component("sleeps");
    let (before, after) = (leb128(86_400_000), leb128(millis));
    let at = bytes.windows(4).position(|four| four == before).expect("the length of its sleep");
    bytes[at..at + 4].copy_from_slice(&after);
    bytes
}

/// A positive number in four bytes of signed LEB128.
fn leb128(number: u32) -> [u8; 4] {
    assert!(number < 1 << 27, "it fits");
    let part = |n: u32| ((number >> (7 * n)) & 0x7f) as u8;
    [part(0) | 0x80, part(1) | 0x80, part(2) | 0x80, part(3)]
}

/// Waits until a file's plugin is served with another digest than `before`; answers the digest.
#[track_caller]
fn served(vigil: &Vigil, before: Option<&str>) -> String {
    let plugin = wait_file(vigil, FILE, |p| p["status"] == "active" && p["digest"].as_str() != before);
    plugin["digest"].as_str().unwrap().to_owned()
}

#[track_caller]
fn wait_gone(vigil: &Vigil) {
    vigil.wait_json("/api/v1/plugins", PATIENCE, |listing| of_file(listing, FILE).is_none());
}

#[test]
fn a_dropped_file_is_soon_served() {
    let vigil = Vigil::start(Options::default());
    let quick = sleeper(1);
    put(&vigil, FILE, &quick);
    served(&vigil, None);
    fs::remove_file(plugins_dir(&vigil).join(FILE)).unwrap();
    wait_gone(&vigil);
    // Compiled once, it is found in the cache, so that this is the time of the watcher alone. On a quiet
    // machine it is under two seconds; the best of three leaves room for a busy one.
    let mut times = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        put(&vigil, FILE, &quick);
        served(&vigil, None);
        times.push(begun.elapsed());
        fs::remove_file(plugins_dir(&vigil).join(FILE)).unwrap();
        wait_gone(&vigil);
    }
    let best = times.iter().min().unwrap();
    assert!(*best < Duration::from_secs(2), "a dropped file was served after {times:?}");
}

#[test]
fn running_attempts_finish_on_the_old_one() {
    let vigil = Vigil::start(Options::default());
    let (quick, slow) = (sleeper(1), sleeper(4_000));
    // The quick one is compiled before, so that replacing the slow one takes no time.
    put(&vigil, FILE, &quick);
    let new = served(&vigil, None);
    put(&vigil, FILE, &slow);
    let old = served(&vigil, Some(&new));
    let running = queue(&vigil, "sleeps", "web-01");
    vigil.wait_json(&format!("/api/v1/actions/{running}"), PATIENCE, |action| action["status"] == "running");
    put(&vigil, FILE, &quick);
    assert_eq!(served(&vigil, Some(&old)), new, "the replacement is served");
    let next = queue(&vigil, "sleeps", "web-02");
    for (id, digest, which) in [(next, &new, "the next attempt"), (running, &old, "the running attempt")] {
        let action = ended(&vigil, id);
        let attempt = attempt(&vigil, id);
        assert_eq!(attempt["digest"].as_str(), Some(digest.as_str()), "{which}: {attempt}");
        assert_eq!(action["status"], "completed", "{which}: {action}");
    }
}

#[test]
fn a_broken_replacement_is_refused_and_the_old_one_goes_on() {
    let vigil = Vigil::start(Options::default());
    let quick = sleeper(1);
    put(&vigil, FILE, &quick);
    let digest = served(&vigil, None);
    for (name, bytes, reason) in [
        ("text", b"not a component".to_vec(), "is text"),
        ("nothing", Vec::new(), "is empty"),
        ("half", quick[..quick.len() / 2].to_vec(), "is truncated"),
        ("a component that traps", fixtures::component("describe-traps"), "it trapped"),
    ] {
        put(&vigil, FILE, &bytes);
        let told = |plugin: &Value| {
            plugin["refused_update"]["reason"].as_str().is_some_and(|said| said.contains(reason))
        };
        let plugin = wait_file(&vigil, FILE, told);
        assert_eq!(
            (&plugin["status"], plugin["digest"].as_str()),
            (&Value::from("active"), Some(digest.as_str())),
            "{name}"
        );
        let id = queue(&vigil, "sleeps", name);
        assert_eq!(ended(&vigil, id)["status"], "completed", "the old one goes on beside {name}");
        assert_eq!(attempt(&vigil, id)["digest"].as_str(), Some(digest.as_str()), "{name}");
    }
    put(&vigil, FILE, &quick);
    let plugin = wait_file(&vigil, FILE, |plugin| plugin["refused_update"].is_null());
    assert_eq!(plugin["digest"].as_str(), Some(digest.as_str()), "a good file again: {plugin}");
}

/// A file that is written slowly, in its place, is taken when it is whole; at no time is half of it served.
#[test]
fn a_file_that_grows_is_not_taken_before_it_is_whole() {
    let vigil = Vigil::start(Options::default());
    let quick = sleeper(1);
    let mut file = fs::File::create(plugins_dir(&vigil).join(FILE)).unwrap();
    for part in quick.chunks(quick.len().div_ceil(8)) {
        std::io::Write::write_all(&mut file, part).unwrap();
        std::thread::sleep(Duration::from_millis(120));
        if let Some(plugin) = of_file(&vigil.get_json("/api/v1/plugins"), FILE) {
            let half = plugin["status"] == "active" && plugin["size"] != quick.len();
            assert!(!half, "half a file is served: {plugin}");
        }
    }
    drop(file);
    served(&vigil, None);
}

#[test]
fn a_removed_file_is_gone() {
    let mut vigil = Vigil::start(Options::default());
    put(&vigil, FILE, &sleeper(1));
    served(&vigil, None);
    assert_eq!(ended(&vigil, queue(&vigil, "sleeps", "web-01"))["status"], "completed", "it is served");
    fs::remove_file(plugins_dir(&vigil).join(FILE)).unwrap();
    wait_gone(&vigil);
    let action = ended(&vigil, queue(&vigil, "sleeps", "web-02"));
    let said = action["error_message"].as_str().unwrap_or_default();
    assert!(said.starts_with("no_plugin: "), "{action}");
    vigil.restart();
    assert_eq!(of_file(&vigil.get_json("/api/v1/plugins"), FILE), None, "nor does it come back");
}
