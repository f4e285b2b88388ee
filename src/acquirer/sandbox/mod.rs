//! The sandbox bank: deterministic answers by card number (contract section 12) and books of its own in one file apart
//! from the gateway's, as a bank's are. What it approves is written before it answers.

mod books;
mod cards;

pub use books::{MIGRATIONS, Record, RecordKind};

use super::updater::Updater;
use super::{Abilities, Acquirer, Approval, Ask, BoxFuture, Follow, Funding, Operation, Outcome, Settling, Trace};
use crate::acceptor::SANDBOX;
use crate::card::{Card, Expiry};
use crate::clock::{Clock, Millis};
use crate::db::{Db, Durability, Row, Stmt, Written, args};
use crate::error::Error;
use crate::random::Random;
use books::*;
use cards::Behaviour;
use std::path::Path;

/// How long its answers are waited for, milliseconds.
const DEADLINE_MS: u64 = 3_000;

#[derive(Clone)]
pub struct Sandbox {
    books: Db,
    clock: Clock,
    random: Random,
}

impl Sandbox {
    /// Opens or makes the books. A killed process loses nothing that it wrote: the operating system has it, and the
    /// sandbox does not promise to survive a power cut.
    pub async fn open(path: &Path, clock: &Clock, random: &Random) -> Result<Sandbox, Error> {
        let books = Db::open_sqlite(path, Durability::Off)?;
        books.migrate(books::MIGRATIONS).await?;
        Ok(Sandbox { books, clock: clock.clone(), random: random.clone() })
    }

    /// The bank's own file: the issuer's side of the sandbox keeps its challenges there too.
    pub fn books(&self) -> Db {
        self.books.clone()
    }

    async fn charge(&self, kind: i64, ask: Ask<'_>) -> Outcome {
        let behaviour = cards::behaviour(kind == VERIFICATION, &ask);
        match behaviour {
            Behaviour::Refuse => return Outcome::NotSent { why: "connection refused" },
            Behaviour::Decline(response_code) => return Outcome::Declined { response_code },
            Behaviour::Approve | Behaviour::Silence => {}
        }
        let approval = match self.enter(kind, &ask).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(cause = error.cause(), "the sandbox bank cannot write its books");
                return Outcome::Unknown { why: "the sandbox bank cannot write its books" };
            }
        };
        if behaviour == Behaviour::Silence {
            std::future::pending::<()>().await;
        }
        approval
    }

    async fn enter(&self, kind: i64, ask: &Ask<'_>) -> Result<Outcome, Error> {
        let draw = u64::from_le_bytes(self.random.bytes());
        let auth_code = format!("{:06}", draw % 1_000_000);
        let network_transaction_id = format!("{:015}", (draw >> 20) % 1_000_000_000_000_000);
        let insert = Stmt::new(
            "INSERT INTO operations (reference, kind, state, masked, amount_minor, currency, auth_code, \
             network_transaction_id, created_at, rrn) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (reference) DO NOTHING",
            args![
                ask.reference,
                kind,
                APPROVED,
                paid_with(&ask.funding),
                ask.money.minor,
                ask.money.currency.code(),
                auth_code.as_str(),
                network_transaction_id.as_str(),
                self.clock.now(),
                ask.named.map(|named| named.trace.rrn.as_str())
            ],
        );
        match self.books.write(vec![insert.exactly(1)]).await? {
            Written::Applied(_) => Ok(approved(auth_code, network_transaction_id)),
            Written::GuardFailed(_) => self.earlier_answer(ask.reference).await,
            Written::Ambiguous => Ok(Outcome::Unknown { why: "the sandbox bank lost its books" }),
        }
    }

    /// What follows an earlier operation: the guard on that one's row decides, as a bank would. A repeat gets the first
    /// answer.
    async fn follow(&self, kind: i64, guard: &'static str, follow: Follow<'_>) -> Result<Outcome, Error> {
        let auth_code = format!("{:06}", u64::from_le_bytes(self.random.bytes()) % 1_000_000);
        let insert = |state: i64| {
            Stmt::new(
                "INSERT INTO operations (reference, kind, state, masked, amount_minor, currency, auth_code, \
                 network_transaction_id, created_at, original, rrn) VALUES ($1, $2, $3, '', $4, $5, $6, '', $7, $8, $9) \
                 ON CONFLICT (reference) DO NOTHING",
                args![
                    follow.reference,
                    kind,
                    state,
                    follow.money.minor,
                    follow.money.currency.code(),
                    auth_code.as_str(),
                    self.clock.now(),
                    follow.original.reference,
                    follow.named.map(|named| named.trace.rrn.as_str())
                ],
            )
        };
        let guard =
            Stmt::new(guard, args![follow.original.reference, follow.money.minor, follow.money.currency.code()]);
        match self.books.write(vec![insert(APPROVED).exactly(1), guard.exactly(1)]).await? {
            Written::Applied(_) => Ok(approved(auth_code, String::new())),
            Written::GuardFailed(0) => self.earlier_answer(follow.reference).await,
            Written::GuardFailed(_) => {
                // A decline stays one: a repeat must not find that the times have changed.
                self.books.write(vec![insert(DECLINED)]).await?;
                self.earlier_answer(follow.reference).await
            }
            Written::Ambiguous => Ok(Outcome::Unknown { why: "the sandbox bank lost its books" }),
        }
    }

    async fn inquire(&self, reference: &str) -> Result<Outcome, Error> {
        let rows = self.books.rows("SELECT 1 FROM operations WHERE reference = $1", args![reference]).await?;
        if rows.is_empty() { Ok(Outcome::Declined { response_code: 25 }) } else { self.earlier_answer(reference).await }
    }

    /// A repeat gets the first answer; one that was reversed before it came is declined.
    async fn earlier_answer(&self, reference: &str) -> Result<Outcome, Error> {
        let sql = "SELECT state, auth_code, network_transaction_id FROM operations WHERE reference = $1";
        let rows = self.books.rows(sql, args![reference]).await?;
        let row = rows.first().ok_or_else(|| Error::internal("the books lost a row"))?;
        match row.int(0)? {
            REVERSED => return Ok(Outcome::Declined { response_code: 79 }),
            // There was nothing of that amount to capture, refund or void.
            DECLINED => return Ok(Outcome::Declined { response_code: 12 }),
            _ => {}
        }
        Ok(approved(row.text(1)?.to_owned(), row.text(2)?.to_owned()))
    }

    async fn reverse(&self, original: &str) -> Result<Outcome, Error> {
        let upsert = Stmt::new(
            "INSERT INTO operations (reference, kind, state, masked, amount_minor, currency, auth_code, \
             network_transaction_id, created_at) VALUES ($1, $2, $3, '', 0, '', '', '', $4) \
             ON CONFLICT (reference) DO UPDATE SET state = $3 WHERE operations.state <> $3 RETURNING kind",
            args![original, NOTHING, REVERSED, self.clock.now()],
        );
        let answer = |response_code| {
            Outcome::Approved(Approval { response_code, auth_code: None, network_transaction_id: None })
        };
        match self.books.write(vec![upsert]).await? {
            Written::Applied(rows) => Ok(match rows.first().map(|row: &Row| row.int(0)).transpose()? {
                None => Outcome::Declined { response_code: 79 },
                Some(NOTHING) => Outcome::Declined { response_code: 25 },
                Some(_) => answer(0),
            }),
            Written::GuardFailed(_) | Written::Ambiguous => {
                Ok(Outcome::Unknown { why: "the sandbox bank lost its books" })
            }
        }
    }
}

