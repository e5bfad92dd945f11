//! What a condition asks of numbers, for those who reason about it without evaluating it: comparisons of a series or a
//! window with a constant, joined by and and or. Everything else is opaque: it may be anything.

use super::reads::Read;
use super::tree::{BoolExpr, Cmp, DoubleExpr, Expr, IntExpr, Stat};
use super::windows::Window;

/// A condition as far as it can be reasoned about. It is met only if this can be true.
#[derive(Clone, Debug, PartialEq)]
pub enum Logic {
    /// All of them; of none: true.
    All(Vec<Logic>),
    /// One of them; of none: false.
    Any(Vec<Logic>),
    /// A number compared with a constant that is no NaN.
    Compare(Term, Relation, f64),
    /// True or false, nobody knows.
    Opaque,
}

/// A number that an evaluation looks up once: it is the same wherever the condition says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// The least of the last values of the series of the target.
    Lowest(Read),
    /// The newest of them.
    Last(Read),
    /// The greatest of them.
    Highest(Read),
    /// A function of a window.
    Window(Window),
    /// The value of the event.
    Event,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Relation {
    fn of(cmp: Cmp) -> Self {
        match cmp {
            Cmp::Lt => Self::Less,
            Cmp::Le => Self::AtMost,
            Cmp::Gt => Self::Greater,
            Cmp::Ge => Self::AtLeast,
            Cmp::Eq => Self::Equal,
            Cmp::Ne => Self::Unequal,
        }
    }

    /// The same with the sides exchanged.
    fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Greater => Self::Less,
            Self::AtLeast => Self::AtMost,
            Self::Equal | Self::Unequal => self,
        }
    }

    /// What holds where this does not.
    fn negated(self) -> Self {
        match self {
            Self::Less => Self::AtLeast,
            Self::AtMost => Self::Greater,
            Self::Greater => Self::AtMost,
            Self::AtLeast => Self::Less,
            Self::Equal => Self::Unequal,
            Self::Unequal => Self::Equal,
        }
    }
}

/// What must be true for `expr` to be true, or, `negated`, for it to be false. Where it is neither, for want of data, it is
/// not met, and none of this is said of it.
pub(super) fn of(expr: &BoolExpr, reads: &[Read], negated: bool) -> Logic {
    let each = |members: &[BoolExpr]| members.iter().map(|member| of(member, reads, negated)).collect();
    match expr {
        BoolExpr::Const(value) if *value != negated => Logic::All(Vec::new()),
        BoolExpr::Const(_) => Logic::Any(Vec::new()),
        BoolExpr::Not(inner) => of(inner, reads, !negated),
        BoolExpr::And(members) if negated => Logic::Any(each(members)),
        BoolExpr::And(members) => Logic::All(each(members)),
        BoolExpr::Or(members) if negated => Logic::All(each(members)),
        BoolExpr::Or(members) => Logic::Any(each(members)),
        BoolExpr::Double(cmp, sides) => compare(
            *cmp,
            (term(&sides.0, reads), number(&sides.0)),
            (term(&sides.1, reads), number(&sides.1)),
            negated,
        ),
        BoolExpr::Any(cmp, sides) => compare(*cmp, side(&sides.0, reads), side(&sides.1, reads), negated),
        BoolExpr::Int(..)
        | BoolExpr::Text(..)
        | BoolExpr::Part(..)
        | BoolExpr::Matches(_)
        | BoolExpr::InTexts(_)
        | BoolExpr::InList(_)
        | BoolExpr::InMap(_)
        | BoolExpr::Has(_)
        | BoolExpr::Absent(_)
        | BoolExpr::AbsentOver(_)
        | BoolExpr::Quantifier(_)
        | BoolExpr::If(_)
        | BoolExpr::Load(_) => Logic::Opaque,
    }
}

type Side = (Option<Term>, Option<f64>);

fn compare(cmp: Cmp, left: Side, right: Side, negated: bool) -> Logic {
    let relation = if negated { Relation::of(cmp).negated() } else { Relation::of(cmp) };
    match (left, right) {
        ((Some(term), _), (_, Some(number))) => Logic::Compare(term, relation, number),
        ((_, Some(number)), (Some(term), _)) => Logic::Compare(term, relation.turned(), number),
        _ => Logic::Opaque,
    }
}

fn side(expr: &Expr, reads: &[Read]) -> Side {
    match expr {
        Expr::Double(value) => (term(value, reads), number(value)),
        Expr::Int(IntExpr::Const(value)) => (None, exact(*value)),
        Expr::Null
        | Expr::Bool(_)
        | Expr::Int(_)
        | Expr::Uint(_)
        | Expr::Text(_)
        | Expr::List(_)
        | Expr::Map(_) => (None, None),
    }
}

/// A whole number that is the same as a double.
fn exact(value: i64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^52")]
    (value.unsigned_abs() < 1 << 52).then_some(value as f64)
}

fn number(expr: &DoubleExpr) -> Option<f64> {
    let number = match expr {
        DoubleExpr::Const(value) => *value,
        DoubleExpr::Neg(inner) => -number(inner)?,
        DoubleExpr::MetricValue
        | DoubleExpr::Series(..)
        | DoubleExpr::Window(_)
        | DoubleExpr::Math(..)
        | DoubleExpr::From(_)
        | DoubleExpr::If(_)
        | DoubleExpr::Load(_) => return None,
    };
    Some(number).filter(|number| !number.is_nan())
}

fn term(expr: &DoubleExpr, reads: &[Read]) -> Option<Term> {
    match expr {
        DoubleExpr::MetricValue => Some(Term::Event),
        DoubleExpr::Series(stat, at) => {
            let read = reads.get(at.index())?.clone();
            Some(match stat {
                Stat::Last => Term::Last(read),
                Stat::Highest => Term::Highest(read),
                Stat::Lowest => Term::Lowest(read),
            })
        }
        DoubleExpr::Window(window) => Some(Term::Window((**window).clone())),
        DoubleExpr::Const(_)
        | DoubleExpr::Neg(_)
        | DoubleExpr::Math(..)
        | DoubleExpr::From(_)
        | DoubleExpr::If(_)
        | DoubleExpr::Load(_) => None,
    }
}
