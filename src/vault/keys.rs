//! The master key and what it wraps (PCI DSS 3.6.1, 3.7): where it comes from, and how it is refused.

use crate::error::Error;
use crate::random::Random;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub type KeyBytes = Zeroizing<[u8; 32]>;

/// Where the master key is.
pub enum KeySource {
    /// 64 hexadecimal digits, or base64 of 32 bytes.
    Environment(String),
    /// The same text in a file that only its owner can read.
    File(PathBuf),
}

impl KeySource {
    pub fn place(&self) -> String {
        match self {
            KeySource::Environment(_) => "FUDA_VAULT_KEY".to_owned(),
            KeySource::File(path) => path.display().to_string(),
        }
    }

    /// `None` when the file does not exist.
    pub fn load(&self) -> Result<Option<KeyBytes>, Error> {
        let text = match self {
            KeySource::Environment(text) => Zeroizing::new(text.clone()),
            KeySource::File(path) => match read(path)? {
                Some(text) => text,
                None => return Ok(None),
            },
        };
        parse(text.trim()).map(Some).ok_or_else(|| {
            Error::internal(format!(
                "the vault key in {} is not 64 hexadecimal digits or base64 of 32 bytes",
                self.place()
            ))
        })
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    let say = |error: std::io::Error| Error::internal(format!("cannot read the vault key {}: {error}", path.display()));
    let mode = match std::fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(say(error)),
    };
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(Error::internal(format!(
            "the vault key {path} can be read by others than its owner: chmod 600 {path}"
        )));
    }
    std::fs::read_to_string(path).map(|text| Some(Zeroizing::new(text))).map_err(say)
}

fn parse(text: &str) -> Option<KeyBytes> {
    let mut key = Zeroizing::new([0; 32]);
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        for (position, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * position..2 * position + 2], 16).ok()?;
        }
        return Some(key);
    }
    let bytes = Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(text).ok()?);
    (bytes.len() == 32).then(|| {
        key.copy_from_slice(&bytes);
        key
    })
}

/// A new key in a file of mode 0600. It is whole or not there: written aside, synced, then linked to its name, which
/// fails if somebody else was faster.
pub fn create_file(path: &Path, random: &Random) -> Result<KeyBytes, Error> {
    let say = |error: std::io::Error| Error::internal(format!("cannot make the vault key {}: {error}", path.display()));
    let key = Zeroizing::new(random.bytes::<32>());
    let hex: Zeroizing<String> = Zeroizing::new(key.iter().map(|byte| format!("{byte:02x}")).collect());
    let aside = path.with_extension(format!("{}.new", u32::from_le_bytes(random.bytes())));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(say)?;
    let written = writeln!(file, "{}", *hex).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| std::fs::hard_link(&aside, path));
    std::fs::remove_file(&aside).map_err(say)?;
    linked.map_err(say)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(say)?;
    Ok(key)
}

/// AES-256-GCM under one key; the nonce stands before the ciphertext.
pub struct Cipher(LessSafeKey);

impl Cipher {
    pub fn new(key: &[u8; 32]) -> Result<Cipher, Error> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::internal("a key is not 32 bytes"))?;
        Ok(Cipher(LessSafeKey::new(key)))
    }

    pub fn seal(&self, random: &Random, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = random.bytes::<NONCE_LEN>();
        let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let sealing = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated),
            &mut out[NONCE_LEN..],
        );
        let tag = sealing.map_err(|_| Error::internal("sealing failed"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Fails alike for another key, another place and a changed byte.
    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let does_not_open =
            || Error::internal("a sealed record does not open: it was changed, moved, or sealed elsewhere");
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(does_not_open)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| does_not_open())?;
        let mut buffer = Zeroizing::new(text.to_vec());
        let length =
            self.0.open_in_place(nonce, Aad::from(associated), &mut buffer).map_err(|_| does_not_open())?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}
