//! A charge from end to end: purchase, authorization, and the zero-amount verification that stores a card. The story of
//! the whole program; it runs in a task of its own, so a client that hangs up changes nothing.

use super::idempotency::{self, Claim};
use super::state::{Event, apply};
use super::tokens::{self, StoredCard};
use super::transaction::{Details, Kind, Source, State, Transaction};
use super::{Answer, envelope, store};
use crate::acquirer::{Acquirer, Ask, Initiator, Operation, Outcome, Reason, StoredCredential};
use crate::app::App;
use crate::card::{Card, Cvc, contains_number};
use crate::codes::Code;
use crate::db::{Stmt, Written};
use crate::directory::{Caller, Merchant};
use crate::error::{Error, FieldError};
use crate::id::{TokenId, TransactionId};
use crate::json::Node;
use crate::money::Money;
use crate::vault::{Bound, Owner};
use std::sync::Arc;

/// How much longer than the acquirer's deadline a payment is left alone before the sweep takes it, milliseconds: room
/// for the outcome's write and for clocks that differ.
const MARGIN_MS: i64 = 2_000;

/// Which message the money asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Purchase,
    Authorization,
    /// Stores a card; the answer shows the token instead of the transaction.
    StoreCard,
}

pub enum CardSource {
    /// A card in the request, its cvc for this one message, and whether to store it.
    Card {
        card: Card,
        cvc: Option<Cvc>,
        store: bool,
    },
    Token(TokenId),
}

pub struct ChargeRequest {
    pub caller: Caller,
    pub merchant: Arc<Merchant>,
    pub purpose: Purpose,
    pub money: Money,
    pub initiator: Initiator,
    pub reason: Reason,
    pub merchant_txn_ref: Option<String>,
    pub details: Details,
    pub claim: Option<Claim>,
    pub request_id: String,
    /// The request as it came: for a token its texts are searched for the card's own number.
    pub body: Node,
}

/// The card in memory, for one message to the bank.
struct Instrument {
    card: Card,
    cvc: Option<Cvc>,
    /// The token that was charged, with what its row says.
    stored: Option<StoredCard>,
    /// The token that is made if the charge is approved.
    to_store: Option<TokenId>,
}

pub async fn charge(app: &App, request: ChargeRequest, source: CardSource) -> Result<Answer, Error> {
    if let Some(answer) = look_up(app, &request).await? {
        return Ok(answer);
    }
    let acquirer = app.acquirer(request.caller.live).ok_or_else(|| Error::new(Code::Err1015))?;
    let instrument = instrument(app, &request, source).await?;
    let Some(intent) = write_intent(app, &request, &instrument, acquirer.as_ref()).await? else {
        // Another request took the key between our look-up and our write.
        return look_up(app, &request).await?.ok_or_else(|| Error::new(Code::Err1008));
    };
    refuse_stale(app, &intent, acquirer.as_ref())?;
    let outcome = send(app, &request, &instrument, &intent, acquirer.as_ref()).await;
    write_outcome(app, &request, &instrument, &intent, outcome).await
}

async fn look_up(app: &App, request: &ChargeRequest) -> Result<Option<Answer>, Error> {
    match &request.claim {
        Some(claim) => idempotency::look_up(app, claim).await,
        None => Ok(None),
    }
}

/// Brings the card into memory: the request's own, or the token's, opened.
async fn instrument(app: &App, request: &ChargeRequest, source: CardSource) -> Result<Instrument, Error> {
    match source {
        CardSource::Card { card, cvc, store } => {
            let to_store = store.then(|| TokenId::new(&app.random));
            Ok(Instrument { card, cvc, stored: None, to_store })
        }
        CardSource::Token(id) => {
            let stored = tokens::for_charge(app, request.caller, id, &request.merchant.id).await?;
            let stored = stored.ok_or_else(|| Error::new(Code::Err1003))?;
            let card = stored.open(&app.vault, request.caller)?;
            refuse_own_number(&request.body, &card)?;
            if request.initiator == Initiator::Merchant && stored.network_transaction_id.is_none() {
                return Err(Error::field(
                    "payment_method.initiator",
                    "first_charge_must_be_customer",
                    "This merchant has not charged this card yet: its first charge must be the customer's.",
                ));
            }
            Ok(Instrument { card, cvc: None, stored: Some(stored), to_store: None })
        }
    }
}

fn refuse_own_number(body: &Node, card: &Card) -> Result<(), Error> {
    let mut wrong = Vec::new();
    body.each_text("", &mut |path, text| {
        if contains_number(text, &card.pan) {
            let message = "This text contains the card's number. Remove it: it would be stored in the clear.";
            wrong.push(FieldError::new(path, "contains_card_number", message));
        }
    });
    if wrong.is_empty() { Ok(()) } else { Err(Error::fields(wrong)) }
}

