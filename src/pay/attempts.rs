//! One row for each message to an acquirer, written before it goes, with what a reversal needs to name it.

use super::line::{self, Line};
use super::transaction::{Kind, Transaction};
use crate::acquirer::{Acquirer, Late, Named, Operation, Outcome, Trace};
use crate::app::App;
use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::error::Error;
use crate::id::TransactionId;

/// How much longer than the acquirer's deadline an intent is left alone before the sweep takes it, milliseconds: room for
/// the outcome's write and for clocks that differ.
const MARGIN_MS: i64 = 2_000;

/// When the sweep may take an intent that is written now.
pub fn settle_after(app: &App, deadline_ms: u64) -> i64 {
    app.database_now() + i64::try_from(deadline_ms).unwrap_or(i64::MAX / 4) + MARGIN_MS
}

/// An intent that waited long for its write may already be the sweep's: then nothing is sent, and the sweep ends it.
pub fn refuse_stale(app: &App, intent: &Transaction, deadline_ms: u64) -> Result<(), Error> {
    let late = intent.settle_after.is_some_and(|limit| settle_after(app, deadline_ms) >= limit + MARGIN_MS);
    if late { Err(Error::internal("an intent's write took too long: nothing was sent")) } else { Ok(()) }
}

/// What was sent. The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Charge = 1,
    Reversal = 2,
    Capture = 3,
    Refund = 4,
    Void = 5,
    Inquiry = 6,
    Release = 7,
}

const MESSAGES: [Message; 7] = [
    Message::Charge,
    Message::Reversal,
    Message::Capture,
    Message::Refund,
    Message::Void,
    Message::Inquiry,
    Message::Release,
];

impl Message {
    /// What a transaction of this kind sends first, and repeats.
    pub fn of(kind: Kind, charge: bool) -> Message {
        match kind {
            _ if charge => Message::Charge,
            Kind::Refund => Message::Refund,
            Kind::Void => Message::Void,
            Kind::Capture | Kind::PreAuth => Message::Capture,
        }
    }
}

/// What came back. The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Approved = 1,
    Declined = 2,
    Unknown = 3,
    NotSent = 4,
}

const ANSWERS: [Answered; 4] = [Answered::Approved, Answered::Declined, Answered::Unknown, Answered::NotSent];

/// What an attempt's row keeps of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub answered: Answered,
    pub response_code: Option<i64>,
}

impl Reply {
    pub fn of(outcome: &Outcome) -> Reply {
        match outcome {
            Outcome::Approved(approval) => {
                Reply { answered: Answered::Approved, response_code: Some(approval.response_code) }
            }
            Outcome::Declined { response_code } => {
                Reply { answered: Answered::Declined, response_code: Some(*response_code) }
            }
            Outcome::Unknown { .. } => Reply { answered: Answered::Unknown, response_code: None },
            Outcome::NotSent { .. } => Reply { answered: Answered::NotSent, response_code: None },
        }
    }
}

/// A message that goes, or went: what its row keeps of it beside the answer.
pub struct Sent {
    pub number: i64,
    pub line: Line,
    pub sent_at: Millis,
    pub trace: Option<Trace>,
    /// It is known to stand at the acquirer; its answer may have come late.
    pub approved: bool,
}

impl Sent {
    /// The next message along a line, sent now.
    pub async fn now(app: &App, line: Line) -> Result<Sent, Error> {
        let sent_at = app.clock.now();
        let trace = line.acquirer.trace(sent_at).await?;
        Ok(Sent { number: 1, line, sent_at, trace, approved: false })
    }

    /// As its host knows it; `tries`: how often it may have gone before.
    pub fn named(&self, tries: u32) -> Option<Named<'_>> {
        let route = self.line.route.as_ref()?;
        self.trace.as_ref().map(|trace| Named { trace, acceptor: &route.acceptor, tries })
    }

    pub fn tag(&self) -> Tag<'_> {
        let (acquirer, route_id) = (self.line.acquirer.name(), self.line.route.as_ref().map(|route| route.id));
        Tag { acquirer, route_id, sent_at: self.sent_at, trace: self.trace.as_ref() }
    }
}

/// Where a message goes and what names it there, as its row keeps it.
#[derive(Clone, Copy)]
pub struct Tag<'a> {
    pub acquirer: &'a str,
    pub route_id: Option<i64>,
    pub sent_at: Millis,
    pub trace: Option<&'a Trace>,
}

