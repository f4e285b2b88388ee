//! Google Pay: from a payment method token to a card. Google's "Payment data cryptography for merchants": signatures of
//! Google over length-prefixed texts, ECIES-KEM on P-256 with HKDF-SHA256, AES in counter mode, and an HMAC over the
//! ciphertext.

use super::{Kind, Opened, Refusal, base64_member, cryptogram, eci, member, message, pan, private_der};
use crate::card::Expiry;
use crate::clock::{Millis, timestamp};
use crate::json::Node;
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::cipher::{AES_128, AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey as Verifier};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const SENDER: &str = "Google";

/// The recipient of everybody's tokens in Google's TEST environment.
pub const TEST_RECIPIENT: &str = "merchant:12345678901234567890";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    EcV1,
    EcV2,
}

impl Version {
    fn parse(name: &str) -> Option<Version> {
        match name {
            "ECv1" => Some(Version::EcV1),
            "ECv2" => Some(Version::EcV2),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        if self == Version::EcV1 { "ECv1" } else { "ECv2" }
    }

    /// Bytes of the encryption key, and of the MAC key behind it.
    fn key_bytes(self) -> usize {
        if self == Version::EcV1 { 16 } else { 32 }
    }
}

/// One of Google's root signing keys.
struct Root {
    version: Version,
    /// X.509 SubjectPublicKeyInfo.
    key: Vec<u8>,
    expires_at: Option<Millis>,
}

/// What opens the tokens of one recipient.
pub struct Keys {
    recipient: String,
    gateway_merchant_id: Option<String>,
    private: Vec<PrivateKey>,
    roots: Vec<Root>,
}

impl Keys {
    /// `recipient` is `merchant:<id>` of Google's console, or `gateway:<id>` of a gateway, which then names its merchant.
    /// `private`: P-256, PEM (PKCS#8 or SEC 1) or the base64 of PKCS#8; several while keys are being changed. `roots`: the
    /// text of Google's `keys.json`.
    ///
    /// # Errors
    /// What is wrong and what to do, for the operator.
    pub fn new(
        recipient: &str,
        gateway_merchant_id: Option<&str>,
        private: &[&str],
        roots: &str,
    ) -> Result<Keys, String> {
        let named = ["merchant:", "gateway:"].iter().find_map(|kind| recipient.strip_prefix(kind));
        if named.is_none_or(str::is_empty) {
            return Err("the recipient is `merchant:<id>` or `gateway:<id>`, as Google's console says".into());
        }
        if recipient.starts_with("gateway:") && gateway_merchant_id.is_none() {
            return Err("a gateway's tokens name their merchant: give --gateway-merchant-id".into());
        }
        if private.is_empty() {
            return Err("at least one private key is needed".into());
        }
        Ok(Keys {
            recipient: recipient.to_owned(),
            gateway_merchant_id: gateway_merchant_id.map(str::to_owned),
            private: private.iter().map(|text| private_key(text)).collect::<Result<_, _>>()?,
            roots: read_roots(roots)?,
        })
    }

    /// How a page's button has Google seal a token so that [`Keys::open`] takes it (Google Pay API, `tokenizationSpecification`):
    /// for the merchant itself with its public key, or for the gateway's id, whose key Google knows.
    pub fn specification(&self) -> serde_json::Value {
        match self.recipient.strip_prefix("gateway:") {
            Some(gateway) => serde_json::json!({"type": "PAYMENT_GATEWAY", "parameters": {
                "gateway": gateway, "gatewayMerchantId": self.gateway_merchant_id}}),
            None => {
                let public = self.private.first().and_then(|key| key.compute_public_key().ok());
                let point = public.map(|key| STANDARD.encode(key.as_ref())).unwrap_or_default();
                serde_json::json!({"type": "DIRECT", "parameters": {"protocolVersion": "ECv2", "publicKey": point}})
            }
        }
    }

    /// The merchant's id in Google's console, where the recipient says it.
    pub fn merchant_id(&self) -> Option<&str> {
        self.recipient.strip_prefix("merchant:")
    }

    /// # Errors
    /// The first of these that is so: malformed, broken chain, changed or for another recipient, no key that opens it,
    /// expired.
    pub fn open(&self, token: &Node, now: Millis) -> Result<Opened, Refusal> {
        let version = Version::parse(member(token, "protocolVersion", "it has no protocolVersion")?)
            .ok_or(Refusal::Unsupported("its protocolVersion is neither ECv1 nor ECv2"))?;
        let signed_message = member(token, "signedMessage", "it has no signedMessage")?;
        let sealed = Sealed::parse(signed_message)?;
        let signers = self.signers(token, version, now)?;
        let signature = base64_member(token, "signature", "it has no signature in base64")?;
        let texts = signed_bytes(&[SENDER, &self.recipient, version.name(), signed_message]);
        if !signers.iter().any(|key| verifies(key, &texts, &signature)) {
            // What our key opens was made for us by somebody, or for another of our recipients.
            return Err(match self.plain(&sealed, version) {
                Some(_) => Refusal::WrongRecipient("our key opens it, but Google did not sign it for our recipient id"),
                None => Refusal::Changed("the signature does not fit the message"),
            });
        }
        let plain = self.plain(&sealed, version).ok_or(Refusal::WrongKey)?;
        self.read(&message(&plain)?, now)
    }

