//! Does the account's holder agree? Wallets that are paid in their own page or app (GCash, PayPay): the browser goes there
//! and comes back, and what it agreed to is charged at the acquirer like a card. One trait; a wallet's own interface takes the
//! sandbox's place as a real bank takes the sandbox bank's.

pub mod sandbox;

use crate::acquirer::BoxFuture;
use crate::card::Scheme;
use crate::error::Error;
use crate::money::Money;

/// What is asked of an account's holder.
pub struct Order<'a> {
    /// Ours: the transaction's id.
    pub reference: &'a str,
    pub wallet: Scheme,
    pub merchant: &'a str,
    pub money: Money,
    /// Where the browser comes back to.
    pub return_url: &'a str,
    /// The agreement is for later charges too.
    pub stores: bool,
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Neither yes nor no so far.
    Waiting,
    Refused,
    /// With the wallet's name of the agreement.
    Given(String),
}

pub trait Connector: Send + Sync {
    /// How long its answers are waited for, milliseconds.
    fn deadline_ms(&self) -> u64;

    /// URLs that name the hosts of its pages: a page whose form leads there must tell browsers of them.
    fn hosts(&self) -> Vec<&str>;

    /// Asks for an agreement; the wallet's page, where the browser goes.
    ///
    /// # Errors
    /// The wallet cannot be asked now.
    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<String, Error>>;

    /// What the wallet says of an order, by our reference. What the browser brings back is not asked.
    ///
    /// # Errors
    /// The wallet cannot be asked now.
    fn consent<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Consent, Error>>;
}
