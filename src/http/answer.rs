//! Answers: every one of the API is a JSON object, and every refusal but 401 and 403 has one shape (contract section 10).

use crate::error::Error;
use crate::id::TransactionId;
use crate::pay::Answer;
use crate::pay::envelope::{GatewayResponse, WrongField};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal where nothing was recorded.
#[derive(Serialize, ToSchema)]
pub struct Refusal {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_type: Option<&'static str>,
    pub gateway_response: GatewayResponse,
    pub transaction_details: RefusedDetails,
    /// VAL0002 only: all the wrong fields at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<WrongField>,
    pub request_id: String,
}

#[derive(Serialize, ToSchema)]
pub struct RefusedDetails {
    /// Null where nothing was recorded; the running transaction's for ERR1008.
    #[schema(value_type = Option<String>)]
    pub id: Option<TransactionId>,
    pub r#ref: Option<i64>,
    pub timestamp: Option<String>,
    pub merchant_txn_ref: Option<String>,
}

/// What a refusal repeats of its request.
#[derive(Clone, Default)]
pub struct About {
    pub live: bool,
    pub request_id: String,
    pub transaction_type: Option<&'static str>,
    pub merchant_txn_ref: Option<String>,
}

pub fn json(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub fn object(status: u16, value: &impl Serialize) -> Response {
    json(status, serde_json::to_string(value).unwrap_or_default())
}

/// `{"message":"Forbidden"}` and nothing else: clients test for exactly this.
pub fn forbidden() -> Response {
    json(403, r#"{"message":"Forbidden"}"#.to_owned())
}

pub fn unauthorized() -> Response {
    json(401, r#"{"message":"Unauthorized"}"#.to_owned())
}

/// An answer of the payment flow, with its header when it is a repeat.
pub fn finished(answer: Answer) -> Response {
    let mut response = json(answer.status, answer.body);
    if answer.replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

pub fn refuse(about: &About, error: Error) -> Response {
    let meaning = error.code.meaning();
    if meaning.http_status >= 500 {
        tracing::error!(request = about.request_id, code = meaning.name, cause = error.cause(), "refused");
    } else {
        tracing::debug!(request = about.request_id, code = meaning.name, fields = error.fields.len(), "refused");
    }
    let retry_after = error.retry_after;
    let mut response = object(meaning.http_status, &refusal(about, error));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub fn refusal(about: &About, error: Error) -> Refusal {
    let mut gateway_response = GatewayResponse::of(error.code);
    if let Some(detail) = error.detail {
        gateway_response.message = detail;
    }
    Refusal {
        success: false,
        status_code: error.code.meaning().http_status,
        is_live: about.live,
        transaction_type: about.transaction_type,
        gateway_response,
        transaction_details: RefusedDetails {
            id: error.transaction,
            r#ref: None,
            timestamp: None,
            merchant_txn_ref: about.merchant_txn_ref.clone(),
        },
        errors: error.fields.into_iter().map(WrongField::from).collect(),
        request_id: about.request_id.clone(),
    }
}
