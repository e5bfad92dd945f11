//! From the parser's tree to the typed one: names, types and limits, with every complaint at its place.
//!
//! This is the schema of the module: what is not accepted here does not run. Called by `program` with a tree whose
//! depth is bounded, so it may recurse. An error is reported once, where it is found, and `None` travels upwards.

mod calls;
mod names;
mod operators;
mod quantifiers;

use super::error::{CompileError, MAX_ERRORS};
use super::parse::Parsed;
use super::reads::Read;
use super::tree::{BoolExpr, DoubleExpr, Expr, IntExpr, TextExpr, UintExpr};
use super::types::Ty;
use super::windows::Window;
use cel::common::ast::{Expr as Ast, IdedExpr, LiteralValue};
use std::sync::Arc;

/// What a whole program may use, over all members of a condition.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Texts that are built at run time.
    pub(super) texts: usize,
    /// Compiled patterns.
    pub(super) patterns: usize,
    /// Its windows, each once.
    pub(super) windows: Vec<Arc<Window>>,
    /// Estimated node visits.
    pub(super) cost: u32,
}

/// A checked expression.
struct Typed {
    expr: Expr,
    ty: Ty,
    weight: Weight,
}

/// How much a part costs: its nodes, and the visits of them when macros take the rounds they probably will.
#[derive(Clone, Copy)]
struct Weight {
    nodes: u32,
    visits: u32,
}

impl Weight {
    const ONE: Self = Self { nodes: 1, visits: 1 };

    fn and(self, other: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(other.nodes),
            visits: self.visits.saturating_add(other.visits),
        }
    }

    /// Items that can fail are evaluated when the literal is and again where one is used.
    fn twice(self) -> Self {
        Self { visits: self.visits.saturating_mul(2), ..self }
    }
}

/// A text expression, a list of anything and so on: what callers take out of a [`Typed`].
type Weighed<T> = (T, Weight);

struct Var<'c> {
    name: &'c str,
    ty: Ty,
}

/// Checks one expression.
pub(super) struct Checker<'c, 's> {
    parsed: &'c Parsed<'s>,
    reads: &'c [Read],
    budget: &'c mut Budget,
    errors: Vec<CompileError>,
    vars: Vec<Var<'c>>,
}

/// Checks a whole expression: its result must be a bool.
pub(super) fn check<'c>(
    parsed: &'c Parsed<'_>,
    reads: &'c [Read],
    budget: &'c mut Budget,
) -> Result<BoolExpr, Vec<CompileError>> {
    let mut checker = Checker { parsed, reads, budget, errors: Vec::new(), vars: Vec::new() };
    let root = checker.expr(&parsed.root);
    let mut errors = checker.errors;
    match root {
        Some(Typed { expr: Expr::Bool(expr), weight, .. }) if errors.is_empty() => {
            budget.cost = budget.cost.saturating_add(weight.visits);
            return Ok(expr);
        }
        Some(Typed { ty, .. }) if errors.is_empty() => {
            let message =
                format!("a condition must be true or false; this is a {ty}, compare it with something");
            errors.push(parsed.source.error(parsed.start(&parsed.root), message));
        }
        Some(_) | None => {}
    }
    errors.sort_by_key(|e| (e.line, e.column));
    errors.dedup();
    errors.truncate(MAX_ERRORS);
    Err(errors)
}

impl<'c> Checker<'c, '_> {
    fn expr(&mut self, e: &'c IdedExpr) -> Option<Typed> {
        match &e.expr {
            Ast::Literal(literal) => self.literal(e, literal),
            Ast::Ident(name) => self.ident(e, name),
            Ast::Select(select) => self.select(e, select),
            Ast::Call(call) => self.call(e, call),
            Ast::List(list) => self.list(e, list),
            Ast::Map(map) => self.map(e, map),
            Ast::Struct(_) => self.refuse(e, "messages are not supported in conditions"),
            // Neither is made by a parser without macros that reported no error.
            Ast::Comprehension(_) | Ast::Unspecified => self.refuse(e, "this is no valid expression"),
        }
    }

    fn literal(&mut self, e: &IdedExpr, literal: &LiteralValue) -> Option<Typed> {
        let (expr, ty) = match literal {
            LiteralValue::Boolean(value) => (Expr::Bool(BoolExpr::Const(*value.inner())), Ty::Bool),
            LiteralValue::Int(value) => (Expr::Int(IntExpr::Const(*value.inner())), Ty::Int),
            LiteralValue::UInt(value) => (Expr::Uint(UintExpr::Const(*value.inner())), Ty::Uint),
            LiteralValue::Double(value) => (Expr::Double(DoubleExpr::Const(*value.inner())), Ty::Double),
            LiteralValue::String(text) => (Expr::Text(TextExpr::Const(text.inner().into())), Ty::Text),
            LiteralValue::Null => (Expr::Null, Ty::Null),
            LiteralValue::Bytes(_) => {
                return self.refuse(e, "bytes are not supported; write the text without b");
            }
        };
        Some(Typed { expr, ty, weight: Weight::ONE })
    }

    /// A bool, or a complaint that names who wants one.
    fn bool(&mut self, e: &'c IdedExpr, who: &str) -> Option<Weighed<BoolExpr>> {
        match self.expr(e)? {
            Typed { expr: Expr::Bool(expr), weight, .. } => Some((expr, weight)),
            Typed { ty, .. } => self.mismatch(e, who, "a bool", &ty),
        }
    }

    /// A text, or a complaint that names who wants one.
    fn text(&mut self, e: &'c IdedExpr, who: &str) -> Option<Weighed<TextExpr>> {
        match self.expr(e)? {
            Typed { expr: Expr::Text(expr), weight, .. } => Some((expr, weight)),
            Typed { ty, .. } => self.mismatch(e, who, "a string", &ty),
        }
    }

    fn mismatch<T>(&mut self, e: &IdedExpr, who: &str, wanted: &str, found: &Ty) -> Option<T> {
        self.refuse_at(self.parsed.start(e), format!("{who} needs {wanted} here, this is a {found}"))
    }

    /// A complaint at the parser's place of a node.
    fn refuse<T>(&mut self, e: &IdedExpr, message: impl Into<String>) -> Option<T> {
        self.refuse_at(self.parsed.offset(e), message)
    }

    fn refuse_at<T>(&mut self, offset: usize, message: impl Into<String>) -> Option<T> {
        self.errors.push(self.parsed.source.error(offset, message));
        None
    }
}
