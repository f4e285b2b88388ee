//! Links to the hosted payment page (contract section 8): their rows, and the guards by which a link is paid at most once. A
//! try takes its link in the intent's own write and lets it go in the write of its end, so no crash can leave one behind.

use super::transaction::{Address, ReturnUrl, State, Transaction};
use crate::app::App;
use crate::card::Scheme;
use crate::clock::Millis;
use crate::db::{Row, Stmt, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{EntityId, LinkId, TransactionId};
use crate::money::{Currency, Money};
use crate::vault::Vault;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How often a link may be tried: after the last decline it is at its end.
pub const TRIES: i64 = 3;

/// What stands in the row. The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Open = 1,
    /// A try is on its way, or its result is not known.
    Busy = 2,
    Paid = 3,
    Declined = 4,
    Cancelled = 5,
}

const STANDINGS: [Standing; 5] =
    [Standing::Open, Standing::Busy, Standing::Paid, Standing::Declined, Standing::Cancelled];

/// What the merchant said of a link; one JSON column, since no statement asks about it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LinkDetails {
    pub merchant_txn_ref: Option<String>,
    pub merchant_email: Option<String>,
    /// What is missing here is asked on the page.
    pub billing_address: Option<Address>,
    pub shipping_address: Option<Address>,
    pub return_url: ReturnUrl,
    /// The card, or the wallet's agreement, is stored when it is paid.
    #[serde(default)]
    pub stores_card: bool,
    /// The word of the wallet in whose own page it is paid; `None`: with a card.
    #[serde(default)]
    pub account_of: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Link {
    pub id: LinkId,
    pub caller: Caller,
    pub merchant_id: String,
    pub standing: Standing,
    /// `None`: the customer types it.
    pub amount_minor: Option<i64>,
    pub currency: Currency,
    pub details: LinkDetails,
    /// Counted with the try that is on its way.
    pub tries: i64,
    /// The last try's.
    pub transaction: Option<TransactionId>,
    pub created_at: Millis,
    pub expires_at: Millis,
}

impl Link {
    pub fn amount(&self) -> Option<Money> {
        self.amount_minor.map(|minor| Money { minor, currency: self.currency })
    }

    /// The wallet in whose own page it is paid.
    pub fn account(&self) -> Option<Scheme> {
        self.details.account_of.as_deref().and_then(Scheme::of_wallet)
    }

    /// Whether a try may begin now.
    pub fn is_open(&self, now: Millis) -> bool {
        self.standing == Standing::Open && self.expires_at > now
    }

    /// `status` of the contract. A link with a try on its way is not yet anything else.
    pub fn status(&self, now: Millis) -> &'static str {
        match self.standing {
            Standing::Open if self.expires_at <= now => "EXPIRED",
            Standing::Open | Standing::Busy => "CREATED",
            Standing::Paid => "PAID",
            Standing::Declined => "DECLINED",
            Standing::Cancelled => "CANCELLED",
        }
    }

    pub fn tries_left(&self) -> i64 {
        (TRIES - self.tries).max(0)
    }

    pub fn insert(&self, code_digest: [u8; 32]) -> Result<Stmt, Error> {
        let details = serde_json::to_string(&self.details).map_err(Error::internal)?;
        Ok(Stmt::new(
            "INSERT INTO links (id, code_digest, entity_id, live, merchant_id, state, amount_minor, currency, details, \
             tries, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, 0, $9, $10)",
            args![
                self.id,
                code_digest,
                self.caller.entity,
                self.caller.live,
                self.merchant_id.as_str(),
                self.amount_minor,
                self.currency.code(),
                details,
                self.created_at,
                self.expires_at
            ],
        )
        .exactly(1))
    }
}

/// The 22 letters of a link's address: 128 bits that only this vault can make of the id, so they are stored nowhere.
pub fn code(vault: &Vault, id: LinkId) -> String {
    let digest = vault.request_digest(&[b"hosted page link", id.as_bytes()]);
    URL_SAFE_NO_PAD.encode(&digest[..16]).replace('-', "a").replace('_', "b")
}

/// How a code stands in the database.
pub fn code_digest(vault: &Vault, code: &str) -> [u8; 32] {
    vault.credential_digest(code)
}

macro_rules! columns {
    () => {
        "SELECT id, entity_id, live, merchant_id, state, amount_minor, currency, details, tries, transaction_id, \
         created_at, expires_at FROM links "
    };
}

/// `None` for a code of nobody's.
pub async fn by_code(app: &App, code: &str) -> Result<Option<Link>, Error> {
    if code.len() != 22 {
        return Ok(None);
    }
    let sql = concat!(columns!(), "WHERE code_digest = $1");
    app.db.rows(sql, args![code_digest(&app.vault, code)]).await?.first().map(read).transpose()
}

/// `None` also for another entity's, and the other mode's.
pub async fn find(app: &App, caller: Caller, id: LinkId) -> Result<Option<Link>, Error> {
    let sql = concat!(columns!(), "WHERE id = $1 AND entity_id = $2 AND live = $3");
    app.db.rows(sql, args![id, caller.entity, caller.live]).await?.first().map(read).transpose()
}

