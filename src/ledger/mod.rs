//! Write it down: the merchant's money as transfers between accounts, double entry and append-only. One row is one
//! transfer with its debit and its credit side, so no transaction can fail to sum to zero; balances are sums of rows.

pub mod chain;

use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, args};
use crate::error::Error;
use crate::id::TransactionId;
use crate::money::Money;

/// Accounts exist per merchant, mode and currency. The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Held for the merchant on cards: authorized, not yet captured, voided or lapsed.
    Held = 1,
    /// The other side of `Held`: what issuers have set aside.
    Issuers = 2,
    /// What the acquirer owes: captured less refunded.
    Receivable = 3,
    /// Taken, by purchases and captures. Grows on the credit side.
    Captured = 4,
    /// Given back.
    Refunded = 5,
}

pub const ACCOUNTS: [Account; 5] =
    [Account::Held, Account::Issuers, Account::Receivable, Account::Captured, Account::Refunded];

impl Account {
    pub fn name(self) -> &'static str {
        match self {
            Account::Held => "held",
            Account::Issuers => "issuers",
            Account::Receivable => "receivable",
            Account::Captured => "captured",
            Account::Refunded => "refunded",
        }
    }
}

/// So much from the credit side to the debit side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub debit: Account,
    pub credit: Account,
    pub money: Money,
}

/// Whose books a transaction's transfers are in.
pub struct Book<'a> {
    pub transaction: TransactionId,
    pub merchant_id: &'a str,
    pub live: bool,
}

/// Part of the outcome's write.
pub fn insert(book: &Book<'_>, transfer: Transfer, now: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO ledger_entries (transaction_id, merchant_id, live, currency, debit, credit, amount_minor, \
         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            book.transaction,
            book.merchant_id,
            book.live,
            transfer.money.currency.code(),
            transfer.debit as i64,
            transfer.credit as i64,
            transfer.money.minor,
            now
        ],
    )
}

/// One row as it stands: nothing in it is trusted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: i64,
    pub transaction: Vec<u8>,
    pub merchant_id: String,
    pub live: i64,
    pub currency: String,
    pub debit: i64,
    pub credit: i64,
    pub amount_minor: i64,
    pub created_at: Millis,
}

impl Entry {
    /// Whether it is this transfer in this book.
    pub fn is(&self, book: &Book<'_>, transfer: &Transfer) -> bool {
        self.transaction == book.transaction.as_bytes()
            && self.merchant_id == book.merchant_id
            && self.live == i64::from(book.live)
            && self.currency == transfer.money.currency.code()
            && self.debit == transfer.debit as i64
            && self.credit == transfer.credit as i64
            && self.amount_minor == transfer.money.minor
    }
}

macro_rules! entries {
    ($where:literal) => {
        concat!(
            "SELECT number, transaction_id, merchant_id, live, currency, debit, credit, amount_minor, created_at \
             FROM ledger_entries WHERE ",
            $where
        )
    };
}

/// The entries of one transaction, as they were written.
pub async fn of_transaction(db: &Db, id: TransactionId) -> Result<Vec<Entry>, Error> {
    db.rows(entries!("transaction_id = $1 ORDER BY number"), args![id]).await?.iter().map(entry).collect()
}

/// Entries in order, `after < number <= last`, at most `limit`.
pub async fn page(db: &Db, after: i64, last: i64, limit: i64) -> Result<Vec<Entry>, Error> {
    let sql = entries!("number > $1 AND number <= $2 ORDER BY number LIMIT $3");
    db.rows(sql, args![after, last, limit]).await?.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        number: row.int(0)?,
        transaction: row.bytes(1)?.to_vec(),
        merchant_id: row.text(2)?.to_owned(),
        live: row.int(3)?,
        currency: row.text(4)?.to_owned(),
        debit: row.int(5)?,
        credit: row.int(6)?,
        amount_minor: row.int(7)?,
        created_at: row.int(8)?,
    })
}

/// A merchant's account: its debit side less its credit side, minor units.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Balance {
    pub merchant_id: String,
    pub is_live: bool,
    pub currency: String,
    pub account: &'static str,
    pub balance_minor: i64,
}

/// All accounts that were ever touched, from the entries alone.
pub async fn balances(db: &Db) -> Result<Vec<Balance>, Error> {
    let sql = "SELECT merchant_id, live, currency, account, CAST(SUM(amount) AS BIGINT) FROM ( \
               SELECT merchant_id, live, currency, debit AS account, amount_minor AS amount FROM ledger_entries \
               UNION ALL \
               SELECT merchant_id, live, currency, credit, -amount_minor FROM ledger_entries) AS sides \
               GROUP BY merchant_id, live, currency, account ORDER BY merchant_id, live, currency, account";
    let rows = db.rows(sql, vec![]).await?;
    let read = |row: &Row| {
        let id = row.int(3)?;
        let account = ACCOUNTS.into_iter().find(|account| *account as i64 == id);
        Ok(Balance {
            merchant_id: row.text(0)?.to_owned(),
            is_live: row.bool(1)?,
            currency: row.text(2)?.to_owned(),
            account: account.map_or("unknown", Account::name),
            balance_minor: row.int(4)?,
        })
    };
    rows.iter().map(read).collect()
}
