//! The samples: begun, written and committed with as few questions as may be, and read back.

use std::collections::BTreeSet;

use super::ingest::{PartitionSeq, TailSample, Writing, broken, list_of, partition};
use super::local::Lite;
use super::plan::Plan;
use super::sql::{Dialect, statements};
use super::{Result, Store, Tx, chunk, on, uncertain};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    NEWEST = "SELECT n, at, first_id, data FROM chunk WHERE n < $1 ORDER BY n DESC LIMIT 64";
    CHUNKS = "SELECT n, at, first_id, data FROM chunk WHERE first_id IN {ids}";
    CHUNK_OF = "SELECT n, at, first_id, data FROM
        (SELECT n, at, first_id, last_id, data FROM chunk WHERE first_id <= $1 ORDER BY first_id DESC LIMIT 1) c
        WHERE last_id >= $1";
    RECORDS = "SELECT first_id FROM record WHERE partition_id = $1 AND seq > $2";
    RECORDED = "SELECT COUNT(*) FROM chunk WHERE first_id = $1 AND batch = $2";
}

// Where what one database does in one question takes the other several, each has its own text. SQLite's
// statements run on a thread of their own: going there and back costs more than most of them.
statements! { pub(super) SQLITE:
    BEGIN_PARTITIONS = "BEGIN IMMEDIATE; SELECT p.id, p.seq, i.policy_rev FROM partition_state p, installation i
        WHERE p.id IN {ids} ORDER BY p.id";
    FINISH = "INSERT INTO chunk (first_id, last_id, batch, at, policy_rev, data) VALUES ($1, $2, $3, $4, $5, $6);
        UPDATE partition_state SET seq = seq + 1 WHERE id IN (SELECT value FROM json_each($7)); COMMIT";
    WHOLE = "BEGIN IMMEDIATE;
        INSERT INTO chunk (first_id, last_id, batch, at, policy_rev, data) VALUES ($1, $2, $3, $4, $5, $6);
        UPDATE partition_state SET seq = seq + 1 WHERE id IN (SELECT value FROM json_each($7)); COMMIT";
}
statements! { pub(super) POSTGRES:
    LOCK_PARTITIONS = "SELECT id, seq FROM partition_state WHERE id IN {ids} ORDER BY id FOR UPDATE";
    LOCKED_REV = "SELECT policy_rev FROM installation";
    ADD_CHUNK = "INSERT INTO chunk (first_id, last_id, batch, at, policy_rev, data)
        VALUES ($1, $2, $3, $4, $5, $6)";
    ADVANCE = "WITH moved AS (UPDATE partition_state SET seq = seq + 1 WHERE id IN {ids} RETURNING id, seq)
        INSERT INTO record (partition_id, seq, at, first_id) SELECT id, seq, $2, $3 FROM moved";
}

/// How far the clocks of two nodes may be apart, as far as reading back is concerned.
const SKEW: std::time::Duration = std::time::Duration::from_mins(1);

impl Store {
    /// Begins and locks `partitions` (ascending). Answers how far each has come and the policies' revision. A
    /// process that has its database for itself and says how far they are (`reached`) is believed, and nothing
    /// is asked or begun before it is needed.
    pub async fn begin_partitions(
        &self,
        partitions: &[u16],
        reached: Option<Vec<PartitionSeq>>,
    ) -> Result<(Writing, Vec<PartitionSeq>, i64)> {
        let list = list_of(partitions);
        let mut tx = self.beginning().await?;
        let sql = match &mut tx {
            Tx::Sqlite(Lite::Writing(held)) => {
                if let (Some(rev), Some(reached)) = (held.rev(), reached) {
                    return Ok((Writing { tx }, reached, rev));
                }
                held.begins();
                BEGIN_PARTITIONS.get(Dialect::Sqlite)
            }
            Tx::Sqlite(Lite::Reading(_)) => return Err(broken("a writer that only reads")),
            Tx::Postgres(_) => return lock_partitions(tx, list).await,
        };
        let rows: Vec<(i64, i64, i64)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(list).fetch_all(c).await?);
        let rev = rows.first().map(|(_, _, rev)| *rev).ok_or_else(|| broken("no partitions"))?;
        let seqs = rows.into_iter().map(|(id, seq, _)| partition(id, seq)).collect::<Result<_>>()?;
        Ok((Writing { tx }, seqs, rev))
    }

    /// Whether the batch of that id was recorded: asked when a commit's outcome is unknown.
    pub async fn was_recorded(&self, first_id: i64, batch: &str) -> Result<bool> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&RECORDED);
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql)
            .bind(first_id).bind(batch).fetch_one(c).await?);
        Ok(count > 0)
    }
}

/// The revision is read after the locks are held, by a statement of its own: one that waited for them would
/// answer it as it was before.
async fn lock_partitions(mut tx: Tx, list: String) -> Result<(Writing, Vec<PartitionSeq>, i64)> {
    let (lock, rev) = (tx.text(&LOCK_PARTITIONS), tx.text(&LOCKED_REV));
    let rows: Vec<(i64, i64)> = on!(&mut tx, c => sqlx::query_as(lock).bind(list).fetch_all(c).await?);
    let (rev,): (i64,) = on!(&mut tx, c => sqlx::query_as(rev).fetch_one(c).await?);
    let seqs = rows.into_iter().map(|(id, seq)| partition(id, seq)).collect::<Result<_>>()?;
    Ok((Writing { tx }, seqs, rev))
}

