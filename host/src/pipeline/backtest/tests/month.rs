//! How long a month takes: 30 days of 1,000 targets at one sample a minute, under 100 policies. Figures, not a check; run it in
//! the release profile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::{BEGIN, writer};
use crate::clock::Clock;
use crate::config::{Config, Inputs, Settings};
use crate::domain::event::{Event, Mark, Series, Tags, Target};
use crate::domain::policy::{Mode, Policy, Severity, Source, Spec};
use crate::pipeline::backtest::{Wanted, run};
use crate::pipeline::ingest::Request;
use crate::pipeline::model::scene::Random;
use crate::pipeline::rehearsal::{Assumed, Stage};
use crate::pipeline::settings::Live;
use crate::store::{Durability, Location, Store};

const TARGETS: usize = 1_000;
const DAYS: u64 = 30;

/// Policies of ten targets each, from number `wide` on of all: thresholds, some that must hold, and windows.
fn policy(number: i64, wide: i64) -> Policy {
    let (everywhere, threshold) = (number >= wide, 80 + number / 5);
    let condition = match number % 10 {
        0..=5 => json!({"type": "metric_exceeds", "metric": "cpu", "threshold": threshold}),
        6 | 7 => json!({"type": "all", "conditions": [
            {"type": "metric_exceeds", "metric": "cpu", "threshold": threshold},
            {"type": "metric_below", "metric": "cpu", "threshold": 1_000}]}),
        8 => json!({"type": "cel", "expression": format!("avg(\"cpu\", duration(\"5m\")) > {threshold}.0")}),
        _ => json!({"type": "cel",
            "expression": format!("quantile(\"cpu\", 0.9, duration(\"15m\")) > {threshold}.0")}),
    };
    let rails = json!({"for": if number % 3 == 0 { "2m" } else { "0s" }});
    let spec = Spec {
        name: format!("policy-{number}"),
        description: String::new(),
        severity: Severity::Warning,
        target: if everywhere { "web-*".to_owned() } else { format!("web-{number:02}*") },
        mode: Mode::Auto,
        condition,
        clear: None,
        action: "restart".to_owned(),
        params: Map::new(),
        steps: Vec::new(),
        guardrails: serde_json::from_value(rails).unwrap(),
        approval: crate::domain::approval::Terms::default(),
    };
    let (id, version, enabled, source) = (number + 1, 1, true, Source::Api);
    let (declared, filed, created_at, updated_at) = (None, None, BEGIN, BEGIN);
    Policy { id, version, enabled, declared, filed, source, created_at, updated_at, spec }
}

async fn history(store: &Store) -> u64 {
    let clock = Clock::manual(BEGIN);
    let mut writer = writer(store, &clock);
    let series = |n: usize| {
        let tags = Tags::from([("service".to_owned(), format!("web-{n:03}"))]);
        let target = Target::resolve(&tags).unwrap();
        Arc::new(Series::new("cpu".to_owned(), tags, target))
    };
    let series: Vec<Arc<Series>> = (0..TARGETS).map(series).collect();
    let (mut random, mut sick_until) = (Random(11), vec![0_u64; TARGETS]);
    let mut samples = 0;
    for minute in 0..DAYS * 24 * 60 {
        clock.reach(BEGIN.after(Duration::from_secs(minute * 60)));
        let mut events = Vec::with_capacity(TARGETS);
        for (n, series) in series.iter().enumerate() {
            // Sick for a quarter of an hour about once in four days.
            if random.below(4 * 24 * 60) == 0 {
                sick_until[n] = minute + 5 + random.below(20);
            }
            let value = if minute < sick_until[n] { 85 + random.below(15) } else { 10 + random.below(50) };
            let (series, observed_at) = (Arc::clone(series), clock.now());
            events.push(Event { series, value: value as f64, observed_at, timed: false, mark: Mark::Real });
        }
        samples += events.len() as u64;
        let request = Request { events, many: true, warnings: Vec::new(), key: None };
        for answer in writer.record(&[&request]).await.unwrap() {
            answer.unwrap();
        }
    }
    samples
}

/// A server as it is without settings.
fn usual() -> Stage {
    let flags = BTreeMap::from([("server.data_dir", "/nowhere".to_owned())]);
    let config = Config::load(&Inputs { flags, ..Inputs::default() }).unwrap();
    let settings = Live::new(Settings::of(&config), Arc::new(|_| ()));
    Stage { lookback: config.policies.lookback, settings, everywhere: config.guardrails }
}

#[tokio::test]
#[ignore = "figures, not a check"]
async fn a_month_of_a_thousand_targets() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(dir.path().join("vigil.db"));
    let store = Store::open(location, Durability::Scratch, 1).await.unwrap();
    store.migrate("month").await.unwrap();
    let begun = Instant::now();
    let samples = history(&store).await;
    let recorded = begun.elapsed();
    println!("{samples} samples of {DAYS} days and {TARGETS} targets recorded in {recorded:?}");
    // Each target with a policy of its own; and with ten more that look at all of them.
    for wide in [100, 90] {
        lived(&store, samples, wide).await;
    }
}

async fn lived(store: &Store, samples: u64, wide: i64) {
    let wanted = Wanted {
        policies: (0..100).map(|number| policy(number, wide)).collect(),
        from: BEGIN,
        to: BEGIN.after(Duration::from_hours(DAYS * 24)),
        assumed: Assumed::default(),
        as_it_was: false,
        limit: 1_000,
    };
    let begun = Instant::now();
    let outcome = run(store, &usual(), &wanted, &CancellationToken::new()).await.unwrap();
    let took = begun.elapsed();
    let mut words = BTreeMap::<&str, i64>::new();
    for (_, word, count) in &outcome.tally {
        *words.entry(word.as_str()).or_default() += count;
    }
    println!(
        "100 policies, {} of all targets: {took:?}, {} samples a second, {:?}, {words:?}",
        100 - wide,
        (samples as f64 / took.as_secs_f64()) as u64,
        outcome.counts
    );
    assert_eq!(outcome.counts.samples, samples);
    assert_ne!(words.get("act"), None, "nothing was done");
}
