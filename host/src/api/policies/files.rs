//! Policies from files: read at start, and brought in line with the database in one transaction.

mod met;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::met::met;
use super::read::draft;
use crate::api::input::holds_nul;
use crate::clock::Clock;
use crate::config::{AuthMode, Config};
use crate::domain::policy::{Mode, Policy, Source};
use crate::domain::spelling::did_you_mean;
use crate::store::{Change, Edition, Store};

/// Largest policy file, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Most policies of one file.
const MOST: usize = 10_000;

/// Where policies are looked for, each time anew: a file may appear later.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    named: Vec<PathBuf>,
    bases: Vec<PathBuf>,
    config_path: Option<PathBuf>,
    directory: PathBuf,
    approvers: bool,
}

/// Where the seed's policies lie.
const SEED: [&str; 2] = ["configs/policies.yaml", "configs/policies.json"];

impl Sources {
    /// Those of the configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            named: config.policies.paths.clone(),
            bases: config.policies.bases.clone(),
            config_path: config.policies.config_path.clone(),
            directory: config.data_path("policies"),
            approvers: config.auth.mode == AuthMode::Token,
        }
    }

    /// Files and directories in the order in which they are read. Only what the configuration names must exist.
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.config_path.iter().cloned().collect();
        paths.extend(SEED.iter().map(|seed| self.place(Path::new(seed))).filter(|path| path.is_file()));
        paths.extend(self.named.iter().map(|path| self.place(path)));
        paths.extend(Some(self.directory.clone()).filter(|directory| directory.is_dir()));
        let mut seen = HashSet::new();
        paths.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
        paths
    }

    /// A relative path is looked for beside the configuration file, then in the working directory. The seed's own
    /// file lies in `configs` itself, beside which `configs/…` is.
    fn place(&self, path: &Path) -> PathBuf {
        let beside = self.bases.iter().flat_map(|base| {
            let above = base.parent().filter(|_| base.file_name().is_some_and(|name| name == "configs"));
            [Some(base.join(path)), above.map(|above| above.join(path))]
        });
        beside.flatten().find(|candidate| candidate.exists()).unwrap_or_else(|| path.to_owned())
    }
}

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
    /// What the authors of the others should know.
    pub notes: Vec<String>,
    /// How many policies there are now.
    pub total: usize,
    /// The policies' revision now.
    pub rev: i64,
}

