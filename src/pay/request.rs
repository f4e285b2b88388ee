//! What a charge is asked with.

use super::idempotency::Claim;
use super::subscribed::Known;
use super::transaction::{Details, Kind};
use crate::acquirer::faults::Fault;
use crate::acquirer::{Initiator, Reason};
use crate::card::{Card, Cvc, Scheme};
use crate::clock::Millis;
use crate::directory::{Caller, Merchant};
use crate::id::TokenId;
use crate::json::Node;
use crate::money::Money;
use crate::threeds::Steer;
use crate::threeds::messages::Browser;
use crate::wallet::Wallet;
use std::sync::Arc;

/// Which message the money asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Purchase,
    Authorization,
    /// Stores a card; the answer shows the token instead of the transaction.
    StoreCard,
    /// The first cycle of a subscription, or a verification where nothing is to be paid yet; the answer shows the subscription.
    Subscription,
}

impl Purpose {
    pub fn kind(self, money: Money) -> Kind {
        match self {
            Purpose::Purchase => Kind::Capture,
            Purpose::Subscription if money.minor > 0 => Kind::Capture,
            Purpose::Authorization | Purpose::StoreCard | Purpose::Subscription => Kind::PreAuth,
        }
    }
}

pub enum CardSource {
    /// A card in the request, its cvc for this one message, and whether to store it.
    Card {
        card: Card,
        cvc: Option<Cvc>,
        store: bool,
    },
    Token(TokenId),
    /// An account in a wallet whose holder is still to be asked, and whether the agreement is kept.
    Account {
        wallet: Scheme,
        store: bool,
    },
    /// A wallet's token, and whether to store the card in it.
    Wallet {
        wallet: Wallet,
        token: Node,
        store: bool,
    },
}

impl CardSource {
    /// What every charge of this purpose stores: whoever stores a card wants it, and a subscription needs one.
    #[must_use]
    pub fn stored(self, purpose: Purpose) -> CardSource {
        if !matches!(purpose, Purpose::StoreCard | Purpose::Subscription) {
            return self;
        }
        let store = true;
        match self {
            CardSource::Card { card, cvc, .. } => CardSource::Card { card, cvc, store },
            CardSource::Account { wallet, .. } => CardSource::Account { wallet, store },
            CardSource::Wallet { wallet, token, .. } => CardSource::Wallet { wallet, token, store },
            CardSource::Token(id) => CardSource::Token(id),
        }
    }

    /// Whether the merchant asked for the token.
    pub fn stores(&self) -> bool {
        match self {
            CardSource::Card { store, .. } | CardSource::Account { store, .. } | CardSource::Wallet { store, .. } => {
                *store
            }
            CardSource::Token(_) => true,
        }
    }
}

pub struct ChargeRequest {
    pub caller: Caller,
    pub merchant: Arc<Merchant>,
    pub purpose: Purpose,
    pub money: Money,
    pub initiator: Initiator,
    pub reason: Reason,
    pub merchant_txn_ref: Option<String>,
    pub details: Details,
    /// The subscription that it belongs to, as it was read, or as it will begin.
    pub subscription: Option<Box<Known>>,
    /// When it was due, where it is made as of then; else now.
    pub at: Option<Millis>,
    pub claim: Option<Claim>,
    pub request_id: String,
    /// What the sandbox's line does to this request's message.
    pub fault: Option<Fault>,
    /// How the sandbox's directory answers.
    pub steer: Option<Steer>,
    /// The cardholder's browser, where it can be sent to the issuer (v2 and the hosted page).
    pub browser: Option<Browser>,
    /// The request as it came: for a token its texts are searched for the card's own number.
    pub body: Node,
}
