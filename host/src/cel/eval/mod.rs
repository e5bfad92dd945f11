//! Evaluates the typed tree against a [`Scope`].
//!
//! No recursion beyond the tree's bounded depth, no allocation except for texts an expression itself builds, and a
//! fixed budget. Called by [`Program::eval`](super::Program::eval) only.

mod numbers;
mod values;

use super::error::{ErrorKind, EvalError};
use super::scope::{Labels, MetricView, ReadIx, Scope};
use super::tree::{BoolExpr, Choice, Cmp, Expr, Owner, Stat, TextExpr};
pub(super) use numbers::int_as_double;
use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;
use values::Value;

/// The budget of one evaluation, in node visits inside loops. What is outside a loop is bounded by the text.
pub(super) const FUEL: u32 = 10_000;

/// How deep macros may be nested, and so how many variables are live at once.
pub(super) const MAX_VARS: usize = 2;

/// How many texts one expression may build.
pub(super) const MAX_TEXTS: usize = 8;

/// One evaluation.
pub(super) struct Run<'a, S> {
    scope: &'a S,
    vars: [Cell<Value<'a>>; MAX_VARS],
    fuel: Cell<u32>,
    /// Where texts that the expression builds live. Each belongs to one node outside of every macro, so its value
    /// cannot change during the evaluation.
    texts: &'a [OnceCell<String>],
}

impl<'a, S: Scope> Run<'a, S> {
    pub(super) fn new(scope: &'a S, texts: &'a [OnceCell<String>]) -> Self {
        Self { scope, vars: [const { Cell::new(Value::Null) }; MAX_VARS], fuel: Cell::new(FUEL), texts }
    }

