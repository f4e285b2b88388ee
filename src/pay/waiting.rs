//! A charge that waits for its cardholder (contract section 5): nothing of it stays in memory, so any process goes on with it
//! when the browser comes back, and a job ends it when none does.

use super::attempts::{self, Message, Sent};
use super::authenticate::{self, Asked};
use super::charge::{self, Way};
use super::instrument::Instrument;
use super::line::{self, Lines};
use super::means::{Account, Means};
use super::recover::merchant;
use super::request::{ChargeRequest, Purpose};
use super::state::{Event, apply};
use super::subscribed::Known;
use super::transaction::{Kind, Source, State, Step, Transaction, Unpaid, Waits};
use super::{Answer, envelope, idempotency, outcome, store, stored, subscribe};
use crate::app::App;
use crate::card::Card;
use crate::clock::Millis;
use crate::codes::Code;
use crate::consent::{Consent, Order};
use crate::db::{Stmt, Written};
use crate::directory::Merchant;
use crate::error::Error;
use crate::id::TransactionId;
use crate::jobs::{self, Job};
use crate::json::Node;
use crate::subscription::rows;
use crate::threeds::Authenticated;
use crate::vault::{Bound, Owner};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// How long a cardholder may take, milliseconds (contract section 5): 30 minutes.
pub const LIMIT_MS: Millis = 30 * 60 * 1000;

/// The query by which a wallet's return is known from a first visit: it does not lead to the wallet by itself again.
pub const FROM_WALLET: &str = "back";

/// Bytes of the URL's signature that are kept: 128 bits, which nobody guesses.
const SIGNED: usize = 16;

/// The answer to a charge that waits: the cardholder's browser goes to the issuer, or to a wallet, first.
#[derive(Serialize, ToSchema)]
pub struct Redirect {
    /// The same as `redirect_url`.
    pub url: String,
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    pub success: bool,
    /// Where the cardholder's browser goes; good for 30 minutes.
    pub redirect_url: String,
    pub transaction_details: envelope::TransactionDetails,
}

pub fn answer(app: &App, waiting: &Transaction) -> Answer {
    let redirect = redirect(waiting, entrance(app, waiting.id));
    Answer::new(200, serde_json::to_string(&redirect).unwrap_or_default())
}

pub fn redirect(waiting: &Transaction, url: String) -> Redirect {
    let details = envelope::TransactionDetails { stored_payment_method_id: None, ..envelope::details(waiting) };
    Redirect { redirect_url: url.clone(), url, status_code: 200, success: true, transaction_details: details }
}

/// The page that a waiting charge's browser opens and comes back to. Its last part is the transaction's id, signed: who has
/// it sees this payment's way through and nothing else. It opens the result, whenever; what may still be done there ends with
/// [`Waits::until`].
pub fn entrance(app: &App, id: TransactionId) -> String {
    let mut bytes = id.as_bytes().to_vec();
    bytes.extend_from_slice(&signature(app, id)[..SIGNED]);
    format!("{}/checkout/{}", app.checkout, URL_SAFE_NO_PAD.encode(bytes))
}

/// The transaction of an entrance's last part; `None` for what we have not signed.
pub fn visitor(app: &App, token: &str) -> Option<TransactionId> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (id, signed) = bytes.split_at_checked(16)?;
    let id = TransactionId::from_bytes(id)?;
    let genuine = aws_lc_rs::constant_time::verify_slices_are_equal(signed, &signature(app, id)[..SIGNED]).is_ok();
    genuine.then_some(id)
}

fn signature(app: &App, id: TransactionId) -> [u8; 32] {
    app.vault.request_digest(&[b"entrance", id.as_bytes()])
}

/// The browser has come back: goes on if the issuer has said how it ended. The transaction as it stands then; still
/// [`State::Waiting`] when nothing has ended yet. Of several at once one goes on; the others find it pending or done.
///
/// Money may move: run it in a task of its own.
pub async fn resume(app: &App, id: TransactionId, request_id: &str) -> Result<Transaction, Error> {
    let found = current(app, id).await?;
    let Some(waits) = found.details.waits.clone().filter(|_| found.state == State::Waiting) else { return Ok(found) };
    if app.time(found.caller).await? >= waits.until {
        return give_up(app, &found, Unpaid::TooLate, request_id, End::default()).await;
    }
    let merchant = merchant(app, &found)?;
    match &waits.step {
        Step::Challenge { .. } => {
            let Some(result) = result(app, &found, &waits.step).await? else { return Ok(found) };
            match authenticate::judged(&merchant, result) {
                Asked::GoOn(proof) => go_on(app, &found, Came { proof, agreement: None }, &waits, request_id).await,
                Asked::Failed(result) => failed(app, &with_result(&found, Some(result)), request_id).await,
                Asked::Challenge(_) => Ok(found),
            }
        }
        Step::Consent { .. } => match consented(app, &found).await? {
            Consent::Waiting => Ok(found),
            Consent::Refused => give_up(app, &found, Unpaid::Refused, request_id, End::default()).await,
            Consent::Given(agreement) => {
                let agreement = Some(Zeroizing::new(agreement));
                go_on(app, &found, Came { proof: None, agreement }, &waits, request_id).await
            }
        },
    }
}

