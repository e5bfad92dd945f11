//! An event, a target and some series, as the engine would show them.

use crate::cel::{Function, MetricView, Program, Read, ReadIx, Scope, TargetView, Window};

pub(super) type Pairs = Vec<(String, String)>;

/// Everything a test's expression can see.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// Name and value of the event; `None` on the tick.
    pub(super) metric: Option<(String, f64)>,
    pub(super) tags: Pairs,
    pub(super) target: [String; 3],
    pub(super) labels: Pairs,
    /// Each with its last, highest and lowest value.
    pub(super) series: Vec<(Read, [f64; 3])>,
}

impl World {
    pub(super) fn series(&self, read: &Read) -> Option<[f64; 3]> {
        self.series.iter().find(|(known, _)| known == read).map(|(_, values)| *values)
    }

    pub(super) fn resolve<'w>(&'w self, program: &Program) -> View<'w> {
        View { world: self, series: program.reads().iter().map(|read| self.series(read)).collect() }
    }
}

/// A world whose series are resolved for one program.
pub(super) struct View<'w> {
    world: &'w World,
    series: Vec<Option<[f64; 3]>>,
}

impl Scope for View<'_> {
    type Labels = [(String, String)];
    fn metric(&self) -> Option<MetricView<'_, Self::Labels>> {
        let (name, value) = self.world.metric.as_ref()?;
        Some(MetricView { name, value: *value, tags: &self.world.tags })
    }
    fn target(&self) -> TargetView<'_, Self::Labels> {
        let [name, kind, namespace] = &self.world.target;
        TargetView { name, kind, namespace, labels: &self.world.labels }
    }
    fn last(&self, read: ReadIx) -> Option<f64> {
        self.series[read.index()].map(|values| values[0])
    }
    fn highest(&self, read: ReadIx) -> Option<f64> {
        self.series[read.index()].map(|values| values[1])
    }
    fn lowest(&self, read: ReadIx) -> Option<f64> {
        self.series[read.index()].map(|values| values[2])
    }
    /// The window of a series holds its last value: what windows compute is the engine's.
    fn window(&self, window: &Window) -> Option<f64> {
        let last = self.world.series(&window.read).map(|values| values[0]);
        if window.function == Function::Absent { Some(f64::from(u8::from(last.is_none()))) } else { last }
    }
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(super) fn read(metric: &str, tags: &[(&str, &str)]) -> Read {
    Read { metric: metric.to_owned(), tags: pairs(tags) }
}

/// The world most tests use.
pub(super) fn world() -> World {
    World {
        metric: Some(("cpu".to_owned(), 95.5)),
        tags: pairs(&[("region", "us-east-1"), ("host", "web-1"), ("count", "42")]),
        target: ["web-1".to_owned(), "host".to_owned(), "prod".to_owned()],
        labels: pairs(&[("team", "core"), ("tier", "1")]),
        series: vec![
            (read("cpu", &[]), [95.5, 99.0, 12.0]),
            (read("mem", &[]), [40.0, 50.0, 30.0]),
            (read("cpu", &[("core", "0")]), [10.0, 11.0, 9.0]),
            (read("nan", &[]), [f64::NAN; 3]),
        ],
    }
}
