//! What a charge is paid with: a card, or an account in a wallet (contract section 8).

use crate::acquirer::Funding;
use crate::app::App;
use crate::card::{Card, Cvc, Expiry, Scheme};
use crate::directory::Caller;
use crate::error::Error;
use crate::vault::{Bound, Sealed};
use zeroize::Zeroizing;

pub enum Means {
    Card(Card),
    Account(Account),
}

pub struct Account {
    pub scheme: Scheme,
    /// By what the wallet knows that its holder has agreed; `None` before they were asked.
    pub agreement: Option<Zeroizing<String>>,
}

impl Means {
    pub fn card(&self) -> Option<&Card> {
        match self {
            Means::Card(card) => Some(card),
            Means::Account(_) => None,
        }
    }

    pub fn scheme(&self) -> Scheme {
        match self {
            Means::Card(card) => card.pan.scheme(),
            Means::Account(account) => account.scheme,
        }
    }

    /// As rows and answers show it: of an account there is nothing to show.
    pub fn masked(&self) -> String {
        self.card().map_or_else(String::new, |card| card.pan.masked())
    }

    pub fn name(&self) -> &str {
        self.card().map_or("", |card| card.name.as_str())
    }

    pub fn expiry(&self) -> Expiry {
        self.card().map_or(Expiry::NONE, |card| card.expiry)
    }

    /// Its holder has still to be asked, in the wallet.
    pub fn unasked(&self) -> bool {
        matches!(self, Means::Account(Account { agreement: None, .. }))
    }

    /// The same for the same card or agreement, within an entity and mode.
    pub fn fingerprint(&self, app: &App, caller: Caller) -> String {
        match self {
            Means::Card(card) => app.vault.fingerprint(caller.entity, caller.live, &card.pan),
            Means::Account(account) => {
                let agreement = account.agreement.as_ref().map_or("", |text| text.as_str());
                let parts: [&[u8]; 4] =
                    [b"account", caller.entity.as_bytes(), &[u8::from(caller.live)], agreement.as_bytes()];
                let digest = app.vault.request_digest(&parts);
                digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }
    }

    pub fn seal(&self, app: &App, bound: &Bound) -> Result<Sealed, Error> {
        match self {
            Means::Card(card) => app.vault.seal(bound, &card.pan),
            Means::Account(Account { agreement: Some(agreement), .. }) => app.vault.seal_text(bound, agreement),
            Means::Account(_) => Err(Error::internal("nobody has agreed yet to what is to be sealed")),
        }
    }

    /// For the message to the bank.
    pub fn funding<'a>(&'a self, cvc: Option<&'a Cvc>) -> Funding<'a> {
        match self {
            Means::Card(card) => Funding::Card { pan: &card.pan, expiry: card.expiry, cvc },
            Means::Account(account) => Funding::Account {
                wallet: account.scheme,
                agreement: account.agreement.as_ref().map_or("", |text| text.as_str()),
            },
        }
    }
}
