//! Money: minor units with their currency, exact, never a float (contract section 2).

use serde::{Serialize, Serializer};

/// An ISO 4217 currency that has minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// ISO 4217 alphabetic, in capitals: `JPY`. `None` for any other text and for a code without minor units (`XAU`).
    pub fn parse(code: &str) -> Option<Currency> {
        let currency = iso_currency::Currency::from_code(code)?;
        currency.exponent().map(|_| Currency(currency))
    }

    /// ISO 4217 alphabetic: `JPY`.
    pub fn code(&self) -> &'static str {
        self.0.code()
    }

    /// ISO 4217 numeric, three digits: `392`.
    pub fn number(self) -> String {
        format!("{:03}", self.numeric())
    }

    /// The same as a number.
    pub fn numeric(self) -> u16 {
        self.0.numeric()
    }

    /// By its three digits.
    pub fn from_number(text: &str) -> Option<Currency> {
        iso_currency::Currency::from_numeric(text.parse().ok()?).and_then(|currency| Currency::parse(currency.code()))
    }

    /// Decimals that ISO 4217 gives the currency: JPY 0, USD 2, KWD 3.
    pub fn decimals(self) -> u32 {
        u32::from(self.0.exponent().unwrap_or(0))
    }
}

/// Why a text is no amount (contract section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// Not digits with at most one point inside them: a sign, an exponent, a space, a letter.
    Form,
    /// More than 10 characters.
    TooLong,
    NotPositive,
    /// Decimals beyond the currency's that are not zeros.
    Decimals,
}

impl AmountError {
    /// The stable word of `errors[].code` (contract section 10).
    pub fn code(self) -> &'static str {
        match self {
            AmountError::Form => "format",
            AmountError::TooLong => "too_long",
            AmountError::NotPositive => "not_positive",
            AmountError::Decimals => "decimals",
        }
    }

    /// For people: what to do. Never quotes the input.
    pub fn message(self) -> &'static str {
        match self {
            AmountError::Form => "Send digits in major units, such as 1000 or 49.99: no sign, exponent or spaces.",
            AmountError::TooLong => "Send at most 10 characters.",
            AmountError::NotPositive => "Send an amount above zero.",
            AmountError::Decimals => "The currency has fewer decimals than this amount.",
        }
    }
}

