//! A back-test of a file of samples, without a server.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use super::{Options, place};
use crate::api::policies::Backtest;
use crate::api::policies::files;
use crate::cli::Error;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::event::{Series, Tags, Target};
use crate::domain::policy::{Mode, Policy, Source};
use crate::pipeline::backtest::{Wanted, outcome};
use crate::pipeline::rehearsal::{Assumed, Ends, Stage, compiled};
use crate::pipeline::scenario::{Reading, Scenario};

/// Samples of a file.
const MOST: usize = 10_000_000;

/// One line.
#[derive(Deserialize)]
struct Line {
    name: String,
    value: f64,
    #[serde(default)]
    tags: Tags,
    timestamp: Value,
}

/// Lives through the file.
pub(super) async fn run(options: &Options, file: &Path, stage: &Stage) -> Result<Value, Error> {
    let begun = Instant::now();
    let mut readings = read(file)?;
    readings.sort_by_key(|reading| reading.observed_at);
    let failed = |wrong: &dyn std::fmt::Display| Error::Failed(wrong.to_string());
    let (Some(first), Some(last)) = (readings.first(), readings.last()) else {
        return Err(Error::Failed(format!("{}: holds no sample", file.display())));
    };
    let (earliest, latest) = (first.observed_at, last.observed_at);
    let to = options.to.unwrap_or_else(|| latest.after(stage.settings.tick()));
    let from = options.from.or_else(|| options.last.map(|last| to.before(last))).unwrap_or(earliest);
    let (policies, notes) = policies(options)?;
    let assumed = Assumed { takes: options.action_takes, ..Assumed::default() };
    let limit = options.limit as usize;
    let wanted = Wanted { policies, from, to, assumed, as_it_was: false, limit };
    let ends = Ends { assumed, ..Ends::default() };
    let ready = compiled(wanted.policies.clone()).map_err(|wrong| failed(&wrong))?;
    let every = stage.settings.tick();
    let mut scenario =
        Scenario::new(stage, ready, ends, (from, every)).await.map_err(|wrong| failed(&wrong))?;
    let within = |reading: &&Reading| reading.observed_at >= from && reading.observed_at < to;
    let kept: Vec<Reading> = readings.iter().filter(within).cloned().collect();
    for together in kept.chunk_by(|one, next| one.observed_at == next.observed_at) {
        let at = together[0].observed_at;
        scenario.arrive(at, together).await.map_err(|wrong| failed(&wrong))?;
    }
    scenario.until(to).await.map_err(|wrong| failed(&wrong))?;
    let outcome = outcome(scenario.rehearsal(), &wanted, |_| ()).await.map_err(|wrong| failed(&wrong))?;
    let answer = Backtest::new(&wanted, outcome, notes, begun.elapsed());
    serde_json::to_value(answer).map_err(|wrong| failed(&wrong))
}

fn policies(options: &Options) -> Result<(Vec<Policy>, Vec<String>), Error> {
    let drafts = files::drafts(&options.file, (PathBuf::new(), Vec::new()))
        .map_err(|faults| Error::Failed(faults.join("\n")))?;
    let (mut policies, mut notes) = (Vec::new(), Vec::new());
    for (at, mut draft) in drafts.into_iter().enumerate() {
        if !options.as_is && draft.spec.mode != Mode::Auto {
            notes.push(format!("policy `{}` is back-tested as if its mode were `auto`", draft.spec.name));
            draft.spec.mode = Mode::Auto;
        }
        let now = Clock::System.now();
        policies.push(Policy {
            id: i64::try_from(at).unwrap_or(i64::MAX) + 1,
            version: 1,
            enabled: draft.enabled,
            declared: None,
            filed: None,
            source: Source::File,
            created_at: now,
            updated_at: now,
            spec: draft.spec,
        });
    }
    Ok((policies, notes))
}

fn read(file: &Path) -> Result<Vec<Reading>, Error> {
    let opened =
        std::fs::File::open(file).map_err(|why| Error::Failed(format!("{}: {why}", file.display())))?;
    let mut known: HashMap<(String, Tags), Arc<Series>> = HashMap::new();
    let mut readings = Vec::new();
    for (at, line) in std::io::BufReader::new(opened).lines().enumerate() {
        let wrong = |why: &dyn std::fmt::Display| Error::Failed(format!("{}: {why}", place(file, at + 1)));
        let line = line.map_err(|why| wrong(&why))?;
        if line.trim().is_empty() {
            continue;
        }
        if readings.len() == MOST {
            return Err(wrong(&format!("a file has at most {MOST} samples")));
        }
        let Line { name, value, tags, timestamp } = serde_json::from_str(&line).map_err(|why| wrong(&why))?;
        let observed_at = match &timestamp {
            Value::String(text) => Timestamp::parse(text),
            Value::Number(seconds) => seconds.as_f64().and_then(Timestamp::from_unix_seconds),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let observed_at = observed_at.ok_or_else(|| wrong(&"`timestamp` is no time"))?;
        let name = name.trim().to_owned();
        if name.is_empty() || name.chars().count() > 255 {
            return Err(wrong(&"`name` has 1 to 255 characters"));
        }
        let target = Target::resolve(&tags).map_err(|(tag, why)| wrong(&format!("the tag `{tag}` {why}")))?;
        let series = known.entry((name.clone(), tags.clone()));
        let series = series.or_insert_with(|| Arc::new(Series::new(name, tags, target)));
        readings.push(Reading { series: Arc::clone(series), value, observed_at });
    }
    Ok(readings)
}
