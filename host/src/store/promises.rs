//! What must be so of a database whatever has happened, asked of the tables themselves and not of the code that filled them; and
//! ways to spoil it. For tests alone.

use super::sql::statements;
use super::{Result, Store, on};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    TWO_AT_ONCE = "SELECT COUNT(*) FROM (SELECT target FROM action WHERE state = 'running'
        GROUP BY target HAVING COUNT(*) > 1) t";
    TWO_ATTEMPTS = "SELECT COUNT(*) FROM (SELECT action_id FROM attempt WHERE ended_at IS NULL
        GROUP BY action_id HAVING COUNT(*) > 1) t";
    UNRESERVED = "SELECT COUNT(*) FROM attempt t JOIN action a ON a.id = t.action_id
        WHERE (a.step IS NOT NULL OR a.policy_id IS NULL)
        AND NOT EXISTS (SELECT 1 FROM reservation r WHERE r.action_id = a.id)";
    FOR_NOTHING = "SELECT COUNT(*) FROM reservation r LEFT JOIN action a ON a.id = r.action_id
        WHERE a.id IS NULL OR a.state = 'held'";
    UNAUDITED = "SELECT COUNT(*) FROM attempt t WHERE NOT EXISTS (SELECT 1 FROM audit e
        WHERE e.action_id = t.action_id AND e.verb = 'attempt.started' AND e.at <= t.started_at
        AND e.facts LIKE '%\"digest\":\"' || t.digest || '\"%' AND e.facts LIKE '%\"fence\":' || t.fence || ',%')";
    UNDECIDED = "SELECT COUNT(*) FROM action a WHERE a.origin = 'policy' AND a.step IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM audit e WHERE e.action_id = a.id AND e.verb = 'incident.decided' AND e.at <= a.created_at)";
    AGAIN = "SELECT COUNT(*) FROM attempt t JOIN action a ON a.id = t.action_id WHERE a.effects = 'unsafe'
        AND EXISTS (SELECT 1 FROM attempt b JOIN host_call h ON h.action_id = b.action_id AND h.fence = b.fence
            WHERE b.action_id = t.action_id AND b.fence < t.fence AND b.outcome = 'lost' AND h.mutating = TRUE)";
    STORED = "SELECT COALESCE(SUM(last_id - first_id + 1), 0) FROM chunk";
    SPOIL_PAUSE = "UPDATE pause SET since = 'yesterday' WHERE one = 1";
    MEND_PAUSE = "UPDATE pause SET since = NULL, until_at = NULL WHERE since = 'yesterday'";
    SPOIL_INCIDENT = "UPDATE incident SET state = '?' WHERE cleared_at IS NULL AND state = 'open'";
    MEND_INCIDENT = "UPDATE incident SET state = 'open' WHERE state = '?'";
    DECIDED = "SELECT COUNT(*) FROM action WHERE created_at >= $1";
}

/// Something that must never be, and how it is asked for.
const NEVER: [(&str, &super::Sql); 7] = [
    ("two actions at once on one target", &TWO_AT_ONCE),
    ("two attempts of one action at once", &TWO_ATTEMPTS),
    ("an attempt that nothing was reserved for", &UNRESERVED),
    ("a reservation for what was refused", &FOR_NOTHING),
    ("an attempt that nobody wrote down before", &UNAUDITED),
    ("an action without a decision", &UNDECIDED),
    ("a second attempt after one of unknown outcome that may not be repeated", &AGAIN),
];

impl Store {
    /// The first thing that must never be and is.
    pub(crate) async fn broken_promise(&self) -> Result<Option<&'static str>> {
        debug_assert!(STATEMENTS.len() > NEVER.len(), "some of them spoil and mend");
        for (what, sql) in NEVER {
            if self.number(sql).await? > 0 {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    /// How many samples are stored.
    pub(crate) async fn samples_stored(&self) -> Result<i64> {
        self.number(&STORED).await
    }

    /// How many actions were made since then.
    pub(crate) async fn made_since(&self, at: Timestamp) -> Result<i64> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&DECIDED);
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).bind(at.micros()).fetch_one(c).await?);
        Ok(count)
    }

    /// Makes what everybody shares unreadable, or the open incidents. Answers how many rows that were.
    pub(crate) async fn spoil(&self, shared: bool) -> Result<u64> {
        self.change_by_hand(if shared { &SPOIL_PAUSE } else { &SPOIL_INCIDENT }).await
    }

    pub(crate) async fn mend(&self) -> Result<()> {
        self.change_by_hand(&MEND_PAUSE).await?;
        self.change_by_hand(&MEND_INCIDENT).await?;
        Ok(())
    }

    async fn number(&self, sql: &'static super::Sql) -> Result<i64> {
        let mut tx = self.reading().await?;
        let sql = tx.text(sql);
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        Ok(count)
    }

    async fn change_by_hand(&self, sql: &'static super::Sql) -> Result<u64> {
        let mut tx = self.begin().await?;
        let sql = tx.text(sql);
        let changed = on!(&mut tx, c => sqlx::query(sql).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok(changed)
    }
}
