//! A disk without room, in a file system of the server's own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::json;

use crate::stage::stored;
use crate::support::{Options, Vigil, program, temp_dir};

/// Mounts a small file system where the data is to be, then becomes the server: same process, same id.
const SCRIPT: &str =
    r#"mount --make-rprivate / 2>/dev/null; mount -t tmpfs -o size=8m none "$VIGIL_TEST_DATA" && exec "$@""#;

fn small_disk(data: &std::path::Path) -> Options {
    let unshare = program("unshare", "util-linux").display().to_string();
    let mut prefix = vec![unshare, "--mount".to_owned(), "--propagation".to_owned(), "unchanged".to_owned()];
    if !geteuid().is_root() {
        prefix.push("--map-root-user".to_owned());
    }
    prefix.extend(["sh", "-c", SCRIPT, "sh"].map(str::to_owned));
    let mut options = Options::default().env("VIGIL_TEST_DATA", data.display().to_string());
    options.prefix = prefix;
    options.data_dir = Some(data.to_owned());
    options
}

#[test]
fn a_full_disk_refuses_events_loses_none_and_recovers_without_a_restart() {
    let place = temp_dir();
    let data = place.path().join("data");
    fs::create_dir(&data).expect("a place to mount on");
    let vigil = Vigil::start(small_disk(&data));
    let inside = PathBuf::from(format!("/proc/{}/root{}", vigil.pid(), data.display()));
    let ballast = inside.join("ballast");
    fs::write(&ballast, vec![1; 2 << 20]).expect("a ballast");
    let mut acknowledged = Vec::new();
    let mut post = |number: usize| {
        let tags = json!({"service": format!("disk-{number}"), "note": "x".repeat(900)});
        let body = json!([{"name": "room", "value": number, "tags": tags}]);
        let answer = vigil.post("/api/v1/ingest", &body);
        if answer.status == 201 {
            acknowledged.push(answer.json()["metric_id"].as_i64().expect("an id"));
        }
        (answer.status, answer.header("retry-after").map(str::to_owned))
    };
    let refused = (0..20_000).map(&mut post).find(|(status, _)| *status != 201).expect("it must fill up");
    assert!([503, 507].contains(&refused.0), "{refused:?}");
    assert!(refused.1.is_some(), "a refusal says when to come back");
    assert_eq!(vigil.get("/health").status, 200);
    fs::remove_file(&ballast).expect("room again");
    let mut last = (0, None);
    let again = std::time::Instant::now();
    while last.0 != 201 {
        assert!(again.elapsed() < Duration::from_secs(30), "still {last:?}; its log:\n{}", vigil.log());
        last = post(20_001);
    }
    let copy = place.path().join("copy");
    fs::create_dir(&copy).expect("a place for the copy");
    for file in ["vigil.db", "vigil.db-wal"] {
        fs::copy(inside.join(file), copy.join(file)).expect("the database's files");
    }
    let stored = stored(None, &copy);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged events are lost", lost.len(), acknowledged.len());
    println!("{} acknowledged before and after the disk was full", acknowledged.len());
}
