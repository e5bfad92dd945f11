//! Bringing a partition's engine up to what the store has: at start, and after other nodes wrote to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Writer;
use crate::domain::Timestamp;
use crate::domain::event::partition_of;
use crate::engine::{Findings, Observed, SeriesKey};
use crate::store::{Error, PartitionSeq, SeriesRow, TailSample, Writing};

impl Writer {
    /// Applies, without deciding, what was recorded after this engine's last sequence number. A partition
    /// that is not loaded begins with the look-back's samples and the incidents that stand.
    pub(super) async fn catch_up(&mut self, tx: &mut Writing, seqs: &[PartitionSeq]) -> Result<(), Error> {
        let mut fresh = Vec::new();
        for at in seqs {
            let partition = &self.partitions[usize::from(at.id)];
            let (after, since) = match partition.seq {
                Some(seq) if seq == at.seq => continue,
                Some(seq) => (seq, Timestamp::from_micros(i64::MIN)),
                None => {
                    fresh.push(at.id);
                    (-1, self.now().before(self.parts.limits.lookback))
                }
            };
            let tail = if at.seq == 0 { Vec::new() } else { tx.tail(at.id, after, since).await? };
            self.replay(tx, at.id, &tail).await?;
            self.partitions[usize::from(at.id)].seq = Some(at.seq);
        }
        if !fresh.is_empty() {
            for row in tx.standing().await? {
                let home = partition_of(&row.target);
                if fresh.contains(&home) {
                    self.partitions[usize::from(home)].set_standing(row.policy_id, &row.target, true);
                }
            }
        }
        Ok(())
    }

    async fn replay(&mut self, tx: &mut Writing, id: u16, tail: &[TailSample]) -> Result<(), Error> {
        let at = usize::from(id);
        let mut unknown: Vec<i64> = tail
            .iter()
            .map(|sample| sample.series_id)
            .filter(|series| self.partitions[at].find_id(*series).is_none())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        let mut keys: HashMap<i64, SeriesKey> = HashMap::new();
        if !unknown.is_empty() {
            let at_once = self.parts.settings.now().policy.batch_size as usize;
            for some in unknown.chunks(at_once.max(1)) {
                for row in tx.series(some).await? {
                    keys.insert(row.id, self.add_series(id, row)?);
                }
            }
        }
        let (policies, limits) = (Arc::clone(&self.policies), self.parts.limits);
        let partition = &mut self.partitions[at];
        let mut ignored = Findings::default();
        for sample in tail {
            let Some(key) = partition.find_id(sample.series_id) else { continue };
            let observed = Observed {
                id: sample.id,
                at: sample.observed_at,
                value: sample.value,
                timed: sample.flags & 1 == 1,
            };
            partition.observe(&policies, key, observed, (sample.at, limits), &mut ignored);
            ignored.list.clear();
        }
        Ok(())
    }

    /// Makes a stored series known to its partition.
    pub(super) fn add_series(&mut self, partition: u16, row: SeriesRow) -> Result<SeriesKey, Error> {
        let tags = serde_json::from_str(&row.tags).map_err(|wrong| {
            Error::Broken(format!("series {} has tags that are no JSON: {wrong}", row.id))
        })?;
        let named = row.target_kind.is_some().then_some(row.target.as_str());
        let (kind, namespace) =
            (row.target_kind.as_deref().unwrap_or(""), row.namespace.as_deref().unwrap_or(""));
        Ok(self.partitions[usize::from(partition)].add_series(
            row.id,
            row.identity,
            &row.name,
            (named, kind, namespace),
            Arc::new(tags),
        ))
    }
}
