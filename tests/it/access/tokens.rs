//! The life of a token: made once, found in the log nowhere, used, revoked on every server.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Guarded, bootstrap, in_time, text, with};
use crate::stage::{Backend, Setting, ask};
use crate::support::{FaultProxy, Mode, Options, Postgres, Request, Vigil, wait_until};

#[test]
fn the_first_token_is_in_a_file_of_ours_and_nowhere_else() {
    let mut scene = Guarded::start();
    let file = scene.vigil.data_dir().join("bootstrap-token");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    assert!(scene.admin.starts_with("vgl_admin_"), "{}", scene.admin);
    assert_eq!(scene.get(&scene.admin, "/api/v1/policies").status, 200);
    // Once: another start makes no other one.
    scene.vigil.restart();
    assert_eq!(bootstrap(&scene.vigil), scene.admin, "the same token after a restart");
    let made = scene.make(&json!({"name": "x", "role": "viewer"}));
    let viewer = text(&made);
    assert_eq!(scene.get(&viewer, "/api/v1/policies").status, 200);
    scene.get(&format!("{viewer}x"), "/api/v1/policies").expect(401);
    for secret in [&scene.admin, &viewer] {
        assert!(!scene.vigil.log().contains(secret.as_str()), "a token is in the log");
        let bytes = std::fs::read(scene.vigil.data_dir().join("vigil.db")).unwrap();
        let wal = std::fs::read(scene.vigil.data_dir().join("vigil.db-wal")).unwrap_or_default();
        let held = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!held(&bytes) && !held(&wal), "a token is in the database");
    }
    let listed = scene.get(&scene.admin, "/api/v1/tokens").expect(200);
    assert!(!listed.text().contains(&viewer), "a token is in the list");
    assert!(listed.json()["tokens"][1]["prefix"].as_str().is_some_and(|prefix| viewer.starts_with(prefix)));
    // Where no administrator can get in any more, a start makes a new one.
    let id = scene.get(&scene.admin, "/api/v1/tokens").json()["tokens"][0]["id"].clone();
    scene.send(&scene.admin, &Request::new("DELETE", &format!("/api/v1/tokens/{id}"))).expect(200);
    scene.get(&scene.admin, "/api/v1/tokens").expect(401);
    scene.vigil.restart();
    let second = bootstrap(&scene.vigil);
    assert_ne!(second, scene.admin);
    assert_eq!(scene.get(&second, "/api/v1/tokens").status, 200);
    scene.get(&scene.admin, "/api/v1/tokens").expect(401);
}

#[test]
fn without_authentication_no_token_is_written_or_made() {
    let vigil = Vigil::start(Options::default());
    assert!(!vigil.data_dir().join("bootstrap-token").exists());
    let body = json!({"name": "x", "role": "admin"});
    let refused = vigil.post("/api/v1/tokens", &body).expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("auth.mode"), "{refused}");
    assert_eq!(vigil.get_json("/api/v1/tokens")["total"], 0);
}

