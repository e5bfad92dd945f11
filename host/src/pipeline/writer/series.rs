//! A series that is seen for the first time, as rows.

use crate::domain::event::Series;
use crate::store::{NewSeries, SeriesRow};

pub(super) fn row_of(id: i64, series: &Series) -> SeriesRow {
    let target = series.target.as_ref();
    SeriesRow {
        id,
        identity: series.identity.text().to_owned(),
        name: series.name.clone(),
        target: series.target_name().to_owned(),
        target_kind: target.map(|target| target.kind.clone()),
        namespace: target.and_then(|target| target.namespace.clone()),
        simulated: series.simulated,
        tags: serde_json::to_string(&*series.tags).unwrap_or_else(|_| "{}".to_owned()),
    }
}

pub(super) fn new_series(partition: u16, row: &SeriesRow) -> NewSeries {
    NewSeries {
        id: row.id,
        partition,
        identity: row.identity.clone(),
        name: row.name.clone(),
        target: row.target.clone(),
        target_kind: row.target_kind.clone(),
        namespace: row.namespace.clone(),
        simulated: row.simulated,
        tags: row.tags.clone(),
    }
}
