//! What expressions mean: one line each.

use super::world::{World, read, world};
use crate::cel::{ErrorKind, EvalError, compile};

const NO_DATA: Result<bool, EvalError> = Err(EvalError::NoData);

fn failed(kind: ErrorKind) -> Result<bool, EvalError> {
    Err(EvalError::Error(kind))
}

fn eval(source: &str, world: &World) -> Result<bool, EvalError> {
    let program = compile(source).unwrap_or_else(|errors| panic!("{source}: {errors}"));
    program.eval(&world.resolve(&program))
}

fn table(world: &World, rows: &[(&str, Result<bool, EvalError>)]) {
    for (source, expected) in rows {
        assert_eq!(eval(source, world), *expected, "{source}");
    }
}

#[test]
fn comparisons_and_logic() {
    table(
        &world(),
        &[
            ("metric.name == 'cpu' && metric.value > 90", Ok(true)),
            ("metric.name == 'cpu' && metric.value > 95.5", Ok(false)),
            ("'cpu' == metric.name && metric.value >= 95.5", Ok(true)),
            ("metric.name in ['cpu', 'mem'] && 90u < metric.value", Ok(true)),
            ("metric.name == 'mem' && metric.value > 90", Ok(false)),
            ("!(1 < 2) || 'a' < 'b' && false < true", Ok(true)),
            ("1 == 1.0 && 1u == 1 && 2u > 1 && -1 < 0u", Ok(true)),
            ("[1, 2] == [1, 2] && [1] != [2] && {'a': 1} == {'a': 1}", Ok(true)),
            ("null == null", Ok(true)),
            ("(1 > 2 ? 'a' : 'b') == 'b'", Ok(true)),
            ("5 / 2 == 2 && -5 % 3 == -2 && 5.0 / 2.0 == 2.5", Ok(true)),
        ],
    );
}

#[test]
fn texts_lists_and_maps() {
    table(
        &world(),
        &[
            (
                "target.name.startsWith('web') && target.name.endsWith('-1') && target.kind.contains('os')",
                Ok(true),
            ),
            ("target.name.matches(r'^web-\\d+$') && matches(target.name, '1')", Ok(true)),
            (
                "size('añb') == 3 && 'ab'.size() == 2 && size([1, 2]) == 2 && size(target.labels) == 2",
                Ok(true),
            ),
            ("target.labels.team == 'core' && target.labels['tier'] == '1'", Ok(true)),
            ("'team' in target.labels && !('x' in target.labels) && has(target.labels.team)", Ok(true)),
            ("has(target.labels.x)", Ok(false)),
            ("target.labels.x == 'y'", failed(ErrorKind::NoSuchKey)),
            ("metric.name == 'cpu' && int(metric.tags.count) == 42", Ok(true)),
            ("metric.name == 'cpu' && double(metric.tags.region) > 1.0", failed(ErrorKind::BadConversion)),
            ("target.namespace + '/' + target.name == 'prod/web-1'", Ok(true)),
            ("string(1) + string(2u) + string(true) + string(1.5) == '12true1.5'", Ok(true)),
            ("[1, 2, 3][1] == 2 && {'a': 1, 'b': 2}['b'] == 2 && {1: 'x'}[1] == 'x'", Ok(true)),
            ("[1, 2, 3][3] == 2", failed(ErrorKind::IndexOutOfRange)),
            ("[1, 2, 3][-1] == 2", failed(ErrorKind::IndexOutOfRange)),
            (
                "metric.name == 'cpu' && metric.value > {'prod': 90.0, 'dev': 99.0}[target.namespace]",
                Ok(true),
            ),
            ("[[1], [2]].exists(l, l[0] == 2)", Ok(true)),
        ],
    );
}

