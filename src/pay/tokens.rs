//! Stored cards as their merchant manages them (contract section 6); in a charge they are `stored.rs`'s.

use super::Answer;
use super::means::Means;
use super::stored::{expiry, for_charge};
use super::subscriptions;
use super::transaction::Transaction;
use crate::app::App;
use crate::card::{Expiry, Scheme};
use crate::clock::{Millis, timestamp};
use crate::codes::Code;
use crate::db::{Row, Stmt, Value, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::TokenId;
use crate::subscription::{Status, Subscription, rows};
use serde::Serialize;
use utoipa::ToSchema;

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

/// How many subscriptions a delete cancels in its one write, and how many a refusal names.
const CANCELLED_AT_ONCE: i64 = 1_000;
const NAMED: usize = 20;

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
        let using = rows::using(&app.db, id, CANCELLED_AT_ONCE + 1).await?;
        let few = i64::try_from(using.len()).is_ok_and(|count| count <= CANCELLED_AT_ONCE);
        let begins = using.iter().any(|one| one.status == Status::Starting);
        if !using.is_empty() && (!cancel || begins || !few) {
            return Err(in_use(&using, cancel));
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
    Err(in_use(&rows::using(&app.db, id, CANCELLED_AT_ONCE + 1).await?, cancel))
}

/// One that is just beginning is not named: nobody knows it yet.
fn in_use(using: &[Subscription], cancel: bool) -> Error {
    let known: Vec<String> =
        using.iter().filter(|one| one.status != Status::Starting).map(|one| one.id.to_string()).collect();
    let text = if known.len() < using.len() && (cancel || known.is_empty()) {
        "A subscription with this card is just beginning: delete it when that one's first charge has a result."
            .to_owned()
    } else {
        let more = if known.len() > NAMED { format!(", and {} more", known.len() - NAMED) } else { String::new() };
        let advice = if cancel {
            "These are too many to cancel in one write: cancel some first."
        } else {
            "Cancel them first, or send cancel_subscriptions=true."
        };
        let named = known[..known.len().min(NAMED)].join(", ");
        format!("Live subscriptions charge this card: {named}{more}. {advice}")
    };
    Error::new(Code::Err1005).with_detail(text)
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

fn date(at: Millis) -> String {
    timestamp(at)[..10].to_owned()
}
