//! Card values. A card number is a type that cannot leak: no `Display`, no `Serialize`, masked in `Debug`, zeroed in
//! memory, and every [`Pan::expose`] stands in a list that a test checks (PCI DSS 3.4, 3.5).

use crate::clock::Millis;
use std::fmt;
use zeroize::Zeroizing;

/// A card number that has the right length and check digit and belongs to a scheme.
#[derive(Clone, PartialEq, Eq)]
pub struct Pan {
    digits: Zeroizing<String>,
    scheme: Scheme,
}

/// Why a text is no card number (contract section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanError {
    /// Not 12 to 19 digits.
    Form,
    /// The check digit is wrong.
    Luhn,
    /// In no known scheme's range, or of a length that the scheme does not issue.
    Scheme,
}

impl Pan {
    /// Spaces and hyphens are removed (contract section 2).
    ///
    /// # Errors
    /// The first of form, check digit and scheme that fails.
    pub fn parse(text: &str) -> Result<Pan, PanError> {
        let mut digits = Zeroizing::new(String::with_capacity(text.len()));
        digits.extend(text.chars().filter(|c| !matches!(c, ' ' | '-')));
        if !(12..=19).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PanError::Form);
        }
        if !luhn(digits.as_bytes()) {
            return Err(PanError::Luhn);
        }
        let scheme = Scheme::of(&digits).ok_or(PanError::Scheme)?;
        Ok(Pan { digits, scheme })
    }

    /// The number itself. Each use stands in the list of `tests/`: sealing, fingerprints, the own-number check of texts,
    /// and the acquirer's message.
    pub fn expose(&self) -> &str {
        &self.digits
    }

    /// From the number's own range (contract section 2).
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn first6(&self) -> &str {
        &self.digits[..6]
    }

    /// The BIN of ISO/IEC 7812-1:2017; a number has 12 digits at least.
    pub fn first8(&self) -> &str {
        &self.digits[..8]
    }

    /// The first eleven digits, to look for the issuer in memory. Beside the last four they are more than may be shown or
    /// stored (PCI DSS 3.4.1).
    pub fn first11(&self) -> u64 {
        self.digits.bytes().take(11).fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    }

    pub fn last4(&self) -> &str {
        &self.digits[self.digits.len() - 4..]
    }

    /// First six, six or more stars, last four (contract section 2, "PAN out").
    pub fn masked(&self) -> String {
        let stars = "*".repeat(self.digits.len().saturating_sub(10).max(6));
        format!("{}{stars}{}", self.first6(), self.last4())
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// The check digit's rule (ISO/IEC 7812-1 annex B).
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, digit)| {
            let value = u32::from(digit - b'0');
            let doubled = if position % 2 == 1 { value * 2 } else { value };
            doubled / 10 + doubled % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The card networks (contract section 2). The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Visa = 1,
    Mastercard = 2,
    Amex = 3,
    Jcb = 4,
    Diners = 5,
    Discover = 6,
    Unionpay = 7,
    /// Not cards: accounts in wallets, which stand in a card's place (contract section 8).
    Gcash = 8,
    Paypay = 9,
}

const SCHEMES: [Scheme; 7] =
    [Scheme::Visa, Scheme::Mastercard, Scheme::Amex, Scheme::Jcb, Scheme::Diners, Scheme::Discover, Scheme::Unionpay];

/// Whose accounts are charged.
pub const WALLETS: [Scheme; 2] = [Scheme::Gcash, Scheme::Paypay];

impl Scheme {
    /// By the number's own range and length. 622126–622925, which Discover shares, counts as UnionPay.
    fn of(digits: &str) -> Option<Scheme> {
        let six: u32 = digits.get(..6)?.parse().ok()?;
        let length = digits.len();
        let (scheme, lengths): (Scheme, &[usize]) = match six {
            400_000..=499_999 => (Scheme::Visa, &[13, 16, 19]),
            510_000..=559_999 | 222_100..=272_099 => (Scheme::Mastercard, &[16]),
            340_000..=349_999 | 370_000..=379_999 => (Scheme::Amex, &[15]),
            352_800..=358_999 => (Scheme::Jcb, &[16, 17, 18, 19]),
            300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999 => {
                (Scheme::Diners, &[14, 15, 16, 17, 18, 19])
            }
            601_100..=601_199 | 644_000..=659_999 => (Scheme::Discover, &[16, 17, 18, 19]),
            620_000..=629_999 | 810_000..=819_999 => (Scheme::Unionpay, &[16, 17, 18, 19]),
            _ => return None,
        };
        lengths.contains(&length).then_some(scheme)
    }

