//! What the merchant was told (contract section 9): every try of a transaction's webhooks, one more try, and the feed of the
//! same signed bodies for a merchant that was away.

use super::answer;
use super::call::Call;
use super::query::Query;
use super::status::of_caller;
use crate::app::App;
use crate::codes::Code;
use crate::error::{Error, FieldError};
use crate::id::EventId;
use crate::pay::told::{self, Feed, WebhookAnswer, WebhookList};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Serialize;

/// The longest page of the feed.
const FEED_LIMIT: i64 = 100;

pub async fn list(State(app): State<App>, call: Call, RawQuery(query): RawQuery) -> Response {
    finish(&call, webhooks(&app, &call, &Query::parse(query.as_deref())).await)
}

async fn webhooks(app: &App, call: &Call, query: &Query) -> Result<WebhookList, Error> {
    let mut errors = query.errors(&["transaction_id"]);
    let id = query.get("transaction_id");
    if id.is_none() {
        errors.push(FieldError::new("transaction_id", "missing", "This parameter is required."));
    }
    if !errors.is_empty() {
        return Err(Error::fields(errors));
    }
    let transaction = of_caller(app, call, id.unwrap_or_default()).await?;
    told::of_transaction(app, &transaction).await
}

pub async fn retry(State(app): State<App>, call: Call, id: Result<Path<String>, PathRejection>) -> Response {
    let id = id.ok().and_then(|Path(text)| EventId::parse(&text));
    let caller = call.caller;
    // Detached like a payment: a client that hangs up leaves no half-made change.
    let flow = app.tasks.clone().spawn(async move {
        let unknown = || Error::new(Code::Err1004).with_detail("Webhook not found.");
        told::retry(&app, caller, id.ok_or_else(unknown)?).await?.ok_or_else(unknown)
    });
    let done: Result<WebhookAnswer, Error> = match flow.await {
        Ok(done) => done,
        Err(_) => Err(Error::internal("a webhook's task panicked")),
    };
    finish(&call, done)
}

pub async fn feed(State(app): State<App>, call: Call, RawQuery(query): RawQuery) -> Response {
    finish(&call, events(&app, &call, &Query::parse(query.as_deref())).await)
}

async fn events(app: &App, call: &Call, query: &Query) -> Result<Feed, Error> {
    let mut errors = query.errors(&["after", "limit"]);
    let limit = match query.get("limit").map(str::parse::<i64>) {
        None => FEED_LIMIT,
        Some(Ok(limit)) if (1..=FEED_LIMIT).contains(&limit) => limit,
        Some(_) => {
            errors.push(FieldError::new("limit", "range", "Send a number from 1 to 100."));
            FEED_LIMIT
        }
    };
    let unknown = || FieldError::new("after", "unknown", "Send the id of an event of this feed, as webhook-id has it.");
    let after = match query.get("after").map(EventId::parse) {
        None => None,
        Some(Some(id)) => Some(id),
        Some(None) => {
            errors.push(unknown());
            None
        }
    };
    if !errors.is_empty() {
        return Err(Error::fields(errors));
    }
    told::feed(app, call.caller, after, limit).await?.ok_or_else(|| Error::fields(vec![unknown()]))
}

fn finish(call: &Call, done: Result<impl Serialize, Error>) -> Response {
    match done {
        Ok(value) => answer::object(200, &value),
        Err(error) => answer::refuse(&call.about(), error),
    }
}
