//! What a message may say: the variables that a dialect's tables name, and their values for one operation.

use super::dialect::Show;
use std::fmt;
use zeroize::Zeroizing;

/// How much depends on a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A message whose table names it is never sent without it.
    Must,
    /// It may be missing, but is never left out because it does not fit.
    Exact,
    /// Left out, and told in the log, when it does not fit its field: better than no payment.
    May,
    /// One of some words: never sent, chosen by.
    Word(&'static [&'static str]),
}

use Has::{All, Followers, Payments, Releases};
use Weight::{Exact, May, Must, Word};

/// Which messages have a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// All, network management too.
    All,
    /// All that are about a payment.
    Payments,
    /// What follows an earlier message, and reversals.
    Followers,
    /// A hold's release.
    Releases,
}

/// Who asks and why, as one word (the schemes' stored-credential frameworks).
pub const INITIATORS: [&str; 6] =
    ["cit_recurring", "cit_unscheduled", "cit_installment", "mit_recurring", "mit_unscheduled", "mit_installment"];

/// A variable of the dialect's tables (docs/ISO8583.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    Pan,
    /// YYMM.
    Expiry,
    /// Minor units, 12 digits.
    Amount,
    /// ISO 4217 numeric.
    Currency,
    /// MMDDhhmmss, UTC.
    Time,
    Stan,
    Rrn,
    /// hhmmss at the acquirer's place.
    LocalTime,
    /// MMDD at the acquirer's place.
    LocalDate,
    /// YY at the acquirer's place.
    LocalYear,
    Institution,
    Terminal,
    Acceptor,
    Category,
    Place,
    Reference,
    Cvc,
    /// Where the number came from.
    Entry,
    Initiator,
    /// Of a stored credential's charges.
    Agreement,
    NetworkTransactionId,
    Eci,
    Cavv,
    DirectoryId,
    ThreedsVersion,
    Cryptogram,
    AuthCode,
    /// Message type, STAN, time, acquiring and forwarding institution: field 90 of 1987.
    Original,
    OriginalMti,
    OriginalStan,
    OriginalTime,
    OriginalLocalTime,
    OriginalLocalDate,
    OriginalLocalYear,
    OriginalRrn,
    OriginalAmount,
    /// What is to be left of a hold, in field 95's form of 1987: the amount in 12 digits, and 30 zeros.
    Replacement,
    ReplacementAmount,
}

/// In the order of [`Variable`]: name, characters where they are always as many, how much depends on it, who has it.
const TABLE: [(Variable, &str, Option<usize>, Weight, Has); 38] = [
    (Variable::Pan, "pan", None, Exact, Payments),
    (Variable::Expiry, "expiry", Some(4), May, Payments),
    (Variable::Amount, "amount", Some(12), Must, Payments),
    (Variable::Currency, "currency", Some(3), Must, Payments),
    (Variable::Time, "time", Some(10), Must, All),
    (Variable::Stan, "stan", Some(6), Must, All),
    (Variable::Rrn, "rrn", None, Must, Payments),
    (Variable::LocalTime, "local_time", Some(6), May, All),
    (Variable::LocalDate, "local_date", Some(4), May, All),
    (Variable::LocalYear, "local_year", Some(2), May, All),
    (Variable::Institution, "institution", None, Exact, All),
    (Variable::Terminal, "terminal", None, Must, Payments),
    (Variable::Acceptor, "acceptor", None, Must, Payments),
    (Variable::Category, "category", Some(4), May, Payments),
    (Variable::Place, "place", None, May, Payments),
    (Variable::Reference, "reference", None, May, Payments),
    (Variable::Cvc, "cvc", None, May, Payments),
    (Variable::Entry, "entry", None, Word(&["ecommerce", "stored", "device"]), Payments),
    (Variable::Initiator, "initiator", None, Word(&INITIATORS), Payments),
    (Variable::Agreement, "agreement", None, Word(&["first", "subsequent"]), Payments),
    (Variable::NetworkTransactionId, "network_transaction_id", None, May, Payments),
    (Variable::Eci, "eci", Some(2), May, Payments),
    (Variable::Cavv, "cavv", None, May, Payments),
    (Variable::DirectoryId, "directory_id", Some(36), May, Payments),
    (Variable::ThreedsVersion, "threeds_version", None, May, Payments),
    (Variable::Cryptogram, "cryptogram", None, May, Payments),
    (Variable::AuthCode, "auth_code", None, May, Payments),
    (Variable::Original, "original", Some(42), Must, Followers),
    (Variable::OriginalMti, "original_mti", Some(4), Must, Followers),
    (Variable::OriginalStan, "original_stan", Some(6), Must, Followers),
    (Variable::OriginalTime, "original_time", Some(10), Must, Followers),
    (Variable::OriginalLocalTime, "original_local_time", Some(6), Must, Followers),
    (Variable::OriginalLocalDate, "original_local_date", Some(4), Must, Followers),
    (Variable::OriginalLocalYear, "original_local_year", Some(2), Must, Followers),
    (Variable::OriginalRrn, "original_rrn", None, Must, Followers),
    (Variable::OriginalAmount, "original_amount", Some(12), Must, Followers),
    (Variable::Replacement, "replacement", Some(42), Must, Releases),
    (Variable::ReplacementAmount, "replacement_amount", Some(12), Must, Releases),
];

