//! What became of a transaction: by its id, or by the merchant's reference for a caller that lost our answer (contract
//! 4.3).

use super::answer;
use super::call::Call;
use super::query::Query;
use crate::app::App;
use crate::codes::Code;
use crate::directory::Merchant;
use crate::error::{Error, FieldError};
use crate::id::TransactionId;
use crate::pay::envelope::{self, Envelope};
use crate::pay::store;
use crate::pay::subscribed;
use crate::pay::transaction::{State as TransactionState, Transaction};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct StatusList {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    /// Newest first, at most 20.
    pub transactions: Vec<Envelope>,
}

pub async fn by_id(State(app): State<App>, call: Call, id: Result<Path<String>, PathRejection>) -> Response {
    match status(&app, &call, id).await {
        Ok(envelope) => answer::object(200, &envelope),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

async fn status(app: &App, call: &Call, id: Result<Path<String>, PathRejection>) -> Result<Envelope, Error> {
    let transaction = find(app, call, id).await?;
    let merchant = app.directory.merchant(call.caller, &transaction.merchant_id);
    let merchant = merchant.ok_or_else(|| Error::new(Code::Err1004))?;
    let refunded_minor = refunded_minor(app, &transaction).await?;
    let mut envelope = envelope::status(&transaction, &merchant, refunded_minor, call.japanese);
    // Who lost the answer, or was sent away to authenticate, finds the subscription here.
    envelope.subscription_details = subscribed::now(app, &transaction).await?;
    Ok(envelope)
}

/// The caller's transaction with this id; whatever else the path holds is nobody's.
pub async fn find(app: &App, call: &Call, id: Result<Path<String>, PathRejection>) -> Result<Transaction, Error> {
    of_caller(app, call, &id.map(|Path(text)| text).unwrap_or_default()).await
}

/// [`find`] for an id that stands elsewhere.
pub async fn of_caller(app: &App, call: &Call, id: &str) -> Result<Transaction, Error> {
    let unknown = || Error::new(Code::Err1004);
    let id = TransactionId::parse(id).ok_or_else(unknown)?;
    store::find(app, call.caller, id).await?.ok_or_else(unknown)
}

/// Refunds follow the capture, not its hold.
async fn refunded_minor(app: &App, transaction: &Transaction) -> Result<i64, Error> {
    if transaction.state != TransactionState::Captured {
        return Ok(transaction.refunded_minor);
    }
    store::refunded_of_captures(app, transaction.id).await
}

pub async fn by_reference(State(app): State<App>, call: Call, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(query.as_deref());
    let mut errors = query.errors(&["merchant_id", "merchant_txn_ref"]);
    for name in ["merchant_id", "merchant_txn_ref"] {
        if query.get(name).is_none() {
            errors.push(FieldError::new(name, "missing", "This parameter is required."));
        }
    }
    if !errors.is_empty() {
        return answer::refuse(&call.about(), Error::fields(errors));
    }
    let Some(merchant) = app.directory.merchant(call.caller, query.get("merchant_id").unwrap_or_default()) else {
        return answer::forbidden();
    };
    let reference = query.get("merchant_txn_ref").unwrap_or_default();
    match list(&app, &call, &merchant, reference).await {
        Ok(list) => answer::object(200, &list),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

async fn list(app: &App, call: &Call, merchant: &Merchant, reference: &str) -> Result<StatusList, Error> {
    let mut transactions = Vec::new();
    for one in &store::find_by_reference(app, call.caller, &merchant.id, reference).await? {
        let refunded_minor = refunded_minor(app, one).await?;
        transactions.push(envelope::status(one, merchant, refunded_minor, call.japanese));
    }
    Ok(StatusList { success: true, status_code: 200, is_live: call.caller.live, transactions })
}
