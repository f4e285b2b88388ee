//! A stored card in a charge: the token's row, how it is read, made and used (contract section 6).

use super::means::{Account, Means};
use super::store;
use super::transaction::Transaction;
use crate::app::App;
use crate::card::{Card, Expiry, Scheme};
use crate::clock::Millis;
use crate::db::{Row, Stmt, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{SubscriptionId, TokenId};
use crate::threeds::Authenticated;
use crate::vault::{Bound, Owner, Sealed, Vault};

/// `last_used` is a date: it is written once a day, not at each charge.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A token's row, read for one charge by one merchant.
pub struct StoredCard {
    pub id: TokenId,
    scheme: Scheme,
    sealed: Sealed,
    expiry: Expiry,
    name: String,
    last_used_at: Millis,
    /// This merchant's first charge of the card, if there was one.
    pub network_transaction_id: Option<String>,
    /// It was stored in a charge that the cardholder authenticated.
    pub authenticated: bool,
    /// The number of a device: only the merchant may charge it (contract section 8).
    pub device: bool,
}

impl StoredCard {
    pub fn open(&self, vault: &Vault, caller: Caller) -> Result<Means, Error> {
        let bound = bound(caller, self.id);
        if self.scheme.wallet().is_some() {
            let agreement = Some(vault.open_text(&bound, &self.sealed)?);
            return Ok(Means::Account(Account { scheme: self.scheme, agreement }));
        }
        let pan = vault.open_pan(&bound, &self.sealed)?;
        Ok(Means::Card(Card { pan, expiry: self.expiry, name: self.name.clone() }))
    }

    /// The version of the vault's key that it is sealed under.
    pub fn key_id(&self) -> i64 {
        self.sealed.key_id
    }

    /// Part of the outcome's write: the day of use, and the merchant's first network transaction id. Neither guards: a
    /// token that was deleted meanwhile stays deleted.
    pub fn used(&self, merchant_id: &str, network_transaction_id: Option<&str>, now: Millis) -> Vec<Stmt> {
        let mut writes = Vec::new();
        if now / DAY_MS != self.last_used_at / DAY_MS {
            writes.push(Stmt::new("UPDATE tokens SET last_used_at = $2 WHERE id = $1", args![self.id, now]));
        }
        if let (None, Some(network)) = (&self.network_transaction_id, network_transaction_id) {
            writes.push(Stmt::new(
                "INSERT INTO stored_credentials (token_id, merchant_id, network_transaction_id) \
                 SELECT id, CAST($2 AS TEXT), CAST($3 AS TEXT) FROM tokens WHERE id = $1 {for_share} \
                 ON CONFLICT (token_id, merchant_id) DO NOTHING",
                args![self.id, merchant_id, network],
            ));
        }
        writes
    }
}

/// One read: the sealed card and what this merchant may do with it. `None` for every id that is not the caller's, and for a
/// card that was stored for another subscription than `owner` alone.
pub async fn for_charge(
    app: &App,
    caller: Caller,
    id: TokenId,
    merchant_id: &str,
    owner: Option<SubscriptionId>,
) -> Result<Option<StoredCard>, Error> {
    let sql = "SELECT t.key_id, t.wrapped_key, t.sealed, t.exp_month, t.exp_year, t.name, t.last_used_at, \
               s.network_transaction_id, t.authenticated, t.device, t.scheme FROM tokens t \
               LEFT JOIN stored_credentials s ON s.token_id = t.id AND s.merchant_id = $4 \
               WHERE t.id = $1 AND t.entity_id = $2 AND t.live = $3 AND (t.owner IS NULL OR t.owner = $5)";
    let rows = app.db.rows(sql, args![id, caller.entity, caller.live, merchant_id, owner]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let sealed =
        Sealed { key_id: row.int(0)?, wrapped_key: row.bytes(1)?.to_vec(), ciphertext: row.bytes(2)?.to_vec() };
    if !app.vault.knows(sealed.key_id) {
        // Another process has made a new data key since we started.
        app.vault.refresh(&app.db).await?;
    }
    Ok(Some(StoredCard {
        id,
        sealed,
        expiry: expiry(row, 3)?,
        name: row.text(5)?.to_owned(),
        last_used_at: row.int(6)?,
        network_transaction_id: row.opt_text(7)?.map(str::to_owned),
        authenticated: row.bool(8)?,
        device: row.bool(9)?,
        scheme: Scheme::from_id(row.int(10)?).ok_or_else(|| Error::internal("a token's scheme is unknown"))?,
    }))
}

/// Part of the intent's write: a token that a delete has won is no longer charged.
pub fn still_there(id: TokenId, caller: Caller) -> Stmt {
    Stmt::new(
        "SELECT 1 FROM tokens WHERE id = $1 AND entity_id = $2 AND live = $3 {for_share}",
        args![id, caller.entity, caller.live],
    )
    .exactly(1)
}

/// Part of an approved outcome's write: the card, sealed for its token, and the charge that the customer agreed to.
pub fn insert(app: &App, id: TokenId, means: &Means, device: bool, charge: &Transaction) -> Result<Vec<Stmt>, Error> {
    let caller = charge.caller;
    let (sealed, expiry) = (means.seal(app, &bound(caller, id))?, means.expiry());
    let mut writes = vec![Stmt::new(
        "INSERT INTO tokens (id, entity_id, live, scheme, masked, name, exp_month, exp_year, fingerprint, key_id, \
         wrapped_key, sealed, merchant_txn_ref, created_at, last_used_at, authenticated, device, owner) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        args![
            id,
            caller.entity,
            caller.live,
            means.scheme().id(),
            means.masked(),
            means.name(),
            i64::from(expiry.month),
            i64::from(expiry.year),
            means.fingerprint(app, caller),
            sealed.key_id,
            sealed.wrapped_key,
            sealed.ciphertext,
            charge.merchant_txn_ref.as_deref(),
            charge.created_at,
            charge.created_at,
            charge.details.three_d_secure.as_ref().is_some_and(Authenticated::proves),
            device,
            charge.details.subscription.as_ref().filter(|share| share.owned).map(|share| share.id)
        ],
    )];
    if let Some(network) = &charge.network_transaction_id {
        writes.push(Stmt::new(
            "INSERT INTO stored_credentials (token_id, merchant_id, network_transaction_id) VALUES ($1, $2, $3)",
            args![id, charge.merchant_id.as_str(), network.as_str()],
        ));
    }
    Ok(writes)
}

/// The acquirer is asked for a newer expiry of a token's card that is past at `now`; the token has it from then on, and `None`
/// is told where there is none. A charge need not wait for a service that is out of order: that is `None` too.
pub async fn renewed_expiry(
    app: &App,
    caller: Caller,
    card: &Card,
    (token, owner): (TokenId, Option<SubscriptionId>),
    now: Millis,
) -> Result<Option<Expiry>, Error> {
    let Some(updater) = app.updater(caller.live).filter(|_| card.expiry.is_past(now)) else { return Ok(None) };
    let newer = match app.clock.within(updater.deadline_ms(), updater.newer(card)).await {
        Some(Ok(newer)) => newer,
        failed => {
            let cause = failed.and_then(Result::err).map_or("no answer in time".to_owned(), |e| e.cause().to_owned());
            tracing::error!(cause, %token, "the acquirer cannot be asked for a newer card");
            None
        }
    };
    // One that is past too would be declined like the old one.
    let Some(newer) = newer.filter(|newer| !newer.is_past(now)) else { return Ok(None) };
    let sql = "UPDATE tokens SET exp_month = $4, exp_year = $5 \
               WHERE id = $1 AND entity_id = $2 AND live = $3 AND exp_month = $6 AND exp_year = $7";
    let [(month, year), (old_month, old_year)] =
        [newer, card.expiry].map(|expiry| (i64::from(expiry.month), i64::from(expiry.year)));
    let args = args![token, caller.entity, caller.live, month, year, old_month, old_year];
    if let Written::GuardFailed(_) = app.db.write(vec![Stmt::new(sql, args).exactly(1)]).await? {
        // Changed meanwhile, by the merchant or another renewal of the same card: that stands. Or deleted.
        let stored = for_charge(app, caller, token, "", owner).await?;
        return Ok(stored.map(|stored| stored.expiry).filter(|expiry| !expiry.is_past(now)));
    }
    Ok(Some(newer))
}

fn bound(caller: Caller, id: TokenId) -> Bound {
    Bound { entity: caller.entity, live: caller.live, owner: Owner::Token(id) }
}

pub fn expiry(row: &Row, column: usize) -> Result<Expiry, Error> {
    store::expiry(row.int(column)?, row.int(column + 1)?).ok_or_else(|| Error::internal("an expiry is out of range"))
}
