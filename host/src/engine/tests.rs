//! Windows against a naive recomputation, and that their values depend on nothing but the samples.
#![expect(clippy::float_cmp, reason = "equal values are meant to be equal")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::history::{History, MOST};
use super::partition::{Known, Limits, Observed, Partition};
use super::policies::{Compiled, PolicySet};
use super::{Findings, window};
use crate::cel::{Function, Read, Window};
use crate::domain::Timestamp;
use crate::domain::event::{Identity, Tags};
use crate::domain::guardrails::Guardrails;
use crate::domain::policy::{Mode, Policy, Severity, Source, Spec};

const SECOND: i64 = 1_000_000;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.next() % end.unsigned_abs()).unwrap()
    }

    fn value(&mut self) -> f64 {
        match self.below(8) {
            0 => 0.0,
            1 => 42.0,
            2 => 1e4 + f64::from(u32::try_from(self.below(100)).unwrap()),
            _ => f64::from(i32::try_from(self.below(200_001) - 100_000).unwrap()) / 1_000.0,
        }
    }
}

const FUNCTIONS: [Function; 16] = [
    Function::Avg,
    Function::Min,
    Function::Max,
    Function::Sum,
    Function::Count,
    Function::Rate,
    Function::Delta,
    Function::Quantile(0.0),
    Function::Quantile(0.5),
    Function::Quantile(0.95),
    Function::Quantile(1.0),
    Function::Changes,
    Function::Ewma,
    Function::Zscore,
    Function::Last,
    Function::Absent,
];

fn window_of(function: Function, over: Duration) -> Window {
    Window { function, read: Read { metric: "m".to_owned(), tags: Vec::new() }, over }
}

/// A sample as it arrives: which series, when it is accepted, and itself.
type Arrival = (usize, i64, Observed);

/// Samples of `series` series over ten minutes: late, at one moment, out of order, a little ahead of time.
fn arrivals(random: &mut Random, series: i64) -> Vec<Arrival> {
    let mut now = 1_000_000 * SECOND;
    (1..=random.below(60))
        .map(|id| {
            now += random.below(20 * SECOND);
            let at = match random.below(6) {
                0 => now - random.below(900 * SECOND),
                1 => now / (10 * SECOND) * (10 * SECOND),
                2 => now + random.below(60 * SECOND),
                _ => now,
            };
            let at = Timestamp::from_micros(at);
            let of = usize::try_from(random.below(series)).unwrap();
            (of, now, Observed { id, at, value: random.value(), timed: false })
        })
        .collect()
}

/// The value by the book, from all samples that ever were.
fn naive(function: Function, over: Duration, all: &[Arrival], now: i64) -> Option<f64> {
    let from = now - i64::try_from(over.as_micros()).unwrap();
    let mut inside: Vec<_> =
        all.iter().filter(|(_, _, s)| s.at.micros() > from && s.at.micros() <= now).copied().collect();
    inside.sort_by_key(|(_, _, s)| (s.at, s.id));
    let values: Vec<f64> = inside.iter().map(|(_, _, s)| s.value).collect();
    let count = f64::from(u32::try_from(values.len()).unwrap());
    if let Function::Absent = function {
        return Some(if values.is_empty() { 1.0 } else { 0.0 });
    }
    let last = *values.last()?;
    let mean = values.iter().sum::<f64>() / count;
    match function {
        Function::Avg => Some(mean),
        Function::Min => values.iter().copied().reduce(f64::min),
        Function::Max => values.iter().copied().reduce(f64::max),
        Function::Sum => Some(values.iter().sum()),
        Function::Count => Some(count),
        Function::Last => Some(last),
        Function::Quantile(q) => {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = q * (count - 1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a place in the list"
            )]
            let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            Some(low + (high - low) * (rank - rank.floor()))
        }
        Function::Ewma => {
            let newest = inside.last()?.2.at;
            let age = |at: Timestamp| newest.since(at).as_secs_f64();
            let weight = |at| 0.5_f64.powf(age(at) / (over.as_secs_f64() / 4.0));
            let weighted: f64 = inside.iter().map(|(_, _, s)| weight(s.at) * s.value).sum();
            Some(weighted / inside.iter().map(|(_, _, s)| weight(s.at)).sum::<f64>())
        }
        Function::Zscore => {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = (squares / count).sqrt();
            let score = if deviation < 1e-9 { 0.0 } else { (last - mean) / deviation };
            (values.len() > 1).then_some(score)
        }
        Function::Changes | Function::Delta | Function::Rate => by_series(function, &inside),
        Function::Absent => None,
    }
}

