//! Payment tokens of wallets, opened by the gateway itself: Google Pay (`ECv1`, `ECv2`) and Apple Pay (`EC_v1`, `RSA_v1`).
//! `googlepay`, `applepay` and `cms` are pure: root keys, private keys and the time are passed in, so a token opens to the same
//! card or is refused for the same reason wherever it is tried. `setup` is who takes which tokens, `once` which were seen.

pub mod applepay;
mod cms;
pub mod googlepay;
pub mod identity;
pub mod once;
pub mod setup;

use crate::card::{Cryptogram, Expiry, Pan};
use crate::clock::Millis;
use crate::json::Node;
use crate::money::Money;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// Whose token it is. The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wallet {
    GooglePay = 1,
    ApplePay = 2,
}

impl Wallet {
    /// `payment_method.type` of a request, and `payment_data_source.type` of an answer (contract sections 2 and 3).
    pub fn name(self) -> &'static str {
        match self {
            Wallet::GooglePay => "googlepay",
            Wallet::ApplePay => "applepay",
        }
    }

    /// `payment_method` of an answer (contract section 2).
    pub fn payment_method(self) -> &'static str {
        match self {
            Wallet::GooglePay => "GOOGLEPAY-SSL",
            Wallet::ApplePay => "APPLEPAY-SSL",
        }
    }

    /// For people.
    pub fn brand(self) -> &'static str {
        match self {
            Wallet::GooglePay => "Google Pay",
            Wallet::ApplePay => "Apple Pay",
        }
    }

    pub fn parse(name: &str) -> Option<Wallet> {
        [Wallet::GooglePay, Wallet::ApplePay].into_iter().find(|wallet| wallet.name() == name)
    }

    pub fn from_id(id: i64) -> Option<Wallet> {
        [Wallet::GooglePay, Wallet::ApplePay].into_iter().find(|wallet| *wallet as i64 == id)
    }
}

/// What a token holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// A device's number (DPAN) or the card's own, by `kind`.
    pub pan: Pan,
    pub expiry: Expiry,
    /// As the wallet knows it; empty where it does not say.
    pub name: String,
    pub kind: Kind,
    /// What the cardholder agreed to, where the token says it (Apple Pay).
    pub money: Option<Money>,
    /// The same for every copy of this token, different for any other: a token is charged once.
    pub once: Vec<u8>,
    /// From here on the token does not open any more, epoch milliseconds.
    pub expires_at: Millis,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// The number of a device, with the cryptogram for this one payment and the ECI where the scheme gives one.
    Device { cryptogram: Cryptogram, eci: Option<String> },
    /// The number on the card, as if it had been typed (Google Pay `PAN_ONLY`).
    PanOnly,
}

/// Why a token does not open. The text is for the log: a caller learns only that it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a token of this wallet, or a member of it is missing or mistyped.
    Malformed(&'static str),
    /// A token of a kind that is not taken.
    Unsupported(&'static str),
    /// No trusted root stands behind the key that signed it.
    BrokenChain(&'static str),
    /// The signature does not fit what it should have signed.
    Changed(&'static str),
    /// Signed for us as it should be, but none of our private keys opens it.
    WrongKey,
    /// Made for another merchant.
    WrongRecipient(&'static str),
    /// Too old, or signed by a key that is.
    Expired(&'static str),
}

impl Refusal {
    /// A stable word for each reason, for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::Unsupported(_) => "unsupported",
            Refusal::BrokenChain(_) => "broken_chain",
            Refusal::Changed(_) => "changed",
            Refusal::WrongKey => "wrong_key",
            Refusal::WrongRecipient(_) => "wrong_recipient",
            Refusal::Expired(_) => "expired",
        }
    }
}

/// For the log; never holds a part of the token.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.word())?;
        match self {
            Refusal::Malformed(what) | Refusal::Unsupported(what) | Refusal::Changed(what) => f.write_str(what),
            Refusal::WrongRecipient(what) | Refusal::Expired(what) | Refusal::BrokenChain(what) => f.write_str(what),
            Refusal::WrongKey => f.write_str("none of the private keys opens it"),
        }
    }
}

/// A token that came as the JSON text that the wallets' scripts hand over.
///
/// # Errors
/// [`Refusal::Malformed`] for what is no JSON object.
pub fn parse(text: &str) -> Result<Node, Refusal> {
    match Node::parse(text.as_bytes()) {
        Ok(node @ Node::Object(_)) => Ok(node),
        _ => Err(Refusal::Malformed("it is no JSON object")),
    }
}

fn member<'a>(node: &'a Node, name: &str, missing: &'static str) -> Result<&'a str, Refusal> {
    node.get(name).and_then(Node::text).ok_or(Refusal::Malformed(missing))
}

fn base64_member(node: &Node, name: &str, missing: &'static str) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(member(node, name, missing)?).map_err(|_| Refusal::Malformed(missing))
}

/// The decrypted message as a tree.
fn message(plain: &[u8]) -> Result<Node, Refusal> {
    Node::parse(plain).map_err(|_| Refusal::Malformed("the decrypted message is no JSON"))
}

fn pan(digits: &str) -> Result<Pan, Refusal> {
    Pan::parse(digits).map_err(|_| Refusal::Malformed("the number in it is no card number"))
}

/// The wallets' cryptograms are base64 of some 20 bytes.
fn cryptogram(text: &str) -> Result<Cryptogram, Refusal> {
    Cryptogram::parse(text).ok_or(Refusal::Malformed("the cryptogram in it is not base64"))
}

/// The electronic commerce indicator: one or two digits; an empty one is none.
fn eci(node: &Node, name: &str) -> Result<Option<String>, Refusal> {
    let Some(text) = node.get(name).and_then(Node::text_or_number).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let fits = text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { Ok(Some(format!("{text:0>2}"))) } else { Err(Refusal::Malformed("the ECI in it is not two digits")) }
}

/// The DER of a private key in PEM (PKCS#8, SEC 1), or in base64 alone.
fn private_der(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.contains("-----BEGIN") {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        return Some(Zeroizing::new(key.secret_der().to_vec()));
    }
    STANDARD.decode(text.trim()).ok().map(Zeroizing::new)
}