#[test]
fn what_a_new_token_may_be() {
    let scene = Guarded::start();
    let made = scene.make(&json!({
        "name": " deploy ", "role": "operator", "targets": ["web-*", "db"], "expires_at": in_time(Duration::from_secs(3600)),
    }));
    assert_eq!(made["name"], "deploy");
    assert_eq!(made["targets"], json!(["web-*", "db"]));
    assert_eq!(made["state"], "valid");
    assert_eq!(made["created_by"], "token:1:bootstrap");
    assert!(made["expires_at"].is_string() && made["revoked_at"].is_null(), "{made}");
    let random = text(&made).split('_').nth(2).unwrap().len();
    assert!(random >= 22, "{random} random characters");
    let try_ = |body: &Value| scene.send(&scene.admin, &Request::post("/api/v1/tokens", body));
    let taken = try_(&json!({"name": "deploy", "role": "viewer"})).expect(409).json();
    assert!(taken["detail"].as_str().unwrap().contains("deploy"), "{taken}");
    for (member, body) in [
        ("name", json!({"role": "viewer"})),
        ("name", json!({"name": "", "role": "viewer"})),
        ("name", json!({"name": "x".repeat(65), "role": "viewer"})),
        ("name", json!({"name": "a\nb", "role": "viewer"})),
        ("name", json!({"name": 7, "role": "viewer"})),
        ("role", json!({"name": "x"})),
        ("role", json!({"name": "x", "role": "king"})),
        ("role", json!({"name": "x", "role": "Admin"})),
        ("targets", json!({"name": "x", "role": "agent", "targets": "web"})),
        ("targets", json!({"name": "x", "role": "agent", "targets": [1]})),
        ("targets", json!({"name": "x", "role": "agent", "targets": ["web-?"]})),
        ("targets", json!({"name": "x", "role": "agent", "targets": vec!["x"; 51]})),
        ("expires_at", json!({"name": "x", "role": "agent", "expires_at": "soon"})),
        ("expires_at", json!({"name": "x", "role": "agent", "expires_at": 1})),
        ("rolle", json!({"name": "x", "role": "agent", "rolle": "viewer"})),
    ] {
        let answer = try_(&body).expect(422).json();
        assert_eq!(answer["detail"][0]["loc"][1], member, "{body}: {answer}");
    }
    let revoke =
        |id: &str| scene.send(&scene.admin, &Request::new("DELETE", &format!("/api/v1/tokens/{id}"))).status;
    assert_eq!([revoke("999"), revoke("x"), revoke("2"), revoke("2")], [404, 422, 200, 200]);
    // Its name is free again.
    scene.make(&json!({"name": "deploy", "role": "viewer"}));
    scene.get(&text(&made), "/api/v1/policies").expect(401);
}

#[test]
fn a_token_is_taken_from_one_place_and_only_whole() {
    let scene = Guarded::start();
    let token = scene.token("reader", "viewer");
    let path = "/api/v1/policies";
    let cut = &token[..token.len() - 1];
    let other = format!("{cut}{}", if token.ends_with('0') { '1' } else { '0' });
    let forged = "vgl_admin_0123456789abcdefABCDEF01_00000000";
    for (name, request) in [
        ("none", Request::get(path)),
        ("in the query", Request::get(&format!("{path}?token={token}&access_token={token}"))),
        ("in a cookie", Request::get(path).header("Cookie", format!("token={token}"))),
        ("another header", Request::get(path).header("X-API-Key", &token)),
        ("basic", Request::get(path).header("Authorization", format!("Basic {token}"))),
        ("no scheme", Request::get(path).header("Authorization", &token)),
        ("nothing behind the scheme", Request::get(path).header("Authorization", "Bearer ")),
        ("cut", with(cut, Request::get(path))),
        ("a typo", with(&other, Request::get(path))),
        ("forged", with(forged, Request::get(path))),
        ("upper case", with(&token.to_uppercase(), Request::get(path))),
        ("twice", with(&token, with(&token, Request::get(path)))),
        ("bytes", Request::get(path).header("Authorization", "Bearer caf\u{e9}")),
        ("long", with(&"x".repeat(20_000), Request::get(path))),
    ] {
        let answer = scene.vigil.send(&request).expect(401);
        let scheme = answer.header("www-authenticate").unwrap_or_default();
        assert!(scheme.starts_with("Bearer"), "{name}: {scheme:?}");
        let body = answer.json();
        assert!(body["detail"].is_string() && body["status"] == 401, "{name}: {body}");
        assert!(!answer.text().contains(&token), "{name}: the token is in the answer");
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let request = Request::get(path).header("Authorization", format!("{scheme} {token}"));
        assert_eq!(scene.vigil.send(&request).status, 200, "{scheme}");
    }
    // Signs of life ask nobody.
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(scene.vigil.get(path).status, 200, "{path}");
    }
    // What does not exist is no secret.
    assert_eq!(scene.vigil.get("/nonsense").status, 404);
    assert_eq!(scene.vigil.send(&Request::new("PATCH", path)).status, 405);
}

