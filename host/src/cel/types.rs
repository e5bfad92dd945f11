//! The static types of expressions: what the checker knows and never leaves to run time.

use std::fmt;

/// A type of CEL, as far as conditions have it. An empty literal has no item type yet and agrees with every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    List(Option<Box<Ty>>),
    Map(Option<Box<(Ty, Ty)>>),
}

impl Ty {
    pub(super) fn labels() -> Self {
        Self::Map(Some(Box::new((Self::Text, Self::Text))))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// Whether `<` is defined.
    pub(super) fn is_ordered(&self) -> bool {
        self.is_number() || matches!(self, Self::Bool | Self::Text)
    }

    /// The type of something that is either of both, if there is one.
    pub(super) fn join(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::List(None), Self::List(_)) | (Self::Map(None), Self::Map(_)) => Some(other.clone()),
            (Self::List(_), Self::List(None)) | (Self::Map(_), Self::Map(None)) => Some(self.clone()),
            (Self::List(Some(a)), Self::List(Some(b))) => Some(Self::List(Some(Box::new(a.join(b)?)))),
            (Self::Map(Some(a)), Self::Map(Some(b))) => {
                Some(Self::Map(Some(Box::new((a.0.join(&b.0)?, a.1.join(&b.1)?)))))
            }
            (a, b) if a == b => Some(self.clone()),
            _ => None,
        }
    }

    /// Whether `==` between both means anything: the same type, or two numbers.
    pub(super) fn comparable(&self, other: &Self) -> bool {
        self.is_number() && other.is_number() || self.join(other).is_some()
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::Text => f.write_str("string"),
            Self::List(None) => f.write_str("list"),
            Self::List(Some(item)) => write!(f, "list({item})"),
            Self::Map(None) => f.write_str("map"),
            Self::Map(Some(entry)) => write!(f, "map({}, {})", entry.0, entry.1),
        }
    }
}
