//! Windows against Prometheus: ten thousand random series with the same samples in the engine and in a real server, and
//! what the two make of them, function by function, where they mean the same.
//!
//! A range of Prometheus 2 begins with its first millisecond, a window just after it; a range that is one millisecond
//! shorter has the same samples. Its `rate` and `delta` extrapolate to the ends of the range: they are the same where that
//! reaches both ends. `irate` and `idelta` are the same where there are two samples. For the rest, and for `ewma`, which
//! it has not, they are computed here by the book from the samples that Prometheus answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vigil_host::domain::event::{Identity, Tags};
use vigil_host::domain::policy::{Mode, Policy, Severity, Source, Spec};
use vigil_host::domain::{Timestamp, approval, guardrails};
use vigil_host::engine::{Compiled, Findings, Known, Limits, Observed, Partition, PolicySet};

use super::series::{NOW, OVERS, Random, Series, openmetrics, series};
use crate::support::Prometheus;

const SERIES: usize = 10_000;
const SEED: u64 = 20_231_114;
/// Of a window with more samples the older ones are folded, which is exact for some functions only.
const MOST: usize = 4_096;
const QUANTILES: [f64; 5] = [0.0, 0.25, 0.5, 0.95, 1.0];
const WORDS: [&str; 11] =
    ["avg", "min", "max", "sum", "count", "last", "changes", "delta", "rate", "zscore", "ewma"];

/// What the engine says, by target and by the name of the value, as `avg(m{n=0}, 5m)`.
type Ours = HashMap<String, HashMap<String, Option<f64>>>;
/// What Prometheus says, by target and number of the series (nothing for all of a target).
type Theirs = HashMap<(String, String), f64>;

/// A policy that is always violated, and whose evidence is all the functions over one window: of the series of that
/// number, or of all that a target has.
fn policy(id: i64, over: &str, number: Option<i64>) -> Arc<Compiled> {
    let tags = number.map(|number| format!(", {{'n': '{number}'}}")).unwrap_or_default();
    let call = |word: &str, part: &str| format!("{word}('m', {part}duration('{over}'){tags})");
    let absent = call("absent", "");
    let mut expression = format!("{absent} || !{absent}");
    for word in WORDS {
        let _ = write!(expression, " || {} > 0.0", call(word, ""));
    }
    for part in QUANTILES {
        let _ = write!(expression, " || {} > 0.0", call("quantile", &format!("{part:?}, ")));
    }
    let spec = Spec {
        name: format!("p-{id}"),
        description: String::new(),
        severity: Severity::default(),
        target: if number == Some(0) { "*" } else { "multi-*" }.to_owned(),
        mode: Mode::Observe,
        condition: json!({"type": "cel", "expression": expression}),
        clear: None,
        action: "restart".to_owned(),
        params: serde_json::Map::new(),
        steps: Vec::new(),
        guardrails: guardrails::Guardrails::default(),
        approval: approval::Terms::default(),
    };
    let at = Timestamp::from_micros(0);
    let (declared, filed, source) = (None, None, Source::Api);
    let (created_at, updated_at) = (at, at);
    let policy =
        Policy { id, version: 1, enabled: true, declared, filed, source, created_at, updated_at, spec };
    Arc::new(Compiled::new(policy).unwrap())
}

/// Feeds one series: late and out of order, and at one of its samples the policies are evaluated.
fn feed(
    partition: &mut Partition,
    policies: &PolicySet,
    (id, series): (i64, &Series),
    (random, limits): (&mut Random, Limits),
) {
    let key = partition.add_series(Known {
        id,
        identity: Identity::new(format!("m{{n={},t={}}}", series.number, series.target).into()),
        name: "m",
        target: Some(&series.target),
        kind: "host",
        namespace: "",
        simulated: false,
        tags: Arc::new(Tags::from([("n".to_owned(), series.number.to_string())])),
    });
    let mut arrivals: Vec<(i64, i64, f64)> = Vec::new();
    for (at, value) in &series.samples {
        let late = if random.below(5) == 0 { random.below(900_000) } else { 0 };
        arrivals.push(((at + late).min(NOW), *at, *value));
    }
    arrivals.sort_by_key(|(arrival, _, _)| *arrival);
    let watched = random.below(i64::try_from(arrivals.len()).unwrap());
    for (place, (arrival, at, value)) in (0..).zip(arrivals) {
        let at = Timestamp::from_micros(at * 1_000);
        let sample = Observed { id: id * 10_000 + place, at, value, timed: true };
        let now = Timestamp::from_micros(arrival * 1_000);
        if place == watched {
            partition.observe(policies, key, sample, (now, limits), &mut Findings::default());
        } else {
            partition.remember(policies, key, sample, now);
        }
    }
}

