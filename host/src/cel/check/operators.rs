//! Operators: logic, comparison, `in`, arithmetic, the conditional.

use super::{Budget, Checker, Typed, Weighed, Weight};
use crate::cel::eval::{MAX_TEXTS, int_as_double};
use crate::cel::tree::{
    BoolExpr, Choice, Cmp, DoubleExpr, Expr, IntExpr, ListExpr, MapExpr, Math, TextExpr, UintExpr,
};
use crate::cel::types::Ty;
use crate::domain::spelling::did_you_mean;
use cel::common::ast::{CallExpr, Expr as Ast, IdedExpr, operators};

impl<'c> Checker<'c, '_> {
    /// Any call; operators are calls with odd names.
    pub(super) fn call(&mut self, e: &'c IdedExpr, call: &'c CallExpr) -> Option<Typed> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [_, _]) => self.logic(e, operators::LOGICAL_AND),
            (operators::LOGICAL_OR, [_, _]) => self.logic(e, operators::LOGICAL_OR),
            (operators::LOGICAL_NOT, [inner]) => {
                let (inner, weight) = self.bool(inner, "`!`")?;
                Some(bool_node(BoolExpr::Not(Box::new(inner)), weight))
            }
            (operators::NEGATE, [inner]) => self.negate(e, inner),
            (operators::CONDITIONAL, [test, yes, no]) => self.conditional(e, test, yes, no),
            (operators::IN, [needle, hay]) => self.contained(e, needle, hay),
            (operators::INDEX, [of, key]) => {
                let (of, key) = (self.expr(of), self.expr(key));
                self.item(e, of?, key?)
            }
            (name, [left, right]) if call.target.is_none() => match (cmp_of(name), math_of(name)) {
                (Some((cmp, sign)), _) => self.comparison(e, cmp, sign, left, right),
                (None, Some((math, sign))) => self.math(e, math, sign, left, right),
                (None, None) => self.function(e, call),
            },
            _ => self.function(e, call),
        }
    }

    /// `a && b && …`, flattened: the parser balances a chain into a tree, we want its terms.
    fn logic(&mut self, e: &'c IdedExpr, operator: &'static str) -> Option<Typed> {
        let mut terms = Vec::new();
        let mut open = vec![e];
        let mut weight = Weight::ONE;
        let mut whole = true;
        while let Some(expr) = open.pop() {
            if let Ast::Call(call) = &expr.expr
                && call.func_name == operator
                && let [left, right] = call.args.as_slice()
            {
                open.extend([right, left]);
                continue;
            }
            let sign = if operator == operators::LOGICAL_AND { "`&&`" } else { "`||`" };
            match self.bool(expr, sign) {
                Some((term, more)) => {
                    weight = weight.and(more);
                    terms.push(term);
                }
                None => whole = false,
            }
        }
        let terms = terms.into();
        let expr =
            if operator == operators::LOGICAL_AND { BoolExpr::And(terms) } else { BoolExpr::Or(terms) };
        whole.then(|| bool_node(expr, weight))
    }

    fn negate(&mut self, e: &IdedExpr, inner: &'c IdedExpr) -> Option<Typed> {
        let inner = self.expr(inner)?;
        let expr = match inner.expr {
            Expr::Int(value) => Expr::Int(IntExpr::Neg(Box::new(value))),
            Expr::Double(value) => Expr::Double(DoubleExpr::Neg(Box::new(value))),
            Expr::Null | Expr::Bool(_) | Expr::Uint(_) | Expr::Text(_) | Expr::List(_) | Expr::Map(_) => {
                return self.refuse(e, format!("`-` needs an int or a double, this is a {}", inner.ty));
            }
        };
        Some(Typed { expr, ty: inner.ty, weight: inner.weight.and(Weight::ONE) })
    }

    fn conditional(
        &mut self,
        e: &IdedExpr,
        test: &'c IdedExpr,
        yes: &'c IdedExpr,
        no: &'c IdedExpr,
    ) -> Option<Typed> {
        let (test, yes, no) = (self.bool(test, "`?:`"), self.expr(yes), self.expr(no));
        let ((test, weight), yes, no) = (test?, yes?, no?);
        let weight = weight.and(yes.weight).and(no.weight).and(Weight::ONE);
        let Some(ty) = yes.ty.join(&no.ty) else {
            let message =
                format!("both branches of `?:` must have one type; these are {} and {}", yes.ty, no.ty);
            return self.refuse(e, message);
        };
        let expr = match (yes.expr, no.expr) {
            (Expr::Null, _) => Expr::Null,
            (Expr::Bool(yes), Expr::Bool(no)) => Expr::Bool(BoolExpr::If(Box::new(Choice { test, yes, no }))),
            (Expr::Int(yes), Expr::Int(no)) => Expr::Int(IntExpr::If(Box::new(Choice { test, yes, no }))),
            (Expr::Uint(yes), Expr::Uint(no)) => Expr::Uint(UintExpr::If(Box::new(Choice { test, yes, no }))),
            (Expr::Double(yes), Expr::Double(no)) => {
                Expr::Double(DoubleExpr::If(Box::new(Choice { test, yes, no })))
            }
            (Expr::Text(yes), Expr::Text(no)) => Expr::Text(TextExpr::If(Box::new(Choice { test, yes, no }))),
            (Expr::List(yes), Expr::List(no)) => Expr::List(ListExpr::If(Box::new(Choice { test, yes, no }))),
            (Expr::Map(yes), Expr::Map(no)) => Expr::Map(MapExpr::If(Box::new(Choice { test, yes, no }))),
            // Types that join have one kind of expression.
            _ => return self.refuse(e, "both branches of `?:` must have one type"),
        };
        Some(Typed { expr, ty, weight })
    }

    fn comparison(
        &mut self,
        e: &IdedExpr,
        cmp: Cmp,
        sign: &str,
        left: &'c IdedExpr,
        right: &'c IdedExpr,
    ) -> Option<Typed> {
        let (left, right) = (self.expr(left), self.expr(right));
        let (left, right) = (left?, right?);
        let equality = matches!(cmp, Cmp::Eq | Cmp::Ne);
        if !left.ty.comparable(&right.ty) {
            let hint = match (&left.ty, &right.ty) {
                (_, Ty::Null) | (Ty::Null, _) => "; nothing here is ever null, test a tag with has()",
                (Ty::Text, other) | (other, Ty::Text) if other.is_number() => {
                    "; convert one with double() or string()"
                }
                _ => "",
            };
            let message = format!("`{sign}` cannot compare a {} with a {}{hint}", left.ty, right.ty);
            return self.refuse(e, message);
        }
        if !equality && !left.ty.is_ordered() {
            return self.refuse(e, format!("a {} has no order; only `==` and `!=` work", left.ty));
        }
        let weight = left.weight.and(right.weight).and(Weight::ONE);
        let expr = match (left.expr, right.expr) {
            (Expr::Double(a), Expr::Double(b)) => BoolExpr::Double(cmp, Box::new((a, b))),
            (Expr::Double(a), Expr::Int(IntExpr::Const(b))) => {
                BoolExpr::Double(cmp, Box::new((a, DoubleExpr::Const(int_as_double(b)))))
            }
            (Expr::Int(IntExpr::Const(a)), Expr::Double(b)) => {
                BoolExpr::Double(cmp, Box::new((DoubleExpr::Const(int_as_double(a)), b)))
            }
            (Expr::Int(a), Expr::Int(b)) => BoolExpr::Int(cmp, Box::new((a, b))),
            (Expr::Text(a), Expr::Text(b)) => BoolExpr::Text(cmp, Box::new((a, b))),
            (a, b) => BoolExpr::Any(cmp, Box::new((a, b))),
        };
        Some(bool_node(expr, weight))
    }

    fn contained(&mut self, e: &IdedExpr, needle: &'c IdedExpr, hay: &'c IdedExpr) -> Option<Typed> {
        let (needle, hay) = (self.expr(needle), self.expr(hay));
        let (needle, hay) = (needle?, hay?);
        let weight = needle.weight.and(hay.weight).and(Weight::ONE);
        let wanted = match &hay.ty {
            Ty::List(item) => item.as_deref(),
            Ty::Map(entry) => entry.as_ref().map(|entry| &entry.0),
            Ty::Null | Ty::Bool | Ty::Int | Ty::Uint | Ty::Double | Ty::Text => {
                let hint =
                    if hay.ty == Ty::Text { "; for a part of a text write text.contains(part)" } else { "" };
                return self.refuse(
                    e,
                    format!("`in` needs a list or a map on its right, this is a {}{hint}", hay.ty),
                );
            }
        };
        if let Some(wanted) = wanted
            && !wanted.comparable(&needle.ty)
        {
            let message =
                format!("`in` looks for a {} where there are only values of type {wanted}", needle.ty);
            return self.refuse(e, message);
        }
        let expr = match (needle.expr, hay.expr) {
            (Expr::Text(needle), Expr::List(list)) => match literal_texts(&list) {
                Some(texts) => BoolExpr::InTexts(Box::new((needle, texts))),
                None => BoolExpr::InList(Box::new((Expr::Text(needle), list))),
            },
            (needle, Expr::List(list)) => BoolExpr::InList(Box::new((needle, list))),
            (needle, Expr::Map(map)) => BoolExpr::InMap(Box::new((needle, map))),
            _ => return self.refuse(e, "`in` needs a list or a map on its right"),
        };
        Some(bool_node(expr, weight))
    }

    fn math(
        &mut self,
        e: &IdedExpr,
        math: Math,
        sign: &str,
        left: &'c IdedExpr,
        right: &'c IdedExpr,
    ) -> Option<Typed> {
        let (left, right) = (self.expr(left), self.expr(right));
        let (left, right) = (left?, right?);
        let weight = left.weight.and(right.weight).and(Weight::ONE);
        let (expr, ty) = match (left.expr, right.expr) {
            (Expr::Int(a), Expr::Int(b)) => (Expr::Int(IntExpr::Math(math, Box::new((a, b)))), Ty::Int),
            (Expr::Uint(a), Expr::Uint(b)) => (Expr::Uint(UintExpr::Math(math, Box::new((a, b)))), Ty::Uint),
            (Expr::Double(a), Expr::Double(b)) if math != Math::Rem => {
                (Expr::Double(DoubleExpr::Math(math, Box::new((a, b)))), Ty::Double)
            }
            (Expr::Text(a), Expr::Text(b)) if math == Math::Add => {
                let slot = self.text_slot(e)?;
                (Expr::Text(TextExpr::Join(slot, Box::new((a, b)))), Ty::Text)
            }
            _ => {
                let hint = math_hint(math, &left.ty, &right.ty);
                return self
                    .refuse(e, format!("`{sign}` has no meaning for {} and {}{hint}", left.ty, right.ty));
            }
        };
        Some(Typed { expr, ty, weight })
    }

    /// A place for a text that is built at run time; not in macros, where texts could grow with every round.
    pub(super) fn text_slot(&mut self, e: &IdedExpr) -> Option<usize> {
        if !self.vars.is_empty() {
            return self.refuse(e, "texts cannot be built inside a macro; compare the parts instead");
        }
        let Budget { texts, .. } = self.budget;
        if *texts == MAX_TEXTS {
            return self.refuse(e, format!("at most {MAX_TEXTS} texts can be built in one condition"));
        }
        *texts += 1;
        Some(*texts - 1)
    }

    /// A function that is none: what else could be meant.
    pub(super) fn unknown_function(&mut self, e: &IdedExpr, name: &str, known: &[&str]) -> Option<Typed> {
        let hint = did_you_mean(name, known.iter().copied());
        let hint = if hint.is_empty() { format!("; there are {}", known.join(", ")) } else { hint };
        self.refuse_at(self.parsed.name_before(e, name), format!("unknown function `{name}`{hint}"))
    }
}

