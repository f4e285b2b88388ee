//! Asking the bank: one trait, one kind of answer. An acquirer is one file or folder and one line where the program
//! starts.

pub mod faults;
pub mod iso8583;
pub mod sandbox;
pub mod updater;

use crate::card::{Cryptogram, Cvc, Expiry, Pan, Scheme};
use crate::money::Money;
use crate::response_codes::{self, OutcomeClass};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an acquirer can do and how long it may take; data, so that nobody writes empty methods.
#[derive(Clone, Copy)]
pub struct Abilities {
    /// How long an answer is waited for before it counts as unknown, milliseconds.
    pub deadline_ms: u64,
    /// How late the host may still act on a message, milliseconds: before that, "not found" proves nothing.
    pub greatest_lateness_ms: i64,
    /// What is done with a capture, refund or void without an answer. Charges are reversed.
    pub capture: Settling,
    pub refund: Settling,
    pub void: Settling,
    /// Whether the host can be asked what became of a message.
    pub inquire: bool,
    /// Whether the host gives back by itself what a capture leaves of its hold.
    pub releases_remainder: bool,
}

/// How the result of a message without an answer is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// The host answers the same reference with its first answer: it is sent again.
    Repeat,
    /// The host is asked what became of it.
    Inquire,
    /// Neither: it stays listed until an operator settles it by hand.
    Operator,
}

pub trait Acquirer: Send + Sync {
    fn name(&self) -> &'static str;
    fn abilities(&self) -> Abilities;
    fn send<'a>(&'a self, operation: Operation<'a>) -> BoxFuture<'a, Outcome>;
}

#[derive(Clone, Copy)]
pub enum Operation<'a> {
    /// Hold the money.
    Authorize(Ask<'a>),
    /// Take the money at once.
    Purchase(Ask<'a>),
    /// Ask for nothing but whether the card is good.
    Verify(Ask<'a>),
    /// Take the money that is held.
    Capture(Follow<'a>),
    /// Give money back that was taken.
    Refund(Follow<'a>),
    /// Let go of the money that is held.
    Void(Follow<'a>),
    /// Let go of what a capture left of its hold: `original` is the hold, `money` the remainder.
    Release(Follow<'a>),
    /// Undo what became of `original`, if anything did.
    Reverse { original: &'a str },
    /// Tell what became of `reference`: its first answer, or 25 when it is not known.
    Inquire { reference: &'a str },
}

/// What follows an earlier message: both are named by our references.
#[derive(Clone, Copy)]
pub struct Follow<'a> {
    pub reference: &'a str,
    pub original: &'a str,
    pub money: Money,
}

/// What every charge tells the bank. `reference` is ours and unique: the bank answers a repeat with its first answer.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub reference: &'a str,
    pub money: Money,
    pub funding: Funding<'a>,
    /// The number is a device's (DPAN), with what it has made for this one payment.
    pub device: Option<Device<'a>>,
    pub stored_credential: Option<StoredCredential<'a>>,
    /// What proves that the cardholder was authenticated for this charge.
    pub authentication: Option<&'a Authentication>,
}

/// What is charged.
#[derive(Clone, Copy)]
pub enum Funding<'a> {
    Card {
        pan: &'a Pan,
        expiry: Expiry,
        cvc: Option<&'a Cvc>,
    },
    /// An account in a wallet, by what its holder agreed to there.
    Account {
        wallet: Scheme,
        agreement: &'a str,
    },
}

/// The proof of a 3-D Secure authentication, as a bank wants it (EMV 3-D Secure 2.2, table A.1; ISO 8583 carries it in
/// private fields).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Electronic commerce indicator, two digits.
    pub eci: String,
    /// Cardholder authentication verification value, 20 bytes in base64.
    pub cavv: String,
    /// The directory server's transaction id, a UUID.
    pub directory_id: String,
    /// Of the protocol: `2.2.0`.
    pub version: String,
}

/// What a wallet's device says beside its number.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    pub cryptogram: &'a Cryptogram,
    /// Electronic commerce indicator, two digits; some schemes give none.
    pub eci: Option<&'a str>,
}

/// The card schemes' stored-credential framework: who asks, and which earlier charge the cardholder agreed to.
#[derive(Clone, Copy)]
pub struct StoredCredential<'a> {
    pub initiator: Initiator,
    pub reason: Reason,
    /// `None` for the first charge of a credential by this merchant.
    pub network_transaction_id: Option<&'a str>,
    /// The card comes from the vault, not from this request.
    pub from_vault: bool,
    /// It was stored in a charge that the cardholder authenticated.
    pub authenticated: bool,
}

/// Customer-initiated (CIT) or merchant-initiated (MIT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    Customer = 1,
    Merchant = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    Recurring = 1,
    Unscheduled = 2,
    Installment = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Approved(Approval),
    Declined {
        response_code: i64,
    },
    /// The bank may or may not have acted.
    Unknown {
        why: &'static str,
    },
    /// Nothing reached the bank.
    NotSent {
        why: &'static str,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub response_code: i64,
    pub auth_code: Option<String>,
    pub network_transaction_id: Option<String>,
}

impl Outcome {
    /// Reads a response code by the table: not everything but 0 is a decline.
    pub fn from_response(operation_verifies: bool, approval: Approval) -> Outcome {
        let response_code = approval.response_code;
        let class = response_codes::find(response_code).map_or(OutcomeClass::Unknown, |row| row.outcome);
        match class {
            OutcomeClass::Approved => Outcome::Approved(approval),
            OutcomeClass::ApprovedVerifyOnly if operation_verifies => Outcome::Approved(approval),
            OutcomeClass::ApprovedVerifyOnly | OutcomeClass::Declined | OutcomeClass::Refused => {
                Outcome::Declined { response_code }
            }
            OutcomeClass::Reverse => Outcome::Unknown { why: "approved for a part only" },
            OutcomeClass::Inquire => Outcome::Unknown { why: "the host calls it a duplicate" },
            OutcomeClass::Unknown => Outcome::Unknown { why: "the host does not know the result" },
        }
    }
}
