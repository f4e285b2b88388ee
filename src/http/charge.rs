//! `payment`, `authorization`, their v2 spellings, and `POST tokens`: from a body to a [`ChargeRequest`].

use super::answer::About;
use super::call::{Call, Posted};
use super::flow::{Begun, Steering, body_text, check_headers, claim, detached};
use super::source::{self, Named};
use super::{fields, plan, shape};
use crate::acquirer::{Initiator, Reason};
use crate::app::App;
use crate::card::{Card, Cvc, Expiry, Pan, PanError, contains_any_number, contains_number, known_path};
use crate::codes::Code;
use crate::directory::Merchant;
use crate::error::{Error, FieldError};
use crate::json::Node;
use crate::money::{Currency, Money};
use crate::pay::charge::charge;
use crate::pay::idempotency::{self, Claim};
use crate::pay::request::{CardSource, ChargeRequest, Purpose};
use crate::pay::transaction::{Address, Details, ReturnUrl};
use crate::threeds::messages::Browser;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use zeroize::Zeroizing;

pub async fn payment(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Purpose::Purchase, "payment").await
}

pub async fn authorization(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Purpose::Authorization, "authorization").await
}

// Where 3-D Secure is asked for, v2 answers with a redirect; where not, as the first two.
pub async fn payment_v2(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Purpose::Purchase, "paymentv2").await
}

pub async fn authorization_v2(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Purpose::Authorization, "authorizationv2").await
}

pub async fn store_card(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Purpose::StoreCard, "tokens").await
}

pub async fn subscribe(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Purpose::Subscription, "subscription/payment").await
}

async fn run(app: App, posted: Posted, purpose: Purpose, endpoint: &'static str) -> Response {
    let about = About {
        transaction_type: Some(match purpose {
            Purpose::Purchase | Purpose::Subscription => "CAPTURE",
            Purpose::Authorization | Purpose::StoreCard => "PRE_AUTH",
        }),
        merchant_txn_ref: posted
            .body
            .get("merchant_txn_ref")
            .and_then(Node::text_or_number)
            .and_then(short)
            .map(str::to_owned),
        ..posted.call.about()
    };
    // A reference that holds a card's number is refused, and not repeated in the refusal either.
    let number = posted.body.get("card").map(|card| digits(body_text(card, "number"))).unwrap_or_default();
    let holds =
        |text: &str| contains_any_number(text) || (number.len() >= 12 && digits(text).contains(number.as_str()));
    let about = About { merchant_txn_ref: about.merchant_txn_ref.filter(|text| !holds(text)), ..about };
    let flow = app.clone();
    detached(&app, about, async move { begin(&flow, posted, purpose, endpoint).await }).await
}

/// Also of a number that is mistyped: a refusal never repeats it.
fn digits(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.chars().filter(char::is_ascii_digit).collect())
}

fn short(text: &str) -> Option<&str> {
    (text.chars().take(46).count() <= 45).then_some(text)
}

/// The contract's order: fields, merchant, idempotency look-up, a card number or expiry that is the only fault; then the
/// flow itself.
async fn begin(app: &App, posted: Posted, purpose: Purpose, endpoint: &'static str) -> Result<Begun, Error> {
    let Posted { call, body } = posted;
    let table = match purpose {
        Purpose::StoreCard => fields::STORE,
        Purpose::Subscription => fields::SUBSCRIBE,
        Purpose::Purchase | Purpose::Authorization => fields::CHARGE,
    };
    let mut terms = None;
    let now = app.clock.now() + app.ahead(call.caller).await?;
    let checked = Checked::of(&call, table, &body, purpose, now, |errors| {
        terms = body.get("subscription").and_then(|plan| plan::terms(&body, plan, errors));
    })?;
    let Some(merchant) = app.directory.merchant(call.caller, body_text(&body, "merchant_id")) else {
        return Ok(Begun::Forbidden);
    };
    let claim = claim(app, &call, endpoint, &body, checked.pan.as_ref().ok());
    if let Some(code) = checked.only_fault {
        let earlier = idempotency::replay(app, claim.as_ref()).await?;
        return earlier.map(Begun::Answered).ok_or_else(|| Error::new(code));
    }
    let (mut request, source) = checked.into_request(call, merchant, purpose, body, claim)?;
    // Only a v2 caller has a browser that it can send to the issuer.
    let redirects = purpose == Purpose::Subscription || endpoint.ends_with("v2");
    request.browser = redirects.then(|| browser(&request.body));
    if let (Purpose::Subscription, Some(terms)) = (purpose, terms) {
        plan::begin(app, &mut request, &source, terms)?;
    }
    charge(app, request, source.stored(purpose)).await.map(Begun::Answered)
}

