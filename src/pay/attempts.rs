//! One row for each message to an acquirer, written before it goes, with what a reversal needs to name it.

use super::transaction::Kind;
use crate::acquirer::{Acquirer, Operation, Outcome};
use crate::app::App;
use crate::clock::Millis;
use crate::db::{Row, Stmt, args};
use crate::error::Error;
use crate::id::TransactionId;

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

/// The first message, in the intent's write.
pub fn first(id: TransactionId, acquirer: &'static str, message: Message, now: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO attempts (transaction_id, number, acquirer, operation, reference, sent_at) \
         VALUES ($1, 1, $2, $3, $4, $5)",
        args![id, acquirer, message as i64, id.to_string(), now],
    )
}

/// When the first message went.
pub async fn first_sent_at(app: &App, id: TransactionId) -> Result<Millis, Error> {
    let sql = "SELECT sent_at FROM attempts WHERE transaction_id = $1 AND number = 1";
    let rows = app.db.rows(sql, args![id]).await?;
    rows.first().ok_or_else(|| Error::internal("a transaction was sent without an attempt"))?.int(0)
}

/// One more message; answers with its number.
pub fn next(id: TransactionId, acquirer: &'static str, message: Message, reference: &str, now: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO attempts (transaction_id, number, acquirer, operation, reference, sent_at) \
         SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5 FROM attempts WHERE transaction_id = $1 \
         RETURNING number",
        args![id, acquirer, message as i64, reference, now],
    )
    .exactly(1)
}

pub fn answered(id: TransactionId, number: i64, reply: Reply, now: Millis) -> Stmt {
    Stmt::new(
        "UPDATE attempts SET result = $3, response_code = $4, answered_at = $5 \
         WHERE transaction_id = $1 AND number = $2",
        args![id, number, reply.answered as i64, reply.response_code, now],
    )
}

/// One message to the bank and its answer: no transaction is open, no lock is held. Silence past the deadline is unknown,
/// not a decline.
pub async fn ask(app: &App, acquirer: &dyn Acquirer, operation: Operation<'_>) -> Outcome {
    let answered = app.clock.within(acquirer.abilities().deadline_ms, acquirer.send(operation)).await;
    answered.unwrap_or(Outcome::Unknown { why: "no answer in time" })
}

/// One attempt, for those who tell its story.
pub struct Attempt {
    pub message: Option<Message>,
    pub acquirer: String,
    pub reference: String,
    pub sent_at: Millis,
    pub answered: Option<Answered>,
    pub response_code: Option<i64>,
    pub answered_at: Option<Millis>,
}

/// All messages of a transaction in order; at most 200, the first ones of a host that was gone for weeks.
pub async fn of_transaction(app: &App, id: TransactionId) -> Result<Vec<Attempt>, Error> {
    let sql = "SELECT operation, acquirer, reference, sent_at, result, response_code, answered_at FROM attempts \
               WHERE transaction_id = $1 ORDER BY number LIMIT 200";
    let read = |row: &Row| {
        let (operation, result) = (row.int(0)?, row.opt_int(4)?);
        Ok(Attempt {
            message: MESSAGES.into_iter().find(|message| *message as i64 == operation),
            acquirer: row.text(1)?.to_owned(),
            reference: row.text(2)?.to_owned(),
            sent_at: row.int(3)?,
            answered: ANSWERS.into_iter().find(|answer| Some(*answer as i64) == result),
            response_code: row.opt_int(5)?,
            answered_at: row.opt_int(6)?,
        })
    };
    app.db.rows(sql, args![id]).await?.iter().map(read).collect()
}
