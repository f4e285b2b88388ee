//! The messages of EMV 3-D Secure 2.2.0 (protocol and core functions specification, tables B.1 to B.9), browser channel:
//! the data elements that a payment needs. Members that are not known are ignored on the way in, as the specification asks.
//! No well-kept crate has them.

use crate::card::Pan;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The protocol's version that is spoken, `messageVersion`.
pub const VERSION: &str = "2.2.0";

/// `transStatus`: what the authentication came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransStatus {
    /// Authenticated.
    Y,
    /// Not authenticated.
    N,
    /// Could not be performed.
    U,
    /// Attempts processing performed: there is proof that it was tried.
    A,
    /// The cardholder is challenged.
    C,
    /// The issuer rejects it, and wants no authorization to be tried.
    R,
    /// Decoupled, information only and whatever a later version brings: nothing of ours.
    #[serde(other)]
    Other,
}

impl TransStatus {
    /// As answers show it.
    pub fn name(self) -> &'static str {
        match self {
            TransStatus::Y => "Y",
            TransStatus::N => "N",
            TransStatus::U | TransStatus::Other => "U",
            TransStatus::A => "A",
            TransStatus::C => "C",
            TransStatus::R => "R",
        }
    }
}

/// The authentication request, from the 3DS server by the directory server to the issuer's access control server (ACS).
#[derive(Serialize, Deserialize)]
pub struct AReq {
    #[serde(rename = "messageType")]
    pub message_type: String,
    #[serde(rename = "messageVersion")]
    pub message_version: String,
    #[serde(rename = "threeDSServerTransID")]
    pub server_id: String,
    /// `02`: a browser.
    #[serde(rename = "deviceChannel")]
    pub device_channel: String,
    /// `01`: a payment.
    #[serde(rename = "messageCategory")]
    pub message_category: String,
    /// `U`: the 3DS Method was not run.
    #[serde(rename = "threeDSCompInd")]
    pub method_completion: String,
    /// `01`: a payment; `04`: a card is added with it.
    #[serde(rename = "threeDSRequestorAuthenticationInd")]
    pub authentication_indicator: String,
    #[serde(rename = "threeDSRequestorID")]
    pub requestor_id: String,
    #[serde(rename = "threeDSRequestorName")]
    pub requestor_name: String,
    #[serde(rename = "threeDSRequestorURL")]
    pub requestor_url: String,
    #[serde(rename = "acctNumber", serialize_with = "number_out", deserialize_with = "number_in")]
    pub account: Pan,
    /// `YYMM`.
    #[serde(rename = "cardExpiryDate")]
    pub card_expiry: String,
    #[serde(rename = "cardholderName", skip_serializing_if = "Option::is_none")]
    pub cardholder_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(flatten)]
    pub billing: Option<BillingAddress>,
    #[serde(rename = "merchantName")]
    pub merchant_name: String,
    #[serde(rename = "acquirerMerchantID")]
    pub merchant_id: String,
    /// Minor units, without a decimal point.
    #[serde(rename = "purchaseAmount")]
    pub amount: String,
    /// ISO 4217, three digits.
    #[serde(rename = "purchaseCurrency")]
    pub currency: String,
    #[serde(rename = "purchaseExponent")]
    pub exponent: String,
    /// `YYYYMMDDHHMMSS`, UTC.
    #[serde(rename = "purchaseDate")]
    pub date: String,
    /// Where the browser comes back to after a challenge.
    #[serde(rename = "notificationURL")]
    pub notification_url: String,
    #[serde(flatten)]
    pub browser: Browser,
    #[serde(rename = "messageExtension", default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

#[derive(Serialize, Deserialize)]
pub struct BillingAddress {
    #[serde(rename = "billAddrLine1", skip_serializing_if = "Option::is_none")]
    pub line1: Option<String>,
    #[serde(rename = "billAddrLine2", skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    #[serde(rename = "billAddrCity", skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(rename = "billAddrPostCode", skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
}

