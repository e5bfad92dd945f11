//! The writer's transaction over the partitions it touches: lock, read what other nodes added, read the
//! ledger, record, commit.

use std::collections::BTreeMap;

use super::local::Lite;
use super::plan::Plan;
use super::sql::statements;
use super::{Error, Result, Store, Tx, ids, on};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    LOCK_DUE = "SELECT id, seq FROM partition_state WHERE ticked_at <= $1 ORDER BY id{skip}";
    POLICY_REV = "SELECT policy_rev FROM installation";
    LOCK_POLICIES = "SELECT id FROM policy WHERE id IN {ids} ORDER BY id{lock}";
    SERIES = "SELECT id, identity, name, target, target_kind, namespace, simulated, tags
        FROM series WHERE id IN {ids}";
    SERIES_BY_IDENTITY = "SELECT identity, id FROM series WHERE identity IN {texts}";
    STANDING = "SELECT i.id, i.policy_id, i.target, i.simulated, i.last_violated_at, i.last_event_id, i.step,
        CASE WHEN i.state = 'open' AND a.withheld IS NULL AND a.verdict IS NULL THEN a.completed_at END AS ended_at,
        (i.state = 'handed_over' AND i.told_at IS NULL) AS untold
        FROM incident i LEFT JOIN action a ON a.id = i.last_action_id WHERE i.cleared_at IS NULL";
    REMEMBERED = "SELECT body_hash, answer FROM idempotency WHERE scope = $1 AND key = $2";
    REMEMBER = "INSERT INTO idempotency (scope, key, body_hash, answer, at) VALUES ($1, $2, $3, $4, $5)";
}

/// A locked partition and how far it has come.
#[derive(Clone, Copy, Debug)]
pub struct PartitionSeq {
    /// Which one.
    pub id: u16,
    /// The last sequence number recorded.
    pub seq: i64,
}

/// A sample of the stored tail.
#[derive(Clone, Copy, Debug)]
pub struct TailSample {
    /// Sequence number of its record.
    pub seq: i64,
    /// When it was accepted.
    pub at: Timestamp,
    /// Its metric id.
    pub id: i64,
    /// Its series.
    pub series_id: i64,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// What was observed.
    pub value: f64,
    /// See [`NewSample::flags`].
    pub flags: i64,
}

/// A stored series.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SeriesRow {
    /// Its id.
    pub id: i64,
    /// Name and tags in one text.
    pub identity: String,
    /// The metric.
    pub name: String,
    /// The target's name, or `all` where `target_kind` is none.
    pub target: String,
    /// The tag that named the target.
    pub target_kind: Option<String>,
    /// The target's namespace.
    pub namespace: Option<String>,
    /// Apart from the real target of that name.
    pub simulated: bool,
    /// The tags as JSON.
    pub tags: String,
}

/// An incident that has not cleared.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StandingRow {
    /// Its id.
    pub id: i64,
    /// Its policy.
    pub policy_id: i64,
    /// Its target.
    pub target: String,
    /// Whether that is the simulated target of that name.
    pub simulated: bool,
    /// Microseconds since the epoch.
    pub last_violated_at: i64,
    /// The last event that violated it.
    pub last_event_id: i64,
    /// The step of the ladder it stands on.
    pub step: i64,
    /// When its last action ended, where it has one, is open and nobody knows yet what that did. Microseconds since the epoch.
    pub ended_at: Option<i64>,
    /// It is handed over, and nobody was told.
    pub untold: bool,
}

impl StandingRow {
    /// The target's name, and whether it is the simulated one.
    #[must_use]
    pub fn subject(&self) -> (&str, bool) {
        (&self.target, self.simulated)
    }
}

/// A series seen for the first time.
#[derive(Clone, Debug)]
pub struct NewSeries {
    /// Given by [`Writing::series_ids`].
    pub id: i64,
    /// The partition of its target.
    pub partition: u16,
    /// Name and tags in one text.
    pub identity: String,
    /// The metric.
    pub name: String,
    /// The target's name, or `all`.
    pub target: String,
    /// The tag that named the target; none where no tag does.
    pub target_kind: Option<String>,
    /// The target's namespace.
    pub namespace: Option<String>,
    /// Apart from the real target of that name.
    pub simulated: bool,
    /// The tags as JSON.
    pub tags: String,
}

/// One sample to store.
#[derive(Clone, Copy, Debug)]
pub struct NewSample {
    /// Its metric id.
    pub id: i64,
    /// Its series.
    pub series_id: i64,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// What was observed.
    pub value: f64,
    /// Bit 0: the sender gave the time. Bits 1 to 3: what was decided (0 no policy reads it, 1 not
    /// violated, 2 violated, 3 no data, 4 evaluation failed).
    pub flags: i64,
}

