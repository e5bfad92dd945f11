//! Silences of the past: what people did about them, and the same once more in a back-test.

use super::recurring;
use crate::domain::Timestamp;
use crate::domain::silence::Wish;
use crate::store::ingest::broken;
use crate::store::sql::statements;
use crate::store::{Result, Store, on};

statements! { pub(in crate::store) STATEMENTS:
    PAST = "SELECT at, object_id, verb, facts FROM audit WHERE object = 'silence' AND at < $1 ORDER BY id";
    KEEP = "INSERT INTO silence (id, version, matchers, starts_at, ends_at, recurring, comment, author, created_at,
        updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (id) DO UPDATE SET
        version = excluded.version, matchers = excluded.matchers, starts_at = excluded.starts_at,
        ends_at = excluded.ends_at, recurring = excluded.recurring, comment = excluded.comment";
    END = "UPDATE silence SET expired_at = $2 WHERE id = $1";
    BUMP = "UPDATE pause SET silence_rev = silence_rev + 1 WHERE one = 1";
}

/// A change of a silence in the past.
#[derive(Clone, Debug)]
pub struct PastSilence {
    /// When.
    pub at: Timestamp,
    /// Of which.
    pub id: i64,
    /// What it said from then on; none: somebody ended it.
    pub wish: Option<Wish>,
    /// Counts its changes.
    pub version: i64,
    /// Who made it.
    pub author: String,
}

impl Store {
    /// What people did about silences, up to then, from the beginning, in its order.
    pub async fn past_silences(&self, to: Timestamp) -> Result<Vec<PastSilence>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&PAST);
        let found: Vec<(i64, String, String, String)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(to.micros()).fetch_all(c).await?);
        let past = |(at, id, verb, facts): (i64, String, String, String)| {
            let facts: serde_json::Value = serde_json::from_str(&facts).map_err(broken)?;
            let time = |member: &str| facts[member].as_str().and_then(Timestamp::parse);
            let text = |member: &str| facts[member].as_str().unwrap_or_default().to_owned();
            let wish = Wish {
                matchers: serde_json::from_value(facts["matchers"].clone()).map_err(broken)?,
                starts_at: time("starts_at").unwrap_or_default(),
                ends_at: time("ends_at"),
                recurring: serde_json::from_value(facts["recurring"].clone()).map_err(broken)?,
                comment: text("comment"),
            };
            Ok(PastSilence {
                at: Timestamp::from_micros(at),
                id: id.parse().map_err(broken)?,
                wish: (verb != "silence.expired").then_some(wish),
                version: facts["version"].as_i64().unwrap_or(1),
                author: text("author"),
            })
        };
        found.into_iter().map(past).collect()
    }

    /// Does in a scratch database what people did about a silence.
    pub async fn rehearse_silence(&self, past: &PastSilence) -> Result<()> {
        let mut tx = self.begin().await?;
        let (keep, end, bump) = (tx.text(&KEEP), tx.text(&END), tx.text(&BUMP));
        match &past.wish {
            Some(wish) => {
                let matchers = serde_json::to_string(&wish.matchers).map_err(broken)?;
                on!(&mut tx, c => sqlx::query(keep).bind(past.id).bind(past.version).bind(matchers)
                    .bind(wish.starts_at.micros()).bind(wish.ends_at.map(Timestamp::micros)).bind(recurring(wish)?)
                    .bind(&wish.comment).bind(&past.author).bind(past.at.micros()).execute(c).await?.rows_affected());
            }
            None => {
                on!(&mut tx, c => sqlx::query(end).bind(past.id).bind(past.at.micros()).execute(c).await?.rows_affected());
            }
        }
        on!(&mut tx, c => sqlx::query(bump).execute(c).await?.rows_affected());
        tx.commit().await
    }
}
