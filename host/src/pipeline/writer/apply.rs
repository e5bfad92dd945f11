//! Bringing a partition's engine up to what the store has: at start, and after other nodes wrote to it.

use std::sync::Arc;

use super::Writer;
use crate::domain::event::{Identity, partition_of};
use crate::engine::{Findings, Known, Observed};
use crate::store::{Error, PartitionSeq, SeriesRow, TailSample, Writing};

impl Writer {
    /// Applies, without deciding, what was recorded after this engine's last sequence number. A partition
    /// that is not loaded begins with the look-back's samples and the incidents that stand.
    pub(super) async fn catch_up(&mut self, tx: &mut Writing, seqs: &[PartitionSeq]) -> Result<(), Error> {
        let (mut fresh, mut behind) = (Vec::new(), Vec::new());
        for at in seqs {
            match self.partitions[usize::from(at.id)].seq {
                Some(seq) if seq == at.seq => {}
                Some(seq) => behind.push(PartitionSeq { id: at.id, seq }),
                None => fresh.push(at.id),
            }
        }
        if fresh.is_empty() && behind.is_empty() {
            return Ok(());
        }
        let since = self.now().before(self.parts.limits.lookback);
        let tails = tx.tails((&fresh, since), &behind).await?;
        for tail in tails.chunk_by(|a, b| a.0 == b.0) {
            self.replay(tx, tail).await?;
        }
        for at in seqs {
            self.partitions[usize::from(at.id)].seq = Some(at.seq);
        }
        if !fresh.is_empty() {
            for row in tx.standing().await? {
                let home = partition_of(&row.target);
                if fresh.contains(&home) {
                    self.partitions[usize::from(home)].set_standing(row.policy_id, row.subject(), true);
                }
            }
        }
        Ok(())
    }

    /// Shows an engine the stored samples of one partition.
    async fn replay(&mut self, tx: &mut Writing, tail: &[(u16, TailSample)]) -> Result<(), Error> {
        let Some(id) = tail.first().map(|(id, _)| *id) else { return Ok(()) };
        let at = usize::from(id);
        let mut unknown: Vec<i64> = tail
            .iter()
            .map(|(_, sample)| sample.series_id)
            .filter(|series| self.partitions[at].find_id(*series).is_none())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let at_once = self.parts.settings.now().policy.batch_size as usize;
            for some in unknown.chunks(at_once.max(1)) {
                for row in tx.series(some).await? {
                    let identity = Identity::new(row.identity.as_str().into());
                    self.add_series(id, &row, identity)?;
                }
            }
        }
        let (policies, limits) = (Arc::clone(&self.policies), self.parts.limits);
        let partition = &mut self.partitions[at];
        let mut ignored = Findings::default();
        for (_, sample) in tail {
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
    pub(super) fn add_series(
        &mut self,
        partition: u16,
        row: &SeriesRow,
        identity: Identity,
    ) -> Result<(), Error> {
        let tags = serde_json::from_str(&row.tags).map_err(|wrong| {
            Error::Broken(format!("series {} has tags that are no JSON: {wrong}", row.id))
        })?;
        let named = row.target_kind.is_some().then_some(row.target.as_str());
        let (kind, namespace) =
            (row.target_kind.as_deref().unwrap_or(""), row.namespace.as_deref().unwrap_or(""));
        self.partitions[usize::from(partition)].add_series(Known {
            id: row.id,
            identity,
            name: &row.name,
            target: named,
            kind,
            namespace,
            simulated: row.simulated,
            tags: Arc::new(tags),
        });
        Ok(())
    }
}