/// The open transaction of the writer.
#[derive(Debug)]
pub struct Writing {
    pub(super) tx: Tx,
}

impl Store {
    /// Begins and locks the partitions that nobody has ticked since `due`, leaving those that another node
    /// holds right now.
    pub async fn begin_due(&self, due: Timestamp) -> Result<(Writing, Vec<PartitionSeq>, i64)> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&LOCK_DUE);
        let rows: Vec<(i64, i64)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(due.micros()).fetch_all(c).await?);
        let sql = tx.text(&POLICY_REV);
        let (rev,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        let seqs = rows.into_iter().map(|(id, seq)| partition(id, seq)).collect::<Result<_>>()?;
        Ok((Writing { tx }, seqs, rev))
    }
}

pub(super) fn partition(id: i64, seq: i64) -> Result<PartitionSeq> {
    Ok(PartitionSeq { id: u16::try_from(id).map_err(broken)?, seq })
}

impl Writing {
    /// The transaction, begun.
    pub(super) async fn begun(&mut self) -> Result<&mut Tx> {
        if let Tx::Sqlite(Lite::Writing(held)) = &mut self.tx
            && !held.begun()
        {
            held.begin().await?;
        }
        Ok(&mut self.tx)
    }

    /// The series of those ids.
    pub async fn series(&mut self, ids: &[i64]) -> Result<Vec<SeriesRow>> {
        let tx = self.begun().await?;
        let sql = tx.text(&SERIES);
        let list = list_of(ids);
        Ok(on!(tx, c => sqlx::query_as(sql).bind(list).fetch_all(c).await?))
    }

    /// The ids of those identities that are known.
    pub async fn known_series(&mut self, identities: &[&str]) -> Result<BTreeMap<String, i64>> {
        let tx = self.begun().await?;
        let sql = tx.text(&SERIES_BY_IDENTITY);
        let list = serde_json::to_string(identities).map_err(broken)?;
        let rows: Vec<(String, i64)> = on!(tx, c => sqlx::query_as(sql).bind(list).fetch_all(c).await?);
        Ok(rows.into_iter().collect())
    }

    /// The first of `count` new series ids.
    pub async fn series_ids(&mut self, count: usize) -> Result<i64> {
        ids::take(self.begun().await?, "series", i64::try_from(count).map_err(broken)?).await
    }

    /// Every incident that has not cleared: a starting engine must know them.
    pub async fn standing(&mut self) -> Result<Vec<StandingRow>> {
        let tx = self.begun().await?;
        let sql = tx.text(&STANDING);
        Ok(on!(tx, c => sqlx::query_as(sql).fetch_all(c).await?))
    }

    /// Locks the ledgers of those policies, ascending, until the commit: no other node can spend from them.
    pub async fn lock_ledgers(&mut self, policies: &[i64]) -> Result<()> {
        if policies.is_empty() || matches!(&self.tx, Tx::Sqlite(_)) {
            return Ok(());
        }
        let tx = self.begun().await?;
        let sql = tx.text(&LOCK_POLICIES);
        let list = list_of(policies);
        on!(tx, c => sqlx::query(sql).bind(list).execute(c).await?.rows_affected());
        Ok(())
    }

    /// The remembered body hash and answer of an idempotency key.
    pub async fn remembered(&mut self, scope: &str, key: &str) -> Result<Option<(String, String)>> {
        let tx = self.begun().await?;
        let sql = tx.text(&REMEMBERED);
        Ok(on!(tx, c => sqlx::query_as(sql).bind(scope).bind(key).fetch_optional(c).await?))
    }

    /// Remembers the answer given under a key, in this transaction.
    pub async fn remember(
        &mut self,
        (scope, key): (&str, &str),
        body_hash: &str,
        answer: &str,
        now: Timestamp,
    ) -> Result<()> {
        let tx = self.begun().await?;
        let sql = tx.text(&REMEMBER);
        on!(tx, c => sqlx::query(sql)
            .bind(scope).bind(key).bind(body_hash).bind(answer).bind(now.micros()).execute(c).await?.rows_affected());
        Ok(())
    }

    /// Writes what one drained batch adds beside its samples; ids are given to what the plan leaves open.
    pub async fn record(&mut self, plan: &mut Plan) -> Result<()> {
        if plan.only_samples() {
            return Ok(());
        }
        super::record::record(self.begun().await?, plan).await
    }
}

/// A JSON list of numbers, for the `{ids}` fragment.
pub(super) fn list_of<T: Copy + Into<i64>>(ids: &[T]) -> String {
    let wide: Vec<i64> = ids.iter().map(|id| (*id).into()).collect();
    serde_json::to_string(&wide).unwrap_or_else(|_| "[]".to_owned())
}

pub(super) fn broken(why: impl std::fmt::Display) -> Error {
    Error::Broken(format!("the database holds what Vigil never wrote: {why}"))
}
