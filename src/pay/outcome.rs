//! What the bank said becomes final in one write: the transaction, its parent's balance, the ledger, the jobs that follow
//! from it, the attempt, and the answer for the key. Everything that ends a transaction goes through here.

use super::attempts::{self, Answered, Reply};
use super::idempotency::{self, Claim};
use super::state::{Event, apply};
use super::transaction::{Kind, State, Transaction};
use super::{Answer, books, envelope, links, parent, store, subscribe};
use crate::acquirer::Outcome;
use crate::app::App;
use crate::codes::Code;
use crate::db::{Stmt, Written, args};
use crate::directory::Merchant;
use crate::error::Error;
use crate::id::{EventId, TransactionId};
use crate::jobs::{self, Kind as JobKind};
use crate::webhook::{self, News};

/// When a hold that the bank would not let go at its end is tried again, milliseconds.
const LAPSE_AGAIN_MS: i64 = 6 * 60 * 60 * 1000;

/// An intent whose message went out, and who waits for its end.
pub struct Flow<'a> {
    pub app: &'a App,
    pub merchant: &'a Merchant,
    pub request_id: &'a str,
    pub claim: Option<&'a Claim>,
    pub intent: &'a Transaction,
    /// Of the message that was answered.
    pub number: i64,
    /// What the intent follows.
    pub parent: Option<&'a Transaction>,
}

/// What a flow adds to its end: rows, and an answer of its own in the envelope's place.
#[derive(Default)]
pub struct Extra {
    pub rows: Vec<Stmt>,
    pub answer: Option<Answer>,
}

/// The second write, guarded on the intent still standing, and the answer.
pub async fn conclude(
    flow: &Flow<'_>,
    outcome: Outcome,
    ended: impl FnOnce(&Transaction) -> Result<Extra, Error>,
) -> Result<Answer, Error> {
    let (app, intent) = (flow.app, flow.intent);
    let reply = Reply::of(&outcome);
    // Before the times of what follows from it: the story of a transaction is told in their order.
    let answered = attempts::answered(intent.id, flow.number, reply, app.clock.now());
    let after = apply(intent, event(outcome)).map_err(|_| Error::internal("an intent is not pending"))?;
    let extra = ended(&after)?;
    let answer = extra.answer.unwrap_or_else(|| envelope::answer(&after, flow.merchant, flow.request_id));
    let mut writes = rows(app, flow.merchant, intent, &after, flow.parent);
    writes.push(answered);
    writes.extend(extra.rows);
    if let Some(claim) = flow.claim {
        writes.extend(claimed(claim, &after, &answer));
    } else if intent.details.waits.is_some() {
        writes.push(idempotency::ended(intent.id, &answer, after.state != State::Unknown));
    }
    if !written(app, intent, &after, writes).await? {
        return lost_to_the_sweep(flow, reply).await;
    }
    tracing::info!(
        transaction = %after.id,
        kind = after.kind.name(),
        state = after.state.name(),
        response_code = after.response_code,
        request = flow.request_id,
        "transaction"
    );
    let labels = [("kind", after.kind.name()), ("state", after.state.name())];
    metrics::counter!("fuda_transactions_total", &labels).increment(1);
    if after.state == State::NotSent { Err(Error::new(Code::Err1011)) } else { Ok(answer) }
}

fn event(outcome: Outcome) -> Event {
    match outcome {
        Outcome::Approved(approval) => Event::Approved(approval),
        Outcome::Declined { response_code } => Event::Declined { response_code },
        Outcome::NotSent { .. } => Event::NotSent,
        Outcome::Unknown { .. } => Event::NoAnswer,
    }
}

/// The key gets the first final answer. That is ERR1010 for a charge without one; a capture, refund or void gets its own
/// once it is known.
fn claimed(claim: &Claim, after: &Transaction, answer: &Answer) -> Option<Stmt> {
    match after.state {
        State::NotSent => Some(claim.release(after.id)),
        State::Unknown if !after.is_charge() => None,
        state => Some(claim.answered(after.id, answer, state != State::Unknown)),
    }
}

