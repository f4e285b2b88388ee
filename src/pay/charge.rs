//! A charge from end to end: purchase, authorization, and the zero-amount verification that stores a card. The story of
//! the whole program; it runs in a task of its own, so a client that hangs up changes nothing.

use super::attempts::{self, Message, Sent};
use super::authenticate::{self, Asked};
use super::idempotency;
use super::instrument::{self, Instrument};
use super::line::{self, Line, Lines};
use super::means::Means;
use super::outcome::{self, Flow};
use super::refusal::Refusal;
use super::request::{CardSource, ChargeRequest};
use super::stored::{self, StoredCard};
use super::transaction::{Source, State, Transaction, Waits};
use super::{Answer, links, store, subscribe, waiting, wallet};
use crate::acquirer::Outcome;
use crate::app::App;
use crate::codes::Code;
use crate::db::Written;
use crate::error::Error;
use crate::id::TransactionId;
use crate::jobs;
use crate::risk::{self, Carded, Verdict};
use crate::threeds::Authenticated;
use crate::vault::{Bound, Owner};
use std::net::IpAddr;

pub async fn charge(app: &App, request: ChargeRequest, source: CardSource) -> Result<Answer, Error> {
    if let Some(answer) = idempotency::replay(app, request.claim.as_ref()).await? {
        return Ok(answer);
    }
    let currency = request.money.currency;
    let Lines { first, second } = line::choose(app, request.caller, &request.merchant.id, currency, request.fault)?;
    let mut instrument = instrument::bring(app, &request, source).await?;
    if instrument.means.card().is_none() && !first.abilities().accounts {
        return Err(Error::new(Code::Err1015));
    }
    let (intent, sent) = match begin(app, &request, &mut instrument, &first).await? {
        Begun::Intent(intent, sent) => (*intent, sent),
        Begun::Waiting(answer) | Begun::Refused(answer) => return Ok(answer),
        // Another request took the key between our look-up and our write.
        Begun::KeyTaken => {
            return idempotency::replay(app, request.claim.as_ref()).await?.ok_or_else(|| Error::new(Code::Err1008));
        }
    };
    finish(app, &request, &instrument, &intent, Way { sent, second }).await
}

/// The message whose row stands in the intent's write, and who is asked when its acquirer is not reached.
pub struct Way {
    pub sent: Sent,
    pub second: Option<Line>,
}

/// From a durable intent to its end.
pub async fn finish(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    intent: &Transaction,
    Way { mut sent, second }: Way,
) -> Result<Answer, Error> {
    attempts::refuse_stale(app, intent, sent.line.abilities().charge_ms)?;
    let mut intent = intent.clone();
    let mut answered = instrument::send(app, request, instrument, &intent, &sent).await;
    if let (Outcome::NotSent { why }, Some(line)) = (&answered, second)
        && let Some((longer, other)) = attempts::elsewhere(app, &intent, &sent, line).await?
    {
        tracing::warn!(why, transaction = %intent.id, acquirer = other.line.acquirer.name(), "the second acquirer is asked");
        (intent, sent) = (longer, other);
        attempts::refuse_stale(app, &intent, sent.line.abilities().charge_ms)?;
        answered = instrument::send(app, request, instrument, &intent, &sent).await;
    }
    let flow = Flow {
        app,
        merchant: &request.merchant,
        request_id: &request.request_id,
        claim: request.claim.as_ref(),
        intent: &intent,
        number: sent.number,
        parent: None,
    };
    outcome::conclude(&flow, answered, |after| instrument::ended(app, request, instrument, after)).await
}

enum Begun {
    Intent(Box<Transaction>, Sent),
    /// The cardholder's browser has to go somewhere first: the answer says where.
    Waiting(Answer),
    Refused(Answer),
    KeyTaken,
}

