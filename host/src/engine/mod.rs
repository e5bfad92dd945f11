//! The engine: what the conditions of policies say about targets, event after event. Pure: values in, findings
//! out; it asks no clock, no database and takes no lock. The writer (pipeline/) feeds it under the partition's
//! lock and throws a partition's state away when its transaction fails.

mod alive;
pub mod analysis;
mod condition;
mod findings;
mod folded;
mod history;
#[cfg(test)]
mod nodata;
mod partition;
mod policies;
mod running;
mod series;
#[cfg(test)]
mod tests;
mod trial;
mod view;
mod window;

pub use condition::{Fault, parse as parse_condition};
pub use findings::{Finding, Findings};
pub use partition::{Known, Limits, Observed, Partition, SeriesKey, Truth};
pub use policies::{Compiled, PolicySet};
pub use trial::trial;