#[test]
fn changes_are_audited_under_the_tokens_name() {
    let scene = Guarded::start();
    let author = scene.token("author", "author");
    let made = json!({"name": "p", "action": "restart", "target": "web",
        "condition": {"type": "metric_exceeds", "metric": "cpu", "threshold": 90}});
    scene.send(&author, &Request::post("/api/v1/policies", &made)).expect(201);
    let action = json!({"target": "web", "action": "restart"});
    let id = scene.send(&author, &Request::post("/api/v1/actions", &action)).expect(201).json()["action_id"]
        .clone();
    scene.send(&author, &Request::new("PUT", &format!("/api/v1/actions/{id}/cancel"))).expect(200);
    scene.send(&scene.admin, &Request::new("DELETE", "/api/v1/tokens/2")).expect(200);
    let count = |sql| ask(None, &scene.vigil.data_dir(), sql)[0];
    for (what, rows) in [
        (
            "the token",
            count(
                "SELECT COUNT(*) FROM audit WHERE verb = 'token.created' AND object_id = '2' AND actor = 'token:1:bootstrap'",
            ),
        ),
        (
            "the first token",
            count("SELECT COUNT(*) FROM audit WHERE verb = 'token.created' AND actor = 'system'"),
        ),
        (
            "the policy",
            count(
                "SELECT COUNT(*) FROM audit WHERE verb = 'policy.created' AND object_id = 'p' AND actor = 'token:2:author'",
            ),
        ),
        (
            "the cancellation",
            count("SELECT COUNT(*) FROM audit WHERE verb = 'action.cancelled' AND actor = 'token:2:author'"),
        ),
        (
            "the revocation",
            count(
                "SELECT COUNT(*) FROM audit WHERE verb = 'token.revoked' AND object_id = '2' AND actor = 'token:1:bootstrap'",
            ),
        ),
    ] {
        assert_eq!(rows, 1, "{what}");
    }
}

#[test]
fn a_keys_scope_is_its_token_and_its_use_is_noted() {
    let scene = Guarded::start();
    let (one, two) = (scene.token("one", "agent"), scene.token("two", "agent"));
    let send = |token: &str, value: u32| {
        let metric = json!({"name": "m", "value": value});
        scene.send(token, &Request::post("/api/v1/ingest", &metric).header("Idempotency-Key", "k")).status
    };
    assert_eq!([send(&one, 1), send(&two, 2), send(&one, 1), send(&one, 3)], [201, 201, 201, 422]);
    let used = |at: usize| {
        scene.get(&scene.admin, "/api/v1/tokens").json()["tokens"][at]["last_used_at"].is_string()
    };
    wait_until(Duration::from_secs(20), "the use to be noted", || used(1) && used(2));
}

#[test]
fn a_revocation_holds_on_the_other_server_within_a_second() {
    let backend = Backend::new(Setting::Postgres);
    let options = || backend.options(super::GUARDED);
    let first = Guarded::with(options());
    let second = Vigil::start(options().env("VIGIL_AUTH__MODE", "token"));
    assert!(!second.data_dir().join("bootstrap-token").exists(), "one first token for all servers");
    for round in 0..5 {
        let made = first.make(&json!({"name": format!("t-{round}"), "role": "viewer"}));
        let request = with(&text(&made), Request::get("/api/v1/policies"));
        wait_until(Duration::from_secs(1), "the token on the other server", || {
            second.send(&request).status == 200
        });
        let path = format!("/api/v1/tokens/{}", made["id"]);
        first.send(&first.admin, &Request::new("DELETE", &path)).expect(200);
        let revoked = Instant::now();
        assert_eq!(first.vigil.send(&request).status, 401, "at once where it was revoked");
        while second.send(&request).status == 200 {
            assert!(revoked.elapsed() < Duration::from_secs(1), "still taken after a second");
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(second.send(&request).status, 401);
    }
}

#[test]
fn tokens_that_nobody_can_check_are_not_believed() {
    let postgres = Postgres::shared();
    let database = postgres.database();
    let name = database.rsplit('/').next().unwrap();
    let proxy = FaultProxy::tcp(postgres.port());
    let url = postgres.url_at(proxy.port(), name);
    let scene = Guarded::with(Options::default().database(url));
    let path = "/api/v1/plugins";
    assert_eq!(scene.get(&scene.admin, path).status, 200);
    proxy.set(Mode::Blackhole);
    std::thread::sleep(Duration::from_secs(7));
    let answer = scene.get(&scene.admin, path).expect(503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(scene.vigil.get("/health").status, 200);
    assert_eq!(scene.get("vgl_admin_nonsense_00000000", path).status, 401, "a typo is one all the same");
    proxy.set(Mode::Pass);
    wait_until(Duration::from_secs(30), "tokens to be believed again", || {
        scene.get(&scene.admin, path).status == 200
    });
}
