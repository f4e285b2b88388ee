//! Tell the merchant (contract section 9). An event is a row in the write of the result that it tells of, and so is the job
//! that delivers it: no crash can separate them. This module keeps the rows, signs, and carries; what a body says is the
//! payment's own.

pub mod courier;
pub mod guard;
pub mod secrets;
pub mod sign;

use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::{EntityId, EventId, SubscriptionId, TransactionId};
use crate::jobs;
use crate::vault::Vault;
use courier::Tried;
use sign::Secret;

/// What has become of an event's delivery. The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The request named no `webhook_url`: the event is in the feed only.
    None = 0,
    Waiting = 1,
    Delivered = 2,
    /// The schedule is over.
    Failed = 3,
    /// The receiver said 410.
    Gone = 4,
    /// Its URL is not one that webhooks go to.
    Refused = 5,
}

const DELIVERIES: [Delivery; 6] =
    [Delivery::None, Delivery::Waiting, Delivery::Delivered, Delivery::Failed, Delivery::Gone, Delivery::Refused];

impl Delivery {
    pub fn name(self) -> &'static str {
        match self {
            Delivery::None => "NONE",
            Delivery::Waiting => "WAITING",
            Delivery::Delivered => "DELIVERED",
            Delivery::Failed => "FAILED",
            Delivery::Gone => "GONE",
            Delivery::Refused => "REFUSED",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Event {
    /// Grows with each event of the whole store.
    pub number: i64,
    pub id: EventId,
    pub caller: Caller,
    pub transaction: TransactionId,
    /// The first charge of the transaction's family.
    pub first: TransactionId,
    /// It tells of a subscription's change of state that no charge brought.
    pub subscription: Option<SubscriptionId>,
    /// How the subscription, also a charge's, stood then.
    pub stood: Option<Stood>,
    pub created_at: Millis,
    pub delivery: Delivery,
    /// Of all runs of the schedule.
    pub tries: i64,
    /// Of this run.
    pub step: i64,
}

/// What a subscription's event keeps of it: all else of what is told never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stood {
    /// By its value in the row.
    pub status: i64,
    pub completed: i64,
    /// By its entity's time.
    pub due_at: Option<Millis>,
}

macro_rules! columns {
    () => {
        "e.number, e.id, e.entity_id, e.live, e.transaction_id, e.first_id, e.created_at, e.delivery, e.tries, e.step, \
         e.subscription_id, e.subscription_status, e.subscription_completed, e.subscription_due"
    };
}

/// How many columns [`event`] reads.
const COLUMNS: usize = 14;

fn event(row: &Row) -> Result<Event, Error> {
    let corrupt = || Error::internal("an event's row is not one that this version knows");
    let delivery = row.int(7)?;
    Ok(Event {
        number: row.int(0)?,
        id: EventId::from_bytes(row.bytes(1)?).ok_or_else(corrupt)?,
        caller: Caller { entity: EntityId::from_bytes(row.bytes(2)?).ok_or_else(corrupt)?, live: row.bool(3)? },
        transaction: TransactionId::from_bytes(row.bytes(4)?).ok_or_else(corrupt)?,
        first: TransactionId::from_bytes(row.bytes(5)?).ok_or_else(corrupt)?,
        created_at: row.int(6)?,
        delivery: DELIVERIES.into_iter().find(|one| *one as i64 == delivery).ok_or_else(corrupt)?,
        tries: row.int(8)?,
        step: row.int(9)?,
        subscription: row.opt_bytes(10)?.and_then(SubscriptionId::from_bytes),
        stood: match (row.opt_int(11)?, row.opt_int(12)?) {
            (Some(status), Some(completed)) => Some(Stood { status, completed, due_at: row.opt_int(13)? }),
            _ => None,
        },
    })
}

/// What has happened, for [`record`].
pub struct News<'a> {
    pub id: EventId,
    pub caller: Caller,
    pub transaction: TransactionId,
    pub first: TransactionId,
    pub url: Option<&'a str>,
    /// The charge's subscription; or whose state has changed without one: then `transaction` is its first charge.
    pub subscription: Option<SubscriptionId>,
    pub by_charge: bool,
    /// Our clock, and the database's, which jobs run by.
    pub now: Millis,
    pub due_at: Millis,
}

