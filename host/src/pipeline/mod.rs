//! The verbs: what happens to an event from its arrival to the end of the action it led to. Read
//! [`ingest`] first; [`decide`] turns findings into a plan, [`worker`] claims and [`execute`] runs what was
//! planned, [`sweep`] finds what was lost.

pub mod answer;
pub mod approve;
pub mod backtest;
pub mod decide;
pub mod execute;
pub mod history;
pub mod ingest;
pub mod known;
#[cfg(test)]
mod life;
pub mod loops;
#[cfg(test)]
mod model;
mod notice;
mod order;
pub mod preview;
mod push;
pub mod rehearsal;
pub mod remediate;
pub mod scenario;
pub mod settings;
pub mod simulate;
pub mod sweep;
pub mod tenure;
pub mod worker;
mod writer;