/// All that changes with a transaction's step from `before` to `after`.
pub fn rows(
    app: &App,
    merchant: &Merchant,
    before: &Transaction,
    after: &Transaction,
    parent: Option<&Transaction>,
) -> Vec<Stmt> {
    if after.state == State::Unknown {
        return given_up(app, before, after);
    }
    let mut rows = vec![store::update(before, after)];
    if !after.is_charge() {
        rows.push(parent::settle(before, after));
    }
    if matches!(after.state, State::Declined | State::NotSent)
        && let Some(note) = &after.details.risk
    {
        rows.extend(note.give_back(after.money));
        if after.state == State::NotSent {
            rows.extend(note.uncount());
        }
    }
    if after.state == State::Approved {
        rows.extend(books::entries(after, parent, app.clock.now()));
    }
    rows.extend(links::ended(after));
    rows.extend(subscribe::ended(app, after));
    rows.extend(follow_up(app, merchant, after, parent));
    if after.state != State::NotSent {
        rows.extend(news(app, after, parent));
    }
    rows
}

/// The charge whose events are told in order with this one's: what it follows, or what its subscription began with.
pub fn family(one: &Transaction, parent: Option<&Transaction>) -> TransactionId {
    let charge = parent.unwrap_or(one);
    let began = charge.details.subscription.as_ref().and_then(|share| share.first);
    began.or(charge.parent).unwrap_or(charge.id)
}

/// The event of a final result, part of its write.
pub fn news(app: &App, after: &Transaction, parent: Option<&Transaction>) -> Vec<Stmt> {
    let now = app.clock.now();
    webhook::record(&News {
        id: EventId::new(now, &app.random),
        caller: after.caller,
        transaction: after.id,
        first: family(after, parent),
        url: after.details.return_url.webhook_url.as_deref(),
        subscription: after.details.subscription.as_ref().map(|share| share.id),
        by_charge: true,
        now,
        due_at: app.database_now(),
    })
}

/// From PENDING to UNKNOWN: recovery has it from now on.
pub fn given_up(app: &App, before: &Transaction, after: &Transaction) -> Vec<Stmt> {
    let mut rows = vec![store::update(before, after)];
    rows.extend(parent::unknown(after));
    rows.push(jobs::enqueue(JobKind::Recover, after.id, app.database_now()));
    if after.details.waits.is_some() {
        // The redirect is no answer any more.
        rows.push(idempotency::unanswered(after.id));
    }
    rows
}

/// The jobs that begin or end with a final state.
fn follow_up(app: &App, merchant: &Merchant, after: &Transaction, parent: Option<&Transaction>) -> Vec<Stmt> {
    let mut rows = Vec::new();
    match (after.kind, after.state, parent) {
        (Kind::PreAuth, State::Approved, None) if after.money.minor > 0 => {
            rows.push(app.after(JobKind::Lapse, after.id, after.caller, merchant.hold_ms));
        }
        (Kind::Capture, State::Approved, Some(hold)) => {
            rows.push(jobs::remove(JobKind::Lapse, hold.id));
            if after.money.minor < hold.money.minor {
                rows.push(jobs::enqueue(JobKind::Release, after.id, app.database_now()));
            }
        }
        (Kind::Void, State::Approved, Some(hold)) => rows.push(jobs::remove(JobKind::Lapse, hold.id)),
        (Kind::Void, _, Some(hold)) if after.details.lapse => {
            // With a test clock after the time of this try, which may be long before now.
            rows.push(if app.directory.has_clock(after.caller) {
                app.later(JobKind::Lapse, hold.id, after.caller, after.created_at + LAPSE_AGAIN_MS)
            } else {
                app.after(JobKind::Lapse, hold.id, after.caller, LAPSE_AGAIN_MS)
            });
        }
        _ => {}
    }
    rows
}

/// Tries until the write is known to stand, or known to have lost, or the sweep may have taken the payment. `false`
/// means lost.
async fn written(app: &App, intent: &Transaction, after: &Transaction, writes: Vec<Stmt>) -> Result<bool, Error> {
    let mut pause_ms = 20;
    let mut unsure = false;
    loop {
        let failure = match app.db.write(writes.clone()).await {
            Ok(Written::Applied(_)) => {
                app.nudge.notify_one();
                return Ok(true);
            }
            // Our own row, written by a try whose answer was lost?
            Ok(Written::GuardFailed(_)) if unsure => {
                let now = store::reread(&app.db, intent.id).await?;
                // Only an approval can be nobody else's: a decline or an unknown result may be recovery's.
                return Ok(now.is_some_and(|now| now.state == State::Approved && now.state == after.state));
            }
            Ok(Written::GuardFailed(0)) => return Ok(false),
            // The intent stands, and what its parent or its jobs say does not fit: nobody may guess.
            Ok(Written::GuardFailed(_)) => {
                return Err(Error::internal("an outcome does not fit its parent; the sweep will settle it"));
            }
            Ok(Written::Ambiguous) => Error::internal("the database was lost during COMMIT"),
            Err(error) => error,
        };
        unsure = true;
        if intent.settle_after.is_some_and(|limit| app.database_now() + 2 * pause_ms >= limit) {
            return Err(failure.context("an outcome could not be written; the sweep will settle it"));
        }
        tracing::warn!(cause = failure.cause(), transaction = %intent.id, "an outcome's write is tried again");
        app.clock.sleep(u64::try_from(pause_ms).unwrap_or(20)).await;
        pause_ms = (pause_ms * 2).min(1_000);
    }
}

