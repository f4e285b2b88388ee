//! As whom a merchant is known at an acquirer, and how acquirers are named.

use crate::card::contains_any_number;

/// The acquirer that is built in and knows no live money.
pub const SANDBOX: &str = "sandbox";

/// What names a merchant at an acquirer, in ISO 8583's own fields; made by [`Acceptor::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptor {
    /// Card acceptor terminal identification (field 41): 1 to 8 characters.
    pub terminal: String,
    /// Card acceptor identification code (field 42): 1 to 15 characters.
    pub acceptor: String,
    /// Merchant category code (field 18, ISO 18245): four digits.
    pub category: Option<String>,
    /// Card acceptor name and location (field 43): 1 to 40 characters.
    pub place: Option<String>,
}

/// Which text names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptorError {
    Terminal,
    Acceptor,
    Category,
    Place,
}

impl AcceptorError {
    /// For people: what would do. Never quotes the input.
    pub fn message(self) -> &'static str {
        match self {
            AcceptorError::Terminal => "the terminal is 1 to 8 printable ASCII characters, without spaces around them",
            AcceptorError::Acceptor => "the acceptor is 1 to 15 printable ASCII characters, without spaces around them",
            AcceptorError::Category => "the category is four digits, such as 5411",
            AcceptorError::Place => {
                "the place is 1 to 40 printable ASCII characters, without spaces around them or a card number in them"
            }
        }
    }
}

impl Acceptor {
    /// # Errors
    /// The first of the four that does not fit its field.
    pub fn parse(
        terminal: &str,
        acceptor: &str,
        category: Option<&str>,
        place: Option<&str>,
    ) -> Result<Acceptor, AcceptorError> {
        let four_digits = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !fits(terminal, 8) {
            return Err(AcceptorError::Terminal);
        }
        // No search for a card number: an acceptor's 15 digits may well look like one.
        if !fits(acceptor, 15) {
            return Err(AcceptorError::Acceptor);
        }
        if !category.is_none_or(four_digits) {
            return Err(AcceptorError::Category);
        }
        if !place.is_none_or(|text| fits(text, 40) && !contains_any_number(text)) {
            return Err(AcceptorError::Place);
        }
        Ok(Acceptor {
            terminal: terminal.to_owned(),
            acceptor: acceptor.to_owned(),
            category: category.map(str::to_owned),
            place: place.map(str::to_owned),
        })
    }
}

/// The fields are padded with spaces on the line: those around a text would not come back.
fn fits(text: &str, most: usize) -> bool {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (1..=most).contains(&text.len()) && printable && text.trim_matches(' ') == text
}

/// An acquirer's name: 1 to 32 of `a` to `z`, `0` to `9` and `-`.
pub fn is_acquirer_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(terminal: &str, acceptor: &str, category: Option<&str>, place: Option<&str>) -> Option<AcceptorError> {
        Acceptor::parse(terminal, acceptor, category, place).err()
    }

    #[test]
    fn texts_fit_their_fields() {
        for (terminal, acceptor, category, place) in [
            ("1", "1", None, None),
            ("TERM 001", "123456789012345", Some("5411"), Some("SHIBUYA TOKYO JP")),
            ("~!/", "3782 822463", Some("0000"), Some("SHOP>SHIBUYA            TOKYO         JP")),
        ] {
            assert_eq!(wrong(terminal, acceptor, category, place), None);
        }
        for terminal in ["", " ", "123456789", " 1", "1 ", "端末", "1\n", "1\0", "é"] {
            assert_eq!(wrong(terminal, "1", None, None), Some(AcceptorError::Terminal), "{terminal:?}");
        }
        for acceptor in ["", "1234567890123456", " 1", "1 ", "１"] {
            assert_eq!(wrong("1", acceptor, None, None), Some(AcceptorError::Acceptor), "{acceptor:?}");
        }
        for category in ["", "541", "54111", "54a1", "５４１１", " 541"] {
            assert_eq!(wrong("1", "1", Some(category), None), Some(AcceptorError::Category), "{category:?}");
        }
        let long = "x".repeat(41);
        for place in ["", " ", "東京", "TOKYO ", "4111 1111 1111 1111", &long] {
            assert_eq!(wrong("1", "1", None, Some(place)), Some(AcceptorError::Place), "{place:?}");
        }
    }

    #[test]
    fn names_of_acquirers() {
        let longest = "a".repeat(32);
        for name in ["a", "acme-jp-2", SANDBOX, &longest] {
            assert!(is_acquirer_name(name), "{name}");
        }
        let longer = "a".repeat(33);
        for name in ["", "Acme", "acme_jp", "acme jp", "アクメ", "acme.jp", &longer] {
            assert!(!is_acquirer_name(name), "{name}");
        }
    }
}
