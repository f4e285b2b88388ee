//! The rows of subscriptions. What a charge's end changes is one statement that reads nothing before: a pause, a cancel or a
//! new card that came in between stays.

use super::{Part, Share, Status, Subscription, Terms};
use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Value, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{EntityId, SubscriptionId, TokenId, TransactionId};
use crate::money::{Currency, Money};

/// How a charge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Paid,
    Declined {
        /// The same card will never be charged (`retry` of the response code).
        hopeless: bool,
    },
    /// No try: reversed, refused by a rule, or never sent. Callers see it, or not.
    Undone {
        seen: bool,
    },
}

/// With the intent of its first charge.
pub fn insert(new: &Subscription) -> Result<Stmt, Error> {
    let terms = serde_json::to_string(&new.terms).map_err(Error::internal)?;
    Ok(Stmt::new(
        "INSERT INTO subscriptions (id, entity_id, live, merchant_id, status, created_at, amount_minor, currency, terms, \
         details, token_id, first_id, anchor_at, period, completed, running, owned) \
         VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, $11, $13)",
        args![
            new.id,
            new.caller.entity,
            new.caller.live,
            new.merchant_id.as_str(),
            new.created_at,
            new.money.minor,
            new.money.currency.code(),
            terms,
            new.details.as_str(),
            new.token,
            new.first,
            new.anchor_at,
            new.owned
        ],
    )
    .exactly(1))
}

/// The guard of a renewal's intent: nothing about it has changed since it was read, and no other charge is on its way.
pub fn take(read: &Subscription, id: TransactionId) -> Stmt {
    Stmt::new(
        "UPDATE subscriptions SET running = $2 WHERE id = $1 AND running IS NULL AND status = $3 AND completed = $4 \
         AND due_at = $5 AND token_id = $6",
        args![read.id, id, read.status as i64, read.completed, read.due_at, read.token],
    )
    .exactly(1)
}

/// A charge of a cycle, in its intent's write.
pub fn charge(id: SubscriptionId, cycle: i64, transaction: TransactionId) -> Stmt {
    Stmt::new(
        "INSERT INTO subscription_charges (subscription_id, cycle, transaction_id) VALUES ($1, $2, $3)",
        args![id, cycle, transaction],
    )
}

/// What the end of a charge changes; part of that end's write.
///
/// `token`: what was charged or made, and whether it was stored before. An approval or a decline comes to the charge that holds the
/// subscription, and only to it: one that could not be counted does not stand, and is reversed.
pub fn ended(
    share: &Share,
    transaction: TransactionId,
    (token, stored): (Option<TokenId>, bool),
    how: How,
    clocked: bool,
) -> Vec<Stmt> {
    let id = share.id;
    let mut rows = match (&share.part, how) {
        // A stored card that is being deleted is waited for, and not taken; one of its own is only made with this write.
        (Part::Changes { at }, How::Paid) => vec![
            Stmt::new("SELECT 1 FROM tokens WHERE id = $1 {for_share}", args![token]),
            Stmt::new(
                "UPDATE subscriptions SET token_id = $2, owned = $3, hopeless = 0, \
                 due_at = CASE WHEN failed_at IS NOT NULL AND running IS NULL THEN CAST($4 AS BIGINT) ELSE due_at END \
                 WHERE id = $1 AND status IN (1, 2, 3) \
                 AND (CAST($5 AS BIGINT) = 0 OR EXISTS (SELECT 1 FROM tokens WHERE id = $2))",
                args![id, token, share.owned, *at, stored],
            ),
        ],
        (Part::Changes { .. }, _) => return Vec::new(),
        (Part::Begins { anchor, completed, period, due }, How::Paid) => {
            let paid = (*completed > 0).then_some(1_i64);
            vec![Stmt::new(
                "UPDATE subscriptions SET running = NULL, completed = $3, period = $4, anchor_at = $6, last_paid = $7, \
                 status = CASE WHEN CAST($5 AS BIGINT) IS NULL THEN 5 ELSE 1 END, due_at = CAST($5 AS BIGINT) \
                 WHERE id = $1 AND running = $2 AND status = 0",
                args![id, transaction, *completed, *period, *due, *anchor, paid],
            )
            .exactly(1)]
        }
        (Part::Begins { .. }, _) => {
            return vec![
                Stmt::new("DELETE FROM subscription_charges WHERE subscription_id = $1", args![id]),
                Stmt::new(
                    "DELETE FROM subscriptions WHERE id = $1 AND running = $2 AND status = 0",
                    args![id, transaction],
                ),
            ];
        }
        (Part::Renews { period, due, .. }, How::Paid) => vec![Stmt::new(
            "UPDATE subscriptions SET running = NULL, completed = completed + 1, period = $3, failures = 0, \
             failed_at = NULL, hopeless = 0, delays = 0, last_paid = 1, \
             status = CASE WHEN status = 4 THEN 4 WHEN CAST($4 AS BIGINT) IS NULL THEN 5 WHEN status = 2 THEN 2 ELSE 1 END, \
             due_at = CASE WHEN status = 4 THEN NULL ELSE CAST($4 AS BIGINT) END WHERE id = $1 AND running = $2",
            args![id, transaction, *period, *due],
        )
        .exactly(1)],
        (Part::Renews { at, again, last_day, extra, .. }, How::Declined { hopeless }) => {
            let next = if hopeless { Some(*last_day) } else { *again };
            // A card that came meanwhile is tried at once, and is not to blame.
            vec![Stmt::new(
                "UPDATE subscriptions SET running = NULL, failures = failures + $7, failed_at = COALESCE(failed_at, $3), \
                 delays = 0, last_paid = 0, hopeless = CASE WHEN token_id = $4 THEN CAST($5 AS BIGINT) ELSE 0 END, \
                 due_at = CASE WHEN status = 4 OR token_id = $4 AND CAST($6 AS BIGINT) IS NULL THEN NULL \
                 WHEN token_id = $4 THEN CAST($6 AS BIGINT) ELSE $3 END, \
                 status = CASE WHEN status = 4 OR token_id = $4 AND CAST($6 AS BIGINT) IS NULL THEN 4 \
                 WHEN status = 2 THEN 2 ELSE 3 END WHERE id = $1 AND running = $2",
                args![id, transaction, *at, token, hopeless, next, !extra],
            )
            .exactly(1)]
        }
        (Part::Renews { later, .. }, How::Undone { seen }) => vec![Stmt::new(
            "UPDATE subscriptions SET running = NULL, delays = delays + 1, \
             last_paid = CASE WHEN CAST($4 AS BIGINT) = 1 THEN 0 ELSE last_paid END, \
             due_at = CASE WHEN status = 4 THEN NULL ELSE CAST($3 AS BIGINT) END WHERE id = $1 AND running = $2",
            args![id, transaction, *later, seen],
        )],
    };
    // Nobody changes it between what follows: the statement above may have met a row that this charge does not hold any more.
    rows.push(Stmt::new("SELECT 1 FROM subscriptions WHERE id = $1 {for_share}", args![id]));
    rows.push(plan(id, clocked));
    if matches!(share.part, Part::Renews { .. }) {
        rows.push(unplan(id));
    }
    rows
}

