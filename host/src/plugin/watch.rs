//! Keeps the catalogue in step with the directory of plugins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Inner;
use super::catalogue::{Entry, Refusal, Source};
use super::embedded::EMBEDDED;
use super::files::{self, Stamp};
use super::load::{self, Loaded};

/// What was seen of the directory.
#[derive(Default)]
pub(super) struct Seen {
    /// Files whose present content was dealt with.
    done: BTreeMap<PathBuf, Stamp>,
    /// Files that changed since the last look: they may still be growing.
    settling: BTreeMap<PathBuf, Stamp>,
}

impl Inner {
    /// Loads the plugins that are part of the program.
    pub(super) async fn load_embedded(&self) {
        for (name, bytes) in EMBEDDED {
            let source = Source::Embedded { name: (*name).to_owned() };
            self.take(source, Ok(bytes)).await;
        }
    }

    /// One look at the directory. At the start (`first`) files are taken as they are; later a new or
    /// changed file must look the same twice, since whoever writes it may not be done.
    pub(super) async fn scan(&self, first: bool) {
        let mut seen = self.seen.lock().await;
        let dir = self.dir.clone();
        let listed = match tokio::task::spawn_blocking(move || files::list(&dir)).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => {
                tracing::warn!(dir = %self.dir.display(), %error, "directory of plugins cannot be read");
                return;
            }
            Err(_) => return,
        };
        let gone: Vec<_> = seen.done.keys().filter(|path| !listed.contains_key(*path)).cloned().collect();
        let mut freed = !gone.is_empty();
        for path in gone {
            seen.done.remove(&path);
            self.remove(path);
        }
        seen.settling.retain(|path, _| listed.contains_key(path));
        for (path, stamp) in &listed {
            if seen.done.get(path) == Some(stamp) {
                continue;
            }
            if !first && seen.settling.insert(path.clone(), *stamp) != Some(*stamp) {
                continue;
            }
            seen.settling.remove(path);
            seen.done.insert(path.clone(), *stamp);
            freed |= self.take_file(path).await;
        }
        if freed {
            for path in self.catalogue().clashing() {
                self.take_file(&path).await;
            }
        }
    }

    fn remove(&self, path: PathBuf) {
        let source = Source::File { path };
        self.exchange(|catalogue| catalogue.without(&source));
        tracing::info!(%source, "plugin removed");
    }

    async fn take_file(&self, path: &Path) -> bool {
        let source = Source::File { path: path.to_owned() };
        let from = path.to_owned();
        let read = tokio::task::spawn_blocking(move || files::read(&from)).await;
        let bytes = read.unwrap_or_else(|_| Err("could not be read".to_owned()));
        self.take(source, bytes.as_deref().map_err(Clone::clone)).await
    }

    /// Puts a component into service, or says why not; what was served before goes on then. The answer
    /// is whether a name became free.
    async fn take(&self, source: Source, bytes: Result<&[u8], String>) -> bool {
        let old = self.catalogue().entry(&source).and_then(|e| e.active.clone());
        let digest = bytes.as_ref().ok().map(|b| load::digest(b));
        let same = old.clone().filter(|old| Some(&old.digest) == digest.as_ref());
        let taken = match (same, bytes) {
            (Some(same), _) => Ok(same),
            (None, Ok(bytes)) => self.prepare(&source, bytes).await,
            (None, Err(reason)) => Err(Refused { reason, clash: false }),
        };
        match taken {
            Ok(active) => {
                let freed = old.as_ref().is_some_and(|o| o.description.name != active.description.name);
                if old.is_none_or(|old| !Arc::ptr_eq(&old, &active)) {
                    self.counted.loads.fetch_add(1, Ordering::Relaxed);
                    let (name, version) = (&active.description.name, &active.description.version);
                    tracing::info!(%source, name, version, digest = active.digest, "plugin loaded");
                }
                self.put(Entry { source, active: Some(active), refusal: None, clash: false });
                freed
            }
            Err(Refused { reason, clash }) => {
                self.counted.refused.fetch_add(1, Ordering::Relaxed);
                let reason = format!("it {reason}");
                tracing::warn!(%source, reason, still_serving = old.is_some(), "plugin refused");
                let refusal = Some(Refusal { reason, digest, at_us: (self.now)() });
                self.put(Entry { source, active: old, refusal, clash });
                false
            }
        }
    }

    async fn prepare(&self, source: &Source, bytes: &[u8]) -> Result<Arc<Loaded>, Refused> {
        let embedded = matches!(source, Source::Embedded { .. });
        let loaded = self.loader.load(&self.runtime, bytes, embedded).await;
        let loaded = loaded.map_err(|reason| Refused { reason, clash: false })?;
        match self.catalogue().taken(source, &loaded.description.name, &self.settings.replace) {
            None => Ok(Arc::new(loaded)),
            Some(reason) => Err(Refused { reason, clash: true }),
        }
    }

    fn put(&self, entry: Entry) {
        self.exchange(|catalogue| catalogue.with(entry));
    }
}

/// Why a component is not served.
struct Refused {
    reason: String,
    clash: bool,
}
