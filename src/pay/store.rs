//! The rows of a transaction: each statement carries the guard that the state machine decided by.

use super::transaction::{Details, Kind, Source, State, Transaction};
use crate::acquirer::Initiator;
use crate::app::App;
use crate::card::{Expiry, Scheme};
use crate::codes::Code;
use crate::db::{Db, Row, Stmt, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{EntityId, TokenId, TransactionId};
use crate::money::{Currency, Money};
use crate::vault::Sealed;

macro_rules! columns {
    () => {
        "ref, id, entity_id, live, merchant_id, kind, state, created_at, settle_after, amount_minor, currency, \
         merchant_txn_ref, scheme, masked, card_name, exp_month, exp_year, token_id, source, initiator, details, code, \
         response_code, auth_code, network_transaction_id, parent_id, captured_minor, refund_reserved_minor, \
         refunded_minor, unresolved"
    };
}

/// The intent's row. Answers with its `ref`. A charge keeps its card sealed for what may still follow.
pub fn insert(transaction: &Transaction, sealed: Option<Sealed>) -> Result<Stmt, Error> {
    let (key_id, wrapped_key, ciphertext) = match sealed {
        Some(sealed) => (Some(sealed.key_id), Some(sealed.wrapped_key), Some(sealed.ciphertext)),
        None => (None, None, None),
    };
    let details = serde_json::to_string(&transaction.details).map_err(Error::internal)?;
    Ok(Stmt::new(
        "INSERT INTO transactions (id, entity_id, live, merchant_id, kind, state, created_at, settle_after, \
         amount_minor, currency, merchant_txn_ref, scheme, masked, card_name, exp_month, exp_year, token_id, source, \
         initiator, details, key_id, wrapped_key, sealed, code, response_code, auth_code, parent_id) VALUES ($1, $2, $3, \
         $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27) \
         RETURNING ref",
        args![
            transaction.id,
            transaction.caller.entity,
            transaction.caller.live,
            transaction.merchant_id.as_str(),
            transaction.kind as i64,
            transaction.state as i64,
            transaction.created_at,
            transaction.settle_after,
            transaction.money.minor,
            transaction.money.currency.code(),
            transaction.merchant_txn_ref.as_deref(),
            transaction.scheme.id(),
            transaction.masked.as_str(),
            transaction.card_name.as_str(),
            i64::from(transaction.expiry.month),
            i64::from(transaction.expiry.year),
            transaction.token,
            transaction.source as i64,
            transaction.initiator as i64,
            details,
            key_id,
            wrapped_key,
            ciphertext,
            transaction.code.map(Code::name),
            transaction.response_code,
            transaction.auth_code.as_deref(),
            transaction.parent
        ],
    )
    .exactly(1))
}

/// Moves the row from `before` to `after`; touches no row when somebody else has moved it.
pub fn update(before: &Transaction, after: &Transaction) -> Stmt {
    // What ends without a charge keeps no card. A hold's or purchase's own sealed card stays for what may follow.
    let erase = matches!(after.state, State::Declined | State::Reversed | State::NotSent);
    let sql = if erase {
        "UPDATE transactions SET state = $3, settle_after = $4, token_id = $5, code = $6, response_code = $7, \
         auth_code = $8, network_transaction_id = $9, wrapped_key = NULL, sealed = NULL \
         WHERE id = $1 AND state = $2"
    } else {
        "UPDATE transactions SET state = $3, settle_after = $4, token_id = $5, code = $6, response_code = $7, \
         auth_code = $8, network_transaction_id = $9 WHERE id = $1 AND state = $2"
    };
    let code = after.code.map(Code::name);
    Stmt::new(
        sql,
        args![
            before.id,
            before.state as i64,
            after.state as i64,
            after.settle_after,
            after.token,
            code,
            after.response_code,
            after.auth_code.as_deref(),
            after.network_transaction_id.as_deref()
        ],
    )
    .exactly(1)
}

/// The details as they stand now; the state's own guard stands in the same write.
pub fn note(transaction: &Transaction) -> Result<Stmt, Error> {
    let details = serde_json::to_string(&transaction.details).map_err(Error::internal)?;
    Ok(Stmt::new("UPDATE transactions SET details = $2 WHERE id = $1", args![transaction.id, details]))
}

/// The payment's own card, while it is kept.
pub async fn sealed(db: &Db, id: TransactionId) -> Result<Option<Sealed>, Error> {
    let sql = "SELECT key_id, wrapped_key, sealed FROM transactions WHERE id = $1 AND sealed IS NOT NULL";
    let read = |row: &Row| {
        Ok(Sealed { key_id: row.int(0)?, wrapped_key: row.bytes(1)?.to_vec(), ciphertext: row.bytes(2)?.to_vec() })
    };
    db.rows(sql, args![id]).await?.first().map(read).transpose()
}

/// `None` for an unknown id, another entity's, the other mode's, and for what was never sent.
pub async fn find(app: &App, caller: Caller, id: TransactionId) -> Result<Option<Transaction>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM transactions WHERE id = $1 AND entity_id = $2 AND live = $3 AND state <> $4"
    );
    let rows = app.db.rows(sql, args![id, caller.entity, caller.live, State::NotSent as i64]).await?;
    rows.first().map(read).transpose()
}

