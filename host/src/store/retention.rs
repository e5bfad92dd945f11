//! What is deleted, in small steps, so that nobody waits for it.

use std::time::Duration;

use super::sql::statements;
use super::{Result, Store, on};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    OLD_KEYS = "DELETE FROM idempotency WHERE (scope, key) IN
        (SELECT scope, key FROM idempotency WHERE at < $1 LIMIT 1000)";
    OLD_REPORTS = "DELETE FROM reported WHERE key IN (SELECT key FROM reported WHERE at < $1 LIMIT 1000)";
    OLD_DRIFTS = "DELETE FROM drift WHERE id IN (SELECT id FROM drift WHERE resolved_at < $1 LIMIT 1000)";
    OLD_PULLERS = "DELETE FROM puller WHERE seen_at < $1";
    OLD_CHUNKS = "DELETE FROM chunk WHERE n IN (SELECT o.n FROM (SELECT n, at FROM chunk ORDER BY n LIMIT 100) o
        WHERE o.at < $1)";
    EXCESS_CHUNKS = "DELETE FROM chunk WHERE n IN (SELECT o.n FROM
        (SELECT n, first_id FROM chunk ORDER BY n LIMIT 100) o
        WHERE ((SELECT MAX(first_id) FROM chunk) - o.first_id) * $2 + ((SELECT MAX(n) FROM chunk) - o.n) * $3 > $1)";
    OLD_TICKS = "DELETE FROM tick WHERE n IN (SELECT o.n FROM (SELECT n, at FROM tick ORDER BY n LIMIT 1000) o
        WHERE o.at < $1)";
    // What leads to chunks that are gone.
    OLD_RECORDS = "DELETE FROM record WHERE (partition_id, seq) IN (SELECT partition_id, seq FROM record
        WHERE at < (SELECT at FROM chunk ORDER BY n LIMIT 1) ORDER BY at LIMIT 1000)";
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Samples.
    pub samples: Duration,
    /// Answers under an idempotency key.
    pub keys: Duration,
    /// Most bytes of samples.
    pub bytes: u64,
}

/// Bytes one more sample of a chunk takes in the database's file, measured on SQLite and rounded up.
const SAMPLE_BYTES: i64 = 18;
/// Bytes a chunk takes beside its samples, and with the first of them.
const CHUNK_BYTES: i64 = 100;

impl Store {
    /// Deletes one step of what is too old. Answers how many rows went; zero: nothing is left to do.
    pub async fn retain(&self, limits: Limits, now: Timestamp) -> Result<u64> {
        let mut gone = 0;
        let steps = [
            (&OLD_KEYS, now.before(limits.keys)),
            (&OLD_PULLERS, now.before(limits.keys)),
            (&OLD_REPORTS, now.before(limits.samples)),
            (&OLD_DRIFTS, now.before(limits.samples)),
            (&OLD_CHUNKS, now.before(limits.samples)),
            (&OLD_TICKS, now.before(limits.samples)),
        ];
        for (statement, cut) in steps {
            let mut tx = self.begin().await?;
            let sql = tx.text(statement);
            gone += on!(&mut tx, c => sqlx::query(sql).bind(cut.micros()).execute(c).await?.rows_affected());
            tx.commit().await?;
        }
        // Ids are dense but for blocks that a crash skipped, so their distance is the count.
        let most = i64::try_from(limits.bytes).unwrap_or(i64::MAX);
        let mut tx = self.begin().await?;
        let (excess, records) = (tx.text(&EXCESS_CHUNKS), tx.text(&OLD_RECORDS));
        gone += on!(&mut tx, c => sqlx::query(excess).bind(most).bind(SAMPLE_BYTES).bind(CHUNK_BYTES)
            .execute(c).await?.rows_affected());
        gone += on!(&mut tx, c => sqlx::query(records).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::sample;
    use crate::store::{Durability, Location, NewSample, PartitionSeq, Plan};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    /// A transaction with one sample, whose id is the second in which it is written.
    async fn write(store: &Store, second: i64) {
        let (tx, seqs, policy_rev) = store.begin_partitions(&[3], None).await.unwrap();
        let mut plan = Plan { batch: "b".to_owned(), now: at(second), policy_rev, ..Plan::default() };
        plan.partitions.push((PartitionSeq { id: 3, seq: seqs[0].seq + 1 }, second, second));
        let observed_at = at(second);
        plan.samples.push(NewSample { id: second, series_id: 1, observed_at, value: 0.5, flags: 3 });
        tx.commit(&plan).await.unwrap();
    }

    async fn left(store: &Store) -> Vec<i64> {
        let mut tx = store.reading().await.unwrap();
        let mut ids = Vec::new();
        for id in 0..12 {
            ids.extend(sample(&mut tx, id).await.unwrap().map(|sample| sample.id));
        }
        ids
    }

    #[tokio::test]
    async fn the_oldest_samples_go_by_age_and_by_size() {
        let dir = tempfile::tempdir().unwrap();
        let file = Location::Sqlite(dir.path().join("vigil.db"));
        let store = Store::open(file, Durability::Process, 1).await.unwrap();
        store.migrate("installation").await.unwrap();
        for second in 1..=10 {
            write(&store, second).await;
        }
        assert_eq!(left(&store).await, (1..=10).collect::<Vec<_>>());
        let week = Duration::from_hours(168);
        let ample = Limits { samples: Duration::from_secs(5), keys: week, bytes: 1 << 40 };
        assert_eq!(store.retain(ample, at(10)).await.unwrap(), 4);
        assert_eq!(left(&store).await, (5..=10).collect::<Vec<_>>());
        assert_eq!(store.retain(ample, at(10)).await.unwrap(), 0);
        let bytes = u64::try_from(2 * (SAMPLE_BYTES + CHUNK_BYTES)).unwrap();
        assert_eq!(store.retain(Limits { samples: week, keys: week, bytes }, at(10)).await.unwrap(), 3);
        assert_eq!(left(&store).await, [8, 9, 10]);
    }
}
