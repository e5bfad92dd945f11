//! Settings made over HTTP: one row, read again by every node when its revision moves.

use serde_json::{Value, json};

use super::ingest::broken;
use super::record::add_audit;
use super::sql::statements;
use super::{Result, Store, on};
use crate::domain::Timestamp;
use crate::domain::audit::Entry;

statements! { pub(super) STATEMENTS:
    REV = "SELECT rev FROM setting";
    READ = "SELECT rev, overrides, updated_at FROM setting";
    LOCK = "SELECT rev, overrides, updated_at FROM setting WHERE one = 1{lock}";
    WRITE = "UPDATE setting SET rev = rev + 1, overrides = $1, updated_at = $2 WHERE one = 1 RETURNING rev";
    SEEN = "UPDATE node SET settings_rev = $2 WHERE boot_id = $1";
    BEHIND = "SELECT COUNT(*) FROM node WHERE settings_rev < $1";
}

/// What was said over HTTP.
#[derive(Clone, Debug)]
pub struct Overrides {
    /// Counts changes.
    pub rev: i64,
    /// An object that names only what differs.
    pub values: Value,
    /// When it was last changed; none: never, or reset.
    pub updated_at: Option<Timestamp>,
}

type Row = (i64, String, Option<i64>);

impl Store {
    /// The revision of the settings.
    pub async fn settings_rev(&self) -> Result<i64> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&REV);
        let (rev,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        Ok(rev)
    }

    /// The settings made over HTTP.
    pub async fn settings(&self) -> Result<Overrides> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&READ);
        overrides(on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?))
    }

    /// Changes them: `change` gets what is there, under lock, and answers what is to be, or an error that
    /// leaves everything as it is.
    pub async fn change_settings<E>(
        &self,
        change: impl FnOnce(&Value) -> std::result::Result<Value, E> + Send,
        (actor, verb): (&str, &'static str),
        now: Timestamp,
    ) -> Result<std::result::Result<Overrides, E>> {
        let mut tx = self.begin().await?;
        let (lock, write) = (tx.text(&LOCK), tx.text(&WRITE));
        let before = overrides(on!(&mut tx, c => sqlx::query_as(lock).fetch_one(c).await?))?;
        let values = match change(&before.values) {
            Ok(values) => values,
            Err(refused) => return Ok(Err(refused)),
        };
        let updated_at = values.as_object().is_some_and(|members| !members.is_empty()).then_some(now);
        let (rev,): (i64,) = on!(&mut tx, c => sqlx::query_as(write).bind(values.to_string())
            .bind(updated_at.map(Timestamp::micros)).fetch_one(c).await?);
        let entry = Entry {
            actor: actor.to_owned(),
            verb,
            object: "settings",
            object_id: rev.to_string(),
            incident_id: None,
            action_id: None,
            facts: json!({"before": before.values, "after": values}),
        };
        add_audit(&mut tx, &entry, now).await?;
        tx.commit().await?;
        Ok(Ok(Overrides { rev, values, updated_at }))
    }

    /// Notes that the process of that boot id works with revision `rev`.
    pub async fn settings_seen(&self, boot_id: &str, rev: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&SEEN);
        on!(&mut tx, c => sqlx::query(sql).bind(boot_id).bind(rev).execute(c).await?.rows_affected());
        tx.commit().await
    }

    /// How many processes do not work with revision `rev` yet.
    pub async fn settings_behind(&self, rev: i64) -> Result<i64> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&BEHIND);
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).bind(rev).fetch_one(c).await?);
        Ok(count)
    }
}

fn overrides((rev, values, updated_at): Row) -> Result<Overrides> {
    Ok(Overrides {
        rev,
        values: serde_json::from_str(&values).map_err(broken)?,
        updated_at: updated_at.map(Timestamp::from_micros),
    })
}
