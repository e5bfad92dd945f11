//! The compiled condition and how it is put together; [`Program`] is what the engine keeps and evaluates.

use super::check::{self, Budget};
use super::error::{CompileError, CompileErrors, EvalError, MAX_ERRORS};
use super::eval::{FUEL, MAX_TEXTS, Run};
use super::logic::{self, Logic};
use super::parse::{self, Parsed};
use super::reads::{self, Read, index_of};
use super::scope::Scope;
use super::source::Source;
use super::tree::{BoolExpr, Cmp, DoubleExpr, Stat};
use super::typed::{self, Condition};
use super::windows::Window;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A condition, ready to be evaluated: immutable, shareable between threads, and independent of its source.
#[derive(Debug)]
pub struct Program {
    source: String,
    reads: Box<[Read]>,
    events: Box<[String]>,
    windows: Box<[Arc<Window>]>,
    root: BoolExpr,
    texts: usize,
}

impl Program {
    /// Compiles a typed condition; see [`Condition`] for what the kinds mean.
    pub fn from_condition(condition: &Condition) -> Result<Self, CompileErrors> {
        let fail = |error| CompileErrors(vec![error]);
        typed::check_shape(condition).map_err(fail)?;
        let failed = |message: &str| fail(Source { text: "", path: Vec::new() }.error(0, message));
        parse::on_big_stack(|| build(condition)).map_err(failed)?
    }

    /// The condition as CEL, for people: of a typed condition the text it stands for.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The series it reads, sorted and distinct, including the metrics `metric.name` is compared with.
    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// The metrics whose events can make it true by `metric`, sorted; empty if it does not use `metric`.
    #[must_use]
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// The windows it looks at, distinct, in the order of the text.
    #[must_use]
    pub fn windows(&self) -> &[Arc<Window>] {
        &self.windows
    }

    /// What must be true for the condition to be met; `negated`: for it to be known not to be.
    #[must_use]
    pub fn logic(&self, negated: bool) -> Logic {
        logic::of(&self.root, &self.reads, negated)
    }

    /// Evaluates the condition. Nothing is allocated unless the expression itself joins or formats texts.
    pub fn eval(&self, scope: &impl Scope) -> Result<bool, EvalError> {
        if self.texts == 0 {
            return Run::new(scope, &[]).bool(&self.root);
        }
        let texts: [OnceCell<String>; MAX_TEXTS] = Default::default();
        Run::new(scope, &texts).bool(&self.root)
    }
}

/// Compiles a CEL expression.
///
/// Errors carry line and column. The work happens on a thread of its own and takes a few milliseconds; call it where
/// blocking is allowed.
pub fn compile(source: &str) -> Result<Program, CompileErrors> {
    let fail = |message: &str| CompileErrors(vec![Source { text: "", path: Vec::new() }.error(0, message)]);
    parse::on_big_stack(|| {
        let parsed =
            parse::parse(Source { text: source, path: Vec::new() }).map_err(|e| CompileErrors(vec![e]))?;
        assemble(&Plan::Cel(0), &[parsed], BTreeSet::new(), source.to_owned())
    })
    .map_err(fail)?
}

