//! The guardrails that look at all of a policy's targets, as authors write them.

use serde_json::{Map, Value};

use super::read::duration;
use crate::domain::flapping::{Flapping, MOST};
use crate::domain::guardrails::{BlastRadius, MassFailure, WHOLE};

/// `{"percent": 5, "max": 10, "per": "zone"}`; without `percent`, `max` alone counts; without `per`, the whole fleet is one.
pub(super) fn blast_radius(value: &Value) -> Result<BlastRadius, String> {
    let members = members(value, "blast_radius", &["percent", "max", "per"])?;
    let percent = percent(members, 0)?;
    let max = count(members, "max")?;
    if percent.is_none() && max.is_none() {
        return Err("blast_radius says percent, max or both".to_owned());
    }
    let per = tag(members)?;
    if per.as_deref() == Some(WHOLE) {
        return Err("per names a tag; without it the whole fleet is one".to_owned());
    }
    Ok(BlastRadius { percent, max: max.unwrap_or(BlastRadius::default().max), per })
}

/// `{"targets": 5, "percent": 30, "quiet": "5m", "per": "zone"}`; what is left out is as it is by default.
pub(super) fn mass_failure(value: &Value) -> Result<MassFailure, String> {
    let members = members(value, "mass_failure", &["targets", "percent", "quiet", "per"])?;
    let standard = MassFailure::default();
    let quiet = match members.get("quiet") {
        None => standard.quiet,
        Some(given) => {
            duration(given).ok_or_else(|| "quiet is a duration like \"5m\", at most 30 days".to_owned())?
        }
    };
    let targets = count(members, "targets")?.unwrap_or(standard.targets);
    if targets == 0 {
        return Err("targets is at least 1".to_owned());
    }
    let percent = percent(members, 1)?.unwrap_or(standard.percent);
    Ok(MassFailure { targets, percent, quiet, per: tag(members)? })
}

/// `{"changes": 6, "within": "1h"}`; what is left out is as it is by default.
pub(super) fn flapping(value: &Value) -> Result<Flapping, String> {
    let members = members(value, "flapping", &["changes", "within"])?;
    let mut flapping = Flapping::default();
    if let Some(changes) = count(members, "changes")? {
        if !(2..=MOST).contains(&changes) {
            return Err(format!("changes is a whole number from 2 to {MOST}"));
        }
        flapping.changes = changes;
    }
    if let Some(given) = members.get("within") {
        let within = duration(given).filter(|within| !within.is_zero());
        flapping.within = within
            .ok_or_else(|| "within is a duration like \"1h\", above zero, at most 30 days".to_owned())?;
    }
    Ok(flapping)
}

/// The name of a tag.
pub(super) fn tag(members: &Map<String, Value>) -> Result<Option<String>, String> {
    let Some(value) = members.get("per").filter(|value| !value.is_null()) else { return Ok(None) };
    let name = value.as_str().map(str::trim);
    let name =
        name.filter(|name| (1..=255).contains(&name.chars().count()) && !name.contains(char::is_control));
    name.map(|name| Some(name.to_owned()))
        .ok_or_else(|| "per is the name of a tag, 1 to 255 characters".to_owned())
}

pub(super) fn members<'v>(
    value: &'v Value,
    what: &str,
    known: &[&str],
) -> Result<&'v Map<String, Value>, String> {
    let Value::Object(members) = value else {
        return Err(format!("{what} is an object with {}", known.join(", ")));
    };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(stranger) => {
            let stranger: String = stranger.chars().take(64).collect();
            Err(format!("{what} has no `{stranger}`; known are {}", known.join(", ")))
        }
        None => Ok(members),
    }
}

pub(super) fn count(members: &Map<String, Value>, name: &str) -> Result<Option<u32>, String> {
    let Some(value) = members.get(name) else { return Ok(None) };
    let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
    count.map(Some).ok_or_else(|| format!("{name} is a whole number"))
}

pub(super) fn percent(members: &Map<String, Value>, least: u32) -> Result<Option<u32>, String> {
    let percent = count(members, "percent")?;
    if percent.is_some_and(|percent| !(least..=100).contains(&percent)) {
        return Err(format!("percent is a whole number from {least} to 100"));
    }
    Ok(percent)
}
