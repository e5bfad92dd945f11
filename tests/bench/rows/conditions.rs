//! Row 4: conditions, against the `cel` crate's interpreter.
//!
//! Both evaluate the same text over the same event, all terms being true. The crate gets its context ready made, which is
//! the best that can be done with it. The least of many runs counts: what disturbs a run only ever makes it longer.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use cel::Context;
use cel::objects::{Key, Value};
use vigil_host::cel::{MetricView, ReadIx, Scope, TargetView, Window, compile};

use crate::Res;
use crate::args::Args;
use crate::stats::ratio;
use crate::table::{Goal, Report};

/// Evaluations between two looks at the clock.
const INNER: u32 = 20_000;

const SIMPLE: &str = r#"metric.name == "cpu_percent" && metric.value > 90.0"#;
const FOUR: &str = r#"metric.name in ["cpu_percent", "mem"] && metric.value > 90.0 && target.namespace == "prod" && target.kind in ["host", "pod"]"#;

type Pairs = [(String, String)];

/// One event, as the engine shows it.
struct World {
    tags: Vec<(String, String)>,
}

impl Scope for World {
    type Labels = Pairs;
    fn metric(&self) -> Option<MetricView<'_, Pairs>> {
        Some(MetricView { name: "cpu_percent", value: 95.5, tags: &self.tags })
    }
    fn target(&self) -> TargetView<'_, Pairs> {
        TargetView { name: "web-1", kind: "host", namespace: "prod", labels: &self.tags }
    }
    fn last(&self, _: ReadIx) -> Option<f64> {
        Some(95.5)
    }
    fn highest(&self, _: ReadIx) -> Option<f64> {
        Some(95.5)
    }
    fn lowest(&self, _: ReadIx) -> Option<f64> {
        Some(95.5)
    }
    fn window(&self, _: &Window) -> Option<f64> {
        Some(95.5)
    }
}

/// The same for the crate.
fn context() -> Context<'static, 'static> {
    fn record<const N: usize>(fields: [(&str, Value); N]) -> HashMap<Key, Value> {
        fields.into_iter().map(|(name, value)| (Key::from(name), value)).collect()
    }
    let mut context = Context::default();
    let tags = || Value::from(record([("region", Value::from("us-east-1"))]));
    let metric = [("name", Value::from("cpu_percent")), ("value", Value::Float(95.5)), ("tags", tags())];
    context.add_variable_from_value("metric", record(metric));
    let target = [
        ("name", Value::from("web-1")),
        ("kind", Value::from("host")),
        ("namespace", Value::from("prod")),
        ("labels", tags()),
    ];
    context.add_variable_from_value("target", record(target));
    context
}

/// The least time of one evaluation.
fn least(rounds: usize, mut work: impl FnMut()) -> Duration {
    let round = |_| {
        let begun = Instant::now();
        (0..INNER).for_each(|_| work());
        begun.elapsed()
    };
    (0..rounds).map(round).min().unwrap_or_default()
}

pub(super) fn measure(args: &Args, report: &mut Report) -> Res<()> {
    let world = World { tags: vec![("region".to_owned(), "us-east-1".to_owned())] };
    let context = context();
    let rounds = args.count(80);
    let rows = [("simple condition", SIMPLE), ("four terms with `in`", FOUR)];
    for (what, source) in rows {
        let ours = compile(source).map_err(|wrong| wrong.to_string())?;
        let theirs = cel::Program::compile(source)?;
        if ours.eval(&world) != Ok(true) || theirs.execute(&context)? != Value::Bool(true) {
            return Err(format!("{source} is not true").into());
        }
        let of_ours = least(rounds, || {
            let _ = black_box(ours.eval(black_box(&world)));
        });
        let of_theirs = least(rounds / 4 + 1, || drop(black_box(theirs.execute(black_box(&context)))));
        report.line(
            4,
            (what, "`cel` crate's interpreter"),
            ratio(of_theirs, of_ours),
            Goal::AtLeast(30.0),
            "×",
        );
        // Of many at once, since a single one is near the clock's own resolution.
        let (a, b) = (of_ours.as_secs_f64(), of_theirs.as_secs_f64());
        let per = 1e9 / f64::from(INNER);
        report.figure(4, format!("{what}: {:.1} ns, the crate {:.0} ns", a * per, b * per));
    }
    Ok(())
}
