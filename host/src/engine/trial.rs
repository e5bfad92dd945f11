//! A policy's condition over given values alone: no history, no guardrail, nothing remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::partition::{Observed, Truth};
use super::policies::Compiled;
use super::series::{Series, TargetState};
use super::view::View;
use crate::domain::Timestamp;
use crate::domain::event::{NO_TARGET, Tags};

/// What `policy` says of `target` (none: no tag names one) whose metrics have these values now. A policy none of
/// whose metrics is given is not evaluated, as no event would lead to it: no data. A window holds the given value
/// alone: its average, sum, quantile and the like are the value, `count` is 1, `changes` 0, and what takes two samples
/// (`rate`, `delta`, `zscore`) is no data.
#[must_use]
pub fn trial(policy: &Compiled, target: Option<&str>, values: &BTreeMap<String, f64>) -> Truth {
    let now = Timestamp::from_micros(0);
    let program = &policy.program;
    let mut names: Vec<&str> = program.reads().iter().map(|read| read.metric.as_str()).collect();
    names.dedup();
    let tags = Arc::new(Tags::new());
    let series = names.into_iter().filter_map(|name| {
        let mut series = Series::new(0, name, Arc::clone(&tags));
        // The given value is all there is of the series' history.
        series.keep((!policy.window.is_zero()).then(|| (policy.window, Vec::new())));
        series.take(Observed { id: 0, at: now, value: *values.get(name)?, timed: false }, now);
        Some(series)
    });
    let state = TargetState {
        name: target.unwrap_or(NO_TARGET).into(),
        named: target.is_some(),
        simulated: true,
        kind: String::new(),
        namespace: String::new(),
        noted: Default::default(),
        windowed: (0, false),
        series: series.collect(),
        pairs: Vec::new(),
    };
    // Each value in turn is the event, as on arrival; the worst that any of them shows counts.
    let judge = |series: &Series| {
        let (reads, metric) = (program.reads(), (series, series.value));
        let view = View { target: &state, reads, metric, fresh_from: now, now };
        view.truth(program)
    };
    state.series.iter().map(judge).max_by_key(|truth| truth.rank()).unwrap_or(Truth::NoData)
}
