//! What became of a transaction: by its id, or by the merchant's reference for a caller that lost our answer (contract
//! 4.3).

use super::answer;
use super::call::Call;
use super::query::Query;
use crate::app::App;
use crate::codes::Code;
use crate::error::{Error, FieldError};
use crate::id::TransactionId;
use crate::pay::envelope::{self, Envelope};
use crate::pay::store;
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
    match find(&app, &call, id).await {
        Ok(envelope) => answer::object(200, &envelope),
        Err(error) => answer::refuse(&call.about(), error),
    }
}

async fn find(app: &App, call: &Call, id: Result<Path<String>, PathRejection>) -> Result<Envelope, Error> {
    let unknown = || Error::new(Code::Err1004);
    let id = id.ok().and_then(|Path(text)| TransactionId::parse(&text)).ok_or_else(unknown)?;
    let transaction = store::find(app, call.caller, id).await?.ok_or_else(unknown)?;
    let merchant = app.directory.merchant(call.caller, &transaction.merchant_id).ok_or_else(unknown)?;
    Ok(envelope::status(&transaction, &merchant, call.japanese))
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
    match store::find_by_reference(&app, call.caller, &merchant.id, reference).await {
        Ok(found) => {
            let transactions = found.iter().map(|one| envelope::status(one, &merchant, call.japanese)).collect();
            let list = StatusList { success: true, status_code: 200, is_live: call.caller.live, transactions };
            answer::object(200, &list)
        }
        Err(error) => answer::refuse(&call.about(), error),
    }
}
