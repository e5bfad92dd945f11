//! The forms that a member is taken in, for the description: what is read is in [`input`](super::input).

use serde::Serialize;
use utoipa::ToSchema;

/// Yes or no: a boolean, a word for one, or 1 and 0.
#[derive(Serialize, ToSchema)]
#[schema(as = LaxFlag)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read by hand")]
pub(super) enum Flag {
    /// Itself.
    Bool(bool),
    /// true, false, yes, no, on, off, 1 or 0.
    Word(String),
    /// 1 or 0.
    Number(f64),
}

/// A whole number, or a text or boolean that is one.
#[derive(Serialize, ToSchema)]
#[schema(as = LaxWhole)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read by hand")]
pub(super) enum Whole {
    /// Itself; a fraction of zero is none.
    Number(f64),
    /// In digits.
    Text(String),
    /// 1 or 0.
    Bool(bool),
}
