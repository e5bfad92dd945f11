//! The short way for well-formed metrics: typed, borrowed, without a tree in between, and without looking at
//! the tags of a series that was sent before in the same words. Whatever is unusual (lax numbers, `labels`,
//! unknown members, faults) is left to the long way, which names it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::{AHEAD, tag_fault};
use crate::api::Limits;
use crate::domain::Timestamp;
use crate::domain::event::{Event, Mark, Series, Target};
use crate::pipeline::known::Known;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    value: f64,
    #[serde(borrow, default)]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<Time<'a>>,
}

/// A time as it was sent. Read by hand: an untagged enum would take it apart twice.
enum Time<'a> {
    Seconds(f64),
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Time<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Time<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a number or a text")
            }

            fn visit_f64<E>(self, seconds: f64) -> Result<Self::Value, E> {
                Ok(Time::Seconds(seconds))
            }

            #[expect(clippy::cast_precision_loss, reason = "seconds of this age are far below 2^52")]
            fn visit_u64<E>(self, seconds: u64) -> Result<Self::Value, E> {
                Ok(Time::Seconds(seconds as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "seconds of this age are far below 2^52")]
            fn visit_i64<E>(self, seconds: i64) -> Result<Self::Value, E> {
                Ok(Time::Seconds(seconds as f64))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Time::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Time::Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_any(Form)
    }
}

/// What was read.
pub(super) struct Read {
    pub(super) events: Vec<Event>,
    pub(super) many: bool,
}

/// The events, if every one of them is plain.
pub(super) fn read(
    bytes: &[u8],
    lines: bool,
    (limits, known): (&Limits, &Known),
    now: Timestamp,
) -> Option<Read> {
    // Once for the whole text instead of once for each string in it.
    let text = std::str::from_utf8(bytes).ok()?;
    let (metrics, many): (Vec<Metric<'_>>, bool) = if lines {
        let metrics = text
            .split('\n')
            .filter(|line| !line.bytes().all(|byte| byte.is_ascii_whitespace()))
            .map(|line| serde_json::from_str(line).ok())
            .collect::<Option<_>>()?;
        (metrics, true)
    } else if text.bytes().find(|byte| !byte.is_ascii_whitespace()) == Some(b'[') {
        (serde_json::from_str(text).ok()?, true)
    } else {
        (vec![serde_json::from_str(text).ok()?], false)
    };
    if metrics.is_empty() || metrics.len() > limits.batch {
        return None;
    }
    let mut events = Vec::with_capacity(metrics.len());
    // Those that are new wait for the second round, so that the first one looks things up in one go.
    let mut new = Vec::new();
    {
        let seen = known.look();
        for (at, metric) in metrics.iter().enumerate() {
            let series = seen.find(&metric.name, tags_of(metric));
            if series.is_none() {
                new.push(at);
            }
            events.push(series);
        }
    }
    for at in new {
        let metric = &metrics[at];
        let series = Arc::new(series(metric, limits)?);
        known.keep(&metric.name, tags_of(metric), &series);
        events[at] = Some(series);
    }
    let events = metrics.iter().zip(events).map(|(metric, series)| event(metric, series?, now));
    Some(Read { events: events.collect::<Option<_>>()?, many })
}

/// The tags as they were sent.
fn tags_of<'a>(metric: &Metric<'a>) -> &'a str {
    metric.tags.map_or("", RawValue::get)
}

fn series(metric: &Metric<'_>, limits: &Limits) -> Option<Series> {
    let name = metric.name.trim();
    let plain = |text: &str| !text.chars().any(char::is_control);
    let length = name.chars().count();
    if !(1..=255).contains(&length) || !plain(name) {
        return None;
    }
    let tags: BTreeMap<String, String> = match metric.tags {
        Some(raw) => serde_json::from_str(raw.get()).ok()?,
        None => BTreeMap::new(),
    };
    if tag_fault(&tags, limits).is_some() || tags.values().any(|value| value.contains('\0')) {
        return None;
    }
    let target = Target::resolve(&tags).ok()?;
    Some(Series::new(name.to_owned(), tags, target))
}

fn event(metric: &Metric<'_>, series: Arc<Series>, now: Timestamp) -> Option<Event> {
    if !metric.value.is_finite() {
        return None;
    }
    let observed = match &metric.timestamp {
        None => None,
        Some(Time::Seconds(seconds)) => Some(Timestamp::from_unix_seconds(*seconds)?),
        Some(Time::Text(text)) => Some(Timestamp::parse(text)?),
    };
    if observed.is_some_and(|at| at > now.after(AHEAD)) {
        return None;
    }
    Some(Event {
        series,
        value: metric.value,
        observed_at: observed.unwrap_or(now),
        timed: observed.is_some(),
        mark: Mark::Real,
    })
}
