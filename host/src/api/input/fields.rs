//! Members of JSON objects: read with the seed's lax coercions, every fault kept with its place.

use serde_json::{Map, Value, json};

use super::super::problem::Invalid;
use crate::domain::Timestamp;

/// Reads members of one object and keeps every fault, in the order of the fields.
pub(in super::super) struct Fields<'a> {
    members: &'a Map<String, Value>,
    loc: Vec<Value>,
    /// What was wrong so far.
    pub faults: Vec<Invalid>,
}

impl<'a> Fields<'a> {
    /// The members of `value` at `loc`; another type of value is the only fault.
    pub(in super::super) fn new(value: &'a Value, loc: Vec<Value>) -> Result<Self, Invalid> {
        match value {
            Value::Object(members) => Ok(Self { members, loc, faults: Vec::new() }),
            other
            @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(Invalid::new(
                    "model_attributes_type",
                    loc,
                    "Input should be a valid dictionary or object to extract fields from",
                    other.clone(),
                ))
            }
        }
    }

    /// The place of a member.
    pub(in super::super) fn at(&self, member: &str) -> Vec<Value> {
        let mut loc = self.loc.clone();
        loc.push(json!(member));
        loc
    }

    /// Notes a fault of a member.
    pub(in super::super) fn fault(&mut self, kind: &'static str, member: &str, msg: impl Into<String>) {
        let input = self.members.get(member).cloned().unwrap_or(Value::Null);
        let loc = self.at(member);
        self.faults.push(Invalid::new(kind, loc, msg, input));
    }

    /// A member as it is; null counts as absent.
    pub(in super::super) fn get(&self, member: &str) -> Option<&'a Value> {
        self.members.get(member).filter(|value| !value.is_null())
    }

    /// A member that must be there.
    pub(in super::super) fn need(&mut self, member: &str) -> Option<&'a Value> {
        if let Some(value) = self.members.get(member) {
            return Some(value);
        }
        let loc = self.at(member);
        let whole = Value::Object(self.members.clone());
        self.faults.push(Invalid::new("missing", loc, "Field required", whole));
        None
    }

    /// A text of `min..=max` characters after trimming.
    pub(in super::super) fn text(
        &mut self,
        member: &str,
        range: std::ops::RangeInclusive<usize>,
        needed: bool,
    ) -> Option<String> {
        let value = if needed { self.need(member)? } else { self.get(member)? };
        let Value::String(text) = value else {
            self.fault("string_type", member, "Input should be a valid string");
            return None;
        };
        let text = text.trim();
        let (min, max) = (*range.start(), *range.end());
        let count = text.chars().count();
        if count == 0 && min > 0 && !value.as_str().unwrap_or("").is_empty() {
            self.fault("value_error", member, format!("Value error, {member} must not be blank"));
            return None;
        }
        if count < min {
            self.fault("string_too_short", member, format!("String should have at least {min} character(s)"));
            self.last_ctx(json!({"min_length": min}));
            return None;
        }
        if count > max {
            self.fault("string_too_long", member, format!("String should have at most {max} characters"));
            self.last_ctx(json!({"max_length": max}));
            return None;
        }
        Some(text.to_owned())
    }

    /// Adds numbers to the last fault.
    pub(in super::super) fn last_ctx(&mut self, ctx: Value) {
        if let Some(last) = self.faults.last_mut() {
            last.ctx = Some(ctx);
        }
    }

    /// A finite number, or a text or bool that is one.
    pub(in super::super) fn number(&mut self, member: &str) -> Option<f64> {
        let number = match self.need(member)? {
            Value::Number(number) => number.as_f64(),
            Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
            Value::String(text) => {
                if let Ok(number) = text.trim().parse::<f64>() {
                    Some(number)
                } else {
                    self.fault(
                        "float_parsing",
                        member,
                        "Input should be a valid number, unable to parse string as a number",
                    );
                    return None;
                }
            }
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.fault("float_type", member, "Input should be a valid number");
                return None;
            }
        };
        if let Some(number) = number.filter(|number| number.is_finite()) {
            Some(number)
        } else {
            self.fault("finite_number", member, "Input should be a finite number");
            None
        }
    }

    /// An integer in `range`, or a text, a bool or a whole number that is one.
    pub(in super::super) fn int(
        &mut self,
        member: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range by the check before it")]
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
        let number = match self.get(member)? {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
            Value::Bool(yes) => Some(i64::from(*yes)),
            Value::String(text) => {
                let number = text.trim().parse::<i64>().ok();
                if number.is_none() {
                    let msg = "Input should be a valid integer, unable to parse string as an integer";
                    self.fault("int_parsing", member, msg);
                    return None;
                }
                number
            }
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let Some(number) = number else {
            self.fault("int_type", member, "Input should be a valid integer");
            return None;
        };
        if number < *range.start() {
            let least = range.start();
            self.fault(
                "greater_than_equal",
                member,
                format!("Input should be greater than or equal to {least}"),
            );
            self.last_ctx(json!({"ge": least}));
        } else if number > *range.end() {
            let most = range.end();
            self.fault("less_than_equal", member, format!("Input should be less than or equal to {most}"));
            self.last_ctx(json!({"le": most}));
        }
        range.contains(&number).then_some(number)
    }

    /// A bool, or a word or number for one.
    pub(in super::super) fn flag(&mut self, member: &str) -> Option<bool> {
        let read = match self.get(member)? {
            Value::Bool(yes) => Some(*yes),
            Value::Number(number) => match number.as_f64() {
                Some(1.0) => Some(true),
                Some(0.0) => Some(false),
                _ => None,
            },
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.fault("bool_type", member, "Input should be a valid boolean");
                return None;
            }
        };
        if read.is_none() {
            self.fault("bool_parsing", member, "Input should be a valid boolean, unable to interpret input");
        }
        read
    }

    /// An object.
    pub(in super::super) fn object(&mut self, member: &str) -> Option<Map<String, Value>> {
        if let Value::Object(members) = self.get(member)? {
            Some(members.clone())
        } else {
            self.fault("dict_type", member, "Input should be a valid dictionary");
            None
        }
    }

    /// Names of members that nobody reads.
    pub(in super::super) fn strangers(&self, known: &[&str]) -> Vec<String> {
        self.members.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect()
    }
}

/// A time as clients write it: text of several forms, or unix seconds.
pub(in super::super) fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => number.as_f64().and_then(Timestamp::from_unix_seconds),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
