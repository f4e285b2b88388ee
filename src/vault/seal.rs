//! A sealed record, and what it is bound to (PCI DSS 3.5.1).

use crate::id::{EntityId, TokenId, TransactionId};
use std::fmt;

/// What a sealed record belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    Token(TokenId),
    Transaction(TransactionId),
    WebhookSecret,
    /// A wallet's set-up, by its id.
    Wallet([u8; 16]),
}

#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub entity: EntityId,
    pub live: bool,
    pub owner: Owner,
}

/// A record as it stands in its row.
#[derive(Clone)]
pub struct Sealed {
    /// The data key that wraps `wrapped_key`.
    pub key_id: i64,
    pub wrapped_key: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// The data key and the size only: a log keeps no ciphertext beyond the record's erasure.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes under key {}", self.ciphertext.len(), self.key_id)
    }
}

impl Bound {
    /// What is authenticated with the record and its key. All parts have a fixed length, so none can run into another.
    pub fn associated(&self, key_id: i64) -> Vec<u8> {
        let (kind, id) = match &self.owner {
            Owner::Token(id) => (1, *id.as_bytes()),
            Owner::Transaction(id) => (2, *id.as_bytes()),
            Owner::WebhookSecret => (3, [0; 16]),
            Owner::Wallet(id) => (4, *id),
        };
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"fuda vault 1");
        bytes.extend_from_slice(self.entity.as_bytes());
        bytes.extend_from_slice(&[u8::from(self.live), kind]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&key_id.to_be_bytes());
        bytes
    }
}
