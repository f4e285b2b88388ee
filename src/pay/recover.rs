//! Transactions without a known result. A sweep every second, in every process, takes intents that are past their
//! `settle_after` by a guarded write, so that a payment that is still running is never touched; from then on a job finds
//! out what the bank did, or undoes it, until the bank confirms. A charge is reversed; a capture, refund or void is
//! repeated under its reference or inquired about, as the acquirer can.

use super::attempts::{self, Again, Answered, Message, Reply, Sent};
use super::follow;
use super::original::Referred;
use super::state::{Event, apply};
use super::transaction::{Kind, State, Transaction};
use super::{envelope, idempotency, outcome, store};
use crate::acquirer::{Abilities, Follow, Operation, Outcome, Reversal, Settling};
use crate::app::App;
use crate::audit::Deed;
use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::directory::Merchant;
use crate::error::Error;
use crate::id::{self, TransactionId};
use crate::jobs::{self, Job, Kind as JobKind};
use std::sync::Arc;

/// How many intents one sweep takes; the rest is a second older when the next one comes.
const TAKEN_AT_ONCE: i64 = 256;

/// Waits between tries, seconds; the last one repeats until the bank answers or an operator settles it.
const BACKOFF_S: [i64; 9] = [1, 2, 5, 15, 60, 300, 900, 1_800, 3_600];

/// When a result that does not fit its parent is tried again, milliseconds: people have to look first.
const MISFIT_MS: i64 = 60 * 60 * 1000;

/// What says that this message could not be worked on, not what became of the first one: error, re-enter, format error, and
/// hosts that are out of order. The first answer of an idempotent host is none of them for long: it is asked again.
pub const MALFUNCTIONS: [i64; 7] = [6, 19, 30, 91, 92, 96, 99];

/// Where a guard on the charge's approval stands in the write that ends it: behind the job's and the transaction's own.
const APPROVAL: usize = 2;

/// The response code of what an operator settles as not done: "no action taken".
const NO_ACTION: i64 = 20;

/// Makes what a crash left due at once: only for a process that knows itself to be alone.
pub async fn adopt(app: &App) -> Result<(), Error> {
    let sql = "UPDATE transactions SET settle_after = $1 WHERE settle_after > $1";
    let intents = Stmt::new(sql, args![app.database_now()]);
    let leases = Stmt::new("UPDATE jobs SET run_at = due_at WHERE run_at > due_at", vec![]);
    let clocks = Stmt::new("UPDATE test_clocks SET moving_until = 0 WHERE moving_until > 0", vec![]);
    app.db.write(vec![intents, leases, clocks]).await?;
    Ok(())
}

