//! Keep the card. Each record is sealed with AES-256-GCM under a random key of its own; that key is wrapped by a data key,
//! and the data key by the master key, which stands outside the database. What a record is bound to (entity, mode, row,
//! key version) is authenticated with it: a ciphertext moved to another row does not open. Erasing a record destroys
//! its key with it.

mod keys;

pub use keys::KeySource;

use crate::card::Pan;
use crate::clock::Clock;
use crate::db::{Db, Stmt, Written, args};
use crate::error::Error;
use crate::id::{EntityId, TokenId, TransactionId};
use crate::random::Random;
use aws_lc_rs::hmac;
use keys::{Cipher, KeyBytes};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// Numbers are padded to this before sealing, so that a ciphertext does not tell their length.
const PADDED: usize = 24;

/// What each key in `vault_keys` is for; at the first start one of each is made, in this order from id 1 on.
const DATA: &str = "data";
const FINGERPRINT: &str = "fingerprint";
const CREDENTIAL: &str = "credential";
const REQUEST: &str = "request";
const PURPOSES: [&str; 4] = [DATA, FINGERPRINT, CREDENTIAL, REQUEST];

/// What a sealed record belongs to.
pub enum Owner {
    Token(TokenId),
    Transaction(TransactionId),
    WebhookSecret,
}

pub struct Bound {
    pub entity: EntityId,
    pub live: bool,
    pub owner: Owner,
}

