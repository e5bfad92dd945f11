//! Policies: kept, versioned by count, shared by all nodes.

use serde_json::json;

use super::ingest::broken;
use super::record::add_audit;
use super::revision::{self, What};
use super::sql::statements;
use super::{Error, Result, Store, Tx, ids, on};
use crate::domain::Timestamp;
use crate::domain::audit::Entry;
use crate::domain::policy::{Mode, Policy, Source, Spec};

statements! { pub(super) STATEMENTS:
    ALL = "SELECT id, version, enabled, source, spec, created_at, updated_at, declared, filed FROM policy ORDER BY id";
    ONE = "SELECT id, version, enabled, source, spec, created_at, updated_at, declared, filed FROM policy WHERE name = $1";
    REV = "SELECT policy_rev FROM installation";
    // Every partition is locked, so that no event is being decided while the policies change.
    LOCK_ALL = "SELECT id FROM partition_state ORDER BY id{lock}";
    BUMP = "UPDATE installation SET policy_rev = policy_rev + 1 RETURNING policy_rev";
    ADD = "INSERT INTO policy (id, name, version, enabled, source, spec, created_at, updated_at, declared, filed, author)
        VALUES ($1, $2, 1, $3, $4, $5, $6, $6, $7, CASE WHEN $4 = 'file' THEN $5 END, $8)";
    // Only if it is still what its author has seen.
    REPLACE = "UPDATE policy SET spec = $2, enabled = $3, version = version + 1, updated_at = $4, source = $5,
        declared = COALESCE($6, declared), filed = CASE WHEN $6 IS NULL THEN filed ELSE $2 END,
        author = CASE WHEN spec = $2 THEN author ELSE $8 END WHERE id = $1 AND version = $7";
    FILED = "UPDATE policy SET declared = $2, filed = $3 WHERE id = $1";
    DROP = "DELETE FROM policy WHERE id = $1 AND version = $2";
}

/// One change of the set of policies.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new one.
    Add {
        /// What it says.
        spec: Box<Spec>,
        /// Whether it is in force at once.
        enabled: bool,
        /// Where it comes from.
        source: Source,
        /// What its file says of `enabled`.
        declared: Option<bool>,
    },
    /// An existing one, as it is to be.
    Replace {
        /// What its author has seen.
        edition: Edition,
        /// What it says.
        spec: Box<Spec>,
        /// Whether it is in force.
        enabled: bool,
        /// Where it comes from.
        source: Source,
        /// What its file says of `enabled`, if its file says all of this; none: as before.
        declared: Option<bool>,
    },
    /// Beside one of the above: its policy is raised to another mode, which the audit says on its own.
    Promoted {
        /// Its name.
        name: String,
        /// The mode before.
        from: Mode,
        /// The mode now.
        to: Mode,
        /// `step`, `jump` or `forced`.
        how: &'static str,
    },
    /// What its file says, noted beside what it is, which somebody has changed since.
    Filed {
        /// Its id.
        id: i64,
        /// What the file says of `enabled`.
        declared: bool,
        /// What it says of the rest.
        spec: Box<Spec>,
    },
    /// Gone.
    Remove {
        /// What whoever removes it has seen.
        edition: Edition,
        /// Its name.
        name: String,
    },
}

/// One version of one policy. A policy made again under an old name has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// The policy's id.
    pub id: i64,
    /// Its version.
    pub version: i64,
}

impl Edition {
    /// The edition of a policy as it was read.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self { id: policy.id, version: policy.version }
    }
}

type Row = (i64, i64, bool, String, String, i64, i64, Option<bool>, Option<String>);

impl Store {
    /// All policies in the order of registration, and their revision.
    pub async fn policies(&self) -> Result<(Vec<Policy>, i64)> {
        let mut tx = self.reading().await?;
        read(&mut tx).await
    }

    /// The policy of that name.
    pub async fn policy(&self, name: &str) -> Result<Option<Policy>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&ONE);
        let row: Option<Row> = on!(&mut tx, c => sqlx::query_as(sql).bind(name).fetch_optional(c).await?);
        row.map(policy).transpose()
    }

    /// Applies `changes` in one transaction, all or none, and answers the new revision. A name that is taken, or
    /// a policy that is not the edition it was seen as, is [`Error::Conflict`].
    pub async fn change_policies(&self, changes: &[Change], actor: &str, now: Timestamp) -> Result<i64> {
        let mut tx = self.begin().await?;
        let lock = tx.text(&LOCK_ALL);
        on!(&mut tx, c => sqlx::query(lock).execute(c).await?.rows_affected());
        for change in changes {
            if apply(&mut tx, change, actor, now).await? == 0 {
                return Err(Error::Conflict);
            }
        }
        let bump = tx.text(&BUMP);
        let (rev,): (i64,) = on!(&mut tx, c => sqlx::query_as(bump).fetch_one(c).await?);
        tx.commit().await?;
        Ok(rev)
    }
}

