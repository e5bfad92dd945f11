//! Whether a condition can be met at all, or can fail to be: each way in which it is met is a list of intervals.

use super::interval::Interval;
use crate::cel::{Function, Logic, Program, Relation, Term};

/// Ways that are looked at; a condition with more is left alone.
const WAYS: usize = 512;

/// What a condition says of what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = ConditionMet)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// Nothing meets it.
    Never,
    /// Nothing is known to fail it.
    Always,
    /// It depends.
    Sometimes,
}

/// What is certain of a condition.
pub(super) fn met(program: &Program) -> Met {
    let impossible = |logic: &Logic| ways(logic).is_some_and(|ways| ways.is_empty());
    if impossible(&program.logic(false)) {
        return Met::Never;
    }
    if impossible(&program.logic(true)) { Met::Always } else { Met::Sometimes }
}

type Way = Vec<(Term, Interval)>;

/// The ways in which it can be true, those that contradict themselves left out; none: there are too many to look at.
pub(super) fn ways(logic: &Logic) -> Option<Vec<Way>> {
    let mut ways = all(logic)?;
    ways.retain(possible);
    Some(ways)
}

fn all(logic: &Logic) -> Option<Vec<Way>> {
    match logic {
        Logic::Opaque => Some(vec![Vec::new()]),
        Logic::Compare(term, relation, number) => {
            Some(vec![vec![(term.clone(), Interval::of(*relation, *number))]])
        }
        Logic::Any(members) => {
            let mut found = Vec::new();
            for member in members {
                found.extend(all(member)?);
                if found.len() > WAYS {
                    return None;
                }
            }
            Some(found)
        }
        Logic::All(members) => {
            let mut found = vec![Vec::new()];
            for member in members {
                let more = all(member)?;
                if found.len().saturating_mul(more.len()) > WAYS {
                    return None;
                }
                found = found.iter().flat_map(|way| more.iter().map(|with| joined(way, with))).collect();
            }
            Some(found)
        }
    }
}

fn joined(one: &Way, other: &Way) -> Way {
    let mut way = one.clone();
    for (term, interval) in other {
        match way.iter_mut().find(|(known, _)| known == term) {
            Some((_, known)) => known.meet(interval),
            None => way.push((term.clone(), interval.clone())),
        }
    }
    way
}

/// Whether some numbers are in all intervals. What is known of the terms themselves counts: the least is not above the
/// greatest, and nothing is counted less often than never.
fn possible(way: &Way) -> bool {
    let known = |term: &Term| match term {
        Term::Window(window) if window.function == Function::Count => Interval::of(Relation::AtLeast, 1.0),
        Term::Window(window) if window.function == Function::Changes => Interval::of(Relation::AtLeast, 0.0),
        Term::Window(_) | Term::Lowest(_) | Term::Last(_) | Term::Highest(_) | Term::Event => {
            Interval::everything()
        }
    };
    way.iter().all(|(term, interval)| {
        let mut interval = interval.clone();
        interval.meet(&known(term));
        for (other, bounds) in way {
            if rank(other).zip(rank(term)).is_some_and(|((a, of), (b, same))| of == same && a < b) {
                interval.at_least(bounds);
            }
        }
        !interval.is_empty()
    })
}