#[test]
fn series_and_no_data() {
    table(
        &world(),
        &[
            ("last('cpu') > 90.0 && highest('cpu') > 98 && lowest('cpu') < 13", Ok(true)),
            ("last('cpu', {'core': '0'}) == 10.0", Ok(true)),
            ("absent('disk') && !absent('mem')", Ok(true)),
            ("last('disk') > 1.0", NO_DATA),
            ("last('disk') > 1.0 || last('mem') > 1.0", Ok(true)),
            ("last('mem') > 1.0 || last('disk') > 1.0", Ok(true)),
            ("last('disk') > 1.0 && last('mem') > 50.0", Ok(false)),
            ("last('disk') > 1.0 && last('mem') > 1.0", NO_DATA),
            ("!absent('disk') && last('disk') > 1.0", Ok(false)),
            ("last('nan') > 1.0", failed(ErrorKind::NotANumber)),
            ("last('nan') == last('nan')", Ok(false)),
            ("last('nan') != last('nan')", Ok(true)),
        ],
    );
    let tick = World { metric: None, ..world() };
    table(
        &tick,
        &[
            ("metric.name == 'cpu' && metric.value > 1.0", NO_DATA),
            ("metric.name == 'cpu' && last('cpu') < 1.0", Ok(false)),
            ("metric.name == 'cpu' && has(metric.tags.x)", NO_DATA),
        ],
    );
}

#[test]
fn macros() {
    table(
        &world(),
        &[
            (
                "[1, 2, 3].all(x, x > 0) && [1, 2, 3].exists(x, x == 2) && [1, 2, 2].exists_one(x, x == 1)",
                Ok(true),
            ),
            ("[1, 2, 2].exists_one(x, x == 2)", Ok(false)),
            ("target.labels.exists(k, k == 'team' && target.labels[k] == 'core')", Ok(true)),
            ("[0, 1].exists(x, 1 / x == 1)", Ok(true)),
            ("[0, 1].all(x, 1 / x == 5)", Ok(false)),
            ("[0, 1].all(x, 1 / x == 1)", failed(ErrorKind::DivisionByZero)),
            ("[1, 0].exists_one(x, 1 / x == 1)", failed(ErrorKind::DivisionByZero)),
            ("[1 / 0, 2].exists(x, x == 2)", failed(ErrorKind::DivisionByZero)),
            ("[1, 2].all(x, [3, 4].exists(y, y == x + 2))", Ok(true)),
            ("[1, 2].all(x, [3, 4].all(x, x > 2))", Ok(true)),
            ("[1, 2].exists(x, [x, x].all(y, y == x))", Ok(true)),
        ],
    );
}

#[test]
fn numbers_out_of_range() {
    table(
        &world(),
        &[
            ("9223372036854775807 + 1 > 0", failed(ErrorKind::Overflow)),
            ("-(-9223372036854775808) > 0", failed(ErrorKind::Overflow)),
            ("-9223372036854775808 / -1 > 0", failed(ErrorKind::Overflow)),
            ("0u - 1u > 0u", failed(ErrorKind::Overflow)),
            ("1 / 0 == 1", failed(ErrorKind::DivisionByZero)),
            ("1u % 0u == 1u", failed(ErrorKind::DivisionByZero)),
            ("1.0 / 0.0 > 1.0e308", Ok(true)),
            ("0.0 / 0.0 > 1.0", failed(ErrorKind::NotANumber)),
            ("int(1e300) == 1", failed(ErrorKind::Overflow)),
            ("uint(-1) == 1u", failed(ErrorKind::Overflow)),
            ("int(1.9) == 1 && int(-1.9) == -1 && uint(1.9) == 1u && double('1.5') == 1.5", Ok(true)),
        ],
    );
}

#[test]
fn reads_are_sorted_and_distinct() {
    let source = "metric.name in ['b', 'a'] && last('c', {'y': '2', 'x': '1'}) > 1.0 && \
                  (absent('a') || highest('c', {'x': '1', 'y': '2'}) > 0.0)";
    let program = compile(source).expect("valid");
    assert_eq!(program.source(), source);
    assert_eq!(program.reads(), [read("a", &[]), read("b", &[]), read("c", &[("x", "1"), ("y", "2")])]);
    assert_eq!(program.events(), ["a", "b"]);
    assert!(compile("last('a') > 1.0").expect("valid").events().is_empty());
}

#[test]
fn the_budget_ends_what_the_text_cannot_foresee() {
    let mut world = world();
    world.labels = (0..200).map(|i| (format!("k{i}"), i.to_string())).collect();
    let source = "target.labels.all(a, target.labels.exists(b, a == b))";
    assert_eq!(eval(source, &world), Err(EvalError::OutOfFuel));
    assert_eq!(eval(&format!("{source} || true"), &world), Err(EvalError::OutOfFuel));
    world.labels.truncate(30);
    assert_eq!(eval(source, &world), Ok(true));
}
