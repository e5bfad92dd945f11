//! Paths and queries: ids that are none, numbers out of range, metacharacters in every filter.

use serde_json::json;

use super::Siege;
use crate::support::{Options, Postgres, Request};

/// Texts that a careless query would run, percent-encoded.
const METACHARACTERS: [&str; 10] = [
    "%27%20OR%20%271%27=%271",
    "%22%3B%20DROP%20TABLE%20action%3B%20--",
    "%27%29%20UNION%20SELECT%20*%20FROM%20policy--",
    "1;SELECT%20pg_sleep(30)",
    "%25",
    "_%25_",
    "%5C",
    "%24%31",
    "%F0%9F%98%80%E2%80%AE",
    "a%0D%0ASet-Cookie:%20x",
];

/// What no database keeps, or is no text at all.
const UNKEEPABLE: [&str; 4] = ["%00", "a%00b", "%ff%fe", "%C0%80"];

fn ids(siege: &mut Siege) {
    let routes: [(&str, &str, &str); 10] = [
        ("GET", "/api/v1/actions/", ""),
        ("GET", "/actions/", ""),
        ("GET", "/api/v1/actions/", "/attempts"),
        ("GET", "/api/v1/actions/", "/why"),
        ("PUT", "/api/v1/actions/", "/cancel"),
        ("POST", "/api/v1/actions/", "/queue"),
        ("GET", "/api/v1/incidents/", ""),
        ("GET", "/api/v1/incidents/", "/why"),
        ("HEAD", "/api/v1/actions/", ""),
        ("HEAD", "/api/v1/incidents/", "/why"),
    ];
    for (method, before, after) in routes {
        for (id, status) in [
            ("abc", 422),
            ("1.5", 422),
            ("0x1", 422),
            ("1e3", 422),
            ("%20", 422),
            ("%00", 422),
            ("%D9%A1", 422),
            ("--1", 422),
            ("7", 404),
            ("0", 404),
            ("-1", 404),
            ("9223372036854775807", 404),
            ("9223372036854775808", 404),
            ("-9223372036854775809", 404),
            ("99999999999999999999999999999999999999", 404),
        ] {
            let path = format!("{before}{id}{after}");
            let name = format!("{method} {path}");
            if method == "HEAD" {
                let answer = siege.vigil.send(&Request::new(method, &path));
                assert_eq!(answer.status, status, "{name}");
            } else if status == 422 {
                siege.invalid(&name, &Request::new(method, &path), "int_parsing");
            } else {
                siege.case(&name, &Request::new(method, &path), 404);
            }
        }
    }
}

fn numbers(siege: &mut Siege) {
    for path in ["/api/v1/actions", "/actions", "/api/v1/incidents"] {
        for (limit, kind) in [
            ("0", "greater_than_equal"),
            ("-1", "greater_than_equal"),
            ("501", "less_than_equal"),
            ("9223372036854775807", "less_than_equal"),
            ("9223372036854775808", "int_parsing"),
            ("abc", "int_parsing"),
            ("1e2", "int_parsing"),
            ("1.5", "int_parsing"),
            ("", "int_parsing"),
            ("%00", "int_parsing"),
        ] {
            let request = Request::get(&format!("{path}?limit={limit}"));
            let fault = siege.invalid(&format!("{path}, limit {limit:?}"), &request, kind);
            assert_eq!(fault["loc"], json!(["query", "limit"]), "{fault}");
        }
    }
    for (query, kind) in [
        ("page=0", "greater_than_equal"),
        ("page=x", "int_parsing"),
        ("page=9223372036854775807", "less_than_equal"),
        ("start_time=yesterday", "datetime_from_date_parsing"),
        ("end_time=%00", "datetime_from_date_parsing"),
        ("start_time=nan", "datetime_from_date_parsing"),
        ("start_time=1e300", "datetime_from_date_parsing"),
    ] {
        siege.invalid(query, &Request::get(&format!("/api/v1/actions?{query}")), kind);
    }
    for (query, name) in [
        ("limit=5&limit=6", "limit"),
        ("incident_id=1&incident_id=1", "incident_id"),
        ("target=a&limit=1&target=", "target"),
        ("x=1&x=2", "x"),
    ] {
        let fault = siege.invalid(query, &Request::get(&format!("/api/v1/actions?{query}")), "value_error");
        assert_eq!(fault["loc"], json!(["query", name]), "{fault}");
    }
    let clamped =
        [("0", 1), ("-5", 1), ("501", 500), ("9223372036854775807", 500), ("-9223372036854775808", 1)];
    for (limit, size) in clamped {
        let request = Request::get(&format!("/api/v1/actions/status/pending?limit={limit}"));
        let answer = siege.case(&format!("clamped {limit}"), &request, 200).json();
        assert_eq!(answer["page_size"], size, "limit {limit}: {answer}");
    }
    let far = siege.case(
        "a page past the end",
        &Request::get("/api/v1/actions?page=9000000000000000&limit=500"),
        200,
    );
    assert_eq!(far.json()["actions"], json!([]), "a page past the end is empty");
}