/// The order of what a series' last values are between, and of which series.
fn rank(term: &Term) -> Option<(u8, &crate::cel::Read)> {
    match term {
        Term::Lowest(read) => Some((0, read)),
        Term::Last(read) => Some((1, read)),
        Term::Highest(read) => Some((2, read)),
        Term::Window(_) | Term::Event => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::Read;
    use proptest::prelude::*;

    #[test]
    fn certain_of_what_is_certain_and_of_nothing_else() {
        let table = [
            (r#"last("m") > 5.0 && last("m") < 3.0"#, Met::Never),
            (r#"last("m") > 5.0 && last("m") <= 5.0"#, Met::Never),
            (r#"last("m") >= 5.0 && last("m") <= 5.0"#, Met::Sometimes),
            (r#"last("m") >= 5.0 && last("m") <= 5.0 && last("m") != 5.0"#, Met::Never),
            (r#"highest("m") > 5.0 && lowest("m") < 3.0"#, Met::Sometimes),
            (r#"highest("m") < 3.0 && lowest("m") > 5.0"#, Met::Never),
            (r#"last("m") > 5.0 && last("n") < 3.0"#, Met::Sometimes),
            (r#"avg("m", duration("5m")) > 5.0 && avg("m", duration("1m")) < 3.0"#, Met::Sometimes),
            (r#"avg("m", duration("5m")) > 5.0 && avg("m", duration("300s")) < 3.0"#, Met::Never),
            (r#"last("m") > 5.0 || last("m") <= 5.0"#, Met::Always),
            (r#"last("m") > 5.0 || last("m") < 5.0"#, Met::Sometimes),
            (r#"!(last("m") > 5.0) && 6 < last("m")"#, Met::Never),
            (r#"count("m", duration("5m")) < 1.0"#, Met::Never),
            (r#"count("m", duration("5m")) >= 1.0"#, Met::Always),
            (r#"last("m") > 5.0 && last("m") < 3.0 || target.name == "a""#, Met::Sometimes),
        ];
        for (text, expected) in table {
            assert_eq!(met(&crate::cel::compile(text).unwrap()), expected, "{text}");
        }
    }

    fn read() -> Read {
        Read { metric: "m".to_owned(), tags: Vec::new() }
    }

    fn logic() -> impl Strategy<Value = Logic> {
        let term =
            prop_oneof![Just(Term::Lowest(read())), Just(Term::Last(read())), Just(Term::Highest(read()))];
        let relation = prop_oneof![
            Just(Relation::Less),
            Just(Relation::AtMost),
            Just(Relation::Greater),
            Just(Relation::AtLeast),
            Just(Relation::Equal),
            Just(Relation::Unequal)
        ];
        let leaf = (term, relation, 0i32..4).prop_map(|(t, r, n)| Logic::Compare(t, r, f64::from(n)));
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Logic::All),
                prop::collection::vec(inner, 0..4).prop_map(Logic::Any),
            ]
        })
    }

    /// Whether it is true of these values of the least, the last and the greatest.
    fn holds(logic: &Logic, values: [f64; 3]) -> bool {
        match logic {
            Logic::All(members) => members.iter().all(|member| holds(member, values)),
            Logic::Any(members) => members.iter().any(|member| holds(member, values)),
            Logic::Opaque => true,
            Logic::Compare(term, relation, number) => {
                let value = values[usize::from(rank(term).unwrap().0)];
                match relation {
                    Relation::Less => value < *number,
                    Relation::AtMost => value <= *number,
                    Relation::Greater => value > *number,
                    Relation::AtLeast => value >= *number,
                    Relation::Equal => (value - number).abs() < f64::EPSILON,
                    Relation::Unequal => (value - number).abs() >= f64::EPSILON,
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// Where it says that nothing meets a condition, nothing does; of constants from 0 to 3 every case is between -1 and 4
        /// in quarters. Whatever meets it is seen, but for holes between terms.
        #[test]
        fn it_is_sound(logic in logic()) {
            let Some(ways) = ways(&logic) else { return Ok(()) };
            let steps = || (-4..17).map(|n| f64::from(n) / 4.0);
            let mut met = false;
            for low in steps() {
                for last in steps().filter(|last| *last >= low) {
                    met |= steps().filter(|high| *high >= last).any(|high| holds(&logic, [low, last, high]));
                }
            }
            prop_assert!(!ways.is_empty() || !met, "{:?} is met", logic);
        }

        /// Of one number alone it is exact.
        #[test]
        fn it_is_exact_of_one_number(parts in prop::collection::vec((0usize..6, 0i32..4), 1..5)) {
            let relations = [Relation::Less, Relation::AtMost, Relation::Greater, Relation::AtLeast, Relation::Equal, Relation::Unequal];
            let each = parts.iter().map(|(at, n)| Logic::Compare(Term::Last(read()), relations[*at], f64::from(*n)));
            let logic = Logic::All(each.collect());
            let met = (-4..17).map(|n| f64::from(n) / 4.0).any(|value| holds(&logic, [value; 3]));
            prop_assert_eq!(ways(&logic).unwrap().is_empty(), !met);
        }
    }
}
