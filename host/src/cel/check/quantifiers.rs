//! The macros `all`, `exists` and `exists_one`, which bind a variable.

use super::calls::probable_rounds;
use super::operators::bool_node;
use super::{Checker, Typed, Var, Weight};
use crate::cel::eval::MAX_VARS;
use crate::cel::tree::{BoolExpr, Expr, Quantifier, QuantifierKind, Range};
use crate::cel::types::Ty;
use cel::common::ast::{Expr as Ast, IdedExpr};

impl<'c> Checker<'c, '_> {
    pub(super) fn quantifier(
        &mut self,
        e: &'c IdedExpr,
        name: &str,
        of: &'c IdedExpr,
        var: &'c IdedExpr,
        test: &'c IdedExpr,
    ) -> Option<Typed> {
        let over = self.expr(of)?;
        let rounds = probable_rounds(&over.expr);
        let (range, ty) = match (over.expr, over.ty) {
            (Expr::List(list), Ty::List(Some(item))) => (Range::List(list), *item),
            (Expr::Map(map), Ty::Map(Some(entry))) => (Range::Map(map), entry.0),
            (_, Ty::List(None) | Ty::Map(None)) => {
                return self.refuse_at(
                    self.parsed.start(of),
                    format!("{name}() over nothing; the literal is empty"),
                );
            }
            (_, other) => return self.mismatch(of, &format!("{name}()"), "a list or a map", &other),
        };
        let slot = self.bind(e, var, ty)?;
        let checked = self.bool(test, &format!("{name}()"));
        self.vars.pop();
        let (test, step) = checked?;
        let weight =
            over.weight.and(Weight { nodes: step.nodes, visits: step.visits.saturating_mul(rounds) });
        let kind = match name {
            "all" => QuantifierKind::All,
            "exists" => QuantifierKind::Exists,
            _ => QuantifierKind::ExistsOne,
        };
        let quantifier = Quantifier { kind, over: range, var: slot, test, step: step.nodes };
        Some(bool_node(BoolExpr::Quantifier(Box::new(quantifier)), weight))
    }

    /// Opens the scope of a macro's variable; answers where its value is kept.
    fn bind(&mut self, e: &IdedExpr, var: &'c IdedExpr, ty: Ty) -> Option<usize> {
        let at = self.parsed.start(var);
        let Ast::Ident(name) = &var.expr else {
            return self.refuse_at(at, "the first argument of a macro is the name of its variable");
        };
        if matches!(name.as_str(), "metric" | "target") || name.starts_with('.') {
            return self.refuse_at(at, format!("`{name}` cannot be the name of a variable; choose another"));
        }
        if self.vars.len() == MAX_VARS {
            let message = format!("macros can be nested {MAX_VARS} deep; split the rule");
            return self.refuse(e, message);
        }
        self.vars.push(Var { name, ty });
        Some(self.vars.len() - 1)
    }
}
