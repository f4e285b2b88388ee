//! TLS towards others: the machine's own roots judge their certificates, aws-lc-rs is the one crypto provider.

use crate::error::Error;
use std::sync::Arc;

/// Reads the roots from the machine (or `SSL_CERT_FILE`): once for each use, not for each connection.
pub fn client() -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        tracing::warn!(
            "this machine has no certificates of authorities (Debian: ca-certificates): no https webhook can be sent"
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(Error::internal)?.with_root_certificates(roots).with_no_client_auth())
}
