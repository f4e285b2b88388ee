//! Examples of the document. The answers are made by the code that makes the real ones, from one imagined charge; a
//! story sends the requests to a running gateway and compares.

mod clock;
mod links;
mod subscriptions;
mod threeds;
mod webhooks;

use super::super::answer::{About, refusal};
use super::super::fields::CHARGE;
use super::super::shape;
use super::super::status::StatusList;
use super::rules;
use crate::acquirer::{Approval, Initiator};
use crate::card::{Expiry, Scheme};
use crate::clock::timestamp;
use crate::codes::Code;
use crate::directory::{Caller, HOLD_MS, Merchant, ThreeDs};
use crate::error::Error;
use crate::id::{EntityId, TokenId, TransactionId};
use crate::json::Node;
use crate::money::{Currency, Money};
use crate::pay::envelope::{self, CardOut};
use crate::pay::explain::{self, Traces};
use crate::pay::refusal::refused;
use crate::pay::state::{Event, apply};
use crate::pay::tokens::{TokenAnswer, TokenList, TokenView};
use crate::pay::transaction::{Address, Details, Kind, Source, State, Transaction};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub const ENTITY: &str = "6f1c2b1e-3f0a-4d55-9a34-0d2f3c1b7a90";
const TRANSACTION: &str = "0193626c-29a0-7c3e-8b1a-5f0e2d4c6b7a";
const FOLLOWING: &str = "01936270-b1e8-7d12-9c0a-2b4d6f8a0c1e";
const TOKEN: &str = "0b9f3c52-7d41-4a86-b0de-3a5c1f2e4d68";
const REQUEST: &str = "0193626c29a07d418a1b2c3d4e5f6071";
const FINGERPRINT: &str = "f3b1c2d4e5a697880a1b2c3d4e5f6071";
pub const MERCHANT: &str = "JP00000001";

/// 2024-11-25T08:24:36.000Z, as in the contract.
pub const MADE_AT: i64 = 1_732_523_076_000;

/// Names of the examples of a body, by the name of its schema.
pub fn of_request(body: &str) -> &'static [&'static str] {
    match body {
        "ChargeRequest" => &[
            "charge_with_card",
            "charge_storing_card",
            "charge_with_token",
            "charge_with_3d_secure",
            "charge_of_a_wallet",
        ],
        "StoreRequest" => &["store_card"],
        "ChangeRequest" => &["change_expiry"],
        "CaptureRequest" => &["capture_a_part"],
        "RefundRequest" => &["refund_a_part"],
        "VoidRequest" => &["void_a_hold"],
        "LinkRequest" => &["link_of_an_order", "link_open_amount"],
        "ClockRequest" => &["clock_by_a_month", "clock_by_hours"],
        other => match subscriptions::of_request(other) {
            [] => rules::of_request(other),
            found => found,
        },
    }
}

/// Names of the examples of an answer, by method, path and status.
pub fn of_answer(method: &str, path: &str, status: u16) -> &'static [&'static str] {
    let noun = path.trim_start_matches("/server-to-server-interface/");
    match (method, noun, status) {
        ("post", "payment", 201) => &["payment_approved", "payment_declined"],
        ("post", "paymentv2", 201) => &["payment_approved", "payment_authenticated", "payment_declined"],
        ("post", "paymentv2" | "authorizationv2", 200) => &["redirect"],
        ("post", "payment" | "paymentv2", 400) => &["payment_wrong_fields"],
        ("post", "payment" | "paymentv2", 504) => &["payment_timed_out"],
        ("post", "authorization" | "authorizationv2", 201) => &["authorization_approved", "authorization_declined"],
        ("post", "authorization" | "authorizationv2", 400) => &["authorization_wrong_fields"],
        ("post", "authorization" | "authorizationv2", 504) => &["authorization_timed_out"],
        ("post", "capture", 201) => &["capture_approved", "capture_declined"],
        ("post", "refund", 201) => &["refund_approved", "refund_declined"],
        ("post", "refund", 412) => &["refund_refused"],
        ("post", "void", 201) => &["void_approved", "void_declined"],
        ("post", "capture", 504) => &["capture_unknown"],
        ("post", "refund", 504) => &["refund_unknown"],
        ("post", "void", 504) => &["void_unknown"],
        ("get", "transaction/{id}/explain", 200) => &["story"],
        ("get", "transaction/status/{id}", 200) => &["status"],
        ("get", "transaction/status", 200) => &["status_list"],
        ("get", "tokens", 200) => &["token_list"],
        ("post", "tokens", 201) => &["token_stored"],
        ("get" | "patch", "tokens/{id}", 200) => &["token"],
        ("delete", "tokens/{id}", 200) => &["token_deleted"],
        ("get", "webhooks", 200) => &["webhook_list"],
        ("post", "webhooks/{id}/retry", 200) => &["webhook_again"],
        ("get", "events", 200) => &["event_feed"],
        ("post", "hpp/generate/link" | "/hpp/generate/link", 201) => &["link_made"],
        ("get", "hpp/link/{id}", 200) => &["link_paid"],
        ("post", "test/clock", 200) => &["clock_moved"],
        ("get", "test/clock", 200) => &["clock_shown"],
        (method, noun, status) => match subscriptions::of_answer(method, noun, status) {
            [] => rules::of_answer(method, noun, status),
            found => found,
        },
    }
}

