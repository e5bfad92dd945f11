//! Who is let in: tokens, roles, targets, TLS, and what a stranger's page may do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod command;
mod matrix;
mod start;
mod strangers;
mod targets;
mod tls;
mod tokens;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{Options, Request, Response, Vigil};

/// Settings that ask for tokens although only the loopback is listened on.
const GUARDED: &str = "[auth]\nmode = \"token\"\n";

/// A server that asks for tokens, and its first one.
struct Guarded {
    vigil: Vigil,
    admin: String,
}

impl Guarded {
    fn start() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let vigil = Vigil::start(options.env("VIGIL_AUTH__MODE", "token"));
        let admin = bootstrap(&vigil);
        Self { vigil, admin }
    }

    /// Makes a token and answers what the server said.
    #[track_caller]
    fn make(&self, body: &Value) -> Value {
        self.send(&self.admin, &Request::post("/api/v1/tokens", body)).expect(201).json()
    }

    /// The text of a token of this role.
    #[track_caller]
    fn token(&self, name: &str, role: &str) -> String {
        text(&self.make(&json!({"name": name, "role": role})))
    }

    #[track_caller]
    fn send(&self, token: &str, request: &Request) -> Response {
        self.vigil.send(&with(token, request.clone()))
    }

    #[track_caller]
    fn get(&self, token: &str, path: &str) -> Response {
        self.send(token, &Request::get(path))
    }
}

/// The token that the server wrote for its operator.
#[track_caller]
fn bootstrap(vigil: &Vigil) -> String {
    let file = vigil.data_dir().join("bootstrap-token");
    std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        .trim()
        .to_owned()
}

fn text(made: &Value) -> String {
    made["token"].as_str().unwrap_or_else(|| panic!("no token in {made}")).to_owned()
}

fn with(token: &str, request: Request) -> Request {
    request.header("Authorization", format!("Bearer {token}"))
}

/// Unix seconds, this much from now.
fn in_time(span: Duration) -> f64 {
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + span).as_secs_f64()
}
