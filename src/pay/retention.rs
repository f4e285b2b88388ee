//! What is kept for 400 days. A payment's own sealed card is erased at the end of its window (contract section 6): 400 days after the payment, when no
//! refund or dispute can need it any more (PCI DSS 3.2.1).

use super::store;
use crate::app::App;
use crate::clock::Millis;
use crate::db::{Stmt, Value, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::EntityId;
use crate::webhook;

/// The window, milliseconds.
const WINDOW_MS: i64 = 400 * 24 * 60 * 60 * 1000;

/// How long after it was begun every payment has its end or is known to have none, milliseconds: longer than any deadline.
const SETTLED_MS: i64 = 10 * 60 * 1000;

/// How many payments one round looks at; the next round goes on from there.
const SEEN_AT_ONCE: i64 = 1_000;

/// The feed goes as far back as the cards; how many events this round forgot.
pub async fn events(app: &App) -> Result<usize, Error> {
    webhook::forget(&app.db, app.clock.now() - WINDOW_MS).await
}

/// Links to the payment page go when they have been over for as long, with the addresses in them; how many went this round. One
/// whose try has no known result stays.
pub async fn links(app: &App) -> Result<usize, Error> {
    let end = app.clock.now() - WINDOW_MS;
    let tries = "DELETE FROM link_tries WHERE link_id IN \
                 (SELECT id FROM links WHERE state <> 2 AND expires_at < $1 ORDER BY expires_at LIMIT $2)";
    let links = "DELETE FROM links WHERE id IN \
                 (SELECT id FROM links WHERE state <> 2 AND expires_at < $1 ORDER BY expires_at LIMIT $2) RETURNING number";
    forgotten(app, [tries, links], args![end, SEEN_AT_ONCE]).await
}

/// The same of one entity's test links, by its test clock.
async fn links_of(app: &App, entity: EntityId, end: Millis) -> Result<usize, Error> {
    let tries = "DELETE FROM link_tries WHERE link_id IN (SELECT id FROM links WHERE state <> 2 AND expires_at < $1 \
                 AND entity_id = $3 AND live = 0 ORDER BY expires_at LIMIT $2)";
    let links = "DELETE FROM links WHERE id IN (SELECT id FROM links WHERE state <> 2 AND expires_at < $1 \
                 AND entity_id = $3 AND live = 0 ORDER BY expires_at LIMIT $2) RETURNING number";
    forgotten(app, [tries, links], args![end, SEEN_AT_ONCE, entity]).await
}

async fn forgotten(app: &App, texts: [&'static str; 2], args: Vec<Value>) -> Result<usize, Error> {
    let writes = texts.map(|sql| Stmt::new(sql, args.clone())).to_vec();
    match app.db.write(writes).await? {
        Written::Applied(rows) => Ok(rows.len()),
        Written::GuardFailed(_) | Written::Ambiguous => Ok(0),
    }
}

/// Erases the next cards that are past their window; how many payments it has gone through. A mark of how far it has come is
/// all that it needs. The mark stops before the first payment that is not past: payments stand only nearly in the order
/// of their time. One without a known result is passed by: its card is erased with its reversal. Payments with a test clock go
/// by that ([`Walk`]), and hold up nobody here.
pub async fn round(app: &App) -> Result<i64, Error> {
    let end = app.clock.now() - WINDOW_MS;
    let seen = app.db.rows("SELECT seen FROM sweeps WHERE name = 'card_retention'", vec![]).await?;
    let seen = seen.first().map_or(Ok(0), |row| row.int(0))?;
    let sql = "SELECT COUNT(*), MAX(ref), MIN(CASE WHEN created_at >= $3 AND (live = 1 OR entity_id NOT IN \
               (SELECT entity_id FROM test_clocks)) THEN ref END) FROM \
               (SELECT ref, created_at, live, entity_id FROM transactions WHERE ref > $1 ORDER BY ref LIMIT $2) AS page";
    let rows = app.db.rows(sql, args![seen, SEEN_AT_ONCE, end]).await?;
    let Some(row) = rows.first() else { return Ok(0) };
    let (count, Some(highest)) = (row.int(0)?, row.opt_int(1)?) else { return Ok(0) };
    let last = row.opt_int(2)?.map_or(highest, |young| young - 1);
    if last <= seen {
        return Ok(0);
    }
    let erase = "UPDATE transactions SET wrapped_key = NULL, sealed = NULL WHERE ref > $1 AND ref <= $2 \
                 AND (live = 1 OR entity_id NOT IN (SELECT entity_id FROM test_clocks)) \
                 AND state > 2 AND sealed IS NOT NULL";
    let mark = "UPDATE sweeps SET seen = $2 WHERE name = 'card_retention' AND seen = $1";
    let writes = vec![Stmt::new(mark, args![seen, last]).exactly(1), Stmt::new(erase, args![seen, last])];
    app.db.write(writes).await?;
    // Behind a young one there is nothing to do until it is old.
    Ok(if last == highest { count } else { 0 })
}

/// What an entity with a test clock forgets by it: links and cards.
pub async fn of_entity(app: &App, entity: EntityId) -> Result<(), Error> {
    let mut walk = Walk::of(app, entity).await?;
    while walk.step(app).await? {}
    Ok(())
}

/// A walk over the payments of an entity with a test clock, from its own mark on.
pub struct Walk {
    entity: EntityId,
    /// Payments before it are past, milliseconds.
    end: Millis,
    seen: i64,
}

impl Walk {
    pub async fn of(app: &App, entity: EntityId) -> Result<Walk, Error> {
        let end = app.time(Caller { entity, live: false }).await? - WINDOW_MS;
        let rows = app.db.rows("SELECT retained FROM test_clocks WHERE entity_id = $1", args![entity]).await?;
        let seen = rows.first().map_or(Ok(i64::MAX), |row| row.int(0))?;
        Ok(Walk { entity, end, seen })
    }

    /// Forgets the next ones; whether there is more. The mark stays behind what was begun a moment ago by real time: after a leap
    /// of the clock that is past its window, and may still be on its way.
    pub async fn step(&mut self, app: &App) -> Result<bool, Error> {
        if links_of(app, self.entity, self.end).await? > 0 {
            return Ok(true);
        }
        let sql = "SELECT COUNT(*), MAX(ref), MIN(CASE WHEN entity_id = $4 AND live = 0 AND created_at >= $3 THEN ref END), \
                   MIN(CASE WHEN id >= $5 THEN ref END) FROM \
                   (SELECT ref, id, created_at, live, entity_id FROM transactions WHERE ref > $1 ORDER BY ref LIMIT $2) AS page";
        let recent = store::first_id(app.clock.now() - SETTLED_MS);
        let rows = app.db.rows(sql, args![self.seen, SEEN_AT_ONCE, self.end, self.entity, recent]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let (count, Some(highest)) = (row.int(0)?, row.opt_int(1)?) else { return Ok(false) };
        let last = row.opt_int(2)?.map_or(highest, |young| young - 1);
        if last <= self.seen {
            return Ok(false);
        }
        let settled = row.opt_int(3)?.map_or(last, |recent| last.min(recent - 1));
        // Unlike after 400 real days, what waits for its cardholder may be past its window.
        let erase = "UPDATE transactions SET wrapped_key = NULL, sealed = NULL WHERE ref > $1 AND ref <= $2 \
                     AND entity_id = $3 AND live = 0 AND state > 2 AND state <> 10 AND sealed IS NOT NULL";
        let mark = "UPDATE test_clocks SET retained = $2 WHERE entity_id = $1 AND retained < $2";
        app.db
            .write(vec![
                Stmt::new(erase, args![self.seen, last, self.entity]),
                Stmt::new(mark, args![self.entity, settled]),
            ])
            .await?;
        self.seen = last;
        Ok(last == highest && count == SEEN_AT_ONCE)
    }
}
