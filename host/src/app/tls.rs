//! The certificate this server shows: read from files, read again when they change, kept when new ones are no good.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Tls;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// The files and what was made of them.
#[derive(Debug)]
pub(super) struct Certificate {
    files: Tls,
    shown: Arc<Shown>,
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Both files' bytes.
type Bytes = (Vec<u8>, Vec<u8>);

impl Certificate {
    /// Reads the files; what is wrong with them is said in words.
    pub(super) fn read(files: &Tls) -> Result<Self, String> {
        let key = certified(files, &bytes(files)?)?;
        Ok(Self { files: files.clone(), shown: Arc::new(Shown(ArcSwap::from_pointee(key))) })
    }

    /// What speaks TLS with it.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|wrong| wrong.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again whenever they have changed. Both may be replaced one after the other: what does not fit
    /// together is looked at again a second later, and said only once.
    pub(super) async fn watch(self, stop: CancellationToken) {
        let mut last = bytes(&self.files).ok();
        let mut said = String::new();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let now = bytes(&self.files);
            if now.as_ref().ok() == last.as_ref() && now.is_ok() {
                said.clear();
                continue;
            }
            match now.and_then(|now| certified(&self.files, &now).map(|key| (now, key))) {
                Ok((now, key)) => {
                    self.shown.0.store(Arc::new(key));
                    last = Some(now);
                    said.clear();
                    tracing::info!(cert = %self.files.cert.display(), "The new certificate is in use");
                }
                Err(why) if why != said => {
                    tracing::error!(error = %why, "the new certificate can't be used; the old one is kept");
                    said = why;
                }
                Err(_) => {}
            }
        }
    }
}

fn bytes(files: &Tls) -> Result<Bytes, String> {
    let read = |file: &PathBuf| std::fs::read(file).map_err(|why| format!("{}: {why}", file.display()));
    Ok((read(&files.cert)?, read(&files.key)?))
}

/// The chain with its key, if they belong together.
fn certified(files: &Tls, (cert, key): &Bytes) -> Result<CertifiedKey, String> {
    let (cert_file, key_file) = (files.cert.display(), files.key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|why| format!("{cert_file} is no PEM: {why}"))?;
    if chain.is_empty() {
        return Err(format!("{cert_file} holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|why| format!("{key_file} holds no private key: {why}"))?;
    CertifiedKey::from_der(chain, key, &crypto::ring::default_provider())
        .map_err(|why| format!("{cert_file} and {key_file} can't be used together: {why}"))
}