/// A file or directory that can't be read, and why.
#[derive(Debug)]
pub struct Unreadable {
    /// Which one.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files or directories can't be read: all of them.
    #[error("{}", .0.iter().map(|file| format!("{}: {}", file.path.display(), file.why)).collect::<Vec<_>>().join("; "))]
    Files(Vec<Unreadable>),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

/// How often a sync is begun again because somebody changed a policy meanwhile.
const TRIES: usize = 10;

/// Reads the sources and adds, changes and removes policies that came from files, in one transaction. Those made
/// over the API are left alone. A bad entry is skipped and named; a file that can't be read changes nothing at all.
pub async fn sync(store: &Store, clock: &Clock, sources: &Sources) -> Result<Synced, Error> {
    let sources = sources.clone();
    // Reading and compiling takes its time; other requests go on.
    let read = tokio::task::spawn_blocking(move || Entries::read(&sources)).await;
    let entries = read.map_err(|_| crate::store::Error::Broken("the reading ended early".to_owned()))??;
    for _ in 0..TRIES {
        let (stored, rev) = store.policies().await?;
        let (changes, mut synced) = entries.changes(&stored);
        synced.total = stored.len() + synced.added.len() - synced.removed.len();
        synced.rev = rev;
        if changes.is_empty() {
            return Ok(synced);
        }
        match store.change_policies(&changes, "file", clock.now()).await {
            Ok(rev) => return Ok(Synced { rev, ..synced }),
            Err(crate::store::Error::Conflict) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(crate::store::Error::Conflict.into())
}

/// What the files say.
#[derive(Default)]
struct Entries {
    /// The good ones, in order.
    drafts: Vec<(PathBuf, super::Draft)>,
    /// Names that stand in the files, also of bad entries: a policy is not removed for a typing error.
    names: HashSet<String>,
    errors: Vec<String>,
    notes: Vec<String>,
    /// Whether anybody could approve.
    approvers: bool,
}

impl Entries {
    fn read(sources: &Sources) -> Result<Self, Error> {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for path in sources.paths() {
            match files(&path) {
                Ok(files) => {
                    for file in files {
                        match read(&file) {
                            Ok(entries) => {
                                found.extend(entries.into_iter().map(|entry| (file.clone(), entry)));
                            }
                            Err(wrong) => unreadable.push(wrong),
                        }
                    }
                }
                Err(wrong) => unreadable.push(wrong),
            }
        }
        if !unreadable.is_empty() {
            return Err(Error::Files(unreadable));
        }
        let mut entries = Self { approvers: sources.approvers, ..Self::default() };
        for (file, entry) in found {
            entries.take(file, &entry);
        }
        Ok(entries)
    }

    fn take(&mut self, file: PathBuf, entry: &Value) {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or("(no name)").trim().to_owned();
        let place = format!("{}: {name}", file.display());
        if !self.names.insert(name) {
            self.errors.push(format!("{place}: a policy of that name stands before it"));
            return;
        }
        match checked(entry) {
            Ok(draft) if draft.spec.mode == Mode::Approve && !self.approvers => {
                self.errors.push(format!("{place}: mode: with authentication off there is no approver"));
            }
            Ok(draft) => {
                self.notes.extend(draft.warnings.iter().map(|warning| format!("{place}: {warning}")));
                self.drafts.push((file, draft));
            }
            Err(problem) => self.errors.push(format!("{place}: {}", problem.text())),
        }
    }

    /// What must change for the database to say what the files say.
    fn changes(&self, stored: &[Policy]) -> (Vec<Change>, Synced) {
        let by_name: HashMap<&str, &Policy> =
            stored.iter().map(|policy| (policy.name.as_str(), policy)).collect();
        let mut synced =
            Synced { errors: self.errors.clone(), notes: self.notes.clone(), ..Synced::default() };
        let mut changes = Vec::new();
        for (file, draft) in &self.drafts {
            let known = by_name.get(draft.spec.name.as_str()).copied();
            changes.extend(one(known, draft, (file, self.approvers), &mut synced));
        }
        for policy in stored.iter().filter(|p| p.source == Source::File && !self.names.contains(&p.name)) {
            changes.push(Change::Remove { edition: Edition::of(policy), name: policy.name.clone() });
            synced.removed.push(policy.name.clone());
        }
        (changes, synced)
    }
}

fn one(
    known: Option<&Policy>,
    draft: &super::Draft,
    (file, approvers): (&Path, bool),
    synced: &mut Synced,
) -> Vec<Change> {
    let name = draft.spec.name.clone();
    let (spec, declared, source) = (Box::new(draft.spec.clone()), Some(draft.enabled), Source::File);
    match known {
        None => {
            synced.added.push(name);
            vec![Change::Add { spec, enabled: draft.enabled, source, declared }]
        }
        Some(known) if known.source == Source::Api => {
            let place = file.display();
            synced
                .errors
                .push(format!("{place}: {name}: a policy of that name was made over the API and is kept"));
            Vec::new()
        }
        Some(known) => met(known, draft, (file, approvers), synced),
    }
}

/// One policy of a file, checked as the server does it when it reads its files.
pub fn checked(entry: &Value) -> Result<super::Draft, super::Fault> {
    if holds_nul(entry) {
        return Err(super::Fault::bad("a text holds NUL, which no database can keep"));
    }
    let mut draft = draft(entry)?;
    if entry.get("auto_remediate").is_none() && entry.get("mode").is_none() {
        draft.warnings.push("says nothing of auto_remediate, so it only observes".to_owned());
    }
    Ok(draft)
}

/// The policies of those files and directories, and of `more`, which stands in that file; or all their faults, each with
/// its place. What the server would skip is a fault here.
pub fn drafts(paths: &[PathBuf], more: (PathBuf, Vec<Value>)) -> Result<Vec<super::Draft>, Vec<String>> {
    // Whether anybody can be asked is the server's to say.
    let mut entries = Entries { approvers: true, ..Entries::default() };
    let mut take = |path: &Path| -> Result<(), Unreadable> {
        for file in files(path)? {
            for entry in read(&file)? {
                entries.take(file.clone(), &entry);
            }
        }
        Ok(())
    };
    let unread: Vec<String> = paths
        .iter()
        .filter_map(|path| take(path).err())
        .map(|wrong| format!("{}: {}", wrong.path.display(), wrong.why))
        .collect();
    for entry in more.1 {
        entries.take(more.0.clone(), &entry);
    }
    entries.errors.extend(unread);
    if entries.errors.is_empty() {
        Ok(entries.drafts.into_iter().map(|(_, draft)| draft).collect())
    } else {
        Err(entries.errors)
    }
}

/// The entries of those files and directories as their authors wrote them.
pub fn entries(paths: &[PathBuf]) -> Result<Vec<Value>, Vec<String>> {
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for path in paths {
        match files(path).and_then(|files| files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>())
        {
            Ok(found) => all.extend(found.into_iter().flatten()),
            Err(wrong) => unread.push(format!("{}: {}", wrong.path.display(), wrong.why)),
        }
    }
    if unread.is_empty() { Ok(all) } else { Err(unread) }
}

/// The file itself, or the YAML and JSON files of a directory in the order of their names.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let wrong = |why: std::io::Error| Unreadable { path: path.to_owned(), why: why.to_string() };
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

fn read(path: &Path) -> Result<Vec<Value>, Unreadable> {
    parsed(&text(path)?).map_err(|fault| Unreadable { path: path.to_owned(), why: fault.why })
}

/// The text of a policy file that is not too large.
pub fn text(path: &Path) -> Result<String, Unreadable> {
    let wrong = |why: String| Unreadable { path: path.to_owned(), why };
    let size = std::fs::metadata(path).map_err(|why| wrong(why.to_string()))?.len();
    if size > LARGEST {
        return Err(wrong(format!("has {size} bytes; a policy file has at most {LARGEST}")));
    }
    std::fs::read_to_string(path).map_err(|why| wrong(why.to_string()))
}

/// Why a text is no policy file.
#[derive(Debug)]
pub struct Unparsed {
    /// In words.
    pub why: String,
    /// Line and column, from 1, where the parser knows them.
    pub at: Option<(usize, usize)>,
}

/// The policies of a file's text, as they are written.
pub fn parsed(text: &str) -> Result<Vec<Value>, Unparsed> {
    let wrong = |why: String| Unparsed { why, at: None };
    // YAML contains JSON. Anchors are expanded within the parser's budget.
    let value: Value = serde_saphyr::from_str(text).map_err(|why| {
        let place = |at: serde_saphyr::Location| (usize::try_from(at.line()), usize::try_from(at.column()));
        let at = why.location().map(place).and_then(|(line, column)| Some((line.ok()?, column.ok()?)));
        Unparsed { why: why.to_string(), at }
    })?;
    let list = match value {
        Value::Null => json!([]),
        Value::Object(mut members) => match members.remove("policies") {
            Some(policies) => policies,
            None => match members
                .keys()
                .find(|key| !did_you_mean(key, std::iter::once("policies")).is_empty())
            {
                Some(key) => return Err(wrong(format!("has no `policies`; did you mean it by `{key}`?"))),
                None => json!([]),
            },
        },
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
