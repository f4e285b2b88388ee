//! Apple's side of Apple Pay: its certification authority, a merchant's certificates, and the device that makes tokens. The
//! CMS is written by hand, as Apple writes it: indefinite lengths outside, DER inside.

use super::{CRYPTOGRAM, DPAN, agree, base64, hex, p256, random, sha256};
use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::{Aes128, Aes256};
use aes_gcm::{AesGcm, Nonce};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use der::asn1::UtcTime;
use der::{Decode, Encode};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SigningKey,
};
use serde_json::{Value, json};
use std::time::Duration;

pub const MERCHANT_ID: &str = "merchant.example.fuda";
const LEAF: [u64; 7] = [1, 2, 840, 113_635, 100, 6, 29];
const INTERMEDIATE: [u64; 8] = [1, 2, 840, 113_635, 100, 6, 2, 14];
const MERCHANT: [u64; 7] = [1, 2, 840, 113_635, 100, 6, 32];

/// How the chain is made, and how it can be broken.
#[derive(Clone, Copy)]
pub struct Chain {
    pub leaf_mark: bool,
    pub intermediate_mark: bool,
    /// The year in which the signer's certificate ends.
    pub ends: i32,
    pub leaf_by_root: bool,
    /// The year in which the intermediate certificate ends.
    pub intermediate_ends: i32,
    /// Whether it may issue certificates.
    pub intermediate_ca: bool,
}

pub const GOOD: Chain = Chain {
    leaf_mark: true,
    intermediate_mark: true,
    ends: 2099,
    leaf_by_root: false,
    intermediate_ends: 2099,
    intermediate_ca: true,
};

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flaw {
    None,
    /// Signed by another key than the certificate's.
    Forged,
    /// Attributes of this token, signature of another.
    Attributes,
    /// One of the attributes, by the end of its identifier, is not there.
    Missing(u8),
    /// It is there twice, with two values.
    Twice(u8),
    /// It is there once, with two values.
    TwoValues(u8),
    /// It has another value than it should; the signature is over that.
    Other(u8),
    NoAttributes,
    /// Says SHA-384 for its digest.
    Digest,
    /// Says RSA over a key that is not.
    Algorithm,
    TwoSigners,
    NoSigner,
    /// Names a certificate that is not there.
    Stranger,
    /// Brings its content along.
    Attached,
    /// Its content is not what CMS calls data.
    Content,
    /// The whole is not what CMS calls signed data.
    Kind,
    /// Further certificates; the first with an RSA key with a modulus of so many bytes.
    Certificates(usize, usize),
    /// So many unsigned attributes with so many values each, in falling order.
    Crowd(u16, u16),
    /// An unsigned attribute of so many bytes.
    Long(usize),
    /// An unsigned attribute of so many values, each in the one before.
    Deep(usize),
}

pub struct Apple {
    pub root_pem: String,
    intermediate: Certificate,
    leaf: Certificate,
    leaf_key: KeyPair,
    stranger: KeyPair,
}

/// One payment processing certificate with its key.
pub struct Merchant {
    pub certificate_pem: String,
    pub key: KeyPair,
    id: String,
}

#[derive(Clone)]
pub struct Ask {
    pub message: Value,
    /// Epoch milliseconds.
    pub signed_at: i64,
    pub transaction_id: Vec<u8>,
    pub application_data: Vec<u8>,
    /// DER throughout, where Apple writes BER.
    pub der: bool,
    pub flaw: Flaw,
}

/// A payment of 1,000 yen, signed now.
pub fn yen(minor: i64, now: i64) -> Ask {
    let message = json!({
        "applicationPrimaryAccountNumber": DPAN,
        "applicationExpirationDate": "301231",
        "currencyCode": "392",
        "transactionAmount": minor,
        "deviceManufacturerIdentifier": "040010030273",
        "paymentDataType": "3DSecure",
        "paymentData": {"onlinePaymentCryptogram": CRYPTOGRAM, "eciIndicator": "7"},
    });
    let transaction_id = random::<32>().to_vec();
    Ask { message, signed_at: now, transaction_id, application_data: Vec::new(), der: false, flaw: Flaw::None }
}

