//! What the simulator sends, and when. Pure: chance comes in as a generator and time as a number; the running of it
//! is `api/simulator/run.rs`.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// How events are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SimulatorMode)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One after the other at equal distances.
    #[default]
    Steady,
    /// One in ten comes close behind the one before it.
    Burst,
    /// Twice as fast after five minutes.
    Ramp,
    /// At any distance, with as many bad values as good ones.
    Chaos,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Steady, Self::Burst, Self::Ramp, Self::Chaos];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Burst => "burst",
            Self::Ramp => "ramp",
            Self::Chaos => "chaos",
        }
    }

    /// The mode of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }
}

/// What a run is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Events per minute, 1 to 10,000.
    pub rate: u32,
    /// How they are spread.
    pub mode: Mode,
    /// Of a hundred events, so many are refused by the pipeline.
    pub failure: f64,
    /// So many take two seconds and come to nothing.
    pub timeout: f64,
    /// So many are no events at all.
    pub malformed: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { rate: 100, mode: Mode::Steady, failure: 5.0, timeout: 2.0, malformed: 1.0 }
    }
}

/// What is done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This body is sent; the pipeline should take it.
    Event(Vec<u8>),
    /// This body is sent; the pipeline should refuse it.
    Refused(Vec<u8>),
    /// This body is sent; the validator should refuse it.
    Malformed(Vec<u8>),
    /// Nothing arrives in time.
    Late,
}

/// Kinds of events and the upper end of their values; all begin at 0.
const KINDS: [(&str, f64); 5] = [
    ("cpu_usage", 100.0),
    ("memory_usage", 100.0),
    ("disk_usage", 100.0),
    ("request_latency", 5_000.0),
    ("error_rate", 100.0),
];
const SERVICES: [&str; 4] = ["web", "api", "worker", "db"];
/// Parts of the range: normal, warning, critical.
const SEVERITIES: [(f64, f64); 3] = [(0.0, 0.7), (0.7, 0.85), (0.85, 1.0)];
/// Bodies that are no events.
const BAD: [&str; 6] = [
    "{\"name\": \"cpu_usage\", \"value\": ",
    "{\"value\": 50}",
    "{\"name\": \"cpu_usage\"}",
    "{\"name\": 7, \"value\": \"high\"}",
    "{\"name\": \"cpu_usage\", \"value\": 50, \"tags\": [\"service\"]}",
    "\"cpu_usage 50\"",
];

impl Shape {
    /// The time to the next event, `elapsed` after the start.
    ///
    /// Their mean is the base of 60 s / rate in `steady` and `burst` (0.1·0.1 + 0.9·1.1 = 1), half of it in `ramp`
    /// from the fifth minute on, and 1.55 times it in `chaos` (the mean of 0.1 to 3).
    pub fn delay(&self, elapsed: Duration, chance: &mut impl Rng) -> Duration {
        let base = Duration::from_mins(1) / self.rate.max(1);
        match self.mode {
            Mode::Steady => base,
            Mode::Burst if chance.random_bool(0.1) => base.mul_f64(0.1),
            Mode::Burst => base.mul_f64(1.1),
            Mode::Ramp => base.div_f64((1.0 + elapsed.as_secs_f64() / 300.0).min(2.0)),
            Mode::Chaos => base.mul_f64(chance.random_range(0.1..3.0)),
        }
    }

    /// What is sent next. Where the shares of what goes wrong are more than everything, they are scaled down to it.
    pub fn next(&self, chance: &mut impl Rng) -> Next {
        let whole = (self.failure + self.timeout + self.malformed).max(100.0);
        let drawn = chance.random_range(0.0..whole);
        if drawn < self.failure {
            Next::Refused(refused(self.event(chance), chance))
        } else if drawn < self.failure + self.timeout {
            Next::Late
        } else if drawn < self.failure + self.timeout + self.malformed {
            Next::Malformed(one_of(&BAD, chance).as_bytes().to_vec())
        } else {
            Next::Event(self.event(chance).to_string().into_bytes())
        }
    }

    fn event(&self, chance: &mut impl Rng) -> Value {
        let (name, top) = one_of(&KINDS, chance);
        let drawn = chance.random_range(0.0..1.0);
        let (warning, critical) = if self.mode == Mode::Chaos { (1.0 / 3.0, 2.0 / 3.0) } else { (0.7, 0.9) };
        let severity = usize::from(drawn >= warning) + usize::from(drawn >= critical);
        let (low, high) = SEVERITIES[severity];
        let value = (chance.random_range(low..high) * top * 100.0).round() / 100.0;
        let service = one_of(&SERVICES, chance);
        json!({"name": name, "value": value,
            "tags": {"service": service, "environment": "test", "simulator": "true"}})
    }
}