/// What the fields say, before the merchant is known.
pub(super) struct Checked {
    /// `Err(None)`: no card in the request.
    pub(super) pan: Result<Pan, Option<PanError>>,
    cvc: Option<Cvc>,
    expiry: Option<Expiry>,
    /// A stored card or a wallet's token; `None`: a card, or what is left to other parts of the contract.
    pub(super) named: Option<Named>,
    pub(super) steering: Steering,
    /// ERR1001 or ERR1002, when nothing else is wrong.
    pub(super) only_fault: Option<Code>,
}

impl Checked {
    /// `also`: what else is to be checked of this body.
    pub(super) fn of(
        call: &Call,
        table: &[shape::Field],
        body: &Node,
        purpose: Purpose,
        now: i64,
        also: impl FnOnce(&mut Vec<FieldError>),
    ) -> Result<Checked, Error> {
        let mut errors = Vec::new();
        shape::check(table, body, "", &mut errors);
        also(&mut errors);
        let steering = check_headers(call, &mut errors);
        check_amount(body, &mut errors);
        check_urls(call, body, &mut errors);
        let named = source::check(body, purpose, &mut errors);
        let mut card_faults = Vec::new();
        let card = body.get("card");
        let number = card.and_then(|card| card.get("number")).and_then(Node::text).filter(|text| !text.is_empty());
        let pan = number.map_or(Err(None), |text| Pan::parse(text).map_err(Some));
        if let Err(Some(error)) = &pan {
            card_faults.push((Code::Err1001, pan_fault(error)));
        }
        let expiry = check_expiry(card, now, &mut errors, &mut card_faults);
        let cvc = check_cvc(card, pan.as_ref().ok(), &mut errors);
        check_texts(body, pan.as_ref().ok(), &mut errors);
        if errors.is_empty() && card_faults.len() == 1 {
            return Ok(Checked { pan, cvc, expiry, named, steering, only_fault: Some(card_faults[0].0) });
        }
        errors.extend(card_faults.into_iter().map(|(_, fault)| fault));
        if errors.is_empty() {
            Ok(Checked { pan, cvc, expiry, named, steering, only_fault: None })
        } else {
            Err(Error::fields(errors))
        }
    }

    pub(super) fn into_request(
        self,
        call: Call,
        merchant: Arc<Merchant>,
        purpose: Purpose,
        body: Node,
        claim: Option<Claim>,
    ) -> Result<(ChargeRequest, CardSource), Error> {
        let money = money(&body, &merchant, purpose)?;
        let steering = self.steering;
        let source = self.source(&body)?;
        let method = body.get("payment_method");
        let word = |name| method.and_then(|method| method.get(name)).and_then(Node::text).unwrap_or_default();
        let request = ChargeRequest {
            caller: call.caller,
            merchant,
            purpose,
            money,
            initiator: if word("initiator") == "merchant" { Initiator::Merchant } else { Initiator::Customer },
            reason: match word("reason") {
                "" if purpose == Purpose::Subscription => Reason::Recurring,
                "recurring" => Reason::Recurring,
                "installment" => Reason::Installment,
                _ => Reason::Unscheduled,
            },
            merchant_txn_ref: body.get("merchant_txn_ref").and_then(Node::text_or_number).map(str::to_owned),
            details: details(&body, call.visited_ip),
            subscription: None,
            at: None,
            claim,
            request_id: call.request_id,
            fault: steering.fault,
            steer: steering.steer,
            browser: None,
            body,
        };
        Ok((request, source))
    }