pub(super) fn bool_node(expr: BoolExpr, weight: Weight) -> Typed {
    Typed { expr: Expr::Bool(expr), ty: Ty::Bool, weight: weight.and(Weight::ONE) }
}

/// Both sides of a text function, weighed together.
pub(super) fn pair<A, B>(left: Weighed<A>, right: Weighed<B>) -> Weighed<Box<(A, B)>> {
    (Box::new((left.0, right.0)), left.1.and(right.1))
}

fn math_hint(math: Math, left: &Ty, right: &Ty) -> &'static str {
    match (left, right) {
        (Ty::Double, Ty::Double) if math == Math::Rem => "; CEL has a remainder of integers only",
        (Ty::Double, Ty::Int) | (Ty::Int, Ty::Double) => {
            "; write whole numbers as 2.0, or convert with double()"
        }
        (left, right) if left.is_number() && right.is_number() => {
            "; convert one with int(), uint() or double()"
        }
        (Ty::List(_), Ty::List(_)) => "; lists cannot be joined in conditions",
        _ => "",
    }
}

fn literal_texts(list: &ListExpr) -> Option<Box<[Box<str>]>> {
    let ListExpr::Literal(list) = list else { return None };
    let text = |item: &Expr| match item {
        Expr::Text(TextExpr::Const(text)) => Some(text.clone()),
        Expr::Text(_)
        | Expr::Null
        | Expr::Bool(_)
        | Expr::Int(_)
        | Expr::Uint(_)
        | Expr::Double(_)
        | Expr::List(_)
        | Expr::Map(_) => None,
    };
    list.items.iter().map(text).collect()
}

fn cmp_of(operator: &str) -> Option<(Cmp, &'static str)> {
    match operator {
        operators::EQUALS => Some((Cmp::Eq, "==")),
        operators::NOT_EQUALS => Some((Cmp::Ne, "!=")),
        operators::LESS => Some((Cmp::Lt, "<")),
        operators::LESS_EQUALS => Some((Cmp::Le, "<=")),
        operators::GREATER => Some((Cmp::Gt, ">")),
        operators::GREATER_EQUALS => Some((Cmp::Ge, ">=")),
        _ => None,
    }
}

fn math_of(operator: &str) -> Option<(Math, &'static str)> {
    match operator {
        operators::ADD => Some((Math::Add, "+")),
        operators::SUBSTRACT => Some((Math::Sub, "-")),
        operators::MULTIPLY => Some((Math::Mul, "*")),
        operators::DIVIDE => Some((Math::Div, "/")),
        operators::MODULO => Some((Math::Rem, "%")),
        _ => None,
    }
}
