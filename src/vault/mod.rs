//! Keep the card. Each record is sealed with AES-256-GCM under a random key of its own; that key is wrapped by a data key,
//! and the data key by the master key, which stands outside the database. What a record is bound to (entity, mode, row,
//! key version) is authenticated with it: a ciphertext moved to another row does not open (PCI DSS 3.5.1). Erasing a record
//! destroys its key with it. The keys themselves: PCI DSS 3.6.1 and 3.7, in `keys` and `rows`.

mod keys;
mod rows;
mod seal;

pub use keys::{KeySource, MasterKey};
pub use seal::{Bound, Owner, Sealed};

use crate::card::Pan;
use crate::clock::Clock;
use crate::db::Db;
use crate::error::Error;
use crate::id::EntityId;
use crate::random::Random;
use aws_lc_rs::hmac;
use keys::{Cipher, Key};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// Numbers are padded to this before sealing, so that a ciphertext does not tell their length.
const PADDED: usize = 24;

#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    master: Cipher,
    /// By id; the highest is used for new records.
    data: RwLock<BTreeMap<i64, Arc<Cipher>>>,
    fingerprint: hmac::Key,
    credential: hmac::Key,
    request: hmac::Key,
    random: Random,
}

impl Vault {
    /// Opens the keys of this database; makes them, and a key file, only where there are none yet.
    pub async fn open(db: &Db, source: &KeySource, clock: &Clock, random: &Random) -> Result<Vault, Error> {
        let mut rows = rows::read(db).await?;
        let master = match (MasterKey::load(source)?, source) {
            (Some(key), _) => key,
            (None, KeySource::File(path)) if rows.is_empty() => MasterKey::create_file(path, random)?,
            (None, _) => {
                return Err(Error::internal(format!(
                    "the vault key {} is missing, but the database holds data sealed with it: put the key back, or name \
                     its place with --vault-key-file; a new key could open none of it and is not made",
                    source.place()
                )));
            }
        };
        let master = master.cipher()?;
        if rows.is_empty() {
            rows = rows::create(db, &master, clock, random).await?;
        }
        let mut data = BTreeMap::new();
        let mut others: BTreeMap<&str, hmac::Key> = BTreeMap::new();
        for row in &rows {
            let key = row.unwrap(&master).map_err(|_| {
                let place = source.place();
                Error::internal(format!("the vault key in {place} is not the one that this database was sealed with"))
            })?;
            if row.purpose == rows::DATA {
                data.insert(row.id, Arc::new(Cipher::new(&key)?));
            } else {
                others.insert(&row.purpose, hmac::Key::new(hmac::HMAC_SHA256, key.bytes()));
            }
        }
        let mut take = |purpose: &str| {
            others.remove(purpose).ok_or_else(|| Error::internal(format!("the database has no {purpose} key")))
        };
        let (fingerprint, credential) = (take(rows::FINGERPRINT)?, take(rows::CREDENTIAL)?);
        let request = take(rows::REQUEST)?;
        let inner = Inner { master, data: RwLock::new(data), fingerprint, credential, request, random: random.clone() };
        Ok(Vault(Arc::new(inner)))
    }

    pub fn seal(&self, bound: &Bound, pan: &Pan) -> Result<Sealed, Error> {
        let mut padded = Zeroizing::new([0; PADDED]);
        padded[..pan.expose().len()].copy_from_slice(pan.expose().as_bytes());
        self.seal_bytes(bound, padded.as_slice())
    }

    pub fn open_pan(&self, bound: &Bound, sealed: &Sealed) -> Result<Pan, Error> {
        let padded = self.open_bytes(bound, sealed)?;
        let length = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
        let text = std::str::from_utf8(&padded[..length]).ok();
        text.and_then(|text| Pan::parse(text).ok())
            .ok_or_else(|| Error::internal("a sealed record holds no card number"))
    }

    pub fn seal_text(&self, bound: &Bound, text: &str) -> Result<Sealed, Error> {
        self.seal_bytes(bound, text.as_bytes())
    }