    /// Pays for work that the text alone does not bound.
    fn charge(&self, steps: usize) -> Result<(), EvalError> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let left = self.fuel.get().checked_sub(steps).ok_or(EvalError::OutOfFuel)?;
        self.fuel.set(left);
        Ok(())
    }

    pub(super) fn bool(&self, expr: &'a BoolExpr) -> Result<bool, EvalError> {
        match expr {
            BoolExpr::Const(value) => Ok(*value),
            BoolExpr::Not(inner) => Ok(!self.bool(inner)?),
            BoolExpr::And(terms) => self.terms(terms, false),
            BoolExpr::Or(terms) => self.terms(terms, true),
            BoolExpr::Double(cmp, sides) => {
                compare_doubles(*cmp, self.double(&sides.0)?, self.double(&sides.1)?)
            }
            BoolExpr::Int(cmp, sides) => Ok(cmp.holds(self.int(&sides.0)?.cmp(&self.int(&sides.1)?))),
            BoolExpr::Text(cmp, sides) => Ok(cmp.holds_for(self.text(&sides.0)?, self.text(&sides.1)?)),
            BoolExpr::Any(cmp, sides) => self.compare(*cmp, &sides.0, &sides.1),
            BoolExpr::StartsWith(sides) => Ok(self.text(&sides.0)?.starts_with(self.text(&sides.1)?)),
            BoolExpr::EndsWith(sides) => Ok(self.text(&sides.0)?.ends_with(self.text(&sides.1)?)),
            BoolExpr::Contains(sides) => Ok(self.text(&sides.0)?.contains(self.text(&sides.1)?)),
            BoolExpr::Matches(sides) => Ok(sides.1.is_match(self.text(&sides.0)?)),
            BoolExpr::InTexts(sides) => {
                let needle = self.text(&sides.0)?;
                Ok(sides.1.iter().any(|item| **item == *needle))
            }
            BoolExpr::InList(sides) => self.in_list(&sides.0, &sides.1),
            BoolExpr::InMap(sides) => self.in_map(&sides.0, &sides.1),
            BoolExpr::Has(sides) => self.has(&sides.0, &sides.1),
            BoolExpr::Absent(read) => Ok(self.scope.last(*read).is_none()),
            BoolExpr::Quantifier(quantifier) => self.quantifier(quantifier),
            BoolExpr::If(choice) => self.bool(self.choose(choice)?),
            BoolExpr::Load(load) => {
                let Value::Bool(value) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
                Ok(value)
            }
        }
    }

    /// `&&` (decided by false) and `||` (decided by true): a term that decides wins over errors of the others, in any
    /// order; without one the first error stands.
    fn terms(&self, terms: &'a [BoolExpr], decides: bool) -> Result<bool, EvalError> {
        let mut failed = None;
        for term in terms {
            match self.bool(term) {
                Ok(value) if value == decides => return Ok(decides),
                Ok(_) => {}
                Err(error) => keep_first(&mut failed, error)?,
            }
        }
        failed.map_or(Ok(!decides), Err)
    }

    fn choose<T>(&self, choice: &'a Choice<T>) -> Result<&'a T, EvalError> {
        Ok(if self.bool(&choice.test)? { &choice.yes } else { &choice.no })
    }

    fn series(&self, stat: Stat, read: ReadIx) -> Result<f64, EvalError> {
        let value = match stat {
            Stat::Last => self.scope.last(read),
            Stat::Highest => self.scope.highest(read),
            Stat::Lowest => self.scope.lowest(read),
        };
        value.ok_or(EvalError::NoData)
    }

    fn metric(&self) -> Result<MetricView<'a, S::Labels>, EvalError> {
        self.scope.metric().ok_or(EvalError::NoData)
    }

    fn labels(&self, owner: Owner) -> Result<&'a S::Labels, EvalError> {
        match owner {
            Owner::Metric => Ok(self.metric()?.tags),
            Owner::Target => Ok(self.scope.target().labels),
        }
    }

    fn text(&self, expr: &'a TextExpr) -> Result<&'a str, EvalError> {
        match expr {
            TextExpr::Const(text) => Ok(text),
            TextExpr::MetricName => Ok(self.metric()?.name),
            TextExpr::TargetName => Ok(self.scope.target().name),
            TextExpr::TargetKind => Ok(self.scope.target().kind),
            TextExpr::TargetNamespace => Ok(self.scope.target().namespace),
            TextExpr::Label(owner, key) => self.labels(*owner)?.get(key).ok_or(ErrorKind::NoSuchKey.into()),
            TextExpr::Join(slot, sides) => {
                let (left, right) = (self.text(&sides.0)?, self.text(&sides.1)?);
                self.keep(*slot, || [left, right].concat())
            }
            TextExpr::Format(slot, inner) => self.format(*slot, inner),
            TextExpr::If(choice) => self.text(self.choose(choice)?),
            TextExpr::Load(load) => {
                let Value::Text(text) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
                Ok(text)
            }
        }
    }

    fn keep(&self, slot: usize, build: impl FnOnce() -> String) -> Result<&'a str, EvalError> {
        let texts: &'a [OnceCell<String>] = self.texts;
        let cell = texts.get(slot).ok_or(ErrorKind::Internal)?;
        Ok(cell.get_or_init(build))
    }

    fn format(&self, slot: usize, expr: &'a Expr) -> Result<&'a str, EvalError> {
        match self.value(expr)? {
            Value::Bool(value) => Ok(if value { "true" } else { "false" }),
            Value::Int(value) => self.keep(slot, || value.to_string()),
            Value::Uint(value) => self.keep(slot, || value.to_string()),
            Value::Double(value) => self.keep(slot, || value.to_string()),
            Value::Text(text) => Ok(text),
            Value::Null | Value::List(_) | Value::Map(_) => Err(ErrorKind::Internal.into()),
        }
    }
}

/// Remembers the first error of several operands; running out of fuel ends the evaluation at once.
fn keep_first(first: &mut Option<EvalError>, error: EvalError) -> Result<(), EvalError> {
    if error == EvalError::OutOfFuel {
        return Err(error);
    }
    first.get_or_insert(error);
    Ok(())
}

/// Equality follows IEEE 754 (NaN equals nothing), order refuses NaN: a rule must not be decided by a value that is
/// not a number, in either direction.
fn compare_doubles(cmp: Cmp, left: f64, right: f64) -> Result<bool, EvalError> {
    match (left.partial_cmp(&right), cmp) {
        (Some(order), _) => Ok(cmp.holds(order)),
        (None, Cmp::Eq) => Ok(false),
        (None, Cmp::Ne) => Ok(true),
        (None, Cmp::Lt | Cmp::Le | Cmp::Gt | Cmp::Ge) => Err(ErrorKind::NotANumber.into()),
    }
}

impl Cmp {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }

    /// As `holds`; equality of texts compares lengths first.
    fn holds_for(self, left: &str, right: &str) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt | Self::Le | Self::Gt | Self::Ge => self.holds(left.cmp(right)),
        }
    }
}