fn read(row: &Row) -> Result<Link, Error> {
    let corrupt = || Error::internal("a link's row is not one that this version knows");
    let standing = row.int(4)?;
    Ok(Link {
        id: LinkId::from_bytes(row.bytes(0)?).ok_or_else(corrupt)?,
        caller: Caller { entity: EntityId::from_bytes(row.bytes(1)?).ok_or_else(corrupt)?, live: row.bool(2)? },
        merchant_id: row.text(3)?.to_owned(),
        standing: STANDINGS.into_iter().find(|one| *one as i64 == standing).ok_or_else(corrupt)?,
        amount_minor: row.opt_int(5)?,
        currency: Currency::parse(row.text(6)?).ok_or_else(corrupt)?,
        details: serde_json::from_str(row.text(7)?).map_err(Error::internal)?,
        tries: row.int(8)?,
        transaction: row.opt_bytes(9)?.and_then(TransactionId::from_bytes),
        created_at: row.int(10)?,
        expires_at: row.int(11)?,
    })
}

/// The tries that callers may know of, the oldest first.
pub async fn tries(app: &App, id: LinkId) -> Result<Vec<TransactionId>, Error> {
    let sql = "SELECT t.id FROM link_tries l JOIN transactions t ON t.id = l.transaction_id \
               WHERE l.link_id = $1 AND t.state <> $2 ORDER BY t.ref LIMIT 100";
    let rows = app.db.rows(sql, args![id, State::NotSent as i64]).await?;
    Ok(rows.iter().filter_map(|row| TransactionId::from_bytes(row.bytes(0).ok()?)).collect())
}

/// Takes the link for a try, the guarded statement first: of all tabs one wins. Part of the intent's write.
pub fn begin(link: LinkId, transaction: TransactionId, now: Millis) -> [Stmt; 2] {
    let sql = "UPDATE links SET state = 2, transaction_id = $2, tries = tries + 1 \
               WHERE id = $1 AND state = 1 AND tries < 3 AND expires_at > $3";
    [Stmt::new(sql, args![link, transaction, now]).exactly(1), tried(link, transaction)]
}

/// A try that was refused before any bank was asked: begun and ended in one write. It counts.
pub fn refused(link: LinkId, transaction: TransactionId, now: Millis) -> [Stmt; 2] {
    let sql = "UPDATE links SET transaction_id = $2, tries = tries + 1, \
               state = CASE WHEN tries + 1 >= 3 THEN 4 ELSE 1 END \
               WHERE id = $1 AND state = 1 AND tries < 3 AND expires_at > $3";
    [Stmt::new(sql, args![link, transaction, now]).exactly(1), tried(link, transaction)]
}

fn tried(link: LinkId, transaction: TransactionId) -> Stmt {
    Stmt::new("INSERT INTO link_tries (link_id, transaction_id) VALUES ($1, $2)", args![link, transaction])
}

/// Lets the link go with the end of its try; part of that end's write. What was never sent does not count; a try without a
/// known result keeps the link until it is reversed.
pub fn ended(after: &Transaction) -> Option<Stmt> {
    let link = after.details.link?;
    let sql = match after.state {
        State::Declined if after.unreached() => {
            "UPDATE links SET state = 1, tries = tries - 1 WHERE id = $1 AND transaction_id = $2 AND state = 2"
        }
        State::Approved => "UPDATE links SET state = 3 WHERE id = $1 AND transaction_id = $2 AND state = 2",
        State::Declined | State::Reversed => {
            "UPDATE links SET state = CASE WHEN tries >= 3 THEN 4 ELSE 1 END \
             WHERE id = $1 AND transaction_id = $2 AND state = 2"
        }
        State::NotSent => {
            "UPDATE links SET state = 1, tries = tries - 1, transaction_id = NULL \
             WHERE id = $1 AND transaction_id = $2 AND state = 2"
        }
        _ => return None,
    };
    Some(Stmt::new(sql, args![link, after.id]))
}

/// `false` when it is not open any more: a try has begun, or it is paid.
pub async fn cancel(app: &App, link: &Link) -> Result<bool, Error> {
    let sql = "UPDATE links SET state = 5 WHERE id = $1 AND state = 1 AND expires_at > $2";
    match app.db.write(vec![Stmt::new(sql, args![link.id, app.time(link.caller).await?]).exactly(1)]).await? {
        Written::Applied(_) => Ok(true),
        Written::GuardFailed(_) => Ok(false),
        Written::Ambiguous => Err(Error::internal("the database was lost while a link was being cancelled")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_how_it_stands() {
        let link = |standing, tries| Link {
            id: LinkId::from_bytes(&[1; 16]).unwrap(),
            caller: Caller { entity: EntityId::from_bytes(&[2; 16]).unwrap(), live: false },
            merchant_id: String::new(),
            standing,
            amount_minor: None,
            currency: Currency::parse("JPY").unwrap(),
            details: LinkDetails::default(),
            tries,
            transaction: None,
            created_at: 0,
            expires_at: 10,
        };
        let told = |now| STANDINGS.map(|standing| link(standing, 0).status(now));
        assert_eq!(told(9), ["CREATED", "CREATED", "PAID", "DECLINED", "CANCELLED"]);
        assert_eq!(told(10), ["EXPIRED", "CREATED", "PAID", "DECLINED", "CANCELLED"]);
        assert!(link(Standing::Open, 0).is_open(9) && !link(Standing::Open, 0).is_open(10));
        assert!(!link(Standing::Busy, 0).is_open(9));
        assert_eq!([0, 1, 3, 4].map(|tries| link(Standing::Open, tries).tries_left()), [3, 2, 0, 0]);
    }
}
