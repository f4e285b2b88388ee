//! Payments without a known result. A sweep every second, in every process, takes what is past its `settle_after` by a
//! guarded write, so that one process wins and a payment that is still running is never touched; it then reverses at
//! the bank until the bank confirms.

use super::state::{Event, apply};
use super::transaction::{State, Transaction};
use super::{envelope, idempotency, store};
use crate::acquirer::{Abilities, Operation, Outcome};
use crate::app::App;
use crate::codes::Code;
use crate::db::{Stmt, Written, args};
use crate::error::Error;
use crate::id;

/// How often the sweep looks, milliseconds.
pub const SWEEP_MS: u64 = 1_000;

/// How many one sweep takes; the rest is a second older when the next one comes.
const TAKEN_AT_ONCE: i64 = 64;

/// Waits between tries of a reversal, seconds; the last one repeats until the bank answers or an operator settles it.
const BACKOFF_S: [i64; 8] = [1, 2, 5, 15, 60, 300, 1_800, 3_600];

/// Makes what a crash left due at once: only for a process that knows itself to be alone.
pub async fn adopt(app: &App) -> Result<(), Error> {
    let sql = "UPDATE transactions SET settle_after = $1 WHERE settle_after > $1 AND state = $2";
    app.db.write(vec![Stmt::new(sql, args![app.database_now(), State::Pending as i64])]).await?;
    Ok(())
}

/// Takes what is due.
pub async fn sweep(app: &App) -> Result<(), Error> {
    let due = store::due(app, app.database_now(), TAKEN_AT_ONCE).await?;
    let mut running = tokio::task::JoinSet::new();
    for transaction in due {
        let app = app.clone();
        running.spawn(async move {
            let id = transaction.id;
            if let Err(error) = reverse(&app, transaction).await {
                tracing::error!(cause = error.cause(), transaction = %id, "a reversal could not be made: it is tried again");
            }
        });
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

/// How many payments wait to be settled, and since when the oldest does.
pub async fn unsettled(app: &App) -> Result<(i64, Option<i64>), Error> {
    let sql = "SELECT COUNT(*), MIN(created_at) FROM transactions WHERE settle_after IS NOT NULL";
    let rows = app.db.rows(sql, vec![]).await?;
    rows.first().map_or(Ok((0, None)), |row| Ok((row.int(0)?, row.opt_int(1)?)))
}

async fn reverse(app: &App, found: Transaction) -> Result<(), Error> {
    let Some(acquirer) = app.acquirer(found.caller.live) else {
        return Err(Error::internal("no acquirer is configured for this payment's mode"));
    };
    let abilities = acquirer.abilities();
    let Some((taken, number)) = take(app, &found, abilities, acquirer.name()).await? else { return Ok(()) };
    let original = taken.id.to_string();
    let sending = acquirer.send(Operation::Reverse { original: &original });
    let outcome = app.clock.within(abilities.deadline_ms, sending).await;
    let outcome = outcome.unwrap_or(Outcome::Unknown { why: "no answer in time" });
    let now = app.clock.now();
    let too_early = now - taken.created_at < abilities.greatest_lateness_ms;
    let (result, response_code, confirmed) = match outcome {
        Outcome::Approved(approval) => (store::RESULT_APPROVED, Some(approval.response_code), true),
        Outcome::Declined { response_code: 79 } => (store::RESULT_APPROVED, Some(79), true),
        // "Not found" proves nothing while the original may still be on its way.
        Outcome::Declined { response_code: 25 } => (store::RESULT_DECLINED, Some(25), !too_early),
        Outcome::Declined { response_code } => (store::RESULT_DECLINED, Some(response_code), false),
        Outcome::Unknown { .. } => (store::RESULT_UNKNOWN, None, false),
        Outcome::NotSent { .. } => (store::RESULT_NOT_SENT, None, false),
    };
    let attempt = Stmt::new(
        "UPDATE attempts SET result = $3, response_code = $4, answered_at = $5 WHERE transaction_id = $1 AND number = $2",
        args![taken.id, number, result, response_code, now],
    );
    if confirmed { settle(app, &taken, attempt).await } else { postpone(app, &taken, attempt, number).await }
}

/// The guarded step that exactly one process makes: PENDING or UNKNOWN to UNKNOWN with a lease, and the reversal's own
/// attempt row. `None` when another process was faster, or the payment ended by itself.
async fn take(
    app: &App,
    found: &Transaction,
    abilities: Abilities,
    acquirer: &'static str,
) -> Result<Option<(Transaction, i64)>, Error> {
    let lease = i64::try_from(abilities.deadline_ms).unwrap_or(i64::MAX / 4) + 2_000;
    let until = app.database_now() + lease;
    let reference = format!("{}-r", found.id);
    let writes = vec![
        Stmt::new(
            "UPDATE transactions SET state = $4, code = $5, response_code = 68, settle_after = $6 \
             WHERE id = $1 AND state = $2 AND settle_after = $3",
            args![found.id, found.state as i64, found.settle_after, State::Unknown as i64, Code::Err1010.name(), until],
        )
        .exactly(1),
        Stmt::new(
            "INSERT INTO attempts (transaction_id, number, acquirer, operation, reference, sent_at) \
             SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5 FROM attempts WHERE transaction_id = $1 \
             RETURNING number",
            args![found.id, acquirer, store::REVERSAL, reference, app.clock.now()],
        )
        .exactly(1),
    ];
    let Written::Applied(rows) = app.db.write(writes).await? else { return Ok(None) };
    let number = rows.first().map_or(Ok(0), |row| row.int(0))?;
    let mut taken = found.clone();
    taken.state = State::Unknown;
    taken.code = Some(Code::Err1010);
    taken.response_code = Some(68);
    taken.settle_after = Some(until);
    Ok(Some((taken, number)))
}

/// The bank confirmed: the end of the transaction, and the answer that its idempotency key gives from now on.
async fn settle(app: &App, taken: &Transaction, attempt: Stmt) -> Result<(), Error> {
    let after = apply(taken, Event::Reversed).map_err(|_| Error::internal("a reversal of what is not unknown"))?;
    let merchant = app
        .directory
        .merchant(taken.caller, &taken.merchant_id)
        .ok_or_else(|| Error::internal("a payment's merchant is gone"))?;
    let request_id = id::request_id(app.clock.now(), &app.random);
    let answer = envelope::answer(&after, &merchant, &request_id);
    let writes = vec![store::update(taken, &after), attempt, idempotency::settle(taken.id, &answer)];
    match app.db.write(writes).await? {
        Written::Applied(_) => {
            tracing::info!(transaction = %taken.id, "reversed");
            metrics::counter!("fuda_reversals_total").increment(1);
            Ok(())
        }
        Written::GuardFailed(_) => Ok(()),
        Written::Ambiguous => Err(Error::internal("the database was lost while a reversal was being written")),
    }
}

async fn postpone(app: &App, taken: &Transaction, attempt: Stmt, number: i64) -> Result<(), Error> {
    // The first attempt was the charge.
    let tries = usize::try_from(number - 2).unwrap_or(0).min(BACKOFF_S.len() - 1);
    let again = app.database_now() + BACKOFF_S[tries] * 1_000;
    let writes = vec![
        Stmt::new(
            "UPDATE transactions SET settle_after = $3 WHERE id = $1 AND settle_after = $2",
            args![taken.id, taken.settle_after, again],
        )
        .exactly(1),
        attempt,
    ];
    app.db.write(writes).await?;
    Ok(())
}
