//! The connection broker: every outgoing call of every plugin goes through here.
//!
//! A plugin names a slot and gives a path; the operator's connection holds the address, TLS and
//! credentials, and its rules say which requests pass. What no rule allows is refused. The host side of
//! `vigil:host/connections`, in [`super::host`], is the only caller.

mod credentials;
mod headers;
mod path;
mod redact;
mod resolve;
mod rules;
#[cfg(test)]
mod safety;
mod send;
mod settings;
mod xmlrpc;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use rules::{Effect, Method};
pub(super) use send::{Answer, Call, Checked, Connection, Failed};
pub use settings::{AnswerSettings, ConnectionSettings, CredentialSettings, EffectSetting, RuleSettings};

/// Why a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It is no proper request.
    #[error("{0}")]
    Malformed(String),
    /// No rule of the connection allows it.
    #[error("{0}")]
    NotAllowed(String),
}

/// All connections of the node, by name.
pub(super) type Connections = BTreeMap<String, Arc<Connection>>;

/// Sees to it that TLS has its algorithms: clients are made after this.
pub(super) fn tls_ready() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // A race with another part of the process is lost without harm: it installs the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Opens every connection: reads its environment variables and checks its settings; nothing is dialled.
pub(super) fn open(
    settings: &BTreeMap<String, ConnectionSettings>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Connections, super::Error> {
    tls_ready();
    settings
        .iter()
        .map(|(name, settings)| {
            Connection::open(name, settings, env)
                .map(|c| (name.clone(), Arc::new(c)))
                .map_err(|reason| super::Error::Connection { name: name.clone(), reason })
        })
        .collect()
}
