//! One transaction as it stands in memory and in its row. Holds nothing secret: the sealed card stays in the row.

use crate::acquirer::faults::Fault;
use crate::acquirer::{Initiator, Reason};
use crate::card::{Expiry, Scheme};
use crate::clock::Millis;
use crate::codes::Code;
use crate::directory::Caller;
use crate::id::{LinkId, TokenId, TransactionId};
use crate::money::Money;
use crate::risk::Note;
use crate::subscription::Share;
use crate::threeds::Authenticated;
use crate::wallet::Wallet;
use serde::{Deserialize, Serialize};

/// `transaction_type` of the contract: a purchase is a CAPTURE without a parent, an authorization a PRE_AUTH; a capture of
/// a hold, a refund and a void have a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    PreAuth = 1,
    Capture = 2,
    Refund = 3,
    Void = 4,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::PreAuth => "PRE_AUTH",
            Kind::Capture => "CAPTURE",
            Kind::Refund => "REFUND",
            Kind::Void => "VOID",
        }
    }

    pub fn from_id(id: i64) -> Option<Kind> {
        [Kind::PreAuth, Kind::Capture, Kind::Refund, Kind::Void].into_iter().find(|kind| *kind as i64 == id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The intent is written; the bank may be asked right now.
    Pending = 1,
    /// No answer came. A charge is being reversed and can never become approved; of a capture, refund or void the result
    /// is being found out.
    Unknown = 2,
    Approved = 3,
    Declined = 4,
    Reversed = 5,
    /// A hold whose money was taken.
    Captured = 6,
    /// A hold that was let go.
    Voided = 7,
    /// A hold that was let go at its end.
    Lapsed = 8,
    /// Nothing was sent (ERR1011). Kept for the operator; callers never see it.
    NotSent = 9,
    /// Nothing is sent before the cardholder has authenticated, or agreed in a wallet.
    Waiting = 10,
}

const STATES: [State; 10] = [
    State::Pending,
    State::Unknown,
    State::Approved,
    State::Declined,
    State::Reversed,
    State::Captured,
    State::Voided,
    State::Lapsed,
    State::NotSent,
    State::Waiting,
];

impl State {
    pub fn name(self) -> &'static str {
        match self {
            // One word for callers (contract 4.3).
            State::Pending | State::Waiting => "PENDING",
            State::Unknown => "UNKNOWN",
            State::Approved => "APPROVED",
            State::Declined => "DECLINED",
            State::Reversed => "REVERSED",
            State::Captured => "CAPTURED",
            State::Voided => "VOIDED",
            State::Lapsed => "LAPSED",
            State::NotSent => "NOT_SENT",
        }
    }

    /// Whether the bank did as asked (contract 4.3, `success`): a hold that was captured or let go was held before.
    pub fn succeeded(self) -> bool {
        matches!(self, State::Approved | State::Captured | State::Voided | State::Lapsed)
    }

    pub fn from_id(id: i64) -> Option<State> {
        STATES.into_iter().find(|state| *state as i64 == id)
    }
}

/// Where the card came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Card = 1,
    Token = 2,
}

/// Addresses come out in the order of this struct, without what was not sent (contract section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Address {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
}

/// Where the merchant wants to be told, and the cardholder sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnUrl {
    pub webhook_url: Option<String>,
    pub success_url: Option<String>,
    pub decline_url: Option<String>,
    pub cancel_url: Option<String>,
}

/// What a charge waits for before anything is sent to the bank. What the later message needs and the row does not hold stands
/// here too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// After this it has been abandoned.
    pub until: Millis,
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// As the browser or the page says: `ja`, `en-US`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    pub step: Step,
}

/// Why a charge that waited ended without a bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpaid {
    /// The issuer says so.
    NotAuthenticated,
    /// The wallet's account holder says so.
    Refused,
    /// On a page of ours: not this way.
    Left,
    TooLate,
    /// Its token was deleted.
    TokenGone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The issuer asks the cardholder.
    Challenge {
        acs_url: String,
        /// The 3DS server's, the issuer's and the directory's ids of the authentication.
        server_id: String,
        acs_id: String,
        directory_id: String,
        /// `challengeWindowSize`, `01` to `05`.
        window: String,
    },
    /// A wallet asks its account's holder, on this page.
    Consent { url: String },
}

/// What the request said and only answers repeat; one JSON column, since no statement asks about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    pub billing_address: Option<Address>,
    pub shipping_address: Option<Address>,
    pub customer_ip: Option<String>,
    pub visited_ip: String,
    pub return_url: ReturnUrl,
    pub time_zone: Option<String>,
    /// What the merchant noted on a capture, refund or void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// A void of the gateway's own: the hold has reached its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lapse: bool,
    /// The version of the vault's key under which the charged token was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_key: Option<i64>,
    /// Which risk rules fired, and the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Note>,
    /// The hosted page's link that it tries to pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkId>,
    /// What the issuer said of the cardholder, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub three_d_secure: Option<Authenticated>,
    /// The wallet whose token the card came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<Wallet>,
    /// What it waits for, or has waited for: such a transaction's id was told before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// What it is to a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<Share>,
    /// Why it has waited in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaid: Option<Unpaid>,
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub id: TransactionId,
    /// The contract's growing number; 0 until the intent is written.
    pub reference: i64,
    pub caller: Caller,
    pub merchant_id: String,
    pub kind: Kind,
    pub state: State,
    pub created_at: Millis,
    /// When the sweep may take it; `None` in a final state.
    pub settle_after: Option<Millis>,
    pub money: Money,
    pub merchant_txn_ref: Option<String>,
    pub scheme: Scheme,
    pub masked: String,
    pub card_name: String,
    pub expiry: Expiry,
    pub token: Option<TokenId>,
    pub source: Source,
    pub initiator: Initiator,
    pub details: Details,
    pub code: Option<Code>,
    pub response_code: Option<i64>,
    pub auth_code: Option<String>,
    pub network_transaction_id: Option<String>,
    /// What a capture, refund or void follows.
    pub parent: Option<TransactionId>,
    /// Of a hold: what was captured, minor units.
    pub captured_minor: i64,
    /// Of a purchase or capture: what refunds have taken or may take of it, minor units.
    pub refund_reserved_minor: i64,
    /// Of a purchase or capture: what was refunded, minor units.
    pub refunded_minor: i64,
    /// How many that follow it have no known result; of a hold also one that is being asked.
    pub unresolved: i64,
}

impl Transaction {
    /// Nothing of it is known to have reached a bank that could decide: it is nobody's fault, and counts against nobody. After a
    /// wait such an end is recorded as a decline with 91.
    pub fn unreached(&self) -> bool {
        let waited = self.details.waits.is_some() && self.state == State::Declined;
        self.state == State::NotSent || waited && self.response_code == Some(91)
    }

    /// A purchase, an authorization or a verification, not what follows one.
    pub fn is_charge(&self) -> bool {
        self.parent.is_none()
    }
}
