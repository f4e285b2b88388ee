//! `hpp/generate/link` and `hpp/link/{id}`: links to the hosted payment page (contract section 8). Their answers have no
//! envelope.

use super::answer::{self, About};
use super::call::{Call, Posted};
use super::charge::{address, check_amount, check_urls};
use super::flow::{Begun, body_text, check_headers, claim, detached};
use super::{fields, shape};
use crate::app::App;
use crate::card::{Scheme, contains_any_number};
use crate::clock::{Millis, timestamp};
use crate::codes::Code;
use crate::db::Written;
use crate::directory::Merchant;
use crate::error::{Error, FieldError};
use crate::id::{LinkId, TransactionId};
use crate::json::Node;
use crate::money::{Currency, Money};
use crate::pay::line;
use crate::pay::links::{self, Link, LinkDetails, Standing};
use crate::pay::transaction::{Address, ReturnUrl};
use crate::pay::{Answer, idempotency};
use crate::wallet::Wallet;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// How long a link can be paid where its request does not say, seconds.
const DAY_S: i64 = 24 * 60 * 60;

/// The longest that it can, seconds.
const YEAR_S: i64 = 365 * DAY_S;

#[derive(Serialize, ToSchema)]
pub struct LinkView {
    #[schema(value_type = String)]
    pub id: LinkId,
    /// The page's address: whoever has it can pay.
    #[schema(example = "https://pay.example/jp/HostedPaymentPage/q4ZbUm0aT1vXc7Rk2LwJhN")]
    pub url: String,
    /// Null: the customer types it.
    #[schema(value_type = Option<f64>)]
    pub amount: Option<Money>,
    #[schema(example = "JPY")]
    pub currency: &'static str,
    pub merchant_txn_ref: Option<String>,
    pub merchant_id: String,
    pub merchant_email: Option<String>,
    pub return_url: LinkUrls,
    pub billing_address: Option<Address>,
    pub shipping_address: Option<Address>,
    /// CREATED, PAID, DECLINED, CANCELLED or EXPIRED.
    #[schema(example = "CREATED")]
    pub status: &'static str,
    /// Whether it can still be paid.
    #[serde(rename = "isValid")]
    pub is_valid: bool,
    pub expires_at: String,
    /// The tries that were recorded, the oldest first; only where a link is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub transaction_ids: Option<Vec<TransactionId>>,
}

#[derive(Serialize, ToSchema)]
pub struct LinkUrls {
    pub webhook_url: Option<String>,
    pub success_url: Option<String>,
    pub decline_url: Option<String>,
    pub cancel_url: Option<String>,
}

impl LinkView {
    /// `now` by its entity's time.
    fn of(app: &App, now: Millis, link: &Link, transaction_ids: Option<Vec<TransactionId>>) -> LinkView {
        let code = links::code(&app.vault, link.id);
        LinkView::at(now, &app.checkout, &code, link, transaction_ids)
    }

    /// As a link stands now, on a gateway whose pages are at `checkout`.
    pub fn at(
        now: Millis,
        checkout: &str,
        code: &str,
        link: &Link,
        transaction_ids: Option<Vec<TransactionId>>,
    ) -> LinkView {
        let details = link.details.clone();
        let japanese = details.billing_address.as_ref().and_then(|address| address.country.as_deref());
        let japanese = japanese.is_some_and(|country| country.eq_ignore_ascii_case("JP"));
        let prefix = if japanese { "/jp" } else { "" };
        let status = link.status(now);
        LinkView {
            id: link.id,
            url: format!("{checkout}{prefix}/HostedPaymentPage/{code}"),
            amount: link.amount(),
            currency: link.currency.code(),
            merchant_txn_ref: details.merchant_txn_ref,
            merchant_id: link.merchant_id.clone(),
            merchant_email: details.merchant_email,
            return_url: LinkUrls {
                webhook_url: details.return_url.webhook_url,
                success_url: details.return_url.success_url,
                decline_url: details.return_url.decline_url,
                cancel_url: details.return_url.cancel_url,
            },
            billing_address: details.billing_address,
            shipping_address: details.shipping_address,
            status,
            is_valid: status == "CREATED",
            expires_at: timestamp(link.expires_at),
            transaction_ids,
        }
    }
}

pub async fn generate(State(app): State<App>, posted: Posted) -> Response {
    let reference = posted.body.get("merchant_txn_ref").and_then(Node::text_or_number);
    let merchant_txn_ref = reference.filter(|text| text.chars().take(46).count() <= 45 && !contains_any_number(text));
    let about = About { merchant_txn_ref: merchant_txn_ref.map(str::to_owned), ..posted.call.about() };
    let flow = app.clone();
    detached(&app, about, async move { begin(&flow, posted).await }).await
}

async fn begin(app: &App, posted: Posted) -> Result<Begun, Error> {
    let Posted { call, body } = posted;
    let expires_in = check(&call, &body)?;
    let Some(merchant) = app.directory.merchant(call.caller, body_text(&body, "merchant_id")) else {
        return Ok(Begun::Forbidden);
    };
    // Both paths are one endpoint: a repeat may come by the other.
    let claim = claim(app, &call, "hpp/generate/link", &body, None);
    if let Some(answer) = idempotency::replay(app, claim.as_ref()).await? {
        return Ok(Begun::Answered(answer));
    }
    let now = app.time(call.caller).await?;
    let link = link(app, &call, &merchant, &body, (now, now + expires_in * 1000))?;
    let view = LinkView::of(app, now, &link, None);
    let answer = Answer::new(201, serde_json::to_string(&view).map_err(Error::internal)?);
    let digest = links::code_digest(&app.vault, &links::code(&app.vault, link.id));
    let mut writes = Vec::new();
    if let Some(claim) = &claim {
        // The key's row names a transaction; a link has none, and is begun and ended in one write.
        let real = app.clock.now();
        let id = TransactionId::new(real, &app.random);
        writes.push(claim.insert(id, real));
        writes.push(claim.answered(id, &answer, true));
    }
    writes.push(link.insert(digest)?);
    match app.db.write(writes).await? {
        Written::Applied(_) => Ok(Begun::Answered(answer)),
        Written::GuardFailed(_) => {
            let replayed = idempotency::replay(app, claim.as_ref()).await?;
            replayed.map(Begun::Answered).ok_or_else(|| Error::new(Code::Err1008))
        }
        Written::Ambiguous => Err(Error::internal("the database was lost while a link was being written")),
    }
}

