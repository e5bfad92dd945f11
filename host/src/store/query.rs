//! Stored samples of a metric, newest first.
//!
//! Samples lie in chunks in the order of acceptance, without an index by series or time. Nothing is observed later
//! than a minute after it is accepted, so that the search may stop once everything further back is older than what
//! was found.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::sql::statements;
use super::{Result, Store, chunk, on, rows};
use crate::domain::Timestamp;

/// The longest that a search goes on; what was found until then is answered.
const PATIENCE: Duration = Duration::from_secs(3);
/// An event's time is at most a minute after its acceptance, and the clocks of two nodes at most another apart.
const AHEAD: Duration = Duration::from_mins(2);

statements! { pub(super) STATEMENTS:
    SERIES = "SELECT id, name, target, tags FROM series
        WHERE name = $1 AND (target = $2 OR $2 = '') AND simulated = FALSE";
    CHUNKS = "SELECT n, at, first_id, data FROM chunk WHERE n < $1 ORDER BY n DESC LIMIT 64";
}

/// Which samples.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of this metric.
    pub name: String,
    /// On this target; empty: on any.
    pub target: String,
    /// Observed at or after.
    pub from: Option<Timestamp>,
    /// Observed at or before.
    pub to: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

/// A stored sample.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its metric id.
    pub id: i64,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// What was observed.
    pub value: f64,
    /// The metric.
    pub name: String,
    /// What it is about.
    pub target: String,
    /// Its tags.
    pub tags: Value,
}

impl Store {
    /// The newest samples, by the time they were observed and then by id. False: the search was given up
    /// before it had seen everything.
    pub async fn samples(&self, wanted: &Wanted) -> Result<(Vec<Found>, bool)> {
        let begun = Instant::now();
        let mut tx = self.reading().await?;
        let (by_name, chunks) = (tx.text(&SERIES), tx.text(&CHUNKS));
        let series: Vec<(i64, String, String, String)> = on!(&mut tx, c => sqlx::query_as(by_name)
            .bind(&wanted.name).bind(&wanted.target).fetch_all(c).await?);
        let mut search = Search::new(wanted, series);
        let mut below = i64::MAX;
        while !search.series.is_empty() {
            let page: Vec<(i64, i64, i64, Vec<u8>)> =
                on!(&mut tx, c => sqlx::query_as(chunks).bind(below).fetch_all(c).await?);
            let Some((last, at, _, _)) = page.last() else { break };
            (below, search.reached) = (*last, *at);
            for (_, at, first, data) in &page {
                search.chunk(*first, *at, data)?;
            }
            if search.done() {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Ok((search.found(), false));
            }
        }
        Ok((search.found(), true))
    }
}

/// A search on its way back in time.
struct Search {
    series: HashMap<i64, (String, String, String)>,
    from: i64,
    to: i64,
    limit: usize,
    /// When the last chunk looked at was accepted.
    reached: i64,
    /// Time of observation, id, series and value of the newest so far.
    newest: Vec<(i64, i64, i64, f64)>,
}

impl Search {
    fn new(wanted: &Wanted, series: Vec<(i64, String, String, String)>) -> Self {
        Self {
            series: series.into_iter().map(|(id, name, target, tags)| (id, (name, target, tags))).collect(),
            from: wanted.from.map_or(i64::MIN, Timestamp::micros),
            to: wanted.to.map_or(i64::MAX, Timestamp::micros),
            limit: wanted.limit,
            reached: i64::MAX,
            newest: Vec::new(),
        }
    }

    fn chunk(&mut self, first: i64, at: i64, data: &[u8]) -> Result<()> {
        let Self { series, from, to, newest, .. } = self;
        chunk::decode(first, at, data, |_, sample| {
            let observed = sample.observed_at.micros();
            if (*from..=*to).contains(&observed) && series.contains_key(&sample.series_id) {
                newest.push((observed, sample.id, sample.series_id, sample.value));
            }
        })?;
        newest.sort_unstable_by_key(|(at, id, _, _)| std::cmp::Reverse((*at, *id)));
        newest.truncate(self.limit);
        Ok(())
    }

    /// Whether nothing further back can be newer than what was found.
    fn done(&self) -> bool {
        let latest = Timestamp::from_micros(self.reached).after(AHEAD).micros();
        let full = self.newest.len() == self.limit;
        latest < self.from || (full && self.newest.last().is_some_and(|(at, ..)| *at >= latest))
    }

    fn found(self) -> Vec<Found> {
        let found = self.newest.into_iter().filter_map(|(at, id, series, value)| {
            let (name, target, tags) = self.series.get(&series)?.clone();
            let observed_at = Timestamp::from_micros(at);
            Some(Found { id, observed_at, value, name, target, tags: rows::json(&tags) })
        });
        found.collect()
    }
}
