//! Who a merchant is to Apple: its merchant identity certificate, which Apple's servers ask for before Safari opens the sheet
//! of Apple Pay (Apple Pay JS, "Requesting an Apple Pay payment session").

use crate::error::Error;
use crate::tls;
use aws_lc_rs::digest;
use der::Decode;
use der::asn1::ObjectIdentifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use zeroize::Zeroizing;

/// `UID` of a subject (RFC 4519 section 2.39): there Apple writes the merchant identifier.
const UID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");

/// As the operator's files have it.
#[derive(Serialize, Deserialize)]
pub struct Files {
    pub certificate: String,
    pub private_key: Zeroizing<String>,
}

pub struct Identity {
    /// `merchant.com.example`.
    pub merchant: String,
    /// Shows the certificate to whoever asks for one.
    pub tls: rustls::ClientConfig,
}

impl Identity {
    /// `processing`: the SHA-256 of the merchant identifier whose tokens are opened.
    ///
    /// # Errors
    /// What is wrong and what to do, for the operator.
    pub fn new(files: &Files, processing: Option<[u8; 32]>) -> Result<Identity, String> {
        let unreadable = "the identity certificate is not one in PEM; convert Apple's file with: openssl x509 -inform DER \
                          -in merchant_id.cer -out identity.pem";
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(files.certificate.as_bytes()).collect();
        let chain = chain.map_err(|_| unreadable)?;
        let certificate = chain.first().and_then(|der| Certificate::from_der(der).ok()).ok_or(unreadable)?;
        let merchant = merchant(&certificate)
            .ok_or("the identity certificate's subject names no merchant identifier (UID): give Apple's merchant identity certificate")?;
        let hash = digest::digest(&digest::SHA256, merchant.as_bytes());
        if processing.is_some_and(|wanted| wanted != hash.as_ref()) {
            return Err(format!(
                "the identity certificate is for {merchant}, the payment processing certificate for another"
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(files.private_key.as_bytes())
            .map_err(|_| "the identity's private key is not one in PEM")?;
        let other = |error: Error| format!("the identity's private key and certificate: {}", error.cause());
        Ok(Identity { merchant, tls: tls::client_as(chain, key).map_err(other)? })
    }
}

fn merchant(certificate: &Certificate) -> Option<String> {
    let mut parts = certificate.tbs_certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let uid = parts.find(|part| part.oid == UID)?;
    let text = std::str::from_utf8(uid.value.value()).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn files(uid: Option<&str>, key: &KeyPair) -> Files {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(uid) = uid {
            params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), uid);
        }
        params.distinguished_name.push(DnType::CommonName, "Apple Pay Merchant Identity:merchant.example.fuda");
        let certificate = params.self_signed(key).unwrap().pem();
        Files { certificate, private_key: Zeroizing::new(key.serialize_pem()) }
    }

    #[test]
    fn certificates_are_read_and_compared() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let hash = |text: &str| -> Option<[u8; 32]> {
            digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().ok()
        };
        let good = files(Some("merchant.example.fuda"), &key);
        for processing in [None, hash("merchant.example.fuda")] {
            assert_eq!(Identity::new(&good, processing).ok().unwrap().merchant, "merchant.example.fuda");
        }
        let wrong = |files: &Files, processing| Identity::new(files, processing).err().unwrap();
        let private_key = || Zeroizing::new(other.serialize_pem());
        let pem = || good.certificate.clone();
        for (said, wanted) in [
            (wrong(&good, hash("merchant.example.other")), "for merchant.example.fuda, the payment processing"),
            (wrong(&files(None, &key), None), "names no merchant identifier"),
            (wrong(&files(Some(""), &key), None), "names no merchant identifier"),
            (wrong(&Files { certificate: pem(), private_key: private_key() }, None), "private key and certificate"),
            (wrong(&Files { certificate: pem(), private_key: Zeroizing::default() }, None), "not one in PEM"),
            (wrong(&Files { certificate: "x".to_owned(), private_key: private_key() }, None), "not one in PEM"),
        ] {
            assert!(said.contains(wanted), "{said}");
        }
    }
}