/// The longest amount, characters (contract section 2).
const LONGEST: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// Minor units: yen, cents.
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    pub fn zero(currency: Currency) -> Money {
        Money { minor: 0, currency }
    }

    /// Major units, at most 10 characters, above zero, no sign or exponent; leading zeros are accepted. Decimals beyond
    /// the currency's must be zeros: `5000.0` is 5,000 yen, `1000.5` yen is refused (contract section 2).
    ///
    /// # Errors
    /// The first rule that the text breaks: length, form, decimals, above zero.
    pub fn parse(text: &str, currency: Currency) -> Result<Money, AmountError> {
        let (whole, fraction) = parts(text)?;
        let decimals = currency.decimals() as usize;
        let (kept, beyond) = fraction.split_at(fraction.len().min(decimals));
        if beyond.bytes().any(|digit| digit != b'0') {
            return Err(AmountError::Decimals);
        }
        // At most ten digits and four decimals: far below the limit of 64 bits.
        let digits = format!("{whole}{kept:0<decimals$}");
        let minor: i64 = digits.parse().map_err(|_| AmountError::Form)?;
        if minor == 0 { Err(AmountError::NotPositive) } else { Ok(Money { minor, currency }) }
    }

    /// `None` when the currencies differ or the sum does not fit.
    #[must_use]
    pub fn checked_add(self, other: Money) -> Option<Money> {
        let minor = self.minor.checked_add(other.minor)?;
        (self.currency == other.currency).then_some(Money { minor, ..self })
    }

    /// `None` when the currencies differ or the difference does not fit. It may be below zero.
    #[must_use]
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        let minor = self.minor.checked_sub(other.minor)?;
        (self.currency == other.currency).then_some(Money { minor, ..self })
    }

    /// Major units in the shortest exact form: `1000`, `49.99`, `68.9` (contract section 2).
    pub fn major(&self) -> String {
        let decimals = self.currency.decimals() as usize;
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.minor < 0 { "-" } else { "" };
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

/// Length, form and above zero alone, for when the currency is not known.
///
/// # Errors
/// As [`Money::parse`], but never `Decimals`.
pub fn check_form(text: &str) -> Result<(), AmountError> {
    let (whole, fraction) = parts(text)?;
    let positive = whole.bytes().chain(fraction.bytes()).any(|digit| digit != b'0');
    if positive { Ok(()) } else { Err(AmountError::NotPositive) }
}

fn parts(text: &str) -> Result<(&str, &str), AmountError> {
    if text.chars().take(LONGEST + 1).count() > LONGEST {
        return Err(AmountError::TooLong);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let form = !whole.is_empty() && digits(whole) && digits(fraction) && !text.ends_with('.');
    if form { Ok((whole, fraction)) } else { Err(AmountError::Form) }
}

/// A JSON number in major units, never through a float (contract section 2).
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::Number::from_string_unchecked(self.major()).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, code: &str) -> Result<i64, &'static str> {
        Money::parse(text, Currency::parse(code).unwrap()).map(|money| money.minor).map_err(AmountError::code)
    }

    #[test]
    fn amounts_are_exact() {
        assert_eq!(parse("1000", "JPY"), Ok(1000));
        assert_eq!(parse("5000.0", "JPY"), Ok(5000));
        assert_eq!(parse("1000.5", "JPY"), Err("decimals"));
        assert_eq!(parse("0.1", "JPY"), Err("decimals"));
        assert_eq!(parse("49.99", "USD"), Ok(4999));
        assert_eq!(parse("49.990", "USD"), Ok(4999));
        assert_eq!(parse("49.9", "USD"), Ok(4990));
        assert_eq!(parse("1.234", "KWD"), Ok(1234));
        assert_eq!(parse("9999999999", "KWD"), Ok(9_999_999_999_000));
        assert_eq!(parse("10000000000", "JPY"), Err("too_long"));
        for bad in ["", ".", "1.", ".5", "1e3", "-1", "+1", " 1", "1,000", "１０", "1.2.3", "NaN", "-0"] {
            assert_eq!(parse(bad, "USD"), Err("format"), "{bad}");
        }
        assert_eq!(parse("0", "USD"), Err("not_positive"));
        assert_eq!(parse("0.00", "USD"), Err("not_positive"));
        assert_eq!(parse("0000000001", "JPY"), Ok(1));
        assert_eq!(check_form("0.0001"), Ok(()));
        assert_eq!(check_form("0.0"), Err(AmountError::NotPositive));
        assert_eq!(check_form("1,000"), Err(AmountError::Form));
        assert_eq!(check_form("10000000000"), Err(AmountError::TooLong));
    }

    #[test]
    fn currencies_are_capitals_with_minor_units() {
        for (code, decimals) in [("JPY", 0), ("USD", 2), ("KWD", 3), ("CLF", 4)] {
            let currency = Currency::parse(code).unwrap();
            assert_eq!((currency.code(), currency.decimals()), (code, decimals));
        }
        for bad in ["", "jpy", "Jpy", " JPY", "JPY ", "392", "AAA", "XAU", "XXX", "円"] {
            assert_eq!(Currency::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sums_are_checked() {
        let money = |minor, code| Money { minor, currency: Currency::parse(code).unwrap() };
        assert_eq!(money(700, "JPY").checked_add(money(300, "JPY")), Some(money(1000, "JPY")));
        assert_eq!(money(300, "JPY").checked_sub(money(700, "JPY")), Some(money(-400, "JPY")));
        assert_eq!(money(1, "JPY").checked_add(money(1, "USD")), None);
        assert_eq!(money(1, "JPY").checked_sub(money(1, "USD")), None);
        assert_eq!(money(i64::MAX, "JPY").checked_add(money(1, "JPY")), None);
        assert_eq!(money(i64::MIN, "JPY").checked_sub(money(1, "JPY")), None);
    }

    #[test]
    fn amounts_go_out_in_the_shortest_form() {
        let out =
            |minor, code| serde_json::to_string(&Money { minor, currency: Currency::parse(code).unwrap() }).unwrap();
        assert_eq!(out(1000, "JPY"), "1000");
        assert_eq!(out(4999, "USD"), "49.99");
        assert_eq!(out(6890, "USD"), "68.9");
        assert_eq!(out(5, "USD"), "0.05");
        assert_eq!(out(0, "USD"), "0");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", digits in "[0-9.]{0,12}") {
            for text in [&text, &digits] {
                let form = check_form(text).is_ok();
                for code in ["JPY", "USD", "KWD", "CLF"] {
                    let parsed = Money::parse(text, Currency::parse(code).unwrap());
                    proptest::prop_assert!(form || parsed.is_err());
                }
            }
        }

        #[test]
        fn what_goes_out_comes_in_again(minor in 1i64..99_999_999) {
            for code in ["JPY", "USD", "KWD"] {
                let money = Money { minor, currency: Currency::parse(code).unwrap() };
                proptest::prop_assert_eq!(Money::parse(&money.major(), money.currency), Ok(money));
            }
        }
    }
}