fn params(name: &str, usage: KeyUsagePurpose, marks: &[&[u64]]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Apple Inc.");
    params.key_usages = vec![usage];
    // NULL, as Apple's marks have it.
    params.custom_extensions =
        marks.iter().map(|oid| CustomExtension::from_oid_content(oid, vec![0x05, 0x00])).collect();
    params
}

impl Apple {
    pub fn new(chain: Chain) -> Apple {
        Apple::with(chain, p256())
    }

    /// `leaf_key` decides what the tokens are signed with.
    pub fn with(chain: Chain, leaf_key: KeyPair) -> Apple {
        let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let (root_key, intermediate_key) = (key(), key());
        let ca = |name, marks: &[&[u64]]| {
            let mut params = params(name, KeyUsagePurpose::KeyCertSign, marks);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let root = ca("Root CA - G3", &[]);
        let mut middle =
            ca("Application Integration CA - G3", if chain.intermediate_mark { &[&INTERMEDIATE] } else { &[] });
        middle.not_after = rcgen::date_time_ymd(chain.intermediate_ends, 1, 1);
        if !chain.intermediate_ca {
            middle.is_ca = IsCa::ExplicitNoCa;
        }
        let marks: &[&[u64]] = if chain.leaf_mark { &[&LEAF] } else { &[] };
        let mut leaf = params("ecc-smp-broker-sign", KeyUsagePurpose::DigitalSignature, marks);
        leaf.not_after = rcgen::date_time_ymd(chain.ends, 1, 1);
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let by_root = Issuer::from_params(&root, &root_key);
        let intermediate = middle.signed_by(&intermediate_key, &by_root).unwrap();
        let by_middle = Issuer::from_params(&middle, &intermediate_key);
        let leaf = leaf.signed_by(&leaf_key, if chain.leaf_by_root { &by_root } else { &by_middle }).unwrap();
        Apple { root_pem, intermediate, leaf, leaf_key, stranger: p256() }
    }

    pub fn token(&self, merchant: &Merchant, ask: &Ask) -> Value {
        let (version, key_name, key, ciphertext) = merchant.seal(&ask.message);
        let signed = [&key[..], &ciphertext, &ask.transaction_id, &ask.application_data].concat();
        let mut header = json!({
            key_name: base64(&key),
            "publicKeyHash": base64(sha256(&merchant.key.subject_public_key_info())),
            "transactionId": hex(&ask.transaction_id),
        });
        if !ask.application_data.is_empty() {
            header["applicationData"] = hex(&ask.application_data).into();
        }
        json!({
            "version": version,
            "data": base64(&ciphertext),
            "signature": base64(self.sign(&signed, ask)),
            "header": header,
        })
    }

    /// A detached CMS over `content`.
    pub fn sign(&self, content: &[u8], ask: &Ask) -> Vec<u8> {
        let flaw = ask.flaw;
        let (data, signed_data) = (oid("1.2.840.113549.1.7.1"), oid("1.2.840.113549.1.7.2"));
        let outer = if ask.der { tlv } else { indefinite };
        let (first, second) = match flaw {
            Flaw::TwoSigners => (self.signer(content, ask), self.signer(b"other", ask)),
            Flaw::NoSigner => (Vec::new(), Vec::new()),
            _ => (self.signer(content, ask), Vec::new()),
        };
        let attached = if flaw == Flaw::Attached { outer(0xa0, &tlv(0x04, content)) } else { Vec::new() };
        let kind = if flaw == Flaw::Content { &signed_data } else { &data };
        let mut certificates = [&self.leaf.der()[..], self.intermediate.der()].concat();
        if let Flaw::Certificates(count, modulus) = flaw {
            certificates.extend((0..count).flat_map(|at| strange_certificate(if at == 0 { modulus } else { 256 })));
        }
        let inside = [
            tlv(0x02, &[1]),
            tlv(0x31, &tlv(0x30, &oid(SHA256))),
            outer(0x30, &[kind.clone(), attached].concat()),
            outer(0xa0, &certificates),
            tlv(0x31, &[first, second].concat()),
        ]
        .concat();
        let kind = if flaw == Flaw::Kind { data } else { signed_data };
        outer(0x30, &[kind, outer(0xa0, &outer(0x30, &inside))].concat())
    }

    fn signer(&self, content: &[u8], ask: &Ask) -> Vec<u8> {
        let flaw = ask.flaw;
        let attributes = attributes(content, ask);
        let signed = if flaw == Flaw::Attributes { self::attributes(b"other", ask) } else { attributes.clone() };
        let key = if flaw == Flaw::Forged { &self.stranger } else { &self.leaf_key };
        let over = if flaw == Flaw::NoAttributes { content.to_vec() } else { tlv(0x31, &signed) };
        let ec = self.leaf_key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 && flaw != Flaw::Algorithm;
        let leaf = x509_cert::Certificate::from_der(self.leaf.der()).unwrap().tbs_certificate;
        let serial = if flaw == Flaw::Stranger { tlv(0x02, &[1]) } else { leaf.serial_number.to_der().unwrap() };
        let digest = if flaw == Flaw::Digest { oid("2.16.840.1.101.3.4.2.2") } else { oid(SHA256) };
        let unsigned = |value: &[u8]| tlv(0xa1, &tlv(0x30, &[oid("1.2.3.4"), tlv(0x31, value)].concat()));
        let crowd = match flaw {
            Flaw::Crowd(attributes, values) => {
                let values: Vec<u8> = (0..values).rev().flat_map(|at| tlv(0x04, &at.to_be_bytes())).collect();
                let one = |at: u16| tlv(0x30, &[oid(&format!("1.2.3.{at}")), tlv(0x31, &values)].concat());
                tlv(0xa1, &(0..attributes).rev().flat_map(one).collect::<Vec<_>>())
            }
            Flaw::Long(bytes) => unsigned(&tlv(0x04, &vec![0; bytes])),
            Flaw::Deep(values) => unsigned(&(0..values).fold(Vec::new(), |inside, _| tlv(0x30, &inside))),
            _ => Vec::new(),
        };
        let parts = [
            tlv(0x02, &[1]),
            tlv(0x30, &[leaf.issuer.to_der().unwrap(), serial].concat()),
            tlv(0x30, &digest),
            if flaw == Flaw::NoAttributes { Vec::new() } else { tlv(0xa0, &attributes) },
            tlv(0x30, &if ec { oid("1.2.840.10045.4.3.2") } else { oid("1.2.840.113549.1.1.11") }),
            tlv(0x04, &key.sign(&over).unwrap()),
            crowd,
        ];
        tlv(0x30, &parts.concat())
    }
}

const SHA256: &str = "2.16.840.1.101.3.4.2.1";

/// Content type (3), message digest (4) and signing time (5), in the order of DER.
fn attributes(content: &[u8], ask: &Ask) -> Vec<u8> {
    let time = |ms: i64| {
        UtcTime::from_unix_duration(Duration::from_millis(u64::try_from(ms).unwrap())).unwrap().to_der().unwrap()
    };
    let values = [
        (3, oid("1.2.840.113549.1.7.1"), oid("1.2.840.113549.1.7.2")),
        (4, tlv(0x04, &sha256(content)), tlv(0x04, &sha256(b"other"))),
        (5, time(ask.signed_at), time(ask.signed_at + 1_000)),
    ];
    let mut all = Vec::new();
    for (number, value, other) in values {
        let mut add = |values: &[&Vec<u8>]| {
            let mut values: Vec<u8> = values.iter().flat_map(|value| value.to_vec()).collect();
            let name = oid(&format!("1.2.840.113549.1.9.{number}"));
            values = tlv(0x31, &values);
            all.push(tlv(0x30, &[name, values].concat()));
        };
        match ask.flaw {
            Flaw::Missing(which) if which == number => {}
            Flaw::Twice(which) if which == number => {
                add(&[&value]);
                add(&[&other]);
            }
            Flaw::TwoValues(which) if which == number => {
                add(&[value.clone().min(other.clone()), value.max(other)].each_ref())
            }
            Flaw::Other(which) if which == number => add(&[&other]),
            _ => add(&[&value]),
        }
    }
    all.sort();
    all.concat()
}

/// An RSA key that never was.
struct Modulus(Vec<u8>);

impl PublicKeyData for Modulus {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

fn strange_certificate(modulus: usize) -> Vec<u8> {
    let modulus = [vec![0], vec![0xff; modulus]].concat();
    let key = Modulus(tlv(0x30, &[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])].concat()));
    let params = params("stranger", KeyUsagePurpose::KeyCertSign, &[]);
    let by = p256();
    params.signed_by(&key, &Issuer::from_params(&params, &by)).unwrap().der().to_vec()
}

