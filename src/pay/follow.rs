//! What follows a charge: capture, refund, void. The same story as a charge, without a card: the balance that it takes is
//! reserved in the intent's write, on the row of what it follows.

use super::attempts::{self, Message, Sent};
use super::idempotency::{self, Claim};
use super::line::{self, Line};
use super::original::Referred;
use super::outcome::{self, Extra, Flow};
use super::refusal::Refusal;
use super::transaction::{Details, Kind, State, Transaction};
use super::{Answer, parent, store};
use crate::acquirer::faults::Fault;
use crate::acquirer::{Follow, Operation, Outcome};
use crate::app::App;
use crate::codes::Code;
use crate::db::Written;
use crate::directory::{Caller, Merchant};
use crate::error::Error;
use crate::id::TransactionId;
use crate::jobs::Job;
use crate::money::Money;
use crate::risk::Verdict;
use std::sync::Arc;

/// How often the parent is looked at again after another was faster; each time somebody else has got ahead.
const RACES: usize = 32;

pub struct FollowRequest {
    pub caller: Caller,
    pub merchant: Arc<Merchant>,
    /// Capture, refund or void.
    pub kind: Kind,
    /// What it follows.
    pub parent: TransactionId,
    /// Major units, as it was sent; a void takes the whole hold.
    pub amount: Option<String>,
    pub notes: Option<String>,
    pub claim: Option<Claim>,
    pub request_id: String,
    pub fault: Option<Fault>,
    /// The gateway's own void of a hold at its end: the job that asks for it ends in the intent's write.
    pub lapse: Option<Job>,
}

pub async fn follow(app: &App, request: FollowRequest) -> Result<Answer, Error> {
    if let Some(answer) = idempotency::replay(app, request.claim.as_ref()).await? {
        return Ok(answer);
    }
    for _ in 0..RACES {
        let parent = find(app, &request).await?;
        let money = money(&request, &parent)?;
        let draft = draft(app, &request, &parent, money).await?;
        let begun = match parent::check(&parent, request.kind, money) {
            Ok(()) => begin(app, &request, &parent, draft).await?,
            Err(Code::Err3019) => refuse(app, &request, &parent, draft, Code::Err3019).await?,
            Err(code) => return Err(Error::new(code)),
        };
        match begun {
            Begun::Intent(begun) => {
                let (intent, about, sent) = *begun;
                attempts::refuse_stale(app, &intent, sent.line.abilities().follow_ms)?;
                let answered = send(app, &intent, &about, &sent).await;
                let flow = Flow {
                    app,
                    merchant: &request.merchant,
                    request_id: &request.request_id,
                    claim: request.claim.as_ref(),
                    intent: &intent,
                    number: sent.number,
                    parent: Some(&parent),
                };
                return outcome::conclude(&flow, answered, |_| Ok(Extra::default())).await;
            }
            Begun::Refused(answer) => return Ok(answer),
            // Another request took the key between our look-up and our write.
            Begun::KeyTaken => {
                return idempotency::replay(app, request.claim.as_ref())
                    .await?
                    .ok_or_else(|| Error::new(Code::Err1008));
            }
            Begun::Raced => {}
        }
    }
    Err(Error::new(Code::Err1005))
}

/// Unknown, another entity's and another merchant's: one answer for the three (contract 4.2).
async fn find(app: &App, request: &FollowRequest) -> Result<Transaction, Error> {
    let found = store::find(app, request.caller, request.parent).await?;
    found.filter(|found| found.merchant_id == request.merchant.id).ok_or_else(|| Error::new(Code::Err1004))
}

/// In the parent's currency.
fn money(request: &FollowRequest, parent: &Transaction) -> Result<Money, Error> {
    match &request.amount {
        Some(text) => Money::parse(text, parent.money.currency)
            .map_err(|error| Error::field("amount", error.code(), error.message())),
        None => Ok(parent.money),
    }
}

async fn draft(app: &App, request: &FollowRequest, parent: &Transaction, money: Money) -> Result<Transaction, Error> {
    let now = app.clock.now();
    let due = match &request.lapse {
        Some(job) => app.due(job, request.caller).await?,
        None => None,
    };
    let created_at = match due {
        Some(due) => due,
        None => now + app.ahead(request.caller).await?,
    };
    let details = Details {
        notes: request.notes.clone(),
        lapse: request.lapse.is_some(),
        return_url: parent.details.return_url.clone(),
        wallet: parent.details.wallet,
        ..Details::default()
    };
    Ok(Transaction {
        id: TransactionId::new(now, &app.random),
        reference: 0,
        kind: request.kind,
        state: State::Pending,
        created_at,
        settle_after: None,
        money,
        token: None,
        details,
        code: None,
        response_code: None,
        network_transaction_id: None,
        parent: Some(parent.id),
        captured_minor: 0,
        refund_reserved_minor: 0,
        refunded_minor: 0,
        unresolved: 0,
        // Merchant, reference and card are the parent's, and so is the code that the issuer gave it.
        ..parent.clone()
    })
}

