//! The words and places of compile errors.

use crate::cel::compile;

#[test]
fn messages_say_what_where_and_what_to_do() {
    for (source, expected) in TABLE {
        let errors = compile(source).err().unwrap_or_else(|| panic!("{source} compiled"));
        assert_eq!(errors.to_string(), *expected, "{source}");
    }
}

const TABLE: &[(&str, &str)] = &[
    // Text and syntax.
    ("", "1:1: the expression is empty"),
    ("  // nothing", "1:1: the expression is empty"),
    ("true\0", "1:5: a NUL character is not allowed"),
    ("last('a') >", "1:12: the expression ends too early; something is missing after `>`"),
    ("last('a') = 1.0", "1:11: unexpected `=`; to compare, write `==`"),
    ("true & false", "1:6: unexpected `&`; for \"and\", write `&&`"),
    ("true and false", "1:6: unexpected `and`; write `&&`"),
    ("true\n  or false", "2:3: unexpected `or`; write `||`"),
    ("(true", "1:1: this `(` is never closed"),
    ("true)", "1:5: `)` closes nothing; remove it"),
    ("[true)", "1:6: `)` does not close the `[` before it"),
    ("target.name == 'x", "1:16: this text is never closed; its closing quote is missing"),
    ("target.name == '\\d'", "1:17: `\\d` is no escape; for a backslash write `\\\\`, for a pattern r\"…\""),
    ("target.name == 'é' && §", "1:23: unexpected character `§`"),
    (
        "1 == 99999999999999999999",
        "1:6: `99999999999999999999` does not fit in 64 bits; write it with a decimal point",
    ),
    ("if == 1", "1:1: `if` is a reserved word of CEL"),
    ("1 == )", "1:6: `)` closes nothing; remove it"),
    ("1 == * 2", "1:6: unexpected `*` here"),
    ("target.labels.?x == 'y'", "1:14: optional and quoted names are not supported; write x[\"name\"]"),
    // Names.
    ("metrics.value > 90", "1:1: unknown name `metrics`; did you mean `metric`?"),
    ("cpu > 90", "1:1: unknown name `cpu`; there are `metric` and `target`"),
    ("value > 90", "1:1: unknown name `value`; write metric.value"),
    ("target.nmae == 'x'", "1:8: `target` has no member `nmae`; did you mean `name`?"),
    ("target.foo == 'x'", "1:8: `target` has no member `foo`; it has name, kind, namespace, labels"),
    (
        "target == 'x'",
        "1:1: `target` is not a value; write target.name, target.kind, target.namespace or target.labels",
    ),
    ("hihgest('a') > 1.0", "1:1: unknown function `hihgest`; did you mean `highest`?"),
    ("'é' == 'é' && lats('a') > 1.0", "1:15: unknown function `lats`; did you mean `last`?"),
    ("target.name.startswith('x')", "1:13: unknown function `startswith`; did you mean `startsWith`?"),
    (
        "metric.value > 1.0",
        "1:1: `metric` is used, so say of which metric: begin with metric.name == \"…\" && or metric.name in [\"…\"] &&",
    ),
    (
        "metric.name == 'a' || true",
        "1:1: `metric` is used, so say of which metric: begin with metric.name == \"…\" && or metric.name in [\"…\"] &&",
    ),
    // Types.
    ("last('a')", "1:1: a condition must be true or false; this is a double, compare it with something"),
    (
        "last('a') > '90'",
        "1:11: `>` cannot compare a double with a string; convert one with double() or string()",
    ),
    (
        "target.labels.x == null",
        "1:17: `==` cannot compare a string with a null; nothing here is ever null, test a tag with has()",
    ),
    (
        "last('a') * 2 > 1.0",
        "1:11: `*` has no meaning for double and int; write whole numbers as 2.0, or convert with double()",
    ),
    ("!last('a')", "1:2: `!` needs a bool here, this is a double"),
    ("true && last('a')", "1:9: `&&` needs a bool here, this is a double"),
    (
        "'a' in 'abc'",
        "1:5: `in` needs a list or a map on its right, this is a string; for a part of a text write text.contains(part)",
    ),
    ("1 in ['a']", "1:3: `in` looks for a int where there are only values of type string"),
    (
        "[1, 'a'] == [1]",
        "1:5: the items of a list must have one type: this is a string, before it there is a int",
    ),
    ("{'a': 1, 'a': 2} == {}", "1:10: this key is there twice"),
    ("(true ? 1 : 'a') == 1", "1:7: both branches of `?:` must have one type; these are int and string"),
    ("[1] < [2]", "1:5: a list(int) has no order; only `==` and `!=` work"),
    ("size(1) == 1", "1:6: size() needs a string, list or map here, this is a int"),
    ("target.name.size == 1", "1:13: a string has no member `size`"),
    ("target.labels[1] == 'x'", "1:14: the keys of this map are string, this is a int"),
    // Functions.
    (
        "last(target.name) > 1.0",
        "1:6: the metric name must be a literal text; write last(\"metric\") or last(\"metric\", {\"tag\": \"value\"})",
    ),
    (
        "absent()",
        "1:1: absent() takes a metric name and tags; write absent(\"metric\") or absent(\"metric\", {\"tag\": \"value\"})",
    ),
    (
        "last('a', {'t': target.name}) > 1.0",
        "1:12: tags must be literal texts; write last(\"metric\") or last(\"metric\", {\"tag\": \"value\"})",
    ),
    ("target.name.matches(target.kind)", "1:21: the pattern of matches() must be a literal text"),
    ("target.name.matches('(')", "1:21: the pattern is not valid: unclosed group"),
    (
        "target.name.matches('((a{1000}){1000}){1000}')",
        "1:21: the pattern is too large; use fewer or smaller repetitions",
    ),
    ("has(target.name)", "1:5: target.name is always there; has() is for tags and labels"),
    ("has(1)", "1:5: has() needs a member, as in has(metric.tags.region)"),
    ("startsWith('a', 'b')", "1:1: startsWith() is called on a value; write value.startsWith(..)"),
    ("size('a', 'b') == 1", "1:1: size() takes one value"),
    // Macros.
    ("[1].filter(x, x > 1) == [1]", "1:5: filter() is not supported in conditions; use exists() or all()"),
    ("[1].all(1, true)", "1:9: the first argument of a macro is the name of its variable"),
    ("[1].all(target, true)", "1:9: `target` cannot be the name of a variable; choose another"),
    ("[1].all(a, [1].all(b, [1].all(c, true)))", "1:30: macros can be nested 2 deep; split the rule"),
    ("['a'].all(x, x + x == x)", "1:16: texts cannot be built inside a macro; compare the parts instead"),
    ("[].all(x, true)", "1:1: all() over nothing; the literal is empty"),
    // Several at once.
    (
        "foo > 1 && bar > 2",
        "1:1: unknown name `foo`; there are `metric` and `target`; 1:12: unknown name `bar`; there are `metric` and `target`",
    ),
];

#[test]
fn at_most_ten_errors_are_reported() {
    let source = vec!["x"; 40].join(" && ");
    assert_eq!(compile(&source).expect_err("unknown names").0.len(), 10);
}