/// A chunk as it is stored: its number, when it was accepted, its first id, its samples.
type ChunkRow = (i64, i64, i64, Vec<u8>);

/// The stored sample of that id.
pub(super) async fn sample(tx: &mut Tx, id: i64) -> Result<Option<TailSample>> {
    let sql = tx.text(&CHUNK_OF);
    let row: Option<ChunkRow> = on!(tx, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await?);
    let Some((_, at, first, data)) = row else { return Ok(None) };
    let mut found = None;
    chunk::decode(first, at, &data, |_, sample| {
        if sample.id == id {
            found = Some(sample);
        }
    })?;
    Ok(found)
}

impl Writing {
    /// What was recorded in the `fresh` partitions not before `since`, and in those that are `behind` after
    /// that sequence number; by partition, in its order.
    pub async fn tails(
        &mut self,
        (fresh, since): (&[u16], Timestamp),
        behind: &[PartitionSeq],
    ) -> Result<Vec<(u16, TailSample)>> {
        let mut found = Vec::new();
        if !fresh.is_empty() {
            self.newest(since, |partition, sample| {
                if fresh.contains(&partition) {
                    found.push((partition, sample));
                }
            })
            .await?;
        }
        for (_, at, first, data) in self.added(behind).await? {
            chunk::decode(first, at, &data, |partition, sample| {
                if behind.iter().any(|at| at.id == partition && sample.seq > at.seq) {
                    found.push((partition, sample));
                }
            })?;
        }
        found.sort_by_key(|(partition, sample)| (*partition, sample.seq, sample.id));
        Ok(found)
    }

    /// The chunks that others added to those partitions after that sequence number.
    async fn added(&mut self, behind: &[PartitionSeq]) -> Result<Vec<ChunkRow>> {
        let mut chunks = Vec::new();
        if behind.is_empty() {
            return Ok(chunks);
        }
        let tx = self.begun().await?;
        let (records, by_id) = (tx.text(&RECORDS), tx.text(&CHUNKS));
        let mut ids = BTreeSet::new();
        for at in behind {
            let rows: Vec<(i64,)> = on!(tx, c => sqlx::query_as(records)
                .bind(i64::from(at.id)).bind(at.seq).fetch_all(c).await?);
            ids.extend(rows.into_iter().map(|(id,)| id));
        }
        let ids: Vec<i64> = ids.into_iter().collect();
        for now in ids.chunks(64) {
            let list = list_of(now);
            let rows: Vec<ChunkRow> = on!(tx, c => sqlx::query_as(by_id).bind(list).fetch_all(c).await?);
            chunks.extend(rows);
        }
        Ok(chunks)
    }

    /// Every sample accepted since then. Chunks are numbered as they are written, so the newest are read
    /// until they are too old.
    pub(super) async fn newest(
        &mut self,
        since: Timestamp,
        mut each: impl FnMut(u16, TailSample),
    ) -> Result<()> {
        let tx = self.begun().await?;
        let sql = tx.text(&NEWEST);
        let (mut below, enough) = (i64::MAX, since.before(SKEW).micros());
        loop {
            let rows: Vec<ChunkRow> = on!(tx, c => sqlx::query_as(sql).bind(below).fetch_all(c).await?);
            let Some((last, oldest, _, _)) = rows.last() else { return Ok(()) };
            below = *last;
            let over = *oldest < enough;
            for (_, at, first, data) in &rows {
                if *at >= since.micros() {
                    chunk::decode(*first, *at, data, &mut each)?;
                }
            }
            if over {
                return Ok(());
            }
        }
    }

    /// Writes the samples, moves their partitions on by one, which is what the plan's sequence numbers are, and
    /// ends it; after this the batch is on disk.
    pub async fn commit(self, plan: &Plan) -> Result<()> {
        let (Some(first), Some(last)) = (plan.samples.first(), plan.samples.last()) else {
            return match &self.tx {
                Tx::Sqlite(Lite::Writing(held)) if !held.begun() => Ok(()),
                Tx::Sqlite(_) | Tx::Postgres(_) => self.tx.commit().await,
            };
        };
        let (first, last, at) = (first.id, last.id, plan.now.micros());
        let ids: Vec<u16> = plan.partitions.iter().map(|(partition, _, _)| partition.id).collect();
        let (touched, data) = (list_of(&ids), chunk::encode(plan));
        match self.tx {
            Tx::Sqlite(Lite::Writing(mut held)) => {
                let sql = if held.begun() { &FINISH } else { &WHOLE };
                held.begins();
                sqlx::query(sql.get(Dialect::Sqlite))
                    .bind(first)
                    .bind(last)
                    .bind(plan.batch.as_str())
                    .bind(at)
                    .bind(plan.policy_rev)
                    .bind(data)
                    .bind(touched)
                    .execute(held.connection())
                    .await
                    .map_err(uncertain)?;
                held.ended(Some(plan.policy_rev));
                Ok(())
            }
            Tx::Sqlite(Lite::Reading(_)) => Err(broken("samples in a transaction that only reads")),
            Tx::Postgres(mut tx) => {
                sqlx::query(ADD_CHUNK.get(Dialect::Postgres))
                    .bind(first)
                    .bind(last)
                    .bind(plan.batch.as_str())
                    .bind(at)
                    .bind(plan.policy_rev)
                    .bind(data)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query(ADVANCE.get(Dialect::Postgres))
                    .bind(touched)
                    .bind(at)
                    .bind(first)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await.map_err(uncertain)
            }
        }
    }
}
