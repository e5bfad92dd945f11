//! A file of tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::policies::files;
use crate::cli::Error;
use crate::domain::Timestamp;
use crate::domain::policy::{Policy, Source};

/// Bytes of a file of tests, tests of a file, series of a test.
const BYTES: u64 = 4 << 20;
const TESTS: usize = 1_000;
const SERIES: usize = 10_000;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// Files of policies, relative to this one.
    #[serde(default)]
    policy_files: Vec<PathBuf>,
    /// Policies that stand here.
    #[serde(default)]
    policies: Vec<Value>,
    /// Between two values of a series.
    #[serde(default = "minute", with = "humantime_serde")]
    pub(super) interval: Duration,
    /// Between two scheduled evaluations.
    #[serde(default = "half_minute", with = "humantime_serde")]
    pub(super) tick: Duration,
    /// When every test begins.
    #[serde(default)]
    start: Option<String>,
    /// The tests.
    pub(super) tests: Vec<Case>,
    #[serde(skip)]
    compiled: Vec<Policy>,
    #[serde(skip, default = "year")]
    pub(super) begin: Timestamp,
}

fn minute() -> Duration {
    Duration::from_mins(1)
}

fn half_minute() -> Duration {
    Duration::from_secs(30)
}

/// 2026-01-01T00:00:00Z.
fn year() -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000)
}

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What it shows.
    pub(super) name: String,
    /// What is read.
    pub(super) series: Vec<SeriesOf>,
    /// What actions come to; others succeed after ten seconds.
    #[serde(default)]
    pub(super) endings: Vec<Ending>,
    /// When people stop everything.
    #[serde(default)]
    pub(super) pauses: Vec<Pause>,
    /// What is expected, in the order of time.
    pub(super) expect: Vec<Expected>,
}

/// One series.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeriesOf {
    /// The metric.
    pub(super) metric: String,
    /// Its tags.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    /// One value per interval, the first at the start.
    pub(super) values: String,
}

/// What actions come to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ending {
    /// The kind of action.
    pub(super) action: String,
    /// On which targets.
    #[serde(default = "everything")]
    pub(super) target: String,
    /// How long it takes.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub(super) after: Duration,
    /// What it comes to.
    #[serde(default)]
    pub(super) outcome: Outcome,
}

fn everything() -> String {
    "*".to_owned()
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// What an action comes to.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was done.
    #[default]
    Succeeded,
    /// It was not.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// People stop everything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    /// When, from the start.
    #[serde(with = "humantime_serde")]
    pub(super) at: Duration,
    /// For how long; absent: until the end.
    #[serde(default, rename = "for", with = "humantime_serde")]
    pub(super) span: Option<Duration>,
}

/// What is expected at one time. A list that is absent is not looked at; of an entry only the members that are given are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    /// When, from the start; what happens at that very time has happened.
    #[serde(with = "humantime_serde")]
    pub(super) at: Duration,
    /// Incidents whose condition is not clear.
    pub(super) incidents: Option<Vec<Map<String, Value>>>,
    /// Decisions since the entry before, repeats in one.
    pub(super) decisions: Option<Vec<Map<String, Value>>>,
    /// Actions made since the entry before.
    pub(super) actions: Option<Vec<Map<String, Value>>>,
    /// What has been found of all actions so far.
    pub(super) verdicts: Option<Vec<Map<String, Value>>>,
}

impl TestFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::Failed(format!("{}: {why}", path.display()));
        let size = std::fs::metadata(path).map_err(|why| wrong(why.to_string()))?.len();
        if size > BYTES {
            return Err(wrong(format!("has {size} bytes; a file of tests has at most {BYTES}")));
        }
        let text = std::fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?;
        let mut file: Self = serde_saphyr::from_str(&text).map_err(|why| wrong(why.to_string()))?;
        if let Some(start) = &file.start {
            file.begin =
                Timestamp::parse(start).ok_or_else(|| wrong(format!("start: {start:?} is no time")))?;
        }
        file.bounds().map_err(wrong)?;
        let beside = path.parent().unwrap_or(Path::new("."));
        let paths: Vec<PathBuf> = file.policy_files.iter().map(|name| beside.join(name)).collect();
        let here = (path.to_owned(), std::mem::take(&mut file.policies));
        let drafts = files::drafts(&paths, here).map_err(|faults| Error::Failed(faults.join("\n")))?;
        let policy = |(at, draft): (usize, crate::api::policies::Draft)| Policy {
            id: i64::try_from(at).unwrap_or(i64::MAX) + 1,
            version: 1,
            enabled: draft.enabled,
            declared: None,
            filed: None,
            source: Source::File,
            created_at: file.begin,
            updated_at: file.begin,
            spec: draft.spec,
        };
        file.compiled = drafts.into_iter().enumerate().map(policy).collect();
        if file.compiled.is_empty() {
            return Err(wrong("names no policies: give `policy_files` or `policies`".to_owned()));
        }
        Ok(file)
    }

    fn bounds(&self) -> Result<(), String> {
        let second = Duration::from_secs(1);
        if self.interval < second || self.tick < second {
            return Err("`interval` and `tick` are at least 1s".to_owned());
        }
        if self.tests.is_empty() || self.tests.len() > TESTS {
            return Err(format!("`tests` holds 1 to {TESTS} tests"));
        }
        for case in &self.tests {
            let name = &case.name;
            if case.series.len() > SERIES {
                return Err(format!("{name}: at most {SERIES} series"));
            }
            if case.expect.is_empty() {
                return Err(format!("{name}: expects nothing, so it could not fail"));
            }
            if case.expect.windows(2).any(|two| two[0].at > two[1].at) {
                return Err(format!("{name}: `expect` must be in the order of time"));
            }
            let year = Duration::from_hours(24 * 366);
            if case.expect.iter().any(|expected| expected.at > year) {
                return Err(format!("{name}: a test lasts at most 366 days"));
            }
        }
        Ok(())
    }

    /// The policies, with ids from 1 in their order.
    pub(super) fn policies(&self) -> Vec<Policy> {
        self.compiled.clone()
    }
}