enum Begun {
    /// With what it is about, and its message.
    Intent(Box<(Transaction, Referred, Sent)>),
    Refused(Answer),
    KeyTaken,
    /// The parent is no longer as it was read.
    Raced,
}

/// Durable before money moves: the key's claim, the balance, the transaction, and the message that is about to go.
async fn write_intent(
    app: &App,
    request: &FollowRequest,
    parent: &Transaction,
    mut intent: Transaction,
    verdict: Verdict,
) -> Result<Begun, Error> {
    let about = Referred::to(app, parent).await?;
    let sent = Sent::now(app, along(app, request, &about)).await?;
    intent.settle_after = Some(attempts::settle_after(app, sent.line.abilities().follow_ms));
    let mut writes = Vec::with_capacity(6);
    if let Some(claim) = &request.claim {
        writes.push(claim.insert(intent.id, app.clock.now()));
    }
    if let Some(job) = &request.lapse {
        writes.push(job.done());
    }
    writes.push(parent::reserve(&intent));
    let counts = writes.len();
    writes.extend(verdict.writes());
    writes.push(store::insert(&intent, None)?);
    writes.push(attempts::first(intent.id, sent.tag(), Message::of(intent.kind, false)));
    match app.db.write(writes).await? {
        Written::Applied(rows) => {
            intent.reference = rows.last().map_or(Ok(0), |row| row.int(0))?;
            Ok(Begun::Intent(Box::new((intent, about, sent))))
        }
        Written::GuardFailed(0) if request.claim.is_some() => Ok(Begun::KeyTaken),
        Written::GuardFailed(at) => match at.checked_sub(counts).and_then(|at| verdict.refused_at(at)) {
            Some((code, note)) => {
                intent.details.risk = Some(note);
                refuse(app, request, parent, intent, code).await
            }
            None => Ok(Begun::Raced),
        },
        // Never sent: if the intent is there after all, the sweep settles it.
        Written::Ambiguous => Err(Error::internal("the database was lost while an intent was being written")),
    }
}

/// The key's final answer, from its one place.
async fn refuse(
    app: &App,
    request: &FollowRequest,
    parent: &Transaction,
    draft: Transaction,
    code: Code,
) -> Result<Begun, Error> {
    let claim = request.claim.as_ref();
    let refusal = Refusal {
        app,
        merchant: &request.merchant,
        request_id: &request.request_id,
        claim,
        parent: Some(parent),
        rows: Vec::new(),
    };
    Ok(refusal.record(draft, code).await?.map_or(Begun::KeyTaken, Begun::Refused))
}

/// A refund against its merchant's volumes; nothing else that follows a charge is judged.
async fn judged(app: &App, draft: &Transaction) -> Result<Verdict, Error> {
    if draft.kind != Kind::Refund {
        return Ok(Verdict::default());
    }
    app.risk.assess_refund(&app.db, draft.caller, &draft.merchant_id, draft.money, app.database_now()).await
}

/// Durable before money moves; a volume that has no room ends it here.
async fn begin(
    app: &App,
    request: &FollowRequest,
    parent: &Transaction,
    mut draft: Transaction,
) -> Result<Begun, Error> {
    let verdict = judged(app, &draft).await?;
    draft.details.risk = verdict.note.kept();
    if let Some(code) = verdict.code {
        return refuse(app, request, parent, draft, code).await;
    }
    write_intent(app, request, parent, draft, verdict).await
}

/// The way that its parent went: no other acquirer knows of it.
fn along(app: &App, request: &FollowRequest, about: &Referred) -> Line {
    line::steered(app, about.sent.line.clone(), request.fault)
}

/// The message as it goes first, and as recovery repeats it: under the same reference.
pub fn operation<'a>(kind: Kind, follow: Follow<'a>) -> Operation<'a> {
    match kind {
        Kind::Refund => Operation::Refund(follow),
        Kind::Void => Operation::Void(follow),
        Kind::Capture | Kind::PreAuth => Operation::Capture(follow),
    }
}

async fn send(app: &App, intent: &Transaction, about: &Referred, sent: &Sent) -> Outcome {
    let reference = intent.id.to_string();
    let (named, original) = (sent.named(0), about.original());
    let follow = Follow { reference: &reference, named, original, money: intent.money };
    attempts::ask(app, sent.line.acquirer.as_ref(), operation(intent.kind, follow)).await
}
