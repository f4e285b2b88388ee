//! What may follow what: a pure function decides, and the SQL of the write repeats its guard (design rule: guarded
//! twice).

use super::transaction::{State, Transaction};
use crate::acquirer::Approval;
use crate::clock::Millis;
use crate::codes::Code;

#[derive(Clone, Debug)]
pub enum Event {
    Approved(Approval),
    Declined {
        response_code: i64,
    },
    /// Nothing reached the bank.
    NotSent,
    /// No answer in time, or none that can be read: to be reversed from `at` on.
    NoAnswer {
        at: Millis,
    },
    /// The bank confirmed that nothing stands.
    Reversed,
}

/// The event does not fit the state: somebody else has moved the transaction on.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict;

/// PENDING goes to APPROVED, DECLINED, NOT_SENT or UNKNOWN; UNKNOWN only to REVERSED. Nothing leaves a final state.
pub fn apply(transaction: &Transaction, event: Event) -> Result<Transaction, Conflict> {
    let mut next = transaction.clone();
    match (transaction.state, event) {
        (State::Pending, Event::Approved(approval)) => {
            next.state = State::Approved;
            next.code = Some(Code::Info0000);
            // The contract's approval is 0; an issuer's 8 ("honour with ID") approves as well.
            next.response_code = Some(approval.response_code);
            next.auth_code = approval.auth_code;
            next.network_transaction_id = approval.network_transaction_id;
        }
        (State::Pending, Event::Declined { response_code }) => {
            next.state = State::Declined;
            // 65 is the issuer's soft decline: it asks for the cardholder's authentication (contract section 5).
            next.code = Some(if response_code == 65 { Code::Err1009 } else { Code::Err1000 });
            next.response_code = Some(response_code);
        }
        (State::Pending, Event::NotSent) => {
            next.state = State::NotSent;
            next.code = Some(Code::Err1011);
            next.response_code = Some(91);
        }
        (State::Pending, Event::NoAnswer { at }) => {
            next.state = State::Unknown;
            next.code = Some(Code::Err1010);
            next.response_code = Some(68);
            next.settle_after = Some(at);
            return Ok(next);
        }
        (State::Unknown, Event::Reversed) => {
            next.state = State::Reversed;
            next.code = Some(Code::Err1010);
            next.response_code = Some(68);
        }
        _ => return Err(Conflict),
    }
    next.settle_after = None;
    if next.state != State::Approved {
        // A token that was to be made with this charge was not made.
        next.token = transaction.token.filter(|_| transaction.source == super::transaction::Source::Token);
    }
    Ok(next)
}