/// Part of the write of what it tells of, behind what that changes.
pub fn record(news: &News<'_>) -> Vec<Stmt> {
    let lane = news.url.and_then(|url| guard::lane(news.caller, url));
    let delivery = if lane.is_some() { Delivery::Waiting } else { Delivery::None };
    let mut rows = vec![Stmt::new(
        "INSERT INTO events (id, entity_id, live, transaction_id, first_id, created_at, delivery, tries, step, \
         subscription_id, subscription_status, subscription_completed, subscription_due) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8, (SELECT s.status FROM subscriptions s WHERE s.id = $9), \
         (SELECT s.completed FROM subscriptions s WHERE s.id = $9), (SELECT s.due_at FROM subscriptions s WHERE s.id = $9))",
        args![
            news.id,
            news.caller.entity,
            news.caller.live,
            news.transaction,
            news.first,
            news.now,
            delivery as i64,
            news.subscription.filter(|_| !news.by_charge),
            news.subscription
        ],
    )];
    rows.extend(lane.map(|lane| jobs::enqueue_delivery(news.id, &lane, news.due_at)));
    rows
}

/// An event that a worker is about to tell.
pub struct Told {
    pub event: Event,
    /// An earlier event of the same family has to have its first two tries before.
    pub blocked: bool,
    pub secrets: Vec<Secret>,
}

pub async fn to_tell(db: &Db, vault: &Vault, id: EventId, now: Millis) -> Result<Option<Told>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        ", CASE WHEN EXISTS (SELECT 1 FROM events b WHERE b.first_id = e.first_id AND b.number < e.number \
         AND b.delivery = 1 AND b.step < 2) THEN 1 ELSE 0 END, ",
        secrets::columns!(),
        " FROM events e LEFT JOIN webhook_secrets s ON s.entity_id = e.entity_id AND s.live = e.live WHERE e.id = $1"
    );
    let rows = db.rows(sql, args![id]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let event = event(row)?;
    let blocked = row.int(COLUMNS)? != 0;
    let secrets = secrets::read((db, vault), event.caller, row, COLUMNS + 1, now).await?;
    Ok(Some(Told { event, blocked, secrets }))
}

/// Part of a write: `event`'s job waits, for as long as an earlier event is still in its way.
pub fn still_blocked(event: &Event) -> Stmt {
    let sql = "SELECT 1 FROM events WHERE first_id = $1 AND number < $2 AND delivery = 1 AND step < 2 LIMIT 1";
    Stmt::new(sql, args![event.first, event.number]).exactly(1)
}

/// Part of the write after a try: its line in the log.
pub fn log(id: EventId, tried: &Tried) -> Stmt {
    Stmt::new(
        "INSERT INTO webhook_tries (event_id, number, at, ms, status, answer, problem) \
         SELECT CAST($1 AS {bytes}), COALESCE(MAX(number), 0) + 1, CAST($2 AS {int}), CAST($3 AS {int}), \
         CAST($4 AS {int}), CAST($5 AS TEXT), CAST($6 AS TEXT) FROM webhook_tries WHERE event_id = $1 \
         ON CONFLICT (event_id, number) DO NOTHING",
        args![
            id,
            tried.at,
            tried.ms,
            tried.status.map(i64::from),
            tried.answer.as_deref().map(no_nul),
            tried.problem.as_deref()
        ],
    )
}

fn no_nul(text: &str) -> String {
    text.replace('\0', " ")
}

/// Part of the write after a try: what has become of the delivery. `step`: how many tries this run has had by now.
pub fn moved(event: &Event, delivery: Delivery, step: i64) -> Stmt {
    let sql = "UPDATE events SET delivery = $2, step = $3, tries = tries + 1 WHERE id = $1";
    Stmt::new(sql, args![event.id, delivery as i64, step])
}

/// Part of the write that lets later events go: the next ones that have not been tried are due now. A lease, whose end is
/// not when the job is due, is left alone: its worker looks by itself.
pub fn let_followers_go(event: &Event, now: Millis) -> Stmt {
    Stmt::new(
        // By their ids: the `+ 0` keeps PostgreSQL from going through all jobs that wait.
        "WITH next AS MATERIALIZED (SELECT id FROM events WHERE first_id = $1 AND number > $2 AND delivery = 1 \
         AND tries = 0 ORDER BY number LIMIT 8) \
         UPDATE jobs SET run_at = $3 WHERE kind = 4 AND subject IN (SELECT id FROM next) AND run_at + 0 > $3 \
         AND run_at + 0 = due_at",
        args![event.first, event.number, now],
    )
}

/// Sends again what has ended, or brings forward what waits; a run of the schedule begins anew.
pub fn again(event: &Event, lane: &str, due_at: Millis) -> Vec<Stmt> {
    let sql = "UPDATE events SET delivery = 1, step = 0 WHERE id = $1 AND delivery <> 0";
    vec![Stmt::new(sql, args![event.id]).exactly(1), jobs::enqueue_delivery(event.id, lane, due_at)]
}