/// The sweep took the intent first: whatever the bank said is recorded, and recovery makes it good. The caller of a charge
/// is told the one thing that will be true (ERR1010); of what follows one, that the result is not known yet (ERR1016).
async fn lost_to_the_sweep(flow: &Flow<'_>, reply: Reply) -> Result<Answer, Error> {
    let (app, intent) = (flow.app, flow.intent);
    let now = late_answer(app, intent.id, (flow.number, true), reply).await?;
    if now.state == State::Pending {
        return Err(Error::internal("an outcome's write was refused although its intent stands"));
    }
    if now.state == State::NotSent {
        return Err(Error::new(Code::Err1011));
    }
    let answer = envelope::answer(&now, flow.merchant, flow.request_id);
    if flow.claim.is_none() || now.state == State::Unknown && !now.is_charge() {
        return Ok(answer);
    }
    // The key's first answer is the one that every repeat gets.
    match app.db.write(vec![idempotency::first_answer(intent.id, &answer)]).await? {
        Written::Applied(rows) => match rows.first() {
            Some(row) => Ok(Answer::new(answer.status, row.text(0)?.to_owned())),
            None => Ok(answer),
        },
        Written::GuardFailed(_) | Written::Ambiguous => Err(Error::internal("the database was lost")),
    }
}

/// An answer that came when the transaction was no longer the asker's to end. It is recorded; an approval of what has
/// ended otherwise, which no bank should send, makes the transaction unknown again, and recovery asks once more. The
/// transaction as it stands then. `charges`: the message with the number is no reversal.
pub async fn late_answer(
    app: &App,
    id: TransactionId,
    (number, charges): (i64, bool),
    reply: Reply,
) -> Result<Transaction, Error> {
    tracing::warn!(transaction = %id, "an answer came after the transaction was given up");
    let mut failure = Error::internal("a late answer could not be recorded");
    for pause_ms in [0, 20, 100, 500, 2_000] {
        app.clock.sleep(pause_ms).await;
        let found = match store::reread(&app.db, id).await {
            Ok(found) => found.ok_or_else(|| Error::internal("a transaction is gone"))?,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        // A reversal's approval says that nothing stands.
        let stands = reply.answered == Answered::Approved && (charges || !found.is_charge());
        let mut writes = if stands && matches!(found.state, State::Reversed | State::Declined) {
            reopen(app, &found)
        } else {
            // As it was read: what ends at this moment has to be looked at once more.
            let sql = "SELECT 1 FROM transactions WHERE id = $1 AND state = $2 {for_share}";
            vec![Stmt::new(sql, args![id, found.state as i64]).exactly(1)]
        };
        writes.push(attempts::answered(id, number, reply, app.clock.now()));
        match app.db.write(writes).await {
            Ok(Written::Applied(_)) => {
                return store::reread(&app.db, id).await?.ok_or_else(|| Error::internal("a transaction is gone"));
            }
            Ok(Written::GuardFailed(_) | Written::Ambiguous) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn reopen(app: &App, found: &Transaction) -> Vec<Stmt> {
    tracing::error!(transaction = %found.id, "the bank approved what was given up: it is settled again");
    let code = if found.is_charge() { Code::Err1010 } else { Code::Err1016 };
    let mut rows = vec![
        Stmt::new(
            "UPDATE transactions SET state = $2, code = $4 WHERE id = $1 AND state = $3",
            args![found.id, State::Unknown as i64, found.state as i64, code.name()],
        )
        .exactly(1),
        jobs::enqueue(JobKind::Recover, found.id, app.database_now()),
    ];
    if !found.is_charge() {
        rows.push(parent::take_again(found));
        rows.extend(found.details.risk.iter().flat_map(|note| note.take_again(found.money)));
        rows.push(idempotency::reopen(found.id));
    }
    rows
}