/// The first message, in the intent's write.
pub fn first(id: TransactionId, tag: Tag<'_>, message: Message) -> Stmt {
    Stmt::new(
        "INSERT INTO attempts (transaction_id, number, acquirer, operation, reference, sent_at, route_id, stan, rrn) \
         VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            id,
            tag.acquirer,
            message as i64,
            id.to_string(),
            tag.sent_at,
            tag.route_id,
            tag.trace.map(|trace| trace.stan),
            tag.trace.map(|trace| trace.rrn.as_str())
        ],
    )
}

/// One more message; answers with its number. A repeat goes by the trace of what it repeats.
pub fn next(id: TransactionId, tag: Tag<'_>, message: Message, reference: &str, now: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO attempts (transaction_id, number, acquirer, operation, reference, sent_at, route_id, stan, rrn) \
         SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5, CAST($6 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS TEXT) \
         FROM attempts WHERE transaction_id = $1 RETURNING number",
        args![
            id,
            tag.acquirer,
            message as i64,
            reference,
            now,
            tag.route_id,
            tag.trace.map(|trace| trace.stan),
            tag.trace.map(|trace| trace.rrn.as_str())
        ],
    )
    .exactly(1)
}

/// The message that stands for what a transaction asked of its acquirer: its charge's last, since another acquirer is asked only
/// when the one before was not reached; of what follows a charge the first, since later ones repeat it.
pub async fn sent(app: &App, transaction: &Transaction) -> Result<Sent, Error> {
    let message = Message::of(transaction.kind, transaction.is_charge());
    let found = look(app, transaction, message, 0).await?;
    let rows = if transaction.is_charge() { found.last() } else { found.first() };
    let row = rows.ok_or_else(|| Error::internal("a transaction was sent without an attempt"))?;
    of_row(app, transaction, row).await
}

/// A message that may be one more of its kind.
pub struct Again {
    pub sent: Sent,
    /// How often it may have gone before.
    pub tries: u32,
}

impl Again {
    /// Its row. What goes for the first time stands there with the very time by which it is named.
    pub fn row(&self, id: TransactionId, message: Message, reference: &str, now: Millis) -> Stmt {
        next(id, self.sent.tag(), message, reference, if self.tries == 0 { self.sent.sent_at } else { now })
    }

    /// A guard: the reversal that is repeated has no answer, also not one that has just come.
    pub fn unanswered(&self, id: TransactionId) -> Option<Stmt> {
        let sql = "SELECT 1 FROM attempts WHERE transaction_id = $1 AND number = $2 AND NOT EXISTS (SELECT 1 FROM attempts \
                   WHERE transaction_id = $1 AND number >= $2 AND operation = 2 AND result IN (1, 2))";
        (self.tries > 0).then(|| Stmt::new(sql, args![id, self.sent.number]).exactly(1))
    }
}

/// The same message once more: by what names the first that may have reached its acquirer. The first of its kind goes along the
/// line of what it is about, by a name of its own. So does a reversal behind one that was answered: a host says its first answer to
/// a repeat again, and that answer may be older than what is to be undone.
pub async fn again(app: &App, about: &Transaction, line: &Line, message: Message) -> Result<Again, Error> {
    let answered = if message == Message::Reversal { last_answered(app, about, message).await? } else { 0 };
    let found = look(app, about, message, answered).await?;
    match found.first().filter(|row| !matches!(row.opt_int(7), Ok(Some(NOT_SENT)))) {
        Some(first) => {
            let tries = u32::try_from(first.int(6)?).unwrap_or(u32::MAX);
            Ok(Again { sent: of_row(app, about, first).await?, tries })
        }
        None => Ok(Again { sent: Sent::now(app, line.clone()).await?, tries: 0 }),
    }
}

/// As rows have it: [`Answered::NotSent`].
const NOT_SENT: i64 = Answered::NotSent as i64;

