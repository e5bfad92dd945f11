//! The steps of a policy's ladder, as authors write them.

use serde_json::{Value, json};

use super::read::{TIMEOUT, duration, timeout};
use crate::api::input::Fields;
use crate::api::problem::Invalid;
use crate::domain::ladder::{ATTEMPTS, NOTIFY, STEPS, Step, TRIES};

/// Members of a step.
const MEMBERS: [&str; 6] = ["action", "params", "tries", "settle", "attempts", "timeout"];

/// `steps`, or every fault they have.
pub(super) fn steps(fields: &mut Fields<'_>) -> Vec<Step> {
    let Some(given) = fields.get("steps") else { return Vec::new() };
    let Value::Array(items) = given else {
        fields.fault("list_type", "steps", "Input should be a valid list");
        return Vec::new();
    };
    if items.len() > STEPS {
        fields.fault("too_long", "steps", format!("List should have at most {STEPS} items"));
        return Vec::new();
    }
    let mut steps = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let mut loc = fields.at("steps");
        loc.push(json!(at));
        match step(item, loc, at + 1 == items.len()) {
            Ok(step) => steps.push(step),
            Err(faults) => fields.faults.extend(faults),
        }
    }
    steps
}

fn step(item: &Value, loc: Vec<Value>, last: bool) -> Result<Step, Vec<Invalid>> {
    let mut fields = Fields::new(item, loc).map_err(|fault| vec![fault])?;
    let action = fields.text("action", 1..=255, true);
    let params = fields.object("params").unwrap_or_default();
    let tries = fields.int("tries", 1..=i64::from(TRIES)).and_then(|tries| u32::try_from(tries).ok());
    let given = fields.get("settle");
    let settle = given.and_then(duration);
    if given.is_some() && settle.is_none() {
        fields.fault(
            "value_error",
            "settle",
            "Value error, settle is a duration like \"2m\", at most 30 days",
        );
    }
    let attempts =
        fields.int("attempts", 1..=i64::from(ATTEMPTS)).and_then(|count| u32::try_from(count).ok());
    let given = fields.get("timeout");
    let timeout = given.and_then(timeout);
    if given.is_some() && timeout.is_none() {
        fields.fault("value_error", "timeout", format!("Value error, {TIMEOUT}"));
    }
    let human = action.as_deref() == Some(NOTIFY);
    if human && !last {
        fields.fault("value_error", "action", "Value error, a step that tells a human is the last one");
    }
    if human && (tries.is_some() || settle.is_some()) {
        let member = if tries.is_some() { "tries" } else { "settle" };
        fields.fault("value_error", member, format!("Value error, telling a human has no {member}"));
    }
    for stranger in fields.strangers(&MEMBERS) {
        fields.fault("extra_forbidden", &stranger, "Extra inputs are not permitted");
    }
    match action {
        Some(action) if fields.faults.is_empty() => {
            Ok(Step { action, params, tries: tries.unwrap_or(1), settle, attempts, timeout })
        }
        _ => Err(fields.faults),
    }
}
