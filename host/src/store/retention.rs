//! What is deleted, in small steps, so that nobody waits for it.

use std::time::Duration;

use super::sql::statements;
use super::{Result, Store, on};
use crate::domain::Timestamp;

statements! { STATEMENTS:
    OLD_KEYS = "DELETE FROM idempotency WHERE (scope, key) IN
        (SELECT scope, key FROM idempotency WHERE at < $1 LIMIT 1000)";
    // Records are deleted after their samples, which they lead to.
    OLD_SAMPLES = "DELETE FROM sample WHERE id IN (SELECT s.id FROM
        (SELECT first_id, last_id FROM record WHERE at < $1 ORDER BY at LIMIT 100) r
        JOIN sample s ON s.id BETWEEN r.first_id AND r.last_id LIMIT 1000)";
    OLD_RECORDS = "DELETE FROM record WHERE (partition_id, seq) IN (SELECT r.partition_id, r.seq FROM
        (SELECT partition_id, seq, first_id, last_id FROM record WHERE at < $1 ORDER BY at LIMIT 100) r
        WHERE NOT EXISTS (SELECT 1 FROM sample s WHERE s.id BETWEEN r.first_id AND r.last_id))";
    SAMPLES = "SELECT COUNT(*) FROM sample";
    NTH_RECORD = "SELECT at FROM record ORDER BY at LIMIT 1 OFFSET $1";
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Samples.
    pub samples: Duration,
    /// Answers under an idempotency key.
    pub keys: Duration,
}

impl Store {
    /// Deletes one step of what is too old. Answers how many rows went; zero: nothing is left to do.
    pub async fn retain(&self, limits: Limits, now: Timestamp) -> Result<u64> {
        let mut gone = 0;
        let steps = [
            (&OLD_KEYS, now.before(limits.keys)),
            (&OLD_SAMPLES, now.before(limits.samples)),
            (&OLD_RECORDS, now.before(limits.samples)),
        ];
        for (statement, cut) in steps {
            let mut tx = self.begin().await?;
            let sql = tx.text(statement);
            gone += on!(&mut tx, c => sqlx::query(sql).bind(cut.micros()).execute(c).await?.rows_affected());
            tx.commit().await?;
        }
        Ok(gone)
    }

    /// When the `n`-th oldest record was made: where to cut when the samples take too much room.
    pub async fn nth_record(&self, n: i64) -> Result<Option<Timestamp>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&NTH_RECORD);
        let row: Option<(i64,)> = on!(&mut tx, c => sqlx::query_as(sql).bind(n).fetch_optional(c).await?);
        Ok(row.map(|(at,)| Timestamp::from_micros(at)))
    }

    /// How many samples there are.
    pub async fn samples(&self) -> Result<i64> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&SAMPLES);
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        Ok(count)
    }
}
