//! The master key (PCI DSS 3.6.1, 3.7): where it comes from, how it is refused, and the cipher that works under any key.

use crate::error::Error;
use crate::random::Random;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key file holds 64 characters and a line end. What is longer is no key and is not read to its end.
const LONGEST_FILE: usize = 1024;

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
}

/// The place, never the key.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

/// 256 bits that are zeroed when dropped. A type of its own because `Zeroizing` prints what it holds.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub fn new(random: &Random) -> Key {
        Key(Zeroizing::new(random.bytes()))
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        let mut key = Key(Zeroizing::new([0; 32]));
        (bytes.len() == key.0.len()).then(|| {
            key.0.copy_from_slice(bytes);
            key
        })
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The key that wraps the keys in the database, and stands outside of it.
#[derive(Debug)]
pub struct MasterKey(Key);

impl MasterKey {
    /// `None` when the file does not exist.
    pub fn load(source: &KeySource) -> Result<Option<MasterKey>, Error> {
        let key = match source {
            KeySource::Environment(text) => parse(text.as_bytes()),
            KeySource::File(path) => match read(path)? {
                Some(text) => parse(&text),
                None => return Ok(None),
            },
        };
        key.map(|key| Some(MasterKey(key))).ok_or_else(|| {
            Error::internal(format!(
                "the vault key in {} is not 64 hexadecimal digits or base64 of 32 bytes",
                source.place()
            ))
        })
    }

    /// A new key in a file of mode 0600. It is whole or not there: written aside, synced, then linked to its name, which
    /// fails if somebody else was faster; that one's key is the answer then.
    pub fn create_file(path: &Path, random: &Random) -> Result<MasterKey, Error> {
        let say = |error| Error::internal(format!("cannot make the vault key {}: {error}", path.display()));
        let key = Key::new(random);
        let text = hex_line(&key);
        let aside = path.with_extension(format!("{}.new", u32::from_le_bytes(random.bytes())));
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(say)?;
        let written = file.write_all(&*text).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| std::fs::hard_link(&aside, path));
        std::fs::remove_file(&aside).map_err(say)?;
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let source = KeySource::File(path.to_owned());
                return MasterKey::load(&source)?.ok_or_else(|| say(error));
            }
            linked => linked.map_err(say)?,
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(say)?;
        Ok(MasterKey(key))
    }

    pub fn cipher(&self) -> Result<Cipher, Error> {
        Cipher::new(&self.0)
    }
}

/// Into a buffer that does not grow: a growing one would leave copies behind that nobody zeroes.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let say = |error| Error::internal(format!("cannot read the vault key {}: {error}", path.display()));
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(say(error)),
    };
    // Of the opened file: the name may stand for another one in a moment.
    if file.metadata().map_err(say)?.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        return Err(Error::internal(format!(
            "the vault key {path} can be read by others than its owner: chmod 600 {path}"
        )));
    }
    let mut text = Zeroizing::new(vec![0; LONGEST_FILE]);
    let mut length = 0;
    while length < text.len() {
        match file.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(say(error)),
        }
    }
    text.truncate(length);
    Ok(Some(text))
}

fn parse(text: &[u8]) -> Option<Key> {
    let text = text.trim_ascii();
    // Longer than 32 bytes by what the decoder estimates before it knows.
    let mut bytes = Zeroizing::new([0; 48]);
    if text.len() == 64 {
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(0)? * 16 + digit(1)?;
        }
        return Key::from_bytes(&bytes[..32]);
    }
    let length = base64::engine::general_purpose::STANDARD.decode_slice(text, bytes.as_mut_slice()).ok()?;
    Key::from_bytes(&bytes[..length])
}

fn hex_line(key: &Key) -> Zeroizing<[u8; 65]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = Zeroizing::new([b'\n'; 65]);
    for (pair, byte) in line.chunks_exact_mut(2).zip(key.bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    line
}

/// AES-256-GCM under one key; the nonce stands before the ciphertext. Nonces are random: a record key seals once, and a
/// data key may wrap 2^32 record keys before a repeated nonce is likelier than 2^-32 (NIST SP 800-38D section 8.3).
pub struct Cipher(LessSafeKey);

impl Cipher {
    pub fn new(key: &Key) -> Result<Cipher, Error> {
        let key = UnboundKey::new(&AES_256_GCM, key.bytes()).map_err(|_| Error::internal("a key is not 32 bytes"))?;
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
        let tag = sealing.map_err(|_| {
            // Whatever is left in it may be plain.
            out.fill(0);
            Error::internal("sealing failed")
        })?;
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

    pub fn open_key(&self, associated: &[u8], sealed: &[u8]) -> Result<Key, Error> {
        let bytes = self.open(associated, sealed)?;
        Key::from_bytes(&bytes).ok_or_else(|| Error::internal("an unwrapped key is not 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fuda_key_{}", u64::from_le_bytes(Random::system().bytes())));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    fn given(text: &str) -> Result<Option<MasterKey>, Error> {
        MasterKey::load(&KeySource::Environment(text.to_owned()))
    }

    #[test]
    fn a_key_is_hex_or_base64_and_nothing_else() {
        let zeros = [0; 32];
        let base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for good in [&"00".repeat(32), base64, &format!(" {base64}\n")] {
            assert_eq!(given(good).unwrap().unwrap().0.bytes(), &zeros, "{good}");
        }
        assert_eq!(given(&"aB".repeat(32)).unwrap().unwrap().0.bytes(), &[0xab; 32]);
        let bad =
            ["", "secret", &"00".repeat(31), &"zz".repeat(32), &"é".repeat(32), &"+0".repeat(32), &"A".repeat(44)];
        for bad in bad {
            let error = given(bad).unwrap_err();
            assert!(error.cause().contains("not 64 hexadecimal digits or base64 of 32 bytes"), "{bad}");
            assert!(bad.is_empty() || !error.cause().contains(bad), "{bad}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_is_private() {
        let folder = folder();
        let path = folder.join("vault.key");
        let source = KeySource::File(path.clone());
        assert!(MasterKey::load(&source).unwrap().is_none());
        let made = MasterKey::create_file(&path, &Random::system()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKey::load(&source).unwrap().unwrap().0.bytes(), made.0.bytes());
        // Somebody else was faster: the file stays, and its key is taken.
        let second = MasterKey::create_file(&path, &Random::system()).unwrap();
        assert_eq!(second.0.bytes(), made.0.bytes());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left aside");
        for mode in [0o640, 0o604, 0o620, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(MasterKey::load(&source).unwrap_err().cause().contains("chmod 600"), "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "0".repeat(5000)).unwrap();
        assert!(MasterKey::load(&source).unwrap_err().cause().contains("not 64 hexadecimal"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(MasterKey::create_file(&path, &Random::system()).is_err());
    }

    #[test]
    fn keys_do_not_print() {
        let text = "ab".repeat(32);
        let key = given(&text).unwrap().unwrap();
        assert_eq!(format!("{key:?}"), "MasterKey(***)");
        assert_eq!(format!("{:?}", KeySource::Environment(text)), "FUDA_VAULT_KEY");
    }
}
