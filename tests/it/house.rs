//! The rules of the house: sizes, who may use what, what lies where, and that the components in `plugins/dist`
//! were built from this tree.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use sha2::{Digest, Sha256};

/// Lines of one file.
const LINES: usize = 400;
/// Lines of the README.
const README_LINES: usize = 150;
/// What stands at the top, beside what begins with a dot and what is built. Some of it may be missing.
const TOP: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "host",
    "plugin-sdk",
    "plugins",
    "wit",
    "migrations",
    "tests",
];
/// What is left behind by building, and ignored by git.
const BUILT: [&str; 1] = ["target"];
/// A dependency, and the only place that may name it.
const DOORS: [(&str, &str); 4] =
    [("sqlx", "store/"), ("wasmtime", "plugin/"), ("redis", "queue/redis.rs"), ("cel", "cel/")];
/// Where `unsafe` stands: compiled code is run as it is, and a test counts allocations.
const UNSAFE: [&str; 2] = ["cel/tests/alloc.rs", "plugin/cache.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All regular files below a directory, by their paths relative to the root.
fn files(below: &str) -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.join(below)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The host's sources: paths below `host/src` and their texts.
fn sources() -> BTreeMap<String, String> {
    let rust = files("host/src").into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| (path.trim_start_matches("host/src/").to_owned(), read(&path))).collect()
}

/// Lines of code with their numbers: without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines.map(|(n, line)| (n, line.split("//").next().unwrap_or_default()))
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for below in ["host/src", "plugin-sdk", "plugins", "tests/it"] {
        for path in files(below).into_iter().filter(|path| path.ends_with(".rs")) {
            let lines = read(&path).lines().count();
            if lines > LINES {
                long.push(format!("{path}: {lines}"));
            }
        }
    }
    assert!(long.is_empty(), "files of more than {LINES} lines, to be split by thing: {long:#?}");
}

#[test]
fn the_readme_is_short() {
    if root().join("README.md").exists() {
        let lines = read("README.md").lines().count();
        assert!(lines <= README_LINES, "README.md has {lines} lines, at most {README_LINES}");
    }
}

#[test]
fn the_top_level_is_the_agreed_one() {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let strange: Vec<String> = names
        .filter(|name| {
            !name.starts_with('.') && !TOP.contains(&name.as_str()) && !BUILT.contains(&name.as_str())
        })
        .collect();
    assert!(strange.is_empty(), "at the top level and not agreed: {strange:?}");
}

#[test]
fn each_dependency_has_one_door() {
    let mut wrong = Vec::new();
    for (dependency, door) in DOORS {
        // The crate's name at the beginning of a path: `crate::cel` and a text are none.
        let named = Regex::new(&format!(
            r#"(^|[^\w:"]){dependency}::|\buse {dependency}\b|\bextern crate {dependency}\b"#
        ))
        .unwrap();
        // In the file that declares a module of that name, the name is the module's.
        let own = Regex::new(&format!(r"(?m)^\s*(pub(\([a-z]+\))? )?mod {dependency};")).unwrap();
        let mut used = false;
        for (path, text) in &sources() {
            for (line, code) in code(text).filter(|(_, code)| named.is_match(code)) {
                if path.starts_with(door) {
                    used = true;
                } else if !own.is_match(text) {
                    wrong.push(format!("{path}:{line} says {dependency}: {}", code.trim()));
                }
            }
        }
        assert!(used, "{door} does not use {dependency} any more: this test looks for the wrong thing");
    }
    assert!(wrong.is_empty(), "each dependency is named in one place only {DOORS:?}: {wrong:#?}");
}

#[test]
fn unsafe_stands_where_it_is_known() {
    let word = Regex::new(r"\bunsafe_code\b|\bunsafe\s*(\{|fn|impl|extern)").unwrap();
    let found: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(_, text)| code(text).any(|(_, code)| word.is_match(code)))
        .map(|(path, _)| path)
        .collect();
    let known: BTreeSet<String> = UNSAFE.map(str::to_owned).into();
    assert_eq!(found, known, "unsafe code stands in these files and no others");
    let cache = sources()["plugin/cache.rs"].matches("expect(unsafe_code").count();
    assert_eq!(cache, 1, "plugin/cache.rs has one `expect(unsafe_code`");
}

/// `module | may import | owns` of `host/ARCHITECTURE.md`: each module and what it may import, none for
/// anything.
fn allowed() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let text = read("host/ARCHITECTURE.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_ascii_lowercase()).collect()
    };
    let header = |line: &&str| {
        let cells = cells(line);
        cells.len() >= 2 && cells[0] == "module" && cells[1].starts_with("may import")
    };
    let rows = text.lines().skip_while(|line| !header(line)).skip(2).take_while(|line| line.contains('|'));
    let word = Regex::new(r"[a-z_]+").unwrap();
    let words =
        |cell: &str| -> BTreeSet<String> { word.find_iter(cell).map(|w| w.as_str().to_owned()).collect() };
    rows.flat_map(|row| {
        let cells = cells(row);
        let anything = ["all", "anything", "everything"].iter().any(|all| words(&cells[1]).contains(*all));
        let may = (!anything).then(|| words(&cells[1]));
        words(&cells[0].replace(".rs", "")).into_iter().map(move |module| (module, may.clone()))
    })
    .collect()
}