/// All examples, as the document's components hold them.
pub fn all() -> Map<String, Value> {
    let ours = requests().into_iter().chain(answers().unwrap_or_default());
    let ours = ours.chain(threeds::requests()).chain(threeds::answers().unwrap_or_default());
    let ours = ours.chain(links::requests()).chain(links::answers().unwrap_or_default());
    let ours = ours.chain(clock::requests()).chain(clock::answers());
    let ours = ours.chain(subscriptions::requests()).chain(subscriptions::answers().unwrap_or_default());
    ours.chain(rules::requests()).chain(rules::answers().unwrap_or_default()).collect()
}

pub fn example(name: &str, summary: &str, value: &impl Serialize) -> (String, Value) {
    (name.to_owned(), json!({"summary": summary, "value": value}))
}

fn requests() -> Vec<(String, Value)> {
    let card = json!({"number": "4111111111111111", "expiry_month": "12", "expiry_year": "2040", "cvc": "123",
        "name": "YAMADA HANAKO"});
    let charge = json!({"amount": "1000", "currency": "JPY", "merchant_id": MERCHANT, "billing_address": address(),
        "merchant_txn_ref": "order-1024", "customer_ip": "203.0.113.7"});
    let with = |name: &str, value: Value| {
        let mut charge = charge.clone();
        charge[name] = value;
        charge
    };
    let mut storing = with("card", card.clone());
    storing["payment_method"] = json!({"type": "scheme", "store_payment_method": true});
    let token = with("payment_method", json!({"type": "scheme", "stored_payment_method_id": TOKEN}));
    let store = json!({"merchant_id": MERCHANT, "card": card});
    let change = json!({"card": {"expiry_month": "01", "expiry_year": "2044"}});
    vec![
        example("charge_with_card", "A card in the request", &with("card", card)),
        example("charge_storing_card", "A card that is stored when the charge is approved", &storing),
        example("charge_with_token", "A stored card", &token),
        example("store_card", "A card to store", &store),
        example("change_expiry", "The new card's expiry", &change),
        example("capture_a_part", "700 of the 1,000 yen that are held", &following(json!("700"))),
        example("refund_a_part", "700 of the 1,000 yen that were taken", &following(json!("700"))),
        example("void_a_hold", "The whole hold", &following(Value::Null)),
    ]
}

/// `None` when one of the constants is not what it says; a test makes sure of it.
fn answers() -> Option<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for (noun, kind) in [("payment", Kind::Capture), ("authorization", Kind::PreAuth)] {
        let charge = charge(kind)?;
        let declined = apply(&charge, Event::Declined { response_code: 51 }).ok()?;
        let timed_out = apply(&charge, Event::NoAnswer).ok()?;
        let told = |name: &str, summary: &str, after: &Transaction| {
            let answer = envelope::answer(after, &merchant(after.caller), REQUEST);
            let value: Value = serde_json::from_str(&answer.body).ok()?;
            Some(example(&format!("{noun}_{name}"), summary, &value))
        };
        found.push(told("approved", "Approved", &approved(&charge)?)?);
        found.push(told("declined", "Declined by the issuer", &declined)?);
        found.push(told("timed_out", "No answer in time: reversed, never approved", &timed_out)?);
        let wrong = refusal(&about(kind), wrong_fields());
        found.push(example(&format!("{noun}_wrong_fields"), "All the wrong fields at once", &wrong));
    }
    for (noun, kind) in [("capture", Kind::Capture), ("refund", Kind::Refund), ("void", Kind::Void)] {
        found.extend(followed(noun, kind)?);
    }
    let purchase = approved(&charge(Kind::Capture)?)?;
    let status = || envelope::status(&purchase, &merchant(purchase.caller), 0, false);
    let list = StatusList { success: true, status_code: 200, is_live: false, transactions: vec![status()] };
    found.push(example("status", "An approved purchase", &status()));
    found.push(example("status_list", "One charge with this reference", &list));
    found.extend(tokens()?);
    found.extend(webhooks::of(&purchase)?);
    let story = explain::tell(&purchase, &Traces { sealed: Some((1, false)), ..Traces::default() }, MADE_AT);
    found.push(example("story", "The first and the last line of a purchase's story", &story));
    Some(found)
}

