//! What a host hears: the way back from a message to what is asked, by the same tables.

use super::kind::{KINDS, Kind};
use super::message::Message;
use super::speech::Speech;
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

#[cfg(test)]
mod tests {
    use super::super::dialect::GENERIC;
    use super::super::message::Mti;
    use super::super::sample::*;
    use super::super::values::Weight;
    use super::*;
    use crate::acquirer::{Asked, Follow, Operation, Original, Reversal};
    use proptest::prelude::*;

    /// Texts that fit the generic dialect's field, in the form in which a message carries them.
    fn value(variable: Variable) -> BoxedStrategy<String> {
        let pattern = match (variable, variable.width()) {
            (Variable::Pan, _) => "[0-9]{12,19}".to_owned(),
            (Variable::Institution, _) => "[0-9]{1,11}".to_owned(),
            (Variable::DirectoryId, _) => "[0-9a-f-]{36}".to_owned(),
            (_, Some(width)) => format!("[0-9]{{{width}}}"),
            (Variable::Rrn | Variable::OriginalRrn, _) => "[0-9A-Za-z]{12}".to_owned(),
            (Variable::Terminal, _) => "[!-~]{1,8}".to_owned(),
            (Variable::Acceptor, _) => "[!-~]{1,15}".to_owned(),
            (Variable::AuthCode, _) => "[0-9A-Z]{6}".to_owned(),
            _ => "[!-~]{1,40}".to_owned(),
        };
        match variable.words() {
            [] => proptest::string::string_regex(&pattern).unwrap().boxed(),
            words => proptest::sample::select(words).prop_map(str::to_owned).boxed(),
        }
    }

    fn values() -> impl Strategy<Value = Vec<(Variable, Option<String>)>> {
        let maybe = |variable: Variable| match variable.weight() {
            Weight::Must => value(variable).prop_map(Some).boxed(),
            _ => proptest::option::of(value(variable)).boxed(),
        };
        Variable::all().map(|variable| (Just(variable), maybe(variable))).collect::<Vec<_>>()
    }

    /// What a message of the kind can hold of these values, in the generic dialect.
    fn carried<'v>(speech: &Speech, kind: Kind, made: &'v [(Variable, Option<String>)]) -> Values<'v> {
        let template = speech.template(kind).unwrap();
        let texts = || template.fields.iter().flat_map(|field| field.source.texts());
        let entry = made.iter().find(|row| row.0 == Variable::Entry).and_then(|row| row.1.as_deref());
        let mut values = Values::default();
        for (variable, value) in made {
            let there = match variable {
                Variable::Entry | Variable::Initiator => !kind.manages(),
                Variable::Cryptogram => !kind.manages() && entry == Some("device"),
                Variable::Cavv => !kind.manages() && entry.is_some_and(|entry| entry != "device"),
                _ => texts().any(|text| text.variables().any(|other| other == *variable)),
            };
            values.set(*variable, value.as_deref().filter(|_| there));
        }
        // They share a sub-element.
        if values.get(Variable::DirectoryId).is_none() || values.get(Variable::ThreedsVersion).is_none() {
            values.set(Variable::DirectoryId, None);
            values.set(Variable::ThreedsVersion, None);
        }
        values
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(made in values(), at in 0..KINDS.len(), tries in 0u32..5) {
            let speech = generic();
            let kind = KINDS[at].0;
            let said = carried(&speech, kind, &made);
            let message = through(GENERIC.1, &speech.say(kind, tries, &said).unwrap());
            let heard = speech.hear(&message).unwrap();
            let mtis = u32::try_from(speech.template(kind).unwrap().mtis.len()).unwrap();
            prop_assert_eq!((heard.kind, heard.tries), (kind, tries.min(mtis - 1)));
            let mut whole = said;
            take_apart(&mut whole);
            prop_assert!(heard.values == whole, "{:?} {:?}", heard.values, whole);
        }

        #[test]
        fn no_message_is_too_odd(mti in "0[1248][0-9][0-5]", fields in proptest::collection::vec((2u8..=128, "[ -~]{0,45}"), 0..8)) {
            let mut message = Message::new(Mti::parse(mti.as_bytes()).unwrap());
            fields.iter().for_each(|(field, value)| message.set(*field, value.as_bytes()));
            if let Some(heard) = generic().hear(&message) {
                let _ = (heard.money(), heard.pan(), heard.expiry(), heard.cvc(), heard.authentication().is_some());
            }
        }
    }

    #[test]
    fn a_host_hears_what_follows() {
        let (charge, trace, acceptor, held) = (trace(1), trace(2), acceptor(), money(1_000, "JPY"));
        let original = Original { asked: Asked::Authorization, trace: Some(&charge), ..Original::known_as("", held) };
        let named = named(&trace, &acceptor, 1);
        let release = Operation::Release(Follow { reference: "", named, original, money: money(400, "JPY") });
        let reverse = Operation::Reverse(Reversal { named, original });
        for (speech, text, time) in [(generic(), GENERIC.1, Some("0102030406")), (odd(), ODD, None)] {
            let message = said(&speech, text, &release);
            let heard = speech.hear(&message).unwrap();
            assert_eq!((heard.kind, heard.tries, heard.money()), (Kind::Release, 1, Some(money(400, "JPY"))));
            assert_eq!(heard.values.get(Variable::OriginalStan), Some("000001"));
            assert_eq!(heard.values.get(Variable::OriginalTime), time);
            assert_eq!(
                (heard.values.get(Variable::Stan), heard.values.get(Variable::Terminal)),
                (Some("000002"), Some("TERM0001"))
            );
            let message = said(&speech, text, &reverse);
            let heard = speech.hear(&message).unwrap();
            assert_eq!((heard.kind, heard.tries, heard.money()), (Kind::Reverse, 1, Some(held)));
            assert_eq!(heard.values.get(Variable::OriginalRrn), Some("000000600001"));
        }
        assert_eq!(speech_of_odd_times().as_deref(), Some("260102120406"));
    }

    /// Fields 12 and 56 of 1993 hold years too.
    fn speech_of_odd_times() -> Option<String> {
        let (charge, trace, acceptor) = (trace(1), trace(2), acceptor());
        let original =
            Original { asked: Asked::Purchase, trace: Some(&charge), ..Original::known_as("", money(1, "JPY")) };
        let speech = odd();
        let message =
            said(&speech, ODD, &Operation::Reverse(Reversal { named: named(&trace, &acceptor, 0), original }));
        let values = speech.hear(&message)?.values;
        let part = |variable| values.get(variable);
        Some(
            [
                part(Variable::OriginalLocalYear)?,
                part(Variable::OriginalLocalDate)?,
                part(Variable::OriginalLocalTime)?,
            ]
            .concat(),
        )
    }

    #[test]
    fn what_is_no_request_is_not_heard() {
        let speech = generic();
        let heard = |mti: &str, fields: &[(u8, &str)]| {
            let mut message = Message::new(Mti::parse(mti.as_bytes()).unwrap());
            fields.iter().for_each(|(field, value)| message.set(*field, value.as_bytes()));
            speech.hear(&message).map(|heard| heard.kind)
        };
        let named = [(7, "0102030405"), (11, "000001")];
        assert_eq!(heard("0800", &[named.as_slice(), &[(70, "301")]].concat()), Some(Kind::Echo));
        assert_eq!(heard("0800", &[named.as_slice(), &[(70, "302")]].concat()), None);
        assert_eq!(heard("0800", &[(70, "301")]), None);
        assert_eq!(heard("0810", &[named.as_slice(), &[(70, "301")]].concat()), None);
        assert_eq!(heard("0200", &named), None);
    }
}