/// A file without its tests, which may use anything: nothing for a file of tests.
fn product<'a>(path: &str, text: &'a str) -> &'a str {
    if path.split('/').any(|part| part == "tests" || part == "tests.rs") {
        return "";
    }
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
}

/// What the host's modules import of each other: from, to, where.
fn imports() -> Vec<(String, String, String)> {
    let path = Regex::new(r"\b(?:crate|vigil_host)::(?:(\w+)|\{([^}]*)\})").unwrap();
    let mut found = Vec::new();
    for (file, text) in sources() {
        let module = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        for (line, code) in code(product(&file, &text)) {
            for capture in path.captures_iter(code) {
                let single = capture.get(1).map(|name| name.as_str());
                let several = capture.get(2).map_or("", |list| list.as_str());
                let several = several.split(',').filter_map(|item| item.trim().split("::").next());
                for to in single.into_iter().chain(several).filter(|to| !to.is_empty() && *to != "self") {
                    found.push((module.clone(), to.to_owned(), format!("{file}:{line}")));
                }
            }
        }
    }
    found
}

#[test]
fn modules_import_what_the_table_allows() {
    let allowed = allowed();
    assert!(allowed.len() > 5, "the table `module | may import | owns` was not found: {allowed:?}");
    let modules: BTreeSet<String> = sources()
        .keys()
        .map(|path| path.split('/').next().unwrap().trim_end_matches(".rs").to_owned())
        .filter(|module| module != "lib" && module != "main")
        .collect();
    let missing: Vec<&String> = modules.iter().filter(|module| !allowed.contains_key(*module)).collect();
    assert!(missing.is_empty(), "modules without a row: {missing:?}");
    let mut wrong = Vec::new();
    for (from, to, place) in imports() {
        let Some(Some(may)) = allowed.get(&from) else { continue };
        // Constants and types at the crate's root are no module.
        if from != to && modules.contains(&to) && !may.contains(&to) {
            wrong.push(format!("{place}: {from} may not import {to}"));
        }
    }
    assert!(wrong.is_empty(), "not in the table of host/ARCHITECTURE.md: {wrong:#?}");
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash of a component's sources, as `plugins/build` describes it.
fn source_hash(name: &str) -> String {
    let below = [format!("plugins/{name}"), "plugin-sdk".to_owned(), "wit".to_owned()];
    let mut paths: Vec<String> = below.iter().flat_map(|below| files(below)).collect();
    paths.retain(|path| !path.ends_with(".md"));
    paths.extend(["Cargo.toml".to_owned(), "plugins/build".to_owned()]);
    paths.sort();
    let listing: String = paths
        .iter()
        .map(|path| format!("{}  {path}\n", hash(&fs::read(root().join(path)).unwrap())))
        .collect();
    hash(listing.as_bytes())
}

#[test]
fn the_components_are_built_from_this_tree() {
    let lock = read("plugins/dist/LOCK");
    let components = files("plugins/dist").into_iter().filter(|path| path.ends_with(".wasm"));
    let names: BTreeSet<String> = components
        .map(|path| path.trim_start_matches("plugins/dist/").trim_end_matches(".wasm").to_owned())
        .collect();
    let mut locked = BTreeSet::new();
    for line in lock.lines() {
        let [name, source, component, toolchain] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?} is not NAME SOURCE COMPONENT TOOLCHAIN");
        };
        let wasm = fs::read(root().join(format!("plugins/dist/{name}.wasm"))).unwrap();
        assert_eq!(component, hash(&wasm), "plugins/dist/{name}.wasm is not the component in LOCK");
        assert_eq!(
            source,
            source_hash(name),
            "the source of {name} has changed since it was built: run plugins/build"
        );
        assert!(toolchain.starts_with("rustc "), "{name}: a toolchain, not {toolchain:?}");
        locked.insert(name.to_owned());
    }
    assert_eq!(locked, names, "LOCK and plugins/dist name other components");
}

/// Every fault that can be planted stands in the table of invariants, and every test that it names exists.
#[test]
fn each_invariant_names_its_tests_and_faults() {
    let root = root();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let table = read("host/INVARIANTS.md");
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")).collect();
    assert_eq!(rows.len(), 18, "one line for each of the eighteen");
    let quoted = Regex::new("`([^`]+)`").unwrap();
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        let names =
            |cell: &str| quoted.captures_iter(cell).map(|found| found[1].to_owned()).collect::<Vec<_>>();
        let (tests, faults) = (names(cells[3]), names(cells[4]));
        assert!(!tests.is_empty() && !faults.is_empty(), "{row}");
        for test in tests {
            let path = match test.strip_prefix("it ") {
                Some(name) => format!("tests/it/{name}"),
                None => format!("host/src/{}", test.replace("::", "/")),
            };
            assert!(root.join(format!("{path}.rs")).exists(), "{test}: there is no {path}.rs");
        }
        listed.extend(faults);
    }
    let code = read("host/src/domain/mutant.rs");
    let faults = code.split_once("enum Fault {").unwrap().1.split_once("\n}").unwrap().0;
    let known: BTreeSet<String> = faults
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .map(|line| line.trim_end_matches(',').to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(listed, known, "the faults of the table and those of the code");
}
