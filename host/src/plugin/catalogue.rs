//! Which plugins there are: a snapshot that is read without waiting and exchanged as a whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::load::Loaded;
use super::types::{Effects, Risk};

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[schema(as = PluginSource)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// It is part of the program.
    Embedded {
        /// Its name there.
        name: String,
    },
    /// It was dropped into the directory of plugins.
    File {
        /// The file.
        #[schema(value_type = String)]
        path: PathBuf,
    },
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded { name } => write!(f, "the embedded plugin {name}"),
            Self::File { path } => write!(f, "{}", path.display()),
        }
    }
}

/// Whether a plugin is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PluginStatus)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is.
    Active,
    /// It is not, since something is wrong with it.
    Refused,
    /// It is embedded, and a file has taken its place.
    Replaced,
}

/// Why a component is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// Its SHA-256, where it could be read.
    pub digest: Option<String>,
    /// When, Unix microseconds.
    pub at_us: i64,
}

/// One plugin as operators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PluginInfo {
    /// Its own name; of a refused one the file's.
    pub name: String,
    /// Its version; empty for a refused one.
    pub version: String,
    /// One line about it.
    pub summary: String,
    /// SHA-256 of its component in hexadecimal digits.
    pub digest: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Whether it is served.
    pub status: Status,
    /// Of a refused one, why; of a served one, what the operator should know, such as a missing grant.
    pub reason: Option<String>,
    /// A newer content of the same file that is not served while this one goes on.
    pub refused_update: Option<Refusal>,
    /// What it can do.
    pub actions: Vec<ActionInfo>,
    /// Interfaces that its component imports.
    pub imports: Vec<String>,
    /// Connections that it asks for.
    pub connections: Vec<SlotInfo>,
    /// Other capabilities that it asks for.
    pub capabilities: Vec<String>,
    /// Bytes of its component.
    pub size: u64,
    /// When it was loaded, or refused; Unix microseconds.
    pub loaded_at: i64,
}

/// One action of a plugin.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ActionInfo {
    /// Its name.
    pub name: String,
    /// A few words.
    pub title: String,
    /// A few sentences.
    pub description: String,
    /// What the host may do when the outcome of a run is unknown.
    pub effects: Effects,
    /// How much harm it can do.
    pub risk: Risk,
    /// JSON Schema of its parameters.
    pub params_schema: Value,
    /// Target kinds it applies to; empty: any.
    pub target_kinds: Vec<String>,
    /// The plugin's own idea of how long it takes, in milliseconds.
    pub timeout_ms: u64,
}

/// One connection that a plugin asks for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SlotInfo {
    /// The plugin's name for it.
    pub slot: String,
    /// Why it asks.
    pub reason: String,
    /// Whether it works without.
    pub optional: bool,
    /// The name of the connection that fills it.
    pub bound: Option<String>,
}

/// All plugins at one moment.
#[derive(Clone, Default)]
pub(super) struct Catalogue {
    entries: Vec<Entry>,
}

/// One source and what came of it.
#[derive(Clone)]
pub(super) struct Entry {
    /// Where from.
    pub(super) source: Source,
    /// The last good one.
    pub(super) active: Option<Arc<Loaded>>,
    /// Why the newest content is not it.
    pub(super) refusal: Option<Refusal>,
    /// Whether it may pass once another plugin is gone.
    pub(super) clash: bool,
}

impl Catalogue {
    /// Plugins that are served: without the embedded ones whose place a file has taken.
    pub(super) fn serving(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.entries.iter().filter(|e| !self.replaced(e)).filter_map(|e| e.active.as_ref())
    }

    /// What came of a source.
    pub(super) fn entry(&self, source: &Source) -> Option<&Entry> {
        self.entries.iter().find(|e| e.source == *source)
    }

