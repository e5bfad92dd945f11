//! The audit trail as it is read: who did what to which thing, newest first.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::sql::statements;
use super::{Part, Result, Store, on, rows};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    TRAIL = "SELECT id, at, actor, verb, object, object_id, incident_id, action_id, facts FROM audit
        WHERE (actor = $1 OR $1 = '') AND (verb = $2 OR $2 = '') AND (object = $3 OR $3 = '')
        AND (object_id = $4 OR $4 = '') AND at >= $5 AND at <= $6 AND id < $7
        ORDER BY id DESC LIMIT $8 OFFSET $9";
}

/// Which entries; what is empty lets everything through.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only by this one.
    pub actor: String,
    /// Only of this kind of deed.
    pub verb: String,
    /// Only about this kind of thing.
    pub object: String,
    /// Only about the thing of this id.
    pub object_id: String,
    /// Done at or after.
    pub from: Option<Timestamp>,
    /// Done at or before.
    pub to: Option<Timestamp>,
}

/// One entry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditRow {
    /// Its place in the trail.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what.
    pub verb: String,
    /// To what kind of thing.
    pub object: String,
    /// To which one.
    pub object_id: String,
    /// The incident it belongs to.
    pub incident_id: Option<i64>,
    /// The action it belongs to.
    pub action_id: Option<i64>,
    /// The values that led to it.
    #[schema(value_type = Object)]
    pub facts: Value,
}

type Row = (i64, i64, String, String, String, String, Option<i64>, Option<i64>, String);

impl Store {
    /// Entries of the audit trail, newest first.
    pub async fn audit(&self, filter: &AuditFilter, part: Part) -> Result<Vec<AuditRow>> {
        let (from, to) =
            (filter.from.map_or(i64::MIN, Timestamp::micros), filter.to.map_or(i64::MAX, Timestamp::micros));
        let before = part.after.map_or(i64::MAX, |place| place.id);
        let mut tx = self.reading().await?;
        let sql = tx.text(&TRAIL);
        let found: Vec<Row> = on!(&mut tx, c => sqlx::query_as(sql).bind(&filter.actor).bind(&filter.verb)
            .bind(&filter.object).bind(&filter.object_id).bind(from).bind(to).bind(before).bind(part.limit)
            .bind(part.offset).fetch_all(c).await?);
        Ok(found.into_iter().map(row).collect())
    }
}

fn row((id, at, actor, verb, object, object_id, incident_id, action_id, facts): Row) -> AuditRow {
    let (at, facts) = (Timestamp::from_micros(at), rows::json(&facts));
    AuditRow { id, at, actor, verb, object, object_id, incident_id, action_id, facts }
}
