//! `[server]` and `[auth]`, and that what others can reach is guarded.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::read::Reader;
use super::values::{Flag, Listen, Span};
use super::{Auth, AuthMode, Server, Tls};

/// The setting as it is written: empty leaves the choice to the address.
#[derive(Clone, Copy, Default)]
struct Mode(Option<AuthMode>);

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "" => Ok(Self(None)),
            "none" => Ok(Self(Some(AuthMode::None))),
            "token" => Ok(Self(Some(AuthMode::Token))),
            _ => Err(D::Error::custom("expected \"none\", \"token\" or nothing")),
        }
    }
}

pub(super) fn server(reader: &mut Reader, data_dir: PathBuf) -> (Server, Auth) {
    let hosts = reader.list("server.allowed_hosts");
    let server = Server {
        listen: reader.get::<Listen>("server.listen").0,
        data_dir,
        drain_timeout: reader.get::<Span>("server.drain_timeout").0,
        allowed_hosts: hosts.into_iter().map(|host| host.to_lowercase()).collect(),
        allowed_origins: reader.list("server.allowed_origins"),
        trusted_proxies: proxies(reader),
        tls: tls(reader),
        max_connections: reader.some("server.max_connections"),
        max_connections_per_peer: reader.some("server.max_connections_per_peer"),
        header_timeout: reader.positive("server.header_timeout"),
        body_timeout: reader.positive("server.body_timeout"),
        write_timeout: reader.positive("server.write_timeout"),
    };
    let loopback = server.listen.ip().to_canonical().is_loopback();
    let by_address = if loopback { AuthMode::None } else { AuthMode::Token };
    let mode = reader.get::<Mode>("auth.mode").0.unwrap_or(by_address);
    let insecure = reader.get::<Flag>("server.insecure").0;
    let guarded = mode == AuthMode::Token && server.tls.is_some();
    reader.require(loopback || guarded || insecure, "server.listen", &unguarded(mode, server.tls.is_some()));
    origins(reader, &server.allowed_origins, mode);
    (server, Auth { mode })
}

/// What to do about an address that others can reach.
fn unguarded(mode: AuthMode, tls: bool) -> String {
    let missing = match (mode, tls) {
        (AuthMode::None, true) => "set auth.mode = \"token\"",
        (AuthMode::None, false) => {
            "set auth.mode = \"token\", and server.tls.cert and server.tls.key to a certificate and its key"
        }
        (AuthMode::Token, _) => "set server.tls.cert and server.tls.key to a certificate and its key",
    };
    format!(
        "can be reached from other machines, which needs tokens and TLS: {missing}; or listen on 127.0.0.1; \
         or, on a closed network or behind a proxy with TLS, pass --insecure"
    )
}

fn proxies(reader: &mut Reader) -> Vec<IpNet> {
    let key = "server.trusted_proxies";
    let mut found = Vec::new();
    for text in reader.list(key) {
        let one = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        reader.require(
            one.is_some(),
            key,
            &format!("holds `{text}`, which is neither an address nor a network"),
        );
        found.extend(one);
    }
    found
}

fn tls(reader: &mut Reader) -> Option<Tls> {
    let (cert, key): (String, String) = (reader.get("server.tls.cert"), reader.get("server.tls.key"));
    reader.require(cert.is_empty() || !key.is_empty(), "server.tls.key", "is missing beside server.tls.cert");
    reader.require(key.is_empty() || !cert.is_empty(), "server.tls.cert", "is missing beside server.tls.key");
    (!cert.is_empty() && !key.is_empty()).then(|| Tls { cert: cert.into(), key: key.into() })
}

fn origins(reader: &mut Reader, origins: &[String], mode: AuthMode) {
    let key = "server.allowed_origins";
    for origin in origins {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let formed = authority.is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_graphic())
                && !rest.contains(['/', '*', '@', '?', '#'])
        });
        reader.require(
            origin == "*" || formed,
            key,
            &format!("holds `{origin}`, which is no origin: write SCHEME://HOST or SCHEME://HOST:PORT"),
        );
        reader.require(
            origin != "*" || mode == AuthMode::Token,
            key,
            "is \"*\", with which, without tokens, every web page you open could act; list origins, or set auth.mode = \"token\"",
        );
    }
}
