//! The signature of an Apple Pay token: a detached CMS (RFC 5652) whose signer's chain ends at Apple's root.

use super::Refusal;
use crate::clock::Millis;
use ::cms::cert::CertificateChoices;
use ::cms::content_info::ContentInfo;
use ::cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use aws_lc_rs::digest;
use der::asn1::{AnyRef, ObjectIdentifier, OctetString, UintRef};
use der::{Decode, Encode};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::aws_lc_rs as algorithms;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::time::Time;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
/// Apple's marks on the certificate that signs tokens, and on the authority that issues it.
const LEAF: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.29");
const INTERMEDIATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.2.14");

/// What the chain may be signed with.
const CHAIN: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
];

/// The longest signature, bytes; Apple's have some 3,000.
const LIMIT: usize = 16 * 1024;

/// The most certificates in a signature; Apple sends the signer's and one intermediate.
const CERTIFICATES: usize = 4;

/// The longest modulus of an RSA key, bytes: what is longer is slow to verify, and nobody's.
const RSA_MODULUS: usize = 4096 / 8;

/// What a signature that fits tells.
pub struct Signed {
    pub at: Millis,
    /// SHA-256 of all that was signed.
    pub digest: Vec<u8>,
}

/// Apple's certificates are marked by extensions of their own, not by an extended key usage.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// Checks chain and signature over `content`; whether the signing time is a good one is the caller's to say. Revocation is not
/// asked: nothing is loaded while a payment waits.
///
/// # Errors
/// Malformed, broken chain, or changed.
pub fn verify(signature: &[u8], content: &[u8], root: &TrustAnchor<'_>, now: Millis) -> Result<Signed, Refusal> {
    let data = signed_data(signature)?;
    let signer = match data.signer_infos.0.as_slice() {
        [one] => one,
        _ => return Err(Refusal::Malformed("its signature has not exactly one signer")),
    };
    let certificates = certificates(&data)?;
    let leaf = certificates.iter().find(|certificate| is_of(&signer.sid, certificate));
    let leaf = leaf.ok_or(Refusal::BrokenChain("the signer's certificate is not in the signature"))?;
    let leaf_der = chain(leaf, &certificates, root, now)?;
    let leaf = EndEntityCert::try_from(&leaf_der).map_err(broken)?;
    let (attributes, signed) = attributes(signer)?;
    let algorithm = match signer.signature_algorithm.oid {
        ECDSA_SHA256 => algorithms::ECDSA_P256_SHA256,
        RSA | RSA_SHA256 => algorithms::RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(Refusal::Unsupported("its signature's algorithm is neither ECDSA nor RSA with SHA-256")),
    };
    leaf.verify_signature(algorithm, &attributes, signer.signature.as_bytes())
        .map_err(|_| Refusal::Changed("the signer did not sign these attributes"))?;
    if digest::digest(&digest::SHA256, content).as_ref() != signed.digest {
        return Err(Refusal::Changed("the signature is over other data"));
    }
    Ok(signed)
}

fn signed_data(signature: &[u8]) -> Result<SignedData, Refusal> {
    let malformed = || Refusal::Malformed("its signature is no CMS");
    if signature.len() > LIMIT {
        return Err(Refusal::Malformed("its signature is longer than 16 KiB"));
    }
    let der = to_der(signature).ok_or_else(malformed)?;
    let info = ContentInfo::from_der(&der).map_err(|_| malformed())?;
    if info.content_type != SIGNED_DATA {
        return Err(malformed());
    }
    let data: SignedData = info.content.decode_as().map_err(|_| malformed())?;
    let detached = data.encap_content_info.econtent.is_none() && data.encap_content_info.econtent_type == DATA;
    if detached { Ok(data) } else { Err(Refusal::Malformed("its signature is not a detached one")) }
}