/// Durable before money moves: the transaction, the message that is about to go, and the key's claim. `None` when the
/// key was taken meanwhile.
async fn write_intent(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    acquirer: &dyn Acquirer,
) -> Result<Option<Transaction>, Error> {
    let mut intent = draft(app, request, instrument, acquirer);
    let bound =
        Bound { entity: request.caller.entity, live: request.caller.live, owner: Owner::Transaction(intent.id) };
    let sealed = app.vault.seal(&bound, &instrument.card.pan)?;
    let reference = intent.id.to_string();
    let mut writes = Vec::with_capacity(4);
    if let Some(claim) = &request.claim {
        writes.push(claim.insert(intent.id, app.clock.now()));
    }
    if let Some(stored) = &instrument.stored {
        writes.push(tokens::still_there(stored.id, request.caller));
    }
    writes.push(store::insert(&intent, sealed)?);
    writes.push(store::insert_attempt(intent.id, acquirer.name(), &reference, intent.created_at));
    match app.db.write(writes).await? {
        Written::Applied(rows) => {
            // The token's guard answers with a row of its own; the number is the last row's.
            intent.reference = rows.last().map_or(Ok(0), |row| row.int(0))?;
            Ok(Some(intent))
        }
        Written::GuardFailed(0) if request.claim.is_some() => Ok(None),
        Written::GuardFailed(_) => Err(Error::new(Code::Err1003)),
        // Never sent: if the intent is there after all, the sweep reverses it.
        Written::Ambiguous => Err(Error::internal("the database was lost while an intent was being written")),
    }
}

/// An intent that waited long for its write may already be the sweep's: then nothing is sent, and the sweep ends it.
fn refuse_stale(app: &App, intent: &Transaction, acquirer: &dyn Acquirer) -> Result<(), Error> {
    let deadline_ms = i64::try_from(acquirer.abilities().deadline_ms).unwrap_or(i64::MAX / 4);
    let late = intent.settle_after.is_some_and(|limit| app.database_now() + deadline_ms >= limit);
    if late { Err(Error::internal("an intent's write took too long: nothing was sent")) } else { Ok(()) }
}

fn draft(app: &App, request: &ChargeRequest, instrument: &Instrument, acquirer: &dyn Acquirer) -> Transaction {
    let now = app.clock.now();
    let deadline_ms = i64::try_from(acquirer.abilities().deadline_ms).unwrap_or(i64::MAX / 4);
    let stored = instrument.stored.as_ref();
    Transaction {
        id: TransactionId::new(now, &app.random),
        reference: 0,
        caller: request.caller,
        merchant_id: request.merchant.id.clone(),
        kind: if request.purpose == Purpose::Purchase { Kind::Capture } else { Kind::PreAuth },
        state: State::Pending,
        created_at: now,
        settle_after: Some(app.database_now() + deadline_ms + MARGIN_MS),
        money: request.money,
        merchant_txn_ref: request.merchant_txn_ref.clone(),
        scheme: instrument.card.pan.scheme(),
        masked: instrument.card.pan.masked(),
        card_name: instrument.card.name.clone(),
        expiry: instrument.card.expiry,
        token: stored.map(|stored| stored.id).or(instrument.to_store),
        source: if stored.is_some() { Source::Token } else { Source::Card },
        initiator: request.initiator,
        details: request.details.clone(),
        code: None,
        response_code: None,
        auth_code: None,
        network_transaction_id: None,
    }
}

/// The call to the bank: no transaction is open, no lock is held. Silence past the deadline is unknown, not a decline.
async fn send(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    intent: &Transaction,
    acquirer: &dyn Acquirer,
) -> Outcome {
    let reference = intent.id.to_string();
    let earlier = instrument.stored.as_ref().and_then(|stored| stored.network_transaction_id.as_deref());
    let stored_credential =
        (instrument.stored.is_some() || instrument.to_store.is_some()).then_some(StoredCredential {
            initiator: request.initiator,
            reason: request.reason,
            network_transaction_id: earlier,
            from_vault: instrument.stored.is_some(),
        });
    let ask = Ask {
        reference: &reference,
        money: intent.money,
        pan: &instrument.card.pan,
        expiry: instrument.card.expiry,
        cvc: instrument.cvc.as_ref(),
        stored_credential,
    };
    let operation = match request.purpose {
        Purpose::Purchase => Operation::Purchase(ask),
        Purpose::Authorization => Operation::Authorize(ask),
        Purpose::StoreCard => Operation::Verify(ask),
    };
    let deadline_ms = acquirer.abilities().deadline_ms;
    app.clock
        .within(deadline_ms, acquirer.send(operation))
        .await
        .unwrap_or(Outcome::Unknown { why: "no answer in time" })
}