fn ours(all: &[Series], random: &mut Random) -> Ours {
    let meant = OVERS.iter().flat_map(|(over, _)| [Some(0), Some(1), Some(2), None].map(|n| (*over, n)));
    let policies = (1..).zip(meant).map(|(id, (over, number))| policy(id, over, number)).collect();
    let policies = PolicySet::new(policies, 1);
    let limits = Limits { lookback: Duration::from_hours(1), sparing: false };
    let mut partition = Partition::default();
    for (id, series) in (1..).zip(all) {
        feed(&mut partition, &policies, (id, series), (&mut *random, limits));
    }
    let mut findings = Findings::default();
    partition.tick(&policies, (Timestamp::from_micros(NOW * 1_000), limits), &mut findings);
    let mut ours = Ours::new();
    for finding in findings.list {
        ours.entry(finding.target.unwrap().to_string()).or_default().extend(finding.saw);
    }
    ours
}

fn key(member: &Value) -> (String, String) {
    let label = |name: &str| member["metric"][name].as_str().unwrap_or_default().to_owned();
    (label("t"), label("n"))
}

fn number(text: &Value) -> f64 {
    text.as_str().unwrap().parse().unwrap()
}

/// Asks for one value of each series.
fn ask(prometheus: &Prometheus, expression: &str) -> Theirs {
    let members = prometheus.query(expression, NOW);
    members.iter().map(|member| (key(member), number(&member["value"][1]))).collect()
}

/// Asks for the samples themselves.
fn samples(prometheus: &Prometheus, range: &str) -> HashMap<(String, String), Vec<(i64, f64)>> {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
    let at = |seconds: &Value| (seconds.as_f64().unwrap() * 1_000.0).round() as i64;
    let of = |member: &Value| -> Vec<(i64, f64)> {
        let pairs = member["values"].as_array().unwrap();
        pairs.iter().map(|pair| (at(&pair[0]), number(&pair[1]))).collect()
    };
    prometheus.query(range, NOW).iter().map(|member| (key(member), of(member))).collect()
}

/// How often the two agreed, and where they did not.
#[derive(Default)]
struct Tally {
    agreed: BTreeMap<String, usize>,
    wrong: BTreeMap<String, (usize, String)>,
    series: BTreeSet<(String, String)>,
}

impl Tally {
    /// `what` is compared of a series or target. Exactly, where a value is one of the samples or a number of them.
    fn compare(&mut self, what: &str, of: &(String, String), ours: Option<f64>, theirs: Option<f64>) {
        let exact = ["min", "max", "last", "count", "changes"].iter().any(|word| what.starts_with(word));
        let same = match (ours, theirs) {
            (Some(ours), Some(theirs)) if exact => ours.total_cmp(&theirs).is_eq(),
            (Some(ours), Some(theirs)) => {
                (ours - theirs).abs() <= 1e-9 * ours.abs().max(theirs.abs()).max(1.0)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            let first = || (0, format!("{of:?}: {ours:?}, by Prometheus {theirs:?}"));
            self.wrong.entry(what.to_owned()).or_insert_with(first).0 += 1;
        } else if ours.is_some() {
            *self.agreed.entry(what.to_owned()).or_default() += 1;
            // That there is nothing says little of a series.
            if what != "absent" {
                self.series.insert(of.clone());
            }
        } else {
            *self.agreed.entry("no data".to_owned()).or_default() += 1;
        }
    }
}

/// One window's comparison.
struct Pane<'a> {
    all: &'a [Series],
    ours: &'a Ours,
    prometheus: &'a Prometheus,
    over: &'static str,
    /// As Prometheus writes it, and its length in seconds.
    range: (String, f64),
    /// By Prometheus, in the order of the series.
    samples: Vec<Vec<(i64, f64)>>,
}