    pub fn open_text(&self, bound: &Bound, sealed: &Sealed) -> Result<Zeroizing<String>, Error> {
        let bytes = self.open_bytes(bound, sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::internal("a sealed record holds no text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn seal_bytes(&self, bound: &Bound, plain: &[u8]) -> Result<Sealed, Error> {
        let (key_id, data_key) = {
            let data = self.0.data.read().unwrap_or_else(PoisonError::into_inner);
            let (id, key) = data.last_key_value().ok_or_else(|| Error::internal("the vault has no data key"))?;
            (*id, key.clone())
        };
        let record_key = Key::new(&self.0.random);
        let associated = bound.associated(key_id);
        Ok(Sealed {
            key_id,
            wrapped_key: data_key.seal(&self.0.random, &associated, record_key.bytes())?,
            ciphertext: Cipher::new(&record_key)?.seal(&self.0.random, &associated, plain)?,
        })
    }

    fn open_bytes(&self, bound: &Bound, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Error> {
        let data_key = self.0.data.read().unwrap_or_else(PoisonError::into_inner).get(&sealed.key_id).cloned();
        let data_key = data_key.ok_or_else(|| Error::internal("a record was sealed with an unknown data key"))?;
        let associated = bound.associated(sealed.key_id);
        let record_key = data_key.open_key(&associated, &sealed.wrapped_key)?;
        Cipher::new(&record_key)?.open(&associated, &sealed.ciphertext)
    }

    /// Whether a record's data key is loaded; if not, another process made it: [`Vault::refresh`].
    pub fn knows(&self, key_id: i64) -> bool {
        self.0.data.read().unwrap_or_else(PoisonError::into_inner).contains_key(&key_id)
    }

    /// Loads data keys that were made since.
    pub async fn refresh(&self, db: &Db) -> Result<(), Error> {
        for row in rows::read(db).await?.iter().filter(|row| row.purpose == rows::DATA && !self.knows(row.id)) {
            self.learn(row.id, &row.unwrap(&self.0.master)?)?;
        }
        Ok(())
    }

    /// A new data key, for new records from now on (PCI DSS 3.7.4); older ones open as before. Other processes learn of
    /// it by the first record under it that they meet.
    pub async fn add_data_key(&self, db: &Db, clock: &Clock, random: &Random) -> Result<i64, Error> {
        let (id, key) = rows::add_data_key(db, &self.0.master, clock, random).await?;
        self.learn(id, &key)?;
        Ok(id)
    }

    fn learn(&self, id: i64, key: &Key) -> Result<(), Error> {
        let cipher = Arc::new(Cipher::new(key)?);
        self.0.data.write().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert(cipher);
        Ok(())
    }

    /// The same for the same card within an entity and mode, unrelated between entities. 128 bits of the keyed digest:
    /// no two cards meet by chance, and the text stays short.
    pub fn fingerprint(&self, entity: EntityId, live: bool, pan: &Pan) -> String {
        let mut context = hmac::Context::with_key(&self.0.fingerprint);
        context.update(entity.as_bytes());
        context.update(&[u8::from(live)]);
        context.update(pan.expose().as_bytes());
        context.sign().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How an API key stands in the database.
    pub fn credential_digest(&self, secret: &str) -> [u8; 32] {
        digest(&hmac::sign(&self.0.credential, secret.as_bytes()))
    }

    /// How an idempotency key and its request stand in the database; each part with its length before it.
    pub fn request_digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0.request);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        digest(&context.sign())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

fn digest(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, Migration};
    use crate::id::{TokenId, TransactionId};
    use std::os::unix::fs::PermissionsExt;

    const SCHEMA: &[Migration] = &[Migration {
        version: 1,
        name: "test",
        sql: "CREATE TABLE vault_keys (id {int} NOT NULL PRIMARY KEY, purpose {text} NOT NULL, wrapped {bytes} NOT NULL, \
              created_at {int} NOT NULL) {strict};",
    }];

    async fn folder_and_db() -> (std::path::PathBuf, Db) {
        let number = u64::from_le_bytes(Random::system().bytes());
        let folder = std::env::temp_dir().join(format!("fuda_vault_{number}"));
        std::fs::create_dir(&folder).unwrap();
        let db = Db::open_sqlite(&folder.join("v.db"), Durability::Off).unwrap();
        db.migrate(SCHEMA).await.unwrap();
        (folder, db)
    }

    async fn open(db: &Db, source: &KeySource) -> Result<Vault, Error> {
        Vault::open(db, source, &Clock::fixed(0), &Random::system()).await
    }

    fn bound(entity: EntityId, live: bool, owner: Owner) -> Bound {
        Bound { entity, live, owner }
    }

    #[tokio::test]
    async fn a_record_opens_in_its_own_place_only() {
        let (folder, db) = folder_and_db().await;
        let vault = open(&db, &KeySource::File(folder.join("vault.key"))).await.unwrap();
        let random = Random::system();
        let (entity, other, token) = (EntityId::new(&random), EntityId::new(&random), TokenId::new(&random));
        let same_id = TransactionId::from_bytes(token.as_bytes()).unwrap();
        let pan = Pan::parse("4111111111111111").unwrap();
        let place = bound(entity, false, Owner::Token(token));
        let sealed = vault.seal(&place, &pan).unwrap();
        assert_eq!(vault.open_pan(&place, &sealed).unwrap(), pan);
        let second = vault.add_data_key(&db, &Clock::fixed(0), &random).await.unwrap();
        let does_not_open = |place: Bound, sealed: &Sealed| {
            let error = vault.open_pan(&place, sealed).unwrap_err();
            assert!(error.cause().contains("does not open"), "{error:?}");
        };
        does_not_open(bound(entity, false, Owner::Token(TokenId::new(&random))), &sealed);
        does_not_open(bound(other, false, Owner::Token(token)), &sealed);
        does_not_open(bound(entity, true, Owner::Token(token)), &sealed);
        does_not_open(bound(entity, false, Owner::Transaction(same_id)), &sealed);
        does_not_open(bound(entity, false, Owner::WebhookSecret), &sealed);
        does_not_open(place, &Sealed { key_id: second, ..sealed.clone() });
        let again = vault.seal(&place, &pan).unwrap();
        assert_ne!(again.ciphertext, sealed.ciphertext);
        does_not_open(place, &Sealed { wrapped_key: again.wrapped_key, ..sealed.clone() });
        for at in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            does_not_open(place, &changed);
            does_not_open(place, &Sealed { ciphertext: sealed.ciphertext[..at].to_vec(), ..sealed.clone() });
        }
        for at in 0..sealed.wrapped_key.len() {
            let mut changed = sealed.clone();
            changed.wrapped_key[at] ^= 1;
            does_not_open(place, &changed);
        }
        let short = vault.seal(&place, &Pan::parse("36227206271667").unwrap()).unwrap();
        assert_eq!(short.ciphertext.len(), sealed.ciphertext.len());
        let secret = vault.seal_text(&bound(entity, true, Owner::WebhookSecret), "geheim").unwrap();
        let text = vault.open_text(&bound(entity, true, Owner::WebhookSecret), &secret).unwrap();
        assert_eq!(text.as_str(), "geheim");
        assert!(vault.open_text(&bound(other, true, Owner::WebhookSecret), &secret).is_err());
        let shown = format!("{vault:?} {sealed:?} {place:?}");
        assert_eq!(shown, format!("Vault 52 bytes under key 1 {place:?}"));
    }

    #[tokio::test]
    async fn digests_tell_apart_what_differs() {
        let (folder, db) = folder_and_db().await;
        let vault = open(&db, &KeySource::File(folder.join("vault.key"))).await.unwrap();
        let random = Random::system();
        let (entity, other) = (EntityId::new(&random), EntityId::new(&random));
        let pan = Pan::parse("4111111111111111").unwrap();
        let fingerprint = vault.fingerprint(entity, false, &pan);
        assert_eq!(fingerprint, vault.fingerprint(entity, false, &Pan::parse("4111 1111 1111 1111").unwrap()));
        assert!(fingerprint.len() == 32 && fingerprint.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        for different in [
            vault.fingerprint(other, false, &pan),
            vault.fingerprint(entity, true, &pan),
            vault.fingerprint(entity, false, &Pan::parse("4000000000001091").unwrap()),
        ] {
            assert_ne!(fingerprint, different);
        }
        assert_ne!(vault.request_digest(&[b"ab", b"c"]), vault.request_digest(&[b"a", b"bc"]));
        assert_ne!(vault.request_digest(&[b"ab"]), vault.request_digest(&[b"ab", b""]));
        assert_ne!(vault.credential_digest("a"), vault.credential_digest("b"));
        let reopened = open(&db, &KeySource::File(folder.join("vault.key"))).await.unwrap();
        assert_eq!(reopened.fingerprint(entity, false, &pan), fingerprint);
        assert_eq!(reopened.request_digest(&[b"ab"]), vault.request_digest(&[b"ab"]));
        assert_eq!(reopened.credential_digest("a"), vault.credential_digest("a"));
    }

    #[tokio::test]
    async fn data_keys_rotate_while_other_processes_serve() {
        let (folder, db) = folder_and_db().await;
        let source = KeySource::File(folder.join("vault.key"));
        // Both start on an empty database: one makes the keys, both have the same.
        let (first, second) = tokio::join!(open(&db, &source), open(&db, &source));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.credential_digest("a"), second.credential_digest("a"));
        let (clock, random) = (Clock::fixed(0), Random::system());
        let place = bound(EntityId::new(&random), false, Owner::Token(TokenId::new(&random)));
        let pan = Pan::parse("4111111111111111").unwrap();
        let old = first.seal(&place, &pan).unwrap();
        let (one, two) =
            tokio::join!(first.add_data_key(&db, &clock, &random), second.add_data_key(&db, &clock, &random));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!([one.min(two), one.max(two)], [5, 6]);
        let new = first.seal(&place, &pan).unwrap();
        assert_eq!((old.key_id, new.key_id), (1, one));
        assert!(!second.knows(one) && second.open_pan(&place, &new).is_err());
        second.refresh(&db).await.unwrap();
        let reopened = open(&db, &source).await.unwrap();
        for vault in [&first, &second, &reopened] {
            assert_eq!(vault.open_pan(&place, &old).unwrap(), pan);
            assert_eq!(vault.open_pan(&place, &new).unwrap(), pan);
        }
        assert_eq!(reopened.seal(&place, &pan).unwrap().key_id, 6);
    }

    #[tokio::test]
    async fn a_wrapped_key_does_not_change_its_purpose() {
        let (folder, db) = folder_and_db().await;
        let source = KeySource::File(folder.join("vault.key"));
        open(&db, &source).await.unwrap();
        let swap = "UPDATE vault_keys SET wrapped = (SELECT wrapped FROM vault_keys WHERE id = 2) WHERE id = 1";
        db.write(vec![crate::db::Stmt::new(swap, vec![]).exactly(1)]).await.unwrap();
        assert!(open(&db, &source).await.unwrap_err().cause().contains("not the one"));
    }

    #[tokio::test]
    async fn a_wrong_or_missing_key_is_refused() {
        let (folder, db) = folder_and_db().await;
        let file = folder.join("vault.key");
        let source = KeySource::File(file.clone());
        open(&db, &source).await.unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        open(&db, &source).await.unwrap();
        let say = |result: Result<Vault, Error>| result.err().unwrap().cause().to_owned();
        let wrong = KeySource::Environment("00".repeat(32));
        assert!(say(open(&db, &wrong).await).contains("not the one"));
        assert!(say(open(&db, &KeySource::Environment("short".to_owned())).await).contains("not 64 hexadecimal"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(say(open(&db, &source).await).contains("chmod 600"));
        let right = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(say(open(&db, &source).await).contains("is missing"));
        assert!(!file.exists());
        open(&db, &KeySource::Environment(right.trim().to_owned())).await.unwrap();
    }
}