/// Transaction, attempt, token and answer in one write, guarded on the intent still standing.
async fn write_outcome(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    intent: &Transaction,
    outcome: Outcome,
) -> Result<Answer, Error> {
    let now = app.clock.now();
    let (event, result, response_code) = event_of(app, &outcome);
    let after = apply(intent, event).map_err(|_| Error::internal("an intent is not pending"))?;
    let answer = answer_of(app, request, instrument, &after)?;
    let mut writes = vec![store::update(intent, &after), store::attempt_result(intent.id, result, response_code, now)];
    if after.state == State::Approved {
        writes.extend(token_rows(app, request, instrument, &after)?);
    }
    if let Some(claim) = &request.claim {
        writes.push(match after.state {
            State::NotSent => claim.release(intent.id),
            state => claim.answered(intent.id, &answer, state != State::Unknown),
        });
    }
    if !written(app, intent, &after, writes).await? {
        return lost_to_the_sweep(app, request, intent, result, response_code).await;
    }
    tracing::info!(
        transaction = %after.id,
        state = after.state.name(),
        response_code = after.response_code,
        request = request.request_id,
        "charge"
    );
    metrics::counter!("fuda_charges_total", "state" => after.state.name()).increment(1);
    if after.state == State::NotSent { Err(Error::new(Code::Err1011)) } else { Ok(answer) }
}

/// The event, and what the attempt's row keeps of the answer.
fn event_of(app: &App, outcome: &Outcome) -> (Event, i64, Option<i64>) {
    match outcome {
        Outcome::Approved(approval) => {
            (Event::Approved(approval.clone()), store::RESULT_APPROVED, Some(approval.response_code))
        }
        Outcome::Declined { response_code } => {
            (Event::Declined { response_code: *response_code }, store::RESULT_DECLINED, Some(*response_code))
        }
        Outcome::NotSent { .. } => (Event::NotSent, store::RESULT_NOT_SENT, None),
        Outcome::Unknown { .. } => (Event::NoAnswer { at: app.database_now() }, store::RESULT_UNKNOWN, None),
    }
}

fn answer_of(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    after: &Transaction,
) -> Result<Answer, Error> {
    match (request.purpose, after.state, instrument.to_store) {
        (Purpose::StoreCard, State::Approved, Some(token)) => {
            tokens::stored_answer(app, request.caller, token, &instrument.card, after)
        }
        _ => Ok(envelope::answer(after, &request.merchant, &request.request_id)),
    }
}

fn token_rows(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    after: &Transaction,
) -> Result<Vec<Stmt>, Error> {
    let network = after.network_transaction_id.as_deref();
    match (&instrument.stored, instrument.to_store) {
        (Some(stored), _) => Ok(stored.used(&request.merchant.id, network, app.clock.now())),
        (None, Some(id)) => tokens::insert(app, id, &instrument.card, after),
        (None, None) => Ok(Vec::new()),
    }
}

/// Tries until the write is known to stand, or known to have lost, or the sweep may have taken the payment. `false`
/// means lost.
async fn written(app: &App, intent: &Transaction, after: &Transaction, writes: Vec<Stmt>) -> Result<bool, Error> {
    let mut pause_ms = 20;
    let mut unsure = false;
    loop {
        let failure = match app.db.write(writes.clone()).await {
            Ok(Written::Applied(_)) => return Ok(true),
            // Our own row, written by a try whose answer was lost?
            Ok(Written::GuardFailed(_)) if unsure => {
                let now = store::reread(app, intent.id).await?;
                return Ok(now.is_some_and(|now| now.state == after.state && now.auth_code == after.auth_code));
            }
            Ok(Written::GuardFailed(_)) => return Ok(false),
            Ok(Written::Ambiguous) => Error::internal("the database was lost during COMMIT"),
            Err(error) => error,
        };
        unsure = true;
        if intent.settle_after.is_some_and(|limit| app.database_now() + 2 * pause_ms >= limit) {
            return Err(failure.context("an outcome could not be written; the sweep will reverse the charge"));
        }
        tracing::warn!(cause = failure.cause(), transaction = %intent.id, "an outcome's write is tried again");
        app.clock.sleep(u64::try_from(pause_ms).unwrap_or(20)).await;
        pause_ms = (pause_ms * 2).min(1_000);
    }
}

/// The sweep took the payment first: whatever the bank said is recorded, the reversal undoes it, and the caller is told
/// the one thing that will be true (ERR1010).
async fn lost_to_the_sweep(
    app: &App,
    request: &ChargeRequest,
    intent: &Transaction,
    result: i64,
    response_code: Option<i64>,
) -> Result<Answer, Error> {
    let mut writes = vec![store::attempt_result(intent.id, result, response_code, app.clock.now())];
    if result == store::RESULT_APPROVED {
        // The bank may have acted after the reversal was confirmed: it is reversed once more.
        writes.push(store::reopen(intent.id, app.database_now()));
    }
    app.db.write(writes).await?;
    let now = store::reread(app, intent.id).await?.ok_or_else(|| Error::internal("an intent is gone"))?;
    if now.state == State::Pending {
        return Err(Error::internal("an outcome's write was refused although its intent stands"));
    }
    tracing::warn!(transaction = %intent.id, "an answer came after the payment was given up: it is being reversed");
    let answer = envelope::answer(&now, &request.merchant, &request.request_id);
    if request.claim.is_none() {
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
