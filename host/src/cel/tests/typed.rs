//! Typed conditions: three-valued `all` and `any`, their text, their limits.

use super::world::{read, world};
use crate::cel::{Condition, ErrorKind, EvalError, Program};

fn exceeds(metric: &str, threshold: f64) -> Condition {
    Condition::Exceeds { metric: metric.to_owned(), threshold }
}

fn below(metric: &str, threshold: f64) -> Condition {
    Condition::Below { metric: metric.to_owned(), threshold }
}

fn eval(condition: &Condition) -> Result<bool, EvalError> {
    let program = Program::from_condition(condition).expect("valid");
    program.eval(&world().resolve(&program))
}

#[test]
fn members_are_three_valued() {
    let (yes, no, none) = (exceeds("cpu", 98.0), below("mem", 30.0), exceeds("disk", 1.0));
    let all = |members: [&Condition; 2]| eval(&Condition::All(members.map(Clone::clone).to_vec()));
    let any = |members: [&Condition; 2]| eval(&Condition::Any(members.map(Clone::clone).to_vec()));
    assert_eq!([eval(&yes), eval(&no), eval(&none)], [Ok(true), Ok(false), Err(EvalError::NoData)]);
    assert_eq!([all([&yes, &yes]), all([&none, &no]), all([&no, &none])], [Ok(true), Ok(false), Ok(false)]);
    assert_eq!([all([&yes, &none]), all([&none, &yes])], [Err(EvalError::NoData); 2]);
    assert_eq!([any([&none, &yes]), any([&yes, &none]), any([&no, &no])], [Ok(true), Ok(true), Ok(false)]);
    assert_eq!([any([&no, &none]), any([&none, &no])], [Err(EvalError::NoData); 2]);
    assert_eq!(eval(&Condition::All(vec![])), Ok(false));
    assert_eq!(eval(&Condition::Any(vec![])), Ok(false));
    assert_eq!(eval(&exceeds("nan", 0.0)), Err(EvalError::Error(ErrorKind::NotANumber)));
}

#[test]
fn the_text_is_cel_that_means_the_same() {
    let condition = Condition::All(vec![
        exceeds("cpu", 90.0),
        Condition::Any(vec![below("me\"m\\\n", -5.0), Condition::Cel("absent('x') || 1 == 2".to_owned())]),
        Condition::All(vec![]),
    ]);
    let program = Program::from_condition(&condition).expect("valid");
    let text = "(highest(\"cpu\") > 90.0) && ((lowest(\"me\\\"m\\\\\\n\") < -5.0) || (absent('x') || 1 == 2)) && (false)";
    assert_eq!(program.source(), text);
    assert_eq!(program.reads(), [read("cpu", &[]), read("me\"m\\\n", &[]), read("x", &[])]);
    let again = crate::cel::compile(program.source()).expect("valid");
    assert_eq!(again.reads(), program.reads());
    assert_eq!(again.eval(&world().resolve(&again)), program.eval(&world().resolve(&program)));
}

#[test]
fn faults_say_which_member() {
    let faulty = |text: &str| Condition::Cel(text.to_owned());
    let condition = Condition::All(vec![
        exceeds("cpu", 1.0),
        Condition::Any(vec![faulty("1 == 1"), faulty("foo == 1"), faulty("last('x') >")]),
        faulty("tru"),
    ]);
    let errors = Program::from_condition(&condition).expect_err("faulty");
    let paths: Vec<_> = errors.0.iter().map(|e| e.path.as_slice()).collect();
    assert_eq!(paths, [[1, 2]]);
    let condition =
        Condition::Any(vec![faulty("foo == 1"), Condition::All(vec![faulty("metric.value > 1.0")])]);
    let errors = Program::from_condition(&condition).expect_err("faulty");
    let paths: Vec<_> = errors.0.iter().map(|e| e.path.as_slice()).collect();
    assert_eq!(paths, [&[1, 0][..], &[0][..]]);
}

#[test]
fn shapes_are_limited() {
    let error = |condition: &Condition| Program::from_condition(condition).expect_err("too much").to_string();
    for threshold in [f64::NAN, f64::INFINITY] {
        assert_eq!(error(&exceeds("a", threshold)), "1:1: the threshold must be a finite number");
    }
    assert_eq!(error(&below("", 1.0)), "1:1: the metric name is empty");
    let wide = |n| Condition::Any(vec![exceeds("a", 1.0); n]);
    assert!(Program::from_condition(&wide(255)).is_ok());
    assert_eq!(error(&wide(256)), "1:1: more than 256 conditions in one policy");
    let deep = |n| (0..n).fold(exceeds("cpu", 1.0), |inner, _| Condition::All(vec![inner]));
    assert_eq!(eval(&deep(16)), Ok(true));
    assert_eq!(error(&deep(17)), "1:1: conditions are nested deeper than 16");
}