/// What the cardholder has brought back.
struct Came {
    proof: Option<Authenticated>,
    agreement: Option<Zeroizing<String>>,
}

/// Asks a wallet for its holder's agreement; before anything is written, since no money moves.
///
/// # Errors
/// VAL0002 without return URLs; ERR1011 when the wallet cannot be asked: nothing was sent.
pub async fn consent(app: &App, request: &ChargeRequest, intent: &Transaction) -> Result<Waits, Error> {
    authenticate::need_urls(request)?;
    let connector = app.connector(request.caller.live).ok_or_else(|| Error::new(Code::Err1015))?;
    let (reference, return_url) = (intent.id.to_string(), format!("{}?{FROM_WALLET}", entrance(app, intent.id)));
    let spoken = language(request);
    let order = Order {
        reference: &reference,
        wallet: intent.scheme,
        merchant: &request.merchant.legal_name,
        money: request.money,
        return_url: &return_url,
        stores: intent.token.is_some(),
        language: spoken.as_deref(),
    };
    let url = match app.clock.within(connector.deadline_ms(), connector.ask(order)).await {
        Some(Ok(url)) => url,
        failed => {
            let why = failed.map_or("no answer in time".to_owned(), |failed| {
                failed.err().map_or(String::new(), |e| e.cause().to_owned())
            });
            tracing::error!(why, request = request.request_id, "the wallet cannot be asked");
            return Err(Error::new(Code::Err1011));
        }
    };
    let until = app.time(request.caller).await? + LIMIT_MS;
    Ok(Waits { until, reason: request.reason, fault: request.fault, language: spoken, step: Step::Consent { url } })
}

/// The browser's, where it is known; else that of the country where the bill goes.
pub fn language(request: &ChargeRequest) -> Option<String> {
    let said = request.browser.as_ref().and_then(|browser| browser.language.clone());
    let country = request.details.billing_address.as_ref().and_then(|address| address.country.as_deref());
    // As much of it as a message takes (EMV 3-D Secure, browserLanguage).
    let said = said.map(|tag| tag.chars().take(8).collect());
    said.or_else(|| country.filter(|country| country.eq_ignore_ascii_case("JP")).map(|_| "ja".to_owned()))
}

/// A wallet that cannot be asked now has not said anything: the browser may try again.
async fn consented(app: &App, found: &Transaction) -> Result<Consent, Error> {
    let connector = app.connector(found.caller.live);
    let connector = connector.ok_or_else(|| Error::internal("no wallet is configured for this payment's mode"))?;
    let reference = found.id.to_string();
    match app.clock.within(connector.deadline_ms(), connector.consent(&reference)).await {
        Some(Ok(consent)) => Ok(consent),
        failed => {
            let cause = failed.and_then(Result::err).map_or("no answer in time".to_owned(), |e| e.cause().to_owned());
            tracing::error!(cause, transaction = %found.id, "the wallet cannot be asked what its holder said");
            Ok(Consent::Waiting)
        }
    }
}

async fn current(app: &App, id: TransactionId) -> Result<Transaction, Error> {
    store::reread(&app.db, id).await?.ok_or_else(|| Error::internal("a transaction is gone"))
}