impl<'a> Pane<'a> {
    /// Both have the same samples in the window.
    fn new(
        (all, ours, prometheus): (&'a [Series], &'a Ours, &'a Prometheus),
        (over, length): (&'static str, i64),
    ) -> Self {
        let length_there = if prometheus.major() < 3 { length - 1 } else { length };
        let range = format!("m[{length_there}ms]");
        let mut answer = samples(prometheus, &range);
        let samples: Vec<_> =
            all.iter().map(|series| answer.remove(&series.key()).unwrap_or_default()).collect();
        for (series, samples) in all.iter().zip(&samples) {
            assert_eq!(*samples, series.inside(length), "{:?} over {over}", series.key());
        }
        assert!(answer.is_empty(), "Prometheus knows more series");
        let range = (range, Duration::from_millis(length_there.unsigned_abs()).as_secs_f64());
        Self { all, ours, prometheus, over, range, samples }
    }

    fn ours(&self, series: &Series, word: &str, part: &str) -> Option<f64> {
        self.ours[&series.target][&format!("{word}(m{{n={}}}, {part}{})", series.number, self.over)]
    }

    fn theirs(&self, expression: &str) -> Theirs {
        ask(self.prometheus, &expression.replace("RANGE", &self.range.0))
    }

    fn each(&self) -> impl Iterator<Item = (&Series, &[(i64, f64)])> {
        self.all.iter().zip(self.samples.iter().map(Vec::as_slice))
    }

    /// What Prometheus has of the same name, or nearly.
    fn functions(&self, tally: &mut Tally) {
        for word in ["avg", "min", "max", "sum", "count", "last", "changes"] {
            let name = if word == "changes" { "changes".to_owned() } else { format!("{word}_over_time") };
            let theirs = self.theirs(&format!("{name}(RANGE)"));
            for (series, samples) in self.each() {
                if word != "changes" || samples.len() <= MOST {
                    let theirs = theirs.get(&series.key()).copied();
                    tally.compare(word, &series.key(), self.ours(series, word, ""), theirs);
                }
                if word == "count" {
                    let absent = if theirs.contains_key(&series.key()) { 0.0 } else { 1.0 };
                    tally.compare("absent", &series.key(), self.ours(series, "absent", ""), Some(absent));
                }
            }
        }
        for part in QUANTILES {
            let theirs = self.theirs(&format!("quantile_over_time({part}, RANGE)"));
            for (series, _) in self.each().filter(|(_, samples)| samples.len() <= MOST) {
                let ours = self.ours(series, "quantile", &format!("{part}, "));
                let theirs = theirs.get(&series.key()).copied();
                tally.compare(&format!("quantile {part}"), &series.key(), ours, theirs);
            }
        }
        let score = "(last_over_time(RANGE) - avg_over_time(RANGE)) / stddev_over_time(RANGE)";
        let theirs = self.theirs(score);
        for (series, samples) in self.each() {
            // Where all are equal it is 0 / 0.
            let theirs = theirs.get(&series.key()).map(|score| if score.is_nan() { 0.0 } else { *score });
            let theirs = theirs.filter(|_| samples.len() > 1);
            tally.compare("zscore", &series.key(), self.ours(series, "zscore", ""), theirs);
        }
    }

    /// Of all samples of a target together.
    fn targets(&self, tally: &mut Tally) {
        let targets: BTreeSet<&String> = self.all.iter().map(|series| &series.target).collect();
        for (word, expression) in [
            ("avg", "sum by (t) (sum_over_time(RANGE)) / sum by (t) (count_over_time(RANGE))"),
            ("min", "min by (t) (min_over_time(RANGE))"),
            ("max", "max by (t) (max_over_time(RANGE))"),
            ("sum", "sum by (t) (sum_over_time(RANGE))"),
            ("count", "sum by (t) (count_over_time(RANGE))"),
        ] {
            let theirs = self.theirs(expression);
            for target in targets.iter().filter(|target| target.starts_with("multi-")) {
                let ours = self.ours[*target][&format!("{word}(m, {})", self.over)];
                let of = ((*target).clone(), String::new());
                tally.compare(&format!("{word} of a target"), &of, ours, theirs.get(&of).copied());
            }
        }
    }

    /// How a counter or gauge has moved, and the weighted mean.
    fn movement(&self, tally: &mut Tally) {
        let asked = ["rate", "delta", "irate", "idelta"].map(|name| self.theirs(&format!("{name}(RANGE)")));
        for (series, samples) in self.each() {
            let key = series.key();
            let [rate, delta, irate, idelta] = asked.each_ref().map(|theirs| theirs.get(&key).copied());
            let [our_rate, our_delta, ewma] = ["rate", "delta", "ewma"].map(|w| self.ours(series, w, ""));
            tally.compare("delta by the book", &key, our_delta, by_the_book(samples).map(|moved| moved.0));
            let exact = samples.len() <= MOST;
            if exact {
                tally.compare("rate by the book", &key, our_rate, by_the_book(samples).map(|moved| moved.1));
                tally.compare("ewma by the book", &key, ewma, weighted(samples, self.over));
            }
            if samples.len() == 2 {
                tally.compare("rate as irate", &key, our_rate, irate);
                tally.compare("delta as idelta", &key, our_delta, idelta);
            }
            let Some((seconds, starts_low)) = self.reaches_both_ends(samples) else { continue };
            tally.compare("delta", &key, our_delta, delta.map(|delta| delta / self.range.1 * seconds));
            if exact && !starts_low {
                tally.compare("rate", &key, our_rate, rate);
            }
        }
    }

    /// From the first sample to the last, where Prometheus takes them for the whole range: the ends are nearer than samples are
    /// to each other. And whether a counter would have begun at zero before the range's end is reached.
    fn reaches_both_ends(&self, samples: &[(i64, f64)]) -> Option<(f64, bool)> {
        let (_, rate) = by_the_book(samples)?;
        let ((first, value), (last, _)) = (*samples.first()?, *samples.last()?);
        let length = between(NOW, 0).min(self.range.1);
        let (before, after) = (length - between(NOW, first), between(NOW, last));
        let steps = f64::from(u32::try_from(samples.len() - 1).unwrap());
        let step = between(last, first) / steps;
        let starts_low = rate > 0.0 && value >= 0.0 && value / rate <= before;
        (before < step && after < step).then_some((between(last, first), starts_low))
    }
}

fn between(late: i64, early: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some minutes of milliseconds")]
    let millis = (late - early) as f64;
    millis / 1_000.0
}

/// By how much the last sample differs from the first, and a counter's increase per second.
fn by_the_book(samples: &[(i64, f64)]) -> Option<(f64, f64)> {
    let (first, last) = (samples.first()?, samples.last()?);
    let steps = samples.windows(2).map(|pair| (pair[0].1, pair[1].1));
    let increase: f64 = steps.map(|(one, next)| if next < one { next } else { next - one }).sum();
    (samples.len() > 1).then(|| (last.1 - first.1, increase / between(last.0, first.0)))
}

fn weighted(samples: &[(i64, f64)], over: &str) -> Option<f64> {
    let quarter =
        OVERS.iter().find(|(name, _)| *name == over).map(|(_, length)| between(*length, 0) / 4.0)?;
    let newest = samples.last()?.0;
    let weight = |at: i64| 0.5_f64.powf(between(newest, at) / quarter);
    let weighted: f64 = samples.iter().map(|(at, value)| weight(*at) * value).sum();
    Some(weighted / samples.iter().map(|(at, _)| weight(*at)).sum::<f64>())
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures, for those who run it alone")]
fn ten_thousand_series_agree_with_prometheus() {
    let begun = Instant::now();
    let mut random = Random(SEED);
    let all = series(&mut random, SERIES);
    println!(
        "seed {SEED}: {} series, {} samples",
        all.len(),
        all.iter().map(|s| s.samples.len()).sum::<usize>()
    );
    let prometheus = Prometheus::over(&openmetrics(&all));
    println!("{:?}: Prometheus has them", begun.elapsed());
    let ours = ours(&all, &mut random);
    println!("{:?}: the engine has said what it sees", begun.elapsed());
    let mut tally = Tally::default();
    let mut folded = 0;
    for over in OVERS {
        let pane = Pane::new((&all, &ours, &prometheus), over);
        folded += pane.samples.iter().filter(|samples| samples.len() > MOST).count();
        pane.functions(&mut tally);
        pane.targets(&mut tally);
        pane.movement(&mut tally);
    }
    println!("{:?}: compared {:#?}", begun.elapsed(), tally.agreed);
    let compared = tally.series.iter().filter(|(_, number)| !number.is_empty()).count();
    println!("{compared} series, of which {folded} are folded");
    assert!(tally.wrong.is_empty(), "they disagree, so often and first of: {:#?}", tally.wrong);
    assert!(compared >= SERIES && folded >= 10, "{compared} series compared, {folded} folded");
    for (what, least) in [("avg", 20_000), ("quantile 0.95", 20_000), ("zscore", 15_000), ("delta", 3_000)] {
        assert!(tally.agreed[what] >= least, "{what}: {}", tally.agreed[what]);
    }
    for what in ["rate", "rate as irate", "delta as idelta", "no data", "avg of a target"] {
        assert!(tally.agreed[what] >= 1_000, "{what}: {}", tally.agreed[what]);
    }
}
