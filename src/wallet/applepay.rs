//! Apple Pay: from a payment token to a card. Apple's "Payment token format reference": a CMS signature with a chain to Apple's
//! root, then ECDH with the KDF of NIST SP 800-56A and AES-256-GCM (`EC_v1`), or RSA-OAEP and AES-128-GCM (`RSA_v1`).

use super::cms::{self, Signed};
use super::{Kind, Opened, Refusal, base64_member, cryptogram, eci, member, message, pan, private_der};
use crate::card::{Expiry, contains_any_number};
use crate::clock::{Millis, timestamp};
use crate::json::{Node, control_character};
use crate::money::{Currency, Money};
use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::{Aes128, Aes256};
use aes_gcm::{AesGcm, Nonce};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use x509_cert::Certificate;
use zeroize::Zeroizing;

/// Apple Root CA - G3, as Apple publishes it.
pub const APPLE_ROOT: &str = include_str!("apple_root_ca_g3.pem");

/// How far a token's signing time may be from ours, milliseconds: Apple says "a few minutes".
pub const WINDOW_MS: Millis = 5 * 60 * 1000;

/// Where a payment processing certificate names its merchant: the SHA-256 of the merchant identifier, hexadecimal.
const MERCHANT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.32");

enum Private {
    Ec {
        key: PrivateKey,
        /// SHA-256 of the merchant identifier.
        merchant: [u8; 32],
    },
    Rsa(OaepPrivateDecryptingKey),
}

struct Pair {
    /// SHA-256 of the certificate's public key, as a token names it.
    hash: Vec<u8>,
    private: Private,
}

/// What opens the tokens of one merchant identifier.
pub struct Keys {
    pairs: Vec<Pair>,
    root: TrustAnchor<'static>,
}

impl Keys {
    /// `pairs`: payment processing certificates, each with its private key, PEM; several while they are being changed. `root`:
    /// PEM; [`APPLE_ROOT`] outside of tests.
    ///
    /// # Errors
    /// What is wrong and what to do, for the operator.
    pub fn new(pairs: &[(&str, &str)], root: &str) -> Result<Keys, String> {
        if pairs.is_empty() {
            return Err("at least one certificate with its private key is needed".into());
        }
        let root = CertificateDer::from_pem_slice(root.as_bytes()).map_err(|_| "the root is no certificate in PEM")?;
        let root = webpki::anchor_from_trusted_cert(&root).map_err(|error| format!("the root certificate: {error}"))?;
        let pairs = pairs.iter().map(|(certificate, key)| pair(certificate, key)).collect::<Result<_, _>>()?;
        Ok(Keys { pairs, root: root.to_owned() })
    }

    /// `token` is what the page's script calls `payment.token`, or its `paymentData` alone.
    ///
    /// # Errors
    /// The first of these that is so: malformed, for another recipient, broken chain, changed, expired, no key that opens it.
    pub fn open(&self, token: &Node, now: Millis) -> Result<Opened, Refusal> {
        let data = token.get("paymentData").unwrap_or(token);
        let version = member(data, "version", "it has no version")?;
        let header = data.get("header").ok_or(Refusal::Malformed("it has no header"))?;
        let (key_name, missing) = match version {
            "EC_v1" => ("ephemeralPublicKey", "its header has no ephemeralPublicKey"),
            "RSA_v1" => ("wrappedKey", "its header has no wrappedKey"),
            _ => return Err(Refusal::Unsupported("its version is neither EC_v1 nor RSA_v1")),
        };
        let key = base64_member(header, key_name, missing)?;
        let ciphertext = base64_member(data, "data", "it has no data in base64")?;
        let signature = base64_member(data, "signature", "it has no signature in base64")?;
        let hash = base64_member(header, "publicKeyHash", "its header has no publicKeyHash")?;
        // Before the signature, which takes longer: of several set-ups it is read for the named one alone.
        let mut named = self.pairs.iter().filter(|pair| pair.hash == hash).peekable();
        if named.peek().is_none() {
            return Err(Refusal::WrongRecipient("its publicKeyHash names none of our certificates"));
        }
        let signed = self.signed(header, &[&key, &ciphertext], &signature, now)?;
        let plain = named.find_map(|pair| pair.private.open(version, &key, &ciphertext)).ok_or(Refusal::WrongKey)?;
        read(&message(&plain)?, signed)
    }

