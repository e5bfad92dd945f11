//! What others can reach is guarded, or it does not start.

use std::process::{Command, Output};
use std::time::Duration;

use super::tls::Authority;
use crate::support::{Launch, Vigil, free_port, temp_dir, wait_until};

fn serve(args: &[&str], env: &[(&str, &str)]) -> Output {
    let home = temp_dir();
    let data = home.path().join("data");
    let mut command = Command::new(Vigil::binary());
    command.args(["serve", "--data-dir"]).arg(&data).args(args).env_clear().env("HOME", home.path());
    command.envs(env.iter().copied()).current_dir(home.path()).output().unwrap()
}

#[test]
fn an_open_address_is_refused_with_what_to_do() {
    let tls = Authority::new().leaf("localhost");
    let home = temp_dir();
    let (cert, key) = tls.write(home.path());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let tls = [("VIGIL_SERVER__TLS__CERT", cert), ("VIGIL_SERVER__TLS__KEY", key)];
    let none = ("VIGIL_AUTH__MODE", "none");
    for (listen, env, words) in [
        ("0.0.0.0:0", vec![], &["server.listen", "server.tls.cert", "--insecure"][..]),
        ("[::]:0", vec![], &["server.tls.cert", "--insecure"]),
        ("192.0.2.1:0", vec![], &["server.tls.cert"]),
        ("0.0.0.0:0", vec![none], &["auth.mode", "server.tls.cert"]),
        ("0.0.0.0:0", vec![none, tls[0], tls[1]], &["auth.mode"]),
        ("127.0.0.1:0", vec![tls[0]], &["server.tls.key"]),
        ("127.0.0.1:0", vec![tls[1]], &["server.tls.cert"]),
        ("127.0.0.1:0", vec![("VIGIL_AUTH__MODE", "open")], &["auth.mode"]),
        ("127.0.0.1:0", vec![tls[0], ("VIGIL_SERVER__TLS__KEY", cert)], &["private key"]),
        ("127.0.0.1:0", vec![tls[0], ("VIGIL_SERVER__TLS__KEY", "/nowhere")], &["/nowhere"]),
        ("127.0.0.1:0", vec![("VIGIL_SERVER__ALLOWED_ORIGINS", "null")], &["allowed_origins"]),
        ("127.0.0.1:0", vec![("VIGIL_SERVER__ALLOWED_ORIGINS", "https://a.example/")], &["allowed_origins"]),
        ("127.0.0.1:0", vec![("VIGIL_SERVER__TRUSTED_PROXIES", "proxy.example")], &["trusted_proxies"]),
    ] {
        let output = serve(&["--listen", listen], &env);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{listen} {env:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{listen} {env:?}: no {word} in {said}");
        }
    }
}

#[test]
fn an_open_address_with_insecure_asks_for_tokens() {
    let home = temp_dir();
    let data = home.path().join("data");
    let port = free_port();
    let launch = Launch::new(Vigil::binary()).args(["serve", "--insecure", "--listen"]);
    let launch = launch.arg(format!("0.0.0.0:{port}")).arg("--data-dir").arg(&data).clear_env();
    let _process = launch.env("HOME", home.path()).log(&home.path().join("log")).spawn();
    let ask = |path: &str, token: Option<&str>| {
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        let request = crate::support::Request::get(path);
        let request = token.map_or(request.clone(), |token| super::with(token, request));
        crate::support::exchange(stream, &request).ok().map(|answer| answer.status)
    };
    wait_until(Duration::from_mins(1), "it to answer", || ask("/health", None) == Some(200));
    let token = std::fs::read_to_string(data.join("bootstrap-token")).unwrap();
    assert_eq!(ask("/api/v1/policies", None), Some(401));
    assert_eq!(ask("/api/v1/policies", Some(token.trim())), Some(200));
}
