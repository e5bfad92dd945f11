//! A browser is a stranger: which pages may read and write, and what every answer says about itself.

use super::Guarded;
use crate::support::{Options, Request, Response, Vigil};

const LISTED: &str = "https://ops.example";

fn listed() -> Options {
    Options::default()
        .config(format!("[server]\nallowed_origins = [\"{LISTED}\", \"http://localhost:3000\"]\n"))
}

fn preflight(path: &str, origin: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "PUT")
        .header("Access-Control-Request-Headers", "content-type, x-evil")
}

fn allowed(answer: &Response) -> (Option<&str>, Option<&str>) {
    (answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials"))
}

/// Origins that look like a listed one or like nobody's.
const STRANGERS: [&str; 9] = [
    "null",
    "https://evil.example",
    "http://ops.example",
    "https://ops.example.evil.example",
    "https://evil.ops.example",
    "https://ops.example:444",
    "https://ops.exampl",
    "https://OPS.example",
    "https://ops.example, https://evil.example",
];

#[test]
fn answers_name_listed_origins_and_no_others() {
    let vigil = Vigil::start(listed());
    for path in ["/health", "/api/v1/policies", "/nonsense", "/metrics"] {
        let get = |origin: &str| vigil.send(&Request::get(path).header("Origin", origin));
        let answer = get(LISTED);
        assert_eq!(allowed(&answer), (Some(LISTED), Some("true")), "{path}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("x-request-id") && exposed.contains("x-ratelimit-remaining"), "{exposed}");
        for origin in STRANGERS {
            let answer = get(origin);
            assert_eq!(allowed(&answer), (None, None), "{path} for {origin}");
            assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
        }
    }
    // A refusal can be read by the page that caused it.
    let refused = vigil.send(&Request::new("PATCH", "/api/v1/policies").header("Origin", LISTED)).expect(405);
    assert_eq!(allowed(&refused).0, Some(LISTED));
    assert!(refused.header("allow").is_some());
}

#[test]
fn preflights() {
    let vigil = Vigil::start(listed());
    for path in ["/api/v1/policies/x", "/api/v1/ingest", "/nonsense"] {
        let answer = vigil.send(&preflight(path, LISTED)).expect(200);
        assert_eq!(allowed(&answer), (Some(LISTED), Some("true")), "{path}");
        let methods = answer.header("access-control-allow-methods");
        assert_eq!(methods, Some("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"), "{path}");
        assert_eq!(answer.header("access-control-max-age"), Some("600"), "{path}");
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("content-type") && headers.contains("authorization"), "{headers}");
        assert!(!headers.contains("evil"), "what was asked for is not reflected: {headers}");
        assert!(answer.header("x-request-id").is_some());
        for origin in STRANGERS {
            let answer = vigil.send(&preflight(path, origin)).expect(200);
            let none =
                answer.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("access-control"));
            assert!(none, "{path} for {origin}: {:?}", answer.headers);
        }
    }
    // An OPTIONS that asks for no method is none.
    vigil.send(&Request::new("OPTIONS", "/api/v1/policies").header("Origin", LISTED)).expect(405);
    // With tokens, too, a preflight carries none and is answered.
    let guarded = Guarded::with(listed());
    guarded.vigil.send(&preflight("/api/v1/policies/x", LISTED)).expect(200);
}

#[test]
fn pages_write_only_where_they_are_listed() {
    for (scene, token) in [(Vigil::start(listed()), None), {
        let guarded = Guarded::with(listed());
        (guarded.vigil, Some(guarded.admin))
    }] {
        let write = |more: &[(&str, &str)]| {
            let metric = serde_json::json!({"name": "m", "value": 1});
            let request = Request::post("/api/v1/ingest", &metric);
            let request = more.iter().fold(request, |request, (name, value)| request.header(name, *value));
            let request = token.iter().fold(request, |request, token| super::with(token, request));
            scene.send(&request).status
        };
        assert_eq!(write(&[]), 201, "no browser");
        assert_eq!(write(&[("Origin", LISTED)]), 201);
        assert_eq!(write(&[("Origin", LISTED), ("Sec-Fetch-Site", "cross-site")]), 201);
        assert_eq!(write(&[("Sec-Fetch-Site", "same-origin")]), 201);
        assert_eq!(write(&[("Sec-Fetch-Site", "none")]), 201);
        assert_eq!(write(&[("Sec-Fetch-Site", "cross-site")]), 403);
        assert_eq!(write(&[("Sec-Fetch-Site", "same-site")]), 403);
        for origin in STRANGERS {
            assert_eq!(write(&[("Origin", origin)]), 403, "{origin}");
        }
        let own = format!("http://localhost:{}", scene.port());
        let host = format!("localhost:{}", scene.port());
        assert_eq!(write(&[("Origin", &own), ("Host", &host)]), 201, "our own page");
    }
}

#[test]
fn every_page_may_read_where_that_is_set_by_hand_and_tokens_guard() {
    let any = || Options::default().config("[server]\nallowed_origins = \"*\"\n");
    let guarded = Guarded::with(any());
    let answer =
        guarded.vigil.send(&Request::get("/health").header("Origin", "https://any.example")).expect(200);
    assert_eq!(allowed(&answer), (Some("*"), None), "without credentials");
    let mut options = any();
    options.no_wait = true;
    let mut open = Vigil::start(options);
    let status = open.wait_exit(std::time::Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(1));
    assert!(open.log().contains("auth.mode"), "{}", open.log());
}

#[test]
fn answers_say_what_they_may_do() {
    let vigil = Vigil::start(Options::default());
    for request in [
        Request::get("/health"),
        Request::get("/api/v1/policies"),
        Request::get("/nonsense"),
        Request::get("/metrics"),
        Request::new("POST", "/api/v1/ingest").body("{"),
        Request::get("/health").header("Host", "evil.example"),
        Request::get("/health/"),
    ] {
        let answer = vigil.send(&request);
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(!header("x-request-id").is_empty());
        assert!(allowed(&answer) == (None, None) && header("server").is_empty());
    }
}

#[test]
fn an_address_is_a_name_of_its_own_and_other_names_are_not() {
    let vigil = Vigil::start(Options::default().config("[server]\nallowed_hosts = [\"Vigil.Example\"]\n"));
    let status = |host: &str| vigil.send(&Request::get("/health").header("Host", host)).status;
    assert_eq!([status("vigil.example"), status("VIGIL.example:1"), status("127.0.0.1")], [200; 3]);
    assert_eq!([status("other.example"), status("127.0.0.2"), status("10.0.0.1"), status("[::2]")], [421; 4]);
}
