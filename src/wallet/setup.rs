//! Who takes which wallet's tokens, in memory; every process reads it again within a second of a change. A set-up is added and
//! removed, never changed: keys are changed by a second one beside the first.

use super::identity::{self, Identity};
use super::{Opened, Refusal, Wallet, applepay, googlepay};
use crate::audit::Deed;
use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::EntityId;
use crate::json::Node;
use crate::random::Random;
use crate::vault::{Bound, Owner, Sealed, Vault};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

const BUMP: &str = "UPDATE wallet_version SET version = version + 1 WHERE id = 1";

/// The most set-ups of one wallet for one merchant in one mode: a token is tried with each of them.
const MOST: i64 = 8;

/// How many tokens are opened at once in this process, off the threads that serve everybody: whoever sends many waits in line
/// for himself and other wallets' tokens.
const AT_ONCE: usize = 4;

/// What a set-up is made of, as it stands sealed in its row. Texts as the operator's files have them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settings {
    GooglePay {
        recipient: String,
        gateway_merchant_id: Option<String>,
        /// In Google's console, for the page's button; a `merchant:` recipient says it too.
        #[serde(default)]
        merchant_id: Option<String>,
        private_key: Zeroizing<String>,
        /// Google's `keys.json`.
        roots: String,
    },
    ApplePay {
        certificate: String,
        private_key: Zeroizing<String>,
        /// PEM; `None` for Apple's own.
        root: Option<String>,
        /// For the page's button; without it there is none.
        #[serde(default)]
        identity: Option<identity::Files>,
    },
}

enum Keys {
    /// With the merchant's id in Google's console.
    Google(googlepay::Keys, Option<String>),
    Apple(applepay::Keys, Option<Arc<Identity>>),
}

/// What a page's Google Pay button is set up with.
pub struct GoogleButton {
    /// Google's `tokenizationSpecification`.
    pub specification: serde_json::Value,
    /// In Google's console; only in its TEST environment it may be missing.
    pub merchant_id: Option<String>,
}

impl Settings {
    pub fn wallet(&self) -> Wallet {
        match self {
            Settings::GooglePay { .. } => Wallet::GooglePay,
            Settings::ApplePay { .. } => Wallet::ApplePay,
        }
    }

    /// # Errors
    /// What is wrong and what to do, for the operator.
    pub fn check(&self, live: bool) -> Result<(), String> {
        self.keys(live).map(drop)
    }

    /// Whoever has the keys of a test takes live money with them: what is for tests is refused for live keys.
    fn keys(&self, live: bool) -> Result<Keys, String> {
        match self {
            Settings::GooglePay { recipient, .. } if live && recipient == googlepay::TEST_RECIPIENT => Err(format!(
                "{recipient} is the recipient of Google's TEST environment, which gives tokens to anybody: for live keys give \
                 --recipient merchant: and your merchant id of Google's console, or leave --live off"
            )),
            Settings::ApplePay { root: Some(_), .. } if live => {
                Err("another root than Apple's own is for tests: leave --root off for live keys, or leave --live off"
                    .into())
            }
            Settings::GooglePay { recipient, gateway_merchant_id, merchant_id, private_key, roots } => {
                let keys = googlepay::Keys::new(recipient, gateway_merchant_id.as_deref(), &[private_key], roots)?;
                let merchant_id = merchant_id.as_deref().or(keys.merchant_id()).map(str::to_owned);
                Ok(Keys::Google(keys, merchant_id))
            }
            Settings::ApplePay { certificate, private_key, root, identity } => {
                let root = root.as_deref().unwrap_or(applepay::APPLE_ROOT);
                let keys = applepay::Keys::new(&[(certificate, private_key)], root)?;
                let identity = identity.as_ref().map(|files| Identity::new(files, applepay::merchant_of(certificate)));
                Ok(Keys::Apple(keys, identity.transpose()?.map(Arc::new)))
            }
        }
    }

