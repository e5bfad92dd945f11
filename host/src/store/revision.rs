//! What policies have said before: each accepted change is kept beside the policy, in its own transaction.

use super::ingest::broken;
use super::sql::statements;
use super::{Result, Store, Tx, on};
use crate::domain::Timestamp;
use crate::domain::policy::{Source, Spec};

/// Revisions that are kept of one policy: its newest.
pub const KEPT: i64 = 100;
/// Of policies that are gone, those among so many of the newest revisions of all policies are kept.
const KEPT_OF_GONE: i64 = 10_000;

statements! { pub(super) STATEMENTS:
    // The row as it is now; a removal, noted before it, counts as one more version.
    NOTE = "INSERT INTO policy_revision (policy_id, name, version, what, actor, at, enabled, source, spec)
        SELECT id, name, version + CAST($5 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), enabled,
        source, spec FROM policy WHERE id = $1";
    FORGET = "DELETE FROM policy_revision WHERE policy_id = $1
        AND version <= (SELECT MAX(version) FROM policy_revision WHERE policy_id = $1) - $2";
    FORGET_GONE = "DELETE FROM policy_revision WHERE id <= (SELECT MAX(id) FROM policy_revision) - $1
        AND policy_id NOT IN (SELECT id FROM policy)";
    // Of the policy that has the name, or had it last.
    OF_NAME = "SELECT version, what, actor, at, enabled, source, spec FROM policy_revision WHERE name = $1
        AND policy_id = (SELECT MAX(policy_id) FROM policy_revision WHERE name = $1) ORDER BY version DESC LIMIT $2";
    ONE = "SELECT version, what, actor, at, enabled, source, spec FROM policy_revision WHERE name = $1
        AND policy_id = (SELECT MAX(policy_id) FROM policy_revision WHERE name = $1) AND version = $2";
}

/// What a revision came of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Created,
    Updated,
    Deleted,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }

    /// The word of the audit trail.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Created => "policy.created",
            Self::Updated => "policy.updated",
            Self::Deleted => "policy.deleted",
        }
    }
}

/// What a policy said at one version.
#[derive(Clone, Debug)]
pub struct Revision {
    /// The policy's version.
    pub version: i64,
    /// `created`, `updated` or `deleted`; `found` where it is older than the history.
    pub what: String,
    /// Who did it, as the audit trail names it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// Whether it was enabled.
    pub enabled: bool,
    /// Where it came from.
    pub source: Source,
    /// What it said; of a deletion, what it had said until then.
    pub spec: Spec,
}

type Row = (i64, String, String, i64, bool, String, String);

impl Store {
    /// The kept revisions of the policy that has that name, or had it last, newest first: at most [`KEPT`].
    pub async fn revisions(&self, name: &str) -> Result<Vec<Revision>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&OF_NAME);
        let rows: Vec<Row> = on!(&mut tx, c => sqlx::query_as(sql).bind(name).bind(KEPT).fetch_all(c).await?);
        rows.into_iter().map(revision).collect()
    }

    /// One of them.
    pub async fn revision(&self, name: &str, version: i64) -> Result<Option<Revision>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&ONE);
        let row: Option<Row> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(name).bind(version).fetch_optional(c).await?);
        row.map(revision).transpose()
    }
}

fn revision((version, what, actor, at, enabled, source, spec): Row) -> Result<Revision> {
    Ok(Revision {
        version,
        what,
        actor,
        at: Timestamp::from_micros(at),
        enabled,
        source: if source == Source::File.word() { Source::File } else { Source::Api },
        spec: serde_json::from_str(&spec).map_err(broken)?,
    })
}

/// Keeps what the policy's row says, and forgets what is beyond the bounds.
pub(super) async fn note(tx: &mut Tx, id: i64, what: What, (actor, now): (&str, Timestamp)) -> Result<()> {
    let (add, forget, gone) = (tx.text(&NOTE), tx.text(&FORGET), tx.text(&FORGET_GONE));
    on!(tx, c => sqlx::query(add).bind(id).bind(what.word()).bind(actor).bind(now.micros())
        .bind(i64::from(what == What::Deleted)).execute(c).await?.rows_affected());
    if what != What::Created {
        on!(tx, c => sqlx::query(forget).bind(id).bind(KEPT).execute(c).await?.rows_affected());
    }
    if what == What::Deleted {
        on!(tx, c => sqlx::query(gone).bind(KEPT_OF_GONE).execute(c).await?.rows_affected());
    }
    Ok(())
}
