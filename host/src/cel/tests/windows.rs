//! Windows as expressions write them: what is taken, what is refused and where, and what no-data does.

use super::world::world;
use crate::cel::{EvalError, compile};

/// What the windows of an expression are, as people read them.
fn windows(source: &str) -> Vec<String> {
    let program = compile(source).unwrap_or_else(|errors| panic!("{source}: {errors}"));
    program.windows().iter().map(ToString::to_string).collect()
}

#[test]
fn every_function_is_taken() {
    for name in ["avg", "min", "max", "sum", "count", "rate", "delta", "changes", "ewma", "zscore", "last"] {
        let source = format!("{name}('cpu', duration('90s')) > 1");
        assert_eq!(windows(&source), [format!("{name}(cpu, 1m30s)")]);
        let source = format!("{name}('cpu', duration('1h'), {{'b': '2', 'a': '1'}}) > 1.0");
        assert_eq!(windows(&source), [format!("{name}(cpu{{a=1,b=2}}, 1h)")]);
    }
    assert_eq!(windows("quantile('ms', 0.95, duration('10m')) > 1.0"), ["quantile(ms, 0.95, 10m)"]);
    assert_eq!(
        windows("quantile('ms', 1, duration('24h'), {'p': '/'}) > 1.0"),
        ["quantile(ms{p=/}, 1, 24h)"]
    );
    assert_eq!(windows("absent('beat', duration('1s'))"), ["absent(beat, 1s)"]);
    assert!(windows("last('cpu') > 1.0 && absent('beat')").is_empty(), "without a duration they are none");
}

#[test]
fn each_is_listed_once_and_its_series_are_read() {
    let source = "avg('a', duration('60s')) > max('b', duration('1m')) || avg('a', duration('1m')) < 0.0";
    assert_eq!(windows(source), ["avg(a, 1m)", "max(b, 1m)"]);
    let program = compile(source).expect("valid");
    let names: Vec<&str> = program.reads().iter().map(|read| read.metric.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn no_data_decides_nothing() {
    const NO_DATA: Result<bool, EvalError> = Err(EvalError::NoData);
    for (source, expected) in [
        ("avg('cpu', duration('5m')) > 90.0", Ok(true)),
        ("avg('disk', duration('5m')) > 90.0", NO_DATA),
        ("!(avg('disk', duration('5m')) > 90.0)", NO_DATA),
        ("avg('disk', duration('5m')) > 90.0 || max('cpu', duration('1m')) > 90.0", Ok(true)),
        ("avg('disk', duration('5m')) > 90.0 && max('cpu', duration('1m')) > 99.0", Ok(false)),
        ("absent('disk', duration('5m')) || count('disk', duration('5m')) < 3.0", Ok(true)),
        ("absent('cpu', duration('5m'))", Ok(false)),
        ("last('cpu', duration('5m')) - avg('mem', duration('5m')) > 50.0", Ok(true)),
        ("[1.0, 2.0].exists(x, sum('cpu', duration('5m'), {'core': '0'}) > x)", Ok(true)),
        ("metric.name == 'cpu' && metric.value > avg('mem', duration('1h')) * 2.0", Ok(true)),
    ] {
        let program = compile(source).unwrap_or_else(|errors| panic!("{source}: {errors}"));
        assert_eq!(program.eval(&world().resolve(&program)), expected, "{source}");
    }
}

const REFUSED: &[(&str, &str)] = &[
    (
        "avg('a') > 1.0",
        "1:1: avg() takes a metric name and a duration; write avg(\"metric\", duration(\"5m\"))",
    ),
    (
        "1.0 > avg('a', '5m')",
        "1:16: the duration must be written duration(\"..\"); write avg(\"metric\", duration(\"5m\"))",
    ),
    (
        "avg('a', duration(target.name)) > 1.0",
        "1:19: the duration must be a literal text; write avg(\"metric\", duration(\"5m\"))",
    ),
    (
        "avg('a', duration()) > 1.0",
        "1:10: duration() takes one literal text; write avg(\"metric\", duration(\"5m\"))",
    ),
    (
        "avg('a', duration('5')) > 1.0",
        "1:19: this is no duration; write numbers with h, m, s or ms, as in \"90s\" or \"1h30m\"",
    ),
    (
        "avg('a',\n duration('-5m')) > 1.0",
        "2:11: this is no duration; write numbers with h, m, s or ms, as in \"90s\" or \"1h30m\"",
    ),
    ("avg('a', duration('999ms')) > 1.0", "1:19: a window lasts from 1s to 24h"),
    ("absent('a', duration('24h1s'))", "1:22: a window lasts from 1s to 24h"),
    ("avg('', duration('5m')) > 1.0", "1:5: the metric name is empty"),
    (
        "sum(target.name, duration('5m')) > 1.0",
        "1:5: the metric name must be a literal text; write sum(\"metric\", duration(\"5m\"))",
    ),
    (
        "sum('a', duration('5m'), 'b') > 1.0",
        "1:26: the tags must be a literal map; write sum(\"metric\", duration(\"5m\"))",
    ),
    ("sum('a', duration('5m'), {'b': 'c', 'b': 'd'}) > 1.0", "1:26: the tag \"b\" is there twice"),
    (
        "quantile('a', duration('5m')) > 1.0",
        "1:1: quantile() takes a metric, a part and a duration; write quantile(\"metric\", 0.95, duration(\"5m\"))",
    ),
    (
        "quantile('a', 95, duration('5m')) > 1.0",
        "1:15: the part of quantile() must be a literal number from 0.0 to 1.0",
    ),
    (
        "last('a', {}, duration('5m')) > 1.0",
        "1:11: the duration must be written duration(\"..\"); write last(\"metric\", duration(\"5m\"))",
    ),
    (
        "highest('a', duration('5m')) > 1.0",
        "1:1: highest() is of last values and takes no duration; write max(\"metric\", duration(\"5m\"))",
    ),
    (
        "duration('5m') == duration('5m')",
        "1:1: duration() is only for windows; write avg(\"metric\", duration(\"5m\")); 1:19: duration() is only for windows; write avg(\"metric\", duration(\"5m\"))",
    ),
    (
        "avg('a', duration('5m'))",
        "1:1: a condition must be true or false; this is a double, compare it with something",
    ),
    ("!avg('a', duration('5m'))", "1:2: `!` needs a bool here, this is a double"),
];

#[test]
fn what_is_wrong_is_said_where_it_is() {
    for (source, message) in REFUSED {
        assert_eq!(compile(source).expect_err(source).to_string(), *message, "{source}");
    }
    let many = vec!["[1, 2, 3, 4].all(x, avg('a', duration('5m')) > 1.0)"; 14].join(" && ");
    let refused = compile(&many).expect_err("too much").to_string();
    assert!(refused.contains("steps"), "windows cost, above all in a loop: {refused}");
}
