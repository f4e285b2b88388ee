//! The sandbox's wallets: one page where the account's holder approves, declines or leaves. What was said stands in the
//! sandbox bank's own file, shared by all processes of one sandbox.

use super::{Connector, Consent, Order};
use crate::acquirer::BoxFuture;
use crate::card::Scheme;
use crate::clock::Clock;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::error::Error;
use crate::id;
use crate::money::{Currency, Money};
use crate::random::Random;

/// The path of the wallets' page below the checkout URL; the order's key follows.
pub const PATH: &str = "/sandbox/wallet";

/// Milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Clone)]
pub struct Sandbox {
    books: Db,
    checkout: String,
    clock: Clock,
    random: Random,
}

/// An order as the wallet's page shows it.
pub struct Shown {
    pub wallet: Scheme,
    pub merchant: String,
    pub money: Money,
    pub return_url: String,
    pub stores: bool,
    pub decided: bool,
}

impl Sandbox {
    /// `books`: the sandbox bank's, which has made the table.
    pub fn new(books: Db, checkout: &str, clock: &Clock, random: &Random) -> Sandbox {
        Sandbox { books, checkout: checkout.to_owned(), clock: clock.clone(), random: random.clone() }
    }

    /// Orders are over after half an hour; a day later nobody asks how they ended.
    pub async fn forget(&self) -> Result<(), Error> {
        let sql = "DELETE FROM consents WHERE created_at < $1";
        self.books.write(vec![Stmt::new(sql, args![self.clock.now() - DAY_MS])]).await.map(drop)
    }

    /// By the key in its page's address.
    pub async fn order(&self, key: &str) -> Result<Option<Shown>, Error> {
        let sql = "SELECT wallet, merchant, amount_minor, currency, return_url, stores, approved FROM consents \
                   WHERE page = $1";
        self.books.rows(sql, args![key]).await?.first().map(shown).transpose()
    }

    /// The first answer counts.
    pub async fn decide(&self, key: &str, approved: bool) -> Result<(), Error> {
        let sql = "UPDATE consents SET approved = COALESCE(approved, $2) WHERE page = $1";
        match self.books.write(vec![Stmt::new(sql, args![key, approved]).exactly(1)]).await? {
            Written::Applied(_) => Ok(()),
            Written::GuardFailed(_) | Written::Ambiguous => Err(Error::internal("the sandbox wallet lost its books")),
        }
    }

    async fn keep(&self, order: Order<'_>) -> Result<String, Error> {
        let (page, agreement) = (id::random_uuid(&self.random), format!("agr_{}", id::random_uuid(&self.random)));
        let insert = Stmt::new(
            "INSERT INTO consents (reference, page, wallet, merchant, amount_minor, currency, return_url, stores, \
             agreement, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            args![
                order.reference,
                page.as_str(),
                order.wallet.id(),
                order.merchant,
                order.money.minor,
                order.money.currency.code(),
                order.return_url,
                order.stores,
                agreement,
                self.clock.now()
            ],
        );
        match self.books.write(vec![insert]).await? {
            Written::Applied(_) => Ok(format!("{}{PATH}/{page}", self.checkout)),
            Written::GuardFailed(_) | Written::Ambiguous => Err(Error::internal("the sandbox wallet lost its books")),
        }
    }
}

fn shown(row: &Row) -> Result<Shown, Error> {
    let corrupt = || Error::internal("the sandbox wallet's books hold an order that cannot be read");
    let currency = Currency::parse(row.text(3)?).ok_or_else(corrupt)?;
    Ok(Shown {
        wallet: Scheme::from_id(row.int(0)?).ok_or_else(corrupt)?,
        merchant: row.text(1)?.to_owned(),
        money: Money { minor: row.int(2)?, currency },
        return_url: row.text(4)?.to_owned(),
        stores: row.bool(5)?,
        decided: row.opt_int(6)?.is_some(),
    })
}

impl Connector for Sandbox {
    fn deadline_ms(&self) -> u64 {
        3_000
    }

    fn hosts(&self) -> Vec<&str> {
        vec![&self.checkout]
    }

    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(self.keep(order))
    }

    fn consent<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Consent, Error>> {
        Box::pin(async move {
            let sql = "SELECT approved, agreement FROM consents WHERE reference = $1";
            let rows = self.books.rows(sql, args![reference]).await?;
            let Some(row) = rows.first() else { return Ok(Consent::Waiting) };
            Ok(match row.opt_int(0)? {
                None => Consent::Waiting,
                Some(0) => Consent::Refused,
                Some(_) => Consent::Given(row.text(1)?.to_owned()),
            })
        })
    }
}
