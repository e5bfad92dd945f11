//! Rate limits: the seed's numbers and headers for strangers, a pace for tokens, and what is never limited.

use std::time::Duration;

use serde_json::json;

use crate::support::{Options, Request, Response, Vigil};

fn number(answer: &Response, name: &str) -> Option<u64> {
    answer.header(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// Limit, remaining and reset of an answer.
fn left(answer: &Response) -> Option<(u64, u64, u64)> {
    let part = |name: &str| number(answer, &format!("x-ratelimit-{name}"));
    Some((part("limit")?, part("remaining")?, part("reset")?))
}

#[track_caller]
fn refused(answer: &Response) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"], "Rate limit exceeded", "{body}");
    let wait = number(answer, "retry-after").unwrap();
    assert!((1..=60).contains(&wait) && body["retry_after"] == wait, "{wait}: {body}");
    assert!(body["detail"].is_string() && body["status"] == 429, "{body}");
    assert_eq!(left(answer).map(|(_, remaining, _)| remaining), Some(0));
}

#[test]
fn strangers_have_the_seeds_numbers() {
    let vigil = Vigil::start(Options::default().rated());
    // One counter for all ids of a route: the 51st is too much, whatever it asks for.
    for n in 1..=60 {
        let answer = vigil.get(&format!("/api/v1/actions/{n}"));
        if n <= 50 {
            assert_eq!(answer.status, 404, "{n}: {}", answer.text());
            let (limit, remaining, reset) = left(&answer).unwrap();
            assert_eq!((limit, remaining), (50, 50 - n), "{n}");
            assert!((1..=60).contains(&reset), "{reset}");
        } else {
            refused(&answer);
        }
    }
    // Another route has its own counter, and one that only differs in its method the same.
    assert_eq!(vigil.get("/api/v1/actions").status, 200);
    let metric = json!({"name": "m", "value": 1});
    for n in 1..=210 {
        let answer = vigil.post("/api/v1/ingest", &metric);
        if n <= 200 {
            assert_eq!((answer.status, left(&answer).unwrap().0), (201, 200), "{n}");
        } else {
            refused(&answer);
        }
    }
    for n in 1..=110 {
        let answer = vigil.get("/api/v1/policies");
        if n <= 100 {
            assert_eq!((answer.status, left(&answer).unwrap().0), (200, 100), "{n}");
        } else {
            refused(&answer);
        }
    }
}

#[test]
fn what_shows_life_or_stops_things_is_never_limited() {
    let vigil = Vigil::start(Options::default().rated());
    for n in 0..1_000 {
        let answer = vigil.get("/health");
        assert_eq!((answer.status, left(&answer)), (200, None), "{n}");
    }
    for n in 0..120 {
        for path in ["/metrics", "/health/ready", "/api/v1/ingest/health", "/api/v1/actions/health"] {
            let answer = vigil.get(path);
            assert_eq!((answer.status, left(&answer)), (200, None), "{n} {path}");
        }
        let cancel = vigil.send(&Request::new("PUT", &format!("/api/v1/actions/{n}/cancel")));
        assert_eq!((cancel.status, left(&cancel)), (404, None), "{n}");
    }
}

#[test]
fn a_window_ends_and_refusals_are_not_counted() {
    let config = "[limits.rate]\nrequests = 3\nperiod = \"2s\"\n";
    let vigil = Vigil::start(Options::default().rated().config(config));
    let ask = || vigil.get("/api/v1/policies");
    assert_eq!([ask().status, ask().status, ask().status], [200; 3]);
    for _ in 0..20 {
        assert_eq!(ask().status, 429);
    }
    let wait = number(&ask(), "retry-after").unwrap();
    std::thread::sleep(Duration::from_secs(wait));
    assert_eq!([ask().status, ask().status, ask().status, ask().status], [200, 200, 200, 429]);
    let off =
        Vigil::start(Options::default().rated().config("[limits.rate]\nenabled = false\nrequests = 1\n"));
    for _ in 0..20 {
        let answer = off.get("/api/v1/policies");
        assert_eq!((answer.status, left(&answer)), (200, None));
    }
}

#[test]
fn another_address_is_believed_from_a_configured_proxy_only() {
    let config = "[server]\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n[limits.rate]\nrequests = 2\n";
    let vigil = Vigil::start(Options::default().rated().config(config));
    let ask = |forwarded: &str| {
        vigil.send(&Request::get("/api/v1/policies").header("X-Forwarded-For", forwarded)).status
    };
    for client in ["198.51.100.1", "2001:db8::1", "198.51.100.3:4711"] {
        assert_eq!([ask(client), ask(client), ask(client)], [200, 200, 429], "{client}");
    }
    // What a client writes itself stands before what the proxy adds, and counts for nothing.
    for n in 0..5 {
        assert_eq!(ask(&format!("203.0.113.{n}, 198.51.100.1")), 429, "{n}");
        assert_eq!(ask(&format!("203.0.113.{n}, 198.51.100.1, 10.1.2.3")), 429, "{n}");
    }
    assert_eq!(ask("2001:db8::2"), 429, "one household");
    assert_eq!(ask("2001:db8:0:1::2"), 200, "another one");
    assert_eq!(ask("nonsense"), 400);
    // From nobody's proxy it is refused, so that it can't be used to look like many.
    let plain = Vigil::start(Options::default().rated());
    let request = Request::get("/api/v1/policies").header("X-Forwarded-For", "198.51.100.1");
    assert_eq!(plain.send(&request).status, 403);
}

#[test]
fn a_token_has_its_own_pace() {
    let config =
        "[auth]\nmode = \"token\"\n[limits.rate]\nrequests = 1\ntoken_requests = 5\ntoken_burst = 20\n";
    let vigil = Vigil::start(Options::default().rated().config(config));
    let token = std::fs::read_to_string(vigil.data_dir().join("bootstrap-token")).unwrap();
    let ask = |path: &str| {
        vigil.send(&Request::get(path).header("Authorization", format!("Bearer {}", token.trim())))
    };
    let first = ask("/api/v1/policies");
    assert_eq!(first.status, 200);
    assert_eq!(left(&first).unwrap().0, 20);
    let taken = (0..60).filter(|_| ask("/api/v1/policies").status == 200).count();
    assert!((19..40).contains(&taken), "{taken} of a burst of 20");
    let refusal = ask("/api/v1/policies");
    if refusal.status == 429 {
        refused(&refusal);
    }
    assert_eq!(ask("/api/v1/actions").status, 200, "another class");
    std::thread::sleep(Duration::from_millis(1_100));
    let again = (0..20).filter(|_| ask("/api/v1/policies").status == 200).count();
    assert!((5..15).contains(&again), "{again} after a second at 5 a second");
}
