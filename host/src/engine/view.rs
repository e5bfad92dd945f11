//! What a condition sees of a target: its series' last samples, as long as they are fresh.

use crate::cel::{EvalError, MetricView, Program, Read, ReadIx, Scope, TargetView, Window};
use crate::domain::Timestamp;
use crate::domain::event::Tags;

use super::history::History;
use super::partition::Truth;
use super::series::{Series, TargetState};
use super::window;

/// One evaluation's view.
pub(super) struct View<'a> {
    pub(super) target: &'a TargetState,
    pub(super) reads: &'a [Read],
    /// The event's series and value.
    pub(super) metric: (&'a Series, f64),
    /// Samples observed before this are no data.
    pub(super) fresh_from: Timestamp,
    /// Windows end here.
    pub(super) now: Timestamp,
}

impl<'a> View<'a> {
    /// The fresh series that a read means.
    #[inline]
    fn series(&self, read: ReadIx) -> impl Iterator<Item = &'a Series> {
        let read = &self.reads[read.index()];
        let from = self.fresh_from;
        self.target.series.iter().filter(move |series| {
            series.last_at >= from && *series.name == *read.metric && read.covers(&series.tags)
        })
    }
}

impl<'a> View<'a> {
    /// What `program` sees of a target at the event of a series.
    pub(super) fn of(
        program: &'a Program,
        target: &'a TargetState,
        metric: (&'a Series, f64),
        (fresh_from, now): (Timestamp, Timestamp),
    ) -> Self {
        Self { target, reads: program.reads(), metric, fresh_from, now }
    }

    /// What the condition says of it. One that asks for the event itself has nothing to say of the events of metrics that
    /// it does not name: those led here because another condition of the policy reads them.
    pub(super) fn says(&self, program: &Program) -> Truth {
        let named = || self.reads.iter().any(|read| *read.metric == *self.metric.0.name);
        if program.events().is_empty() || named() { self.truth(program) } else { Truth::NoData }
    }
}

impl View<'_> {
    /// What the condition says of it.
    pub(super) fn truth(&self, program: &Program) -> Truth {
        match program.eval(self) {
            Ok(true) => Truth::Met,
            Ok(false) => Truth::Clear,
            Err(EvalError::NoData) => Truth::NoData,
            Err(EvalError::Error(_) | EvalError::OutOfFuel) => Truth::Failed,
        }
    }

    /// The values of everything the condition reads, for people: the last ones by metric, those of windows as
    /// `avg(cpu, 5m)`; `absent(cpu, 5m)` is 1 or 0.
    pub(super) fn saw(&self, program: &Program) -> Vec<(String, Option<f64>)> {
        let of = |read: &Read| {
            self.target
                .series
                .iter()
                .filter(|series| {
                    series.last_at >= self.fresh_from
                        && *series.name == *read.metric
                        && read.covers(&series.tags)
                })
                .max_by_key(|series| (series.last_at, series.last_id))
                .map(|series| series.value)
        };
        let last = self.reads.iter().map(|read| (read.metric.clone(), of(read)));
        let windows = program.windows().iter().map(|window| (window.to_string(), self.window(window)));
        last.chain(windows).collect()
    }
}

impl Scope for View<'_> {
    type Labels = Tags;

    #[inline]
    fn metric(&self) -> Option<MetricView<'_, Tags>> {
        let (series, value) = self.metric;
        Some(MetricView { name: &series.name, value, tags: &series.tags })
    }

    #[inline]
    fn target(&self) -> TargetView<'_, Tags> {
        TargetView {
            name: &self.target.name,
            kind: &self.target.kind,
            namespace: &self.target.namespace,
            labels: &self.metric.0.tags,
        }
    }

    #[inline]
    fn last(&self, read: ReadIx) -> Option<f64> {
        // The greatest observed_at, ties to the higher id.
        self.series(read).max_by_key(|series| (series.last_at, series.last_id)).map(|series| series.value)
    }

    #[inline]
    fn highest(&self, read: ReadIx) -> Option<f64> {
        self.series(read).map(|series| series.value).reduce(f64::max)
    }

    #[inline]
    fn lowest(&self, read: ReadIx) -> Option<f64> {
        self.series(read).map(|series| series.value).reduce(f64::min)
    }

    fn window(&self, window: &Window) -> Option<f64> {
        let read = &window.read;
        let meant = |series: &&Series| *series.name == *read.metric && read.covers(&series.tags);
        let histories = self.target.series.iter().filter(meant);
        let histories = histories.filter_map(|series| Some((series.id, series.history.as_deref()?)));
        let mut histories: Vec<(i64, &History)> = histories.collect();
        // Not in the order in which this process came to know them.
        histories.sort_unstable_by_key(|(id, _)| *id);
        window::value(window, &histories, self.now)
    }
}