/// `None` for an unknown id, another entity's and the other mode's.
pub async fn find(db: &Db, caller: Caller, id: EventId) -> Result<Option<Event>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM events e WHERE e.id = $1 AND e.entity_id = $2 AND e.live = $3");
    db.rows(sql, args![id, caller.entity, caller.live]).await?.first().map(event).transpose()
}

/// Whoever's it is: for the operator.
pub async fn find_any(db: &Db, id: EventId) -> Result<Option<Event>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM events e WHERE e.id = $1");
    db.rows(sql, args![id]).await?.first().map(event).transpose()
}

/// The events of one transaction of a family, in order; the first 100.
pub async fn of_transaction(db: &Db, first: TransactionId, id: TransactionId) -> Result<Vec<Event>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM events e WHERE e.first_id = $1 AND e.transaction_id = $2 ORDER BY e.number LIMIT 100"
    );
    db.rows(sql, args![first, id]).await?.iter().map(event).collect()
}

/// A caller's events with numbers above `after` up to `highest`, in order.
pub async fn feed(db: &Db, caller: Caller, after: i64, highest: i64, limit: i64) -> Result<Vec<Event>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM events e WHERE e.entity_id = $1 AND e.live = $2 AND e.number > $3 AND e.number <= $4 \
         ORDER BY e.number LIMIT $5"
    );
    db.rows(sql, args![caller.entity, caller.live, after, highest, limit]).await?.iter().map(event).collect()
}

/// All events since a time with numbers above `after`, in order: for the operator.
pub async fn page(db: &Db, after: i64, since: Millis, limit: i64) -> Result<Vec<Event>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM events e WHERE e.number > $1 AND e.created_at >= $2 ORDER BY e.number LIMIT $3"
    );
    db.rows(sql, args![after, since, limit]).await?.iter().map(event).collect()
}

/// The number of the last event before a time; 0 when there is none. It looks back through what came since.
pub async fn last_before(db: &Db, since: Millis) -> Result<i64, Error> {
    let sql = "SELECT number FROM events WHERE created_at < $1 ORDER BY number DESC LIMIT 1";
    db.rows(sql, args![since]).await?.first().map_or(Ok(0), |row| row.int(0))
}

pub async fn highest(db: &Db) -> Result<i64, Error> {
    let rows = db.rows("SELECT COALESCE(MAX(number), 0) FROM events", vec![]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// Forgets events from before `limit` and their tries, at most 1,000; how many.
pub async fn forget(db: &Db, limit: Millis) -> Result<usize, Error> {
    let tries = "DELETE FROM webhook_tries WHERE event_id IN \
                 (SELECT id FROM (SELECT id, created_at FROM events ORDER BY number LIMIT 1000) AS old \
                  WHERE created_at < $1)";
    let events = "DELETE FROM events WHERE number IN \
                  (SELECT number FROM (SELECT number, created_at FROM events ORDER BY number LIMIT 1000) AS old \
                   WHERE created_at < $1) RETURNING number";
    match db.write(vec![Stmt::new(tries, args![limit]), Stmt::new(events, args![limit])]).await? {
        Written::Applied(rows) => Ok(rows.len()),
        Written::GuardFailed(_) | Written::Ambiguous => Ok(0),
    }
}

/// When a waiting event is tried next, if its job is there.
pub async fn next_try(db: &Db, id: EventId) -> Result<Option<Millis>, Error> {
    let rows = db.rows("SELECT due_at FROM jobs WHERE kind = 4 AND subject = $1", args![id]).await?;
    rows.first().map(|row| row.int(0)).transpose()
}

/// The tries of an event in order; the last 100.
pub async fn tries(db: &Db, id: EventId) -> Result<Vec<Tried>, Error> {
    let sql =
        "SELECT at, ms, status, answer, problem FROM webhook_tries WHERE event_id = $1 ORDER BY number DESC LIMIT 100";
    let read = |row: &Row| {
        Ok(Tried {
            at: row.int(0)?,
            ms: row.int(1)?,
            status: row.opt_int(2)?.and_then(|status| u16::try_from(status).ok()),
            answer: row.opt_text(3)?.map(str::to_owned),
            problem: row.opt_text(4)?.map(str::to_owned),
            ..Tried::default()
        })
    };
    db.rows(sql, args![id]).await?.iter().rev().map(read).collect()
}
