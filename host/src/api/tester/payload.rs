//! What a policy is tested with: values that violate its condition, and a target of its pattern.

use std::collections::BTreeMap;

use crate::cel::Condition;
use crate::domain::event::normal_name;
use crate::domain::policy::Pattern;

/// The name that stands for a pattern's star.
const TEST: &str = "vigil-test";

/// Words in a policy's name, and the metrics they stand for with their values.
type ByName = (&'static [&'static str], &'static [(&'static str, f64)]);

/// What the name of a policy tells where its condition tells nothing.
const BY_NAME: [ByName; 8] = [
    (&["cpu"], &[("cpu_percent", 95.0)]),
    (&["mem"], &[("memory_percent", 90.0)]),
    (&["disk"], &[("disk_free_percent", 2.0)]),
    (&["error", "failure"], &[("error_rate", 50.0), ("failure_rate", 12.5)]),
    (&["health"], &[("health_check_failures", 5.0)]),
    (&["restart"], &[("restart_count", 10.0)]),
    (&["latency", "response"], &[("response_time_ms", 5_000.0)]),
    (&[], &[("test_metric", 100.0)]),
];

/// One comparison of a condition.
#[derive(Clone, Copy, Debug)]
enum Bound {
    Above(f64),
    Below(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Above(threshold) => value > threshold,
            Self::Below(threshold) => value < threshold,
        }
    }

    /// A value beyond the threshold. The seed's formula first; where that does not get there (thresholds around and
    /// under zero), a tenth or one further on; and for the largest numbers, the largest.
    fn beyond(self) -> f64 {
        let (formula, further, last) = match self {
            Self::Above(t) => (t * 1.1 + 1.0, t + (t.abs() * 0.1).max(1.0), f64::MAX),
            Self::Below(t) => ((t * 0.9 - 1.0).max(0.0), t - (t.abs() * 0.1).max(1.0), f64::MIN),
        };
        let good = |value: &f64| value.is_finite() && self.holds(*value);
        [round(formula), further].into_iter().find(good).unwrap_or(last)
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Values of metrics that violate `condition`, at all depths; where none can be derived, the policy's name decides.
pub(super) fn payload(condition: &Condition, name: &str) -> BTreeMap<String, f64> {
    let mut bounds = BTreeMap::new();
    collect(condition, &mut bounds);
    if !bounds.is_empty() {
        return bounds.into_iter().map(|(metric, bounds)| (metric, value(&bounds))).collect();
    }
    let name = name.to_lowercase();
    let told =
        BY_NAME.iter().find(|(words, _)| words.is_empty() || words.iter().any(|word| name.contains(word)));
    told.into_iter()
        .flat_map(|(_, values)| *values)
        .map(|(metric, value)| ((*metric).to_owned(), *value))
        .collect()
}

fn collect(condition: &Condition, bounds: &mut BTreeMap<String, Vec<Bound>>) {
    match condition {
        Condition::Exceeds { metric, threshold } => {
            bounds.entry(metric.clone()).or_default().push(Bound::Above(*threshold));
        }
        Condition::Below { metric, threshold } => {
            bounds.entry(metric.clone()).or_default().push(Bound::Below(*threshold));
        }
        Condition::All(members) | Condition::Any(members) => {
            for member in members {
                collect(member, bounds);
            }
        }
        Condition::Cel(_) => {}
    }
}

/// A value that meets every comparison with one metric, if one does.
fn value(bounds: &[Bound]) -> f64 {
    let above = bounds.iter().filter_map(|bound| if let Bound::Above(t) = bound { Some(*t) } else { None });
    let below = bounds.iter().filter_map(|bound| if let Bound::Below(t) = bound { Some(*t) } else { None });
    let between = above.fold(f64::MIN, f64::max) / 2.0 + below.fold(f64::MAX, f64::min) / 2.0;
    let mut candidates = bounds.iter().map(|bound| bound.beyond()).chain([between]);
    let meets_all = |value: &f64| bounds.iter().all(|bound| bound.holds(*value));
    candidates.clone().find(meets_all).or_else(|| candidates.next()).unwrap_or_default()
}

/// A target that the pattern matches: its stars replaced by `vigil-test`.
pub(super) fn target(pattern: &str) -> String {
    if matches!(pattern, "all" | "*") {
        return TEST.to_owned();
    }
    if !pattern.contains('*') {
        return pattern.to_owned();
    }
    let matches = |name: &String| {
        let usable = normal_name(name).is_ok_and(|normal| normal == *name);
        usable && Pattern::new(pattern).is_ok_and(|compiled| compiled.matches(name))
    };
    let plain = pattern.replace('*', TEST);
    let once = pattern.replacen('*', TEST, 1).replace('*', "");
    let tries = [plain, expanded(pattern, TEST), once, expanded(pattern, "")];
    tries.into_iter().find(matches).unwrap_or_else(|| TEST.to_owned())
}

/// The pattern with one character for each of its sets.
fn expanded(pattern: &str, star: &str) -> String {
    let mut name = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '*' => name.push_str(star),
            '?' => name.push('x'),
            '[' => {
                let negated = rest.next_if(|next| matches!(next, '!' | '^')).is_some();
                let mut set = String::new();
                // A bracket that comes first is a member of the set.
                set.extend(rest.next());
                set.extend(rest.by_ref().take_while(|next| *next != ']'));
                let outside = || "x0-_.".chars().chain('a'..='z').find(|letter| !in_set(&set, *letter));
                name.extend(if negated { outside() } else { set.chars().next() });
            }
            plain => name.push(plain),
        }
    }
    name
}

