//! Typed conditions: what a policy can say without writing CEL. They become the tree directly; the text made here is
//! for people.
//!
//! Reading them from JSON is not done here: the caller parses its wire format into [`Condition`].

use super::error::CompileError;
use super::source::Source;

/// The most nodes of one condition.
pub const MAX_NODES: usize = 256;
/// The deepest nesting of `all` and `any`.
pub const MAX_CONDITION_DEPTH: usize = 16;

/// A condition as a policy states it.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// `highest("metric") > threshold`
    Exceeds {
        /// The metric's name.
        metric: String,
        /// A finite number.
        threshold: f64,
    },
    /// `lowest("metric") < threshold`
    Below {
        /// The metric's name.
        metric: String,
        /// A finite number.
        threshold: f64,
    },
    /// Any member false: false; else any without data: no-data; else true. Empty: false.
    All(Vec<Condition>),
    /// Any member true: true; else any without data: no-data; else false. Empty: false.
    Any(Vec<Condition>),
    /// A CEL expression.
    Cel(String),
}

/// Size, depth and thresholds, without recursion.
pub(super) fn check_shape(condition: &Condition) -> Result<(), CompileError> {
    let fail = |path: Vec<u16>, message: String| Err(Source { text: "", path }.error(0, message));
    let mut nodes = 0;
    let mut open = vec![(condition, Vec::new())];
    while let Some((condition, path)) = open.pop() {
        nodes += 1;
        if nodes > MAX_NODES {
            return fail(path, format!("more than {MAX_NODES} conditions in one policy"));
        }
        match condition {
            Condition::Exceeds { metric, threshold } | Condition::Below { metric, threshold } => {
                if metric.is_empty() {
                    return fail(path, "the metric name is empty".to_owned());
                }
                if !threshold.is_finite() {
                    return fail(path, "the threshold must be a finite number".to_owned());
                }
            }
            Condition::All(members) | Condition::Any(members) => {
                if path.len() == MAX_CONDITION_DEPTH {
                    return fail(path, format!("conditions are nested deeper than {MAX_CONDITION_DEPTH}"));
                }
                if members.len() > MAX_NODES {
                    return fail(path, format!("more than {MAX_NODES} conditions in one policy"));
                }
                for (i, member) in members.iter().enumerate().rev() {
                    let mut path = path.clone();
                    path.push(u16::try_from(i).unwrap_or(u16::MAX));
                    open.push((member, path));
                }
            }
            Condition::Cel(_) => {}
        }
    }
    Ok(())
}

/// The condition as CEL.
pub(super) fn text(condition: &Condition) -> String {
    match condition {
        Condition::Exceeds { metric, threshold } => format!("highest({}) > {threshold:?}", quoted(metric)),
        Condition::Below { metric, threshold } => format!("lowest({}) < {threshold:?}", quoted(metric)),
        Condition::All(members) => joined(members, " && "),
        Condition::Any(members) => joined(members, " || "),
        Condition::Cel(text) => text.clone(),
    }
}

fn joined(members: &[Condition], operator: &str) -> String {
    if members.is_empty() {
        return "false".to_owned();
    }
    let parts: Vec<String> = members.iter().map(|member| format!("({})", text(member))).collect();
    parts.join(operator)
}

/// A text as a CEL literal.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
