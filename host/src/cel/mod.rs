//! Conditions: CEL expressions and typed conditions, checked when they are saved and evaluated in nanoseconds.
//!
//! The `cel` crate parses; types, limits and evaluation are ours, since the crate has no type checker, no cost limit
//! and no cancellation. Text goes through `bounds` (size, tokens, nesting), `parse` (the crate, on a thread with a large
//! stack), `reads` (which series) and `check` (names and types) to the typed `tree`, which `eval` walks.
//!
//! It is not a general CEL: one schema (`metric`, `target`, the series functions and [windows](Function)), the result is a bool, and what
//! could grow or run for long is refused. It does no I/O and knows no policy. The API calls [`compile`] and
//! [`Program::from_condition`] when a policy is saved; the engine calls [`Program::eval`] with its own [`Scope`].
//!
//! No-data is an error in CEL's sense: `&&`, `||`, `all` and `exists` ignore it where another operand decides.
//!
//! ```
//! use vigil_host::cel::compile;
//!
//! let program = compile(r#"last("cpu_percent") > 90.0 && target.namespace == "prod""#).unwrap();
//! assert_eq!(program.reads()[0].metric, "cpu_percent");
//! let errors = compile("metrics.value > 90").unwrap_err();
//! assert_eq!(errors.to_string(), "1:1: unknown name `metrics`; did you mean `metric`?");
//! ```

mod bounds;
mod check;
mod error;
mod eval;
mod logic;
mod parse;
mod program;
mod reads;
mod scope;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod typed;
mod types;
mod windows;

pub use bounds::{MAX_BYTES, MAX_NESTING, MAX_TOKENS};
pub use error::{CompileError, CompileErrors, ErrorKind, EvalError};
pub use logic::{Logic, Relation, Term};
pub use program::{Program, compile};
pub use reads::Read;
pub use scope::{Labels, MetricView, ReadIx, Scope, TargetView};
pub use typed::{Condition, MAX_CONDITION_DEPTH, MAX_NODES};
pub use windows::{Function, MAX_WINDOW, MIN_WINDOW, Window};