/// Gives up the intents that are past their time: from now on recovery has them.
pub async fn sweep(app: &App) -> Result<(), Error> {
    let mut running = tokio::task::JoinSet::new();
    for id in store::overdue(app, app.database_now(), TAKEN_AT_ONCE).await? {
        let app = app.clone();
        running.spawn(async move {
            if let Err(error) = give_up(&app, id).await {
                tracing::error!(cause = error.cause(), transaction = %id, "an intent could not be given up");
            }
        });
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn give_up(app: &App, id: TransactionId) -> Result<(), Error> {
    let Some(found) = store::reread(&app.db, id).await? else { return Ok(()) };
    let Ok(after) = apply(&found, Event::NoAnswer) else { return Ok(()) };
    // When a guard fails its flow was faster, has gone on to another acquirer, or another process was faster.
    let overdue = "SELECT 1 FROM transactions WHERE id = $1 AND settle_after <= $2 {for_share}";
    let mut writes = vec![Stmt::new(overdue, args![id, app.database_now()]).exactly(1)];
    writes.extend(outcome::given_up(app, &found, &after));
    app.db.write(writes).await?;
    Ok(())
}

/// Money without a known result, in one currency.
pub struct AtRisk {
    pub currency: String,
    pub count: i64,
    pub amount_minor: i64,
    /// When the oldest began.
    pub oldest: i64,
}

pub async fn unsettled(db: &Db) -> Result<Vec<AtRisk>, Error> {
    let sql = "SELECT currency, COUNT(*), CAST(SUM(amount_minor) AS BIGINT), MIN(created_at) FROM transactions \
               WHERE state = 2 GROUP BY currency";
    let read = |row: &Row| {
        Ok(AtRisk {
            currency: row.text(0)?.to_owned(),
            count: row.int(1)?,
            amount_minor: row.int(2)?,
            oldest: row.int(3)?,
        })
    };
    db.rows(sql, vec![]).await?.iter().map(read).collect()
}

/// The job: one try to find out, or to undo.
pub async fn recover(app: &App, job: &Job) -> Result<(), Error> {
    let found = store::reread(&app.db, job.transaction()).await?.filter(|found| found.state == State::Unknown);
    let Some(found) = found else {
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    };
    let sent = attempts::sent(app, &found).await?;
    let case = Case { app, job, found: &found, sent };
    if found.is_charge() {
        return case.reverse().await;
    }
    let abilities = case.sent.line.abilities();
    let settling = match found.kind {
        Kind::Refund => abilities.refund,
        Kind::Void => abilities.void,
        Kind::Capture | Kind::PreAuth => abilities.capture,
    };
    // Hosts forget a message's name after a while, and would do it twice.
    let forgotten = app.clock.now().saturating_sub(case.sent.sent_at) > abilities.remembers_ms;
    match settling {
        Settling::Repeat if !forgotten => case.repeat(abilities).await,
        Settling::Inquire => case.inquire(true).await,
        Settling::Repeat | Settling::Operator => {
            tracing::error!(transaction = %found.id, "the bank cannot be asked: settle it by `fuda transactions resolve`");
            app.db.write(vec![job.done()]).await?;
            Ok(())
        }
    }
}

/// One transaction in the hands of one job.
struct Case<'a> {
    app: &'a App,
    job: &'a Job,
    found: &'a Transaction,
    /// Its first message.
    sent: Sent,
}

impl Case<'_> {
    /// Undone when the bank says so (0, 79). "Not found" proves nothing while the original may still be on its way.
    async fn reverse(&self) -> Result<(), Error> {
        let about = Referred::to(self.app, self.found).await?;
        let reference = format!("{}-r", self.found.id);
        let again = attempts::again(self.app, self.found, &self.sent.line, Message::Reversal).await?;
        // A repeat gets the answer that was given to the first of its name.
        let too_late = self.too_late_to_act(again.sent.sent_at);
        let reversal = Reversal { named: again.sent.named(again.tries), original: about.original() };
        let asked = self.ask(&again, Message::Reversal, &reference, Operation::Reverse(reversal)).await?;
        let Some((number, reply, _)) = asked else { return Ok(()) };
        let declined = (reply.answered == Answered::Declined).then_some(reply.response_code).flatten();
        let undone = match declined {
            None => reply.answered == Answered::Approved,
            Some(79) => true,
            // It undid the charge when it was asked before, and would find it if it stood again: unless it looks by a card
            // number, which was erased with a first end.
            Some(25) if self.sent.approved => {
                let names_all = about.original().card.is_some() || !self.sent.line.abilities().names_cards;
                names_all && attempts::undone_once(&self.app.db, self.found.id).await?
            }
            Some(25) => too_late,
            Some(_) => false,
        };
        if undone {
            return self.settle(Event::Reversed, number, reply).await;
        }
        if self.sent.approved && declined.is_some() {
            tracing::error!(transaction = %self.found.id, "the bank approved it late and does not undo it: look there");
        }
        // Not believed only because it was first asked so early: the next one is new.
        let old = declined == Some(25) && again.tries > 0 && self.too_late_to_act(self.app.clock.now());
        self.postpone(number, reply, if old { 1 } else { self.job.attempts }).await
    }

    /// The same message under the same reference: the host's first answer to it is its answer to this one.
    async fn repeat(&self, abilities: Abilities) -> Result<(), Error> {
        let parent = self.found.parent.ok_or_else(|| Error::internal("what follows nothing cannot be repeated"))?;
        let parent = store::reread(&self.app.db, parent).await?;
        let about =
            Referred::to(self.app, &parent.ok_or_else(|| Error::internal("a transaction's parent is gone"))?).await?;
        let reference = self.found.id.to_string();
        let message = Message::of(self.found.kind, false);
        let again = attempts::again(self.app, self.found, &self.sent.line, message).await?;
        let (named, original) = (again.sent.named(again.tries), about.original());
        let follow = Follow { reference: &reference, named, original, money: self.found.money };
        let operation = follow::operation(self.found.kind, follow);
        let asked = self.ask(&again, message, &reference, operation).await?;
        let Some((number, reply, outcome)) = asked else { return Ok(()) };
        match outcome {
            Outcome::Approved(approval) => self.settle(Event::Approved(approval), number, reply).await,
            Outcome::Declined { response_code } if !MALFUNCTIONS.contains(&response_code) => {
                self.settle(Event::Declined { response_code }, number, reply).await
            }
            // Perhaps the host knows it and will not say so twice (94).
            Outcome::Unknown { .. } if abilities.inquire => {
                self.app.db.write(vec![attempts::answered(self.found.id, number, reply, self.app.clock.now())]).await?;
                self.inquire(false).await
            }
            _ => self.postpone(number, reply, self.job.attempts).await,
        }
    }

    /// What became of it. "Not known" is an answer only once no message of it can still arrive: never after a repeat, which
    /// may be on its way just now.
    async fn inquire(&self, sent_once: bool) -> Result<(), Error> {
        let reference = self.found.id.to_string();
        let operation = Operation::Inquire { reference: &reference };
        let again = Again { sent: Sent::now(self.app, self.sent.line.clone()).await?, tries: 0 };
        let too_late = self.too_late_to_act(again.sent.sent_at);
        let asked = self.ask(&again, Message::Inquiry, &reference, operation).await?;
        let Some((number, reply, outcome)) = asked else { return Ok(()) };
        match outcome {
            Outcome::Approved(approval) => self.settle(Event::Approved(approval), number, reply).await,
            Outcome::Declined { response_code: 25 } if sent_once && too_late => {
                self.settle(Event::Declined { response_code: 25 }, number, reply).await
            }
            Outcome::Declined { response_code } if response_code != 25 && !MALFUNCTIONS.contains(&response_code) => {
                self.settle(Event::Declined { response_code }, number, reply).await
            }
            _ => self.postpone(number, reply, self.job.attempts).await,
        }
    }

    /// Whether the host could no longer act on the first message, however late it is, when it was asked.
    fn too_late_to_act(&self, asked_at: Millis) -> bool {
        let abilities = self.sent.line.abilities();
        let deadline_ms = i64::try_from(abilities.longest_ms()).unwrap_or(i64::MAX / 4);
        // Not since it began: what waited for its cardholder was sent up to half an hour later.
        asked_at - self.sent.sent_at >= deadline_ms + abilities.greatest_lateness_ms
    }

    /// The message's row, durable before it goes, and the answer. `None` when another worker has the job by now, or what
    /// is repeated has an answer by now: it comes again when its lease ends.
    async fn ask(
        &self,
        again: &Again,
        message: Message,
        reference: &str,
        operation: Operation<'_>,
    ) -> Result<Option<(i64, Reply, Outcome)>, Error> {
        let attempt = again.row(self.found.id, message, reference, self.app.clock.now());
        let mut writes = vec![self.job.still_held()];
        if message == Message::Reversal {
            writes.extend(again.unanswered(self.found.id));
        }
        writes.push(attempt);
        let Written::Applied(rows) = self.app.db.write(writes).await? else {
            return Ok(None);
        };
        let number = rows.last().map_or(Ok(0), |row| row.int(0))?;
        let outcome = attempts::ask(self.app, again.sent.line.acquirer.as_ref(), operation).await;
        Ok(Some((number, Reply::of(&outcome), outcome)))
    }

    /// The end: the same rows as any outcome's, and the answer that the key gives from now on.
    async fn settle(&self, event: Event, number: i64, reply: Reply) -> Result<(), Error> {
        let mut writes = vec![self.job.done()];
        let attempt = attempts::answered(self.found.id, number, reply, self.app.clock.now());
        let (state, rows) = ending(self.app, self.found, event).await?;
        writes.extend(rows);
        writes.push(attempt);
        let undone = self.found.is_charge() && !self.sent.approved;
        if undone {
            // Behind the transaction's own row: whoever writes an approval has to wait for that one.
            writes.insert(APPROVAL, attempts::not_approved(self.found.id, self.sent.number));
        }
        match self.app.db.write(writes).await? {
            Written::Applied(_) => {
                tracing::info!(transaction = %self.found.id, state = state.name(), "settled");
                metrics::counter!("fuda_settled_total", "state" => state.name()).increment(1);
                Ok(())
            }
            // Somebody else has ended it: another worker, or an operator.
            Written::GuardFailed(0 | 1) => {
                outcome::late_answer(self.app, self.found.id, (number, false), reply).await.map(|_| ())
            }
            Written::GuardFailed(APPROVAL) if undone => {
                tracing::warn!(transaction = %self.found.id, "its approval came while it was being undone: it is undone once more");
                self.postpone(number, reply, 1).await
            }
            Written::GuardFailed(_) => {
                tracing::error!(transaction = %self.found.id, "what the bank did does not fit its parent: look at both");
                let attempt = attempts::answered(self.found.id, number, reply, self.app.clock.now());
                let again = self.job.postpone(self.app.database_now() + MISFIT_MS);
                self.app.db.write(vec![again, attempt]).await?;
                Ok(())
            }
            Written::Ambiguous => Err(Error::internal("the database was lost while a result was being written")),
        }
    }

    /// As after so many tries.
    async fn postpone(&self, number: i64, reply: Reply, tries: i64) -> Result<(), Error> {
        let attempt = attempts::answered(self.found.id, number, reply, self.app.clock.now());
        let again = self.app.database_now() + backoff_ms(tries);
        self.app.db.write(vec![self.job.postpone(again), attempt]).await?;
        Ok(())
    }
}

