//! Random series as monitoring sees them, and harder ones. All times are milliseconds, as those of Prometheus are.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// When windows are evaluated: the last millisecond of a minute of the clock, so that windows of whole minutes begin with
/// a minute. What is folded by minutes is then exact.
pub(super) const NOW: i64 = 1_700_000_039_999;
/// The windows, and how long they are.
pub(super) const OVERS: [(&str, i64); 3] = [("1m", 60_000), ("5m", 300_000), ("1h", 3_600_000)];
const HOUR: i64 = 3_600_000;
/// Each so many series one has more samples than are kept one by one.
const LONG: usize = 500;

/// splitmix64, public domain, by Sebastiano Vigna.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0, less than `end`.
    pub(super) fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.next() % end.unsigned_abs()).unwrap()
    }

    fn one_of(&mut self, values: &[i64]) -> i64 {
        values[usize::try_from(self.below(i64::try_from(values.len()).unwrap())).unwrap()]
    }

    /// From -`range` to `range`, in thousandths.
    fn value(&mut self, range: i32) -> f64 {
        let range = i64::from(range);
        f64::from(i32::try_from(self.below(2 * range + 1) - range).unwrap()) / 1_000.0
    }
}

/// One series: the target it is of, its number there, and its samples by time.
pub(super) struct Series {
    pub(super) target: String,
    pub(super) number: i64,
    pub(super) samples: Vec<(i64, f64)>,
}

impl Series {
    /// What tells it from the others.
    pub(super) fn key(&self) -> (String, String) {
        (self.target.clone(), self.number.to_string())
    }

    /// Its samples in a window that ends now.
    pub(super) fn inside(&self, over: i64) -> Vec<(i64, f64)> {
        let inside = self.samples.iter().filter(|(at, _)| *at > NOW - over && *at <= NOW);
        inside.copied().collect()
    }
}

/// So many series, each with a sample in the last hour. A target that has several is called `multi`.
pub(super) fn series(random: &mut Random, count: usize) -> Vec<Series> {
    let mut all = Vec::with_capacity(count);
    for target in 0.. {
        let several = if random.below(5) == 0 { 2 + random.below(2) } else { 1 };
        for number in 0..several {
            if all.len() == count {
                return all;
            }
            let times = if all.len() % LONG == LONG / 2 { many(random) } else { times(random) };
            let samples = times.iter().copied().zip(values(random, times.len())).collect();
            let name = if several > 1 { "multi" } else { "single" };
            all.push(Series { target: format!("{name}-{target}"), number, samples });
        }
    }
    all
}

fn many(random: &mut Random) -> BTreeSet<i64> {
    (0..4_500 + random.below(2_500)).map(|_| NOW - random.below(HOUR + 120_000)).collect()
}

fn times(random: &mut Random) -> BTreeSet<i64> {
    let mut times = BTreeSet::new();
    match random.below(20) {
        0 => times.extend([NOW - random.below(HOUR)]),
        1 => times.extend([NOW - random.below(HOUR), NOW - random.below(60_000)]),
        // At regular intervals, more or less.
        2..=10 => {
            let step = random.one_of(&[1_000, 5_000, 10_000, 15_000, 60_000, 300_000]);
            let jitter = if random.below(3) == 0 { 1 } else { step / 4 };
            let first = NOW - random.below(step / 2);
            times.extend((0..2 + random.below(60)).map(|n| first - n * step - random.below(jitter)));
        }
        // At any time.
        11..=16 => {
            let span = random.one_of(&[50_000, 280_000, 3_500_000, 7_000_000]);
            times.extend((0..=random.below(60)).map(|_| NOW - random.below(span)));
        }
        // Some, a gap, and some more.
        _ => {
            let (late, early) = (NOW - random.below(200_000), NOW - 400_000 - random.below(3_000_000));
            times.extend((0..=random.below(15)).map(|_| late - random.below(30_000)));
            times.extend((0..=random.below(30)).map(|_| early - random.below(60_000)));
        }
    }
    // Where windows begin and end, and a little ahead of their end.
    if random.below(4) == 0 {
        let edges = OVERS.iter().map(|(_, over)| NOW - over).chain([NOW]);
        let edges: Vec<i64> = edges.flat_map(|edge| [edge - 1, edge, edge + 1]).collect();
        times.extend((0..=random.below(6)).map(|_| random.one_of(&edges)));
        times.extend((0..random.below(3)).map(|_| NOW + random.below(30_000)));
    }
    if times.range(NOW - HOUR + 1..=NOW).next().is_none() {
        times.insert(NOW - random.below(HOUR));
    }
    times
}

fn values(random: &mut Random, count: usize) -> Vec<f64> {
    let kind = random.below(8);
    let constant = random.value(100_000);
    let large = f64::from(10_i32.pow(u32::try_from(random.below(9)).unwrap())) * 1e6;
    let mut counter = if random.below(2) == 0 { 0.0 } else { 1e9 };
    let mut value = |random: &mut Random| match kind {
        // Counters, with resets.
        0 | 1 => {
            let step = if random.below(4) == 0 { 0.0 } else { random.value(100_000_000).abs() };
            counter = if random.below(15) == 0 { step / 16.0 } else { counter + step };
            counter
        }
        2 => constant,
        3 => f64::from(i32::try_from(random.below(5) - 2).unwrap()),
        4 => large * random.value(1_000_000),
        5 => -100.0 - random.value(90_000),
        6 => random.value(100_000),
        _ => match random.below(6) {
            0 => 0.0,
            1 => 42.0,
            2 => 1e4 + random.value(1_000_000),
            _ => random.value(100_000),
        },
    };
    (0..count).map(|_| value(random)).collect()
}

/// All of it as OpenMetrics. Times stand half a millisecond later: they are read as doubles of seconds and cut to
/// milliseconds, which must not make them earlier.
pub(super) fn openmetrics(all: &[Series]) -> String {
    let mut text = "# TYPE m gauge\n".to_owned();
    for Series { target, number, samples } in all {
        for (at, value) in samples {
            let (seconds, millis) = (at / 1_000, at % 1_000);
            let _ = writeln!(text, "m{{t=\"{target}\",n=\"{number}\"}} {value} {seconds}.{millis:03}5");
        }
    }
    text + "# EOF\n"
}