fn certificates(data: &SignedData) -> Result<Vec<&Certificate>, Refusal> {
    let all = data.certificates.iter().flat_map(|set| set.0.iter());
    let all: Vec<_> = all
        .filter_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => Some(certificate),
            CertificateChoices::Other(_) => None,
        })
        .collect();
    if all.len() > CERTIFICATES {
        return Err(Refusal::Malformed("its signature has more than four certificates"));
    }
    if all.iter().any(|certificate| has_long_rsa_key(certificate)) {
        return Err(Refusal::Unsupported("an RSA key of its certificates has more than 4096 bits"));
    }
    Ok(all)
}

/// An RSA key that cannot be read is too long, too.
fn has_long_rsa_key(certificate: &Certificate) -> bool {
    let key = &certificate.tbs_certificate.subject_public_key_info;
    let modulus = || {
        let both = AnyRef::from_der(key.subject_public_key.as_bytes()?).ok()?;
        let both = both.sequence(|key| Ok((UintRef::decode(key)?, UintRef::decode(key)?)));
        both.ok().map(|(modulus, _)| modulus.as_bytes().len())
    };
    key.algorithm.oid == RSA && modulus().is_none_or(|bytes| bytes > RSA_MODULUS)
}

fn is_of(sid: &SignerIdentifier, certificate: &Certificate) -> bool {
    let body = &certificate.tbs_certificate;
    match sid {
        SignerIdentifier::IssuerAndSerialNumber(named) => {
            named.issuer == body.issuer && named.serial_number == body.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => {
            body.get::<SubjectKeyIdentifier>().is_ok_and(|found| found.is_some_and(|(_, found)| found == *id))
        }
    }
}

/// Leaf, one or more intermediates, root; each with Apple's mark.
fn chain(
    leaf: &Certificate,
    certificates: &[&Certificate],
    root: &TrustAnchor<'_>,
    now: Millis,
) -> Result<CertificateDer<'static>, Refusal> {
    let unread = |_| Refusal::BrokenChain("a certificate in its chain cannot be read");
    let der = |certificate: &Certificate| certificate.to_der().map(CertificateDer::from).map_err(unread);
    if !has(leaf, LEAF) {
        return Err(Refusal::BrokenChain("the signer's certificate does not have Apple's mark"));
    }
    let intermediates = certificates.iter().filter(|certificate| has(certificate, INTERMEDIATE));
    let intermediates = intermediates.map(|certificate| der(certificate)).collect::<Result<Vec<_>, _>>()?;
    let leaf = der(leaf)?;
    let time = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now).unwrap_or(0)));
    let anchors = std::slice::from_ref(root);
    let end = EndEntityCert::try_from(&leaf).map_err(broken)?;
    let path = end.verify_for_usage(CHAIN, anchors, &intermediates, time, AnyUsage, None, None).map_err(broken)?;
    if path.intermediate_certificates().next().is_none() {
        return Err(Refusal::BrokenChain("the root itself has issued the signer's certificate"));
    }
    Ok(leaf)
}

/// In our own words: theirs repeat what stands in the certificates, which anybody can have written.
#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn broken(error: webpki::Error) -> Refusal {
    use webpki::Error as E;
    Refusal::BrokenChain(match error {
        E::CertExpired { .. } => "a certificate in its chain is past",
        E::CertNotValidYet { .. } => "a certificate in its chain is not in force yet",
        E::UnknownIssuer => "its chain does not end at our root",
        E::InvalidSignatureForPublicKey => "a certificate in its chain was not signed by its issuer",
        E::EndEntityUsedAsCa | E::PathLenConstraintViolated => "a certificate was issued by one that may not",
        E::CaUsedAsEndEntity => "the signer is an authority",
        E::NameConstraintViolation => "a name in its chain is not one that its issuer may give",
        E::UnsupportedCriticalExtension => "a certificate in its chain has a critical extension that is not known",
        _ => "its chain is not one that can be verified",
    })
}

fn has(certificate: &Certificate, mark: ObjectIdentifier) -> bool {
    certificate.tbs_certificate.extensions.iter().flatten().any(|extension| extension.extn_id == mark)
}