/// `None` while the cardholder is being asked, and when the 3DS server cannot be asked now: the browser may try again.
async fn result(app: &App, found: &Transaction, step: &Step) -> Result<Option<Authenticated>, Error> {
    let Step::Challenge { server_id, acs_id, directory_id, .. } = step else { return Ok(None) };
    let server = app.authenticator(found.caller.live);
    let server = server.ok_or_else(|| Error::internal("no 3DS server is configured for this payment's mode"))?;
    let result = match app.clock.within(server.deadline_ms(), server.result(server_id)).await {
        Some(Ok(Some(result))) => result,
        Some(Ok(None)) => return Ok(None),
        failed => {
            let cause = failed.and_then(Result::err).map_or("no answer in time".to_owned(), |e| e.cause().to_owned());
            tracing::error!(cause, transaction = %found.id, "the 3DS server cannot be asked how a challenge ended");
            return Ok(None);
        }
    };
    let same = (&result.server_id, &result.acs_id, &result.directory_id) == (server_id, acs_id, directory_id);
    if !same {
        tracing::error!(transaction = %found.id, "the 3DS server answered for another authentication");
    }
    Ok(Some(if same { Authenticated::of_result(&result) } else { Authenticated::unavailable() }))
}

fn with_result(found: &Transaction, result: Option<Authenticated>) -> Transaction {
    let mut noted = found.clone();
    noted.details.three_d_secure = result;
    noted
}

/// The intent's write that a charge without a challenge begins with, and the rest of its way.
async fn go_on(
    app: &App,
    found: &Transaction,
    came: Came,
    waits: &Waits,
    request_id: &str,
) -> Result<Transaction, Error> {
    let Lines { first, second } =
        line::choose(app, found.caller, &found.merchant_id, found.money.currency, waits.fault)?;
    let Some(instrument) = instrument(app, found, came.agreement).await? else {
        return give_up(app, found, Unpaid::TokenGone, request_id, End::default()).await;
    };
    let sent = Sent::now(app, first).await?;
    let settle_after = attempts::settle_after(app, sent.line.abilities().charge_ms);
    let mut intent = apply(&with_result(found, came.proof), Event::Resumed { settle_after })
        .map_err(|_| Error::internal("a charge does not wait"))?;
    let subscription = begins(app, &mut intent).await?;
    let mut writes = vec![store::update(found, &intent), store::note(&intent)?];
    if let Some(stored) = &instrument.stored {
        writes.push(stored::still_there(stored.id, found.caller));
    }
    writes.push(jobs::remove(jobs::Kind::Abandon, intent.id));
    writes.push(attempts::first(intent.id, sent.tag(), Message::Charge));
    match app.db.write(writes).await? {
        Written::Applied(_) => {}
        Written::GuardFailed(0) => return current(app, found.id).await,
        // The token was deleted between our two looks.
        Written::GuardFailed(_) => return give_up(app, found, Unpaid::TokenGone, request_id, End::default()).await,
        // Never sent: if the intent is there after all, the sweep reverses it.
        Written::Ambiguous => return Err(Error::internal("the database was lost while an intent was being written")),
    }
    let mut request = request(merchant(app, found)?, &intent, waits, request_id);
    request.subscription = subscription;
    charge::finish(app, &request, &instrument, &intent, Way { sent, second }).await?;
    current(app, found.id).await
}

/// The subscription that begins with it: now, not when it was asked for.
async fn begins(app: &App, intent: &mut Transaction) -> Result<Option<Box<Known>>, Error> {
    let Some(share) = &intent.details.subscription else { return Ok(None) };
    let found = rows::find_any(&app.db, share.id).await?;
    let subscription = found.ok_or_else(|| Error::internal("a waiting charge has lost its subscription"))?;
    let now = app.clock.now() + app.ahead(intent.caller).await?;
    subscribe::begin_now(&subscription, intent, now);
    Ok(Some(Box::new(Known { subscription, charges: Vec::new() })))
}

/// The payment's own sealed card, and its token's row. `None`: the token was deleted meanwhile; a delete that came first
/// wins.
async fn instrument(
    app: &App,
    found: &Transaction,
    agreement: Option<Zeroizing<String>>,
) -> Result<Option<Instrument>, Error> {
    let to_store = found.token.filter(|_| found.source == Source::Card);
    if agreement.is_some() {
        let means = Means::Account(Account { scheme: found.scheme, agreement });
        return Ok(Some(Instrument { means, cvc: None, wallet: None, stored: None, to_store }));
    }
    let stored = match (found.source, found.token) {
        (Source::Token, Some(token)) => {
            let Some(stored) = stored::for_charge(app, found.caller, token, &found.merchant_id, None).await? else {
                return Ok(None);
            };
            Some(stored)
        }
        _ => None,
    };
    let sealed = store::sealed(&app.db, found.id).await?;
    let sealed = sealed.ok_or_else(|| Error::internal("a waiting charge has lost its card"))?;
    if !app.vault.knows(sealed.key_id) {
        app.vault.refresh(&app.db).await?;
    }
    let bound = Bound { entity: found.caller.entity, live: found.caller.live, owner: Owner::Transaction(found.id) };
    let pan = app.vault.open_pan(&bound, &sealed)?;
    let means = Means::Card(Card { pan, expiry: found.expiry, name: found.card_name.clone() });
    // A wallet's token was taken by the write that began the waiting; a device's number never waits.
    Ok(Some(Instrument { means, cvc: None, wallet: None, stored, to_store }))
}