/// After so many tries of a job.
pub fn backoff_ms(attempts: i64) -> i64 {
    let tries = usize::try_from(attempts - 1).unwrap_or(0).min(BACKOFF_S.len() - 1);
    BACKOFF_S[tries] * 1_000
}

/// The rows that end an unknown transaction, the guarded one first, and its final state.
pub async fn ending(app: &App, found: &Transaction, event: Event) -> Result<(State, Vec<Stmt>), Error> {
    let after = apply(found, event).map_err(|_| Error::internal("a result for what is not unknown"))?;
    let merchant = merchant(app, found)?;
    let parent = match found.parent {
        Some(id) => store::reread(&app.db, id).await?,
        None => None,
    };
    let request_id = id::request_id(app.clock.now(), &app.random);
    let answer = envelope::answer(&after, &merchant, &request_id);
    let mut rows = outcome::rows(app, &merchant, found, &after, parent.as_ref());
    rows.push(idempotency::settle(found.id, &answer));
    Ok((after.state, rows))
}

pub fn merchant(app: &App, transaction: &Transaction) -> Result<Arc<Merchant>, Error> {
    let merchant = app.directory.merchant(transaction.caller, &transaction.merchant_id);
    merchant.ok_or_else(|| Error::internal("a transaction's merchant is gone"))
}

