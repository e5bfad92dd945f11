//! What comes in.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use super::Timestamp;

/// The tags that may name an event's target, the first present one wins.
pub const TARGET_TAGS: [&str; 5] = ["target", "service", "pod", "instance", "host"];

/// The name under which events without a target are reported. No action is ever made for it.
pub const NO_TARGET: &str = "all";

/// Tags of a series or labels of a target.
pub type Tags = BTreeMap<String, String>;

/// One reading of one metric.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is a reading of.
    pub series: Arc<Series>,
    /// A finite number.
    pub value: f64,
    /// When it was read.
    pub observed_at: Timestamp,
    /// The sender gave the time, so the same reading sent again is a repeat.
    pub timed: bool,
    /// Where it comes from. Nothing that a client can send sets it.
    pub mark: Mark,
}

impl Event {
    /// The same reading, coming from elsewhere.
    #[must_use]
    pub fn marked(self, mark: Mark) -> Self {
        let Series { name, tags, target, .. } = &*self.series;
        let series = Series::of(name.clone(), Arc::clone(tags), target.clone(), mark.simulated());
        Self { series: Arc::new(series), mark, ..self }
    }
}

/// Where an event comes from. Series, incidents and actions of what is not real are never those of the real
/// target of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// A client sent it.
    #[default]
    Real,
    /// The simulator made it.
    Simulated,
    /// The policy tester made it, to see what this policy would do, whatever earlier tests led to.
    Test {
        /// The policy's id.
        policy: i64,
    },
}

impl Mark {
    /// Not real.
    #[must_use]
    pub fn simulated(self) -> bool {
        match self {
            Self::Real => false,
            Self::Simulated | Self::Test { .. } => true,
        }
    }
}

/// What all readings of one metric with the same tags have in common. It is worked out once and shared.
#[derive(Debug)]
pub struct Series {
    /// The metric, trimmed, 1 to 255 characters.
    pub name: String,
    /// Identify the series together with the name.
    pub tags: Arc<Tags>,
    /// What it is about, if a tag says so.
    pub target: Option<Target>,
    /// Name and tags in one text.
    pub identity: Identity,
    /// The partition of its target.
    pub partition: u16,
    /// Apart from the real series of that name and those tags.
    pub simulated: bool,
}

impl Series {
    /// The series of that name and those tags, which name `target`.
    #[must_use]
    pub fn new(name: String, tags: Tags, target: Option<Target>) -> Self {
        Self::of(name, Arc::new(tags), target, false)
    }

    fn of(name: String, tags: Arc<Tags>, target: Option<Target>, simulated: bool) -> Self {
        let identity = Identity::new(series_identity(&name, &tags, simulated).into());
        let partition = partition_of(target.as_ref().map_or(NO_TARGET, |target| target.name.as_str()));
        Self { name, tags, target, identity, partition, simulated }
    }

    /// The target's name, or `all`.
    #[must_use]
    pub fn target_name(&self) -> &str {
        self.target.as_ref().map_or(NO_TARGET, |target| target.name.as_str())
    }
}

/// A series' identity with its hash, which is asked for with every event.
#[derive(Clone, Debug)]
pub struct Identity {
    hash: u64,
    text: Arc<str>,
}

impl Identity {
    /// Of the text that [`series_identity`] makes.
    #[must_use]
    pub fn new(text: Arc<str>) -> Self {
        Self { hash: xxhash_rust::xxh3::xxh3_64(text.as_bytes()), text }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a hash as it is, for maps whose keys bring theirs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A map whose keys bring their hash.
pub type HashedMap<K, V> = HashMap<K, V, BuildHasherDefault<Hashed>>;

/// What is being healed. Its name identifies it; the rest informs plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// NFC, trimmed, 1 to 255 characters, no control characters, case kept.
    pub name: String,
    /// The tag that named it.
    pub kind: String,
    /// The tag `namespace`.
    pub namespace: Option<String>,
}

impl Target {
    /// The target that `tags` name. An unusable name (blank, too long, with control characters) is the
    /// error, with the tag that held it.
    pub fn resolve(tags: &Tags) -> Result<Option<Self>, (&'static str, &'static str)> {
        let Some((kind, raw)) = TARGET_TAGS.iter().find_map(|tag| tags.get(*tag).map(|name| (*tag, name)))
        else {
            return Ok(None);
        };
        let name = normal_name(raw).map_err(|why| (kind, why))?;
        Ok(Some(Self { name, kind: kind.to_owned(), namespace: tags.get("namespace").cloned() }))
    }
}

/// A target's name in its one form, or why it can't be one.
pub fn normal_name(raw: &str) -> Result<String, &'static str> {
    let name: String = raw.trim().nfc().collect();
    if name.is_empty() {
        return Err("must not be blank");
    }
    if name.chars().count() > 255 {
        return Err("must have at most 255 characters");
    }
    if name.chars().any(char::is_control) {
        return Err("must not hold control characters");
    }
    Ok(name)
}

/// The identity of a series: its mark, name and tags in one text (length-prefixed, so that no two collide).
#[must_use]
pub fn series_identity(name: &str, tags: &Tags, simulated: bool) -> String {
    let size = tags.iter().map(|(key, value)| key.len() + value.len() + 12).sum::<usize>();
    let mut text = String::with_capacity(name.len() + size + 10);
    if simulated {
        // An unmarked identity begins with a digit.
        text.push_str("s|");
    }
    push_length(&mut text, name);
    text.push_str(name);
    for (key, value) in tags {
        text.push('|');
        push_length(&mut text, key);
        text.push_str(key);
        text.push('=');
        push_length(&mut text, value);
        text.push_str(value);
    }
    text
}

/// `12:`; by hand, since this is done for every event and formatting is the dearer part of it.
fn push_length(text: &mut String, of: &str) {
    let (mut digits, mut at, mut left) = ([b'0'; 20], 20, of.len());
    loop {
        at -= 1;
        digits[at] = b"0123456789"[left % 10];
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
    text.push(':');
}

/// Partitions of an installation, fixed by its first migration.
pub const PARTITIONS: u16 = 64;

/// The partition that orders the events of `target` (xxh3 of the name, fixed for ever).
#[must_use]
pub fn partition_of(target: &str) -> u16 {
    u16::try_from(xxhash_rust::xxh3::xxh3_64(target.as_bytes()) % u64::from(PARTITIONS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_target_tag_wins_and_is_normalised() {
        let tags = Tags::from([("host".into(), "h".into()), ("service".into(), "  cafe\u{301} ".into())]);
        let target = Target::resolve(&tags).unwrap().unwrap();
        assert_eq!((target.name.as_str(), target.kind.as_str()), ("café", "service"));
        assert_eq!(Target::resolve(&Tags::new()), Ok(None));
        let bad = Tags::from([("pod".into(), "a\u{7}".into())]);
        assert!(Target::resolve(&bad).is_err());
    }

    #[test]
    fn series_identities_do_not_collide() {
        let one = Tags::from([("a".into(), "1|1:b=1:2".into())]);
        let two = Tags::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_ne!(series_identity("m", &one, false), series_identity("m", &two, false));
        assert_ne!(series_identity("m", &one, false), series_identity("m", &one, true));
        let long = Tags::from([("key".into(), "x".repeat(105)), ("none".into(), String::new())]);
        let text = format!("10:metric_one|3:key=105:{}|4:none=0:", "x".repeat(105));
        assert_eq!(series_identity("metric_one", &long, false), text);
    }
}
