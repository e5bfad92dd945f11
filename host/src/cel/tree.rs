//! The typed tree that is evaluated: every node knows its type, so nothing is dispatched on values at run time.
//!
//! Built by `check` from the parser's tree, or directly from a typed condition; walked by `eval`. It is immutable,
//! shares nothing with the parser and its depth is bounded by the checks before.

use super::scope::ReadIx;
use super::windows::Window;
use regex::Regex;
use std::sync::Arc;

/// An expression of any type.
#[derive(Debug)]
pub(super) enum Expr {
    Null,
    Bool(BoolExpr),
    Int(IntExpr),
    Uint(UintExpr),
    Double(DoubleExpr),
    Text(TextExpr),
    List(ListExpr),
    Map(MapExpr),
}

#[derive(Debug)]
pub(super) enum BoolExpr {
    Const(bool),
    Not(Box<BoolExpr>),
    And(Box<[BoolExpr]>),
    Or(Box<[BoolExpr]>),
    Double(Cmp, Box<(DoubleExpr, DoubleExpr)>),
    Int(Cmp, Box<(IntExpr, IntExpr)>),
    Text(Cmp, Box<(TextExpr, TextExpr)>),
    /// Every other comparison: unsigned, mixed numbers, bools, lists, maps, null.
    Any(Cmp, Box<(Expr, Expr)>),
    Part(Part, Box<(TextExpr, TextExpr)>),
    Matches(Box<(TextExpr, Regex)>),
    /// `in` over a list of literal texts.
    InTexts(Box<(TextExpr, Box<[Box<str>]>)>),
    InList(Box<(Expr, ListExpr)>),
    InMap(Box<(Expr, MapExpr)>),
    Has(Box<(MapExpr, Box<str>)>),
    Absent(ReadIx),
    /// No sample in a window.
    AbsentOver(Arc<Window>),
    Quantifier(Box<Quantifier>),
    If(Box<Choice<BoolExpr>>),
    Load(Box<Load>),
}

#[derive(Debug)]
pub(super) enum IntExpr {
    Const(i64),
    Size(Box<Expr>),
    Neg(Box<IntExpr>),
    Math(Math, Box<(IntExpr, IntExpr)>),
    /// `int(x)` of another type.
    From(Box<Expr>),
    If(Box<Choice<IntExpr>>),
    Load(Box<Load>),
}

#[derive(Debug)]
pub(super) enum UintExpr {
    Const(u64),
    Math(Math, Box<(UintExpr, UintExpr)>),
    /// `uint(x)` of another type.
    From(Box<Expr>),
    If(Box<Choice<UintExpr>>),
    Load(Box<Load>),
}

#[derive(Debug)]
pub(super) enum DoubleExpr {
    Const(f64),
    MetricValue,
    Series(Stat, ReadIx),
    Window(Arc<Window>),
    Neg(Box<DoubleExpr>),
    Math(Math, Box<(DoubleExpr, DoubleExpr)>),
    /// `double(x)` of another type.
    From(Box<Expr>),
    If(Box<Choice<DoubleExpr>>),
    Load(Box<Load>),
}

#[derive(Debug)]
pub(super) enum TextExpr {
    Const(Box<str>),
    MetricName,
    TargetName,
    TargetKind,
    TargetNamespace,
    /// A tag or label with a literal key.
    Label(Owner, Box<str>),
    /// `a + b`; the result lives in the evaluation's text slot of this number.
    Join(usize, Box<(TextExpr, TextExpr)>),
    /// `string(x)` of another type, kept likewise.
    Format(usize, Box<Expr>),
    If(Box<Choice<TextExpr>>),
    Load(Box<Load>),
}

#[derive(Debug)]
pub(super) enum ListExpr {
    Literal(Box<ListLiteral>),
    If(Box<Choice<ListExpr>>),
    Load(Box<Load>),
}

#[derive(Debug)]
pub(super) enum MapExpr {
    Labels(Owner),
    Literal(Box<MapLiteral>),
    If(Box<Choice<MapExpr>>),
    Load(Box<Load>),
}

/// `[a, b]`. A list value is a reference to this, its items are evaluated where they are used.
#[derive(Debug)]
pub(super) struct ListLiteral {
    pub(super) items: Box<[Expr]>,
    /// Nothing but literals: no item can fail.
    pub(super) constant: bool,
}

/// `{k: v}` with distinct literal keys.
#[derive(Debug)]
pub(super) struct MapLiteral {
    pub(super) entries: Box<[Entry]>,
    /// Nothing but literals: no value can fail.
    pub(super) constant: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Expr,
    pub(super) value: Expr,
}

/// `test ? yes : no`.
#[derive(Debug)]
pub(super) struct Choice<T> {
    pub(super) test: BoolExpr,
    pub(super) yes: T,
    pub(super) no: T,
}

/// A value that is stored somewhere: its type is known, its place is found at run time.
#[derive(Debug)]
pub(super) enum Load {
    /// The variable of a macro.
    Var(usize),
    ListItem(ListExpr, IntExpr),
    MapItem(MapExpr, Expr),
}

/// `all`, `exists` or `exists_one`.
#[derive(Debug)]
pub(super) struct Quantifier {
    pub(super) kind: QuantifierKind,
    pub(super) over: Range,
    /// Where the variable is kept.
    pub(super) var: usize,
    pub(super) test: BoolExpr,
    /// Fuel for one round: the nodes of `test`.
    pub(super) step: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuantifierKind {
    All,
    Exists,
    ExistsOne,
}

/// What a quantifier runs over: the items of a list, the keys of a map.
#[derive(Debug)]
pub(super) enum Range {
    List(ListExpr),
    Map(MapExpr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Where one text is looked for in another: `startsWith`, `endsWith`, `contains`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Start,
    End,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Math {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

/// Which of a target's fresh last values a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stat {
    Last,
    Highest,
    Lowest,
}

/// Whose texts a label map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Metric,
    Target,
}

impl Expr {
    /// A literal, or a list or map of nothing else: its evaluation cannot fail.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Null
            | Self::Bool(BoolExpr::Const(_))
            | Self::Int(IntExpr::Const(_))
            | Self::Uint(UintExpr::Const(_))
            | Self::Double(DoubleExpr::Const(_))
            | Self::Text(TextExpr::Const(_)) => true,
            Self::List(ListExpr::Literal(list)) => list.constant,
            Self::Map(MapExpr::Literal(map)) => map.constant,
            Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Map(_) => false,
        }
    }
}
