//! The samples that windows look back at, read when an engine lacks them.

use std::collections::HashSet;

use super::ingest::{TailSample, Writing};
use super::sql::statements;
use super::{Result, on};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    SERIES_OF = "SELECT id FROM series WHERE name IN {texts}";
}

impl Writing {
    /// The samples of those metrics that were recorded in `partitions` not before `since`; by partition, in its
    /// order. Others are passed over as they are read, so that only these are held.
    pub async fn history(
        &mut self,
        partitions: &[u16],
        since: Timestamp,
        metrics: &[String],
    ) -> Result<Vec<(u16, TailSample)>> {
        let tx = self.begun().await?;
        let sql = tx.text(&SERIES_OF);
        let list = serde_json::to_string(metrics).unwrap_or_else(|_| "[]".to_owned());
        let ids: Vec<(i64,)> = on!(tx, c => sqlx::query_as(sql).bind(list).fetch_all(c).await?);
        let wanted: HashSet<i64> = ids.into_iter().map(|(id,)| id).collect();
        let mut found = Vec::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        self.newest(since, |partition, sample| {
            if wanted.contains(&sample.series_id) && partitions.contains(&partition) {
                found.push((partition, sample));
            }
        })
        .await?;
        found.sort_by_key(|(partition, sample)| (*partition, sample.seq, sample.id));
        Ok(found)
    }
}
