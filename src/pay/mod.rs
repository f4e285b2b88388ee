//! The payment: what it is (`transaction`, `state`), how it goes (`charge`, with the card in
//! `instrument`, which may have come in a `wallet`), whether its cardholder is asked first (`authenticate`, `waiting`), what may follow it (`follow`, with the
//! balances in `parent`), by which acquirer it goes (`line`; `original` is what a later message is about, `late` what comes unasked), how it ends (`outcome`), what happens when no answer comes (`recover`) and later (`worker`; `clock` moves an
//! entity's sandbox time), how
//! it is written (`store`, `attempts`, `books`) and told (`envelope`, `explain`). `links` are what the hosted page
//! pays. `idempotency` lives here because its rows belong to the same writes.

pub mod attempts;
pub mod authenticate;
pub mod books;
pub mod charge;
pub mod clock;
pub mod envelope;
pub mod explain;
pub mod follow;
pub mod holds;
pub mod idempotency;
pub mod instrument;
pub mod late;
pub mod line;
pub mod links;
pub mod means;
pub mod original;
pub mod outcome;
pub mod parent;
pub mod plan;
pub mod recover;
pub mod refusal;
pub mod renew;
pub mod request;
pub mod retention;
pub mod state;
pub mod store;
pub mod stored;
pub mod subscribe;
pub mod subscribed;
pub mod subscriptions;
pub mod tell;
pub mod teller;
pub mod tokens;
pub mod told;
pub mod transaction;
pub mod waiting;
pub mod wallet;
pub mod worker;

const NO_REFERENCE: &str = "\"ref\":0,";

/// A finished answer: what goes over the wire, or is replayed from the idempotency table.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub replayed: bool,
}

impl Answer {
    pub fn new(status: u16, body: String) -> Answer {
        Answer { status, body, replayed: false }
    }

    /// An answer that was made before its transaction's row, and with it its `ref`, was written: 0 stands in the ref's
    /// place. No text can hold these letters, since a quote in a text is escaped.
    #[must_use]
    pub fn with_reference(self, reference: i64) -> Answer {
        let body = self.body.replacen(NO_REFERENCE, &format!("\"ref\":{reference},"), 1);
        Answer { body, ..self }
    }
}
