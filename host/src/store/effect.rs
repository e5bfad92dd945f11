//! What a policy's steps have achieved.

use super::sql::statements;
use super::{Result, Store, on};

statements! { pub(super) STATEMENTS:
    OF_POLICY = "SELECT step, kind, COUNT(*) AS made, COUNT(CASE WHEN verdict = 'healed' THEN 1 END) AS healed,
        COUNT(CASE WHEN verdict = 'not_healed' THEN 1 END) AS not_healed,
        COUNT(CASE WHEN verdict = 'unknown' THEN 1 END) AS unknown
        FROM action WHERE policy_id = $1 AND step IS NOT NULL AND simulated = FALSE
        GROUP BY step, kind ORDER BY step, kind";
}

/// The actions of one step, counted by what was found of them.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Effect {
    /// The step, from 0.
    pub step: i64,
    /// The kind of action.
    pub kind: String,
    /// Actions it has made.
    pub made: i64,
    /// Those after which the condition was clear.
    pub healed: i64,
    /// Those after which it was met.
    pub not_healed: i64,
    /// Those after which nothing was observed.
    pub unknown: i64,
}

impl Store {
    /// What the steps of a policy have achieved since it was made.
    pub async fn effects(&self, policy_id: i64) -> Result<Vec<Effect>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&OF_POLICY);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(policy_id).fetch_all(c).await?))
    }
}