fn in_set(set: &str, letter: char) -> bool {
    let letters: Vec<char> = set.chars().collect();
    letters.contains(&letter)
        || letters.windows(3).any(|range| range[1] == '-' && (range[0]..=range[2]).contains(&letter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_the_seeds_where_those_violate() {
        let exceeds = |threshold| Condition::Exceeds { metric: "m".into(), threshold };
        let below = |threshold| Condition::Below { metric: "m".into(), threshold };
        for (condition, expected) in [
            (exceeds(90.0), 100.0),
            (exceeds(0.0), 1.0),
            (exceeds(-5.0), -4.5),
            (exceeds(-10.0), -9.0),
            (exceeds(-100.0), -90.0),
            (exceeds(33.33), 37.66),
            (below(5.0), 3.5),
            (below(1.0), 0.0),
            (below(0.0), -1.0),
            (below(-50.0), -55.0),
            (Condition::All(vec![exceeds(90.0), below(95.0)]), 92.5),
            (Condition::Any(vec![exceeds(90.0), below(5.0)]), 100.0),
        ] {
            assert_eq!(payload(&condition, "x")["m"].to_string(), expected.to_string(), "{condition:?}");
        }
    }

    #[test]
    fn the_name_decides_where_the_condition_tells_nothing() {
        let cel = Condition::Cel("true".into());
        for (name, metrics) in [
            ("High-CPU", "cpu_percent"),
            ("memory", "memory_percent"),
            ("disk", "disk_free_percent"),
            ("failures", "error_rate failure_rate"),
            ("api health", "health_check_failures"),
            ("restarts", "restart_count"),
            ("slow-response", "response_time_ms"),
            ("anything", "test_metric"),
        ] {
            let found: Vec<String> = payload(&cel, name).into_keys().collect();
            assert_eq!(found.join(" "), metrics, "{name}");
        }
        let mixed = Condition::All(vec![cel, Condition::Below { metric: "m".into(), threshold: 3.0 }]);
        assert_eq!(payload(&mixed, "cpu").into_keys().collect::<Vec<_>>(), ["m"]);
    }

    #[test]
    fn targets_are_of_their_pattern() {
        for (pattern, expected) in [
            ("all", "vigil-test"),
            ("*", "vigil-test"),
            ("web-*", "web-vigil-test"),
            ("api-server", "api-server"),
            ("web-?", "web-?"),
            ("*-[ab]", "vigil-test-a"),
            ("[!a-w]*", "[!a-w]vigil-test"),
            ("[b-w]*", "bvigil-test"),
            ("[!\\[]*", "xvigil-test"),
            ("*{a}", "vigil-test{a}"),
        ] {
            assert_eq!(target(pattern), expected);
            assert!(Pattern::new(pattern).unwrap().matches(expected), "{pattern}");
        }
        assert!(Pattern::new(&"*".repeat(255)).unwrap().matches(&target(&"*".repeat(255))));
    }

    proptest! {
        #[test]
        fn every_threshold_is_passed(threshold in prop::num::f64::NORMAL) {
            // Nothing is beyond the ends of the line.
            prop_assume!(threshold.abs() < f64::MAX);
            for bound in [Bound::Above(threshold), Bound::Below(threshold)] {
                let value = bound.beyond();
                prop_assert!(value.is_finite() && bound.holds(value), "{bound:?}: {value}");
            }
        }
    }
}