/// A rule has refused the due cycle before anything was sent: no try.
pub fn refused(read: &Subscription, later: Millis) -> Stmt {
    Stmt::new(
        "UPDATE subscriptions SET delays = delays + 1, last_paid = 0, due_at = $4 \
         WHERE id = $1 AND running IS NULL AND status IN (1, 3) AND completed = $2 AND due_at = $3",
        args![read.id, read.completed, read.due_at, later],
    )
    .exactly(1)
}

/// A step without a charge, by what was read: nothing may have changed since.
pub fn step(read: &Subscription, after: &Subscription) -> Stmt {
    Stmt::new(
        "UPDATE subscriptions SET status = $4, period = $5, due_at = $6, token_id = $7, hopeless = $8, owned = $11 \
         WHERE id = $1 AND status = $2 AND completed = $3 AND token_id = $9 \
         AND COALESCE(due_at, -1) = COALESCE(CAST($10 AS BIGINT), -1)",
        args![
            read.id,
            read.status as i64,
            read.completed,
            after.status as i64,
            after.period,
            after.due_at,
            after.token,
            after.hopeless,
            read.token,
            read.due_at,
            after.owned
        ],
    )
    .exactly(1)
}

/// The job by which the scheduler finds it, after any change: at its due time, by the database's clock. Whoever holds that
/// job just now has seen the row as it was: the count fences them off. What needs no look any more keeps its job until then.
/// `clocked`: its entity has moved its sandbox clock.
pub fn plan(id: SubscriptionId, clocked: bool) -> Stmt {
    let sql = if clocked {
        "INSERT INTO jobs (kind, subject, clock, due_at, run_at, attempts, lane) \
         SELECT 6, s.id, s.entity_id, s.due_at - c.ahead_ms, s.due_at - c.ahead_ms, 0, 'test' \
         FROM subscriptions s JOIN test_clocks c ON c.entity_id = s.entity_id \
         WHERE s.id = $1 AND s.status IN (1, 3) AND s.due_at IS NOT NULL {for_share} \
         ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at, run_at = excluded.run_at, \
         attempts = jobs.attempts + 1"
    } else {
        "INSERT INTO jobs (kind, subject, clock, due_at, run_at, attempts, lane) \
         SELECT 6, s.id, CASE WHEN s.live = 0 THEN s.entity_id END, s.due_at, s.due_at, 0, \
         CASE WHEN s.live = 0 THEN 'test' ELSE '' END FROM subscriptions s \
         WHERE s.id = $1 AND s.status IN (1, 3) AND s.due_at IS NOT NULL \
         ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at, run_at = excluded.run_at, \
         attempts = jobs.attempts + 1"
    };
    Stmt::new(sql, args![id])
}

/// The job of a renewal that is the last, or came to its end in a pause: it would look due, and keep an advance of the test
/// clock waiting, until its lease ends.
fn unplan(id: SubscriptionId) -> Stmt {
    Stmt::new(
        "DELETE FROM jobs WHERE kind = 6 AND subject = $1 AND NOT EXISTS (SELECT 1 FROM subscriptions s \
         WHERE s.id = $1 AND s.status IN (1, 3) AND s.due_at IS NOT NULL)",
        args![id],
    )
}

