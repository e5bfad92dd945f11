//! Numbers: blocks of metric ids handed to a node ahead of use, and ids given inside a transaction.

use super::sql::statements;
use super::{Result, Store, Tx, on};

/// Metric ids a node reserves at once: a crash skips at most this many and never reuses one.
const BLOCK: i64 = 65_536;

statements! { pub(super) STATEMENTS:
    TAKE = "UPDATE counter SET next = next + $2 WHERE name = $1 RETURNING next";
}

/// Consecutive ids of one node, each used once.
#[derive(Debug, Default)]
pub struct Block {
    next: i64,
    end: i64,
}

impl Block {
    /// Takes `count` consecutive ids, or None if the block is too short.
    fn take(&mut self, count: i64) -> Option<i64> {
        let first = self.next;
        (self.end - self.next >= count).then(|| {
            self.next += count;
            first
        })
    }
}

impl Store {
    /// The first of `count` consecutive metric ids. When the block runs out a new one is reserved in a
    /// transaction of its own: unique, never reused, not in order of time across nodes.
    pub async fn metric_ids(&self, block: &mut Block, count: usize) -> Result<i64> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(first) = block.take(count) {
            return Ok(first);
        }
        let size = BLOCK.max(count);
        let mut tx = self.begin().await?;
        let next = take(&mut tx, "metric", size).await?;
        tx.commit().await?;
        *block = Block { next, end: next + size };
        Ok(block.take(count).unwrap_or(next))
    }
}

/// The first of `count` ids of `counter`, without gaps: they are spent only if the transaction commits.
pub(super) async fn take(tx: &mut Tx, counter: &str, count: i64) -> Result<i64> {
    let sql = tx.text(&TAKE);
    let (next,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(counter).bind(count).fetch_one(c).await?);
    Ok(next - count)
}
