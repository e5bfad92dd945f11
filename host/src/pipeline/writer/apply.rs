//! Bringing a partition's engine up to what the store has: at start, and after other nodes wrote to it.

use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use crate::domain::Timestamp;
use crate::domain::event::{Identity, partition_of};
use crate::engine::{Findings, Known, Observed};
use crate::store::{Error, PartitionSeq, SeriesRow, TailSample, Writing};

/// How far before its own time a sample may have been recorded.
const AHEAD: Duration = Duration::from_mins(1);

impl Writer {
    /// Applies, without deciding, what was recorded after this engine's last sequence number. A partition
    /// that is not loaded begins with the look-back's samples and the incidents that stand.
    pub(super) async fn catch_up(&mut self, tx: &mut Writing, seqs: &[PartitionSeq]) -> Result<(), Error> {
        let (mut fresh, mut behind, mut lacking) = (Vec::new(), Vec::new(), Vec::new());
        for at in seqs {
            let partition = &self.partitions[usize::from(at.id)];
            if partition.incomplete || partition.seq.is_none() {
                lacking.push(at.id);
            }
            match partition.seq {
                Some(seq) if seq == at.seq => {}
                Some(seq) => behind.push(PartitionSeq { id: at.id, seq }),
                None => fresh.push(at.id),
            }
        }
        if fresh.is_empty() && behind.is_empty() && lacking.is_empty() {
            return Ok(());
        }
        let since = self.now().before(self.parts.limits.lookback);
        self.look_back(tx, &lacking, since).await?;
        let tails = tx.tails((&fresh, since), &behind).await?;
        for tail in tails.chunk_by(|a, b| a.0 == b.0) {
            self.replay(tx, tail).await?;
        }
        for at in seqs {
            let partition = &mut self.partitions[usize::from(at.id)];
            (partition.seq, partition.incomplete) = (Some(at.seq), false);
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

    /// Fills the histories of `lacking` partitions from the store, without judging: as far back as the longest
    /// window reaches at the beginning of the look-back, where judging begins. What the replay shows, in partitions
    /// that are not loaded what was recorded `since` then, is left to it: a history takes each sample once.
    async fn look_back(&mut self, tx: &mut Writing, lacking: &[u16], since: Timestamp) -> Result<(), Error> {
        let Some((metrics, longest)) = self.policies.windows().filter(|_| !lacking.is_empty()) else {
            return Ok(());
        };
        // A sample may have been recorded a little before its own time.
        let mut history = tx.history(lacking, since.before(longest).before(AHEAD), &metrics).await?;
        history.retain(|(id, sample)| match self.partitions[usize::from(*id)].seq {
            Some(reached) => sample.seq <= reached,
            None => sample.at < since,
        });
        for id in lacking {
            self.partitions[usize::from(*id)].forget_histories();
        }
        for of_one in history.chunk_by(|a, b| a.0 == b.0) {
            let at = usize::from(self.know(tx, of_one).await?);
            let (policies, partition) = (Arc::clone(&self.policies), &mut self.partitions[at]);
            for (_, sample) in of_one {
                if let Some(key) = partition.find_id(sample.series_id) {
                    partition.remember(&policies, key, observed(sample), sample.at);
                }
            }
        }
        Ok(())
    }

    /// Makes the series of one partition's stored samples known. Answers which partition.
    async fn know(&mut self, tx: &mut Writing, tail: &[(u16, TailSample)]) -> Result<u16, Error> {
        let id = tail.first().map_or(0, |(id, _)| *id);
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
        Ok(id)
    }

    /// Shows an engine the stored samples of one partition.
    async fn replay(&mut self, tx: &mut Writing, tail: &[(u16, TailSample)]) -> Result<(), Error> {
        let at = usize::from(self.know(tx, tail).await?);
        let (policies, limits) = (Arc::clone(&self.policies), self.parts.limits);
        let partition = &mut self.partitions[at];
        let mut ignored = Findings::default();
        for (_, sample) in tail {
            let Some(key) = partition.find_id(sample.series_id) else { continue };
            partition.observe(&policies, key, observed(sample), (sample.at, limits), &mut ignored);
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

/// A stored sample as the engine takes it.
fn observed(sample: &TailSample) -> Observed {
    Observed { id: sample.id, at: sample.observed_at, value: sample.value, timed: sample.flags & 1 == 1 }
}