/// The fields by themselves; how long the link can be paid, seconds.
fn check(call: &Call, body: &Node) -> Result<i64, Error> {
    let mut errors = Vec::new();
    shape::check(fields::LINK, body, "", &mut errors);
    check_headers(call, &mut errors);
    check_amount(body, &mut errors);
    check_urls(call, body, &mut errors);
    let reference = body.get("merchant_txn_ref").and_then(Node::text_or_number);
    if reference.is_some_and(contains_any_number) {
        let message = "This text contains a card number. Remove it: the page would show it.";
        errors.push(FieldError::new("merchant_txn_ref", "contains_card_number", message));
    }
    let seconds = body.get("expires_in").and_then(Node::text_or_number).map(str::parse::<i64>);
    let expires_in = match seconds {
        None => DAY_S,
        Some(Ok(seconds)) if (1..=YEAR_S).contains(&seconds) => seconds,
        Some(_) => {
            if !errors.iter().any(|error| error.field == "expires_in") {
                errors.push(FieldError::new("expires_in", "range", "Send 1 to 31536000 seconds."));
            }
            DAY_S
        }
    };
    if errors.is_empty() { Ok(expires_in) } else { Err(Error::fields(errors)) }
}

fn link(app: &App, call: &Call, merchant: &Merchant, body: &Node, times: (Millis, Millis)) -> Result<Link, Error> {
    let method = body.get("payment_method");
    let word = method.map(|method| body_text(method, "type")).unwrap_or_default();
    let account = Scheme::of_wallet(word);
    let currency = Currency::parse(body_text(body, "currency"))
        .filter(|currency| merchant.currencies.contains(currency))
        .ok_or_else(|| Error::field("currency", "not_enabled", "This currency is not enabled for the merchant."))?;
    // Nobody is to type a card into a page that cannot charge it.
    let bank = line::choose(app, call.caller, &merchant.id, currency, None)?.first;
    let unpaid = app.connector(call.caller.live).is_none() || !bank.abilities().accounts;
    if account.is_some() && unpaid || Wallet::parse(word).is_some() {
        return Err(Error::new(Code::Err1015));
    }
    let amount = body.get("amount").and_then(Node::text_or_number).filter(|text| !text.is_empty());
    let amount = amount.map(|text| Money::parse(text, currency)).transpose();
    let amount = amount.map_err(|error| Error::field("amount", error.code(), error.message()))?;
    let text = |node: &Node, name: &str| Some(body_text(node, name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let url = |name| body.get("return_url").and_then(|urls| text(urls, name));
    let reference = body.get("merchant_txn_ref").and_then(Node::text_or_number).filter(|text| !text.is_empty());
    Ok(Link {
        id: LinkId::new(app.clock.now(), &app.random),
        caller: call.caller,
        merchant_id: merchant.id.clone(),
        standing: Standing::Open,
        amount_minor: amount.map(|money| money.minor),
        currency,
        details: LinkDetails {
            merchant_txn_ref: reference.map(str::to_owned),
            merchant_email: text(body, "merchant_email"),
            billing_address: body.get("billing_address").map(address).map(without_empty),
            shipping_address: body.get("shipping_address").map(address),
            return_url: ReturnUrl {
                webhook_url: url("webhook_url"),
                success_url: url("success_url"),
                decline_url: url("decline_url"),
                cancel_url: url("cancel_url"),
            },
            stores_card: method.and_then(|method| method.get("store_payment_method")).and_then(Node::bool)
                == Some(true),
            account_of: account.and_then(Scheme::wallet).map(str::to_owned),
        },
        tries: 0,
        transaction: None,
        created_at: times.0,
        expires_at: times.1,
    })
}

/// An empty text is how many clients say "none": then the page asks.
fn without_empty(address: Address) -> Address {
    let kept = |text: Option<String>| text.filter(|text| !text.is_empty());
    Address {
        country: kept(address.country),
        email: kept(address.email),
        phone_number: kept(address.phone_number),
        address1: kept(address.address1),
        address2: kept(address.address2),
        city: kept(address.city),
        state: kept(address.state),
        postal_code: kept(address.postal_code),
    }
}

pub async fn get(State(app): State<App>, call: Call, id: Result<Path<String>, PathRejection>) -> Response {
    match found(&app, &call, id).await {
        Ok(view) => answer::object(200, &view),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

/// What is no id, or another entity's or the other mode's, is nobody's link: one answer for all.
async fn found(app: &App, call: &Call, id: Result<Path<String>, PathRejection>) -> Result<LinkView, Error> {
    let unknown = || Error::new(Code::Err1013);
    let id = id.ok().and_then(|Path(text)| LinkId::parse(&text)).ok_or_else(unknown)?;
    let link = links::find(app, call.caller, id).await?.ok_or_else(unknown)?;
    let tries = links::tries(app, id).await?;
    Ok(LinkView::of(app, app.time(call.caller).await?, &link, Some(tries)))
}
