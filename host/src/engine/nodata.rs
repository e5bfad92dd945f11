//! No data is neither healthy nor unhealthy, and does not reset `for`: against a naive recount of random histories.

use std::time::Duration;

use super::Truth;
use super::series::TargetState;
use crate::domain::Timestamp;
use crate::domain::fleet::Domains;
use crate::domain::mutant::{Fault, PLANTED};
use crate::domain::random::Random;

/// The first moment at which the engine says something else than a recount of what has happened so far.
fn wrong(seed: u64) -> Option<String> {
    let mut random = Random(seed);
    let hold = Duration::from_secs(random.below(60));
    let mut target = TargetState {
        name: "web-1".into(),
        named: true,
        simulated: false,
        kind: String::new(),
        namespace: String::new(),
        noted: (Timestamp::default(), Domains::default()),
        windowed: (0, false),
        series: Vec::new(),
        pairs: Vec::new(),
    };
    let (mut now, mut history) = (Timestamp::from_micros(1), Vec::new());
    for step in 0..200 {
        now = now.after(Duration::from_secs(random.below(20)));
        let truth = match random.below(10) {
            0..=5 => Truth::Met,
            6 | 7 => Truth::NoData,
            8 => Truth::Failed,
            _ => Truth::Clear,
        };
        let (violated, _) = target.advance(1, truth, hold, now);
        history.push((now, truth));
        // Since it was last clear, what is known of it has been met.
        let since = history.iter().rev().take_while(|(_, truth)| *truth != Truth::Clear);
        let first = since.filter(|(_, truth)| *truth == Truth::Met).last();
        let says = truth == Truth::Met && first.is_some_and(|(at, _)| now.since(*at) >= hold);
        if violated != says {
            return Some(format!("seed {seed}, step {step}: {violated} and not {says}, hold {hold:?}"));
        }
    }
    None
}

#[test]
fn no_data_says_nothing() {
    for seed in 0..10_000 {
        assert_eq!(wrong(seed), None);
    }
    for fault in [Fault::NoDataResets, Fault::NoDataIsMet] {
        PLANTED.set(Some(fault));
        let found = (0..1_000).find_map(wrong);
        PLANTED.set(None);
        println!("without {fault:?}: {}", found.as_deref().unwrap_or("nobody noticed"));
        assert!(found.is_some(), "{fault:?} is not noticed");
    }
}