/// The signed attributes as they were signed (DER, RFC 5652 section 5.4), and what they say.
fn attributes(signer: &SignerInfo) -> Result<(Vec<u8>, Signed), Refusal> {
    let missing = Refusal::Malformed("its signature lacks the attributes that are to be signed");
    let Some(all) = &signer.signed_attrs else { return Err(missing) };
    // Each once, with one value.
    let value = |oid: ObjectIdentifier| {
        let mut found = all.iter().filter(|attribute: &&Attribute| attribute.oid == oid);
        match (found.next(), found.next()) {
            (Some(attribute), None) if attribute.values.len() == 1 => attribute.values.get(0),
            _ => None,
        }
    };
    let kind = value(CONTENT_TYPE).and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let digest = value(MESSAGE_DIGEST).and_then(|any| any.decode_as::<OctetString>().ok());
    let at = value(SIGNING_TIME).and_then(|any| Time::from_der(&any.to_der().ok()?).ok());
    let at = at.and_then(|time| Millis::try_from(time.to_unix_duration().as_millis()).ok());
    match (kind, digest, at, all.to_der()) {
        (Some(DATA), Some(digest), Some(at), Ok(bytes)) if signer.digest_alg.oid == SHA256 => {
            Ok((bytes, Signed { at, digest: digest.into_bytes() }))
        }
        _ => Err(missing),
    }
}

/// Deeper is no signature of Apple's.
const DEPTH: usize = 24;

/// The most parts of any one value. The parsers put a set in order by comparing each part with each: whoever sends thousands
/// of them, before any signature is looked at, would keep the machine busy for seconds.
const PARTS: usize = 32;

/// The most values in all; Apple's signatures have some 250.
const VALUES: usize = 1_000;

/// Apple writes the outer layers with indefinite lengths (BER), which the parsers do not read: the same values with definite
/// lengths. What is signed inside is DER already and stays as it is.
fn to_der(ber: &[u8]) -> Option<Vec<u8>> {
    let mut left = VALUES;
    let (der, rest) = element(ber, DEPTH, &mut left)?;
    rest.is_empty().then_some(der)
}

/// `left`: how many values there may still be.
fn element<'a>(ber: &'a [u8], depth: usize, left: &mut usize) -> Option<(Vec<u8>, &'a [u8])> {
    let (&tag, rest) = ber.split_first()?;
    // Tags above 30 stand in no CMS.
    if tag & 0x1f == 0x1f || depth == 0 || *left == 0 {
        return None;
    }
    *left -= 1;
    let (&first, mut rest) = rest.split_first()?;
    let constructed = tag & 0x20 != 0;
    let content = if first == 0x80 {
        if !constructed {
            return None;
        }
        let (content, after) = parts(rest, depth, left, |rest| rest.starts_with(&[0, 0]))?;
        rest = &after[2..];
        content
    } else {
        let bytes = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let (long, after) = rest.split_at_checked(bytes)?;
        let length = if bytes == 0 { usize::from(first) } else { number(long)? };
        let (inside, after) = after.split_at_checked(length)?;
        rest = after;
        if constructed { parts(inside, depth, left, <[u8]>::is_empty)?.0 } else { inside.to_vec() }
    };
    let mut der = vec![tag];
    push_length(content.len(), &mut der);
    der.extend(content);
    Some((der, rest))
}

/// The values of a constructed one, up to its end, and what follows.
fn parts<'a>(
    mut rest: &'a [u8],
    depth: usize,
    left: &mut usize,
    ends: fn(&[u8]) -> bool,
) -> Option<(Vec<u8>, &'a [u8])> {
    let mut content = Vec::new();
    for _ in 0..=PARTS {
        if ends(rest) {
            return Some((content, rest));
        }
        let (inner, after) = element(rest, depth - 1, left)?;
        content.extend(inner);
        rest = after;
    }
    None
}

fn number(bytes: &[u8]) -> Option<usize> {
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn push_length(length: usize, out: &mut Vec<u8>) {
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out.push(short);
        return;
    }
    let bytes = length.to_be_bytes();
    let long = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    // At most eight bytes.
    out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
    out.extend_from_slice(long);
}