/// What is computed per series and added up.
fn by_series(function: Function, inside: &[Arrival]) -> Option<f64> {
    let of_one = |of: usize| {
        let samples: Vec<(i64, f64)> = inside
            .iter()
            .filter(|(series, _, _)| *series == of)
            .map(|(_, _, sample)| (sample.at.micros(), sample.value))
            .collect();
        let (first, last) = (*samples.first()?, *samples.last()?);
        let pairs = || samples.windows(2).map(|pair| (pair[0].1, pair[1].1));
        #[expect(clippy::cast_precision_loss, reason = "a few minutes")]
        let seconds = (last.0 - first.0) as f64 / 1e6;
        match function {
            Function::Changes => Some(pairs().map(|(a, b)| if a == b { 0.0 } else { 1.0 }).sum::<f64>()),
            Function::Delta => (samples.len() > 1).then_some(last.1 - first.1),
            _ => (seconds > 0.0)
                .then(|| pairs().map(|(a, b)| if b < a { b } else { b - a }).sum::<f64>() / seconds),
        }
    };
    let values: Vec<f64> = (0..8).filter_map(of_one).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

fn close(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(other.abs()).max(1.0),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// With sums over some of the windows that are asked for.
fn history() -> History {
    let mut history = History::new(Duration::from_mins(10));
    history.serve(Duration::from_mins(10), &[10, 60, 600].map(Duration::from_secs));
    history
}

#[test]
fn ten_thousand_series_agree_with_a_naive_recomputation() {
    let mut random = Random(20_261_125);
    let (mut compared, mut empty) = (0, 0);
    for round in 0..10_000 {
        let series = 1 + random.below(3);
        let all = arrivals(&mut random, series);
        let mut histories: Vec<History> = (0..series).map(|_| history()).collect();
        let mut known = Vec::new();
        for arrival in all {
            let (of, now, sample) = arrival;
            histories[of].insert(sample, Timestamp::from_micros(now));
            if random.below(3) > 0 {
                histories[of].slide(Timestamp::from_micros(now));
            }
            known.push(arrival);
            // Not after each: that takes longer and says little more.
            if random.below(6) > 0 {
                continue;
            }
            let over = [1, 10, 60, 300, 600][usize::try_from(random.below(5)).unwrap()];
            let over = Duration::from_secs(over);
            let now = now + if random.below(2) == 0 { 0 } else { random.below(5 * SECOND) };
            let listed: Vec<(i64, &History)> = (1..).zip(&histories).collect();
            for function in FUNCTIONS {
                let got = window::value(&window_of(function, over), &listed, Timestamp::from_micros(now));
                let want = naive(function, over, &known, now);
                assert!(close(got, want), "round {round}, {function:?} over {over:?}: {got:?}, not {want:?}");
                compared += 1;
                empty += usize::from(want.is_none());
            }
        }
    }
    assert!(compared > 500_000 && empty > 20_000 && empty < compared / 2, "{compared}, {empty} of no data");
}

/// More samples than are kept one by one: what is folded loses nothing but at the window's beginning.
#[test]
fn a_long_history_is_folded_by_minutes_in_any_order() {
    let mut random = Random(7);
    let over = Duration::from_hours(2);
    let end = 1_000_000 * SECOND;
    // The window begins with a minute of the clock, which the naive form can do as well.
    let now = Timestamp::from_micros((end / (60 * SECOND) + 1) * 60 * SECOND - 1);
    let mut all: Vec<Arrival> = (0..12_000)
        .map(|id| {
            let at = Timestamp::from_micros(end - random.below(3 * 3_600 * SECOND));
            (0, end, Observed { id, at, value: random.value(), timed: false })
        })
        .collect();
    let folded = |all: &[Arrival]| {
        let mut history = History::new(over);
        for (_, at, sample) in all {
            history.insert(*sample, Timestamp::from_micros(*at));
        }
        assert!(history.minutes(now.before(over), now).count() > 30);
        assert_eq!(history.samples(now.before(over), now).len(), MOST);
        FUNCTIONS.map(|function| window::value(&window_of(function, over), &[(1, &history)], now))
    };
    let first = folded(&all);
    for (function, got) in FUNCTIONS.iter().zip(first) {
        let want = naive(*function, over, &all, now.micros());
        let exact =
            !matches!(function, Function::Rate | Function::Changes | Function::Quantile(_) | Function::Ewma);
        assert!(!exact || close(got, want), "{function:?}: {got:?}, not {want:?}");
        assert!(got.is_some_and(f64::is_finite), "{function:?}: {got:?}");
    }
    for _ in 0..5 {
        for at in (1..all.len()).rev() {
            all.swap(at, usize::try_from(random.below(i64::try_from(at).unwrap() + 1)).unwrap());
        }
        assert_eq!(
            folded(&all).map(|value| value.map(f64::to_bits)),
            first.map(|value| value.map(f64::to_bits))
        );
    }
}

fn compiled(expression: &str) -> Arc<Compiled> {
    let spec = Spec {
        name: "p".to_owned(),
        description: String::new(),
        severity: Severity::default(),
        target: "*".to_owned(),
        mode: Mode::Observe,
        condition: json!({"type": "cel", "expression": expression}),
        clear: None,
        action: "restart".to_owned(),
        params: serde_json::Map::new(),
        steps: Vec::new(),
        guardrails: Guardrails::default(),
        approval: crate::domain::approval::Terms::default(),
    };
    let at = Timestamp::from_micros(0);
    let (declared, source) = (None, Source::Api);
    let policy = Policy {
        id: 1,
        version: 1,
        enabled: true,
        declared,
        filed: None,
        source,
        created_at: at,
        updated_at: at,
        spec,
    };
    Arc::new(Compiled::new(policy).unwrap())
}

/// A partition with two series of one target; known in this order.
fn partition(order: [i64; 2]) -> Partition {
    let mut partition = Partition::default();
    for id in order {
        partition.add_series(Known {
            id,
            identity: Identity::new(format!("m{{n={id}}}").as_str().into()),
            name: "m",
            target: Some("web-1"),
            kind: "host",
            namespace: "",
            simulated: false,
            tags: Arc::new(Tags::from([("n".to_owned(), id.to_string())])),
        });
    }
    partition
}

#[test]
fn values_are_the_same_to_the_bit_after_a_rebuild() {
    let names = ["avg", "sum", "ewma", "zscore", "rate", "delta", "max", "count", "last", "changes"];
    let terms: Vec<String> =
        names.iter().map(|name| format!("{name}('m', duration('5m')) < 1e300")).collect();
    let source =
        format!("{} && quantile('m', 0.9, duration('5m'), {{'n': '2'}}) < 1e300", terms.join(" && "));
    let set = PolicySet::new(vec![compiled(&source)], 1);
    let limits = Limits { lookback: Duration::from_mins(5), sparing: false };
    let mut random = Random(99);
    let mut compared = 0;
    for _ in 0..300 {
        let all = arrivals(&mut random, 2);
        let Some((_, now, _)) = all.last().copied() else { continue };
        let now = Timestamp::from_micros(now);
        let ids = |of: usize| i64::try_from(of).unwrap() + 1;
        let seen = |partition: &mut Partition| {
            let mut findings = Findings::default();
            partition.tick(&set, (now, limits), &mut findings);
            let saw = findings.list.pop().map(|finding| finding.saw).unwrap_or_default();
            saw.into_iter().map(|(name, value)| (name, value.map(f64::to_bits))).collect::<Vec<_>>()
        };
        let mut live = partition([1, 2]);
        for (of, at, sample) in &all {
            let key = live.find_id(ids(*of)).unwrap();
            let mut ignored = Findings::default();
            live.observe(&set, key, *sample, (Timestamp::from_micros(*at), limits), &mut ignored);
        }
        // As it is read back: series in another order, only what was accepted since the windows begin.
        let since = now.before(Duration::from_mins(11)).micros();
        let mut rebuilt = partition([2, 1]);
        for (of, at, sample) in all.iter().filter(|(_, at, _)| *at >= since) {
            let key = rebuilt.find_id(ids(*of)).unwrap();
            rebuilt.remember(&set, key, *sample, Timestamp::from_micros(*at));
        }
        let (one, other) = (seen(&mut live), seen(&mut rebuilt));
        assert_eq!(one, other);
        compared += usize::from(one.len() == 13);
    }
    assert!(compared > 150, "{compared} with values");
}

#[test]
fn nothing_is_kept_where_no_window_looks() {
    let limits = Limits { lookback: Duration::from_mins(5), sparing: false };
    let now = Timestamp::from_micros(1_000_000 * SECOND);
    let sample = Observed { id: 1, at: now, value: 1.0, timed: false };
    let mut partition = partition([1, 2]);
    for (rev, source, kept) in [
        (1, "last('m') > 0.0", [false, false]),
        (2, "avg('m', duration('5m'), {'n': '2'}) > 0.0", [false, true]),
        (3, "avg('m', duration('5m')) > 0.0", [true, true]),
        (4, "highest('m') > 0.0", [false, false]),
    ] {
        let set = PolicySet::new(vec![compiled(source)], rev);
        for (id, kept) in [1, 2].into_iter().zip(kept) {
            let key = partition.find_id(id).unwrap();
            partition.observe(&set, key, sample, (now, limits), &mut Findings::default());
            assert_eq!(partition.keeps_history(key), kept, "series {id} under {source}");
        }
    }
    let [before, after] = ["last('m') > 0.0", "avg('m', duration('5m')) > 0.0"]
        .map(|source| PolicySet::new(vec![compiled(source)], 1));
    assert!(after.looks_further(&before) && !before.looks_further(&after) && !after.looks_further(&after));
}