    /// For people: what tells this set-up from another. No secret.
    pub fn about(&self) -> String {
        match self {
            Settings::GooglePay { recipient, gateway_merchant_id, roots, .. } => {
                let merchant =
                    gateway_merchant_id.as_ref().map(|name| format!(", merchant {name}")).unwrap_or_default();
                format!("{recipient}{merchant}, root keys until {}", googlepay::roots_until(roots))
            }
            Settings::ApplePay { certificate, root, identity, .. } => {
                let root = root.as_deref().map(applepay::fingerprint);
                let root = root.map(|hash| format!(", another root than Apple's: SHA-256 {hash}")).unwrap_or_default();
                let until = |files: &identity::Files| applepay::until(&files.certificate);
                let page = identity.as_ref().map(|files| format!(", with a button on the page until {}", until(files)));
                format!("{}{root}{}", applepay::about(certificate), page.unwrap_or_default())
            }
        }
    }
}

/// A merchant's set-up in one mode, as it is listed.
pub struct SetUp {
    pub id: String,
    pub caller: Caller,
    pub merchant_id: String,
    pub wallet: Wallet,
    pub created_at: Millis,
    /// `None`: it cannot be read, and is not in force.
    pub about: Option<String>,
}

type Place = (Caller, String, Wallet);

#[derive(Default)]
struct Book {
    version: i64,
    /// In the order in which they were added.
    by_place: HashMap<Place, Vec<Arc<Keys>>>,
    by_id: HashMap<[u8; 16], (Place, Arc<Keys>)>,
}

/// The set-ups in force; a clone sees the same.
#[derive(Clone)]
pub struct Wallets {
    book: Arc<RwLock<Arc<Book>>>,
    slots: Arc<Semaphore>,
}

