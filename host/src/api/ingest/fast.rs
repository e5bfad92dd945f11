//! The short way for well-formed metrics: typed, borrowed, without a tree in between. Whatever is unusual
//! (lax numbers, `labels`, unknown members, faults) is left to the long way, which names it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{AHEAD, tag_fault};
use crate::api::Limits;
use crate::api::input::too_deep;
use crate::domain::Timestamp;
use crate::domain::event::{Event, Mark, Target};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    value: f64,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(borrow, default)]
    timestamp: Option<Time<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time<'a> {
    Seconds(f64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

/// What was read.
pub(super) struct Read {
    pub(super) events: Vec<Event>,
    pub(super) many: bool,
}

/// The events, if every one of them is plain.
pub(super) fn read(bytes: &[u8], lines: bool, limits: &Limits, now: Timestamp) -> Option<Read> {
    if too_deep(bytes).is_some() {
        return None;
    }
    let (metrics, many): (Vec<Metric<'_>>, bool) = if lines {
        let metrics = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
            .map(|line| serde_json::from_slice(line).ok())
            .collect::<Option<_>>()?;
        (metrics, true)
    } else if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        (serde_json::from_slice(bytes).ok()?, true)
    } else {
        (vec![serde_json::from_slice(bytes).ok()?], false)
    };
    if metrics.is_empty() || metrics.len() > limits.batch {
        return None;
    }
    let events = metrics.into_iter().map(|metric| event(metric, limits, now)).collect::<Option<_>>()?;
    Some(Read { events, many })
}

fn event(metric: Metric<'_>, limits: &Limits, now: Timestamp) -> Option<Event> {
    let name = metric.name.trim();
    let plain = |text: &str| !text.chars().any(char::is_control);
    let length = name.chars().count();
    if !(1..=255).contains(&length) || !plain(name) || !metric.value.is_finite() {
        return None;
    }
    let tags = metric.tags;
    if tag_fault(&tags, limits).is_some() || tags.values().any(|value| value.contains('\0')) {
        return None;
    }
    let observed = match metric.timestamp {
        None => None,
        Some(Time::Seconds(seconds)) => Some(Timestamp::from_unix_seconds(seconds)?),
        Some(Time::Text(text)) => Some(Timestamp::parse(&text)?),
    };
    if observed.is_some_and(|at| at > now.after(AHEAD)) {
        return None;
    }
    let target = Target::resolve(&tags).ok()?;
    Some(Event {
        name: name.to_owned(),
        value: metric.value,
        tags: Arc::new(tags),
        target,
        observed_at: observed.unwrap_or(now),
        timed: observed.is_some(),
        mark: Mark::Real,
    })
}
