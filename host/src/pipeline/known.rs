//! Series that have been sent before, by the very words they were sent in: a sender says the same name and tags
//! again and again, and what they mean is worked out once.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::domain::event::{HashedMap, Series};

/// Series kept; when there are more, it begins again.
const MOST: usize = 50_000;
/// Bytes of a name and its tags that are kept.
const LONGEST: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub struct Known(RwLock<HashedMap<u64, Sent>>);

/// A series in the words of a sender.
#[derive(Debug)]
struct Sent {
    name: Box<str>,
    tags: Box<str>,
    series: Arc<Series>,
}

/// A look at what is known.
#[derive(Debug)]
pub struct Look<'a>(RwLockReadGuard<'a, HashedMap<u64, Sent>>);

impl Known {
    /// For several questions in a row. Keeping anything waits until it is dropped.
    #[must_use]
    pub fn look(&self) -> Look<'_> {
        Look(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers what that name and those tags, as they were sent, mean.
    pub fn keep(&self, name: &str, tags: &str, series: &Arc<Series>) {
        if name.len() + tags.len() > LONGEST {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        let sent = Sent { name: name.into(), tags: tags.into(), series: Arc::clone(series) };
        known.insert(hash(name, tags), sent);
    }
}

impl Look<'_> {
    /// What that name and those tags mean, if they have been kept.
    #[must_use]
    pub fn find(&self, name: &str, tags: &str) -> Option<Arc<Series>> {
        let sent = self.0.get(&hash(name, tags))?;
        // Two texts of one hash: the one that is kept is not the one that is asked for.
        (*sent.name == *name && *sent.tags == *tags).then(|| Arc::clone(&sent.series))
    }
}

fn hash(name: &str, tags: &str) -> u64 {
    xxh3_64_with_seed(tags.as_bytes(), xxh3_64(name.as_bytes()))
}