fn filters(siege: &mut Siege) {
    let known = json!({"target": "keep", "action": "no-such-thing"});
    siege.vigil.post("/api/v1/actions", &known).expect(201);
    for text in METACHARACTERS {
        for path in ["/api/v1/actions?target=", "/api/v1/incidents?target=", "/api/v1/incidents?policy="] {
            let answer =
                siege.case(&format!("{path}{text}"), &Request::get(&format!("{path}{text}")), 200).json();
            assert_eq!(answer["count"], 0, "{path}{text} is compared as it is: {answer}");
        }
        let refused = [
            ("GET", format!("/api/v1/actions?status={text}"), 400),
            ("GET", format!("/api/v1/actions?state={text}"), 400),
            ("GET", format!("/api/v1/actions/status/{text}"), 400),
            ("GET", format!("/api/v1/incidents?state={text}"), 400),
            ("GET", format!("/api/v1/policies/severity/{text}"), 400),
            ("GET", format!("/api/v1/policies/{text}"), 404),
            ("DELETE", format!("/api/v1/policies/{text}"), 404),
            ("PUT", format!("/api/v1/policies/{text}/enable"), 404),
            ("PUT", format!("/api/v1/policies/{text}/disable"), 404),
        ];
        for (method, path, status) in refused {
            siege.case(&format!("{method} {path}"), &Request::new(method, &path), status);
        }
    }
    assert_eq!(siege.vigil.get_json("/api/v1/actions")["total"], 1, "an action was lost");
}

/// NUL and broken UTF-8 find nothing, with either database; what matters is that no 5xx comes of them.
fn unkeepable(siege: &mut Siege) {
    for text in UNKEEPABLE {
        for (method, path) in [
            ("GET", "/api/v1/actions?target={}"),
            ("GET", "/api/v1/incidents?target={}"),
            ("GET", "/api/v1/incidents?policy={}"),
            ("GET", "/api/v1/actions/status/{}"),
            ("GET", "/api/v1/policies/severity/{}"),
            ("GET", "/api/v1/policies/{}"),
            ("DELETE", "/api/v1/policies/{}"),
            ("PUT", "/api/v1/policies/{}/enable"),
        ] {
            let path = path.replace("{}", text);
            let answer = siege.vigil.send(&Request::new(method, &path));
            assert!(
                [200, 400, 404, 422].contains(&answer.status),
                "{method} {path}: {} {}",
                answer.status,
                answer.text()
            );
            if answer.status == 200 {
                assert_eq!(answer.json()["count"], 0, "{method} {path} finds nothing");
            }
            siege.cases += 1;
            siege.alive(&path);
        }
    }
}

fn every_query(options: Options) {
    let mut siege = Siege::start(options);
    ids(&mut siege);
    numbers(&mut siege);
    filters(&mut siege);
    unkeepable(&mut siege);
    siege.end(300);
}

#[test]
fn queries_on_sqlite() {
    every_query(Options::default());
}

#[test]
fn queries_on_postgres() {
    every_query(Options::default().database(Postgres::shared().database()));
}

#[test]
fn routes_and_methods() {
    let mut siege = Siege::start(Options::default());
    for path in [
        "/nonsense",
        "/api/v1/api/v1/ingest",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/../../etc/passwd",
        "//api/v1/actions",
        "/api/v1/actions/%00/x",
        "/%00",
        "/%ff",
        "/%25%32%65",
        "/api/v1/policies/a%2Fb/c",
    ] {
        siege.case(path, &Request::get(path), 404);
    }
    for (method, path) in [
        ("GET", "/api/v1/ingest"),
        ("PUT", "/api/v1/ingest"),
        ("DELETE", "/api/v1/actions"),
        ("POST", "/api/v1/policies/x"),
        ("PATCH", "/api/v1/policies/x"),
        ("POST", "/health"),
        ("BREW", "/health"),
        ("TRACE", "/health"),
    ] {
        let answer = siege.case(&format!("{method} {path}"), &Request::new(method, path), 405);
        assert!(answer.header("allow").is_some_and(|allow| !allow.is_empty()), "{method} {path}: no Allow");
    }
    // A method in a header changes nothing.
    let request = Request::get("/api/v1/policies").header("X-HTTP-Method-Override", "DELETE");
    siege.case("method override", &request, 200);
    for (path, place) in [
        ("/api/v1/actions/", "/api/v1/actions"),
        ("/api/v1/actions/?limit=1", "/api/v1/actions?limit=1"),
        ("//evil.example/", "/evil.example"),
        ("/\\evil.example/", "/\\evil.example"),
    ] {
        let answer = siege.vigil.send(&Request::get(path));
        assert_eq!(
            (answer.status, answer.header("location")),
            (307, Some(place)),
            "{path} stays on this host"
        );
    }
    let accept = Request::get("/nonsense").header("Accept", "application/problem+json");
    let answer = siege.case("problem+json", &accept, 404);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "as asked for");
    siege.end(19);
}