fn following(amount: Value) -> Value {
    let mut body = json!({"transactionId": TRANSACTION, "merchant_id": MERCHANT, "notes": "order 1024, first parcel"});
    if !amount.is_null() {
        body["amount"] = amount;
    }
    body
}

/// The ends of a capture, refund or void of a part.
fn followed(noun: &str, kind: Kind) -> Option<Vec<(String, Value)>> {
    let parent = approved(&charge(if kind == Kind::Refund { Kind::Capture } else { Kind::PreAuth })?)?;
    let minor = if kind == Kind::Void { 1000 } else { 700 };
    let pending = Transaction {
        id: TransactionId::parse(FOLLOWING)?,
        reference: 1025,
        kind,
        state: State::Pending,
        money: Money { minor, ..parent.money },
        parent: Some(parent.id),
        ..parent
    };
    let told = |name: &str, summary: &str, after: &Transaction| {
        let answer = envelope::answer(after, &merchant(after.caller), REQUEST);
        let value: Value = serde_json::from_str(&answer.body).ok()?;
        Some(example(&format!("{noun}_{name}"), summary, &value))
    };
    let mut found = vec![
        told("approved", "Done", &approved(&pending)?)?,
        told("declined", "The bank would not", &apply(&pending, Event::Declined { response_code: 12 }).ok()?)?,
        told("unknown", "No answer yet: do not send it again", &apply(&pending, Event::NoAnswer).ok()?)?,
    ];
    if kind == Kind::Refund {
        let refused = refused(pending, Code::Err3019);
        found.push(told("refused", "More than is left of the captured amount", &refused)?);
    }
    Some(found)
}

fn tokens() -> Option<Vec<(String, Value)>> {
    let view = TokenView {
        id: TokenId::parse(TOKEN)?,
        status: "ACTIVE",
        scheme: Scheme::Visa.name(),
        card: Some(CardOut {
            name: "YAMADA HANAKO".to_owned(),
            number: "411111******1111".to_owned(),
            exp_month: "12".to_owned(),
            exp_year: "40".to_owned(),
        }),
        fingerprint: FINGERPRINT.to_owned(),
        created: timestamp(MADE_AT),
        last_used: timestamp(MADE_AT)[..10].to_owned(),
        merchant_initiated_ready: true,
    };
    let one = |status_code, token: TokenView| TokenAnswer {
        success: true,
        status_code,
        is_live: false,
        token,
        transaction_details: None,
    };
    let mut verification = approved(&charge(Kind::PreAuth)?)?;
    verification.merchant_txn_ref = None;
    verification.token = Some(view.id);
    let details = Some(envelope::details(&verification));
    let stored = TokenAnswer { transaction_details: details, ..one(201, view.clone()) };
    let deleted = one(200, TokenView { status: "DELETED", ..view.clone() });
    let tokens = vec![view.clone()];
    let list = TokenList { success: true, status_code: 200, is_live: false, tokens, next_cursor: None };
    Some(vec![
        example("token", "A stored card", &one(200, view)),
        example("token_stored", "The new token, and the verification that made it", &stored),
        example("token_deleted", "The last answer that shows this token", &deleted),
        example("token_list", "The only page", &list),
    ])
}

fn about(kind: Kind) -> About {
    let transaction_type = Some(kind.name());
    About { live: false, request_id: REQUEST.to_owned(), transaction_type, merchant_txn_ref: None }
}

