//! Functions: series, texts, sizes, conversions, and clear words for what does not exist (yet).

use super::operators::{bool_node, pair};
use super::{Checker, Typed, Weight};
use crate::cel::reads::{SERIES_FUNCTIONS, index_of, read_of};
use crate::cel::tree::{BoolExpr, DoubleExpr, Expr, IntExpr, MapExpr, Part, Stat, TextExpr, UintExpr};
use crate::cel::types::Ty;
use crate::cel::windows::{Function, WINDOWS, is_window, window_of};
use cel::common::ast::{CallExpr, Expr as Ast, IdedExpr};
use regex::{Regex, RegexBuilder};
use std::sync::Arc;

/// How many patterns one condition may hold.
const MAX_PATTERNS: usize = 8;

/// What a compiled pattern may take; large enough for some hundred letters with Unicode classes.
const PATTERN_BYTES: usize = 128 << 10;

/// What a window counts as among the visits of nodes: it is folded anew at each.
const WINDOW_VISITS: u32 = 200;

const FUNCTIONS: [&str; 10] =
    ["last", "highest", "lowest", "absent", "has", "size", "string", "int", "uint", "double"];

const METHODS: [&str; 8] =
    ["startsWith", "endsWith", "contains", "matches", "size", "all", "exists", "exists_one"];