/// What is known of the cardholder's browser, from `browser_info` or from its own request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browser {
    #[serde(rename = "browserAcceptHeader", skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    #[serde(rename = "browserIP", skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(rename = "browserJavaEnabled", skip_serializing_if = "Option::is_none")]
    pub java: Option<bool>,
    #[serde(rename = "browserJavascriptEnabled", skip_serializing_if = "Option::is_none")]
    pub javascript: Option<bool>,
    #[serde(rename = "browserLanguage", skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(rename = "browserColorDepth", skip_serializing_if = "Option::is_none")]
    pub color_depth: Option<String>,
    #[serde(rename = "browserScreenHeight", skip_serializing_if = "Option::is_none")]
    pub screen_height: Option<String>,
    #[serde(rename = "browserScreenWidth", skip_serializing_if = "Option::is_none")]
    pub screen_width: Option<String>,
    #[serde(rename = "browserUserAgent", skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// `01` to `05` of the challenge window sizes; it goes with the challenge, not with this message.
    #[serde(skip)]
    pub window: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub struct Extension {
    pub name: String,
    pub id: String,
    #[serde(rename = "criticalityIndicator")]
    pub critical: bool,
    pub data: serde_json::Value,
}

/// The answer to it: the end, or where the challenge is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ARes {
    #[serde(rename = "messageType")]
    pub message_type: String,
    #[serde(rename = "messageVersion")]
    pub message_version: String,
    #[serde(rename = "threeDSServerTransID")]
    pub server_id: String,
    #[serde(rename = "dsTransID")]
    pub directory_id: String,
    #[serde(rename = "acsTransID")]
    pub acs_id: String,
    #[serde(rename = "transStatus")]
    pub status: TransStatus,
    #[serde(rename = "acsURL", skip_serializing_if = "Option::is_none")]
    pub acs_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eci: Option<String>,
    /// CAVV, AAV or AEVV: 20 bytes in base64.
    #[serde(rename = "authenticationValue", skip_serializing_if = "Option::is_none")]
    pub authentication_value: Option<String>,
}

/// The challenge request: the browser brings it to the ACS, base64url in the form field `creq`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CReq {
    #[serde(rename = "messageType")]
    pub message_type: String,
    #[serde(rename = "messageVersion")]
    pub message_version: String,
    #[serde(rename = "threeDSServerTransID")]
    pub server_id: String,
    #[serde(rename = "acsTransID")]
    pub acs_id: String,
    #[serde(rename = "challengeWindowSize")]
    pub window: String,
}

/// The challenge's answer, which the browser brings back in the field `cres`. It comes through the cardholder's hands:
/// what counts is the [`RReq`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CRes {
    #[serde(rename = "messageType")]
    pub message_type: String,
    #[serde(rename = "messageVersion")]
    pub message_version: String,
    #[serde(rename = "threeDSServerTransID")]
    pub server_id: String,
    #[serde(rename = "acsTransID")]
    pub acs_id: String,
    #[serde(rename = "challengeCompletionInd")]
    pub completed: String,
    #[serde(rename = "transStatus")]
    pub status: TransStatus,
}

/// The results request: what the ACS tells the 3DS server of a challenge's end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RReq {
    #[serde(rename = "messageType")]
    pub message_type: String,
    #[serde(rename = "messageVersion")]
    pub message_version: String,
    #[serde(rename = "threeDSServerTransID")]
    pub server_id: String,
    #[serde(rename = "dsTransID")]
    pub directory_id: String,
    #[serde(rename = "acsTransID")]
    pub acs_id: String,
    #[serde(rename = "messageCategory")]
    pub message_category: String,
    #[serde(rename = "transStatus")]
    pub status: TransStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eci: Option<String>,
    #[serde(rename = "authenticationValue", skip_serializing_if = "Option::is_none")]
    pub authentication_value: Option<String>,
    /// How often the cardholder answered.
    #[serde(rename = "interactionCounter")]
    pub interactions: String,
    /// `01`: the cardholder cancelled.
    #[serde(rename = "challengeCancel", skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<String>,
}

/// The directory is told the number; nobody else on this way is.
fn number_out<S: Serializer>(account: &Pan, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(account.expose())
}

fn number_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pan, D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    Pan::parse(&text).map_err(|_| serde::de::Error::custom("acctNumber is no card number"))
}
