//! `Idempotency-Key` (contract section 11). The claim is a row in the intent's write, the answer in the outcome's or the
//! recovery's. Key and request are kept as keyed digests only.

use super::Answer;
use crate::app::App;
use crate::clock::Millis;
use crate::codes::Code;
use crate::db::{Stmt, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::TransactionId;

/// How long a key is remembered, milliseconds: 24 hours.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// `settled` of a row: the answer is the final one, or the redirect of a charge that still waits. 0: it runs, or its result is
/// not known.
const SETTLED: i64 = 1;
const REDIRECTED: i64 = 2;

/// How many forgotten keys one sweep removes; the rest waits for the next sweep.
const PURGED_AT_ONCE: i64 = 1_000;

/// A request with a key: both sides digested, so that neither can be searched for a card number.
#[derive(Clone)]
pub struct Claim {
    pub caller: Caller,
    pub key_digest: [u8; 32],
    pub request_digest: [u8; 32],
}

impl Claim {
    /// Part of the intent's write. Touches one row when the key is free or long past; otherwise another request has it.
    pub fn insert(&self, id: TransactionId, now: Millis) -> Stmt {
        Stmt::new(
            "INSERT INTO idempotency (entity_id, live, key_digest, request_digest, transaction_id, settled, expires_at) \
             VALUES ($1, $2, $3, $4, $5, 0, $6) \
             ON CONFLICT (entity_id, live, key_digest) DO UPDATE SET request_digest = $4, transaction_id = $5, \
             settled = 0, status = NULL, answer = NULL, expires_at = $6 \
             WHERE idempotency.settled = 1 AND idempotency.expires_at <= $7",
            args![self.caller.entity, self.caller.live, self.key_digest, self.request_digest, id, now + KEPT_MS, now],
        )
        .exactly(1)
    }

    /// Part of the outcome's write. `settled` is false while a time-out's reversal is not confirmed.
    pub fn answered(&self, id: TransactionId, answer: &Answer, settled: bool) -> Stmt {
        Stmt::new(
            "UPDATE idempotency SET settled = $5, status = $6, answer = $7 \
             WHERE entity_id = $1 AND live = $2 AND key_digest = $3 AND transaction_id = $4",
            args![
                self.caller.entity,
                self.caller.live,
                self.key_digest,
                id,
                settled,
                i64::from(answer.status),
                answer.body.as_str()
            ],
        )
    }

    /// Part of a write that begins and ends a transaction: the answer's `ref` is the row's (see `Answer::with_reference`).
    pub fn answered_at_once(&self, id: TransactionId, answer: &Answer) -> Stmt {
        self.with_reference(id, answer, SETTLED)
    }

    fn with_reference(&self, id: TransactionId, answer: &Answer, settled: i64) -> Stmt {
        Stmt::new(
            "UPDATE idempotency SET settled = $7, status = $5, answer = (SELECT replace($6, '\"ref\":0,', \
             '\"ref\":' || CAST(ref AS TEXT) || ',') FROM transactions WHERE id = $4) \
             WHERE entity_id = $1 AND live = $2 AND key_digest = $3 AND transaction_id = $4",
            args![
                self.caller.entity,
                self.caller.live,
                self.key_digest,
                id,
                i64::from(answer.status),
                answer.body.as_str(),
                settled
            ],
        )
    }

    /// Part of the write of a charge that waits for its cardholder: the redirect is given again while it is pending.
    pub fn redirected(&self, id: TransactionId, answer: &Answer) -> Stmt {
        self.with_reference(id, answer, REDIRECTED)
    }

    /// A refusal that records nothing does not keep the key.
    pub fn release(&self, id: TransactionId) -> Stmt {
        Stmt::new(
            "DELETE FROM idempotency WHERE entity_id = $1 AND live = $2 AND key_digest = $3 AND transaction_id = $4",
            args![self.caller.entity, self.caller.live, self.key_digest, id],
        )
    }
}

/// Part of the recovery's write: the first final answer stands if one was given, else this one.
pub fn settle(id: TransactionId, answer: &Answer) -> Stmt {
    Stmt::new(
        "UPDATE idempotency SET settled = 1, status = CASE WHEN settled = 2 THEN $2 ELSE COALESCE(status, $2) END, \
         answer = CASE WHEN settled = 2 THEN $3 ELSE COALESCE(answer, $3) END WHERE transaction_id = $1",
        args![id, i64::from(answer.status), answer.body.as_str()],
    )
}

/// Part of the outcome's write of a charge that has waited: its answer takes the redirect's place. `settled` as for
/// [`Claim::answered`].
pub fn ended(id: TransactionId, answer: &Answer, settled: bool) -> Stmt {
    Stmt::new(
        "UPDATE idempotency SET settled = $2, status = $3, answer = $4 WHERE transaction_id = $1",
        args![id, settled, i64::from(answer.status), answer.body.as_str()],
    )
}

/// Part of the write by which a charge that has waited is given up: its redirect leads nowhere new.
pub fn unanswered(id: TransactionId) -> Stmt {
    let sql =
        "UPDATE idempotency SET settled = 0, status = NULL, answer = NULL WHERE transaction_id = $1 AND settled = 2";
    Stmt::new(sql, args![id])
}

/// Part of the write that takes a final state back: the key has no final answer any more.
pub fn reopen(id: TransactionId) -> Stmt {
    let sql = "UPDATE idempotency SET settled = 0, status = NULL, answer = NULL WHERE transaction_id = $1";
    Stmt::new(sql, args![id])
}

/// Keeps this answer unless one stands already; returns the one that stands.
pub fn first_answer(id: TransactionId, answer: &Answer) -> Stmt {
    Stmt::new(
        "UPDATE idempotency SET status = COALESCE(status, $2), answer = COALESCE(answer, $3) \
         WHERE transaction_id = $1 AND settled <> 2 RETURNING answer",
        args![id, i64::from(answer.status), answer.body.as_str()],
    )
}

/// [`look_up`] for a request that may have no key.
pub async fn replay(app: &App, claim: Option<&Claim>) -> Result<Option<Answer>, Error> {
    match claim {
        Some(claim) => look_up(app, claim).await,
        None => Ok(None),
    }
}

/// `None`: the key is free. An answer: this request was answered before. ERR1007: the key belongs to another request.
/// ERR1008: the first one runs, or its result is not known yet.
pub async fn look_up(app: &App, claim: &Claim) -> Result<Option<Answer>, Error> {
    let sql = "SELECT request_digest, transaction_id, settled, status, answer, expires_at FROM idempotency \
               WHERE entity_id = $1 AND live = $2 AND key_digest = $3";
    let rows = app.db.rows(sql, args![claim.caller.entity, claim.caller.live, claim.key_digest]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (settled, redirected) = (row.int(2)? == SETTLED, row.int(2)? == REDIRECTED);
    if settled && row.int(5)? <= app.clock.now() {
        return Ok(None);
    }
    if row.bytes(0)? != claim.request_digest {
        return Err(Error::new(Code::Err1007));
    }
    let id = TransactionId::from_bytes(row.bytes(1)?);
    match (settled || redirected, row.opt_int(3)?, row.opt_text(4)?) {
        (true, Some(status), Some(body)) => {
            Ok(Some(Answer { status: u16::try_from(status).unwrap_or(500), body: body.to_owned(), replayed: true }))
        }
        _ => {
            let running = Error::new(Code::Err1008);
            Err(match id {
                Some(id) => running.with_transaction(id),
                None => running,
            })
        }
    }
}

/// Removes keys that are past their day and settled.
pub async fn purge(app: &App) -> Result<(), Error> {
    let sql = "DELETE FROM idempotency WHERE settled = 1 AND expires_at <= $1 AND transaction_id IN \
               (SELECT transaction_id FROM idempotency WHERE settled = 1 AND expires_at <= $1 \
                ORDER BY expires_at LIMIT $2)";
    app.db.write(vec![Stmt::new(sql, args![app.clock.now(), PURGED_AT_ONCE])]).await?;
    Ok(())
}
