//! Whether a charge's cardholder is authenticated first, and what the issuer said of it (contract section 5).

use super::request::{ChargeRequest, Purpose};
use super::transaction::{Source, Step, Transaction, Waits};
use super::waiting;
use crate::acquirer::Initiator;
use crate::app::App;
use crate::card::Card;
use crate::clock::Millis;
use crate::directory::{Merchant, Unavailable};
use crate::error::{Error, FieldError};
use crate::id;
use crate::money::Money;
use crate::threeds::messages::{AReq, BillingAddress, Extension, TransStatus, VERSION};
use crate::threeds::{Authenticated, Authenticator, Steer, sandbox};

/// What becomes of the charge.
pub enum Asked {
    /// It goes on; with what the issuer said, where it was asked.
    GoOn(Option<Authenticated>),
    /// ERR1009.
    Failed(Authenticated),
    /// The issuer wants to ask the cardholder.
    Challenge(Waits),
}

/// Asks the issuer where the merchant's policy or the card wants it; before anything is written, since no money moves.
///
/// # Errors
/// VAL0002 when the browser could not be sent back: the return URLs are needed here, and only here.
pub async fn ask(app: &App, request: &ChargeRequest, card: &Card, intent: &Transaction) -> Result<Asked, Error> {
    let server = match wanted(app, request, card) {
        Wanted::No => return Ok(Asked::GoOn(None)),
        // The merchant's policy is not passed over because nobody can be asked.
        Wanted::Nobody => return Ok(judged(&request.merchant, Authenticated::unavailable())),
        Wanted::From(server) => server,
    };
    need_urls(request)?;
    let message = message(app, request, card, intent);
    let server_id = message.server_id.clone();
    let answered = app.clock.within(server.deadline_ms(), server.authenticate(message)).await;
    let answer = match answered {
        Some(Ok(answer)) if answer.server_id == server_id => answer,
        Some(Ok(_)) => {
            tracing::error!(request = request.request_id, "the directory answered for another authentication");
            return Ok(judged(&request.merchant, Authenticated::unavailable()));
        }
        Some(Err(error)) => {
            tracing::error!(cause = error.cause(), request = request.request_id, "the directory cannot be asked");
            return Ok(judged(&request.merchant, Authenticated::unavailable()));
        }
        None => {
            tracing::warn!(request = request.request_id, "the directory did not answer in time");
            return Ok(judged(&request.merchant, Authenticated::unavailable()));
        }
    };
    let window = request.browser.as_ref().and_then(|browser| browser.window.clone());
    match (answer.status, &answer.acs_url) {
        (TransStatus::C, Some(acs_url)) if is_web(acs_url) => Ok(Asked::Challenge(Waits {
            until: app.time(request.caller).await? + waiting::LIMIT_MS,
            reason: request.reason,
            fault: request.fault,
            language: waiting::language(request),
            step: Step::Challenge {
                acs_url: acs_url.clone(),
                server_id: answer.server_id.clone(),
                acs_id: answer.acs_id.clone(),
                directory_id: answer.directory_id.clone(),
                window: window.unwrap_or_else(|| "05".to_owned()),
            },
        })),
        _ => Ok(judged(&request.merchant, Authenticated::of_answer(&answer))),
    }
}

/// A result that is an end (contract section 5): Y and A go on with their proof, N and R fail, and what could not be
/// performed is the merchant's to say.
pub fn judged(merchant: &Merchant, result: Authenticated) -> Asked {
    // A challenge that leads nowhere, or is still one after its end, is none that could be performed.
    let status = if result.status == TransStatus::C { TransStatus::U } else { result.status };
    let result = Authenticated { status, ..result };
    let unavailable = matches!(result.status, TransStatus::U | TransStatus::Other);
    if result.proves() || unavailable && merchant.three_ds.unavailable == Unavailable::Continue {
        Asked::GoOn(Some(result))
    } else {
        Asked::Failed(result)
    }
}