    /// The same with another entry for its source.
    pub(super) fn with(&self, entry: Entry) -> Self {
        let mut entries = self.entries.clone();
        match entries.iter_mut().find(|e| e.source == entry.source) {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
        entries.sort_by(|a, b| a.source.cmp(&b.source));
        Self { entries }
    }

    /// The same without a source.
    pub(super) fn without(&self, source: &Source) -> Self {
        Self { entries: self.entries.iter().filter(|e| e.source != *source).cloned().collect() }
    }

    /// Files that were refused for another plugin's sake.
    pub(super) fn clashing(&self) -> Vec<PathBuf> {
        let path = |e: &Entry| match &e.source {
            Source::File { path } if e.clash => Some(path.clone()),
            Source::File { .. } | Source::Embedded { .. } => None,
        };
        self.entries.iter().filter_map(path).collect()
    }

    /// Whether another source has this name; if so, whose it is, unless it may be replaced.
    pub(super) fn taken(&self, source: &Source, name: &str, replace: &[String]) -> Option<String> {
        let other = self.entries.iter().find(|e| {
            let may = matches!(e.source, Source::Embedded { .. }) && replace.iter().any(|r| r == name);
            e.source != *source && !may && e.active.as_ref().is_some_and(|a| a.description.name == name)
        })?;
        Some(format!("has the name {name:?} of {} (plugins.replace does not list it)", other.source))
    }

    fn replaced(&self, entry: &Entry) -> bool {
        let Some(active) = &entry.active else { return false };
        let file = |e: &Entry| matches!(e.source, Source::File { .. });
        let same =
            |e: &Entry| e.active.as_ref().is_some_and(|a| a.description.name == active.description.name);
        !file(entry) && self.entries.iter().any(|e| file(e) && same(e))
    }

    /// Everything for operators, in order of name.
    pub(super) fn list(&self) -> Vec<PluginInfo> {
        let mut list: Vec<_> = self.entries.iter().filter_map(|e| self.info(e)).collect();
        list.sort_by(|a, b| (&a.name, &a.source).cmp(&(&b.name, &b.source)));
        list
    }

    fn info(&self, entry: &Entry) -> Option<PluginInfo> {
        let Some(active) = &entry.active else {
            return Some(refused(&entry.source, entry.refusal.as_ref()?));
        };
        let replaced = self.replaced(entry);
        let d = &active.description;
        Some(PluginInfo {
            name: d.name.clone(),
            version: d.version.clone(),
            summary: d.summary.clone(),
            digest: Some(active.digest.clone()),
            source: entry.source.clone(),
            status: if replaced { Status::Replaced } else { Status::Active },
            reason: active.note.clone(),
            refused_update: entry.refusal.clone(),
            actions: d.actions.iter().map(action).collect(),
            imports: active.imports.clone(),
            connections: slots(active),
            capabilities: d.others.clone(),
            size: active.size,
            loaded_at: active.since,
        })
    }
}

fn action(a: &super::description::Action) -> ActionInfo {
    ActionInfo {
        name: a.name.clone(),
        title: a.title.clone(),
        description: a.description.clone(),
        effects: a.effects,
        risk: a.risk,
        params_schema: a.schema.value.clone(),
        target_kinds: a.target_kinds.clone(),
        timeout_ms: u64::try_from(a.timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

fn slots(active: &Loaded) -> Vec<SlotInfo> {
    let slot = |s: &super::description::Slot| SlotInfo {
        slot: s.name.clone(),
        reason: s.reason.clone(),
        optional: s.optional,
        bound: active.bindings.get(&s.name).map(|c| c.name().to_owned()),
    };
    active.description.slots.iter().map(slot).collect()
}

fn refused(source: &Source, refusal: &Refusal) -> PluginInfo {
    let name = match source {
        Source::Embedded { name } => name.clone(),
        Source::File { path } => stem(path),
    };
    PluginInfo {
        name,
        version: String::new(),
        summary: String::new(),
        digest: refusal.digest.clone(),
        source: source.clone(),
        status: Status::Refused,
        reason: Some(refusal.reason.clone()),
        refused_update: None,
        actions: Vec::new(),
        imports: Vec::new(),
        connections: Vec::new(),
        capabilities: Vec::new(),
        size: 0,
        loaded_at: refusal.at_us,
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
