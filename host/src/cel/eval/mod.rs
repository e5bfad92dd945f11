//! Evaluates the typed tree against a [`Scope`].
//!
//! No recursion beyond the tree's bounded depth, no allocation except for texts an expression itself builds, and a
//! fixed budget. Called by [`Program::eval`](super::Program::eval) only.

mod numbers;
mod values;

use super::error::{ErrorKind, EvalError};
use super::scope::{Labels, MetricView, ReadIx, Scope};
use super::tree::{BoolExpr, Choice, Cmp, Expr, IntExpr, Load, Owner, Part, Stat, TextExpr};
use super::windows::Window;
pub(super) use numbers::int_as_double;
use regex::Regex;
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
            BoolExpr::Int(cmp, sides) => self.compare_ints(*cmp, &sides.0, &sides.1),
            BoolExpr::Text(cmp, sides) => Ok(cmp.holds_for(self.text(&sides.0)?, self.text(&sides.1)?)),
            BoolExpr::Any(cmp, sides) => self.compare(*cmp, &sides.0, &sides.1),
            BoolExpr::Part(place, sides) => self.look_in(&sides.0, *place, &sides.1),
            BoolExpr::Matches(sides) => self.matches(&sides.0, &sides.1),
            BoolExpr::InTexts(sides) => self.in_texts(&sides.0, &sides.1),
            BoolExpr::InList(sides) => self.in_list(&sides.0, &sides.1),
            BoolExpr::InMap(sides) => self.in_map(&sides.0, &sides.1),
            BoolExpr::Has(sides) => self.has(&sides.0, &sides.1),
            BoolExpr::Absent(read) => Ok(self.scope.last(*read).is_none()),
            BoolExpr::AbsentOver(window) => Ok(self.window(window)? != 0.0),
            BoolExpr::Quantifier(quantifier) => self.quantifier(quantifier),
            BoolExpr::If(choice) => self.bool(self.choose(choice)?),
            BoolExpr::Load(load) => self.load_bool(load),
        }
    }

    // What follows is kept out of `bool`, so that the terms most rules consist of run in a small frame.

    #[inline(never)]
    fn load_bool(&self, load: &'a Load) -> Result<bool, EvalError> {
        let Value::Bool(value) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
        Ok(value)
    }

    #[inline(never)]
    fn compare_ints(&self, cmp: Cmp, left: &'a IntExpr, right: &'a IntExpr) -> Result<bool, EvalError> {
        Ok(cmp.holds(self.int(left)?.cmp(&self.int(right)?)))
    }

    #[inline(never)]
    fn look_in(&self, text: &'a TextExpr, place: Part, wanted: &'a TextExpr) -> Result<bool, EvalError> {
        let (text, wanted) = (self.text(text)?, self.text(wanted)?);
        Ok(match place {
            Part::Start => text.starts_with(wanted),
            Part::End => text.ends_with(wanted),
            Part::Any => text.contains(wanted),
        })
    }

    #[inline(never)]
    fn matches(&self, text: &'a TextExpr, pattern: &Regex) -> Result<bool, EvalError> {
        Ok(pattern.is_match(self.text(text)?))
    }

    #[inline(never)]
    fn in_texts(&self, needle: &'a TextExpr, texts: &[Box<str>]) -> Result<bool, EvalError> {
        let needle = self.text(needle)?;
        Ok(texts.iter().any(|text| **text == *needle))
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

    #[inline(never)]
    fn window(&self, window: &Window) -> Result<f64, EvalError> {
        self.scope.window(window).ok_or(EvalError::NoData)
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

    #[inline]
    fn text(&self, expr: &'a TextExpr) -> Result<&'a str, EvalError> {
        match expr {
            TextExpr::Const(text) => Ok(text),
            TextExpr::MetricName => Ok(self.metric()?.name),
            TextExpr::TargetName => Ok(self.scope.target().name),
            TextExpr::TargetKind => Ok(self.scope.target().kind),
            TextExpr::TargetNamespace => Ok(self.scope.target().namespace),
            TextExpr::Label(owner, key) => self.labels(*owner)?.get(key).ok_or(ErrorKind::NoSuchKey.into()),
            TextExpr::Join(slot, sides) => self.join(*slot, &sides.0, &sides.1),
            TextExpr::Format(slot, inner) => self.format(*slot, inner),
            TextExpr::If(choice) => self.text_if(choice),
            TextExpr::Load(load) => self.load_text(load),
        }
    }

    #[inline(never)]
    fn text_if(&self, choice: &'a Choice<TextExpr>) -> Result<&'a str, EvalError> {
        self.text(self.choose(choice)?)
    }

    #[inline(never)]
    fn load_text(&self, load: &'a Load) -> Result<&'a str, EvalError> {
        let Value::Text(text) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
        Ok(text)
    }

    #[inline(never)]
    fn join(&self, slot: usize, left: &'a TextExpr, right: &'a TextExpr) -> Result<&'a str, EvalError> {
        let (left, right) = (self.text(left)?, self.text(right)?);
        self.keep(slot, || [left, right].concat())
    }

    fn keep(&self, slot: usize, build: impl FnOnce() -> String) -> Result<&'a str, EvalError> {
        let texts: &'a [OnceCell<String>] = self.texts;
        let cell = texts.get(slot).ok_or(ErrorKind::Internal)?;
        Ok(cell.get_or_init(build))
    }

    #[inline(never)]
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
#[inline]
fn compare_doubles(cmp: Cmp, left: f64, right: f64) -> Result<bool, EvalError> {
    let holds = match cmp {
        Cmp::Eq => return Ok(left.partial_cmp(&right) == Some(Ordering::Equal)),
        Cmp::Ne => return Ok(left.partial_cmp(&right) != Some(Ordering::Equal)),
        Cmp::Lt => left < right,
        Cmp::Le => left <= right,
        Cmp::Gt => left > right,
        Cmp::Ge => left >= right,
    };
    if !holds && (left.is_nan() || right.is_nan()) {
        return Err(ErrorKind::NotANumber.into());
    }
    Ok(holds)
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
