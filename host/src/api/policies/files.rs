//! Policies from files: read at start, and brought in line with the database in one transaction.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::read::draft;
use crate::clock::Clock;
use crate::domain::policy::{Policy, Source};
use crate::store::{Change, Store};

/// Largest policy file, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Most policies of one file.
const MOST: usize = 10_000;

/// What a sync did.
#[derive(Debug, Default)]
pub struct Synced {
    /// Names of new policies.
    pub added: Vec<String>,
    /// Names of changed ones.
    pub updated: Vec<String>,
    /// Names of removed ones.
    pub removed: Vec<String>,
    /// Entries that were skipped, each with its file, name and reason.
    pub errors: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory can't be read.
    #[error("{}: {why}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

/// Reads `paths` and adds, changes and removes policies that came from files. Those made over the API are
/// left alone. A bad entry is skipped and named; a file that can't be read changes nothing at all.
pub async fn sync(store: &Store, clock: &Clock, paths: &[PathBuf]) -> Result<Synced, Error> {
    let mut entries = Vec::new();
    for path in paths {
        for file in files(path)? {
            entries.extend(read(&file)?.into_iter().map(|entry| (file.clone(), entry)));
        }
    }
    let (stored, _) = store.policies().await?;
    let mut synced = Synced::default();
    let mut changes = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let by_name: HashMap<&str, &Policy> =
        stored.iter().map(|policy| (policy.name.as_str(), policy)).collect();
    for (file, entry) in entries {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or("(no name)").trim().to_owned();
        if !seen.insert(name.clone()) {
            synced.errors.push(format!("{}: {name}: a policy of that name stands before it", file.display()));
            continue;
        }
        match tokio::task::block_in_place(|| draft(&entry)) {
            Ok(draft) => one(&by_name, draft, &mut changes, &mut synced),
            Err(problem) => synced.errors.push(format!("{}: {name}: {}", file.display(), problem.text())),
        }
    }
    for policy in stored.iter().filter(|p| p.source == Source::File && !seen.contains(&p.name)) {
        changes.push(Change::Remove { name: policy.name.clone() });
        synced.removed.push(policy.name.clone());
    }
    if !changes.is_empty() {
        store.change_policies(&changes, "file", clock.now()).await?;
    }
    Ok(synced)
}

fn one(stored: &HashMap<&str, &Policy>, draft: super::Draft, changes: &mut Vec<Change>, synced: &mut Synced) {
    let name = draft.spec.name.clone();
    match stored.get(name.as_str()).copied() {
        None => {
            changes.push(Change::Add {
                spec: Box::new(draft.spec),
                enabled: draft.enabled,
                source: Source::File,
            });
            synced.added.push(name);
        }
        Some(known) if known.source == Source::Api => {
            synced.errors.push(format!("{name}: a policy of that name was made over the API and is kept"));
        }
        Some(known) if known.spec != draft.spec => {
            // Switching a file's policy off by hand outlives the next reading of the file.
            let spec = Box::new(draft.spec);
            changes.push(Change::Replace { spec, enabled: known.enabled, source: Source::File });
            synced.updated.push(name);
        }
        Some(_) => {}
    }
}

/// The file itself, or the YAML and JSON files of a directory in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |why: std::io::Error| Error::File { path: path.to_owned(), why: why.to_string() };
    if !std::fs::metadata(path).map_err(wrong)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        let kind = file.extension().and_then(|kind| kind.to_str());
        if matches!(kind, Some("yaml" | "yml" | "json")) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<Value>, Error> {
    let wrong = |why: String| Error::File { path: path.to_owned(), why };
    let size = std::fs::metadata(path).map_err(|why| wrong(why.to_string()))?.len();
    if size > LARGEST {
        return Err(wrong(format!("has {size} bytes; a policy file has at most {LARGEST}")));
    }
    let text = std::fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?;
    // YAML contains JSON. Anchors are expanded within the parser's budget.
    let value: Value = serde_saphyr::from_str(&text).map_err(|why| wrong(why.to_string()))?;
    let list = match value {
        Value::Null => json!([]),
        Value::Object(mut members) => members.remove("policies").unwrap_or(json!([])),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => other,
    };
    match list {
        Value::Array(items) if items.len() <= MOST => Ok(items),
        Value::Array(items) => Err(wrong(format!("has {} policies; at most {MOST}", items.len()))),
        Value::Null => Ok(Vec::new()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(wrong("`policies` must be a list".to_owned()))
        }
    }
}