/// May it go on? Then the intent is written; if not, its refusal is.
async fn begin(app: &App, request: &ChargeRequest, instrument: &mut Instrument, line: &Line) -> Result<Begun, Error> {
    let ip = risk::public_ip(request.details.customer_ip.as_deref());
    // A stored card has been tried before: testing cards by their tokens would test nothing.
    if let (None, Some(card)) = (&instrument.stored, instrument.means.card())
        && let Some(seconds) = app.risk.slowed(&app.db, request.caller, &card.pan, ip, app.database_now()).await?
    {
        return Err(Error::new(Code::Val0007).retry_after(seconds));
    }
    if let Some(from) = &instrument.wallet
        && from.once.seen(&app.db).await?
    {
        return Err(wallet::replayed(request, from.wallet));
    }
    let verdict = judged(app, request, &instrument.means, ip).await?;
    let mut intent = draft(app, request, instrument).await?;
    subscribe::agree(request, &mut intent)?;
    intent.details.risk = verdict.note.kept();
    let code = match verdict.code {
        Some(code) => Some(code),
        None if instrument.means.unasked() => {
            let waits = waiting::consent(app, request, &intent).await?;
            wait(instrument, &mut intent, waits);
            None
        }
        None => authenticated(app, request, instrument, &mut intent).await?,
    };
    let (intent, code) = match code {
        Some(code) => (intent, code),
        None => match write_intent(app, request, instrument, intent, verdict, line).await? {
            Intent::Waiting(intent) => return Ok(Begun::Waiting(waiting::answer(app, &intent))),
            Intent::Written(intent, sent) => return Ok(Begun::Intent(intent, sent)),
            Intent::KeyTaken => return Ok(Begun::KeyTaken),
            Intent::Refused(intent, code) => (*intent, code),
        },
    };
    let claim = request.claim.as_ref();
    // A number that its issuer does not confirm was tried as one that it declines.
    let refused = intent.details.three_d_secure.as_ref().is_some_and(Authenticated::refuses);
    let mut rows = if refused { instrument.counts_as_declined(app, &intent) } else { Vec::new() };
    rows.extend(subscribe::refused(app, request, &intent));
    let (merchant, request_id) = (&request.merchant, request.request_id.as_str());
    let refusal = Refusal { app, merchant, request_id, claim, parent: None, rows };
    Ok(refusal.record(intent, code).await?.map_or(Begun::KeyTaken, Begun::Refused))
}

/// Asks the issuer, where that is wanted. The code that ends the charge, if that is what came of it.
async fn authenticated(
    app: &App,
    request: &ChargeRequest,
    instrument: &mut Instrument,
    intent: &mut Transaction,
) -> Result<Option<Code>, Error> {
    let Some(card) = instrument.means.card().filter(|_| instrument.device().is_none()) else { return Ok(None) };
    match authenticate::ask(app, request, card, intent).await? {
        Asked::GoOn(result) => {
            intent.details.three_d_secure = result;
            Ok(None)
        }
        Asked::Failed(result) => {
            intent.details.three_d_secure = Some(result);
            Ok(Some(Code::Err1009))
        }
        Asked::Challenge(waits) => {
            wait(instrument, intent, waits);
            Ok(None)
        }
    }
}

/// The cardholder is somewhere else for a while: nothing is sent, and the cvc is not kept so long.
fn wait(instrument: &mut Instrument, intent: &mut Transaction, waits: Waits) {
    instrument.cvc = None;
    intent.state = State::Waiting;
    intent.details.waits = Some(waits);
}

async fn judged(app: &App, request: &ChargeRequest, means: &Means, ip: Option<IpAddr>) -> Result<Verdict, Error> {
    let caller = request.caller;
    if !app.risk.judges(caller) {
        return Ok(Verdict::default());
    }
    let fingerprint = means.fingerprint(app, caller);
    let pan = means.card().map(|card| &card.pan);
    let bin = pan.and_then(|pan| app.bins.find(pan)).unwrap_or_default();
    let charge = risk::Charge {
        caller,
        merchant_id: &request.merchant.id,
        money: request.money,
        card: pan.map(|pan| Carded { pan, fingerprint: &fingerprint }),
        ip,
        country: bin.country.as_deref(),
        issuer_country: bin.issuer_country.as_deref().or(bin.country.as_deref()),
        now: app.database_now(),
    };
    app.risk.assess(&app.db, &charge).await
}

enum Intent {
    Written(Box<Transaction>, Sent),
    Waiting(Box<Transaction>),
    KeyTaken,
    /// A count had no room; nothing was written.
    Refused(Box<Transaction>, Code),
}

