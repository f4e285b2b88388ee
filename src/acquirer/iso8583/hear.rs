//! What a host hears: the way back from a message to what is asked, by the same tables.

use super::message::Message;
use super::speech::{KINDS, Kind, Speech};
use super::values::{INITIATORS, Values, Variable};
use crate::acquirer::{Authentication, Initiator, Reason, StoredCredential};
use crate::card::{Cryptogram, Cvc, Expiry, Pan};
use crate::money::{Currency, Money};

/// A request as its message's table reads it.
pub struct Heard<'m> {
    pub kind: Kind,
    /// 0 for the first; by its message type, so that all repeats behind the last type look alike.
    pub tries: u32,
    pub values: Values<'m>,
}

impl Speech {
    /// `None` for what is no message of the dialect, as far as its tables can tell.
    pub fn hear<'m>(&self, message: &'m Message) -> Option<Heard<'m>> {
        let likely = KINDS.iter().filter_map(|(kind, _)| {
            let template = self.template(*kind)?;
            let (fields, tries) = template.likeness(message)?;
            Some((fields, *kind, tries, template))
        });
        let (_, kind, tries, template) = likely.max_by_key(|found| found.0)?;
        let mut values = template.read(message)?;
        take_apart(&mut values);
        Some(Heard { kind, tries, values })
    }
}

/// Fields 90 and 95 hold several values.
fn take_apart(values: &mut Values<'_>) {
    if let Some(original) = values.get(Variable::Original) {
        values.set(Variable::OriginalMti, original.get(..4));
        values.set(Variable::OriginalStan, original.get(4..10));
        values.set(Variable::OriginalTime, original.get(10..20));
    }
    if let Some(replacement) = values.get(Variable::Replacement) {
        values.set(Variable::ReplacementAmount, replacement.get(..12));
    }
}

impl Heard<'_> {
    /// What is asked for; of a release what is to be let go, as the difference of what was held and what is to stay.
    pub fn money(&self) -> Option<Money> {
        let amount = |variable| self.values.get(variable)?.parse::<i64>().ok();
        let currency = Currency::from_number(self.values.get(Variable::Currency)?)?;
        let minor = match (amount(Variable::OriginalAmount), amount(Variable::ReplacementAmount)) {
            (Some(held), Some(stays)) => held.checked_sub(stays).filter(|released| *released >= 0)?,
            _ => amount(Variable::Amount).or(amount(Variable::OriginalAmount))?,
        };
        Some(Money { minor, currency })
    }

    pub fn pan(&self) -> Option<Pan> {
        Pan::parse(self.values.get(Variable::Pan)?).ok()
    }

    pub fn expiry(&self) -> Option<Expiry> {
        let (year, month) = self.values.get(Variable::Expiry)?.split_at_checked(2)?;
        Expiry::parse(month, year).ok()
    }

    pub fn cvc(&self) -> Option<Cvc> {
        Cvc::parse(self.values.get(Variable::Cvc)?)
    }

    /// A device's, for this one payment.
    pub fn cryptogram(&self) -> Option<Cryptogram> {
        Cryptogram::parse(self.values.get(Variable::Cryptogram)?)
    }

    /// A proof has a CAVV at least: what else of it the dialect does not carry is empty.
    pub fn authentication(&self) -> Option<Authentication> {
        let text = |variable| self.values.get(variable).unwrap_or_default().to_owned();
        self.values.get(Variable::Cavv).map(|cavv| Authentication {
            eci: text(Variable::Eci),
            cavv: cavv.to_owned(),
            directory_id: text(Variable::DirectoryId),
            version: text(Variable::ThreedsVersion),
        })
    }

    /// Whether the credential was authenticated when it was stored, no message says: an issuer knows it by the network's id.
    pub fn stored_credential(&self) -> Option<StoredCredential<'_>> {
        let word = self.values.get(Variable::Initiator)?;
        let at = INITIATORS.iter().position(|initiator| *initiator == word)?;
        Some(StoredCredential {
            initiator: if at < 3 { Initiator::Customer } else { Initiator::Merchant },
            reason: [Reason::Recurring, Reason::Unscheduled, Reason::Installment][at % 3],
            network_transaction_id: self.values.get(Variable::NetworkTransactionId),
            from_vault: self.values.get(Variable::Entry) == Some("stored"),
            authenticated: false,
        })
    }
}
