//! Google's side of Google Pay.

use super::{CRYPTOGRAM, DPAN, PAN, agree, base64, hex, p256, random};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hkdf, hmac};
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use serde_json::{Value, json};

pub const RECIPIENT: &str = "merchant:12345678901234567890";

/// Google with its keys, and one merchant's.
pub struct Google {
    pub root: KeyPair,
    pub intermediate: KeyPair,
    pub merchant: KeyPair,
}

/// What a token is made with.
#[derive(Clone)]
pub struct Ask {
    pub version: &'static str,
    pub recipient: String,
    pub message: Value,
    /// Epoch milliseconds.
    pub key_expiration: i64,
}

impl Google {
    pub fn new() -> Google {
        Google { root: p256(), intermediate: p256(), merchant: p256() }
    }

    /// `keys.json` as Google publishes it.
    pub fn roots(&self) -> String {
        let key = base64(self.root.subject_public_key_info());
        json!({"keys": [
            {"keyValue": key, "protocolVersion": "ECv1"},
            {"keyValue": key, "protocolVersion": "ECv2", "keyExpiration": "4102444800000"},
            {"keyValue": key, "protocolVersion": "ECv2SigningOnly", "keyExpiration": "4102444800000"},
        ]})
        .to_string()
    }

    pub fn token(&self, ask: &Ask) -> Value {
        let signed_message = seal(&self.merchant, ask).to_string();
        let texts = ["Google", &ask.recipient, ask.version, &signed_message];
        if ask.version == "ECv1" {
            let signature = base64(self.root.sign(&prefixed(&texts)).unwrap());
            return json!({"signature": signature, "protocolVersion": "ECv1", "signedMessage": signed_message});
        }
        let key_value = base64(self.intermediate.subject_public_key_info());
        let signed_key = json!({"keyValue": key_value, "keyExpiration": ask.key_expiration.to_string()}).to_string();
        let by_root = self.root.sign(&prefixed(&["Google", ask.version, &signed_key])).unwrap();
        json!({
            "signature": base64(self.intermediate.sign(&prefixed(&texts)).unwrap()),
            "intermediateSigningKey": {"signedKey": signed_key, "signatures": [base64(by_root)]},
            "protocolVersion": ask.version,
            "signedMessage": signed_message,
        })
    }
}

/// A device's number with its cryptogram, good for ten minutes.
pub fn device(version: &'static str, now: i64) -> Ask {
    let details = if version == "ECv1" {
        json!({"dpan": DPAN, "expirationMonth": 12, "expirationYear": 2030, "authMethod": "3DS",
               "3dsCryptogram": CRYPTOGRAM, "3dsEciIndicator": "05"})
    } else {
        json!({"pan": DPAN, "expirationMonth": 12, "expirationYear": 2030, "authMethod": "CRYPTOGRAM_3DS",
               "cryptogram": CRYPTOGRAM, "eciIndicator": "05"})
    };
    ask(version, if version == "ECv1" { "TOKENIZED_CARD" } else { "CARD" }, details, now)
}

/// The number on the card.
pub fn pan_only(version: &'static str, pan: &str, now: i64) -> Ask {
    let details = json!({"pan": pan, "expirationMonth": 12, "expirationYear": 2030, "authMethod": "PAN_ONLY"});
    ask(version, "CARD", details, now)
}

pub fn card(version: &'static str, now: i64) -> Ask {
    pan_only(version, PAN, now)
}

fn ask(version: &'static str, method: &str, details: Value, now: i64) -> Ask {
    let message = json!({
        "gatewayMerchantId": "shop-1",
        "messageExpiration": (now + 600_000).to_string(),
        "messageId": hex(&random::<16>()),
        "paymentMethod": method,
        "paymentMethodDetails": details,
    });
    Ask { version, recipient: RECIPIENT.to_owned(), message, key_expiration: now + 86_400_000 }
}

/// Each text with its length before it.
fn prefixed(texts: &[&str]) -> Vec<u8> {
    let length = |text: &&str| u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    texts.iter().flat_map(|text| [length(text), text.as_bytes().to_vec()].concat()).collect()
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn seal(merchant: &KeyPair, ask: &Ask) -> Value {
    let size = if ask.version == "ECv1" { 16 } else { 32 };
    let (point, secret) = agree(merchant.public_key_raw());
    let mut derived = vec![0; 2 * size];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[0; 32]).extract(&[point.clone(), secret].concat());
    key.expand(&[b"Google"], Length(2 * size)).unwrap().fill(&mut derived).unwrap();
    let algorithm = if size == 16 { &AES_128 } else { &AES_256 };
    let cipher = EncryptingKey::ctr(UnboundCipherKey::new(algorithm, &derived[..size]).unwrap()).unwrap();
    let mut sealed = ask.message.to_string().into_bytes();
    cipher.less_safe_encrypt(&mut sealed, EncryptionContext::Iv128(FixedLength::from([0; 16]))).unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &derived[size..]), &sealed);
    json!({"encryptedMessage": base64(&sealed), "ephemeralPublicKey": base64(&point), "tag": base64(tag)})
}