/// What the table says of a body with two faults.
fn wrong_fields() -> Error {
    let mut errors = Vec::new();
    let address = json!({"country": "Japan", "email": "hanako@example.jp", "phone_number": "0312345678",
        "address1": "1-2-3 Shinjuku", "city": "Shinjuku-ku"});
    let body = json!({"amount": "1000", "merchant_id": MERCHANT, "billing_address": address});
    match Node::parse(body.to_string().as_bytes()) {
        Ok(body) => shape::check(CHARGE, &body, "", &mut errors),
        Err(error) => return error,
    }
    Error::fields(errors)
}

fn merchant(caller: Caller) -> Merchant {
    Merchant {
        id: MERCHANT.to_owned(),
        entity: caller.entity,
        legal_name: "札の店".to_owned(),
        country: "JP".to_owned(),
        currencies: Vec::new(),
        hold_ms: HOLD_MS,
        three_ds: ThreeDs::default(),
        look: Default::default(),
        retry_days: Default::default(),
    }
}

fn address() -> Address {
    let text = |text: &str| Some(text.to_owned());
    Address {
        country: text("JP"),
        email: text("hanako@example.jp"),
        phone_number: text("0312345678"),
        address1: text("1-2-3 Shinjuku"),
        address2: None,
        city: text("Shinjuku-ku"),
        state: text("Tokyo"),
        postal_code: text("1600022"),
    }
}

/// The charge of all examples, before the bank has answered.
fn charge(kind: Kind) -> Option<Transaction> {
    Some(Transaction {
        id: TransactionId::parse(TRANSACTION)?,
        reference: 1024,
        caller: Caller { entity: EntityId::parse(ENTITY)?, live: false },
        merchant_id: MERCHANT.to_owned(),
        kind,
        state: State::Pending,
        created_at: MADE_AT,
        settle_after: None,
        money: Money { minor: 1000, currency: Currency::parse("JPY")? },
        merchant_txn_ref: Some("order-1024".to_owned()),
        scheme: Scheme::Visa,
        masked: "411111******1111".to_owned(),
        card_name: "YAMADA HANAKO".to_owned(),
        expiry: Expiry { month: 12, year: 2040 },
        token: None,
        source: Source::Card,
        initiator: Initiator::Customer,
        details: Details {
            billing_address: Some(address()),
            customer_ip: Some("203.0.113.7".to_owned()),
            visited_ip: "198.51.100.20".to_owned(),
            ..Details::default()
        },
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

fn approved(charge: &Transaction) -> Option<Transaction> {
    let approval = Approval {
        response_code: 0,
        auth_code: Some("831000".to_owned()),
        network_transaction_id: Some("016153570198200".to_owned()),
    };
    apply(charge, Event::Approved(approval)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::endpoints::{ENDPOINTS, Endpoint};
    use super::*;

    fn value(name: &str) -> Value {
        all().get(name).unwrap_or_else(|| panic!("{name} is named, but not made"))["value"].clone()
    }

    #[test]
    fn every_request_passes_its_table() {
        let with_body = |endpoint: &'static Endpoint| endpoint.body.map(|body| (endpoint.path, body));
        for (path, (schema, fields)) in ENDPOINTS.iter().filter_map(with_body) {
            assert!(!of_request(schema).is_empty(), "{path} has no example");
            for name in of_request(schema) {
                let body = Node::parse(value(name).to_string().as_bytes()).unwrap();
                let mut errors = Vec::new();
                shape::check(fields, &body, "", &mut errors);
                assert!(errors.is_empty(), "{name}: {errors:?}");
            }
        }
    }

    #[test]
    fn every_example_is_used_and_says_its_status() {
        let mut used: Vec<&str> = Vec::new();
        for endpoint in ENDPOINTS {
            let Endpoint { method, path, success, .. } = endpoint;
            assert!(!of_answer(method, path, success.0).is_empty(), "{method} {path} has no example");
            for status in [200, 201, 400, 412, 504] {
                for name in of_answer(method, path, status) {
                    // Links have no envelope (contract section 8), and a redirect spells it its own way (section 5).
                    if success.1 != "LinkView" {
                        let spelled = if *name == "redirect" { "statusCode" } else { "status_code" };
                        assert_eq!(value(name)[spelled], status, "{name}");
                    }
                    used.push(name);
                }
            }
            used.extend(endpoint.body.map_or(&[][..], |body| of_request(body.0)));
        }
        let unused: Vec<String> =
            all().into_iter().map(|one| one.0).filter(|name| !used.contains(&name.as_str())).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }
}