async fn last_answered(app: &App, transaction: &Transaction, message: Message) -> Result<i64, Error> {
    let sql = "SELECT COALESCE(MAX(number), 0) FROM attempts WHERE transaction_id = $1 AND operation = $2 AND result IN (1, 2)";
    let rows = app.db.rows(sql, args![transaction.id, message as i64]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// Whether the acquirer has said of a reversal that it undid the charge.
pub async fn undone_once(db: &Db, id: TransactionId) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM attempts WHERE transaction_id = $1 AND operation = 2 AND result = 1 LIMIT 1";
    Ok(!db.rows(sql, args![id]).await?.is_empty())
}

/// Of those behind the number `after`: the first message of its kind that may have reached the acquirer, and the last of all, with
/// how many of the kind may have. The time is that of the name, even where what first bore it is known by now not to have gone.
async fn look(app: &App, transaction: &Transaction, message: Message, after: i64) -> Result<Vec<Row>, Error> {
    let sql = "SELECT a.number, a.acquirer, a.route_id, COALESCE((SELECT MIN(sent_at) FROM attempts AS n \
               WHERE n.transaction_id = $1 AND n.operation = $2 AND n.acquirer = a.acquirer AND n.rrn = a.rrn), a.sent_at), \
               a.stan, a.rrn, k.tries, a.result FROM attempts AS a JOIN ( \
               SELECT MIN(CASE WHEN result = 4 THEN NULL ELSE number END) AS first, MAX(number) AS last, \
               SUM(CASE WHEN result = 4 THEN 0 ELSE 1 END) AS tries \
               FROM attempts WHERE transaction_id = $1 AND operation = $2 AND number > $3) AS k ON a.number IN (k.first, k.last) \
               WHERE a.transaction_id = $1 ORDER BY a.number";
    app.db.rows(sql, args![transaction.id, message as i64, after]).await
}

fn trace(stan: Option<i64>, rrn: Option<&str>, sent_at: Millis) -> Option<Trace> {
    stan.zip(rrn).map(|(stan, rrn)| Trace { stan, rrn: rrn.to_owned(), sent_at })
}

async fn of_row(app: &App, transaction: &Transaction, row: &Row) -> Result<Sent, Error> {
    let sent_at = row.int(3)?;
    let trace = trace(row.opt_int(4)?, row.opt_text(5)?, sent_at);
    let line = line::of_attempt(app, transaction.caller.live, row.text(1)?, row.opt_int(2)?).await?;
    let approved = row.opt_int(7)? == Some(Answered::Approved as i64);
    Ok(Sent { number: row.int(0)?, line, sent_at, trace, approved })
}

/// Another acquirer is asked, now that the one before is known not to have been reached. The message, durable before it goes, and
/// the intent with its new time; `None` when the sweep has taken the intent, or there is an answer to the message before.
pub async fn elsewhere(
    app: &App,
    intent: &Transaction,
    before: &Sent,
    line: Line,
) -> Result<Option<(Transaction, Sent)>, Error> {
    let mut sent = match Sent::now(app, line).await {
        Ok(sent) => sent,
        Err(error) => {
            tracing::error!(cause = error.cause(), transaction = %intent.id, "the second acquirer cannot be asked");
            return Ok(None);
        }
    };
    let settle_after = settle_after(app, sent.line.abilities().charge_ms);
    let sql = "UPDATE transactions SET settle_after = $2 WHERE id = $1 AND state = 1";
    let refused = Reply { answered: Answered::NotSent, response_code: None };
    let writes = vec![
        Stmt::new(sql, args![intent.id, settle_after]).exactly(1),
        // One that has an answer after all was sent after all.
        answered(intent.id, before.number, refused, sent.sent_at).exactly(1),
        next(intent.id, sent.tag(), Message::Charge, &intent.id.to_string(), sent.sent_at),
    ];
    match app.db.write(writes).await? {
        Written::Applied(rows) => {
            sent.number = rows.last().map_or(Ok(0), |row| row.int(0))?;
            let intent = Transaction { settle_after: Some(settle_after), ..intent.clone() };
            Ok(Some((intent, sent)))
        }
        Written::GuardFailed(_) => Ok(None),
        Written::Ambiguous => Err(Error::internal("the database was lost while another acquirer was being asked")),
    }
}

/// What came back. An answer that is known is not forgotten for silence: it may have come late, and been written first. Of two
/// answers to one message, which no host should give, an approval stands: there may be money behind it.
pub fn answered(id: TransactionId, number: i64, reply: Reply, now: Millis) -> Stmt {
    Stmt::new(
        "UPDATE attempts SET result = $3, response_code = $4, answered_at = $5 \
         WHERE transaction_id = $1 AND number = $2 AND (result IS NULL OR result = 3 OR result = 2 AND CAST($3 AS BIGINT) = 1)",
        args![id, number, reply.answered as i64, reply.response_code, now],
    )
}

/// A guard: this message of a charge has no approval, also not one that has just come.
pub fn not_approved(id: TransactionId, number: i64) -> Stmt {
    let sql = "SELECT 1 FROM attempts WHERE transaction_id = $1 AND number = $2 AND (result IS NULL OR result <> 1)";
    Stmt::new(sql, args![id, number]).exactly(1)
}

/// Whose message a late answer is about: transaction, number, and what was sent. Of repeats under one trace the last one without
/// an answer. A reversal may go by the retrieval reference number of what it reverses. `None`: nothing that we know went by this trace.
pub async fn named(app: &App, acquirer: &str, late: &Late) -> Result<Option<(TransactionId, i64, Message)>, Error> {
    let sql = "SELECT a.transaction_id, a.number, a.operation FROM attempts AS named JOIN attempts AS a \
               ON a.transaction_id = named.transaction_id AND a.acquirer = $1 AND a.stan = $2 \
               WHERE named.acquirer = $1 AND named.rrn = $3 \
               ORDER BY CASE WHEN a.result IS NULL OR a.result = 3 THEN 0 ELSE 1 END, a.number DESC LIMIT 200";
    for row in app.db.rows(sql, args![acquirer, late.stan, late.rrn.as_str()]).await? {
        let operation = row.int(2)?;
        let message = MESSAGES.into_iter().find(|message| *message as i64 == operation);
        if let Some(message) =
            message.filter(|message| late.reversal.is_none_or(|reversal| reversal == (*message == Message::Reversal)))
        {
            let id = TransactionId::from_bytes(row.bytes(0)?);
            let id = id.ok_or_else(|| Error::internal("an attempt's transaction has no id"))?;
            return Ok(Some((id, row.int(1)?, message)));
        }
    }
    Ok(None)
}

/// The transaction that asked for what an acquirer calls by this retrieval reference number.
pub async fn called(db: &Db, acquirer: &str, rrn: &str) -> Result<Option<TransactionId>, Error> {
    let sql = "SELECT transaction_id FROM attempts WHERE acquirer = $1 AND rrn = $2 AND operation <> 2 AND operation <> 7 \
               LIMIT 1";
    let rows = db.rows(sql, args![acquirer, rrn]).await?;
    Ok(rows.first().map(|row| row.bytes(0)).transpose()?.and_then(TransactionId::from_bytes))
}

/// Whether anything ever went to an acquirer of this name, by a trace number.
pub async fn ever(db: &Db, acquirer: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM attempts WHERE acquirer = $1 AND rrn IS NOT NULL LIMIT 1";
    Ok(!db.rows(sql, args![acquirer]).await?.is_empty())
}

/// The acquirer that was asked for it, and by which trace: the first that may have been reached.
pub async fn asked(db: &Db, id: TransactionId) -> Result<Option<(String, Option<Trace>)>, Error> {
    let sql = "SELECT acquirer, stan, rrn, sent_at FROM attempts WHERE transaction_id = $1 \
               AND (result IS NULL OR result <> 4) ORDER BY number LIMIT 1";
    let rows = db.rows(sql, args![id]).await?;
    let read = |row: &Row| Ok((row.text(0)?.to_owned(), trace(row.opt_int(1)?, row.opt_text(2)?, row.int(3)?)));
    rows.first().map(read).transpose()
}

/// One message to the bank and its answer: no transaction is open, no lock is held. Silence past the deadline is unknown,
/// not a decline.
pub async fn ask(app: &App, acquirer: &dyn Acquirer, operation: Operation<'_>) -> Outcome {
    let deadline_ms = acquirer.abilities().deadline_ms(&operation);
    let answered = app.clock.within(deadline_ms, acquirer.send(operation)).await;
    if let Some(Outcome::NotSent { why }) = answered {
        let acquirer = acquirer.name().to_owned();
        tracing::warn!(acquirer, why, "not sent");
        metrics::counter!("fuda_not_sent_total", "acquirer" => acquirer, "why" => why).increment(1);
    }
    answered.unwrap_or(Outcome::Unknown { why: "no answer in time" })
}

/// One attempt, for those who tell its story.
pub struct Attempt {
    pub message: Option<Message>,
    pub acquirer: String,
    pub reference: String,
    /// Where its acquirer goes by such.
    pub trace: Option<Trace>,
    pub sent_at: Millis,
    pub answered: Option<Answered>,
    pub response_code: Option<i64>,
    pub answered_at: Option<Millis>,
}

/// All messages of a transaction in order; at most 200, the first ones of a host that was gone for weeks.
pub async fn of_transaction(app: &App, id: TransactionId) -> Result<Vec<Attempt>, Error> {
    let sql = "SELECT operation, acquirer, reference, sent_at, result, response_code, answered_at, stan, rrn FROM attempts \
               WHERE transaction_id = $1 ORDER BY number LIMIT 200";
    let read = |row: &Row| {
        let (operation, result) = (row.int(0)?, row.opt_int(4)?);
        Ok(Attempt {
            message: MESSAGES.into_iter().find(|message| *message as i64 == operation),
            acquirer: row.text(1)?.to_owned(),
            reference: row.text(2)?.to_owned(),
            trace: trace(row.opt_int(7)?, row.opt_text(8)?, row.int(3)?),
            sent_at: row.int(3)?,
            answered: ANSWERS.into_iter().find(|answer| Some(*answer as i64) == result),
            response_code: row.opt_int(5)?,
            answered_at: row.opt_int(6)?,
        })
    };
    app.db.rows(sql, args![id]).await?.iter().map(read).collect()
}