/// The event with a fault that the pipeline refuses it for.
fn refused(mut event: Value, chance: &mut impl Rng) -> Vec<u8> {
    match chance.random_range(0..4_u8) {
        0 => event["value"] = json!("NaN"),
        1 => event["name"] = json!("x".repeat(256)),
        2 => event["name"] = json!(" "),
        _ => event["tags"]["service"] = json!(" "),
    }
    event.to_string().into_bytes()
}

fn one_of<T: Copy, const N: usize>(all: &[T; N], chance: &mut impl Rng) -> T {
    all[chance.random_range(0..N)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// The mean of so many delays at `elapsed`, in bases.
    fn mean(shape: Shape, elapsed: u64, seed: u64) -> f64 {
        const DRAWS: u32 = 20_000;
        let mut chance = StdRng::seed_from_u64(seed);
        let sum: f64 =
            (0..DRAWS).map(|_| shape.delay(Duration::from_secs(elapsed), &mut chance).as_secs_f64()).sum();
        sum / f64::from(DRAWS) / (60.0 / f64::from(shape.rate))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn delays_have_the_mean_that_the_mode_promises(
            rate in 1_u32..=10_000, elapsed in 0_u64..900, seed: u64,
        ) {
            let ramp = 1.0 / (1.0 + f64::from(u32::try_from(elapsed).unwrap()) / 300.0).min(2.0);
            for (mode, promised) in [(Mode::Steady, 1.0), (Mode::Burst, 1.0), (Mode::Ramp, ramp), (Mode::Chaos, 1.55)] {
                let mean = mean(Shape { rate, mode, ..Shape::default() }, elapsed, seed);
                // Five standard errors of the widest of them, chaos: 2.9 / √12 / √20000.
                prop_assert!((mean - promised).abs() < 0.03, "{mode:?}: {mean}, promised {promised}");
            }
        }

        #[test]
        fn shares_and_values_are_those_asked_for(seed: u64, failure in 0_u32..=40, timeout in 0_u32..=30) {
            const DRAWS: u32 = 5_000;
            let (failure, timeout) = (f64::from(failure), f64::from(timeout));
            for mode in Mode::ALL {
                let shape = Shape { rate: 1, mode, failure, timeout, malformed: 20.0 };
                let mut chance = StdRng::seed_from_u64(seed);
                let (mut counts, mut critical) = ([0_u32; 4], 0_u32);
                for _ in 0..DRAWS {
                    match shape.next(&mut chance) {
                        Next::Event(body) => {
                            counts[0] += 1;
                            critical += u32::from(checked(&body) >= 0.85);
                        }
                        Next::Refused(_) => counts[1] += 1,
                        Next::Late => counts[2] += 1,
                        Next::Malformed(_) => counts[3] += 1,
                    }
                }
                let share = |count: u32| 100.0 * f64::from(count) / f64::from(DRAWS);
                for (count, asked) in counts[1..].iter().zip([failure, timeout, 20.0]) {
                    prop_assert!((share(*count) - asked).abs() < 4.0, "{counts:?} for {shape:?}");
                }
                let share = f64::from(critical) / f64::from(counts[0].max(1));
                let asked = if mode == Mode::Chaos { 1.0 / 3.0 } else { 0.1 };
                prop_assert!(counts[0] < 500 || (share - asked).abs() < 0.1, "{share} critical in {mode:?}");
            }
        }
    }

    /// The event's value as a part of its range; it is one of ours, with our tags.
    fn checked(body: &[u8]) -> f64 {
        let event: Value = serde_json::from_slice(body).unwrap();
        let (_, top) = KINDS.iter().find(|(name, _)| event["name"] == *name).unwrap();
        assert!(SERVICES.iter().any(|service| event["tags"]["service"] == *service));
        assert_eq!(
            (&event["tags"]["simulator"], &event["tags"]["environment"]),
            (&json!("true"), &json!("test"))
        );
        let part = event["value"].as_f64().unwrap() / top;
        assert!((0.0..=1.0).contains(&part), "{event}");
        // A value a hair under a border may have been rounded up to it.
        part
    }

    #[test]
    fn everything_refused_leaves_nothing_to_succeed() {
        let mut chance = StdRng::seed_from_u64(1);
        let all = Shape { failure: 100.0, timeout: 0.0, malformed: 0.0, ..Shape::default() };
        let over = Shape { failure: 100.0, timeout: 100.0, malformed: 50.0, ..Shape::default() };
        for _ in 0..2_000 {
            assert!(matches!(all.next(&mut chance), Next::Refused(_)));
            assert!(!matches!(over.next(&mut chance), Next::Event(_)));
        }
    }
}
