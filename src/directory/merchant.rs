//! Merchants: how they are made, changed and read.

use super::look::Look;
use super::policy::ThreeDs;
use super::retries::RetryDays;
use super::{BUMP, Caller, Directory, entity, new_webhook_secret};
use crate::audit::Deed;
use crate::clock::Clock;
use crate::db::{Row, Stmt, Written, args};
use crate::error::Error;
use crate::id::EntityId;
use crate::money::Currency;
use crate::random::Random;
use std::sync::Arc;

pub struct Merchant {
    /// Two letters, eight digits (DASMID).
    pub id: String,
    pub entity: EntityId,
    pub legal_name: String,
    pub country: String,
    pub currencies: Vec<Currency>,
    /// How long an authorization holds the money, milliseconds.
    pub hold_ms: i64,
    pub three_ds: ThreeDs,
    pub look: Look,
    /// When its declined renewals are tried again.
    pub retry_days: RetryDays,
}

pub struct MerchantSpec {
    pub legal_name: String,
    pub country: String,
    pub currencies: Vec<Currency>,
    pub entity: Option<EntityId>,
    pub live: bool,
    pub hold_ms: i64,
}

/// How long a hold lasts where the merchant has no term of its own (contract 4.1): seven days, milliseconds.
pub const HOLD_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// A merchant as it was made, with keys that are shown this once.
#[derive(serde::Serialize)]
pub struct NewMerchant {
    pub entity_id: EntityId,
    pub merchant_id: String,
    pub secret_key: Option<String>,
    pub api_key: Option<String>,
    pub webhook_secret: Option<String>,
    pub is_live: bool,
}

impl Directory {
    pub async fn merchants(&self) -> Result<Vec<Merchant>, Error> {
        let sql = "SELECT id, entity_id, legal_name, country, currencies, hold_ms, three_ds, \
                   three_ds_unavailable, page_accent, page_logo, page_frames, retry_days FROM merchants ORDER BY number";
        self.db.rows(sql, vec![]).await?.iter().map(merchant_from).collect()
    }

    /// `None` also for a merchant of another entity: the caller cannot tell the two apart.
    pub fn merchant(&self, caller: Caller, id: &str) -> Option<Arc<Merchant>> {
        self.snapshot().merchants.get(id).filter(|merchant| merchant.entity == caller.entity).cloned()
    }

    /// Adds a merchant; a new entity, or one without a key pair in this mode, gets keys and a webhook secret.
    pub async fn add_merchant(&self, spec: MerchantSpec, clock: &Clock, random: &Random) -> Result<NewMerchant, Error> {
        let now = clock.now();
        let mut writes = Vec::new();
        let entity_id = match spec.entity {
            Some(id) => id,
            None => {
                let id = EntityId::new(random);
                writes.push(Stmt::new("INSERT INTO entities (id, created_at) VALUES ($1, $2)", args![id, now]));
                id
            }
        };
        let has_keys = "SELECT 1 FROM api_keys WHERE entity_id = $1 AND live = $2 LIMIT 1";
        let first = self.db.rows(has_keys, args![entity_id, spec.live]).await?.is_empty();
        let key = first.then(|| self.new_key(spec.live, random));
        let secret = first.then(|| new_webhook_secret(random));
        let merchant_id = self.next_merchant_id(&spec.country).await?;
        let currencies: Vec<&str> = spec.currencies.iter().map(Currency::code).collect();
        writes.push(Stmt::new(
            "INSERT INTO merchants (id, entity_id, legal_name, country, currencies, created_at, hold_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![
                merchant_id.as_str(),
                entity_id,
                spec.legal_name,
                spec.country,
                currencies.join(","),
                now,
                spec.hold_ms
            ],
        ));
        if let (Some(key), Some(secret)) = (&key, &secret) {
            let caller = Caller { entity: entity_id, live: spec.live };
            writes.push(key.insert(caller.entity, caller.live, now));
            writes.push(self.first_webhook_secret(caller, secret, now)?);
        }
        self.change(writes).await?;
        Ok(NewMerchant {
            entity_id,
            merchant_id,
            secret_key: key.as_ref().map(|key| key.secret_key.clone()),
            api_key: key.map(|key| key.api_key),
            webhook_secret: secret,
            is_live: spec.live,
        })
    }

    /// When this merchant's charges are authenticated; audited. `false` when there is no such merchant.
    pub async fn set_three_ds(&self, id: &str, policy: &ThreeDs, who: &str, clock: &Clock) -> Result<bool, Error> {
        let (when, unavailable) = policy.texts();
        let sql = "UPDATE merchants SET three_ds = $2, three_ds_unavailable = $3 WHERE id = $1";
        let detail = format!("{when}; unavailable: {unavailable}");
        let deed = Deed { who, action: "merchant.three-ds", subject: id, detail: &detail };
        let update = Stmt::new(sql, args![id, when, unavailable]).exactly(1);
        match self.db.write(vec![update, Stmt::new(BUMP, vec![]), deed.insert(clock.now())]).await? {
            Written::Applied(_) => Ok(true),
            Written::GuardFailed(_) => Ok(false),
            Written::Ambiguous => Err(Error::internal("the database was lost during the change: list and try again")),
        }
    }

    async fn next_merchant_id(&self, country: &str) -> Result<String, Error> {
        let rows = self.db.rows("SELECT COALESCE(MAX(number), 0) FROM merchants", vec![]).await?;
        let number = rows.first().map_or(Ok(0), |row| row.int(0))? + 1;
        Ok(format!("{country}{number:08}"))
    }
}

fn merchant_from(row: &Row) -> Result<Merchant, Error> {
    let currencies = row.text(4)?.split(',').filter_map(Currency::parse).collect();
    Ok(Merchant {
        id: row.text(0)?.to_owned(),
        entity: entity(row, 1)?,
        legal_name: row.text(2)?.to_owned(),
        country: row.text(3)?.to_owned(),
        currencies,
        hold_ms: row.int(5)?,
        three_ds: ThreeDs::from_texts(row.text(6)?, row.text(7)?)
            .ok_or_else(|| Error::internal("a merchant's 3-D Secure policy is not one that this version knows"))?,
        look: Look::from_columns(row.opt_text(8)?, row.opt_text(9)?, row.text(10)?),
        retry_days: RetryDays::parse(row.text(11)?)
            .ok_or_else(|| Error::internal("a merchant's days of retries are not days that this version knows"))?,
    })
}
