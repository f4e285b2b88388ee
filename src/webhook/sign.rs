//! Signatures in the Standard Webhooks way (contract section 9): `v1,` and the base64 of HMAC-SHA256 over
//! `id.timestamp.body`, under the secret's own bytes.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

const PREFIX: &str = "whsec_";

pub struct Secret(hmac::Key);

impl Secret {
    /// `whsec_` and the base64 of the key; `None` for any other text.
    pub fn parse(text: &str) -> Option<Secret> {
        let key = zeroize::Zeroizing::new(BASE64.decode(text.strip_prefix(PREFIX)?).ok()?);
        (!key.is_empty()).then(|| Secret(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    fn sign(&self, id: &str, timestamp_s: i64, body: &str) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body.as_bytes());
        format!("v1,{}", BASE64.encode(context.sign()))
    }
}

/// The header `webhook-signature`: one signature for each secret that is in force.
pub fn header(secrets: &[Secret], id: &str, timestamp_s: i64, body: &str) -> String {
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp_s, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::new_webhook_secret;
    use crate::random::Random;

    /// The two vectors that the Standard Webhooks libraries share.
    #[test]
    fn the_public_vectors() {
        for (secret, id, timestamp_s, body, signature) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_plJ3nmyCDGBKInavdOK15jsl",
                "msg_loFOjxBNrRLzqYUf",
                1_731_705_121,
                r#"{"event_type":"ping","data":{"success":true}}"#,
                "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
        ] {
            let one = || Secret::parse(secret).unwrap();
            assert_eq!(header(&[one()], id, timestamp_s, body), signature);
            assert_eq!(header(&[one(), one()], id, timestamp_s, body), format!("{signature} {signature}"));
            assert_ne!(header(&[one()], id, timestamp_s + 1, body), signature);
        }
    }

    #[test]
    fn secrets_and_what_is_none() {
        assert!(Secret::parse(&new_webhook_secret(&Random::seeded(1))).is_some());
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_札", "whsec_*"] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
    }
}