/// Durable before money moves: the key's claim, what the rules count, the transaction, and the message that is about to go.
async fn write_intent(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    mut intent: Transaction,
    verdict: Verdict,
    line: &Line,
) -> Result<Intent, Error> {
    let bound =
        Bound { entity: request.caller.entity, live: request.caller.live, owner: Owner::Transaction(intent.id) };
    // What follows an account's payment goes by the payment's own reference.
    let sealed = instrument.means.card().map(|card| app.vault.seal(&bound, &card.pan)).transpose()?;
    let mut sent = None;
    if intent.state == State::Pending {
        sent = Some(Sent::now(app, line.clone()).await?);
        // The issuer's answer took its time; the bank's begins now.
        intent.settle_after = Some(attempts::settle_after(app, line.abilities().charge_ms));
    }
    let mut writes = Vec::with_capacity(4);
    if let Some(claim) = &request.claim {
        writes.push(claim.insert(intent.id, app.clock.now()));
    }
    if let Some(stored) = &instrument.stored {
        writes.push(stored::still_there(stored.id, request.caller));
    }
    if let Some(from) = &instrument.wallet {
        writes.push(from.once.insert());
    }
    let taken_at = request.subscription.as_ref().map(|_| writes.len());
    writes.extend(subscribe::begun(request, intent.token, &intent)?);
    let mut link_at = None;
    if let Some(link) = request.details.link {
        link_at = Some(writes.len());
        writes.extend(links::begin(link, intent.id, app.time(request.caller).await?));
    }
    let counts = writes.len();
    writes.extend(verdict.writes());
    writes.push(store::insert(&intent, sealed)?);
    if let Some(waits) = &intent.details.waits {
        writes.push(app.later(jobs::Kind::Abandon, intent.id, request.caller, waits.until));
        let claim = request.claim.as_ref();
        writes.extend(claim.map(|claim| claim.redirected(intent.id, &waiting::answer(app, &intent))));
    }
    writes.extend(sent.iter().map(|sent| attempts::first(intent.id, sent.tag(), Message::Charge)));
    match app.db.write(writes).await? {
        Written::Applied(rows) => {
            // The token's guard answers with a row of its own; the number is the last row's.
            intent.reference = rows.last().map_or(Ok(0), |row| row.int(0))?;
            let intent = Box::new(intent);
            Ok(match sent {
                Some(sent) => Intent::Written(intent, sent),
                None => Intent::Waiting(intent),
            })
        }
        Written::GuardFailed(0) if request.claim.is_some() => Ok(Intent::KeyTaken),
        Written::GuardFailed(at) if Some(at) == link_at => Err(Error::new(Code::Err1014)),
        // Somebody has changed the subscription since it was read.
        Written::GuardFailed(at) if Some(at) == taken_at => Err(Error::new(Code::Err1005)),
        Written::GuardFailed(at) => match at.checked_sub(counts).and_then(|at| verdict.refused_at(at)) {
            Some((code, note)) => {
                intent.details.risk = Some(note);
                Ok(Intent::Refused(Box::new(intent), code))
            }
            None => Err(match &instrument.wallet {
                Some(from) => wallet::replayed(request, from.wallet),
                None => Error::new(Code::Err1003),
            }),
        },
        // Nothing was sent: if it stands, its cardholder can go on.
        Written::Ambiguous if intent.state == State::Waiting => match store::reread(&app.db, intent.id).await? {
            Some(found) => Ok(Intent::Waiting(Box::new(found))),
            None => Err(Error::internal("the database was lost while a waiting charge was being written")),
        },
        // Never sent: if the intent is there after all, the sweep reverses it.
        Written::Ambiguous => Err(Error::internal("the database was lost while an intent was being written")),
    }
}

pub async fn draft(app: &App, request: &ChargeRequest, instrument: &Instrument) -> Result<Transaction, Error> {
    let now = app.clock.now();
    let created_at = match request.at {
        Some(at) => at,
        None => now + app.ahead(request.caller).await?,
    };
    let stored = instrument.stored.as_ref();
    let mut details = request.details.clone();
    details.vault_key = stored.map(StoredCard::key_id);
    details.wallet = instrument.wallet.as_ref().map(|from| from.wallet);
    Ok(Transaction {
        id: TransactionId::new(now, &app.random),
        reference: 0,
        caller: request.caller,
        merchant_id: request.merchant.id.clone(),
        kind: request.purpose.kind(request.money),
        state: State::Pending,
        created_at,
        settle_after: None,
        money: request.money,
        merchant_txn_ref: request.merchant_txn_ref.clone(),
        scheme: instrument.means.scheme(),
        masked: instrument.means.masked(),
        card_name: instrument.means.name().to_owned(),
        expiry: instrument.means.expiry(),
        token: stored.map(|stored| stored.id).or(instrument.to_store),
        source: if stored.is_some() { Source::Token } else { Source::Card },
        initiator: request.initiator,
        details,
        code: None,
        response_code: None,
        auth_code: None,
        network_transaction_id: None,
        parent: None,
        captured_minor: 0,
        refund_reserved_minor: 0,
        refunded_minor: 0,
        unresolved: 0,
    })
}
