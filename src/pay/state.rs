//! What may follow what: a pure function decides, and the SQL of the write repeats its guard (design rule: guarded
//! twice).

use super::transaction::{Kind, Source, State, Transaction};
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
    /// No answer in time, or none that can be read.
    NoAnswer,
    /// The bank confirmed that nothing stands of a charge.
    Reversed,
    /// What it waited for has come: the bank may be asked now, and the sweep may take it after this time.
    Resumed {
        settle_after: Millis,
    },
    /// What it waited for will not come.
    GivenUp,
}

/// The event does not fit the state: somebody else has moved the transaction on.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict;

/// WAITING goes to PENDING, or to DECLINED. PENDING goes to APPROVED, DECLINED, NOT_SENT or UNKNOWN. An unknown charge goes only to REVERSED; an unknown capture,
/// refund or void to what the bank says became of it. Nothing leaves a final state, but a hold by what follows it
/// (`parent.rs`).
pub fn apply(transaction: &Transaction, event: Event) -> Result<Transaction, Conflict> {
    let mut next = transaction.clone();
    let charge = transaction.is_charge();
    match (transaction.state, event) {
        (State::Pending, Event::Approved(approval)) => approve(&mut next, approval),
        (State::Unknown, Event::Approved(approval)) if !charge => approve(&mut next, approval),
        (State::Pending, Event::Declined { response_code }) => decline(&mut next, response_code),
        (State::Unknown, Event::Declined { response_code }) if !charge => decline(&mut next, response_code),
        (State::Pending, Event::NotSent) => {
            // Of one that has waited the id was told: its end has to be seen, as one of those that are recorded (contract 10).
            let told = next.details.waits.is_some();
            next.state = if told { State::Declined } else { State::NotSent };
            next.code = Some(if told { Code::Err1000 } else { Code::Err1011 });
            next.response_code = Some(91);
        }
        (State::Pending, Event::NoAnswer) => {
            next.state = State::Unknown;
            next.code = Some(if charge { Code::Err1010 } else { Code::Err1016 });
            next.response_code = Some(if charge { 68 } else { 578 });
            next.settle_after = None;
            return Ok(next);
        }
        (State::Unknown, Event::Reversed) if charge => {
            next.state = State::Reversed;
            next.code = Some(Code::Err1010);
            next.response_code = Some(68);
        }
        (State::Waiting, Event::Resumed { settle_after }) => {
            next.state = State::Pending;
            next.settle_after = Some(settle_after);
            return Ok(next);
        }
        (State::Waiting, Event::GivenUp) => {
            next.state = State::Declined;
            next.code = Some(Code::Err1009);
            next.response_code = Code::Err1009.meaning().response_code;
        }
        _ => return Err(Conflict),
    }
    next.settle_after = None;
    if next.state != State::Approved {
        // A token that was to be made with this charge was not made.
        next.token = transaction.token.filter(|_| transaction.source == Source::Token);
    }
    Ok(next)
}

fn approve(next: &mut Transaction, approval: Approval) {
    next.state = State::Approved;
    next.code = Some(match (next.kind, next.is_charge()) {
        (_, true) => Code::Info0000,
        (Kind::Capture, _) => Code::Info0001,
        (Kind::Refund, _) => Code::Info0002,
        (Kind::Void | Kind::PreAuth, _) => Code::Info0003,
    });
    // The contract's approval is 0; an issuer's 8 ("honour with ID") approves as well.
    next.response_code = Some(approval.response_code);
    // What follows a charge shows the charge's own code (contract 4.2).
    if next.is_charge() {
        next.auth_code = approval.auth_code;
        next.network_transaction_id = approval.network_transaction_id;
    }
}

fn decline(next: &mut Transaction, response_code: i64) {
    next.state = State::Declined;
    // 65 is the issuer's soft decline: it asks for the cardholder's authentication (contract section 5).
    let authentication = response_code == 65 && next.is_charge();
    next.code = Some(if authentication { Code::Err1009 } else { Code::Err1000 });
    next.response_code = Some(response_code);
    next.auth_code = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TransactionId;
    use crate::pay::transaction::Details;

    fn transaction(kind: Kind, state: State, parent: bool) -> Transaction {
        let id = TransactionId::from_bytes(&[1; 16]).unwrap();
        let entity = crate::id::EntityId::from_bytes(&[2; 16]).unwrap();
        Transaction {
            id,
            reference: 1,
            caller: crate::directory::Caller { entity, live: false },
            merchant_id: "JP00000001".to_owned(),
            kind,
            state,
            created_at: 0,
            settle_after: Some(1),
            money: crate::money::Money::zero(crate::money::Currency::parse("JPY").unwrap()),
            merchant_txn_ref: None,
            scheme: crate::card::Scheme::Visa,
            masked: String::new(),
            card_name: String::new(),
            expiry: crate::card::Expiry { month: 1, year: 2030 },
            token: None,
            source: Source::Card,
            initiator: crate::acquirer::Initiator::Customer,
            details: Details::default(),
            code: None,
            response_code: None,
            auth_code: None,
            network_transaction_id: None,
            parent: parent.then_some(id),
            captured_minor: 0,
            refund_reserved_minor: 0,
            refunded_minor: 0,
            unresolved: 0,
        }
    }

    fn after(kind: Kind, parent: bool, state: State, event: Event) -> Option<(State, &'static str)> {
        let next = apply(&transaction(kind, state, parent), event).ok()?;
        Some((next.state, next.code.unwrap().name()))
    }

    /// Every state with every event, for a charge and for what follows one.
    #[test]
    fn nothing_leaves_a_final_state() {
        let approval = || Approval { response_code: 0, auth_code: None, network_transaction_id: None };
        let events = || {
            [
                Event::Approved(approval()),
                Event::Declined { response_code: 5 },
                Event::NotSent,
                Event::NoAnswer,
                Event::Reversed,
            ]
        };
        for state in [
            State::Approved,
            State::Declined,
            State::Reversed,
            State::Captured,
            State::Voided,
            State::Lapsed,
            State::NotSent,
        ] {
            for event in events() {
                assert_eq!(after(Kind::Capture, false, state, event.clone()), None);
                assert_eq!(after(Kind::Refund, true, state, event), None);
            }
        }
        let told = |kind, parent, state| events().map(|event| after(kind, parent, state, event));
        assert_eq!(
            told(Kind::Capture, false, State::Pending),
            [
                Some((State::Approved, "INFO0000")),
                Some((State::Declined, "ERR1000")),
                Some((State::NotSent, "ERR1011")),
                Some((State::Unknown, "ERR1010")),
                None
            ]
        );
        assert_eq!(
            told(Kind::PreAuth, false, State::Unknown),
            [None, None, None, None, Some((State::Reversed, "ERR1010"))]
        );
        assert_eq!(
            told(Kind::Refund, true, State::Pending),
            [
                Some((State::Approved, "INFO0002")),
                Some((State::Declined, "ERR1000")),
                Some((State::NotSent, "ERR1011")),
                Some((State::Unknown, "ERR1016")),
                None
            ]
        );
        assert_eq!(
            told(Kind::Void, true, State::Unknown),
            [Some((State::Approved, "INFO0003")), Some((State::Declined, "ERR1000")), None, None, None]
        );
        assert_eq!(after(Kind::Capture, true, State::Pending, Event::Approved(approval())).unwrap().1, "INFO0001");
        let soft = Event::Declined { response_code: 65 };
        assert_eq!(after(Kind::Capture, false, State::Pending, soft).unwrap().1, "ERR1009");
    }
}
