//! What the rows say of a transaction, in the time of its entity.

use crate::app::App;
use crate::clock::Millis;
use crate::db::{Row, args};
use crate::error::Error;
use crate::id::TransactionId;
use crate::jobs;
use crate::ledger::{self, Entry};
use crate::pay::attempts::{self, Attempt};
use crate::pay::transaction::Transaction;
use crate::pay::{store, told};
use crate::webhook;
use crate::webhook::courier::Tried;

/// The rows that a story is told from.
#[derive(Default)]
pub struct Traces {
    /// The version of the vault's key that sealed the card, and whether the card is erased by now.
    pub sealed: Option<(i64, bool)>,
    pub attempts: Vec<Attempt>,
    pub entries: Vec<Entry>,
    pub children: Vec<Transaction>,
    pub planned: Vec<Planned>,
    pub told: Vec<(webhook::Event, Vec<Tried>)>,
}

/// A job that waits for the transaction.
pub struct Planned {
    pub kind: Option<jobs::Kind>,
    pub due_at: Millis,
    pub attempts: i64,
}

/// `ahead`: what the entity's test clock is ahead now, milliseconds.
pub async fn read(app: &App, found: &Transaction, ahead: Millis) -> Result<Traces, Error> {
    let mut traces = Traces {
        sealed: sealed(app, found.id).await?,
        attempts: attempts::of_transaction(app, found.id).await?,
        entries: ledger::of_transaction(&app.db, found.id).await?,
        children: store::children(app, found.id).await?,
        planned: planned(app, found.id).await?,
        told: told(app, found).await?,
    };
    traces.planned.iter_mut().for_each(|job| job.due_at += ahead);
    // Banks, books and receivers go by real time: so far was the transaction ahead of it.
    moved(&mut traces, found.created_at - found.id.made_at());
    Ok(traces)
}

fn moved(traces: &mut Traces, by: Millis) {
    for attempt in &mut traces.attempts {
        attempt.sent_at += by;
        attempt.answered_at = attempt.answered_at.map(|at| at + by);
    }
    for entry in &mut traces.entries {
        entry.created_at += by;
    }
    for (event, tries) in &mut traces.told {
        event.created_at += by;
        tries.iter_mut().for_each(|one| one.at += by);
    }
}

async fn sealed(app: &App, id: TransactionId) -> Result<Option<(i64, bool)>, Error> {
    let sql = "SELECT key_id, CASE WHEN sealed IS NULL THEN 1 ELSE 0 END FROM transactions WHERE id = $1";
    let rows = app.db.rows(sql, args![id]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let erased = row.int(1)? != 0;
    Ok(row.opt_int(0)?.map(|key| (key, erased)))
}

async fn told(app: &App, found: &Transaction) -> Result<Vec<(webhook::Event, Vec<Tried>)>, Error> {
    let mut told = Vec::new();
    for event in told::events_of(app, found).await? {
        let tries = webhook::tries(&app.db, event.id).await?;
        told.push((event, tries));
    }
    Ok(told)
}

async fn planned(app: &App, id: TransactionId) -> Result<Vec<Planned>, Error> {
    let sql = "SELECT kind, due_at, attempts FROM jobs WHERE subject = $1 AND kind IN (1, 2, 3, 5)";
    let read = |row: &Row| {
        let id = row.int(0)?;
        let kind = jobs::KINDS.into_iter().find(|one| *one as i64 == id);
        Ok(Planned { kind, due_at: row.int(1)?, attempts: row.int(2)? })
    };
    app.db.rows(sql, args![id]).await?.iter().map(read).collect()
}
