//! Makes wallets' tokens as Google and Apple would, with keys of its own, and wrong ones in every way. Written from the
//! wallets' documents, apart from the code that opens them.

#![allow(dead_code)] // Two tests share it; each uses a part.

pub mod apple;
pub mod google;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;

pub const PAN: &str = "4111111111111111";
pub const DPAN: &str = "5200000000001005";
pub const CRYPTOGRAM: &str = "AwAAAAEAfuda4QtxkIAACCMAAAA=";

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).unwrap();
    bytes
}

pub fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

/// ECDH with a new key of one's own: its public point, uncompressed, and the secret.
pub fn agree(public: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
    let ephemeral = PrivateKey::generate(&ECDH_P256).unwrap();
    let point = ephemeral.compute_public_key().unwrap().as_ref().to_vec();
    let secret = agree(&ephemeral, UnparsedPublicKey::new(&ECDH_P256, public), (), |secret| Ok(secret.to_vec()));
    (point, secret.unwrap())
}
