//! Stored cards: the token's row, its use in a charge, and its management (contract section 6).

use super::Answer;
use super::means::{Account, Means};
use super::store;
use super::subscriptions;
use super::transaction::Transaction;
use crate::app::App;
use crate::card::{Card, Expiry, Scheme};
use crate::clock::{Millis, timestamp};
use crate::codes::Code;
use crate::db::{Row, Stmt, Value, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{SubscriptionId, TokenId};
use crate::subscription::{Status, Subscription, rows};
use crate::threeds::Authenticated;
use crate::vault::{Bound, Owner, Sealed, Vault};
use serde::Serialize;
use utoipa::ToSchema;

/// `last_used` is a date: it is written once a day, not at each charge.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The longest list page; a larger `limit` is refused.
pub const LIST_LIMIT: i64 = 100;

/// A token as callers see it.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenView {
    #[schema(value_type = String)]
    pub id: TokenId,
    /// `ACTIVE`; `DELETED` in the answer to the delete, once.
    pub status: &'static str,
    pub scheme: &'static str,
    /// Null of an account in a wallet.
    pub card: Option<super::envelope::CardOut>,
    /// The same for the same card number within an entity and mode.
    pub fingerprint: String,
    pub created: String,
    #[schema(example = "2026-11-24")]
    pub last_used: String,
    /// Whether the customer has agreed by a first charge, so that the merchant may charge by itself.
    pub merchant_initiated_ready: bool,
}

#[derive(Serialize, ToSchema)]
pub struct TokenAnswer {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    pub token: TokenView,
    /// The verification that stored the card; in the answer to POST only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_details: Option<super::envelope::TransactionDetails>,
}

#[derive(Serialize, ToSchema)]
pub struct TokenList {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    pub tokens: Vec<TokenView>,
    /// For the next page; null on the last one.
    pub next_cursor: Option<String>,
}

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

/// The answer to `POST tokens`, made before its write so that both stand together.
pub fn stored_answer(
    app: &App,
    caller: Caller,
    id: TokenId,
    means: &Means,
    charge: &Transaction,
) -> Result<Answer, Error> {
    let token = TokenView {
        id,
        status: "ACTIVE",
        scheme: means.scheme().name(),
        card: means.card().map(|card| card_out(&card.name, card.pan.masked(), card.expiry)),
        fingerprint: means.fingerprint(app, caller),
        created: timestamp(charge.created_at),
        last_used: date(charge.created_at),
        merchant_initiated_ready: charge.network_transaction_id.is_some(),
    };
    let details = super::envelope::details(charge);
    let answer = TokenAnswer {
        success: true,
        status_code: 201,
        is_live: caller.live,
        token,
        transaction_details: Some(details),
    };
    serde_json::to_string(&answer).map(|body| Answer::new(201, body)).map_err(Error::internal)
}

const VIEW: &str = "SELECT t.id, t.scheme, t.masked, t.name, t.exp_month, t.exp_year, t.fingerprint, t.created_at, \
     t.last_used_at, (SELECT COUNT(*) FROM stored_credentials s WHERE s.token_id = t.id), t.number FROM tokens t \
     WHERE t.id = $1 AND t.entity_id = $2 AND t.live = $3 AND t.owner IS NULL";

pub async fn get(app: &App, caller: Caller, id: TokenId) -> Result<TokenView, Error> {
    let rows = app.db.rows(VIEW, args![id, caller.entity, caller.live]).await?;
    rows.first().map(view).transpose()?.ok_or_else(|| Error::new(Code::Err1003))
}

/// What a list is narrowed to.
#[derive(Default)]
pub struct Filter {
    pub merchant_txn_ref: Option<String>,
    pub fingerprint: Option<String>,
    /// The number of the last token of the page before.
    pub before: Option<i64>,
    pub limit: i64,
}

macro_rules! list_sql {
    ($narrowed:literal) => {
        concat!(
            "SELECT t.id, t.scheme, t.masked, t.name, t.exp_month, t.exp_year, t.fingerprint, t.created_at, \
             t.last_used_at, (SELECT COUNT(*) FROM stored_credentials s WHERE s.token_id = t.id), t.number \
             FROM tokens t WHERE t.entity_id = $1 AND t.live = $2 AND t.number < $3 AND t.owner IS NULL ",
            $narrowed,
            " ORDER BY t.number DESC LIMIT $4"
        )
    };
}

/// Newest first. One text for each pair of filters, so that each has its index.
pub async fn list(app: &App, caller: Caller, filter: &Filter) -> Result<TokenList, Error> {
    let before = filter.before.unwrap_or(i64::MAX);
    let mut args: Vec<Value> = args![caller.entity, caller.live, before, filter.limit + 1];
    let sql = match (&filter.merchant_txn_ref, &filter.fingerprint) {
        (None, None) => list_sql!(""),
        (Some(_), None) => list_sql!("AND t.merchant_txn_ref = $5"),
        (None, Some(_)) => list_sql!("AND t.fingerprint = $5"),
        (Some(_), Some(_)) => list_sql!("AND t.merchant_txn_ref = $5 AND t.fingerprint = $6"),
    };
    args.extend(filter.merchant_txn_ref.as_deref().map(Value::from));
    args.extend(filter.fingerprint.as_deref().map(Value::from));
    let mut rows = app.db.rows(sql, args).await?;
    let page = usize::try_from(filter.limit).unwrap_or(0);
    let more = rows.len() > page;
    rows.truncate(page);
    let last = rows.last().map(|row| row.int(10)).transpose()?;
    Ok(TokenList {
        success: true,
        status_code: 200,
        is_live: caller.live,
        tokens: rows.iter().map(view).collect::<Result<_, _>>()?,
        next_cursor: last.filter(|_| more).map(|number| number.to_string()),
    })
}