impl<'c> Checker<'c, '_> {
    pub(super) fn function(&mut self, e: &'c IdedExpr, call: &'c CallExpr) -> Option<Typed> {
        let name = call.func_name.as_str();
        let Some(of) = &call.target else { return self.global(e, call) };
        match (name, call.args.as_slice()) {
            ("all" | "exists" | "exists_one" | "existsOne", [var, test]) => {
                self.quantifier(e, name, of, var, test)
            }
            ("startsWith" | "endsWith" | "contains", [part]) => self.text_test(name, of, part),
            ("matches", [pattern]) => self.matches(of, pattern),
            ("size", []) => self.size(of),
            ("map" | "filter", _) => {
                let message = format!("{name}() is not supported in conditions; use exists() or all()");
                self.refuse_at(self.parsed.name_before(e, name), message)
            }
            (known, _) if METHODS.contains(&known) => {
                let usage = match known {
                    "all" | "exists" | "exists_one" => "a name and a test, as in list.exists(x, x > 1)",
                    "size" => "no argument",
                    _ => "one string",
                };
                self.refuse_at(self.parsed.name_before(e, name), format!("{name}() takes {usage}"))
            }
            (known, _) if FUNCTIONS.contains(&known) || WINDOWS.contains(&known) => {
                let message = format!("{name}() is not called on a value; write {name}(..)");
                self.refuse_at(self.parsed.name_before(e, name), message)
            }
            _ => self.unknown_function(e, name, &METHODS),
        }
    }

    fn global(&mut self, e: &'c IdedExpr, call: &'c CallExpr) -> Option<Typed> {
        let name = call.func_name.as_str();
        let at = self.parsed.name_before(e, name);
        match (name, call.args.as_slice()) {
            _ if is_window(call) => self.window(e, call),
            (name, _) if SERIES_FUNCTIONS.contains(&name) => self.series(e, call),
            ("has", [of]) => self.has(e, of),
            ("size", [of]) => self.size(of),
            ("matches", [of, pattern]) => self.matches(of, pattern),
            ("string" | "int" | "uint" | "double", [of]) => self.convert(e, name, of),
            ("has" | "size" | "string" | "int" | "uint" | "double", _) => {
                self.refuse_at(at, format!("{name}() takes one value"))
            }
            ("duration", _) => {
                let message = "duration() is only for windows; write avg(\"metric\", duration(\"5m\"))";
                self.refuse_at(at, message)
            }
            ("timestamp", _) => self.refuse_at(at, "timestamp() is not supported yet"),
            ("bool" | "bytes" | "dyn" | "type", _) => {
                self.refuse_at(at, format!("{name}() is not supported in conditions"))
            }
            (known, _) if METHODS.contains(&known) => {
                self.refuse_at(at, format!("{name}() is called on a value; write value.{name}(..)"))
            }
            _ => {
                let known: Vec<&str> = FUNCTIONS.iter().chain(&WINDOWS).copied().collect();
                self.unknown_function(e, name, &known)
            }
        }
    }

    fn series(&mut self, e: &'c IdedExpr, call: &'c CallExpr) -> Option<Typed> {
        let read = match read_of(call) {
            Ok(read) => read,
            Err((Some(part), message)) => return self.refuse_at(self.parsed.start(part), message),
            Err((None, message)) => return self.refuse_at(self.parsed.start(e), message),
        };
        let Some(ix) = index_of(self.reads, &read) else {
            return self.refuse(e, "too many series in one condition");
        };
        let stat = match call.func_name.as_str() {
            "highest" => Stat::Highest,
            "lowest" => Stat::Lowest,
            "absent" => return Some(bool_node(BoolExpr::Absent(ix), Weight::ONE)),
            _ => Stat::Last,
        };
        Some(Typed { expr: Expr::Double(DoubleExpr::Series(stat, ix)), ty: Ty::Double, weight: Weight::ONE })
    }

    fn window(&mut self, e: &'c IdedExpr, call: &'c CallExpr) -> Option<Typed> {
        let window = match window_of(call) {
            Ok(window) => window,
            Err((Some(part), message)) => return self.refuse_at(self.parsed.start(part), message),
            Err((None, message)) => return self.refuse_at(self.parsed.start(e), message),
        };
        let known = self.budget.windows.iter().find(|known| ***known == window).cloned();
        let window = known.unwrap_or_else(|| {
            let window = Arc::new(window);
            self.budget.windows.push(Arc::clone(&window));
            window
        });
        let weight = Weight { nodes: 1, visits: WINDOW_VISITS };
        if window.function == Function::Absent {
            return Some(bool_node(BoolExpr::AbsentOver(window), weight));
        }
        Some(Typed { expr: Expr::Double(DoubleExpr::Window(window)), ty: Ty::Double, weight })
    }

    fn has(&mut self, e: &'c IdedExpr, of: &'c IdedExpr) -> Option<Typed> {
        let Ast::Select(select) = &of.expr else {
            return self
                .refuse_at(self.parsed.start(of), "has() needs a member, as in has(metric.tags.region)");
        };
        if let Ast::Ident(record) = &select.operand.expr
            && matches!(record.as_str(), "metric" | "target")
        {
            let message = format!("{record}.{} is always there; has() is for tags and labels", select.field);
            return self.refuse_at(self.parsed.start(of), message);
        }
        let map = self.expr(&select.operand)?;
        match (map.expr, map.ty) {
            (Expr::Map(map_expr), Ty::Map(Some(entry))) if entry.0 == Ty::Text => {
                let has = BoolExpr::Has(Box::new((map_expr, select.field.as_str().into())));
                Some(bool_node(has, map.weight))
            }
            (_, other) => self.refuse(e, format!("has() needs a map with string keys, this is a {other}")),
        }
    }

    fn size(&mut self, of: &'c IdedExpr) -> Option<Typed> {
        let value = self.expr(of)?;
        if !matches!(value.ty, Ty::Text | Ty::List(_) | Ty::Map(_)) {
            return self.mismatch(of, "size()", "a string, list or map", &value.ty);
        }
        let expr = Expr::Int(IntExpr::Size(Box::new(value.expr)));
        Some(Typed { expr, ty: Ty::Int, weight: value.weight.and(Weight::ONE) })
    }

    fn text_test(&mut self, name: &str, of: &'c IdedExpr, part: &'c IdedExpr) -> Option<Typed> {
        let who = format!("{name}()");
        let (of, part) = (self.text(of, &who), self.text(part, &who));
        let (sides, weight) = pair(of?, part?);
        let test = match name {
            "startsWith" => Part::Start,
            "endsWith" => Part::End,
            _ => Part::Any,
        };
        Some(bool_node(BoolExpr::Part(test, sides), weight))
    }

    fn matches(&mut self, of: &'c IdedExpr, pattern: &'c IdedExpr) -> Option<Typed> {
        let (text, regex) = (self.text(of, "matches()"), self.pattern(pattern));
        let ((text, weight), regex) = (text?, regex?);
        Some(bool_node(BoolExpr::Matches(Box::new((text, regex))), weight))
    }

    fn pattern(&mut self, e: &'c IdedExpr) -> Option<Regex> {
        let at = self.parsed.start(e);
        let Some(pattern) = crate::cel::reads::text_literal(e) else {
            return self.refuse_at(at, "the pattern of matches() must be a literal text");
        };
        if self.budget.patterns == MAX_PATTERNS {
            return self
                .refuse_at(at, format!("at most {MAX_PATTERNS} patterns are allowed in one condition"));
        }
        self.budget.patterns += 1;
        let built = RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(2 * PATTERN_BYTES)
            .nest_limit(16)
            .build();
        match built {
            Ok(regex) => Some(regex),
            Err(regex::Error::CompiledTooBig(_)) => {
                self.refuse_at(at, "the pattern is too large; use fewer or smaller repetitions")
            }
            Err(error) => {
                let text = error.to_string();
                let reason = text.rsplit("error: ").next().unwrap_or(&text).trim();
                self.refuse_at(at, format!("the pattern is not valid: {reason}"))
            }
        }
    }

    fn convert(&mut self, e: &'c IdedExpr, name: &str, of: &'c IdedExpr) -> Option<Typed> {
        let value = self.expr(of)?;
        let fits = value.ty.is_number() || value.ty == Ty::Text || (name == "string" && value.ty == Ty::Bool);
        if !fits {
            return self.mismatch(of, &format!("{name}()"), "a number or a string", &value.ty);
        }
        let weight = value.weight.and(Weight::ONE);
        let (expr, ty) = match (name, value.expr) {
            ("int", Expr::Int(inner)) => (Expr::Int(inner), Ty::Int),
            ("uint", Expr::Uint(inner)) => (Expr::Uint(inner), Ty::Uint),
            ("double", Expr::Double(inner)) => (Expr::Double(inner), Ty::Double),
            ("string", Expr::Text(inner)) => (Expr::Text(inner), Ty::Text),
            ("int", inner) => (Expr::Int(IntExpr::From(Box::new(inner))), Ty::Int),
            ("uint", inner) => (Expr::Uint(UintExpr::From(Box::new(inner))), Ty::Uint),
            ("double", inner) => (Expr::Double(DoubleExpr::From(Box::new(inner))), Ty::Double),
            (_, inner) => {
                let slot = self.text_slot(e)?;
                (Expr::Text(TextExpr::Format(slot, Box::new(inner))), Ty::Text)
            }
        };
        Some(Typed { expr, ty, weight })
    }
}

/// How many rounds a macro over this probably takes.
pub(super) fn probable_rounds(expr: &Expr) -> u32 {
    use crate::cel::tree::ListExpr;
    /// As many tags as a sender may attach; of a computed list as many items.
    const RUNTIME: u32 = 32;
    match expr {
        Expr::List(ListExpr::Literal(list)) => u32::try_from(list.items.len()).unwrap_or(u32::MAX),
        Expr::Map(MapExpr::Literal(map)) => u32::try_from(map.entries.len()).unwrap_or(u32::MAX),
        Expr::List(_)
        | Expr::Map(_)
        | Expr::Null
        | Expr::Bool(_)
        | Expr::Int(_)
        | Expr::Uint(_)
        | Expr::Double(_)
        | Expr::Text(_) => RUNTIME,
    }
}