/// The charges with a reference, newest first, at most 20 (contract 4.3).
pub async fn find_by_reference(
    app: &App,
    caller: Caller,
    merchant_id: &str,
    merchant_txn_ref: &str,
) -> Result<Vec<Transaction>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM transactions WHERE merchant_id = $1 AND entity_id = $2 AND live = $3 AND merchant_txn_ref = $4 \
         AND state <> $5 AND parent_id IS NULL ORDER BY ref DESC LIMIT 20"
    );
    let args = args![merchant_id, caller.entity, caller.live, merchant_txn_ref, State::NotSent as i64];
    app.db.rows(sql, args).await?.iter().map(read).collect()
}

/// What is past its `settle_after`, the oldest first: the sweep's.
pub async fn overdue(app: &App, now: i64, limit: i64) -> Result<Vec<TransactionId>, Error> {
    let sql = "SELECT id FROM transactions WHERE settle_after <= $1 ORDER BY settle_after LIMIT $2";
    let rows = app.db.rows(sql, args![now, limit]).await?;
    Ok(rows.iter().filter_map(|row| TransactionId::from_bytes(row.bytes(0).ok()?)).collect())
}

/// What was refunded of a hold's capture, minor units.
pub async fn refunded_of_captures(app: &App, hold: TransactionId) -> Result<i64, Error> {
    let sql = "SELECT CAST(COALESCE(SUM(refunded_minor), 0) AS BIGINT) FROM transactions \
               WHERE parent_id = $1 AND kind = 2 AND state = 3";
    app.db.rows(sql, args![hold]).await?.first().map_or(Ok(0), |row| row.int(0))
}

/// What followed a transaction, in order, without what was never sent; the first 100.
pub async fn children(app: &App, parent: TransactionId) -> Result<Vec<Transaction>, Error> {
    let sql =
        concat!("SELECT ", columns!(), " FROM transactions WHERE parent_id = $1 AND state <> 9 ORDER BY ref LIMIT 100");
    app.db.rows(sql, args![parent]).await?.iter().map(read).collect()
}

/// Transactions in order, `ref > after`, begun in `from..to` by real time: for those who read all of them.
pub async fn page(db: &Db, after: i64, from: i64, to: i64, limit: i64) -> Result<Vec<Transaction>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM transactions WHERE ref > $1 AND id >= $2 AND id < $3 ORDER BY ref LIMIT $4"
    );
    db.rows(sql, args![after, first_id(from), first_id(to), limit]).await?.iter().map(read).collect()
}

