//! The payment: what it is (`transaction`, `state`), how it goes (`charge`), what happens when no answer comes
//! (`recover`), how it is written (`store`) and told (`envelope`). `idempotency` lives here because its rows belong to
//! the same writes.

pub mod charge;
pub mod envelope;
pub mod idempotency;
pub mod recover;
pub mod state;
pub mod store;
pub mod tokens;
pub mod transaction;

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
}