    pub(super) fn source(self, body: &Node) -> Result<CardSource, Error> {
        let method = body.get("payment_method");
        let store = method.and_then(|method| method.get("store_payment_method")).and_then(Node::bool) == Some(true);
        let token = method.and_then(|method| method.get("token"));
        Ok(match (self.named, self.pan, self.expiry) {
            (Some(Named::Stored(token)), _, _) => CardSource::Token(token),
            (Some(Named::Account(wallet)), _, _) => CardSource::Account { wallet, store },
            (Some(Named::Wallet(wallet)), _, _) => {
                CardSource::Wallet { wallet, token: token.cloned().unwrap_or(Node::Null), store }
            }
            (None, Ok(pan), Some(expiry)) => {
                let name = body.get("card").map(|card| body_text(card, "name").to_owned()).unwrap_or_default();
                CardSource::Card { card: Card { pan, expiry, name }, cvc: self.cvc, store }
            }
            _ => return Err(Error::internal("a request without a source passed the checks")),
        })
    }
}

/// The amount against its currency's decimals; both have been checked by themselves.
pub(super) fn check_amount(body: &Node, errors: &mut Vec<FieldError>) {
    let amount = body.get("amount").and_then(Node::text_or_number).filter(|text| !text.is_empty());
    let currency = Currency::parse(body_text(body, "currency"));
    if let (Some(amount), Some(currency)) = (amount, currency)
        && !errors.iter().any(|error| error.field == "amount")
        && let Err(error) = Money::parse(amount, currency)
    {
        errors.push(FieldError::new("amount", error.code(), error.message()));
    }
}

pub(super) fn check_urls(call: &Call, body: &Node, errors: &mut Vec<FieldError>) {
    let webhook = body.get("return_url").map(|urls| body_text(urls, "webhook_url")).unwrap_or_default();
    if call.caller.live && !webhook.is_empty() && !webhook.to_ascii_lowercase().starts_with("https:") {
        errors.push(FieldError::new("return_url.webhook_url", "https", "With a live key this must be an https URL."));
    }
}

fn pan_fault(error: &PanError) -> FieldError {
    let (code, message) = match error {
        PanError::Form => ("format", "Send 12 to 19 digits."),
        PanError::Luhn => ("luhn", "The check digit is wrong: a digit is mistyped."),
        PanError::Scheme => ("scheme", "No card scheme has this number."),
    };
    FieldError::new("card.number", code, message)
}

/// A wrong month or year is a wrong field; a date in the past may be the only fault (ERR1002).
fn check_expiry(
    card: Option<&Node>,
    now: i64,
    errors: &mut Vec<FieldError>,
    card_faults: &mut Vec<(Code, FieldError)>,
) -> Option<Expiry> {
    let part = |name| card?.get(name)?.text_or_number();
    let (month, year) = (part("expiry_month")?, part("expiry_year")?);
    if errors.iter().any(|error| error.field.starts_with("card.expiry")) {
        return None;
    }
    match Expiry::parse(month, year) {
        Ok(expiry) => {
            if expiry.is_past(now) {
                let fault = FieldError::new("card.expiry_year", "expired", "The card has expired.");
                card_faults.push((Code::Err1002, fault));
            }
            Some(expiry)
        }
        Err(crate::card::ExpiryError::Month) => {
            errors.push(FieldError::new("card.expiry_month", "range", "Send a month from 1 to 12."));
            None
        }
        Err(crate::card::ExpiryError::Year) => {
            errors.push(FieldError::new("card.expiry_year", "format", "Send two or four digits."));
            None
        }
    }
}

