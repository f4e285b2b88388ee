//! Who may call: entities, their merchants and key pairs. The whole directory is small and stands in memory; every
//! process reads it again within a second of a change ([`REFRESH_MS`]), so a revoked key is revoked everywhere.

mod clocks;
pub mod look;
mod merchant;
mod policy;
mod retries;
mod routes;

pub use merchant::{HOLD_MS, Merchant, MerchantSpec, NewMerchant};
pub use policy::{ThreeDs, Unavailable, When};
pub use retries::RetryDays;
pub use routes::{Added, Rank, Route, RouteSpec};

use crate::audit::Deed;
use crate::clock::Clock;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::error::Error;
use crate::id::EntityId;
use crate::random::Random;
use crate::rate::{Bucket, Limit};
use crate::vault::{Bound, Owner, Vault};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, RwLock};

/// How often the version row is read. Contract section 1 promises one second.
pub const REFRESH_MS: u64 = 400;

/// Who called: an entity in one mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub entity: EntityId,
    pub live: bool,
}

struct KeyPair {
    id: String,
    caller: Caller,
    secret_key_digest: [u8; 32],
    /// This process's own count, where the pair has a limit.
    bucket: Option<Arc<Bucket>>,
}

/// The directory at one moment.
#[derive(Default)]
struct Snapshot {
    version: i64,
    merchants: HashMap<String, Arc<Merchant>>,
    /// By the digest of the API key and of the secret key: both open the first gate.
    pairs: HashMap<[u8; 32], Arc<KeyPair>>,
    any_live: bool,
    /// The entities with a test clock.
    clocks: HashSet<EntityId>,
    routes: routes::Routes,
}

#[derive(Clone)]
pub struct Directory {
    db: Db,
    vault: Vault,
    current: Arc<RwLock<Arc<Snapshot>>>,
}

/// What authentication found (contract section 1).
pub enum Access {
    /// With the key pair's id.
    Granted(Caller, String),
    /// 403: no such `x-api-key`.
    UnknownKey,
    /// 401: the Authorization header does not hold this pair's secret.
    WrongSecret,
    /// 429: this pair's limit is used up for so many seconds.
    TooOften { caller: Caller, wait_s: u64 },
}

pub struct NewKey {
    pub id: String,
    pub api_key: String,
    pub secret_key: String,
    /// Of an entity's first pair in a mode.
    pub webhook_secret: Option<String>,
    digests: [[u8; 32]; 2],
}

const BUMP: &str = "UPDATE directory_version SET version = version + 1 WHERE id = 1";
const INSERT_KEY: &str = "INSERT INTO api_keys (id, entity_id, live, api_key_digest, secret_key_digest, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";

impl Directory {
    pub async fn load(db: &Db, vault: &Vault) -> Result<Directory, Error> {
        let directory = Directory { db: db.clone(), vault: vault.clone(), current: Arc::default() };
        directory.read().await?;
        Ok(directory)
    }