    /// By its name, in any case.
    pub fn parse(name: &str) -> Option<Scheme> {
        SCHEMES.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }

    /// `scheme` of an answer (contract section 2).
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Visa => "VISA",
            Scheme::Mastercard => "MASTERCARD",
            Scheme::Amex => "AMEX",
            Scheme::Jcb => "JCB",
            Scheme::Diners => "DINERS",
            Scheme::Discover => "DISCOVER",
            Scheme::Unionpay => "UNIONPAY",
            Scheme::Gcash => "GCASH",
            Scheme::Paypay => "PAYPAY",
        }
    }

    /// `payment_method` of an answer (contract section 2).
    pub fn payment_method(self) -> &'static str {
        match self {
            Scheme::Visa => "VISA-SSL",
            Scheme::Mastercard => "ECMC-SSL",
            Scheme::Amex => "AMEX-SSL",
            Scheme::Jcb => "JCB-SSL",
            Scheme::Diners => "DINERS-SSL",
            Scheme::Discover => "DISCOVER-SSL",
            Scheme::Unionpay => "CHINAUNIONPAY-SSL",
            Scheme::Gcash => "GCASH-SSL",
            Scheme::Paypay => "PAYPAY-SSL",
        }
    }

    /// The word of a wallet's accounts in `payment_method.type` and `payment_data_source.type` (contract sections 2 and 3).
    pub fn wallet(self) -> Option<&'static str> {
        match self {
            Scheme::Gcash => Some("gcash"),
            Scheme::Paypay => Some("paypay"),
            _ => None,
        }
    }

    /// Its name as people write it.
    pub fn label(self) -> &'static str {
        match self {
            Scheme::Gcash => "GCash",
            Scheme::Paypay => "PayPay",
            card => card.name(),
        }
    }

    /// The wallet of that word.
    pub fn of_wallet(word: &str) -> Option<Scheme> {
        WALLETS.into_iter().find(|scheme| scheme.wallet() == Some(word))
    }

    /// Digits of the security code (contract section 2, `card.cvc`).
    pub fn cvc_length(self) -> usize {
        if self == Scheme::Amex { 4 } else { 3 }
    }

    /// As it stands in the database.
    pub fn id(self) -> i64 {
        self as i64
    }

    /// `None` for a value that is no scheme.
    pub fn from_id(id: i64) -> Option<Scheme> {
        SCHEMES.into_iter().chain(WALLETS).find(|scheme| scheme.id() == id)
    }
}

/// The security code: in memory for one message to the bank, never in a row (PCI DSS 3.3.1.2).
pub struct Cvc(Zeroizing<String>);

impl Cvc {
    /// Three or four digits; which of them is right is the scheme's to say ([`Scheme::cvc_length`]).
    pub fn parse(text: &str) -> Option<Cvc> {
        let fits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| Cvc(Zeroizing::new(text.to_owned())))
    }

    /// The code itself, for the acquirer's message alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cvc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A device's cryptogram for one payment (EMVCo payment tokenisation): handled like a [`Cvc`], in memory for one message to the
/// bank, never in a row.
#[derive(PartialEq, Eq)]
pub struct Cryptogram(Zeroizing<String>);

impl Cryptogram {
    /// Base64 of some 20 bytes; at most 128 characters.
    pub fn parse(text: &str) -> Option<Cryptogram> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(letter);
        fits.then(|| Cryptogram(Zeroizing::new(text.to_owned())))
    }

    /// The cryptogram itself, for the acquirer's message alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cryptogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The month to whose end a card is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// 1 to 12.
    pub month: u8,
    /// Four digits.
    pub year: u16,
}

/// Which part of an expiry is wrong; the month when both are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryError {
    Month,
    Year,
}

impl Expiry {
    /// Of what has none: a wallet's account.
    pub const NONE: Expiry = Expiry { month: 0, year: 0 };