/// New expiry or name, as the issuer's new card has them; the number stays.
pub struct Change {
    pub expiry: Option<Expiry>,
    pub name: Option<String>,
}

pub async fn change(app: &App, caller: Caller, id: TokenId, change: Change) -> Result<TokenView, Error> {
    let sql = "UPDATE tokens SET exp_month = COALESCE($4, exp_month), exp_year = COALESCE($5, exp_year), \
               name = COALESCE($6, name) WHERE id = $1 AND entity_id = $2 AND live = $3 AND owner IS NULL";
    let month = change.expiry.map(|expiry| i64::from(expiry.month));
    let year = change.expiry.map(|expiry| i64::from(expiry.year));
    let args = args![id, caller.entity, caller.live, month, year, change.name];
    match app.db.write(vec![Stmt::new(sql, args).exactly(1)]).await? {
        Written::Applied(_) => get(app, caller, id).await,
        Written::GuardFailed(_) => Err(Error::new(Code::Err1003)),
        Written::Ambiguous => Err(Error::internal("the database was lost while a token was being changed")),
    }
}

/// The card's own number, for checks of texts that come without it.
pub async fn open(app: &App, caller: Caller, id: TokenId) -> Result<Means, Error> {
    let stored = for_charge(app, caller, id, "", None).await?.ok_or_else(|| Error::new(Code::Err1003))?;
    stored.open(&app.vault, caller)
}

/// How often a delete looks again after a subscription that began or changed meanwhile.
const RACES: usize = 8;

/// The record goes with its own key: what was sealed cannot be opened again by anyone (contract section 6).
///
/// # Errors
/// ERR1005 while a live subscription uses it, unless those are to be cancelled in the same write.
pub async fn delete(app: &App, caller: Caller, id: TokenId, cancel: bool) -> Result<TokenView, Error> {
    let token = get(app, caller, id).await?;
    // Whoever begins a subscription with it holds its row until that is written: the delete reads after them.
    let hold = "UPDATE tokens SET last_used_at = last_used_at WHERE id = $1 AND entity_id = $2 AND live = $3 \
                AND owner IS NULL";
    let delete = "DELETE FROM tokens WHERE id = $1 AND NOT EXISTS \
                  (SELECT 1 FROM subscriptions s WHERE s.token_id = $1 AND s.status < 4)";
    for _ in 0..RACES {
        let mut writes = vec![Stmt::new(hold, args![id, caller.entity, caller.live]).exactly(1)];
        let using = rows::using(&app.db, id).await?;
        if !using.is_empty() && (!cancel || using.iter().any(|one| one.status == Status::Starting)) {
            return Err(in_use(&using));
        }
        for one in &using {
            writes.extend(subscriptions::cancelled(app, one)?);
        }
        writes.push(Stmt::new(delete, args![id]).exactly(1));
        match app.db.write(writes).await? {
            Written::Applied(_) => {
                app.nudge.notify_one();
                return Ok(TokenView { status: "DELETED", ..token });
            }
            Written::GuardFailed(0) => return Err(Error::new(Code::Err1003)),
            Written::GuardFailed(_) => {}
            Written::Ambiguous => return Err(Error::internal("the database was lost while a token was being deleted")),
        }
    }
    Err(in_use(&rows::using(&app.db, id).await?))
}

fn in_use(using: &[Subscription]) -> Error {
    let ids: Vec<String> = using.iter().map(|one| one.id.to_string()).collect();
    let text = format!(
        "Live subscriptions charge this card: {}. Cancel them first, or send cancel_subscriptions=true.",
        ids.join(", ")
    );
    Error::new(Code::Err1005).with_detail(text)
}

fn bound(caller: Caller, id: TokenId) -> Bound {
    Bound { entity: caller.entity, live: caller.live, owner: Owner::Token(id) }
}

fn view(row: &Row) -> Result<TokenView, Error> {
    let scheme = Scheme::from_id(row.int(1)?).ok_or_else(|| Error::internal("a token's scheme is unknown"))?;
    Ok(TokenView {
        id: TokenId::from_bytes(row.bytes(0)?).ok_or_else(|| Error::internal("a token's id is not 16 bytes"))?,
        status: "ACTIVE",
        scheme: scheme.name(),
        card: match scheme.wallet() {
            Some(_) => None,
            None => Some(card_out(row.text(3)?, row.text(2)?.to_owned(), expiry(row, 4)?)),
        },
        fingerprint: row.text(6)?.to_owned(),
        created: timestamp(row.int(7)?),
        last_used: date(row.int(8)?),
        merchant_initiated_ready: row.int(9)? > 0,
    })
}

fn card_out(name: &str, number: String, expiry: Expiry) -> super::envelope::CardOut {
    let name = name.to_owned();
    super::envelope::CardOut { name, number, exp_month: expiry.month_text(), exp_year: expiry.year_text() }
}

pub fn expiry(row: &Row, column: usize) -> Result<Expiry, Error> {
    store::expiry(row.int(column)?, row.int(column + 1)?).ok_or_else(|| Error::internal("an expiry is out of range"))
}

fn date(at: Millis) -> String {
    timestamp(at)[..10].to_owned()
}