/// All of them.
pub const COUNT: usize = TABLE.len();

impl Variable {
    pub fn parse(name: &str) -> Option<Variable> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// Characters, where they are always as many.
    pub fn width(self) -> Option<usize> {
        TABLE[self as usize].2
    }

    pub fn weight(self) -> Weight {
        TABLE[self as usize].3
    }

    pub fn has(self) -> Has {
        TABLE[self as usize].4
    }

    /// How much of it people and logs may see (PCI DSS 3.3.1, 3.4.1).
    pub fn shown(self) -> Show {
        match self {
            Variable::Pan => Show::Pan,
            Variable::Expiry | Variable::Cvc | Variable::Cavv | Variable::Cryptogram => Show::None,
            _ => Show::All,
        }
    }

    /// The words of one that is chosen by.
    pub fn words(self) -> &'static [&'static str] {
        match self.weight() {
            Word(words) => words,
            Must | Exact | May => &[],
        }
    }

    #[cfg(test)]
    pub fn all() -> impl Iterator<Item = Variable> {
        TABLE.iter().map(|row| row.0)
    }
}

/// The values of one message, by variable. Some are secret: `Debug` shows which there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Values<'a>([Option<&'a str>; COUNT]);

impl Default for Values<'_> {
    fn default() -> Self {
        Values([None; COUNT])
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(TABLE.iter().filter(|row| self.get(row.0).is_some()).map(|row| row.1)).finish()
    }
}

impl<'a> Values<'a> {
    pub fn get(&self, variable: Variable) -> Option<&'a str> {
        self.0[variable as usize]
    }

    pub fn set(&mut self, variable: Variable, value: impl Into<Option<&'a str>>) {
        self.0[variable as usize] = value.into();
    }
}

/// Room for the texts of one message's values that are made and not lent: amounts, times, numbers. Zeroed when it is let go,
/// since an expiry is among them.
pub struct Scratch(Zeroizing<[u8; 256]>);

impl Default for Scratch {
    fn default() -> Self {
        Scratch(Zeroizing::new([0; 256]))
    }
}

impl Scratch {
    pub fn pen(&mut self) -> Pen<'_> {
        Pen(&mut self.0[..])
    }
}

/// Writes into what is left of a [`Scratch`].
pub struct Pen<'a>(&'a mut [u8]);

impl<'a> Pen<'a> {
    /// `width` digits, with zeros in front; `None` when the number is below zero or has more.
    pub fn digits(&mut self, number: i64, width: usize) -> Option<&'a str> {
        let mut rest = u64::try_from(number).ok()?;
        let text = self.take(width)?;
        for digit in text.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).ok()?;
            rest /= 10;
        }
        (rest == 0).then(|| std::str::from_utf8(text).ok())?
    }

    /// These, one behind the other.
    pub fn joined(&mut self, parts: &[&str]) -> Option<&'a str> {
        let text = self.take(parts.iter().map(|part| part.len()).sum())?;
        let mut at = 0;
        for part in parts {
            text[at..at + part.len()].copy_from_slice(part.as_bytes());
            at += part.len();
        }
        std::str::from_utf8(text).ok()
    }

    fn take(&mut self, width: usize) -> Option<&'a mut [u8]> {
        let (text, rest) = std::mem::take(&mut self.0).split_at_mut_checked(width)?;
        self.0 = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_know_their_names() {
        assert_eq!(Variable::all().count(), COUNT);
        for variable in Variable::all() {
            assert_eq!(Variable::parse(variable.name()), Some(variable));
        }
        assert_eq!(Variable::parse("colour"), None);
    }

    #[test]
    fn numbers_have_their_width() {
        let mut scratch = Scratch::default();
        let mut pen = scratch.pen();
        assert_eq!(pen.digits(1_000, 12), Some("000000001000"));
        assert_eq!(pen.digits(0, 3), Some("000"));
        assert_eq!(pen.digits(999_999, 6), Some("999999"));
        assert_eq!(pen.digits(1_000_000, 6), None);
        assert_eq!(pen.digits(-1, 6), None);
        assert_eq!(pen.joined(&["0100", "", "123"]), Some("0100123"));
        assert_eq!(pen.digits(1, 300), None);
    }

    #[test]
    fn values_show_no_secrets() {
        let mut values = Values::default();
        values.set(Variable::Pan, "4000000000001091");
        values.set(Variable::Cvc, "123");
        assert_eq!(format!("{values:?}"), r#"{"pan", "cvc"}"#);
    }
}
