//! TLS: served, changed while running, kept when what comes is no good.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::bootstrap;
use crate::support::{Options, Request, Response, Vigil, exchange, wait_until};

/// Signs certificates for one test.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: rustls::pki_types::CertificateDer<'static>,
}

/// A certificate with its key.
pub(super) struct Leaf {
    cert: String,
    key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(super) fn leaf(&self, name: &str) -> Leaf {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Leaf {
    /// Writes both files; answers their paths.
    pub(super) fn write(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert, &self.cert).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        (cert, key)
    }
}

/// One request over TLS to a server that must prove to be `name`.
fn ask(port: u16, roots: &Authority, name: &str, request: &Request) -> std::io::Result<Response> {
    let mut store = RootCertStore::empty();
    store.add(roots.der.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    exchange(StreamOwned::new(client, stream), request)
}

#[test]
fn tls_is_served_and_its_certificate_replaced() {
    let (first, second) = (Authority::new(), Authority::new());
    let home = crate::support::temp_dir();
    let (cert, key) = first.leaf("localhost").write(home.path());
    let mut options = Options::default().config(format!(
        "[server]\nheader_timeout = \"2s\"\n[server.tls]\ncert = {cert:?}\nkey = {key:?}\n[auth]\nmode = \"token\"\n"
    ));
    options.no_wait = true;
    let vigil = Vigil::start(options);
    let port = vigil.port();
    let health = Request::get("/health");
    let good =
        |roots: &Authority| ask(port, roots, "localhost", &health).is_ok_and(|answer| answer.status == 200);
    wait_until(Duration::from_mins(1), "it to answer", || good(&first));
    assert!(!good(&second), "another authority's");
    assert!(ask(port, &first, "other.example", &health).is_err(), "another name");
    let token = bootstrap(&vigil);
    let listed = super::with(&token, Request::get("/api/v1/policies"));
    assert_eq!(ask(port, &first, "localhost", &listed).unwrap().status, 200);
    assert_eq!(ask(port, &first, "localhost", &Request::get("/api/v1/policies")).unwrap().status, 401);
    // Not TLS at all, and a handshake that never goes on: both end.
    assert!(vigil.try_send(&health).is_err(), "plain HTTP is answered");
    let mut mute = TcpStream::connect(("127.0.0.1", port)).unwrap();
    mute.write_all(&[0x16, 3, 1]).unwrap();
    mute.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let ended = std::io::Read::read(&mut mute, &mut [0; 64]);
    assert!(matches!(ended, Ok(0)) || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));

    // New files, no good: kept, and said.
    for (name, cert_text, key_text) in [
        ("no certificate", "nonsense".to_owned(), None),
        ("the key of another", second.leaf("localhost").cert, None),
        ("no key", first.leaf("localhost").cert, Some(String::new())),
    ] {
        let lines = vigil.log().matches("the old one is kept").count();
        std::fs::write(&cert, cert_text).unwrap();
        if let Some(text) = key_text {
            std::fs::write(&key, text).unwrap();
        }
        wait_until(Duration::from_secs(10), &format!("{name} to be said"), || {
            vigil.log().matches("the old one is kept").count() > lines
        });
        assert!(good(&first), "{name}");
    }
    // New files, good: used by new connections without a restart.
    second.leaf("localhost").write(home.path());
    wait_until(Duration::from_secs(10), "the new certificate", || good(&second));
    assert!(!good(&first));
}
