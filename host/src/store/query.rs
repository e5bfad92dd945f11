//! Stored samples of a metric, newest first.
//!
//! Samples have no index by series or time: they are reached through the records of a partition, which lie in
//! the order of acceptance. Nothing is observed later than a minute after it is accepted, so that the search may
//! stop once everything further back is older than what was found.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::sql::statements;
use super::{Result, Store, Tx, on, rows};
use crate::domain::Timestamp;

/// Records looked at in one read.
const PAGE: i64 = 128;
/// The longest that a search goes on; what was found until then is answered.
const PATIENCE: Duration = Duration::from_secs(3);
/// An event's time is at most so much after its acceptance.
const AHEAD: Duration = Duration::from_mins(1);

statements! { pub(super) STATEMENTS:
    SERIES = "SELECT id, partition_id FROM series WHERE name = $1 AND (target = $2 OR $2 = '')";
    RECORDS = "SELECT MIN(seq), MIN(at) FROM (SELECT seq, at FROM record
        WHERE partition_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3) r";
    SAMPLES = "SELECT s.id, s.observed_at, s.value, se.name, se.target, se.tags
        FROM record r JOIN sample s ON s.id BETWEEN r.first_id AND r.last_id JOIN series se ON se.id = s.series_id
        WHERE s.series_id IN {ids} AND r.partition_id = $2 AND r.seq >= $3 AND r.seq < $4
        AND s.observed_at >= $5 AND s.observed_at <= $6";
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
        let sql = tx.text(&SERIES);
        let series: Vec<(i64, i64)> = on!(&mut tx, c => sqlx::query_as(sql).bind(&wanted.name).bind(&wanted.target).fetch_all(c).await?);
        let ids: Vec<i64> = series.iter().map(|(id, _)| *id).collect();
        let list = super::ingest::list_of(&ids);
        let mut partitions: Vec<i64> = series.iter().map(|(_, partition)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let (mut found, mut whole) = (Vec::new(), true);
        for partition in partitions {
            whole &= search(&mut tx, (partition, &list), wanted, begun, &mut found).await?;
        }
        Ok((found, whole))
    }
}

/// Adds what one partition has to `found`, which keeps the newest in order. False: given up.
async fn search(
    tx: &mut Tx,
    (partition, series): (i64, &str),
    wanted: &Wanted,
    begun: Instant,
    found: &mut Vec<Found>,
) -> Result<bool> {
    let (records, samples) = (tx.text(&RECORDS), tx.text(&SAMPLES));
    let (from, to) =
        (wanted.from.map_or(i64::MIN, Timestamp::micros), wanted.to.map_or(i64::MAX, Timestamp::micros));
    let mut before = i64::MAX;
    loop {
        let (first, at): (Option<i64>, Option<i64>) = on!(&mut *tx, c => sqlx::query_as(records).bind(partition)
            .bind(before).bind(PAGE).fetch_one(c).await?);
        let (Some(first), Some(at)) = (first, at) else { return Ok(true) };
        let page: Vec<(i64, i64, f64, String, String, String)> = on!(&mut *tx, c => sqlx::query_as(samples)
            .bind(series).bind(partition).bind(first).bind(before).bind(from).bind(to).fetch_all(c).await?);
        found.extend(page.into_iter().map(|(id, observed_at, value, name, target, tags)| Found {
            id,
            observed_at: Timestamp::from_micros(observed_at),
            value,
            name,
            target,
            tags: rows::json(&tags),
        }));
        found.sort_by_key(|sample| std::cmp::Reverse((sample.observed_at, sample.id)));
        found.truncate(wanted.limit);
        // What lies further back was accepted before `at`.
        let latest = Timestamp::from_micros(at).after(AHEAD).micros();
        let enough = found.len() == wanted.limit
            && found.last().is_some_and(|last| last.observed_at.micros() >= latest);
        if enough || latest < from {
            return Ok(true);
        }
        if begun.elapsed() > PATIENCE {
            return Ok(false);
        }
        before = first;
    }
}
