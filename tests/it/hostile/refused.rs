//! What must never be served, and why it is not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{fixtures, others_work, plugins_dir, put, serve, settings, wait_file};
use crate::pulse::resident;
use crate::support::{Vigil, wait_until};

/// Memory that all refusals together may cost.
const GROWTH: u64 = 96 << 20;

/// Components that are refused when they are loaded, and a part of the reason.
const COMPONENTS: [(&str, &str); 13] = [
    ("describe-bad-action", "an action's name is"),
    ("describe-bad-schema", "bad params-schema"),
    ("describe-bad-utf8", "could not be asked what it is"),
    ("describe-calls", "it must call nothing"),
    ("describe-loops", "it took too long"),
    ("describe-many-actions", "could not be asked what it is"),
    ("describe-no-actions", "action"),
    ("describe-out-of-bounds", "could not be asked what it is"),
    ("describe-traps", "it trapped"),
    ("memory-minimum", "cannot be run within the limits"),
    ("start-loops", "it took too long"),
    ("table-minimum", "cannot be run within the limits"),
    ("unknown-import", "imports evil:host/x@1.0.0, which the host does not offer"),
];

/// Files that are no plugins, and a part of the reason.
fn files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let noop = fixtures::component("noop");
    let core = wat::parse_str("(module (func (export \"execute\")))").unwrap();
    let supervisor = include_bytes!("../../../plugins/dist/supervisor.wasm");
    let mut damaged = noop.clone();
    let end = damaged.len();
    damaged[end / 2..end / 2 + 16].fill(0xff);
    vec![
        ("empty.wasm", Vec::new(), "is empty"),
        ("head.wasm", noop[..6].to_vec(), "is truncated"),
        ("truncated.wasm", noop[..noop.len() / 2].to_vec(), "is truncated"),
        ("damaged.wasm", damaged, "it "),
        ("text.wasm", b"(component)\n".to_vec(), "is text, not WebAssembly"),
        ("core.wasm", core, "is a core module: build for wasm32-wasip2"),
        (
            "elf.wasm",
            fs::read("/proc/self/exe").unwrap()[..4096].to_vec(),
            "is a program for this machine (ELF)",
        ),
        ("gzip.wasm", b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "is compressed (gzip)"),
        (
            "noise.wasm",
            (0..4096_u32).map(|n| (n * 2_654_435_761 >> 13) as u8 | 0x80).collect(),
            "is not WebAssembly",
        ),
        ("clash.wasm", supervisor.to_vec(), "has the name \"supervisor\" of the embedded plugin supervisor"),
        ("twin.wasm", noop, "has the name \"noop\" of "),
    ]
}

/// Entries of the directory that are not files of ours.
fn odd_entries(vigil: &Vigil) -> Vec<(&'static str, &'static str)> {
    let at = |name: &str| plugins_dir(vigil).join(name);
    let good = vigil.home().join("outside.wasm");
    fs::write(&good, fixtures::component("noop-unsafe")).unwrap();
    symlink(&good, at("link.wasm")).unwrap();
    symlink("/dev/zero", at("device.wasm")).unwrap();
    symlink("/nowhere", at("dangling.wasm")).unwrap();
    fs::create_dir(at("directory.wasm")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe.wasm"), fifo, 0o600.into(), 0).unwrap();
    fs::File::create(at("large.wasm")).unwrap().set_len((32 << 20) + 1).unwrap();
    fs::write(at("open.wasm"), fixtures::component("noop-unsafe")).unwrap();
    fs::set_permissions(at("open.wasm"), fs::Permissions::from_mode(0o666)).unwrap();
    vec![
        ("link.wasm", "is a symbolic link"),
        ("device.wasm", "is a symbolic link"),
        ("dangling.wasm", "is a symbolic link"),
        ("directory.wasm", "is no regular file"),
        ("pipe.wasm", "is no regular file"),
        ("large.wasm", "is larger than 32 MiB"),
        ("open.wasm", "can be written by everybody"),
    ]
}

#[track_caller]
fn refused(vigil: &Vigil, file: &str, reason: &str) {
    let plugin = wait_file(vigil, file, |_| true);
    assert_eq!(plugin["status"], "refused", "{file} is served: {plugin}");
    let said = plugin["reason"].as_str().unwrap_or_default();
    assert!(said.contains(reason), "{file}: {said:?} does not say {reason:?}");
    assert_eq!(plugin["actions"], serde_json::json!([]), "{file} offers nothing");
}

#[test]
fn what_is_no_plugin_is_refused_in_words() {
    let vigil = Vigil::start(settings());
    serve(&vigil, "noop");
    let memory = resident(vigil.pid());
    let mut contained = 0;
    for (file, bytes, reason) in files() {
        put(&vigil, file, &bytes);
        refused(&vigil, file, reason);
        contained += 1;
    }
    others_work(&vigil, "files");
    for (file, reason) in odd_entries(&vigil) {
        refused(&vigil, file, reason);
        contained += 1;
    }
    for (name, reason) in COMPONENTS {
        let file = format!("{name}.wasm");
        put(&vigil, &file, &fixtures::component(name));
        refused(&vigil, &file, reason);
        contained += 1;
    }
    others_work(&vigil, "components");
    assert_eq!(contained, 31, "every one was contained");
    let count = || vigil.metric("vigil_plugin_refused_total") >= f64::from(contained);
    wait_until(super::PATIENCE, "vigil_plugin_refused_total", count);
    let growth = resident(vigil.pid()).saturating_sub(memory);
    assert!(growth < GROWTH, "it grew by {} MiB", growth >> 20);
    let active = vigil.get_json("/api/v1/plugins");
    let served = active["plugins"].as_array().unwrap().iter().filter(|p| p["status"] == "active").count();
    assert_eq!(served, 3, "noop and the two embedded ones: {active}");
}

/// Every fixture is in one of the two tables, so that a new one cannot be forgotten.
#[test]
fn every_fixture_is_tested() {
    let mut tested: Vec<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    tested.extend(super::attempts::NAMES);
    tested.sort_unstable();
    assert_eq!(fixtures::names(), tested, "the tables name other fixtures than the directory holds");
}

#[test]
fn a_server_starts_among_bad_files() {
    let home = crate::support::temp_dir();
    let plugins = home.path().join("plugins");
    fs::create_dir_all(&plugins).unwrap();
    fs::write(plugins.join("empty.wasm"), b"").unwrap();
    fs::write(plugins.join("describe-loops.wasm"), fixtures::component("describe-loops")).unwrap();
    fs::write(plugins.join("noop.wasm"), fixtures::component("noop")).unwrap();
    let mut options = settings();
    options.data_dir = Some(home.path().to_owned());
    let vigil = Vigil::start(options);
    refused(&vigil, "empty.wasm", "is empty");
    refused(&vigil, "describe-loops.wasm", "it took too long");
    others_work(&vigil, "the start");
}