    /// The keys that may sign a message: Google's roots (ECv1), or the intermediate key that a root has signed (ECv2).
    fn signers(&self, token: &Node, version: Version, now: Millis) -> Result<Vec<Vec<u8>>, Refusal> {
        let stands = |root: &&Root| root.version == version && root.expires_at.is_none_or(|end| now < end);
        let roots = || self.roots.iter().filter(stands);
        if roots().next().is_none() {
            return Err(Refusal::BrokenChain("no root key for its protocolVersion is in force"));
        }
        if version == Version::EcV1 {
            return Ok(roots().map(|root| root.key.clone()).collect());
        }
        let missing = "it has no intermediateSigningKey";
        let intermediate = token.get("intermediateSigningKey").ok_or(Refusal::Malformed(missing))?;
        let signed_key = member(intermediate, "signedKey", "its intermediate key has no signedKey")?;
        let Some(Node::List(signatures)) = intermediate.get("signatures") else {
            return Err(Refusal::Malformed("its intermediate key has no signatures"));
        };
        let texts = signed_bytes(&[SENDER, version.name(), signed_key]);
        // Google sends one for each root key; a crowd of them is somebody else's.
        let decoded = signatures.iter().take(16).filter_map(|node| STANDARD.decode(node.text()?).ok());
        let mut decoded = decoded.flat_map(|signature| roots().map(move |root| (root, signature.clone())));
        if !decoded.any(|(root, signature)| verifies(&root.key, &texts, &signature)) {
            return Err(Refusal::BrokenChain("no root key that is in force has signed the intermediate key"));
        }
        let key = super::parse(signed_key)?;
        if now >= epoch_ms(&key, "keyExpiration", "its intermediate key has no keyExpiration")? {
            return Err(Refusal::Expired("the intermediate signing key is past its keyExpiration"));
        }
        Ok(vec![base64_member(&key, "keyValue", "its intermediate key has no keyValue")?])
    }

    fn plain(&self, sealed: &Sealed, version: Version) -> Option<Zeroizing<Vec<u8>>> {
        self.private.iter().find_map(|key| sealed.open(key, version))
    }

    fn read(&self, message: &Node, now: Millis) -> Result<Opened, Refusal> {
        let expires_at = epoch_ms(message, "messageExpiration", "the message has no messageExpiration")?;
        if now >= expires_at {
            return Err(Refusal::Expired("the message is past its messageExpiration"));
        }
        if self.gateway_merchant_id.as_deref().is_some_and(|ours| Some(ours) != text(message, "gatewayMerchantId")) {
            return Err(Refusal::WrongRecipient("its gatewayMerchantId is another"));
        }
        let once = member(message, "messageId", "the message has no messageId")?.as_bytes().to_vec();
        let details = message.get("paymentMethodDetails").ok_or(Refusal::Malformed("the message has no card"))?;
        // ECv1 says TOKENIZED_CARD and dpan for what ECv2 calls CRYPTOGRAM_3DS.
        let device = match (text(message, "paymentMethod"), text(details, "authMethod")) {
            (Some("CARD"), None | Some("PAN_ONLY")) => false,
            (Some("CARD"), Some("CRYPTOGRAM_3DS")) | (Some("TOKENIZED_CARD"), Some("3DS")) => true,
            _ => return Err(Refusal::Unsupported("its paymentMethod or authMethod is not one that is taken")),
        };
        let number = text(details, if details.get("dpan").is_some() { "dpan" } else { "pan" });
        let kind = if device {
            let spelled = text(details, "cryptogram").or_else(|| text(details, "3dsCryptogram"));
            let eci_name = if details.get("eciIndicator").is_some() { "eciIndicator" } else { "3dsEciIndicator" };
            let missing = Refusal::Malformed("the message has no cryptogram");
            Kind::Device { cryptogram: cryptogram(spelled.ok_or(missing)?)?, eci: eci(details, eci_name)? }
        } else {
            Kind::PanOnly
        };
        let part = |name| details.get(name).and_then(Node::text_or_number).unwrap_or_default();
        let expiry = Expiry::parse(part("expirationMonth"), part("expirationYear"));
        Ok(Opened {
            pan: pan(number.ok_or(Refusal::Malformed("the message has no number"))?)?,
            expiry: expiry.map_err(|_| Refusal::Malformed("the message has no expiry"))?,
            name: String::new(),
            kind,
            money: None,
            once,
            expires_at,
        })
    }
}

/// `signedMessage`, taken apart.
struct Sealed {
    ephemeral: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

impl Sealed {
    fn parse(signed_message: &str) -> Result<Sealed, Refusal> {
        let node = super::parse(signed_message)?;
        Ok(Sealed {
            ephemeral: base64_member(&node, "ephemeralPublicKey", "its message has no ephemeralPublicKey")?,
            ciphertext: base64_member(&node, "encryptedMessage", "its message has no encryptedMessage")?,
            tag: base64_member(&node, "tag", "its message has no tag")?,
        })
    }

