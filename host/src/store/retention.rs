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
    // Records are deleted after their samples, which they lead to.
    OLD_SAMPLES = "DELETE FROM sample WHERE id IN (SELECT s.id FROM
        (SELECT first_id, last_id FROM record WHERE at < $1 ORDER BY at LIMIT 100) r
        JOIN sample s ON s.id BETWEEN r.first_id AND r.last_id LIMIT 1000)";
    OLD_RECORDS = "DELETE FROM record WHERE (partition_id, seq) IN (SELECT r.partition_id, r.seq FROM
        (SELECT partition_id, seq, first_id, last_id FROM record WHERE at < $1 ORDER BY at LIMIT 100) r
        WHERE NOT EXISTS (SELECT 1 FROM sample s WHERE s.id BETWEEN r.first_id AND r.last_id))";
    EXCESS_SAMPLES = "DELETE FROM sample WHERE id IN (SELECT id FROM sample
        WHERE id <= (SELECT MAX(id) FROM sample) - $1 ORDER BY id LIMIT 1000)";
    EXCESS_RECORDS = "DELETE FROM record WHERE (partition_id, seq) IN (SELECT partition_id, seq FROM record
        WHERE last_id <= (SELECT MAX(id) FROM sample) - $1 ORDER BY at LIMIT 1000)";
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

/// Bytes one sample takes with its share of a record and the tables' own structure, measured on SQLite with
/// one to ten samples a record, and rounded up.
const SAMPLE_BYTES: u64 = 64;

impl Store {
    /// Deletes one step of what is too old. Answers how many rows went; zero: nothing is left to do.
    pub async fn retain(&self, limits: Limits, now: Timestamp) -> Result<u64> {
        let mut gone = 0;
        let steps = [
            (&OLD_KEYS, now.before(limits.keys)),
            (&OLD_PULLERS, now.before(limits.keys)),
            (&OLD_REPORTS, now.before(limits.samples)),
            (&OLD_DRIFTS, now.before(limits.samples)),
            (&OLD_SAMPLES, now.before(limits.samples)),
            (&OLD_RECORDS, now.before(limits.samples)),
        ];
        for (statement, cut) in steps {
            let mut tx = self.begin().await?;
            let sql = tx.text(statement);
            gone += on!(&mut tx, c => sqlx::query(sql).bind(cut.micros()).execute(c).await?.rows_affected());
            tx.commit().await?;
        }
        // Ids are dense but for blocks that a crash skipped, so their distance is the count.
        let most = i64::try_from(limits.bytes / SAMPLE_BYTES).unwrap_or(i64::MAX);
        for statement in [&EXCESS_SAMPLES, &EXCESS_RECORDS] {
            let mut tx = self.begin().await?;
            let sql = tx.text(statement);
            gone += on!(&mut tx, c => sqlx::query(sql).bind(most).execute(c).await?.rows_affected());
            tx.commit().await?;
        }
        Ok(gone)
    }
}
