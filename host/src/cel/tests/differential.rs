//! Ours against the `cel` crate's interpreter, on random expressions and worlds: equal, both an error, or a divergence
//! with a name and the specification's sentence.

use super::generate::Writer;
use super::random::{self, Random};
use super::world::World;
use super::{campaign, oracle};
use crate::cel::{EvalError, Program, compile};
use cel::objects::{ResolveResult, Value};
use std::collections::BTreeMap;

/// Cases of a normal run and of a campaign; every expression meets several worlds.
const CASES: usize = 5_000;
const CAMPAIGN_CASES: usize = 100_000;
const WORLDS: usize = 5;

type Ours = Result<bool, EvalError>;

/// Where the crate leaves the specification and we do not follow.
struct Divergence {
    name: &'static str,
    /// The specification's sentence ("langdef.md").
    #[expect(dead_code, reason = "for the reader")]
    sentence: &'static str,
    applies: fn(&str, Ours, &ResolveResult) -> bool,
}

const DIVERGENCES: [Divergence; 0] = [];

#[derive(Default)]
struct Count {
    cases: usize,
    values: usize,
    errors: usize,
    refused: usize,
    diverged: BTreeMap<&'static str, usize>,
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures of a campaign")]
fn ours_and_the_crate_agree() {
    let cases = if campaign() { CAMPAIGN_CASES } else { CASES };
    let mut count = Count::default();
    let mut seed = 1;
    while count.cases < cases {
        one_expression(seed, &mut count);
        seed += 1;
    }
    println!(
        "{} cases: {} values, {} errors on both sides, {} texts refused, divergences {:?}",
        count.cases, count.values, count.errors, count.refused, count.diverged
    );
    assert!(count.values * 4 > count.cases, "too few cases give a value");
    assert!(count.refused * 10 < count.cases, "too many texts are refused");
}

fn one_expression(seed: u64, count: &mut Count) {
    let source = Writer::new(seed).condition();
    let ours = match compile(&source) {
        Ok(program) => program,
        Err(errors) => {
            // Limits may be met; anything else means that the generator and the checker disagree about types.
            let limit = |m: &str| m.contains("at most") || m.contains("more than") || m.contains("nested");
            assert!(errors.0.iter().all(|e| limit(&e.message)), "seed {seed}: {source}: {errors}");
            count.refused += 1;
            return;
        }
    };
    let theirs = cel::Program::compile(&source).expect("ours has parsed it");
    let mut random = Random(seed ^ 0xdead_beef);
    for _ in 0..WORLDS {
        let world = random::world(&mut random);
        compare(seed, &ours, &theirs, &world, count);
    }
}

fn compare(seed: u64, ours: &Program, theirs: &cel::Program, world: &World, count: &mut Count) {
    let source = ours.source();
    let our = ours.eval(&world.resolve(ours));
    let their = theirs.execute(&oracle::context(world));
    count.cases += 1;
    match (&our, &their) {
        (Ok(our), Ok(Value::Bool(their))) if our == their => count.values += 1,
        (Err(EvalError::NoData | EvalError::Error(_)), Err(_)) => count.errors += 1,
        _ => match DIVERGENCES.iter().find(|d| (d.applies)(source, our, &their)) {
            Some(known) => *count.diverged.entry(known.name).or_default() += 1,
            None => panic!("seed {seed}: {source}\nours {our:?}, the crate's {their:?}\n{world:?}"),
        },
    }
}