/// The `ref` before that of the first transaction begun at `since` or later: ids begin with their time.
pub async fn before(db: &Db, since: i64) -> Result<i64, Error> {
    let sql = "SELECT ref FROM transactions WHERE id >= $1 ORDER BY id LIMIT 1";
    let found = db.rows(sql, args![first_id(since)]).await?;
    found.first().map_or(Ok(i64::MAX), |row| row.int(0).map(|first| first - 1))
}

/// Below every id that is made then, and above those before: no test clock moves them.
pub fn first_id(at: i64) -> [u8; 16] {
    // As much as an id's time holds.
    let millis = at.clamp(0, (1 << 48) - 1);
    let mut first = [0; 16];
    first[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    first
}

/// Money without a known result, the oldest first.
pub async fn unresolved(db: &Db, now: i64, limit: i64) -> Result<Vec<Transaction>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM transactions WHERE state = 2 OR settle_after <= $1 ORDER BY created_at LIMIT $2"
    );
    db.rows(sql, args![now, limit]).await?.iter().map(read).collect()
}

/// The row as it stands now, whoever asks: for flows that must see what became of their own write.
pub async fn reread(db: &Db, id: TransactionId) -> Result<Option<Transaction>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM transactions WHERE id = $1");
    db.rows(sql, args![id]).await?.first().map(read).transpose()
}

/// The newest approved charge of the whole store: the pattern that `fuda bench` repeats on the bare engine.
pub async fn last_approved(db: &Db) -> Result<Option<Transaction>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM transactions WHERE state = $1 ORDER BY ref DESC LIMIT 1");
    db.rows(sql, args![State::Approved as i64]).await?.first().map(read).transpose()
}

fn read(row: &Row) -> Result<Transaction, Error> {
    let corrupt = |what: &str| Error::internal(format!("a transaction's {what} is not one that this version knows"));
    let currency = Currency::parse(row.text(10)?).ok_or_else(|| corrupt("currency"))?;
    Ok(Transaction {
        reference: row.int(0)?,
        id: TransactionId::from_bytes(row.bytes(1)?).ok_or_else(|| corrupt("id"))?,
        caller: Caller {
            entity: EntityId::from_bytes(row.bytes(2)?).ok_or_else(|| corrupt("entity"))?,
            live: row.bool(3)?,
        },
        merchant_id: row.text(4)?.to_owned(),
        kind: Kind::from_id(row.int(5)?).ok_or_else(|| corrupt("kind"))?,
        state: State::from_id(row.int(6)?).ok_or_else(|| corrupt("state"))?,
        created_at: row.int(7)?,
        settle_after: row.opt_int(8)?,
        money: Money { minor: row.int(9)?, currency },
        merchant_txn_ref: row.opt_text(11)?.map(str::to_owned),
        scheme: Scheme::from_id(row.int(12)?).ok_or_else(|| corrupt("scheme"))?,
        masked: row.text(13)?.to_owned(),
        card_name: row.text(14)?.to_owned(),
        expiry: expiry(row.int(15)?, row.int(16)?).ok_or_else(|| corrupt("expiry"))?,
        token: row.opt_bytes(17)?.and_then(TokenId::from_bytes),
        source: if row.int(18)? == Source::Token as i64 { Source::Token } else { Source::Card },
        initiator: if row.int(19)? == Initiator::Merchant as i64 { Initiator::Merchant } else { Initiator::Customer },
        details: serde_json::from_str::<Details>(row.text(20)?).map_err(Error::internal)?,
        code: row.opt_text(21)?.and_then(Code::from_name),
        response_code: row.opt_int(22)?,
        auth_code: row.opt_text(23)?.map(str::to_owned),
        network_transaction_id: row.opt_text(24)?.map(str::to_owned),
        parent: row.opt_bytes(25)?.and_then(TransactionId::from_bytes),
        captured_minor: row.int(26)?,
        refund_reserved_minor: row.int(27)?,
        refunded_minor: row.int(28)?,
        unresolved: row.int(29)?,
    })
}

pub fn expiry(month: i64, year: i64) -> Option<Expiry> {
    Some(Expiry { month: u8::try_from(month).ok()?, year: u16::try_from(year).ok()? })
}
