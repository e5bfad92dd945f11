//! `vigil token`: what people and scripts see of it.

use std::process::{Command, Output};

use serde_json::Value;

use super::Guarded;
use crate::support::{Options, Request, Vigil, free_port};

struct Shell<'a> {
    vigil: &'a Vigil,
    token: Option<String>,
}

impl Shell<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(Vigil::binary());
        command
            .arg("token")
            .args(args)
            .env_clear()
            .env("HOME", self.vigil.home())
            .env("VIGIL_URL", self.vigil.url());
        if let Some(token) = &self.token {
            command.env("VIGIL_TOKEN", token);
        }
        command.output().unwrap()
    }

    /// Its stdout; the exit code must be this one.
    #[track_caller]
    fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(code == 0 || output.stdout.is_empty() && said.len() > 20, "{args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
fn tokens_are_made_listed_and_revoked_by_hand() {
    let scene = Guarded::start();
    let file = scene.vigil.data_dir().join("bootstrap-token");
    let shell = Shell { vigil: &scene.vigil, token: Some(scene.admin.clone()) };
    let token =
        shell.expect(0, &["create", "ci", "--role", "agent", "--target", "web-*", "--expires-in", "90d"]);
    assert_eq!(token.lines().count(), 1, "the token alone is data: {token}");
    let metric = serde_json::json!({"name": "m", "value": 1, "tags": {"service": "web-1"}});
    scene.send(token.trim(), &Request::post("/api/v1/ingest", &metric)).expect(201);
    let list = shell.expect(0, &["list"]);
    assert!(list.starts_with("ID") && list.contains("web-*") && !list.contains(token.trim()), "{list}");
    assert_eq!(list.lines().count(), 3, "{list}");
    let by_file = Shell { vigil: &scene.vigil, token: None };
    let list = by_file.expect(0, &["list", "-o", "json", "--token-file", file.to_str().unwrap()]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["tokens"][1]["name"], "ci");
    assert!(list["tokens"][1]["expires_at"].is_string(), "{list}");
    let made = shell.expect(0, &["create", "two", "--role", "viewer", "-o", "json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let viewer = made["token"].as_str().unwrap().to_owned();

    shell.expect(6, &["create", "ci", "--role", "agent"]);
    shell.expect(2, &["create", "x", "--role", "king"]);
    shell.expect(2, &["create", "x"]);
    shell.expect(1, &["create", "", "--role", "agent"]);
    shell.expect(4, &["revoke", "999"]);
    by_file.expect(5, &["list"]);
    Shell { vigil: &scene.vigil, token: Some(viewer.clone()) }.expect(5, &["list"]);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    shell.expect(8, &["list", "--url", &nobody]);
    shell.expect(1, &["list", "--url", "ftp://x"]);
    shell.expect(1, &["list", "--token-file", "/nowhere"]);

    shell.expect(0, &["revoke", &made["id"].to_string()]);
    scene.get(&viewer, "/api/v1/policies").expect(401);
    assert!(shell.expect(0, &["list"]).contains("revoked"));
}

#[test]
fn a_server_without_authentication_says_so() {
    let vigil = Vigil::start(Options::default());
    let shell = Shell { vigil: &vigil, token: None };
    shell.expect(6, &["create", "ci", "--role", "agent"]);
    assert_eq!(shell.expect(0, &["list"]).lines().count(), 1);
}
