//! `capture`, `refund` and `void` (contract 4.2): from a body to a [`FollowRequest`].

use super::answer::About;
use super::call::Posted;
use super::fields;
use super::flow::{Begun, body_text, check_headers, claim, detached};
use super::shape::{self, Field};
use crate::app::App;
use crate::card::contains_any_number;
use crate::error::{Error, FieldError};
use crate::id::TransactionId;
use crate::json::Node;
use crate::pay::follow::{FollowRequest, follow};
use crate::pay::transaction::Kind;
use axum::extract::State;
use axum::response::Response;

pub async fn capture(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Kind::Capture, "capture").await
}

pub async fn refund(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Kind::Refund, "refund").await
}

pub async fn void(State(app): State<App>, posted: Posted) -> Response {
    run(app, posted, Kind::Void, "void").await
}

async fn run(app: App, posted: Posted, kind: Kind, endpoint: &'static str) -> Response {
    let about = About { transaction_type: Some(kind.name()), ..posted.call.about() };
    let flow = app.clone();
    detached(&app, about, async move { begin(&flow, posted, kind, endpoint).await }).await
}

async fn begin(app: &App, posted: Posted, kind: Kind, endpoint: &'static str) -> Result<Begun, Error> {
    let Posted { call, body } = posted;
    let table = match kind {
        Kind::Refund => fields::REFUND,
        Kind::Void => fields::VOID,
        Kind::Capture | Kind::PreAuth => fields::CAPTURE,
    };
    let mut errors = Vec::new();
    shape::check(table, &body, "", &mut errors);
    let fault = check_headers(&call, &mut errors).fault;
    let notes = body_text(&body, "notes");
    if contains_any_number(notes) {
        let message = "This text contains a card number. Remove it: it would be stored in the clear.";
        errors.push(FieldError::new("notes", "contains_card_number", message));
    }
    let parent = parent_field(table).and_then(|field| field.of(&body)).and_then(Node::text);
    let parent = parent.and_then(TransactionId::parse);
    let (Some(parent), true) = (parent, errors.is_empty()) else { return Err(Error::fields(errors)) };
    let Some(merchant) = app.directory.merchant(call.caller, body_text(&body, "merchant_id")) else {
        return Ok(Begun::Forbidden);
    };
    let amount = body.get("amount").and_then(Node::text_or_number).filter(|_| kind != Kind::Void);
    let request = FollowRequest {
        caller: call.caller,
        merchant,
        kind,
        parent,
        amount: amount.map(str::to_owned),
        notes: Some(notes).filter(|text| !text.is_empty()).map(str::to_owned),
        claim: claim(app, &call, endpoint, &body, None),
        request_id: call.request_id,
        fault,
        lapse: None,
    };
    follow(app, request).await.map(Begun::Answered)
}

fn parent_field(table: &[Field]) -> Option<&Field> {
    table.first()
}
