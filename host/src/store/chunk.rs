//! The samples of one transaction as one value: bytes that are written once and read back whole.
//!
//! ```text
//! version, number of parts, then per part: partition, its sequence number, number of samples;
//! then per sample, in the order of ids: series and observed_at as differences to the sample before,
//! flags, and the value's eight bytes.
//! ```
//!
//! Numbers are variable-length, seven bits a byte, the lowest first; differences are folded so that small
//! negative ones are short, too. Ids are consecutive from the chunk's first.

use super::ingest::{TailSample, broken};
use super::{Plan, Result};
use crate::domain::Timestamp;

const VERSION: u64 = 1;

/// A part of a chunk: what one partition got.
struct Part {
    partition: u16,
    seq: i64,
    count: u64,
}

/// The samples of a plan.
pub(super) fn encode(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + plan.partitions.len() * 8 + plan.samples.len() * 16);
    number(&mut out, VERSION);
    number(&mut out, plan.partitions.len() as u64);
    for (partition, first, last) in &plan.partitions {
        number(&mut out, u64::from(partition.id));
        number(&mut out, partition.seq.unsigned_abs());
        number(&mut out, (last - first + 1).unsigned_abs());
    }
    let (mut series, mut at) = (0, plan.now.micros());
    for sample in &plan.samples {
        difference(&mut out, sample.series_id.wrapping_sub(series));
        difference(&mut out, sample.observed_at.micros().wrapping_sub(at));
        number(&mut out, sample.flags.unsigned_abs());
        out.extend_from_slice(&sample.value.to_le_bytes());
        (series, at) = (sample.series_id, sample.observed_at.micros());
    }
    out
}

/// The samples of a chunk that was accepted at `at` and begins with the id `first`, with their partitions.
pub(super) fn decode(first: i64, at: i64, data: &[u8], mut each: impl FnMut(u16, TailSample)) -> Result<()> {
    let mut bytes = Bytes(data);
    let version = bytes.number()?;
    if version != VERSION {
        return Err(broken(format!("a chunk of samples of version {version}")));
    }
    let mut parts = Vec::new();
    for _ in 0..bytes.number()? {
        parts.push(Part {
            partition: u16::try_from(bytes.number()?).map_err(broken)?,
            seq: i64::try_from(bytes.number()?).map_err(broken)?,
            count: bytes.number()?,
        });
    }
    let (mut id, mut series, mut observed) = (first, 0_i64, at);
    for part in parts {
        for _ in 0..part.count {
            series = series.wrapping_add(bytes.difference()?);
            observed = observed.wrapping_add(bytes.difference()?);
            let flags = i64::try_from(bytes.number()?).map_err(broken)?;
            let sample = TailSample {
                seq: part.seq,
                at: Timestamp::from_micros(at),
                id,
                series_id: series,
                observed_at: Timestamp::from_micros(observed),
                value: bytes.value()?,
                flags,
            };
            each(part.partition, sample);
            id += 1;
        }
    }
    Ok(())
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn difference(out: &mut Vec<u8>, difference: i64) {
    number(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn number(&mut self) -> Result<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let Some((byte, rest)) = self.0.split_first().filter(|_| shift < 64) else {
                return Err(broken("a chunk of samples that ends too early"));
            };
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    fn difference(&mut self) -> Result<i64> {
        let folded = self.number()?;
        Ok((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()))
    }

    fn value(&mut self) -> Result<f64> {
        let Some((value, rest)) = self.0.split_first_chunk::<8>() else {
            return Err(broken("a chunk of samples that ends too early"));
        };
        self.0 = rest;
        Ok(f64::from_le_bytes(*value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{NewSample, PartitionSeq};

    /// A partition, its sequence number, and its samples: series, time, value, flags.
    type Sent = (u16, i64, Vec<(i64, i64, f64, i64)>);

    fn plan(now: i64, first: i64, parts: &[Sent]) -> Plan {
        let mut plan = Plan { now: Timestamp::from_micros(now), ..Plan::default() };
        let mut id = first;
        for (partition, seq, samples) in parts {
            let begin = id;
            for (series_id, at, value, flags) in samples {
                let observed_at = Timestamp::from_micros(*at);
                plan.samples.push(NewSample {
                    id,
                    series_id: *series_id,
                    observed_at,
                    value: *value,
                    flags: *flags,
                });
                id += 1;
            }
            plan.partitions.push((PartitionSeq { id: *partition, seq: *seq }, begin, id - 1));
        }
        plan
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            now in 0..4_000_000_000_000_000_i64,
            first in 1..1_i64 << 53,
            parts in prop::collection::vec((0..64_u16, 0..1_i64 << 40, prop::collection::vec(
                (any::<i64>(), any::<i64>(), any::<f64>(), 0..16_i64), 1..20)), 0..6),
        ) {
            let plan = plan(now, first, &parts);
            let data = encode(&plan);
            let mut read = Vec::new();
            decode(first, now, &data, |partition, sample| read.push((partition, sample))).unwrap();
            prop_assert_eq!(read.len(), plan.samples.len());
            let homes = parts.iter().flat_map(|(id, seq, of)| of.iter().map(move |_| (*id, *seq)));
            for (((partition, got), sent), (home, seq)) in read.iter().zip(&plan.samples).zip(homes) {
                prop_assert_eq!((*partition, got.seq, got.at.micros()), (home, seq, now));
                prop_assert_eq!((got.id, got.series_id, got.flags), (sent.id, sent.series_id, sent.flags));
                prop_assert_eq!(got.observed_at, sent.observed_at);
                prop_assert_eq!(got.value.to_bits(), sent.value.to_bits());
            }
            for end in 0..data.len() {
                prop_assert!(decode(first, now, &data[..end], |_, _| ()).is_err());
            }
        }
    }

    #[test]
    fn a_later_version_is_refused() {
        assert!(decode(1, 0, &[2, 0], |_, _| ()).is_err());
    }
}
