//! The words of the product as types: events, policies, incidents, actions and what may happen to them.
//! Pure: no I/O, no async, no clock. Everything else imports this; this imports nothing of ours.

pub mod access;
pub mod action;
pub mod approval;
pub mod audit;
pub mod decide;
pub mod event;
pub mod flapping;
pub mod fleet;
pub mod guardrails;
pub mod incident;
pub mod ladder;
pub(crate) mod mutant;
pub mod opposites;
mod overlap;
pub mod pace;
pub mod plan;
pub mod policy;
pub mod rail;
#[cfg(test)]
pub(crate) mod random;
pub mod reason;
pub mod secret;
#[cfg(test)]
mod selectors;
pub mod silence;
pub mod spelling;
pub mod time;
pub mod token;
pub mod worst;

pub use action::{Phase, WireStatus};
pub use event::{Event, Target};
pub use policy::{Policy, Severity};
pub use time::Timestamp;
