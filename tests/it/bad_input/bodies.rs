//! Bodies of the ingest: not JSON, the wrong JSON, too much of it, and the oddities that are taken.

use serde_json::{Value, json};

use super::{Siege, metric};
use crate::support::{Options, Postgres, Request};

/// Bytes that are no JSON, or none that is read, by the type of fault.
fn malformed() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut nested = b"{\"name\":\"a\",\"value\":1,\"x\":".to_vec();
    nested.extend(b"[".repeat(32));
    nested.extend(b"]".repeat(32));
    nested.push(b'}');
    vec![
        ("no body", text(""), "missing"),
        ("blanks", text(" \r\n\t "), "missing"),
        ("truncated object", text(r#"{"name":"a","value":1"#), "json_invalid"),
        ("truncated text", text(r#"{"name":"a"#), "json_invalid"),
        ("truncated escape", text(r#"{"name":"a\u00"#), "json_invalid"),
        ("a word", text("nonsense"), "json_invalid"),
        ("trailing word", text(r#"{"name":"a","value":1} x"#), "json_invalid"),
        ("two documents", text(r#"{"name":"a","value":1}{"name":"a","value":1}"#), "json_invalid"),
        ("byte order mark", text("\u{feff}{\"name\":\"a\",\"value\":1}"), "json_invalid"),
        ("invalid UTF-8", b"{\"name\":\"\xff\xfe\",\"value\":1}".to_vec(), "json_invalid"),
        ("overlong UTF-8", b"{\"name\":\"\xc0\xaf\",\"value\":1}".to_vec(), "json_invalid"),
        ("encoded surrogate", b"{\"name\":\"\xed\xa0\x80\",\"value\":1}".to_vec(), "json_invalid"),
        ("lone surrogate", text(r#"{"name":"\ud800","value":1}"#), "json_invalid"),
        ("surrogates reversed", text(r#"{"name":"\udc00\ud800","value":1}"#), "json_invalid"),
        ("raw newline in a text", text("{\"name\":\"a\nb\",\"value\":1}"), "json_invalid"),
        ("raw NUL in a text", text("{\"name\":\"a\0b\",\"value\":1}"), "json_invalid"),
        ("raw NUL", text("\0"), "json_invalid"),
        ("single quotes", text("{'name':'a','value':1}"), "json_invalid"),
        ("a comment", text(r#"{"name":"a","value":1/*x*/}"#), "json_invalid"),
        ("a trailing comma", text(r#"{"name":"a","value":1,}"#), "json_invalid"),
        ("no quotes", text("{name:\"a\",value:1}"), "json_invalid"),
        ("UTF-16", b"{\0\"\0n\0\"\0:\01\0}\0".to_vec(), "json_invalid"),
        ("200,000 brackets", b"[".repeat(200_000), "json_invalid"),
        ("200,000 objects", b"{\"a\":".repeat(200_000), "json_invalid"),
        ("nesting of 33", nested, "json_invalid"),
        ("a million zeros", [b"[".to_vec(), b"0,".repeat(1_000_000), b"0]".to_vec()].concat(), "too_long"),
        ("a million lists", [b"[".to_vec(), b"[],".repeat(1_000_000), b"[]]".to_vec()].concat(), "too_long"),
        ("an escaped NUL in the name", text(r#"{"name":"a\u0000b","value":1}"#), "json_invalid"),
        (
            "an escaped NUL in a tag's name",
            text(r#"{"name":"a","value":1,"tags":{"a\u0000":"b"}}"#),
            "json_invalid",
        ),
        (
            "an escaped NUL in a tag's value",
            text(r#"{"name":"a","value":1,"tags":{"a":"\u0000"}}"#),
            "json_invalid",
        ),
        (
            "an escaped NUL in a label",
            text(r#"{"name":"a","value":1,"labels":{"a":"\u0000"}}"#),
            "json_invalid",
        ),
        ("an escaped NUL in a stranger", text(r#"{"name":"a","value":1,"x\u0000":1}"#), "json_invalid"),
        ("leading zero", text(r#"{"name":"a","value":01}"#), "json_invalid"),
        ("leading plus", text(r#"{"name":"a","value":+1}"#), "json_invalid"),
        ("no digit before the point", text(r#"{"name":"a","value":.5}"#), "json_invalid"),
        ("hexadecimal", text(r#"{"name":"a","value":0x10}"#), "json_invalid"),
        ("literal NaN", text(r#"{"name":"a","value":NaN}"#), "json_invalid"),
        ("literal nan", text(r#"{"name":"a","value":nan}"#), "json_invalid"),
        ("literal Infinity", text(r#"{"name":"a","value":Infinity}"#), "json_invalid"),
        ("literal -Infinity", text(r#"{"name":"a","value":-Infinity}"#), "json_invalid"),
        ("1e400", text(r#"{"name":"a","value":1e400}"#), "json_invalid"),
        ("-1e400", text(r#"{"name":"a","value":-1e400}"#), "json_invalid"),
    ]
}

/// JSON of the wrong form, by the type of fault and the member it names.
fn misshapen() -> Vec<(&'static str, Value, &'static str, Value)> {
    let with = |member: &str, value: Value| {
        let mut metric = json!({"name": "cpu", "value": 1});
        metric[member] = value;
        metric
    };
    let name = |value: Value| with("name", value);
    let value = |value: Value| with("value", value);
    let tags = |value: Value| with("tags", value);
    let target = |value: &str| with("tags", json!({"host": value}));
    let many: Value =
        (0..33).map(|n| (format!("t{n}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let at = |member: &str| json!(["body", member]);
    let body = json!(["body"]);
    vec![
        ("null", json!(null), "model_attributes_type", body.clone()),
        ("a number", json!(1), "model_attributes_type", body.clone()),
        ("a text", json!("x"), "model_attributes_type", body.clone()),
        ("a bool", json!(true), "model_attributes_type", body.clone()),
        ("an empty list", json!([]), "too_short", body),
        ("a list of numbers", json!([1]), "model_attributes_type", json!(["body", 0])),
        (
            "the second of a list",
            json!([{"name": "a", "value": 1}, {}]),
            "missing",
            json!(["body", 1, "name"]),
        ),
        ("no name", json!({"value": 1}), "missing", at("name")),
        ("no value", json!({"name": "a"}), "missing", at("value")),
        ("a number for a name", name(json!(5)), "string_type", at("name")),
        ("null for a name", name(json!(null)), "string_type", at("name")),
        ("an empty name", name(json!("")), "string_too_short", at("name")),
        ("a blank name", name(json!(" \t ")), "value_error", at("name")),
        ("a name of 256 characters", name(json!("x".repeat(256))), "string_too_long", at("name")),
        ("a name of 256 emoji", name(json!("😀".repeat(256))), "string_too_long", at("name")),
        ("a bell in a name", name(json!("a\u{7}b")), "value_error", at("name")),
        ("a C1 control in a name", name(json!("a\u{85}b")), "value_error", at("name")),
        ("a word for a value", value(json!("abc")), "float_parsing", at("value")),
        ("an empty text for a value", value(json!("")), "float_parsing", at("value")),
        ("null for a value", value(json!(null)), "float_type", at("value")),
        ("a list for a value", value(json!([1])), "float_type", at("value")),
        ("an object for a value", value(json!({"a": 1})), "float_type", at("value")),
        ("text nan", value(json!("nan")), "finite_number", at("value")),
        ("text NaN", value(json!("NaN")), "finite_number", at("value")),
        ("text -nan", value(json!("-nan")), "finite_number", at("value")),
        ("text inf", value(json!("inf")), "finite_number", at("value")),
        ("text -inf", value(json!("-inf")), "finite_number", at("value")),
        ("text Infinity", value(json!("Infinity")), "finite_number", at("value")),
        ("text 1e400", value(json!("1e400")), "finite_number", at("value")),
        ("tags as a list", tags(json!([])), "dict_type", at("tags")),
        ("tags as a text", tags(json!("a=b")), "dict_type", at("tags")),
        ("labels as a list", with("labels", json!([])), "dict_type", at("labels")),
        ("a number for a tag", tags(json!({"a": 1})), "string_type", json!(["body", "tags", "a"])),
        ("null for a tag", tags(json!({"a": null})), "string_type", json!(["body", "tags", "a"])),
        ("an object for a tag", tags(json!({"a": {}})), "string_type", json!(["body", "tags", "a"])),
        ("33 tags", tags(many.clone()), "value_error", at("tags")),
        ("33 labels", with("labels", many), "value_error", at("tags")),
        ("a tag without a name", tags(json!({"": "x"})), "value_error", at("tags")),
        ("a tag's name of 129 bytes", tags(json!({"k".repeat(129): "x"})), "value_error", at("tags")),
        ("a control in a tag's name", tags(json!({"a\nb": "x"})), "value_error", at("tags")),
        ("a tag's value of 1025 bytes", tags(json!({"a": "x".repeat(1025)})), "value_error", at("tags")),
        ("a tag's value of 64 KiB", tags(json!({"a": "x".repeat(65_536)})), "value_error", at("tags")),
        ("an empty target", target(""), "value_error", at("tags")),
        ("a blank target", target(" \u{a0}\u{2003} "), "value_error", at("tags")),
        ("a target of 256 characters", target(&"x".repeat(256)), "value_error", at("tags")),
        ("a control in a target", target("web\u{1b}[2J"), "value_error", at("tags")),
        ("a newline in a target", target("web\n01"), "value_error", at("tags")),
    ]
}

/// What is odd and taken all the same: what a member of the answer must be.
fn odd() -> Vec<(&'static str, String, &'static str, Value)> {
    let host = |name: &str| json!({"name": "cpu", "value": 1, "tags": {"host": name}}).to_string();
    let nested = format!(r#"{{"name":"a","value":1,"x":{}{}}}"#, "[".repeat(31), "]".repeat(31));
    vec![
        ("a numeric text", r#"{"name":"a","value":" 12.5 "}"#.into(), "status", json!("stored")),
        ("a bool for a number", r#"{"name":"a","value":true}"#.into(), "status", json!("stored")),
        ("30 digits", format!(r#"{{"name":"a","value":{}}}"#, "9".repeat(30)), "status", json!("stored")),
        ("minus zero", r#"{"name":"a","value":-0.0}"#.into(), "status", json!("stored")),
        ("the smallest number", r#"{"name":"a","value":5e-324}"#.into(), "status", json!("stored")),
        ("underflow", r#"{"name":"a","value":1e-400}"#.into(), "status", json!("stored")),
        ("the same member twice", r#"{"name":"a","value":1,"value":2}"#.into(), "status", json!("stored")),
        (
            "the same tag twice",
            r#"{"name":"a","value":1,"tags":{"host":"x","host":"y"}}"#.into(),
            "target",
            json!("y"),
        ),
        ("nesting of 32", nested, "warnings", json!(["unknown member `x` is ignored"])),
        (
            "a stranger",
            r#"{"name":"a","value":1,"vlaue":2}"#.into(),
            "warnings",
            json!(["unknown member `vlaue` is ignored"]),
        ),
        (
            "labels that are no texts",
            r#"{"name":"a","value":1,"labels":{"n":1,"o":{"p":[]}}}"#.into(),
            "status",
            json!("stored"),
        ),
        ("a zero-width space", host("web\u{200b}01"), "target", json!("web\u{200b}01")),
        ("right to left", host("\u{202e}10-bew"), "target", json!("\u{202e}10-bew")),
        ("an emoji", host("web-😀"), "target", json!("web-😀")),
        ("a decomposed name", host("cafe\u{301}"), "target", json!("caf\u{e9}")),
        ("blanks around a name", host("  web-01\t"), "target", json!("web-01")),
        ("255 emoji", host(&"😀".repeat(255)), "target", json!("😀".repeat(255))),
        ("a homoglyph", host("\u{430}pi"), "target", json!("\u{430}pi")),
        ("quotes", host("'; DROP TABLE sample; --"), "target", json!("'; DROP TABLE sample; --")),
        ("an empty tag", r#"{"name":"a","value":1,"tags":{"a":""}}"#.into(), "status", json!("stored")),
        (
            "null tags",
            r#"{"name":"a","value":1,"tags":null,"labels":null,"timestamp":null}"#.into(),
            "status",
            json!("stored"),
        ),
    ]
}

fn every_body(options: Options) {
    let mut siege = Siege::start(options);
    for (name, body, kind) in malformed() {
        let fault = siege.invalid(name, &metric(body), kind);
        assert_eq!(fault["loc"][0], "body", "{name}: {fault}");
    }
    for (name, body, kind, loc) in misshapen() {
        let fault = siege.invalid(name, &metric(body.to_string()), kind);
        assert_eq!(fault["loc"], loc, "{name}: {fault}");
    }
    for (name, body, member, expected) in odd() {
        let answer = siege.case(name, &metric(body), 201).json();
        assert_eq!(answer[member], expected, "{name}: {answer}");
    }
    siege.end(100);
}

#[test]
fn bodies_on_sqlite() {
    every_body(Options::default());
}

#[test]
fn bodies_on_postgres() {
    every_body(Options::default().database(Postgres::shared().database()));
}

#[test]
fn several_faults_are_named_at_once() {
    let mut siege = Siege::start(Options::default());
    let body = json!([{"name": "", "value": "x", "tags": []}, {"value": {}}]);
    let answer = siege.case("five faults", &metric(body.to_string()), 422).json();
    let kinds: Vec<&str> =
        answer["detail"].as_array().unwrap().iter().filter_map(|f| f["type"].as_str()).collect();
    assert_eq!(
        kinds,
        ["string_too_short", "float_parsing", "dict_type", "missing", "float_type"],
        "{answer}"
    );

    let bad: Vec<Value> = (0..500).map(|_| json!({"name": 1, "value": "x"})).collect();
    let answer = siege.case("1,000 faults", &metric(json!(bad).to_string()), 422).json();
    assert_eq!(answer["detail"].as_array().unwrap().len(), 100, "at most 100 faults are listed");

    let secret = json!({"password": "hunter2", "note": "n".repeat(1000)});
    let answer = siege.case("a secret", &metric(secret.to_string()), 422).text();
    assert!(!answer.contains("hunter2"), "a secret is shown again: {answer}");
    assert!(!answer.contains(&"n".repeat(257)), "a long text is shown again: {answer}");
    siege.end(3);
}

#[test]
fn sizes() {
    let mut siege = Siege::start(Options::default());
    let events = |count: usize| -> String {
        let one = r#"{"name":"a","value":1,"tags":{"host":"h"}}"#;
        format!("[{}]", vec![one; count].join(","))
    };
    let fault = siege.invalid("10,001 metrics", &metric(events(10_001)), "too_long");
    assert_eq!(fault["ctx"]["max_length"], 10_000, "{fault}");
    let answer = siege.case("10,000 metrics", &metric(events(10_000)), 201).json();
    assert_eq!(answer["accepted"], 10_000, "{}", answer["message"]);

    let mut large = br#"{"name":"a","value":1,"x":""#.to_vec();
    large.resize((8 << 20) + 1, b'x');
    siege.case("8 MiB and a byte", &metric(large.clone()), 413);
    let mut chunked = Vec::new();
    for chunk in large.chunks(1 << 20) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let request = metric(chunked).header("Transfer-Encoding", "chunked");
    siege.case("8 MiB and a byte in chunks", &request, 413);
    let claimed = metric("{}").header("Content-Length", "1099511627776");
    siege.case("a claim of 1 TiB", &claimed, 413);
    let mut other = br#"{"target":"a","action":"b","details":""#.to_vec();
    other.resize((1 << 20) + 1, b'x');
    for path in ["/api/v1/actions", "/api/v1/policies"] {
        siege.case(path, &super::json_bytes(path, other.clone()), 413);
    }
    siege.end(7);
}

#[test]
fn media_types() {
    let mut siege = Siege::start(Options::default());
    let good = r#"{"name":"a","value":1}"#;
    let with = |kind: &str| Request::new("POST", "/api/v1/ingest").header("Content-Type", kind).body(good);
    for kind in [
        "text/plain",
        "text/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application",
        "/",
        ";",
        "",
    ] {
        siege.invalid(&format!("type {kind:?}"), &with(kind), "model_attributes_type");
    }
    for kind in [
        "application/json",
        "APPLICATION/JSON; charset=\"UTF-8\"",
        "application/json;charset=utf-8",
        "application/x-ndjson",
    ] {
        siege.case(kind, &with(kind), 201);
    }
    siege.case("no type", &Request::new("POST", "/api/v1/ingest").body(good), 201);
    for encoding in ["br", "zstd", "identity, gzip", "gzip, gzip", "nonsense", ""] {
        siege.case(encoding, &with("application/json").header("Content-Encoding", encoding), 415);
    }
    for encoding in ["gzip", "deflate", "GZIP"] {
        let plain = with("application/json").header("Content-Encoding", encoding);
        siege.case(&format!("plain JSON called {encoding}"), &plain, 400);
    }
    siege.case("identity", &with("application/json").header("Content-Encoding", "identity"), 201);
    siege.end(20);
}

#[test]
fn lines_of_json() {
    let mut siege = Siege::start(Options::default());
    let lines = |body: &str| {
        Request::new("POST", "/api/v1/ingest").header("Content-Type", "application/x-ndjson").body(body)
    };
    let good = r#"{"name":"a","value":1}"#;
    let taken = siege.case("two lines", &lines(&format!("{good}\r\n\n  \n{good}")), 201).json();
    assert_eq!(taken["accepted"], 2, "{taken}");
    let broken = siege.invalid(
        "a broken second line",
        &lines(&format!("{good}\n{{\"name\":\n{good}")),
        "json_invalid",
    );
    assert_eq!(broken["loc"][1], 1, "the line is named: {broken}");
    let wrong =
        siege.invalid("a wrong second line", &lines(&format!("{good}\n{{\"name\":\"b\"}}")), "missing");
    assert_eq!(wrong["loc"], json!(["body", 1, "value"]), "{wrong}");
    siege.invalid("no line", &lines("\n\n"), "too_short");
    siege.invalid("10,001 lines", &lines(&format!("{good}\n").repeat(10_001)), "too_long");
    siege.invalid("10,001 broken lines", &lines(&"x\n".repeat(10_001)), "json_invalid");
    siege.end(6);
}