/// A condition whose expressions are parsed: they are in a list, in the order of the text.
enum Plan<'c> {
    Compare(Cmp, Stat, &'c str, f64),
    All(Vec<Plan<'c>>),
    Any(Vec<Plan<'c>>),
    Cel(usize),
}

fn build(condition: &Condition) -> Result<Program, CompileErrors> {
    let mut members = Members::default();
    let plan = members.plan(condition, &mut Vec::new());
    if !members.errors.is_empty() {
        return Err(limited(members.errors));
    }
    assemble(&plan, &members.parsed, members.reads, typed::text(condition))
}

#[derive(Default)]
struct Members<'c> {
    parsed: Vec<Parsed<'c>>,
    reads: BTreeSet<Read>,
    errors: Vec<CompileError>,
}

impl<'c> Members<'c> {
    fn plan(&mut self, condition: &'c Condition, path: &mut Vec<u16>) -> Plan<'c> {
        match condition {
            Condition::Exceeds { metric, threshold } => {
                self.compare(Cmp::Gt, Stat::Highest, metric, *threshold)
            }
            Condition::Below { metric, threshold } => self.compare(Cmp::Lt, Stat::Lowest, metric, *threshold),
            Condition::All(members) => Plan::All(self.plans(members, path)),
            Condition::Any(members) => Plan::Any(self.plans(members, path)),
            Condition::Cel(text) => {
                match parse::parse(Source { text, path: path.clone() }) {
                    Ok(parsed) => self.parsed.push(parsed),
                    Err(error) => self.errors.push(error),
                }
                Plan::Cel(self.parsed.len().saturating_sub(1))
            }
        }
    }

    fn plans(&mut self, members: &'c [Condition], path: &mut Vec<u16>) -> Vec<Plan<'c>> {
        let mut plans = Vec::with_capacity(members.len());
        for (i, member) in members.iter().enumerate() {
            path.push(u16::try_from(i).unwrap_or(u16::MAX));
            plans.push(self.plan(member, path));
            path.pop();
        }
        plans
    }

    fn compare(&mut self, cmp: Cmp, stat: Stat, metric: &'c str, threshold: f64) -> Plan<'c> {
        self.reads.insert(Read { metric: metric.to_owned(), tags: Vec::new() });
        Plan::Compare(cmp, stat, metric, threshold)
    }
}

fn assemble(
    plan: &Plan<'_>,
    parsed: &[Parsed<'_>],
    mut reads: BTreeSet<Read>,
    source: String,
) -> Result<Program, CompileErrors> {
    let mut events = BTreeSet::new();
    let mut errors = Vec::new();
    for member in parsed {
        errors.extend(reads::collect(member, &mut reads, &mut events).err());
    }
    let reads: Box<[Read]> = reads.into_iter().collect();
    let mut budget = Budget::default();
    let mut roots = Vec::with_capacity(parsed.len());
    for member in parsed {
        match check::check(member, &reads, &mut budget) {
            Ok(root) => roots.push(Some(root)),
            Err(more) => errors.extend(more),
        }
    }
    if !errors.is_empty() {
        return Err(limited(errors));
    }
    if budget.cost > FUEL {
        let message = format!(
            "this would take about {} steps, at most {FUEL} are allowed; use shorter lists or nest less",
            budget.cost
        );
        return Err(CompileErrors(vec![Source { text: "", path: Vec::new() }.error(0, message)]));
    }
    let root = lower(plan, &mut roots, &reads).unwrap_or(BoolExpr::Const(false));
    Ok(Program {
        source,
        reads,
        events: events.into_iter().collect(),
        windows: budget.windows.into(),
        root,
        texts: budget.texts,
    })
}

/// `None` cannot happen: every member has its root and every read its number.
fn lower(plan: &Plan<'_>, roots: &mut [Option<BoolExpr>], reads: &[Read]) -> Option<BoolExpr> {
    let mut each =
        |members: &[Plan<'_>]| members.iter().map(|m| lower(m, roots, reads)).collect::<Option<_>>();
    match plan {
        // Empty: nothing is required and nothing was seen, so nothing is wrong.
        Plan::All(members) if members.is_empty() => Some(BoolExpr::Const(false)),
        Plan::All(members) => each(members).map(BoolExpr::And),
        Plan::Any(members) => each(members).map(BoolExpr::Or),
        Plan::Compare(cmp, stat, metric, threshold) => {
            let read = Read { metric: (*metric).to_owned(), tags: Vec::new() };
            let sides = (DoubleExpr::Series(*stat, index_of(reads, &read)?), DoubleExpr::Const(*threshold));
            Some(BoolExpr::Double(*cmp, Box::new(sides)))
        }
        Plan::Cel(position) => roots.get_mut(*position)?.take(),
    }
}

fn limited(mut errors: Vec<CompileError>) -> CompileErrors {
    errors.truncate(MAX_ERRORS);
    CompileErrors(errors)
}