    /// Reads everything again if the version says that something changed.
    pub async fn refresh(&self) -> Result<(), Error> {
        let rows = self.db.rows("SELECT version FROM directory_version WHERE id = 1", vec![]).await?;
        let version = rows.first().map_or(Ok(0), |row| row.int(0))?;
        if version == self.snapshot().version { Ok(()) } else { self.read().await }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn read(&self) -> Result<(), Error> {
        // The version first: a change between the two reads makes us read once more, never once too few.
        let rows = self.db.rows("SELECT version FROM directory_version WHERE id = 1", vec![]).await?;
        let mut next = Snapshot { version: rows.first().map_or(Ok(0), |row| row.int(0))?, ..Snapshot::default() };
        for merchant in self.merchants().await? {
            next.merchants.insert(merchant.id.clone(), Arc::new(merchant));
        }
        let keys = self
            .db
            .rows(
                "SELECT entity_id, live, api_key_digest, secret_key_digest, id, per_second, burst \
                 FROM api_keys WHERE revoked_at IS NULL",
                vec![],
            )
            .await?;
        next.clocks = self.clocks().await?;
        next.routes = self.standing_routes().await?;
        let before = self.snapshot();
        for row in keys {
            let caller = Caller { entity: entity(&row, 0)?, live: row.bool(1)? };
            let secret_key_digest = digest(&row, 3)?;
            let api_key_digest = digest(&row, 2)?;
            let id = row.text(4)?.to_owned();
            let bucket = limit(&row)?.map(|limit| {
                let same = before.pairs.get(&api_key_digest).and_then(|pair| pair.bucket.clone());
                // A change of something else does not fill it again.
                same.filter(|bucket| bucket.limit == limit).unwrap_or_else(|| Arc::new(Bucket::new(limit)))
            });
            let pair = Arc::new(KeyPair { id, caller, secret_key_digest, bucket });
            next.any_live |= caller.live;
            next.pairs.insert(api_key_digest, pair.clone());
            next.pairs.insert(secret_key_digest, pair);
        }
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    pub fn has_live_keys(&self) -> bool {
        self.snapshot().any_live
    }

    /// The mode of an `x-api-key`, for answers that come before authentication (404, 405).
    pub fn mode_of(&self, api_key: &str) -> Option<bool> {
        self.snapshot().pairs.get(&self.vault.credential_digest(api_key)).map(|pair| pair.caller.live)
    }

    /// Contract section 1: `x-api-key` first, then the secret in any of its spellings.
    pub fn authenticate(&self, api_key: Option<&str>, authorization: Option<&str>) -> Access {
        let snapshot = self.snapshot();
        let pair = api_key.and_then(|key| snapshot.pairs.get(&self.vault.credential_digest(key)));
        let Some(pair) = pair else { return Access::UnknownKey };
        let granted = authorization.is_some_and(|header| {
            secrets_in(header).iter().any(|secret| self.vault.credential_digest(secret) == pair.secret_key_digest)
        });
        if !granted {
            return Access::WrongSecret;
        }
        match pair.bucket.as_ref().map_or(Ok(()), |bucket| bucket.take()) {
            Ok(()) => Access::Granted(pair.caller, pair.id.clone()),
            Err(wait_s) => {
                metrics::counter!("fuda_rate_limited_total", "key" => pair.id.clone()).increment(1);
                Access::TooOften { caller: pair.caller, wait_s }
            }
        }
    }

    pub async fn entity_exists(&self, id: EntityId) -> Result<bool, Error> {
        Ok(!self.db.rows("SELECT 1 FROM entities WHERE id = $1", args![id]).await?.is_empty())
    }

    /// One more key pair for an entity, so that keys can be changed without a pause.
    pub async fn add_key(&self, entity: EntityId, live: bool, clock: &Clock, random: &Random) -> Result<NewKey, Error> {
        let mut key = self.new_key(live, random);
        let mut writes = vec![key.insert(entity, live, clock.now())];
        let has_secret = "SELECT 1 FROM webhook_secrets WHERE entity_id = $1 AND live = $2";
        if self.db.rows(has_secret, args![entity, live]).await?.is_empty() {
            // The entity's first pair in this mode.
            let secret = new_webhook_secret(random);
            writes.push(self.first_webhook_secret(Caller { entity, live }, &secret, clock.now())?);
            key.webhook_secret = Some(secret);
        }
        self.change(writes).await?;
        Ok(key)
    }

    fn first_webhook_secret(&self, caller: Caller, secret: &str, now: i64) -> Result<Stmt, Error> {
        let bound = Bound { entity: caller.entity, live: caller.live, owner: Owner::WebhookSecret };
        let sealed = self.vault.seal_text(&bound, secret)?;
        Ok(Stmt::new(
            "INSERT INTO webhook_secrets (entity_id, live, key_id, wrapped_key, sealed, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            args![caller.entity, caller.live, sealed.key_id, sealed.wrapped_key, sealed.ciphertext, now],
        ))
    }

    /// `false` when there is no such key in force.
    pub async fn revoke_key(&self, id: &str, clock: &Clock) -> Result<bool, Error> {
        let sql = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        let revoke = Stmt::new(sql, args![id, clock.now()]).exactly(1);
        match self.db.write(vec![revoke, Stmt::new(BUMP, vec![])]).await? {
            Written::Applied(_) => Ok(true),
            Written::GuardFailed(_) => Ok(false),
            Written::Ambiguous => {
                Err(Error::internal("the database was lost while the key was being revoked: try again"))
            }
        }
    }

    /// Sets how often a pair may call, in every process by itself; `None` for as often as it likes. `false` when there is
    /// no such key in force.
    pub async fn limit_key(&self, id: &str, limit: Option<Limit>, who: &str, clock: &Clock) -> Result<bool, Error> {
        let number = |pick: fn(Limit) -> NonZeroU32| limit.map(|limit| i64::from(pick(limit).get()));
        let (per_second, burst) = (number(|limit| limit.per_second), number(|limit| limit.burst));
        let sql = "UPDATE api_keys SET per_second = $2, burst = $3 WHERE id = $1 AND revoked_at IS NULL";
        let detail = match (per_second, burst) {
            (Some(per_second), Some(burst)) => format!("{per_second} per second, {burst} at once"),
            _ => "no limit".to_owned(),
        };
        let deed = Deed { who, action: "key.limit", subject: id, detail: &detail };
        let limit = Stmt::new(sql, args![id, per_second, burst]).exactly(1);
        match self.db.write(vec![limit, Stmt::new(BUMP, vec![]), deed.insert(clock.now())]).await? {
            Written::Applied(_) => Ok(true),
            Written::GuardFailed(_) => Ok(false),
            Written::Ambiguous => Err(Error::internal("the database was lost during the change: list and try again")),
        }
    }

    /// Rows of id, entity, live, created_at, revoked_at, per_second, burst: no key can be shown again.
    pub async fn keys(&self) -> Result<Vec<Row>, Error> {
        let sql = "SELECT id, entity_id, live, created_at, revoked_at, per_second, burst FROM api_keys ORDER BY number";
        self.db.rows(sql, vec![]).await
    }

    async fn change(&self, mut writes: Vec<Stmt>) -> Result<(), Error> {
        writes.push(Stmt::new(BUMP, vec![]).exactly(1));
        match self.db.write(writes).await? {
            Written::Applied(_) => self.read().await,
            Written::GuardFailed(_) | Written::Ambiguous => {
                Err(Error::internal("the database did not confirm the change: list and try again"))
            }
        }
    }

    fn new_key(&self, live: bool, random: &Random) -> NewKey {
        let mode = if live { "live" } else { "test" };
        let api_key = format!("pk_{mode}_{}", word(random));
        let secret_key = format!("sk_{mode}_{}", word(random));
        let digests = [self.vault.credential_digest(&api_key), self.vault.credential_digest(&secret_key)];
        NewKey { id: format!("key_{}", &word(random)[..12]), api_key, secret_key, webhook_secret: None, digests }
    }
}

impl NewKey {
    fn insert(&self, entity: EntityId, live: bool, now: i64) -> Stmt {
        let [api_key, secret_key] = self.digests;
        Stmt::new(INSERT_KEY, args![self.id.as_str(), entity, live, api_key, secret_key, now])
    }
}

/// The key that an entity's webhooks of one mode are signed with, as its merchant keeps it: 256 random bits.
pub fn new_webhook_secret(random: &Random) -> String {
    format!("whsec_{}", BASE64.encode(random.bytes::<32>()))
}

/// 192 random bits in URL-safe letters.
fn word(random: &Random) -> String {
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random.bytes::<24>());
    text.replace('-', "a").replace('_', "b")
}

/// The secrets that an Authorization header may hold: `Basic` in any case or missing, then base64 of the secret with or
/// without a colon behind it, or the bare secret.
fn secrets_in(header: &str) -> Vec<String> {
    let header = header.trim();
    let value = match header.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => rest.trim(),
        _ => header,
    };
    let mut secrets = vec![value.to_owned()];
    if let Some(text) = BASE64.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        secrets.push(text.strip_suffix(':').unwrap_or(&text).to_owned());
    }
    secrets
}

fn limit(row: &Row) -> Result<Option<Limit>, Error> {
    let (Some(per_second), Some(burst)) = (row.opt_int(5)?, row.opt_int(6)?) else { return Ok(None) };
    Limit::new(per_second, burst).map(Some).ok_or_else(|| Error::internal("a key's limit is not one"))
}

fn entity(row: &Row, column: usize) -> Result<EntityId, Error> {
    EntityId::from_bytes(row.bytes(column)?).ok_or_else(|| Error::internal("an entity id is not 16 bytes"))
}

fn digest(row: &Row, column: usize) -> Result<[u8; 32], Error> {
    row.bytes(column)?.try_into().map_err(|_| Error::internal("a key digest is not 32 bytes"))
}