    /// Month `1`–`12` or `01`; year of two digits (`20yy`) or four, 2000 to 2099 (contract section 2).
    ///
    /// # Errors
    /// The part that is not so.
    pub fn parse(month: &str, year: &str) -> Result<Expiry, ExpiryError> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let month = Some(month).filter(|text| digits(text) && text.len() <= 2).and_then(|text| text.parse().ok());
        let month: u8 = month.filter(|month| (1..=12).contains(month)).ok_or(ExpiryError::Month)?;
        let value: Option<u16> = Some(year).filter(|text| digits(text)).and_then(|text| text.parse().ok());
        let year = match (year.len(), value) {
            (2, Some(value)) => 2000 + value,
            (4, Some(value)) if (2000..=2099).contains(&value) => value,
            _ => return Err(ExpiryError::Year),
        };
        Ok(Expiry { month, year })
    }

    /// A card is valid to the last instant of its month at UTC−12 (contract section 6): noon UTC of the next first.
    pub fn is_past(self, now: Millis) -> bool {
        let year = i16::try_from(self.year).unwrap_or(i16::MAX);
        let Ok(first) = jiff::civil::Date::new(year, i8::try_from(self.month).unwrap_or(12), 1) else { return false };
        let end = first.saturating_add(jiff::Span::new().months(1)).at(12, 0, 0, 0);
        let end = jiff::tz::TimeZone::UTC.to_timestamp(end).map_or(i64::MAX, jiff::Timestamp::as_millisecond);
        now >= end
    }

    /// Two digits, `02` (contract section 3, `exp_month`).
    pub fn month_text(self) -> String {
        format!("{:02}", self.month)
    }

    /// The last two digits, `28` (contract section 3, `exp_year`).
    pub fn year_text(self) -> String {
        format!("{:02}", self.year % 100)
    }
}

/// A card as one charges it, without the security code. `Debug` shows the masked number alone.
pub struct Card {
    pub pan: Pan,
    pub expiry: Expiry,
    /// The cardholder's; may be empty.
    pub name: String,
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pan.fmt(f)
    }
}

/// The card's own number in a text, also spaced, hyphenated, in full-width digits or inside a longer run of digits
/// (contract section 2, `contains_card_number`).
pub fn contains_number(text: &str, pan: &Pan) -> bool {
    // Shorter than a number in bytes: nothing to look for.
    text.len() >= 12 && digit_runs(text).contains(pan.expose())
}

/// Any 13 to 19 digits in a known scheme's range that pass Luhn, also inside a longer run (contract section 2).
pub fn contains_any_number(text: &str) -> bool {
    let is_number =
        |window: &[u8]| luhn(window) && std::str::from_utf8(window).is_ok_and(|digits| Scheme::of(digits).is_some());
    text.len() >= 13
        && digit_runs(text).split('/').any(|run| (13..=19).any(|length| run.as_bytes().windows(length).any(is_number)))
}

/// A path of the client's own making is not repeated: it may be the number itself.
pub fn known_path(path: &str) -> &str {
    let plain = path.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.' | '1' | '2'));
    if plain && !contains_any_number(path) { path } else { "" }
}

