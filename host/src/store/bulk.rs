//! What a batch writes most of, many rows to a statement: its samples and the record of the partitions it touched.

use sqlx::QueryBuilder;

use super::ingest::list_of;
use super::sql::statements;
use super::{NewSample, Plan, Result, Tx, on};

statements! { pub(super) STATEMENTS:
    ADVANCE = "UPDATE partition_state SET seq = seq + 1 WHERE id IN {ids}";
}

/// Rows of one multi-row INSERT: few distinct sizes, so that the statements stay cached, and near enough to each other
/// that a batch takes few of them. A statement costs far more than a row: SQLite runs it on a thread of its own.
const CHUNKS: [usize; 9] = [1_000, 256, 64, 32, 16, 8, 4, 2, 1];

/// The items in pieces of those sizes, in order.
fn chunks<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len())?;
        let (now, later) = rest.split_at(size);
        rest = later;
        Some(now)
    })
}

pub(super) async fn add_samples(tx: &mut Tx, samples: &[NewSample]) -> Result<()> {
    for now in chunks(samples) {
        on!(tx, c => {
            let mut insert = QueryBuilder::new("INSERT INTO sample (id, series_id, observed_at, value, flags) ");
            insert.push_values(now, |mut row, sample| {
                row.push_bind(sample.id).push_bind(sample.series_id).push_bind(sample.observed_at.micros())
                    .push_bind(sample.value).push_bind(sample.flags);
            });
            insert.build().execute(c).await?.rows_affected()
        });
    }
    Ok(())
}

/// Moves the touched partitions on by one, which is what the plan's sequence numbers are, and says what each got.
pub(super) async fn add_records(tx: &mut Tx, plan: &Plan) -> Result<()> {
    if plan.partitions.is_empty() {
        return Ok(());
    }
    let ids: Vec<u16> = plan.partitions.iter().map(|(partition, _, _)| partition.id).collect();
    let (sql, list) = (tx.text(&ADVANCE), list_of(&ids));
    on!(tx, c => sqlx::query(sql).bind(list).execute(c).await?.rows_affected());
    for now in chunks(&plan.partitions) {
        on!(tx, c => {
            let mut insert = QueryBuilder::new(
                "INSERT INTO record (partition_id, seq, batch, at, policy_rev, first_id, last_id) ");
            insert.push_values(now, |mut row, (partition, first, last)| {
                row.push_bind(i64::from(partition.id)).push_bind(partition.seq).push_bind(&plan.batch)
                    .push_bind(plan.now.micros()).push_bind(plan.policy_rev).push_bind(*first).push_bind(*last);
            });
            insert.build().execute(c).await?.rows_affected()
        });
    }
    Ok(())
}