    fn signed(&self, header: &Node, parts: &[&[u8]], signature: &[u8], now: Millis) -> Result<Signed, Refusal> {
        let transaction = member(header, "transactionId", "its header has no transactionId")?;
        let application = header.get("applicationData").and_then(Node::text).unwrap_or_default();
        let mut content = parts.concat();
        for text in [transaction, application] {
            content.extend(hex(text).ok_or(Refusal::Malformed("its header's ids are not hexadecimal"))?);
        }
        let signed = cms::verify(signature, &content, &self.root, now)?;
        if now.saturating_sub(signed.at) > WINDOW_MS {
            return Err(Refusal::Expired("it was signed more than five minutes ago"));
        }
        if signed.at.saturating_sub(now) > WINDOW_MS {
            return Err(Refusal::Expired("it was signed more than five minutes ahead of our clock"));
        }
        Ok(signed)
    }
}

impl Private {
    /// `None` when this key does not open it. The tag is compared in constant time.
    fn open(&self, version: &str, key: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // Apple's nonce is 16 zero bytes; each key is used once.
        let nonce = Nonce::<U16>::default();
        let plain = match self {
            Private::Ec { key: ours, merchant } if version == "EC_v1" => {
                let derive = |secret: &[u8]| Ok(derived(secret, merchant));
                let key = agreement::agree(ours, UnparsedPublicKey::new(&ECDH_P256, key), (), derive).ok()?;
                AesGcm::<Aes256, U16>::new_from_slice(key.as_slice()).ok()?.decrypt(&nonce, ciphertext).ok()?
            }
            Private::Rsa(ours) if version == "RSA_v1" => {
                let mut room = Zeroizing::new(vec![0; ours.min_output_size()]);
                let key = ours.decrypt(&OAEP_SHA256_MGF1SHA256, key, &mut room, None).ok()?;
                AesGcm::<Aes128, U16>::new_from_slice(key).ok()?.decrypt(&nonce, ciphertext).ok()?
            }
            _ => return None,
        };
        Some(Zeroizing::new(plain))
    }
}

