//! TLS towards others: the machine's own roots judge their certificates, aws-lc-rs is the one crypto provider.

use crate::error::Error;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ConfigBuilder, WantsVerifier};
use std::sync::Arc;

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