impl super::Writing {
    /// All policies as this transaction sees them, and their revision.
    pub async fn policies(&mut self) -> Result<(Vec<Policy>, i64)> {
        read(self.begun().await?).await
    }
}

async fn read(tx: &mut Tx) -> Result<(Vec<Policy>, i64)> {
    let (all, rev) = (tx.text(&ALL), tx.text(&REV));
    let (revision,): (i64,) = on!(tx, c => sqlx::query_as(rev).fetch_one(c).await?);
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(all).fetch_all(c).await?);
    Ok((rows.into_iter().map(policy).collect::<Result<_>>()?, revision))
}

fn policy(row: Row) -> Result<Policy> {
    let (id, version, enabled, source, spec, created_at, updated_at, declared, filed) = row;
    let filed = filed.filter(|filed| *filed != spec);
    Ok(Policy {
        id,
        version,
        enabled,
        declared,
        filed: filed.map(|text| serde_json::from_str(&text).map(Box::new).map_err(broken)).transpose()?,
        source: if source == Source::File.word() { Source::File } else { Source::Api },
        created_at: Timestamp::from_micros(created_at),
        updated_at: Timestamp::from_micros(updated_at),
        spec: serde_json::from_str(&spec).map_err(broken)?,
    })
}

async fn apply(tx: &mut Tx, change: &Change, actor: &str, now: Timestamp) -> Result<u64> {
    let (id, what, name, facts, rows) = match change {
        Change::Add { spec, enabled, source, declared } => {
            let id = ids::take(tx, "policy", 1).await?;
            let (sql, text) = (tx.text(&ADD), text_of(spec)?);
            let rows = on!(tx, c => sqlx::query(sql).bind(id).bind(&spec.name).bind(*enabled).bind(source.word())
                .bind(text).bind(now.micros()).bind(*declared).bind(principal(actor)).execute(c).await?.rows_affected());
            let facts = json!({"spec": spec, "enabled": enabled, "source": source});
            (id, What::Created, &spec.name, facts, rows)
        }
        Change::Replace { edition, spec, enabled, source, declared } => {
            let (sql, text) = (tx.text(&REPLACE), text_of(spec)?);
            let rows = on!(tx, c => sqlx::query(sql).bind(edition.id).bind(text).bind(*enabled).bind(now.micros())
                .bind(source.word()).bind(*declared).bind(edition.version).bind(principal(actor)).execute(c).await?
                .rows_affected());
            let facts = json!({"spec": spec, "enabled": enabled, "source": source});
            (edition.id, What::Updated, &spec.name, facts, rows)
        }
        Change::Filed { id, declared, spec } => {
            let (sql, text) = (tx.text(&FILED), text_of(spec)?);
            return Ok(on!(tx, c => sqlx::query(sql).bind(*id).bind(*declared).bind(text).execute(c).await?
                .rows_affected()));
        }
        Change::Promoted { name, from, to, how } => {
            let facts = json!({"from": from, "to": to, "how": how});
            add_audit(tx, &Entry::policy(actor, "policy.promoted", name, facts), now).await?;
            return Ok(1);
        }
        Change::Remove { edition, name } => {
            revision::note(tx, edition.id, What::Deleted, (actor, now)).await?;
            let sql = tx.text(&DROP);
            let rows = on!(tx, c => sqlx::query(sql).bind(edition.id).bind(edition.version).execute(c).await?
                .rows_affected());
            (edition.id, What::Deleted, name, json!({}), rows)
        }
    };
    if rows > 0 {
        if what != What::Deleted {
            revision::note(tx, id, what, (actor, now)).await?;
        }
        add_audit(tx, &Entry::policy(actor, what.verb(), name, facts), now).await?;
    }
    Ok(rows)
}

/// The principal behind an actor: a token is its number, whatever it is called.
fn principal(actor: &str) -> &str {
    let Some(rest) = actor.strip_prefix("token:") else { return actor };
    let digits = rest.split(':').next().map_or(0, str::len);
    &actor[.."token:".len() + digits]
}

fn text_of(spec: &Spec) -> Result<String> {
    serde_json::to_string(spec).map_err(|wrong| Error::Data(wrong.to_string()))
}