impl Default for Wallets {
    fn default() -> Wallets {
        Wallets { book: Arc::default(), slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Wallets {
    pub async fn load(db: &Db, vault: &Vault) -> Result<Wallets, Error> {
        let wallets = Wallets::default();
        wallets.read(db, vault).await?;
        Ok(wallets)
    }

    /// Reads the set-ups again if the version says that something changed.
    pub async fn refresh(&self, db: &Db, vault: &Vault) -> Result<(), Error> {
        if version(db).await? == self.book().version { Ok(()) } else { self.read(db, vault).await }
    }

    async fn read(&self, db: &Db, vault: &Vault) -> Result<(), Error> {
        // The version first: a change between the two reads makes us read once more, never once too few.
        let before = self.book();
        let mut book = Book { version: version(db).await?, ..Book::default() };
        for row in rows(db).await? {
            let (id, place) = (id_of(&row)?, place(&row)?);
            let keys = match before.by_id.get(&id) {
                // In another place it is read again, and does not open.
                Some((known, keys)) if *known == place => keys.clone(),
                _ => match settings(db, vault, &row)
                    .await
                    .and_then(|set| set.keys(place.0.live).map_err(Error::internal))
                {
                    Ok(keys) => Arc::new(keys),
                    Err(error) => {
                        let (id, cause) = (text_of(id), error.cause());
                        tracing::error!(id, cause, "a wallet is NOT in force: remove it and add it again");
                        continue;
                    }
                },
            };
            book.by_place.entry(place.clone()).or_default().push(keys.clone());
            book.by_id.insert(id, (place, keys));
        }
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
        Ok(())
    }

    fn book(&self) -> Arc<Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For the page's button: of several set-ups the oldest that can, whose key Google has known for longest.
    pub fn google_button(&self, caller: Caller, merchant_id: &str) -> Option<GoogleButton> {
        self.first((caller, merchant_id.to_owned(), Wallet::GooglePay), |keys| match keys {
            Keys::Google(keys, id) if id.is_some() || !caller.live => {
                Some(GoogleButton { specification: keys.specification(), merchant_id: id.clone() })
            }
            _ => None,
        })
    }

    /// For the page's button.
    pub fn apple_identity(&self, caller: Caller, merchant_id: &str) -> Option<Arc<Identity>> {
        self.first((caller, merchant_id.to_owned(), Wallet::ApplePay), |keys| match keys {
            Keys::Apple(_, identity) => identity.clone(),
            Keys::Google(..) => None,
        })
    }

    fn first<T>(&self, place: Place, of: impl Fn(&Keys) -> Option<T>) -> Option<T> {
        self.book().by_place.get(&place)?.iter().find_map(|keys| of(keys))
    }

    /// `None`: this merchant takes no such tokens. `token` is the object, or its JSON text.
    ///
    /// # Errors
    /// The opening was lost: it panicked.
    pub async fn open(
        &self,
        (caller, merchant_id, wallet): (Caller, &str, Wallet),
        token: Node,
        now: Millis,
    ) -> Result<Option<Result<Opened, Refusal>>, Error> {
        let all = self.book().by_place.get(&(caller, merchant_id.to_owned(), wallet)).cloned();
        let Some(all) = all else { return Ok(None) };
        let slot = self.slots.clone().acquire_owned().await.map_err(Error::internal)?;
        let opening = tokio::task::spawn_blocking(move || {
            // Held to the end, also when nobody waits for the answer any more.
            let _slot = slot;
            open_by_any(&all, &token, now)
        });
        opening.await.map(Some).map_err(Error::internal)
    }
}

fn open_by_any(all: &[Arc<Keys>], token: &Node, now: Millis) -> Result<Opened, Refusal> {
    let parsed = if let Node::Text(text) = token { Some(super::parse(text)?) } else { None };
    let token = parsed.as_ref().unwrap_or(token);
    let mut refused = Refusal::WrongRecipient("there is no set-up");
    for keys in all {
        let opened = match keys.as_ref() {
            Keys::Google(keys, _) => keys.open(token, now),
            Keys::Apple(keys, _) => keys.open(token, now),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            // Whichever says more than that it is not for it.
            Err(refusal) => {
                if matches!(refused, Refusal::WrongRecipient(_)) {
                    refused = refusal;
                }
            }
        }
    }
    Err(refused)
}

async fn version(db: &Db) -> Result<i64, Error> {
    let rows = db.rows("SELECT version FROM wallet_version WHERE id = 1", vec![]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

async fn rows(db: &Db) -> Result<Vec<Row>, Error> {
    let sql = "SELECT id, entity_id, live, merchant_id, wallet, key_id, wrapped_key, sealed, created_at FROM wallets \
               ORDER BY number";
    db.rows(sql, vec![]).await
}

fn id_of(row: &Row) -> Result<[u8; 16], Error> {
    row.bytes(0)?.try_into().map_err(|_| Error::internal("a wallet's id is not 16 bytes"))
}

fn place(row: &Row) -> Result<Place, Error> {
    let entity = EntityId::from_bytes(row.bytes(1)?);
    let entity = entity.ok_or_else(|| Error::internal("a wallet's entity is not 16 bytes"))?;
    let wallet = Wallet::from_id(row.int(4)?);
    let wallet = wallet.ok_or_else(|| Error::internal("a wallet is not one that this version knows"))?;
    Ok((Caller { entity, live: row.bool(2)? }, row.text(3)?.to_owned(), wallet))
}

async fn settings(db: &Db, vault: &Vault, row: &Row) -> Result<Settings, Error> {
    let (id, (caller, ..)) = (id_of(row)?, place(row)?);
    let sealed =
        Sealed { key_id: row.int(5)?, wrapped_key: row.bytes(6)?.to_vec(), ciphertext: row.bytes(7)?.to_vec() };
    if !vault.knows(sealed.key_id) {
        vault.refresh(db).await?;
    }
    let text = vault.open_text(&bound(caller, id), &sealed)?;
    serde_json::from_str(&text).map_err(|_| Error::internal("a wallet's sealed settings are not ones that we know"))
}

fn bound(caller: Caller, id: [u8; 16]) -> Bound {
    Bound { entity: caller.entity, live: caller.live, owner: Owner::Wallet(id) }
}

/// `wal_` and 32 hexadecimal digits.
fn text_of(id: [u8; 16]) -> String {
    format!("wal_{}", id.map(|byte| format!("{byte:02x}")).concat())
}

fn parse_id(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix("wal_").filter(|digits| digits.len() == 32)?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

/// Those of all merchants, the oldest first.
pub async fn list(db: &Db, vault: &Vault) -> Result<Vec<SetUp>, Error> {
    let mut all = Vec::new();
    for row in rows(db).await? {
        let (caller, merchant_id, wallet) = place(&row)?;
        let about = settings(db, vault, &row).await.ok().map(|settings| settings.about());
        all.push(SetUp { id: text_of(id_of(&row)?), caller, merchant_id, wallet, created_at: row.int(8)?, about });
    }
    Ok(all)
}

/// Who changes it, and when.
pub struct Author<'a> {
    pub who: &'a str,
    pub now: Millis,
}

/// The settings must have been checked for this mode. Answers with the id.
pub async fn add(
    (db, vault, random): (&Db, &Vault, &Random),
    author: &Author<'_>,
    (caller, merchant_id): (Caller, &str),
    settings: &Settings,
) -> Result<String, Error> {
    let id: [u8; 16] = random.bytes();
    let text = Zeroizing::new(serde_json::to_string(settings).map_err(Error::internal)?);
    let sealed = vault.seal_text(&bound(caller, id), &text)?;
    let count = "SELECT 1 WHERE (SELECT COUNT(*) FROM wallets WHERE entity_id = $1 AND live = $2 AND merchant_id = $3 \
                 AND wallet = $4) < $5";
    let wallet = settings.wallet() as i64;
    let room = Stmt::new(count, args![caller.entity, caller.live, merchant_id, wallet, MOST]).exactly(1);
    let insert = Stmt::new(
        "INSERT INTO wallets (id, entity_id, live, merchant_id, wallet, key_id, wrapped_key, sealed, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            id,
            caller.entity,
            caller.live,
            merchant_id,
            wallet,
            sealed.key_id,
            sealed.wrapped_key,
            sealed.ciphertext,
            author.now
        ],
    );
    let id = text_of(id);
    let mode = if caller.live { "live" } else { "test" };
    let detail = format!("{mode} {merchant_id} {}: {}", settings.wallet().name(), settings.about());
    let deed = Deed { who: author.who, action: "wallet.add", subject: &id, detail: &detail };
    match db.write(vec![room, insert, Stmt::new(BUMP, vec![]), deed.insert(author.now)]).await? {
        Written::Applied(_) => Ok(id),
        Written::GuardFailed(0) => {
            Err(Error::internal(format!("the merchant has {MOST} of them already: fuda wallet remove takes one away")))
        }
        _ => Err(Error::internal("the database did not confirm the change: list the wallets and try again")),
    }
}

/// The private key goes with its row. `false` when there is no such set-up.
pub async fn remove(db: &Db, author: &Author<'_>, id: &str) -> Result<bool, Error> {
    let Some(bytes) = parse_id(id) else { return Ok(false) };
    let delete = Stmt::new("DELETE FROM wallets WHERE id = $1", args![bytes]).exactly(1);
    let deed = Deed { who: author.who, action: "wallet.remove", subject: id, detail: "" };
    match db.write(vec![delete, Stmt::new(BUMP, vec![]), deed.insert(author.now)]).await? {
        Written::Applied(_) => Ok(true),
        Written::GuardFailed(_) => Ok(false),
        Written::Ambiguous => Err(Error::internal("the database was lost during the change: list and try again")),
    }
}