impl Merchant {
    pub fn ec() -> Merchant {
        Merchant::with(p256(), MERCHANT_ID)
    }

    pub fn rsa() -> Merchant {
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        Merchant::with(key, MERCHANT_ID)
    }

    pub fn with(key: KeyPair, id: &str) -> Merchant {
        let mut params = params(id, KeyUsagePurpose::KeyAgreement, &[]);
        let named = tlv(0x0c, hex(&sha256(id.as_bytes())).to_uppercase().as_bytes());
        params.custom_extensions = vec![CustomExtension::from_oid_content(&MERCHANT, named)];
        Merchant { certificate_pem: params.self_signed(&key).unwrap().pem(), key, id: id.to_owned() }
    }

    /// Version, the key's name in the header, the key, the ciphertext.
    fn seal(&self, message: &Value) -> (&'static str, &'static str, Vec<u8>, Vec<u8>) {
        let plain = message.to_string();
        let nonce = Nonce::<U16>::default();
        if self.key.algorithm() == &rcgen::PKCS_RSA_SHA256 {
            let key: [u8; 16] = random();
            let sealed = AesGcm::<Aes128, U16>::new(&key.into()).encrypt(&nonce, plain.as_bytes()).unwrap();
            let public = PublicEncryptingKey::from_der(&self.key.subject_public_key_info()).unwrap();
            let public = OaepPublicEncryptingKey::new(public).unwrap();
            let mut wrapped = vec![0; public.ciphertext_size()];
            public.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut wrapped, None).unwrap();
            return ("RSA_v1", "wrappedKey", wrapped, sealed);
        }
        let (point, secret) = agree(self.key.public_key_raw());
        let info = [&b"\x0did-aes256-GCM"[..], b"Apple", &sha256(self.id.as_bytes())].concat();
        let key: [u8; 32] = sha256(&[&[0, 0, 0, 1][..], &secret, &info].concat()).try_into().unwrap();
        let sealed = AesGcm::<Aes256, U16>::new(&key.into()).encrypt(&nonce, plain.as_bytes()).unwrap();
        let algorithm = tlv(0x30, &[oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")].concat());
        let spki = tlv(0x30, &[algorithm, tlv(0x03, &[&[0][..], &point].concat())].concat());
        ("EC_v1", "ephemeralPublicKey", spki, sealed)
    }
}

fn oid(text: &str) -> Vec<u8> {
    der::asn1::ObjectIdentifier::new(text).unwrap().to_der().unwrap()
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=127 => vec![tag, u8::try_from(length).unwrap()],
        128..=255 => vec![tag, 0x81, u8::try_from(length).unwrap()],
        _ => [vec![tag, 0x82], u16::try_from(length).unwrap().to_be_bytes().to_vec()].concat(),
    };
    [head, content.to_vec()].concat()
}

fn indefinite(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x80], content, &[0, 0]].concat()
}