/// A card of its own goes when the subscription has ended or has another; the last statement of a write that may bring that
/// about.
pub fn erase_unused(id: SubscriptionId) -> Stmt {
    Stmt::new(
        "DELETE FROM tokens WHERE owner = $1 AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.id = $1 \
         AND s.token_id = tokens.id AND s.status < 4)",
        args![id],
    )
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.number, s.id, s.entity_id, s.live, s.merchant_id, s.status, s.created_at, s.amount_minor, s.currency, \
             s.terms, s.details, s.token_id, s.first_id, s.anchor_at, s.period, s.completed, s.due_at, s.failures, \
             s.failed_at, s.hopeless, s.delays, s.last_paid, s.running, s.owned FROM subscriptions s ",
            $rest
        )
    };
}

/// Whoever's it is, and however it stands.
pub async fn find_any(db: &Db, id: SubscriptionId) -> Result<Option<Subscription>, Error> {
    db.rows(select!("WHERE s.id = $1"), args![id]).await?.first().map(read).transpose()
}

/// `None` also for another entity's, the other mode's, and one that has not begun.
pub async fn find(db: &Db, caller: Caller, id: SubscriptionId) -> Result<Option<Subscription>, Error> {
    let sql = select!("WHERE s.id = $1 AND s.entity_id = $2 AND s.live = $3 AND s.status > 0");
    db.rows(sql, args![id, caller.entity, caller.live]).await?.first().map(read).transpose()
}

/// The newest first, before the number `before`.
pub async fn list(
    db: &Db,
    caller: Caller,
    status: Option<Status>,
    before: i64,
    limit: i64,
) -> Result<Vec<Subscription>, Error> {
    let mut args: Vec<Value> = args![caller.entity, caller.live, before, limit];
    args.extend(status.map(|status| Value::Int(status as i64)));
    let sql = match status {
        None => {
            select!(
                "WHERE s.entity_id = $1 AND s.live = $2 AND s.number < $3 AND s.status > 0 ORDER BY s.number DESC LIMIT $4"
            )
        }
        Some(_) => {
            select!(
                "WHERE s.entity_id = $1 AND s.live = $2 AND s.number < $3 AND s.status = $5 ORDER BY s.number DESC LIMIT $4"
            )
        }
    };
    db.rows(sql, args).await?.iter().map(read).collect()
}

/// Of all entities, the newest first: for the operator. An empty merchant id, and no status, stand for any.
pub async fn page(
    db: &Db,
    merchant_id: &str,
    status: Option<Status>,
    before: i64,
    limit: i64,
) -> Result<Vec<Subscription>, Error> {
    let sql = select!(
        "WHERE s.number < $1 AND s.status > 0 AND ($2 = '' OR s.merchant_id = $2) \
         AND (CAST($3 AS BIGINT) = 0 OR s.status = $3) \
         ORDER BY s.number DESC LIMIT $4"
    );
    let status = status.map_or(0, |status| status as i64);
    db.rows(sql, args![before, merchant_id, status, limit]).await?.iter().map(read).collect()
}

/// The live ones that charge a token, also one that is just beginning; the first `most`.
pub async fn using(db: &Db, token: TokenId, most: i64) -> Result<Vec<Subscription>, Error> {
    let sql = select!("WHERE s.token_id = $1 AND s.status < 4 ORDER BY s.number LIMIT $2");
    db.rows(sql, args![token, most]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Subscription, Error> {
    let corrupt = || Error::internal("a subscription's row is not one that this version knows");
    let currency = Currency::parse(row.text(8)?).ok_or_else(corrupt)?;
    Ok(Subscription {
        number: row.int(0)?,
        id: SubscriptionId::from_bytes(row.bytes(1)?).ok_or_else(corrupt)?,
        caller: Caller { entity: EntityId::from_bytes(row.bytes(2)?).ok_or_else(corrupt)?, live: row.bool(3)? },
        merchant_id: row.text(4)?.to_owned(),
        status: Status::from_id(row.int(5)?).ok_or_else(corrupt)?,
        created_at: row.int(6)?,
        money: Money { minor: row.int(7)?, currency },
        terms: serde_json::from_str::<Terms>(row.text(9)?).map_err(Error::internal)?,
        details: row.text(10)?.to_owned(),
        token: TokenId::from_bytes(row.bytes(11)?).ok_or_else(corrupt)?,
        owned: row.bool(23)?,
        first: TransactionId::from_bytes(row.bytes(12)?).ok_or_else(corrupt)?,
        anchor_at: row.int(13)?,
        period: row.int(14)?,
        completed: row.int(15)?,
        due_at: row.opt_int(16)?,
        failures: row.int(17)?,
        failed_at: row.opt_int(18)?,
        hopeless: row.bool(19)?,
        delays: row.int(20)?,
        last_paid: row.opt_int(21)?.map(|paid| paid != 0),
        running: row.opt_bytes(22)?.and_then(TransactionId::from_bytes),
    })
}