/// The KDF of NIST SP 800-56A section 5.8.1, one round of SHA-256: AlgorithmID `id-aes256-GCM` with its length before it,
/// PartyUInfo `Apple`, PartyVInfo the hash of the merchant identifier.
fn derived(secret: &[u8], merchant: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [&[0, 0, 0, 1], secret, b"\x0did-aes256-GCM", b"Apple", merchant] {
        context.update(part);
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(context.finish().as_ref());
    key
}

fn read(message: &Node, signed: Signed) -> Result<Opened, Refusal> {
    if member(message, "paymentDataType", "the message has no paymentDataType")? != "3DSecure" {
        return Err(Refusal::Unsupported("its paymentDataType is not 3DSecure"));
    }
    let data = message.get("paymentData").ok_or(Refusal::Malformed("the message has no paymentData"))?;
    let number = member(message, "applicationPrimaryAccountNumber", "the message has no number")?;
    let missing = "the message has no expiry as YYMMDD";
    let date = member(message, "applicationExpirationDate", missing)?;
    let (year, month) = match (date.get(..2), date.get(2..4), date.len()) {
        (Some(year), Some(month), 4 | 6) => (year, month),
        _ => return Err(Refusal::Malformed(missing)),
    };
    let spelled = member(data, "onlinePaymentCryptogram", "the message has no cryptogram")?;
    Ok(Opened {
        pan: pan(number)?,
        expiry: Expiry::parse(month, year).map_err(|_| Refusal::Malformed(missing))?,
        name: name(message.get("cardholderName").and_then(Node::text).unwrap_or_default()),
        kind: Kind::Device { cryptogram: cryptogram(spelled)?, eci: eci(data, "eciIndicator")? },
        money: Some(money(message).ok_or(Refusal::Malformed("the message has no amount or currency"))?),
        // Not the transactionId: what is signed has no marks between its parts, so that a digit could move out of it.
        once: signed.digest,
        expires_at: signed.at + WINDOW_MS,
    })
}

/// Held to the rule for `card.name` (contract section 2); a name that breaks it is left out, for no payment hangs on it.
fn name(text: &str) -> String {
    let fits = text.chars().count() <= 255 && !control_character(text) && !contains_any_number(text);
    if fits { text.to_owned() } else { String::new() }
}

/// ISO 4217 numeric, and minor units.
fn money(message: &Node) -> Option<Money> {
    let code = message.get("currencyCode").and_then(Node::text_or_number)?;
    let currency = Currency::from_number(code)?;
    let minor: i64 = message.get("transactionAmount").and_then(Node::text_or_number)?.parse().ok()?;
    (minor >= 0).then_some(Money { minor, currency })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

fn pair(certificate: &str, key: &str) -> Result<Pair, String> {
    let unreadable = "the certificate is not a payment processing certificate in PEM; convert Apple's file with: \
                      openssl x509 -inform DER -in apple_pay.cer -out cert.pem";
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| unreadable)?;
    let certificate = Certificate::from_der(&der).map_err(|_| unreadable)?;
    let public = &certificate.tbs_certificate.subject_public_key_info;
    let public_der = public.to_der().map_err(|_| unreadable)?;
    let key = private_der(key)
        .ok_or("the private key is not PEM (PKCS#8); convert it with: openssl pkcs8 -topk8 -nocrypt -in key.pem")?;
    let hash = digest::digest(&digest::SHA256, &public_der).as_ref().to_vec();
    let other = "the private key is not the certificate's: give the key that the certificate was requested with";
    if let Ok(key) = PrivateKey::from_private_key_der(&ECDH_P256, &key) {
        let point = key.compute_public_key().map_err(|_| other)?;
        if Some(point.as_ref()) != public.subject_public_key.as_bytes() {
            return Err(other.into());
        }
        let merchant = merchant(&certificate).ok_or(
            "the certificate does not name a merchant identifier (1.2.840.113635.100.6.32): it is not a payment processing \
             certificate",
        )?;
        return Ok(Pair { hash, private: Private::Ec { key, merchant } });
    }
    let key = PrivateDecryptingKey::from_pkcs8(&key)
        .map_err(|_| "the private key is neither on the curve P-256 nor RSA of 2048 to 8192 bits, as PKCS#8")?;
    let ours: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| other)?;
    if ours.as_ref() != public_der {
        return Err(other.into());
    }
    let key = OaepPrivateDecryptingKey::new(key).map_err(|_| "the RSA key cannot be used for decryption")?;
    Ok(Pair { hash, private: Private::Rsa(key) })
}

fn read_pem(certificate: &str) -> Option<Certificate> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    Certificate::from_der(&der).ok()
}

/// The SHA-256 of the merchant identifier that a payment processing certificate names.
pub fn merchant_of(certificate: &str) -> Option<[u8; 32]> {
    merchant(&read_pem(certificate)?)
}

/// For people: the certificate's name and last day.
pub fn about(certificate: &str) -> String {
    let Some(certificate) = read_pem(certificate) else { return String::new() };
    format!("{}, until {}", certificate.tbs_certificate.subject, last_day(&certificate))
}

/// For people: a certificate's last day.
pub fn until(certificate: &str) -> String {
    read_pem(certificate).map_or_else(String::new, |certificate| last_day(&certificate))
}

fn last_day(certificate: &Certificate) -> String {
    let end = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_millis();
    timestamp(Millis::try_from(end).unwrap_or(Millis::MAX))[..10].to_owned()
}

/// For people: the SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` has it, without the colons.
pub fn fingerprint(certificate: &str) -> String {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes());
    let hash = der.map(|der| digest::digest(&digest::SHA256, &der));
    hash.map(|hash| hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()).unwrap_or_default()
}

/// A string of 64 hexadecimal digits, of whichever string type.
fn merchant(certificate: &Certificate) -> Option<[u8; 32]> {
    let mut extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let value = extensions.find(|extension| extension.extn_id == MERCHANT)?.extn_value.as_bytes();
    let text = AnyRef::from_der(value).ok()?;
    hex(std::str::from_utf8(text.value()).ok()?)?.try_into().ok()
}
