//! The transaction envelope (contract section 3): the same keys in the same order as the public samples.

use super::Answer;
use super::plan::SubscriptionDetails;
use super::transaction::{Address, Kind, ReturnUrl, Source, State, Transaction};
use crate::clock::timestamp;
use crate::codes::Code;
use crate::directory::Merchant;
use crate::error::FieldError;
use crate::id::{TokenId, TransactionId};
use crate::money::Money;
use crate::response_codes;
use crate::threeds::Authenticated;
use crate::wallet::Wallet;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Envelope {
    /// True only where money moved or was held as asked.
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    /// `PRE_AUTH`, `CAPTURE`, `REFUND` or `VOID`.
    pub transaction_type: &'static str,
    pub gateway_response: GatewayResponse,
    /// Webhooks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_url_details: Option<ReturnUrlDetails>,
    pub merchant_details: MerchantDetails,
    /// In webhooks of charges it stands here, not under `merchant_details`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_details: Option<DeviceDetails>,
    pub payment_details: PaymentDetails,
    pub transaction_details: TransactionDetails,
    /// Where the charge belongs to a subscription that has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_details: Option<SubscriptionDetails>,
    #[serde(rename = "risk-details", skip_serializing_if = "Option::is_none")]
    pub risk_details_hyphen: Option<RiskDetails>,
    /// The underscore is a status answer's spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_details: Option<RiskDetails>,
    /// Refusals only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

#[derive(Clone, Serialize, ToSchema)]
pub struct GatewayResponse {
    pub version: &'static str,
    /// `INFO` or `ERROR`.
    pub r#type: &'static str,
    pub message: String,
    pub code: &'static str,
}

impl GatewayResponse {
    pub fn of(code: Code) -> GatewayResponse {
        let r#type = if code.is_info() { "INFO" } else { "ERROR" };
        GatewayResponse { version: "1", r#type, message: code.meaning().message.to_owned(), code: code.name() }
    }
}

#[derive(Serialize, ToSchema)]
pub struct MerchantDetails {
    pub legal_name: String,
    pub mid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merchant_txn_ref: Option<String>,
    /// Charges only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_details: Option<BillingDetails>,
    /// Charges only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_details: Option<DeviceDetails>,
}

#[derive(Serialize, ToSchema)]
pub struct BillingDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_address: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<Address>,
}

#[derive(Serialize, ToSchema)]
pub struct DeviceDetails {
    /// The caller's address.
    pub visited_ip: String,
    /// The request's `customer_ip`.
    pub customer_ip: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ReturnUrlDetails {
    pub webhook_url: Option<String>,
    pub success_url: Option<String>,
    pub decline_url: Option<String>,
}

impl ReturnUrlDetails {
    pub fn of(urls: &ReturnUrl) -> ReturnUrlDetails {
        ReturnUrlDetails {
            webhook_url: urls.webhook_url.clone(),
            success_url: urls.success_url.clone(),
            decline_url: urls.decline_url.clone(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct PaymentDetails {
    /// Major units, exact, in the shortest form.
    #[schema(value_type = f64, example = 1000)]
    pub amount: Money,
    pub response_code: i64,
    #[serde(rename = "responseDescription", skip_serializing_if = "Option::is_none")]
    pub response_description: Option<&'static str>,
    pub auth_code: Option<String>,
    pub currency: &'static str,
    #[schema(example = "VISA-SSL")]
    pub payment_method: &'static str,
    pub scheme: &'static str,
    /// Null of an account in a wallet.
    pub card: Option<CardOut>,
    /// Charges whose cardholder's issuer was asked only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub three_d_secure: Option<ThreeDSecure>,
    pub additional_data: AdditionalData,
}

/// A card as it leaves the gateway: first six, stars, last four (PCI DSS 3.4.1).
#[derive(Clone, Serialize, ToSchema)]
pub struct CardOut {
    pub name: String,
    #[schema(example = "400000******1091")]
    pub number: String,
    #[schema(example = "12")]
    pub exp_month: String,
    #[schema(example = "30")]
    pub exp_year: String,
}

/// What came of the cardholder's authentication (EMV 3-D Secure).
#[derive(Serialize, ToSchema)]
pub struct ThreeDSecure {
    /// `Y` authenticated, `A` attempted, `N` not authenticated, `R` rejected, `U` not possible.
    pub status: &'static str,
    /// Electronic commerce indicator.
    pub eci: Option<String>,
    #[schema(example = "2.2.0")]
    pub version: String,
    pub ds_transaction_id: Option<String>,
    /// Whether the issuer answers for fraud with this payment; false where nothing was paid.
    pub liability_shift: bool,
}

#[derive(Serialize, ToSchema)]
pub struct AdditionalData {
    pub payment_data_source: PaymentDataSource,
}

#[derive(Serialize, ToSchema)]
pub struct PaymentDataSource {
    pub r#type: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct TransactionDetails {
    #[schema(value_type = String)]
    pub id: TransactionId,
    pub r#ref: i64,
    pub timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merchant_txn_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub stored_payment_method_id: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_details: Option<BillingDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub captured_amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub refunded_amount: Option<Money>,
}

#[derive(Serialize, ToSchema)]
pub struct RiskDetails {
    /// 0 to 100, from the rules that fired with a score; null where no such rule stands.
    pub risk_score: Option<i64>,
}

/// One wrong field, as VAL0002 lists it.
#[derive(Serialize, ToSchema)]
pub struct WrongField {
    #[schema(example = "card.number")]
    pub field: String,
    #[schema(example = "luhn")]
    pub code: &'static str,
    pub message: String,
}

impl From<FieldError> for WrongField {
    fn from(error: FieldError) -> WrongField {
        WrongField { field: error.field, code: error.code, message: error.message }
    }
}

/// The answer to a charge, capture, refund or void: approved, declined, refused or without a known result.
pub fn answer(transaction: &Transaction, merchant: &Merchant, request_id: &str) -> Answer {
    answer_with(transaction, merchant, request_id, None)
}

/// The same with the subscription that it belongs to.
pub fn answer_with(
    transaction: &Transaction,
    merchant: &Merchant,
    request_id: &str,
    subscription: Option<SubscriptionDetails>,
) -> Answer {
    let code = transaction.code.unwrap_or(Code::Err0500);
    let status = code.meaning().http_status;
    let mut envelope = envelope(transaction, merchant, status);
    if transaction.is_charge() {
        envelope.merchant_details.billing_details = Some(billing_details(transaction));
        envelope.risk_details_hyphen = Some(risk_details(transaction));
    }
    envelope.subscription_details = subscription;
    envelope.request_id = (!code.is_info()).then(|| request_id.to_owned());
    Answer::new(status, serde_json::to_string(&envelope).unwrap_or_default())
}

/// What a webhook says of a final result (contract section 9).
pub fn told(transaction: &Transaction, merchant: &Merchant, subscription: Option<SubscriptionDetails>) -> String {
    let status = transaction.code.unwrap_or(Code::Err0500).meaning().http_status;
    let mut envelope = envelope(transaction, merchant, status);
    envelope.device_details = envelope.merchant_details.device_details.take();
    envelope.return_url_details = Some(ReturnUrlDetails::of(&transaction.details.return_url));
    envelope.subscription_details = subscription;
    if transaction.is_charge() {
        envelope.merchant_details.billing_details = Some(billing_details(transaction));
        envelope.risk_details_hyphen = Some(risk_details(transaction));
    }
    serde_json::to_string(&envelope).unwrap_or_default()
}

/// The answer to a question about a transaction (contract 4.3). `refunded_minor`: of a captured hold that of its capture.
pub fn status(transaction: &Transaction, merchant: &Merchant, refunded_minor: i64, japanese: bool) -> Envelope {
    let mut envelope = envelope(transaction, merchant, 200);
    if matches!(transaction.state, State::Pending | State::Waiting | State::Unknown) {
        envelope.payment_details.response_code = 578;
        envelope.gateway_response = GatewayResponse::of(match transaction.state {
            State::Waiting => Code::Info1000,
            // It is being reversed, and never becomes approved.
            State::Unknown if transaction.is_charge() => Code::Err1010,
            _ => Code::Err1016,
        });
    }
    let description = response_codes::text(envelope.payment_details.response_code, japanese);
    envelope.payment_details.response_description = Some(description);
    let currency = transaction.money.currency;
    let taken = transaction.state == State::Approved && transaction.kind == Kind::Capture;
    let captured_minor = if taken { transaction.money.minor } else { transaction.captured_minor };
    let details = &mut envelope.transaction_details;
    details.merchant_txn_ref = None;
    details.state = Some(transaction.state.name());
    details.captured_amount = Some(Money { minor: captured_minor, currency });
    details.refunded_amount = Some(Money { minor: refunded_minor, currency });
    if transaction.is_charge() {
        details.billing_details = Some(billing_details(transaction));
        envelope.risk_details = Some(risk_details(transaction));
    }
    envelope
}

/// Null where the entity has no rule that scores.
fn risk_details(transaction: &Transaction) -> RiskDetails {
    RiskDetails { risk_score: transaction.details.risk.as_ref().and_then(|note| note.score) }
}

fn envelope(transaction: &Transaction, merchant: &Merchant, status_code: u16) -> Envelope {
    let reference = &transaction.merchant_txn_ref;
    let wallet = transaction.details.wallet;
    Envelope {
        success: transaction.state.succeeded(),
        status_code,
        is_live: transaction.caller.live,
        transaction_type: transaction.kind.name(),
        gateway_response: GatewayResponse::of(transaction.code.unwrap_or(Code::Err1016)),
        return_url_details: None,
        merchant_details: MerchantDetails {
            legal_name: merchant.legal_name.clone(),
            mid: merchant.id.clone(),
            merchant_txn_ref: reference.clone(),
            billing_details: None,
            device_details: transaction.is_charge().then(|| DeviceDetails {
                visited_ip: transaction.details.visited_ip.clone(),
                customer_ip: transaction.details.customer_ip.clone(),
            }),
        },
        device_details: None,
        payment_details: PaymentDetails {
            amount: transaction.money,
            response_code: transaction.response_code.unwrap_or(578),
            response_description: None,
            auth_code: transaction.auth_code.clone(),
            currency: transaction.money.currency.code(),
            payment_method: wallet.map_or(transaction.scheme.payment_method(), Wallet::payment_method),
            scheme: transaction.scheme.name(),
            card: card_out(transaction),
            three_d_secure: transaction
                .details
                .three_d_secure
                .as_ref()
                .map(|result| three_d_secure(transaction, result)),
            additional_data: AdditionalData {
                payment_data_source: PaymentDataSource { r#type: data_source(transaction) },
            },
        },
        transaction_details: details(transaction),
        subscription_details: None,
        risk_details_hyphen: None,
        risk_details: None,
        request_id: None,
    }
}

/// `card` also for a token (contract section 3).
fn data_source(transaction: &Transaction) -> &'static str {
    transaction.details.wallet.map(Wallet::name).or(transaction.scheme.wallet()).unwrap_or("card")
}

fn card_out(transaction: &Transaction) -> Option<CardOut> {
    transaction.scheme.wallet().is_none().then(|| CardOut {
        name: transaction.card_name.clone(),
        number: transaction.masked.clone(),
        exp_month: transaction.expiry.month_text(),
        exp_year: transaction.expiry.year_text(),
    })
}

fn three_d_secure(transaction: &Transaction, result: &Authenticated) -> ThreeDSecure {
    ThreeDSecure {
        status: result.status.name(),
        eci: result.eci.clone(),
        version: result.version.clone(),
        ds_transaction_id: result.directory_id.clone(),
        liability_shift: result.proves() && transaction.state.succeeded(),
    }
}

pub fn details(transaction: &Transaction) -> TransactionDetails {
    TransactionDetails {
        id: transaction.id,
        r#ref: transaction.reference,
        timestamp: timestamp(transaction.created_at),
        merchant_txn_ref: transaction.merchant_txn_ref.clone(),
        // A token that is still to be made is told only with the approval that makes it.
        stored_payment_method_id: transaction
            .token
            .filter(|_| transaction.source == Source::Token || transaction.state.succeeded())
            .filter(|_| !transaction.details.subscription.as_ref().is_some_and(|share| share.owned)),
        billing_details: None,
        state: None,
        captured_amount: None,
        refunded_amount: None,
    }
}

/// Shipping is repeated when sent, but never in a token charge: the public samples differ so.
fn billing_details(transaction: &Transaction) -> BillingDetails {
    let shipping = transaction.details.shipping_address.clone();
    BillingDetails {
        billing_address: transaction.details.billing_address.clone(),
        shipping_address: shipping.filter(|_| transaction.source == Source::Card),
    }
}