/// The digits of a text, joined over spaces and hyphens of any width; a slash for every other character.
fn digit_runs(text: &str) -> Zeroizing<String> {
    // Never longer than the text: growing would leave a copy behind that is not zeroed.
    let mut runs = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars() {
        match c {
            '0'..='9' => runs.push(c),
            '０'..='９' => runs.extend(char::from_digit(c as u32 - '０' as u32, 10)),
            // Spaces of all widths, none included.
            c if c.is_whitespace() => {}
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => {}
            '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}' | '\u{ff0d}' | '\u{ff70}' => {}
            _ => runs.push('/'),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_know_their_scheme() {
        for (number, scheme) in [
            ("5200000000001005", "MASTERCARD"),
            ("4000000000001091", "VISA"),
            ("4111 1111-1111 1111", "VISA"),
            ("378282246310005", "AMEX"),
            ("3530111333300000", "JCB"),
            ("36227206271667", "DINERS"),
            ("6011111111111117", "DISCOVER"),
            ("6200000000000005", "UNIONPAY"),
        ] {
            assert_eq!(Pan::parse(number).map(|pan| pan.scheme().name()), Ok(scheme), "{number}");
        }
        // The sandbox's other numbers (contract section 12) all begin with 400000.
        for rest in [2_500_003_155u64, 3220, 8_400_001_629, 2, 9995, 9987, 9979, 69, 127, 119, 341, 259, 6975] {
            assert_eq!(Pan::parse(&format!("400000{rest:010}")).map(|pan| pan.scheme()), Ok(Scheme::Visa), "{rest}");
        }
        for scheme in SCHEMES {
            assert_eq!(Scheme::from_id(scheme.id()), Some(scheme));
        }
        assert_eq!((Scheme::from_id(0), Scheme::from_id(10)), (None, None));
        assert_eq!(Pan::parse("4111111111111112"), Err(PanError::Luhn));
        assert_eq!(Pan::parse("9111111111111111"), Err(PanError::Luhn));
        assert_eq!(Pan::parse("1234567812345670"), Err(PanError::Scheme));
        for bad in ["", "4", "41111111111", "41111111111111111111", "４１１１111111111111", "4111x11111111111"] {
            assert_eq!(Pan::parse(bad), Err(PanError::Form), "{bad}");
        }
    }

    #[test]
    fn ranges_end_where_the_schemes_say() {
        let name = |six: &str, length: usize| Scheme::of(&format!("{six:0<length$}")).map(Scheme::name);
        assert_eq!((name("222099", 16), name("222100", 16)), (None, Some("MASTERCARD")));
        assert_eq!((name("272099", 16), name("272100", 16)), (Some("MASTERCARD"), None));
        assert_eq!((name("352799", 16), name("352800", 16)), (None, Some("JCB")));
        assert_eq!((name("305999", 14), name("306000", 14)), (Some("DINERS"), None));
        assert_eq!((name("643999", 16), name("644000", 16)), (None, Some("DISCOVER")));
        assert_eq!((name("622126", 16), name("622925", 16)), (Some("UNIONPAY"), Some("UNIONPAY")));
        assert_eq!((name("400000", 14), name("340000", 16), name("510000", 19)), (None, None, None));
    }

    #[test]
    fn numbers_come_out_masked() {
        let pan = Pan::parse("4000000000001091").unwrap();
        assert_eq!(pan.masked(), "400000******1091");
        assert_eq!(format!("{pan:?}"), "400000******1091");
        assert_eq!(Pan::parse("36227206271667").unwrap().masked(), "362272******1667");
        assert_eq!(format!("{:?}", Cvc::parse("123").unwrap()), "***");
        assert_eq!(format!("{:?}", Cryptogram::parse("AAAAAA==").unwrap()), "***");
        assert!(["", "a b", "ａ", &"A".repeat(129)].iter().all(|text| Cryptogram::parse(text).is_none()));
    }

    #[test]
    fn a_card_is_valid_to_the_end_of_its_month_everywhere() {
        let expiry = Expiry::parse("2", "28").unwrap();
        let noon = 1_835_524_800_000; // 2028-03-01T12:00:00Z
        assert!(!expiry.is_past(noon - 1));
        assert!(expiry.is_past(noon));
        assert_eq!(
            Expiry::parse("12", "2030").map(|e| (e.month_text(), e.year_text())),
            Ok(("12".into(), "30".into()))
        );
        assert_eq!(Expiry::parse("13", "30"), Err(ExpiryError::Month));
        assert_eq!(Expiry::parse("1", "1999"), Err(ExpiryError::Year));
        assert_eq!(Expiry::parse("1", "203"), Err(ExpiryError::Year));
    }

    #[test]
    fn a_number_is_found_in_any_dress() {
        let pan = Pan::parse("4000000000001091").unwrap();
        for text in [
            "4000000000001091",
            "card 4000 0000 0000 1091 please",
            "4000-0000-0000-1091",
            "カード４０００００００００００１０９１です",
            "４０００　００００　００００　１０９１",
            "4000ー0000ｰ0000－1091",
            "4000‐0000‑0000–1091",
            "4000—0000\u{a0}0000 - 1091",
            "9994000000000001091999",
        ] {
            assert!(contains_number(text, &pan), "{text}");
            assert!(contains_any_number(text), "{text}");
        }
        for text in ["", "400000******1091", "東京都新宿区1-2-3", "4000000000001092", "4000 and 000000001091"] {
            assert!(!contains_number(text, &pan), "{text}");
        }
        assert!(!contains_any_number("+81 3 1234 5678 90"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", digits in "[0-9 -]{0,40}") {
            let pan = Pan::parse("4000000000001091").unwrap();
            for text in [&text, &digits] {
                let _ = (Pan::parse(text).is_ok(), contains_number(text, &pan), contains_any_number(text));
            }
        }
    }
}
