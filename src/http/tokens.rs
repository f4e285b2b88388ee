//! Token management (contract section 6): list, get, change, delete. Storing is a charge: see `charge.rs`.

use super::answer::{self, About};
use super::call::{Call, Posted};
use super::query::Query;
use super::{fields, shape};
use crate::app::App;
use crate::card::{Expiry, ExpiryError, contains_any_number, contains_number, known_path};
use crate::codes::Code;
use crate::error::{Error, FieldError};
use crate::id::TokenId;
use crate::json::Node;
use crate::pay::tokens::{self, Change, Filter, LIST_LIMIT, TokenAnswer, TokenView};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

type IdInPath = Result<Path<String>, PathRejection>;

pub async fn list(State(app): State<App>, call: Call, RawQuery(query): RawQuery) -> Response {
    let answered = match filter(&Query::parse(query.as_deref())) {
        Ok(filter) => tokens::list(&app, call.caller, &filter).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(list) => answer::object(200, &list),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

pub async fn get(State(app): State<App>, call: Call, id: IdInPath) -> Response {
    let found = match token_id(id) {
        Ok(id) => tokens::get(&app, call.caller, id).await,
        Err(error) => Err(error),
    };
    one(&call, found)
}

pub async fn change(State(app): State<App>, id: IdInPath, posted: Posted) -> Response {
    let Posted { call, body } = posted;
    let about = call.about();
    // Detached like a payment: a client that hangs up leaves no half-made change.
    let caller = call.caller;
    let flow = app.tasks.clone().spawn(async move {
        let id = token_id(id)?;
        let change = read_change(&app, caller, id, &body).await?;
        tokens::change(&app, caller, id, change).await
    });
    joined(&call, &about, flow.await)
}

pub async fn delete(State(app): State<App>, call: Call, id: IdInPath, RawQuery(query): RawQuery) -> Response {
    let about = call.about();
    let caller = call.caller;
    let flow = app.tasks.clone().spawn(async move {
        let cancel = cancels(&Query::parse(query.as_deref()))?;
        tokens::delete(&app, caller, token_id(id)?, cancel).await
    });
    joined(&call, &about, flow.await)
}

/// Whether the subscriptions that use it are cancelled with it.
fn cancels(query: &Query) -> Result<bool, Error> {
    let mut errors = query.errors(&["cancel_subscriptions"]);
    let word = query.get("cancel_subscriptions");
    if !matches!(word, None | Some("true" | "false")) {
        errors.push(FieldError::new("cancel_subscriptions", "format", "Send true or false."));
    }
    if errors.is_empty() { Ok(word == Some("true")) } else { Err(Error::fields(errors)) }
}

type Flow = Result<Result<TokenView, Error>, tokio::task::JoinError>;

fn joined(call: &Call, about: &About, flow: Flow) -> Response {
    match flow {
        Ok(found) => one(call, found),
        Err(_) => answer::refuse(about, Error::internal("a token's task panicked")),
    }
}

fn one(call: &Call, found: Result<TokenView, Error>) -> Response {
    match found {
        Ok(token) => {
            let body = TokenAnswer {
                success: true,
                status_code: 200,
                is_live: call.caller.live,
                token,
                transaction_details: None,
            };
            answer::object(200, &body)
        }
        Err(error) => answer::refuse(&call.about(), error),
    }
}

/// What is no UUID is nobody's token: one answer for all (contract section 1).
fn token_id(id: IdInPath) -> Result<TokenId, Error> {
    id.ok().and_then(|Path(text)| TokenId::parse(&text)).ok_or_else(|| Error::new(Code::Err1003))
}

fn filter(query: &Query) -> Result<Filter, Error> {
    let mut errors = query.errors(&["merchant_txn_ref", "fingerprint", "cursor", "limit"]);
    let number = |name: &str| query.get(name).map(str::parse::<i64>);
    let limit = match number("limit") {
        None => LIST_LIMIT,
        Some(Ok(limit)) if (1..=LIST_LIMIT).contains(&limit) => limit,
        Some(_) => {
            errors.push(FieldError::new("limit", "range", "Send a number from 1 to 100."));
            LIST_LIMIT
        }
    };
    let before = match number("cursor") {
        None => None,
        Some(Ok(before)) if before > 0 => Some(before),
        Some(_) => {
            errors.push(FieldError::new("cursor", "format", "Send the next_cursor of the page before."));
            None
        }
    };
    if !errors.is_empty() {
        return Err(Error::fields(errors));
    }
    let text = |name| query.get(name).map(str::to_owned);
    Ok(Filter { merchant_txn_ref: text("merchant_txn_ref"), fingerprint: text("fingerprint"), before, limit })
}

async fn read_change(app: &App, caller: crate::directory::Caller, id: TokenId, body: &Node) -> Result<Change, Error> {
    let mut errors = Vec::new();
    shape::check(fields::CHANGE, body, "", &mut errors);
    let card = body.get("card");
    let part = |name| card?.get(name)?.text_or_number();
    let name = card.and_then(|card| card.get("name")).and_then(Node::text).map(str::to_owned);
    let mut expiry = None;
    match (part("expiry_month"), part("expiry_year")) {
        (Some(month), Some(year)) => match Expiry::parse(month, year) {
            Ok(found) => expiry = Some(found),
            Err(ExpiryError::Month) => {
                errors.push(FieldError::new("card.expiry_month", "range", "Send a month from 1 to 12."));
            }
            Err(ExpiryError::Year) => {
                errors.push(FieldError::new("card.expiry_year", "format", "Send two or four digits."));
            }
        },
        (None, None) if name.is_none() && errors.is_empty() => {
            errors.push(FieldError::new("card", "missing", "Send expiry_month and expiry_year, or name."));
        }
        (None, None) => {}
        _ => errors.push(FieldError::new("card", "incomplete", "Send expiry_month and expiry_year together.")),
    }
    if name.as_deref().is_some_and(contains_any_number) {
        errors.push(FieldError::new("card.name", "contains_card_number", "A name holds no card number."));
    }
    if !errors.is_empty() {
        return Err(Error::fields(errors));
    }
    let stored = tokens::open(app, caller, id).await?;
    body.each_text("", &mut |path, text| {
        if stored.card().is_some_and(|card| contains_number(text, &card.pan)) {
            let message = "This text contains the card's number. Remove it.";
            errors.push(FieldError::new(known_path(path), "contains_card_number", message));
        }
    });
    if let Some(expiry) = expiry
        && expiry.is_past(app.clock.now() + app.ahead(caller).await?)
    {
        return Err(Error::new(Code::Err1002));
    }
    if errors.is_empty() { Ok(Change { expiry, name }) } else { Err(Error::fields(errors)) }
}
