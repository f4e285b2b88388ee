//! TLS towards others: the machine's own roots judge their certificates, aws-lc-rs is the one crypto provider.

use crate::error::Error;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ConfigBuilder, WantsVerifier};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's bytes, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Reads the roots from the machine (or `SSL_CERT_FILE`): once for each use, not for each connection.
pub fn client() -> Result<rustls::ClientConfig, Error> {
    let roots = roots();
    if roots.is_empty() {
        tracing::warn!(
            "this machine has no certificates of authorities (Debian: ca-certificates): no https webhook can be sent"
        );
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// The same for who shows a certificate of its own.
///
/// # Errors
/// The key is not one that can sign, or not the certificate's.
pub fn client_as(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<rustls::ClientConfig, Error> {
    builder()?.with_root_certificates(roots()).with_client_auth_cert(chain, key).map_err(Error::internal)
}

/// A peer that an agreement names, not the web: who may have signed its certificate, and what we show it.
pub struct Peer {
    /// PEM. `None`: the machine's own.
    pub roots: Option<PathBuf>,
    /// PEM: our certificate with those above it, and its key.
    pub shown: Option<(PathBuf, PathBuf)>,
}

/// # Errors
/// A file that cannot be read or holds nothing of its kind, by its path.
pub fn client_for(peer: &Peer) -> Result<rustls::ClientConfig, Error> {
    let roots = match &peer.roots {
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| wrong_file(path, error))?;
            }
            roots
        }
        None => roots(),
    };
    let builder = builder()?.with_root_certificates(roots);
    let Some((chain, key)) = &peer.shown else { return Ok(builder.with_no_client_auth()) };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong_pem(key, &error))?;
    builder.with_client_auth_cert(certificates(chain)?, private).map_err(|error| wrong_file(key, error))
}

/// All of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong_pem(path, &error))?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(|error| wrong_pem(path, &error))?;
    if found.is_empty() { Err(wrong_file(path, "no certificate in PEM")) } else { Ok(found) }
}

/// The parser's own words would quote what is in the file.
fn wrong_pem(path: &Path, error: &pem::Error) -> Error {
    match error {
        pem::Error::Io(error) => wrong_file(path, error),
        _ => wrong_file(path, "nothing of the kind in PEM"),
    }
}

fn wrong_file(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::internal(format!("{}: {why}", path.display()))
}

fn roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn builder() -> Result<ConfigBuilder<rustls::ClientConfig, WantsVerifier>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.map_err(Error::internal)
}
