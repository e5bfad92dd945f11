//! What can be wrong with an expression: when it is saved ([`CompileErrors`]) and when it runs ([`EvalError`]).
//!
//! The first is for people and carries text and a position; the second is on the event's path, so it is `Copy` and
//! never allocates. The API turns the first into a 422, the engine counts the second.

use std::fmt;

/// The most errors one compilation reports.
pub(super) const MAX_ERRORS: usize = 10;

/// One thing wrong with an expression or a condition, in words for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct CompileError {
    /// What is wrong and what to do about it.
    pub message: String,
    /// Line of the expression, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Which member of nested `all`/`any` lists the expression is, outermost first; empty for the condition itself.
    pub path: Vec<u16>,
}

/// Everything wrong with an expression, in the order of the text; never empty, at most 10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors(pub Vec<CompileError>);

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileErrors {}

/// Why an evaluation gave neither true nor false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A series the expression reads has no fresh sample, or `metric` was used where there is no event.
    #[error("no data")]
    NoData,
    /// The expression failed on this input.
    #[error("{0}")]
    Error(ErrorKind),
    /// The fixed budget of one evaluation is used up.
    #[error("the expression took too many steps")]
    OutOfFuel,
}

/// The ways in which an expression fails on its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// An integer operation or a conversion left its type's range.
    #[error("number out of range")]
    Overflow,
    /// Integer division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// `< <= > >=` met a NaN.
    #[error("NaN has no order")]
    NotANumber,
    /// A tag or map key that is not there was read.
    #[error("no such key")]
    NoSuchKey,
    /// A list index outside the list.
    #[error("index out of range")]
    IndexOutOfRange,
    /// A text that is no number was converted to one.
    #[error("text is not a number")]
    BadConversion,
    /// The tree holds a value of another type than it was checked for: a defect of ours.
    #[error("internal type error")]
    Internal,
}

impl From<ErrorKind> for EvalError {
    fn from(kind: ErrorKind) -> Self {
        Self::Error(kind)
    }
}