fn check_cvc(card: Option<&Node>, pan: Option<&Pan>, errors: &mut Vec<FieldError>) -> Option<Cvc> {
    let text = card?.get("cvc")?.text_or_number()?;
    let cvc = Cvc::parse(text)?;
    if let Some(pan) = pan
        && text.len() != pan.scheme().cvc_length()
    {
        let message = format!("This card's security code has {} digits.", pan.scheme().cvc_length());
        errors.push(FieldError::new("card.cvc", "length", message));
    }
    Some(cvc)
}

/// No text may hold the charged card's own number; a name may hold nobody's (contract section 2).
fn check_texts(body: &Node, pan: Option<&Pan>, errors: &mut Vec<FieldError>) {
    body.each_text("", &mut |path, text| {
        let own = path != "card.number" && pan.is_some_and(|pan| contains_number(text, pan));
        let read = matches!(path, "card.name" | "notes" | "subscription.plan_name" | "subscription.plan_desc");
        let any = read && contains_any_number(text);
        if own || any {
            let message = "This text contains a card number. Remove it: it would be stored in the clear.";
            errors.push(FieldError::new(known_path(path), "contains_card_number", message));
        }
    });
}

fn money(body: &Node, merchant: &Merchant, purpose: Purpose) -> Result<Money, Error> {
    let named = Currency::parse(body_text(body, "currency"));
    let currency = if purpose == Purpose::StoreCard { named.or(merchant.currencies.first().copied()) } else { named };
    let currency = currency
        .filter(|currency| merchant.currencies.contains(currency))
        .ok_or_else(|| Error::field("currency", "not_enabled", "This currency is not enabled for the merchant."))?;
    if purpose == Purpose::StoreCard {
        return Ok(Money::zero(currency));
    }
    let amount = body.get("amount").and_then(Node::text_or_number).unwrap_or_default();
    Money::parse(amount, currency).map_err(|error| Error::field("amount", error.code(), error.message()))
}

pub(super) fn details(body: &Node, visited_ip: String) -> Details {
    let text = |node: &Node, name: &str| Some(body_text(node, name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let urls = body.get("return_url");
    let url = |name| urls.and_then(|urls| text(urls, name));
    Details {
        billing_address: body.get("billing_address").map(address),
        shipping_address: body.get("shipping_address").map(address),
        customer_ip: text(body, "customer_ip"),
        visited_ip,
        return_url: ReturnUrl {
            webhook_url: url("webhook_url"),
            success_url: url("success_url"),
            decline_url: url("decline_url"),
            cancel_url: url("cancel_url"),
        },
        time_zone: text(body, "time_zone"),
        ..Details::default()
    }
}

/// What `browser_info` says, for the issuer; the challenge window is 05, the full screen, where it says nothing.
fn browser(body: &Node) -> Browser {
    let info = body.get("browser_info");
    let text = |name: &str| {
        let node = info?.get(name)?;
        let bool = node.bool().map(|bool| bool.to_string());
        node.text_or_number().map(str::to_owned).or(bool).filter(|text| !text.is_empty())
    };
    let window = text("challengeWindow").filter(|text| matches!(text.as_str(), "01" | "02" | "03" | "04" | "05"));
    Browser {
        accept: text("acceptHeader"),
        ip: None,
        java: text("javaEnabled").map(|text| text == "true"),
        javascript: info.map(|_| true),
        language: text("language"),
        color_depth: text("screenColorDepth"),
        screen_height: text("screenHeight"),
        screen_width: text("screenWidth"),
        user_agent: text("userAgent"),
        window,
    }
}

pub(super) fn address(node: &Node) -> Address {
    let text = |name| node.get(name).and_then(Node::text).map(str::to_owned);
    Address {
        country: text("country"),
        email: text("email"),
        phone_number: text("phone_number").or_else(|| text("phone")),
        address1: text("address1"),
        address2: text("address2"),
        city: text("city"),
        state: text("state"),
        postal_code: text("postal_code"),
    }
}
