//! A rehearsal of samples that were never stored: of a test, or of a file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::rehearsal::{Ends, Error, Rehearsal, Stage};
use crate::domain::Timestamp;
use crate::domain::event::Series;
use crate::engine::Compiled;
use crate::store::{PastPause, SeriesRow, TailSample};

/// One reading.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Of what.
    pub series: Arc<Series>,
    /// What was read.
    pub value: f64,
    /// When it was read.
    pub observed_at: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub struct Scenario {
    rehearsal: Rehearsal,
    ids: HashMap<String, i64>,
    next_sample: i64,
    every: Duration,
    next_tick: Timestamp,
}

impl Scenario {
    /// Nothing has been read yet; the scheduled evaluation looks `every` so often from `begin` on.
    pub async fn new(
        stage: &Stage,
        policies: Vec<Arc<Compiled>>,
        ends: Ends,
        (begin, every): (Timestamp, Duration),
    ) -> Result<Self, Error> {
        Ok(Self {
            rehearsal: Rehearsal::new(stage, policies, ends, begin).await?,
            ids: HashMap::new(),
            next_sample: 1,
            every,
            next_tick: begin.after(every),
        })
    }

    /// These arrive together, at that time.
    pub async fn arrive(&mut self, at: Timestamp, readings: &[Reading]) -> Result<(), Error> {
        self.until(at).await?;
        let mut samples = Vec::with_capacity(readings.len());
        for Reading { series, value, observed_at } in readings {
            let series_id = self.id(series)?;
            let id = self.next_sample;
            self.next_sample += 1;
            let (value, observed_at) = (*value, *observed_at);
            samples.push(TailSample { seq: id, at, id, series_id, observed_at, value, flags: 1 });
        }
        self.rehearsal.batch(at, &samples).await
    }

    /// Time passes until then; what it decides is decided.
    pub async fn until(&mut self, at: Timestamp) -> Result<(), Error> {
        while self.next_tick <= at {
            self.rehearsal.tick(self.next_tick, u64::MAX).await?;
            self.next_tick = self.next_tick.after(self.every);
        }
        self.rehearsal.reach(at).await
    }

    /// People stop everything, or let it go on.
    pub async fn pause(&mut self, pause: PastPause) -> Result<(), Error> {
        self.until(pause.at).await?;
        self.rehearsal.pause(pause).await
    }

    /// What came of it.
    #[must_use]
    pub fn rehearsal(&self) -> &Rehearsal {
        &self.rehearsal
    }

    fn id(&mut self, series: &Series) -> Result<i64, Error> {
        if let Some(id) = self.ids.get(series.identity.text()) {
            return Ok(*id);
        }
        let id = i64::try_from(self.ids.len()).unwrap_or(i64::MAX).saturating_add(1);
        let target = series.target.as_ref();
        self.rehearsal.know(&SeriesRow {
            id,
            identity: series.identity.text().to_owned(),
            name: series.name.clone(),
            target: series.target_name().to_owned(),
            target_kind: target.map(|target| target.kind.clone()),
            namespace: target.and_then(|target| target.namespace.clone()),
            simulated: false,
            tags: serde_json::to_string(&*series.tags).unwrap_or_default(),
        })?;
        self.ids.insert(series.identity.text().to_owned(), id);
        Ok(id)
    }
}
