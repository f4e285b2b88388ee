//! Asking the bank: one trait, one kind of answer. An acquirer is one file or folder and one line where the program
//! starts.

pub mod faults;
pub mod iso8583;
pub mod lines;
pub mod sandbox;
pub mod updater;

use crate::acceptor::Acceptor;
use crate::card::{Cryptogram, Cvc, Expiry, Pan, Scheme};
use crate::clock::Millis;
use crate::error::Error;
use crate::money::Money;
use crate::response_codes::{self, OutcomeClass};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The acquirers that are set up beside the sandbox, by name.
pub type Acquirers = Arc<BTreeMap<String, Arc<dyn Acquirer>>>;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an acquirer can do and how long it may take; data, so that nobody writes empty methods.
#[derive(Clone, Copy)]
pub struct Abilities {
    /// How long an answer is waited for before it counts as unknown, milliseconds: of charges, of what follows them, and of
    /// reversals and inquiries.
    pub charge_ms: u64,
    pub follow_ms: u64,
    pub reversal_ms: u64,
    /// How late the host may still act on a message, milliseconds: before that, "not found" proves nothing.
    pub greatest_lateness_ms: i64,
    /// How long after the first message the host still answers a repeat with its first answer, milliseconds; `i64::MAX` for one
    /// that never forgets. After that a repeat might be acted on anew.
    pub remembers_ms: i64,
    /// What is done with a capture, refund or void without an answer. Charges are reversed.
    pub capture: Settling,
    pub refund: Settling,
    pub void: Settling,
    /// Whether the host can be asked what became of a message.
    pub inquire: bool,
    /// Whether the host gives back by itself what a capture leaves of its hold.
    pub releases_remainder: bool,
    /// Whether what follows a charge, and its reversal, name its card too.
    pub names_cards: bool,
    /// Whether it takes payments from accounts in wallets.
    pub accounts: bool,
}

impl Abilities {
    pub fn deadline_ms(&self, operation: &Operation<'_>) -> u64 {
        match operation {
            Operation::Authorize(_) | Operation::Purchase(_) | Operation::Verify(_) => self.charge_ms,
            Operation::Capture(_) | Operation::Refund(_) | Operation::Void(_) | Operation::Release(_) => self.follow_ms,
            Operation::Reverse(_) | Operation::Inquire { .. } => self.reversal_ms,
        }
    }

    pub fn longest_ms(&self) -> u64 {
        self.charge_ms.max(self.follow_ms).max(self.reversal_ms)
    }
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
    fn name(&self) -> &str;
    /// Whether it moves money: test requests never reach such a one (contract section 1).
    fn live(&self) -> bool;
    fn abilities(&self) -> Abilities;

    /// What will name the next message, sent at `now`; never given twice, by no process. `None` where our reference is all that
    /// the host goes by.
    ///
    /// # Errors
    /// The store cannot be asked for numbers.
    fn trace(&self, now: Millis) -> BoxFuture<'_, Result<Option<Trace>, Error>>;

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
    /// Undo what became of the original, if anything did.
    Reverse(Reversal<'a>),
    /// Tell what became of `reference`: its first answer, or 25 when it is not known.
    Inquire { reference: &'a str },
}

/// What follows an earlier message.
#[derive(Clone, Copy)]
pub struct Follow<'a> {
    pub reference: &'a str,
    pub named: Option<Named<'a>>,
    pub original: Original<'a>,
    pub money: Money,
}

#[derive(Clone, Copy)]
pub struct Reversal<'a> {
    pub named: Option<Named<'a>>,
    pub original: Original<'a>,
}

/// What names a message at a host that does not go by our references (ISO 8583). It stands in the attempt's row before the
/// message goes, so that any process can name it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Systems trace audit number (field 11), 1 to 999,999.
    pub stan: i64,
    /// Retrieval reference number (field 37), up to 12 letters and digits.
    pub rrn: String,
    /// Transmission date and time (field 7) as epoch milliseconds; hosts see seconds.
    pub sent_at: Millis,
}

#[derive(Clone, Copy)]
pub struct Named<'a> {
    pub trace: &'a Trace,
    pub acceptor: &'a Acceptor,
    /// How often the same message may have gone before: a repeat says that it is one.
    pub tries: u32,
}

/// What an earlier message asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Authorization,
    Purchase,
    Verification,
    Capture,
    /// Refunds and voids; nothing follows them.
    Other,
}

/// The message that a later one is about.
#[derive(Clone, Copy)]
pub struct Original<'a> {
    pub reference: &'a str,
    pub asked: Asked,
    pub trace: Option<&'a Trace>,
    pub money: Money,
    pub auth_code: Option<&'a str>,
    pub network_transaction_id: Option<&'a str>,
    /// The charge's card, where [`Abilities::names_cards`] asks for it and it is still kept.
    pub card: Option<(&'a Pan, Expiry)>,
}

impl<'a> Original<'a> {
    /// For a bank that goes by our references.
    pub fn known_as(reference: &'a str, money: Money) -> Original<'a> {
        Original {
            reference,
            asked: Asked::Other,
            trace: None,
            money,
            auth_code: None,
            network_transaction_id: None,
            card: None,
        }
    }
}

/// What every charge tells the bank. `reference` is ours and unique: the bank answers a repeat with its first answer.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub reference: &'a str,
    pub named: Option<Named<'a>>,
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

/// What an acquirer says by itself.
#[derive(Clone, Debug)]
pub enum News {
    /// Its line stands again after it was down: what waits for it may go.
    Up,
    Late(Late),
}

/// An answer that nobody waited for any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// What names the message that it answers ([`Trace`]).
    pub stan: i64,
    pub rrn: String,
    /// Whether it answers a reversal, not what was reversed; `None` where nobody remembers the request.
    pub reversal: Option<bool>,
    pub outcome: Outcome,
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
