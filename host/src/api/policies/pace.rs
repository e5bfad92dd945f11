//! The guardrails of a policy's pace, as authors write them; null is as if they had not been written.

use serde_json::{Map, Value};

use super::fleet::{count, members, percent, tag};
use super::read::duration;
use crate::domain::pace::{Effectiveness, Group, Ramp, STEEPEST};

/// `{"most": 32, "within": "1h"}`; what is left out is as it is by default.
pub(super) fn ramp(value: &Value) -> Result<Option<Ramp>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let members = members(value, "ramp", &["most", "within"])?;
    let mut ramp = Ramp::default();
    if let Some(most) = ranged(members, "most", STEEPEST)? {
        ramp.most = most;
    }
    if let Some(within) = within(members)? {
        ramp.within = within;
    }
    Ok(Some(ramp))
}

/// `{"per": "cluster", "max": 1}`; without `max` it is one.
pub(super) fn group(value: &Value) -> Result<Option<Group>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let members = members(value, "group", &["per", "max"])?;
    let per = tag(members)?.ok_or_else(|| "group says per, the tag that makes the groups".to_owned())?;
    Ok(Some(Group { per, max: ranged(members, "max", 1_000)?.unwrap_or(1) }))
}

/// `{"percent": 20, "tries": 10, "within": "7d"}`; what is left out is as it is by default.
pub(super) fn effectiveness(value: &Value) -> Result<Option<Effectiveness>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let members = members(value, "effectiveness", &["percent", "tries", "within"])?;
    let mut asked = Effectiveness::default();
    if let Some(percent) = percent(members, 1)? {
        asked.percent = percent;
    }
    if let Some(tries) = ranged(members, "tries", 1_000)? {
        asked.tries = tries;
    }
    if let Some(within) = within(members)? {
        asked.within = within;
    }
    Ok(Some(asked))
}

fn ranged(members: &Map<String, Value>, name: &str, most: u32) -> Result<Option<u32>, String> {
    let number = count(members, name)?;
    if number.is_some_and(|number| !(1..=most).contains(&number)) {
        return Err(format!("{name} is a whole number from 1 to {most}"));
    }
    Ok(number)
}

fn within(members: &Map<String, Value>) -> Result<Option<std::time::Duration>, String> {
    let Some(given) = members.get("within") else { return Ok(None) };
    let within = duration(given).filter(|within| !within.is_zero());
    within.map(Some).ok_or_else(|| "within is a duration like \"1h\", above zero, at most 30 days".to_owned())
}