/// What an operator knows from the bank, where the bank's computer will not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing stands at the bank.
    Reversed,
    /// The capture, refund or void took place. A charge without an answer can never become approved (contract 10).
    Approved,
}

/// Settles by hand what no bank will answer; audited.
///
/// # Errors
/// In words for the command line: not unknown, or a charge as approved.
pub async fn resolve(app: &App, id: TransactionId, verdict: Verdict, who: &str, reason: &str) -> Result<State, Error> {
    let found = store::reread(&app.db, id).await?.ok_or_else(|| Error::internal("there is no such transaction"))?;
    if found.state != State::Unknown {
        let text = format!("the transaction is {}: only UNKNOWN ones are settled by hand", found.state.name());
        return Err(Error::internal(text));
    }
    let event = match (verdict, found.is_charge()) {
        (Verdict::Reversed, true) => Event::Reversed,
        (Verdict::Reversed, false) => Event::Declined { response_code: NO_ACTION },
        (Verdict::Approved, false) => {
            let approval =
                crate::acquirer::Approval { response_code: 0, auth_code: None, network_transaction_id: None };
            Event::Approved(approval)
        }
        (Verdict::Approved, true) => {
            let text = "a charge without an answer was promised never to become approved (ERR1010): have the bank \
                        reverse it, then settle it --as reversed";
            return Err(Error::internal(text));
        }
    };
    let (state, mut writes) = ending(app, &found, event).await?;
    writes.push(jobs::remove(JobKind::Recover, id));
    let subject = id.to_string();
    let detail = format!("{}: {reason}", state.name());
    let deed = Deed { who, action: "transaction.resolve", subject: &subject, detail: &detail };
    writes.push(deed.insert(app.clock.now()));
    match app.db.write(writes).await? {
        Written::Applied(_) => Ok(state),
        Written::GuardFailed(_) => Err(Error::internal("the transaction, or what it follows, has changed: look again")),
        Written::Ambiguous => Err(Error::internal("the database was lost: look whether it is settled")),
    }
}
