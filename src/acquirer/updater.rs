//! Is there a newer card? Where a card has expired, the acquirer is asked what the issuer has told its scheme: Visa Account
//! Updater and Mastercard Automatic Billing Updater, which gateways reach through their acquirer. One trait; an acquirer's own
//! interface takes the sandbox's place.

use super::BoxFuture;
use crate::card::{Card, Expiry};
use crate::error::Error;

pub trait Updater: Send + Sync {
    /// How long its answer is waited for, milliseconds.
    fn deadline_ms(&self) -> u64;

    /// The expiry of the card that the issuer has made since, with the same number; `None` where none is known.
    ///
    /// # Errors
    /// It cannot be asked now.
    fn newer<'a>(&'a self, card: &'a Card) -> BoxFuture<'a, Result<Option<Expiry>, Error>>;
}