    /// `None` when the tag is not this key's. The tag is compared in constant time.
    fn open(&self, key: &PrivateKey, version: Version) -> Option<Zeroizing<Vec<u8>>> {
        let size = version.key_bytes();
        let derive = |secret: &[u8]| {
            let mut material = Zeroizing::new(Vec::with_capacity(self.ephemeral.len() + secret.len()));
            material.extend_from_slice(&self.ephemeral);
            material.extend_from_slice(secret);
            let key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[0; 32]).extract(&material);
            let mut derived = Zeroizing::new(vec![0; 2 * size]);
            key.expand(&[SENDER.as_bytes()], Length(2 * size))
                .and_then(|okm| okm.fill(&mut derived))
                .map_err(|_| ())?;
            Ok(derived)
        };
        let derived = agreement::agree(key, UnparsedPublicKey::new(&ECDH_P256, &self.ephemeral), (), derive).ok()?;
        let (encryption, mac) = derived.split_at(size);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, mac), &self.ciphertext, &self.tag).ok()?;
        let algorithm = if version == Version::EcV1 { &AES_128 } else { &AES_256 };
        let key = DecryptingKey::ctr(UnboundCipherKey::new(algorithm, encryption).ok()?).ok()?;
        let mut plain = Zeroizing::new(self.ciphertext.clone());
        key.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from([0; 16]))).ok()?;
        Some(plain)
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Each text with its length in bytes before it, four bytes, little-endian.
fn signed_bytes(texts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        // A request's body is at most 64 KiB long.
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    Verifier::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature).is_ok()
}

fn text<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.get(name).and_then(Node::text)
}

/// Epoch milliseconds, which Google writes as a text.
fn epoch_ms(node: &Node, name: &str, missing: &'static str) -> Result<Millis, Refusal> {
    let text = node.get(name).and_then(Node::text_or_number);
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::Malformed(missing))
}

fn private_key(text: &str) -> Result<PrivateKey, String> {
    let key = private_der(text).and_then(|der| PrivateKey::from_private_key_der(&ECDH_P256, &der).ok());
    key.ok_or_else(|| {
        "the private key is not one on the curve P-256, as PEM or base64 of PKCS#8; make one with: \
         openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
            .to_owned()
    })
}

/// For people: the day on which the last root key for ECv2, which Google uses now, ends.
pub fn roots_until(text: &str) -> String {
    let all = read_roots(text).unwrap_or_default();
    let ends = all.iter().filter(|root| root.version == Version::EcV2).map(|root| root.expires_at);
    match ends.max_by_key(|end| end.unwrap_or(Millis::MAX)) {
        Some(Some(end)) => timestamp(end)[..10].to_owned(),
        Some(None) => "they are replaced".to_owned(),
        None => "now: there is none for ECv2".to_owned(),
    }
}

/// Google's `keys.json`: `{"keys":[{"keyValue","protocolVersion","keyExpiration"}]}`. Keys of other protocols are left out.
fn read_roots(text: &str) -> Result<Vec<Root>, String> {
    let wrong =
        |what: &str| format!("Google's root keys: {what}; the file is the one that Google publishes as keys.json");
    let node = Node::parse(text.as_bytes()).map_err(|_| wrong("the file is no JSON"))?;
    let Some(Node::List(keys)) = node.get("keys") else { return Err(wrong("the file has no list `keys`")) };
    let mut roots = Vec::new();
    for key in keys {
        let Some(version) = key.get("protocolVersion").and_then(Node::text).and_then(Version::parse) else { continue };
        let value = key.get("keyValue").and_then(Node::text).and_then(|text| STANDARD.decode(text).ok());
        let value = value.ok_or_else(|| wrong("a key has no keyValue in base64"))?;
        if agreement::ParsedPublicKey::try_from(&UnparsedPublicKey::new(&ECDH_P256, &value)).is_err() {
            return Err(wrong("a keyValue is no public key"));
        }
        let expires_at = match key.get("keyExpiration") {
            None => None,
            Some(_) => Some(epoch_ms(key, "keyExpiration", "").map_err(|_| wrong("a keyExpiration is no time"))?),
        };
        roots.push(Root { version, key: value, expires_at });
    }
    if roots.is_empty() { Err(wrong("it has no key for ECv1 or ECv2")) } else { Ok(roots) }
}
