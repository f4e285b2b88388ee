//! What is kept for 400 days. A payment's own sealed card is erased at the end of its window (contract section 6): 400 days after the payment, when no
//! refund or dispute can need it any more (PCI DSS 3.2.1).

use crate::app::App;
use crate::db::{Stmt, Written, args};
use crate::error::Error;
use crate::webhook;

/// The window, milliseconds.
const WINDOW_MS: i64 = 400 * 24 * 60 * 60 * 1000;

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
    let writes = vec![Stmt::new(tries, args![end, SEEN_AT_ONCE]), Stmt::new(links, args![end, SEEN_AT_ONCE])];
    match app.db.write(writes).await? {
        Written::Applied(rows) => Ok(rows.len()),
        Written::GuardFailed(_) | Written::Ambiguous => Ok(0),
    }
}

/// Erases the next cards that are past their window; how many payments it has gone through. A mark of how far it has come is
/// all that it needs. The mark stops before the first payment that is not past: payments stand only nearly in the order
/// of their time. One without a known result is passed by: its card is erased with its reversal.
pub async fn round(app: &App) -> Result<i64, Error> {
    let end = app.clock.now() - WINDOW_MS;
    let seen = app.db.rows("SELECT seen FROM sweeps WHERE name = 'card_retention'", vec![]).await?;
    let seen = seen.first().map_or(Ok(0), |row| row.int(0))?;
    let sql = "SELECT COUNT(*), MAX(ref), MIN(CASE WHEN created_at >= $3 THEN ref END) FROM \
               (SELECT ref, created_at FROM transactions WHERE ref > $1 ORDER BY ref LIMIT $2) AS page";
    let rows = app.db.rows(sql, args![seen, SEEN_AT_ONCE, end]).await?;
    let Some(row) = rows.first() else { return Ok(0) };
    let (count, Some(highest)) = (row.int(0)?, row.opt_int(1)?) else { return Ok(0) };
    let last = row.opt_int(2)?.map_or(highest, |young| young - 1);
    if last <= seen {
        return Ok(0);
    }
    let erase = "UPDATE transactions SET wrapped_key = NULL, sealed = NULL WHERE ref > $1 AND ref <= $2 \
                 AND state > 2 AND sealed IS NOT NULL";
    let mark = "UPDATE sweeps SET seen = $2 WHERE name = 'card_retention' AND seen = $1";
    let writes = vec![Stmt::new(mark, args![seen, last]).exactly(1), Stmt::new(erase, args![seen, last])];
    app.db.write(writes).await?;
    // Behind a young one there is nothing to do until it is old.
    Ok(if last == highest { count } else { 0 })
}