enum Wanted<'a> {
    No,
    From(&'a dyn Authenticator),
    /// It is wanted, and no 3DS server is configured for this mode.
    Nobody,
}

/// Never for what the merchant does by itself, and only where the cardholder's browser can be sent somewhere (v2).
fn wanted<'a>(app: &'a App, request: &ChargeRequest, card: &Card) -> Wanted<'a> {
    let possible =
        request.browser.is_some() && request.initiator == Initiator::Customer && request.purpose != Purpose::StoreCard;
    let server = app.authenticator(request.caller.live);
    let asked = request.steer.is_some() || server.is_some_and(|server| server.asks(&card.pan));
    match server {
        _ if !(possible && request.merchant.three_ds.when.applies(request.money, asked)) => Wanted::No,
        Some(server) => Wanted::From(server),
        None => Wanted::Nobody,
    }
}

/// Where a browser may be sent: nothing that would run in it.
fn is_web(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

pub fn need_urls(request: &ChargeRequest) -> Result<(), Error> {
    let urls = &request.details.return_url;
    let missing = |name: &str, url: &Option<String>| {
        let message = "The browser goes to the issuer or the wallet first: say where it goes afterwards.";
        url.is_none().then(|| FieldError::new(format!("return_url.{name}"), "missing", message))
    };
    let wrong: Vec<FieldError> = [missing("success_url", &urls.success_url), missing("decline_url", &urls.decline_url)]
        .into_iter()
        .flatten()
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::fields(wrong)) }
}

fn message(app: &App, request: &ChargeRequest, card: &Card, intent: &Transaction) -> AReq {
    let (merchant, billing) = (&request.merchant, request.details.billing_address.as_ref());
    // What the cardholder's browser says of itself; its address is the shop's word.
    let mut browser = request.browser.clone().unwrap_or_default();
    browser.ip = request.details.customer_ip.clone();
    browser.language = waiting::language(request);
    let Money { minor, currency } = request.money;
    let stores = intent.token.is_some() && intent.source == Source::Card;
    AReq {
        message_type: "AReq".to_owned(),
        message_version: VERSION.to_owned(),
        server_id: id::random_uuid(&app.random),
        device_channel: "02".to_owned(),
        message_category: "01".to_owned(),
        method_completion: "U".to_owned(),
        authentication_indicator: if stores { "04" } else { "01" }.to_owned(),
        requestor_id: merchant.id.clone(),
        requestor_name: first_characters(&merchant.legal_name),
        requestor_url: app.checkout.to_string(),
        account: card.pan.clone(),
        card_expiry: format!("{}{}", card.expiry.year_text(), card.expiry.month_text()),
        cardholder_name: Some(card.name.clone()).filter(|name| name.chars().count() >= 2),
        email: billing.and_then(|billing| billing.email.clone()),
        billing: billing.map(|billing| BillingAddress {
            line1: billing.address1.clone(),
            line2: billing.address2.clone(),
            city: billing.city.clone(),
            postal_code: billing.postal_code.clone(),
        }),
        merchant_name: first_characters(&merchant.legal_name),
        merchant_id: merchant.id.clone(),
        amount: minor.to_string(),
        currency: currency.number(),
        exponent: currency.decimals().to_string(),
        date: purchase_date(intent.created_at),
        notification_url: waiting::entrance(app, intent.id),
        browser,
        extensions: request.steer.map(steered).into_iter().collect(),
    }
}

/// What the directory takes of a name: 40 characters.
fn first_characters(name: &str) -> String {
    name.chars().take(40).collect()
}

/// `YYYYMMDDHHMMSS`.
fn purchase_date(at: Millis) -> String {
    crate::clock::timestamp(at).chars().filter(char::is_ascii_digit).take(14).collect()
}

fn steered(steer: Steer) -> Extension {
    let data = serde_json::json!({ "answer": steer.word() });
    Extension { name: sandbox::STEER.to_owned(), id: sandbox::STEER.to_owned(), critical: false, data }
}