/// A record as it stands in its row.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The data key that wraps `wrapped_key`.
    pub key_id: i64,
    pub wrapped_key: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

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
        let mut rows = read_rows(db).await?;
        let loaded = source.load()?;
        let master = match (loaded, source) {
            (Some(key), _) => key,
            (None, KeySource::File(path)) if rows.is_empty() => keys::create_file(path, random)?,
            (None, _) => {
                return Err(Error::internal(format!(
                    "the vault key {} is missing, but the database holds data sealed with it: put the key back, or name \
                     its place with --vault-key-file; a new key could open none of it and is not made",
                    source.place()
                )));
            }
        };
        let master = Cipher::new(&master)?;
        if rows.is_empty() {
            create_rows(db, &master, clock, random).await?;
            rows = read_rows(db).await?;
        }
        let mut data = BTreeMap::new();
        let mut others: BTreeMap<&str, hmac::Key> = BTreeMap::new();
        for row in &rows {
            let key = row.unwrap(&master).map_err(|_| {
                let place = source.place();
                Error::internal(format!("the vault key in {place} is not the one that this database was sealed with"))
            })?;
            match PURPOSES.into_iter().find(|purpose| *purpose == row.purpose) {
                Some(DATA) => {
                    data.insert(row.id, Arc::new(Cipher::new(&key)?));
                }
                Some(purpose) => {
                    others.insert(purpose, hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()));
                }
                None => {}
            }
        }
        let mut take = |purpose: &str| {
            others.remove(purpose).ok_or_else(|| Error::internal(format!("the database has no {purpose} key")))
        };
        let (fingerprint, credential, request) = (take(FINGERPRINT)?, take(CREDENTIAL)?, take(REQUEST)?);
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
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| Error::internal("a sealed record holds no text"))?;
        Ok(Zeroizing::new(text))
    }

    fn seal_bytes(&self, bound: &Bound, plain: &[u8]) -> Result<Sealed, Error> {
        let (key_id, data_key) = {
            let data = self.0.data.read().unwrap_or_else(PoisonError::into_inner);
            let (id, key) = data.last_key_value().ok_or_else(|| Error::internal("the vault has no data key"))?;
            (*id, key.clone())
        };
        let record_key = Zeroizing::new(self.0.random.bytes::<32>());
        let associated = bound.associated(key_id);
        Ok(Sealed {
            key_id,
            wrapped_key: data_key.seal(&self.0.random, &associated, record_key.as_slice())?,
            ciphertext: Cipher::new(&record_key)?.seal(&self.0.random, &associated, plain)?,
        })
    }

    fn open_bytes(&self, bound: &Bound, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Error> {
        let data_key = self.0.data.read().unwrap_or_else(PoisonError::into_inner).get(&sealed.key_id).cloned();
        let data_key = data_key.ok_or_else(|| Error::internal("a record was sealed with an unknown data key"))?;
        let associated = bound.associated(sealed.key_id);
        let record_key = data_key.open(&associated, &sealed.wrapped_key)?;
        Cipher::new(&*key_bytes(&record_key)?)?.open(&associated, &sealed.ciphertext)
    }

    /// Whether a record's data key is loaded; if not, another process made it: [`Vault::refresh`].
    pub fn knows(&self, key_id: i64) -> bool {
        self.0.data.read().unwrap_or_else(PoisonError::into_inner).contains_key(&key_id)
    }

    /// Loads data keys that were made since.
    pub async fn refresh(&self, db: &Db) -> Result<(), Error> {
        for row in read_rows(db).await?.iter().filter(|row| row.purpose == DATA) {
            let cipher = Arc::new(Cipher::new(&*row.unwrap(&self.0.master)?)?);
            self.0.data.write().unwrap_or_else(PoisonError::into_inner).entry(row.id).or_insert(cipher);
        }
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

impl Bound {
    /// What is authenticated with the record and its key. All parts have a fixed length, so none can run into another.
    fn associated(&self, key_id: i64) -> Vec<u8> {
        let (kind, id) = match &self.owner {
            Owner::Token(id) => (1, *id.as_bytes()),
            Owner::Transaction(id) => (2, *id.as_bytes()),
            Owner::WebhookSecret => (3, [0; 16]),
        };
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"fuda vault 1");
        bytes.extend_from_slice(self.entity.as_bytes());
        bytes.extend_from_slice(&[u8::from(self.live), kind]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&key_id.to_be_bytes());
        bytes
    }
}

struct KeyRow {
    id: i64,
    purpose: String,
    wrapped: Vec<u8>,
}

impl KeyRow {
    fn unwrap(&self, master: &Cipher) -> Result<KeyBytes, Error> {
        key_bytes(&master.open(&wrap_label(self.id, &self.purpose), &self.wrapped)?)
    }
}

fn wrap_label(id: i64, purpose: &str) -> Vec<u8> {
    format!("fuda key 1/{id}/{purpose}").into_bytes()
}

async fn read_rows(db: &Db) -> Result<Vec<KeyRow>, Error> {
    let rows = db.rows("SELECT id, purpose, wrapped FROM vault_keys ORDER BY id", vec![]).await?;
    let read = |row: &crate::db::Row| {
        Ok(KeyRow { id: row.int(0)?, purpose: row.text(1)?.to_owned(), wrapped: row.bytes(2)?.to_vec() })
    };
    rows.iter().map(read).collect()
}

/// One of each, all or none. A process that was faster has made them: its rows are read instead.
async fn create_rows(db: &Db, master: &Cipher, clock: &Clock, random: &Random) -> Result<(), Error> {
    let mut writes = Vec::new();
    for (id, purpose) in (1..).zip(PURPOSES) {
        let key = Zeroizing::new(random.bytes::<32>());
        let wrapped = master.seal(random, &wrap_label(id, purpose), key.as_slice())?;
        writes.push(
            Stmt::new(
                "INSERT INTO vault_keys (id, purpose, wrapped, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (id) DO NOTHING",
                args![id, purpose, wrapped, clock.now()],
            )
            .exactly(1),
        );
    }
    match db.write(writes).await? {
        Written::Applied(_) | Written::GuardFailed(_) => Ok(()),
        Written::Ambiguous => Err(Error::internal("the database was lost while its keys were being made: start again")),
    }
}

fn key_bytes(bytes: &[u8]) -> Result<KeyBytes, Error> {
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return Err(Error::internal("an unwrapped key is not 32 bytes"));
    }
    key.copy_from_slice(bytes);
    Ok(key)
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
        let (entity, other) = (EntityId::new(&random), EntityId::new(&random));
        let (token, second) = (TokenId::new(&random), TokenId::new(&random));
        let pan = Pan::parse("4111111111111111").unwrap();
        let sealed = vault.seal(&bound(entity, false, Owner::Token(token)), &pan).unwrap();
        let opens = |bound: Bound, sealed: &Sealed| vault.open_pan(&bound, sealed).is_ok();
        assert!(opens(bound(entity, false, Owner::Token(token)), &sealed));
        assert!(!opens(bound(entity, false, Owner::Token(second)), &sealed));
        assert!(!opens(bound(other, false, Owner::Token(token)), &sealed));
        assert!(!opens(bound(entity, true, Owner::Token(token)), &sealed));
        assert!(!opens(bound(entity, false, Owner::WebhookSecret), &sealed));
        let again = vault.seal(&bound(entity, false, Owner::Token(token)), &pan).unwrap();
        assert_ne!(again.ciphertext, sealed.ciphertext);
        let mixed = Sealed { wrapped_key: again.wrapped_key, ..sealed.clone() };
        assert!(!opens(bound(entity, false, Owner::Token(token)), &mixed));
        for at in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            assert!(!opens(bound(entity, false, Owner::Token(token)), &changed));
        }
        let short =
            vault.seal(&bound(entity, false, Owner::Token(token)), &Pan::parse("36227206271667").unwrap()).unwrap();
        assert_eq!(short.ciphertext.len(), sealed.ciphertext.len());
        assert_eq!(vault.fingerprint(entity, false, &pan), vault.fingerprint(entity, false, &pan));
        assert_ne!(vault.fingerprint(entity, false, &pan), vault.fingerprint(other, false, &pan));
        assert_ne!(vault.fingerprint(entity, false, &pan), vault.fingerprint(entity, true, &pan));
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