/// The request as it was, as far as the rest of its way asks for it.
fn request(merchant: Arc<Merchant>, intent: &Transaction, waits: &Waits, request_id: &str) -> ChargeRequest {
    ChargeRequest {
        caller: intent.caller,
        merchant,
        purpose: match intent.kind {
            _ if intent.details.subscription.is_some() => Purpose::Subscription,
            Kind::Capture => Purpose::Purchase,
            _ => Purpose::Authorization,
        },
        money: intent.money,
        initiator: intent.initiator,
        reason: waits.reason,
        merchant_txn_ref: intent.merchant_txn_ref.clone(),
        details: intent.details.clone(),
        subscription: None,
        at: None,
        claim: None,
        request_id: request_id.to_owned(),
        fault: waits.fault,
        steer: None,
        browser: None,
        body: Node::Null,
    }
}

/// Without authentication. Where the issuer refuses it, a number that was typed counts as one that was declined; a directory
/// that is out of order counts against nobody.
async fn failed(app: &App, found: &Transaction, request_id: &str) -> Result<Transaction, Error> {
    let refused = found.details.three_d_secure.as_ref().is_some_and(Authenticated::refuses);
    let instrument = if refused { instrument(app, found, None).await? } else { None };
    let rows = instrument.map(|instrument| instrument.counts_as_declined(app, found)).unwrap_or_default();
    give_up(app, found, Unpaid::NotAuthenticated, request_id, End { rows, job: None }).await
}

/// The cardholder wants to pay otherwise: ends it as the end of its time would.
pub async fn abandon(app: &App, found: &Transaction, request_id: &str) -> Result<Transaction, Error> {
    give_up(app, found, Unpaid::Left, request_id, End::default()).await
}

/// What an end without a bank is written with.
#[derive(Default)]
struct End<'a> {
    rows: Vec<Stmt>,
    /// The job that ends it.
    job: Option<&'a Job>,
}

/// It ends without having been sent to a bank. The transaction as it stands then: another may have been faster.
async fn give_up(
    app: &App,
    found: &Transaction,
    why: Unpaid,
    request_id: &str,
    end: End<'_>,
) -> Result<Transaction, Error> {
    let mut noted = found.clone();
    noted.details.unpaid = Some(why);
    let Ok(after) = apply(&noted, Event::GivenUp) else { return current(app, found.id).await };
    let merchant = merchant(app, found)?;
    let answer = envelope::answer(&after, &merchant, request_id);
    let mut writes: Vec<Stmt> = outcome::rows(app, &merchant, found, &after, None);
    writes.push(store::note(&after)?);
    writes.push(idempotency::ended(after.id, &answer, true));
    writes.push(end.job.map_or_else(|| jobs::remove(jobs::Kind::Abandon, after.id), Job::done));
    writes.extend(end.rows);
    match app.db.write(writes).await? {
        Written::Applied(_) => {
            app.nudge.notify_one();
            let (id, state) = (after.id, after.state.name());
            tracing::info!(transaction = %id, state, ?why, request = request_id, "a charge that waited has ended");
            metrics::counter!("fuda_transactions_total", "kind" => after.kind.name(), "state" => state).increment(1);
            Ok(after)
        }
        Written::GuardFailed(_) => current(app, found.id).await,
        Written::Ambiguous => Err(Error::internal("the database was lost while a waiting charge was being ended")),
    }
}

/// The job: nobody came back in time.
pub async fn lapse(app: &App, job: &Job) -> Result<(), Error> {
    let found = store::reread(&app.db, job.transaction()).await?.filter(|found| found.state == State::Waiting);
    let Some(found) = found else {
        app.db.write(vec![job.done()]).await?;
        return Ok(());
    };
    let request_id = crate::id::request_id(app.clock.now(), &app.random);
    give_up(app, &found, Unpaid::TooLate, &request_id, End { rows: Vec::new(), job: Some(job) }).await.map(drop)
}
