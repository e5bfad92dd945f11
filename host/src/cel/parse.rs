//! From text to the parser's tree: our bounds, the `cel` crate's parser, and its messages in better words.
//!
//! The parser recurses, so it only ever runs inside [`on_big_stack`]. Macros are *not* expanded by it: `x.all(y, ..)`
//! stays the call that was written, which keeps every node's own position and lets `check` give macros their types.

use super::bounds::{self, Token};
use super::error::CompileError;
use super::source::Source;
use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use std::thread;

/// Measured: the longest chain the bounds let through needs a fraction of it, also without optimisation.
const STACK_BYTES: usize = 16 << 20;

/// The deepest tree; a chain `a + b + …` is as deep as it is long.
const MAX_DEPTH: usize = 96;

/// The most errors the parser may try to recover from. Only the first is shown.
const RECOVERIES: u32 = 3;

/// A parsed expression and what is needed to say where its parts are.
pub(super) struct Parsed<'s> {
    pub(super) source: Source<'s>,
    pub(super) root: IdedExpr,
    info: SourceInfo,
}

/// Runs `work` on a thread of its own whose stack is large enough for the parser. `Err` if there is none to be had or
/// the work panicked.
pub(super) fn on_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, &'static str> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("cel-compile".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|_| "no thread to compile the expression on; try again")?;
        thread.join().map_err(|_| "the expression cannot be compiled; simplify it")
    })
}

/// Parses one expression. Call it inside [`on_big_stack`] only.
pub(super) fn parse(source: Source<'_>) -> Result<Parsed<'_>, CompileError> {
    let tokens = bounds::check(&source)?;
    let parser = cel::Env::default().with_optional_support(false).parser().error_recovery_limit(RECOVERIES);
    let (root, info) = match parser.parse_with_source_info(source.text) {
        Ok(parsed) => parsed,
        Err(errors) => return Err(explain(&source, &tokens, &errors)),
    };
    let parsed = Parsed { source, root, info };
    parsed.check_depth()?;
    Ok(parsed)
}

impl Parsed<'_> {
    /// Where the parser places a node: the operator of an operation, the bracket of a call, the start of a literal.
    pub(super) fn offset(&self, expr: &IdedExpr) -> usize {
        let start = self.info.offset_for(expr.id).map_or(0, |(start, _)| start);
        usize::try_from(start).unwrap_or(0)
    }

    /// Where the text of a whole node begins.
    pub(super) fn start(&self, mut expr: &IdedExpr) -> usize {
        loop {
            expr = match &expr.expr {
                Expr::Select(select) => &select.operand,
                Expr::Call(call) => match (&call.target, call.args.first()) {
                    (Some(target), _) => target,
                    (None, Some(first)) if is_infix(&call.func_name) => first,
                    (None, _) if is_name(&call.func_name) => return self.name_before(expr, &call.func_name),
                    (None, _) => return self.offset(expr),
                },
                Expr::Unspecified
                | Expr::Comprehension(_)
                | Expr::Ident(_)
                | Expr::List(_)
                | Expr::Literal(_)
                | Expr::Map(_)
                | Expr::Struct(_) => return self.offset(expr),
            };
        }
    }

    /// Where the name in front of a call's bracket begins.
    pub(super) fn name_before(&self, expr: &IdedExpr, name: &str) -> usize {
        let bracket = self.offset(expr);
        let before = self.source.text.get(..bracket).unwrap_or_default();
        before.rfind(name).unwrap_or(bracket)
    }

    /// Where the name behind a selection's dot begins.
    pub(super) fn name_after(&self, expr: &IdedExpr) -> usize {
        bounds::skip_space(self.source.text, self.offset(expr) + 1)
    }

    /// Everything after this walks the tree by recursion, so its depth is limited here, without any.
    fn check_depth(&self) -> Result<(), CompileError> {
        let mut open = vec![(&self.root, 1)];
        while let Some((expr, depth)) = open.pop() {
            if depth > MAX_DEPTH {
                let message =
                    format!("nested too deeply; at most {MAX_DEPTH} operations in one chain are allowed");
                return Err(self.source.error(self.offset(expr), message));
            }
            for_each_child(expr, |child| open.push((child, depth + 1)));
        }
        Ok(())
    }
}

/// Calls `visit` with every direct part of a node.
pub(super) fn for_each_child<'e>(expr: &'e IdedExpr, mut visit: impl FnMut(&'e IdedExpr)) {
    use cel::common::ast::EntryExpr;
    match &expr.expr {
        Expr::Select(select) => visit(&select.operand),
        Expr::Call(call) => {
            call.target.iter().for_each(|target| visit(target));
            call.args.iter().for_each(visit);
        }
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    visit(&entry.key);
                    visit(&entry.value);
                }
            }
        }
        Expr::Struct(message) => {
            for entry in &message.entries {
                if let EntryExpr::StructField(field) = &entry.expr {
                    visit(&field.value);
                }
            }
        }
        // Comprehensions are only made by expanded macros, and none are.
        Expr::Comprehension(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn is_name(function: &str) -> bool {
    function.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !is_infix(function)
}

/// Operators with a left operand are spelled with a hole for it: `_+_`, `_[_]`, `_?_:_`; `in` alone is `@in`.
fn is_infix(function: &str) -> bool {
    let sign = function.strip_prefix('_').and_then(|rest| rest.chars().next());
    function == "@in" || sign.is_some_and(|c| !c.is_ascii_alphanumeric() && c != '_')
}

/// The parser's first complaint, in words for people.
fn explain(source: &Source<'_>, tokens: &[Token], errors: &cel::ParseErrors) -> CompileError {
    let internal = |message: &str| message.starts_with("Incomplete") || message.starts_with("No `");
    let first = errors.errors.iter().find(|e| !internal(&e.msg)).or(errors.errors.first());
    let Some(error) = first else {
        return source.error(0, "this is no valid expression");
    };
    let at = source.offset(error.pos.0, error.pos.1);
    let token = tokens.iter().find(|t| t.start <= at && at < t.end);
    let found = token.map_or("", |t| &source.text[t.start..t.end]);
    let message = match error.msg.as_str() {
        "invalid int literal" => format!("`{found}` does not fit in 64 bits; write it with a decimal point"),
        "invalid uint literal" => format!("`{found}` does not fit in 64 bits"),
        "invalid double literal" => format!("`{found}` is too large for a double"),
        m if m.starts_with("reserved identifier") => format!("`{found}` is a reserved word of CEL"),
        m if m.starts_with("unsupported syntax") => {
            "optional and quoted names are not supported; write x[\"name\"]".to_owned()
        }
        m if m.starts_with("invalid string literal") || m.starts_with("invalid bytes literal") => {
            "this text holds an escape that is no character".to_owned()
        }
        m if m.contains("token recognition error") => {
            "this text holds an escape that is not complete".to_owned()
        }
        m if m.contains("Recursion limit") => "nested too deeply; simplify the expression".to_owned(),
        _ => unexpected(source, tokens, found),
    };
    let at = token.map_or(at, |t| t.start);
    source.error(at, message)
}

fn unexpected(source: &Source<'_>, tokens: &[Token], found: &str) -> String {
    match found {
        "" => {
            let last = tokens.last().map_or("", |t| &source.text[t.start..t.end]);
            format!("the expression ends too early; something is missing after `{last}`")
        }
        "and" | "AND" => "unexpected `and`; write `&&`".to_owned(),
        "or" | "OR" => "unexpected `or`; write `||`".to_owned(),
        "not" | "NOT" => "unexpected `not`; write `!`".to_owned(),
        other => format!("unexpected `{other}` here"),
    }
}
