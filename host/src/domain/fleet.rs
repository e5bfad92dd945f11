//! Failure domains: the parts of a fleet that fail together, as a tag of the targets names them; and what is counted in each.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Timestamp;
use super::decide::Fleet;
use super::mutant::{Fault, holds};
use super::policy::Spec;

/// Which part of the fleet a target is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The part of that name.
    In(Arc<str>),
    /// It lacks the tag; all such targets are one part.
    Without,
    /// Nobody has said yet: it counts in every part.
    Unknown,
}

impl Place {
    /// Whether what happens there counts `here`.
    #[must_use]
    pub fn counts(&self, here: &Self) -> bool {
        *self == *here || *self == Self::Unknown || *here == Self::Unknown || !holds(Fault::Domain)
    }

    /// Its name in the database: nothing where there is no tag.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::In(name) => name,
            Self::Without | Self::Unknown => "",
        }
    }
}

/// A target that sends samples.
#[derive(Clone, Debug)]
pub struct Alive {
    /// Its name.
    pub target: Arc<str>,
    /// Where it is.
    pub domains: Domains,
}

/// Where a target is, by each tag that some policy counts by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains(Vec<(Arc<str>, Option<Arc<str>>)>);

impl Domains {
    /// By each tag its value; none: the target lacks it.
    #[must_use]
    pub fn new(tags: Vec<(Arc<str>, Option<Arc<str>>)>) -> Self {
        Self(tags)
    }

    /// As they are stored.
    #[must_use]
    pub fn text(&self) -> String {
        let members = self.0.iter().map(|(tag, value)| (tag.to_string(), Value::from(value.as_deref())));
        Value::Object(members.collect::<Map<_, _>>()).to_string()
    }

    /// As they were stored; what we did not write counts as not known.
    #[must_use]
    pub fn read(text: &str) -> Self {
        if text == "{}" {
            return Self::default();
        }
        let members: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        Self(
            members.iter().map(|(tag, value)| (tag.as_str().into(), value.as_str().map(Arc::from))).collect(),
        )
    }

    /// Where the target is by that tag; the whole fleet is one part where there is none.
    #[must_use]
    pub fn place(&self, tag: Option<&str>) -> Place {
        let Some(tag) = tag else { return Place::Without };
        match self.0.iter().find(|(name, _)| **name == *tag) {
            Some((_, Some(value))) => Place::In(Arc::clone(value)),
            Some((_, None)) => Place::Without,
            None => Place::Unknown,
        }
    }
}

/// How many there are in each part of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    parts: HashMap<Arc<str>, u32>,
    without: u32,
    unknown: u32,
}

impl Counted {
    /// Counts targets, or what happened to them.
    pub fn new(places: impl Iterator<Item = Place>) -> Self {
        let mut counted = Self::default();
        for place in places {
            match place {
                Place::In(part) => *counted.parts.entry(part).or_default() += 1,
                Place::Without => counted.without += 1,
                Place::Unknown => counted.unknown += 1,
            }
        }
        counted
    }

    /// So many, all in the one part that a fleet without a tag is.
    #[must_use]
    pub fn whole(count: u32) -> Self {
        Self { without: count, ..Self::default() }
    }

    /// How many are there; those of which nobody knows are everywhere.
    #[must_use]
    pub fn at(&self, place: &Place) -> u32 {
        if !holds(Fault::Domain) {
            return self.parts.values().sum::<u32>() + self.without + self.unknown;
        }
        let here = match place {
            Place::In(part) => self.parts.get(part).copied().unwrap_or(0),
            Place::Without => self.without,
            Place::Unknown => 0,
        };
        here + self.unknown
    }

    /// How many there are for certain: what is known of a fleet makes its share greater.
    #[must_use]
    pub fn known(&self, place: &Place) -> u32 {
        self.at(place).saturating_sub(if holds(Fault::Domain) { self.unknown } else { 0 })
    }
}

/// All that a policy's pairs share, part by part.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Known targets, by the blast radius' tag.
    pub known: Counted,
    /// Actions in the window, by the same tag.
    pub touched: Counted,
    /// Known targets, by the mass failure's tag.
    pub watched: Counted,
    /// Violated targets, by that.
    pub sick: Counted,
    /// When there were last too many, by the part's name.
    pub storms: HashMap<String, Timestamp>,
}

impl Parts {
    /// What a target there is held against.
    #[must_use]
    pub fn of(&self, spec: &Spec, domains: Arc<Domains>) -> Fleet {
        let (here, watch) =
            (domains.place(spec.guardrails.blast_tag()), domains.place(spec.guardrails.mass_tag()));
        Fleet {
            known: self.known.known(&here),
            touched: self.touched.at(&here),
            watched: self.watched.known(&watch),
            sick: self.sick.at(&watch),
            storm_at: self.storms.get(watch.name()).copied(),
            domains,
        }
    }
}