/// As the books show it; an account by its wallet.
fn paid_with(funding: &Funding<'_>) -> String {
    match funding {
        Funding::Card { pan, .. } => pan.masked(),
        Funding::Account { wallet, .. } => wallet.name().to_owned(),
    }
}

fn approved(auth_code: String, network_transaction_id: String) -> Outcome {
    Outcome::Approved(Approval {
        response_code: 0,
        auth_code: Some(auth_code),
        network_transaction_id: Some(network_transaction_id),
    })
}

impl Acquirer for Sandbox {
    fn name(&self) -> &str {
        SANDBOX
    }

    fn live(&self) -> bool {
        false
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            charge_ms: DEADLINE_MS,
            follow_ms: DEADLINE_MS,
            reversal_ms: DEADLINE_MS,
            greatest_lateness_ms: 0,
            remembers_ms: i64::MAX,
            capture: Settling::Repeat,
            refund: Settling::Repeat,
            void: Settling::Repeat,
            inquire: true,
            releases_remainder: false,
            names_cards: false,
            accounts: true,
        }
    }

    fn trace(&self, _now: Millis) -> BoxFuture<'_, Result<Option<Trace>, Error>> {
        Box::pin(async { Ok(None) })
    }

    fn send<'a>(&'a self, operation: Operation<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let answered = match operation {
                Operation::Authorize(ask) => Ok(self.charge(HOLD, ask).await),
                Operation::Purchase(ask) => Ok(self.charge(PURCHASE, ask).await),
                Operation::Verify(ask) => Ok(self.charge(VERIFICATION, ask).await),
                Operation::Capture(follow) => self.follow(CAPTURE, CAPTURE_GUARD, follow).await,
                Operation::Refund(follow) => self.follow(REFUND, REFUND_GUARD, follow).await,
                Operation::Void(follow) => self.follow(VOID, VOID_GUARD, follow).await,
                Operation::Release(follow) => self.follow(RELEASE, RELEASE_GUARD, follow).await,
                Operation::Reverse(reversal) => self.reverse(reversal.original.reference).await,
                Operation::Inquire { reference } => self.inquire(reference).await,
            };
            answered.unwrap_or_else(|error| {
                tracing::error!(cause = error.cause(), "the sandbox bank cannot write its books");
                Outcome::Unknown { why: "the sandbox bank cannot write its books" }
            })
        })
    }
}

impl Updater for Sandbox {
    fn deadline_ms(&self) -> u64 {
        DEADLINE_MS
    }

    fn newer<'a>(&'a self, card: &'a Card) -> BoxFuture<'a, Result<Option<Expiry>, Error>> {
        Box::pin(async move { Ok(cards::newer(card)) })
    }
}
