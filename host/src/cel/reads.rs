//! What an expression reads: found in the parser's tree before anything is built, so that every series has its number
//! when the typed tree refers to it.

use super::error::CompileError;
use super::parse::{Parsed, for_each_child};
use super::scope::ReadIx;
use super::windows::{is_window, window_of};
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use std::collections::{BTreeMap, BTreeSet};

/// A series an expression reads, by name and tags; the target is the one that is judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// The metric's name.
    pub metric: String,
    /// Tags the series must have, sorted by key; empty for any.
    pub tags: Vec<(String, String)>,
}

impl Read {
    /// Whether a series with these tags is meant, if it is of the metric.
    #[must_use]
    pub fn covers(&self, tags: &BTreeMap<String, String>) -> bool {
        self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}

/// What is wrong with a call, and at which argument if not as a whole.
pub(super) type Fault<'e> = (Option<&'e IdedExpr>, String);

/// The functions that read a series.
pub(super) const SERIES_FUNCTIONS: [&str; 4] = ["last", "highest", "lowest", "absent"];

/// A series function's arguments, or which of them is wrong and how.
pub(super) fn read_of(call: &CallExpr) -> Result<Read, Fault<'_>> {
    let function = &call.func_name;
    let usage = format!("write {function}(\"metric\") or {function}(\"metric\", {{\"tag\": \"value\"}})");
    let (name, tags) = match call.args.as_slice() {
        [name] => (name, None),
        [name, tags] => (name, Some(tags)),
        [] | [_, _, _, ..] => {
            return Err((None, format!("{function}() takes a metric name and tags; {usage}")));
        }
    };
    let metric = match text_literal(name) {
        Some("") => return Err((Some(name), "the metric name is empty".to_owned())),
        Some(metric) => metric.to_owned(),
        None => return Err((Some(name), format!("the metric name must be a literal text; {usage}"))),
    };
    let tags = tags.map_or(Ok(Vec::new()), |tags| tags_of(tags, &usage))?;
    Ok(Read { metric, tags })
}

/// Tags as a literal map, sorted by key.
pub(super) fn tags_of<'e>(tags: &'e IdedExpr, usage: &str) -> Result<Vec<(String, String)>, Fault<'e>> {
    let Expr::Map(map) = &tags.expr else {
        return Err((Some(tags), format!("the tags must be a literal map; {usage}")));
    };
    let mut found = Vec::with_capacity(map.entries.len());
    for entry in &map.entries {
        let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
        let (Some(key), Some(value)) = (text_literal(&entry.key), text_literal(&entry.value)) else {
            return Err((Some(&entry.key), format!("tags must be literal texts; {usage}")));
        };
        found.push((key.to_owned(), value.to_owned()));
    }
    found.sort();
    if let Some(pair) = found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err((Some(tags), format!("the tag \"{}\" is there twice", pair[0].0)));
    }
    Ok(found)
}

/// The text of a literal.
pub(super) fn text_literal(expr: &IdedExpr) -> Option<&str> {
    let Expr::Literal(LiteralValue::String(text)) = &expr.expr else { return None };
    Some(text.inner())
}

/// Adds what the expression reads, and the names of the events it can hold for. Faulty calls are left to the checker.
pub(super) fn collect(
    parsed: &Parsed<'_>,
    reads: &mut BTreeSet<Read>,
    events: &mut BTreeSet<String>,
) -> Result<(), CompileError> {
    let mut metric_used_at = None;
    let mut open = vec![&parsed.root];
    while let Some(expr) = open.pop() {
        if let Expr::Ident(name) = &expr.expr
            && name == "metric"
        {
            let at = parsed.offset(expr);
            metric_used_at = Some(metric_used_at.map_or(at, |first: usize| first.min(at)));
        }
        if let Expr::Call(call) = &expr.expr
            && call.target.is_none()
        {
            let read = if is_window(call) {
                window_of(call).ok().map(|window| window.read)
            } else if SERIES_FUNCTIONS.contains(&call.func_name.as_str()) {
                read_of(call).ok()
            } else {
                None
            };
            reads.extend(read);
        }
        for_each_child(expr, |child| open.push(child));
    }
    let Some(at) = metric_used_at else { return Ok(()) };
    let Some(names) = event_names(&parsed.root) else {
        let message = "`metric` is used, so say of which metric: begin with metric.name == \"…\" && or \
                       metric.name in [\"…\"] &&";
        return Err(parsed.source.error(at, message));
    };
    for name in names {
        reads.insert(Read { metric: name.to_owned(), tags: Vec::new() });
        events.insert(name.to_owned());
    }
    Ok(())
}

/// The names in the first top-level conjunct `metric.name == ".."` or `metric.name in [..]`.
fn event_names(root: &IdedExpr) -> Option<Vec<&str>> {
    let mut conjuncts = vec![root];
    while let Some(expr) = conjuncts.pop() {
        let Expr::Call(call) = &expr.expr else { continue };
        let [left, right] = call.args.as_slice() else { continue };
        match call.func_name.as_str() {
            operators::LOGICAL_AND => conjuncts.extend([right, left]),
            operators::EQUALS if is_metric_name(left) => {
                if let Some(name) = text_literal(right) {
                    return Some(vec![name]);
                }
            }
            operators::EQUALS if is_metric_name(right) => {
                if let Some(name) = text_literal(left) {
                    return Some(vec![name]);
                }
            }
            operators::IN if is_metric_name(left) => {
                let Expr::List(list) = &right.expr else { continue };
                let names: Option<Vec<_>> = list.elements.iter().map(text_literal).collect();
                if names.as_ref().is_some_and(|names| !names.is_empty()) {
                    return names;
                }
            }
            _ => {}
        }
    }
    None
}

fn is_metric_name(expr: &IdedExpr) -> bool {
    let Expr::Select(select) = &expr.expr else { return false };
    select.field == "name" && matches!(&select.operand.expr, Expr::Ident(name) if name == "metric")
}

/// The number of a read among the sorted ones.
pub(super) fn index_of(reads: &[Read], read: &Read) -> Option<ReadIx> {
    let position = reads.binary_search(read).ok()?;
    u16::try_from(position).ok().map(ReadIx)
}
