//! A message for people and logs: nothing of it that PCI DSS keeps from them (3.3.1, 3.4.1).

use super::dialect::{Dialect, Show};
use super::message::Message;
use crate::card::{Pan, contains_any_number};
use std::fmt::Write;

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "***";

/// How many bytes of a value are shown at most: a log's line has an end.
const SHOWN: usize = 128;

/// One line: `0100 2=411111******1111 4=000000001000 48.42=212`.
pub fn line(dialect: &Dialect, message: &Message) -> String {
    let mut line = message.mti().to_string();
    for (number, _, value) in rows(dialect, message) {
        let _ = write!(line, " {number}={value}");
    }
    line
}

/// A row for each field or sub-element: number (`48.42`), name, masked value.
pub fn rows(dialect: &Dialect, message: &Message) -> Vec<(String, String, String)> {
    let row = |(field, tag, value): (u8, &str, &[u8])| {
        let described = dialect.fields.get(&field);
        let name = described.map_or("", |described| &described.name);
        if tag.is_empty() {
            let show = described.map_or(Show::None, |described| described.shown(field));
            return (field.to_string(), name.to_owned(), masked(value, show));
        }
        // A tag comes from the wire: only one that the dialect names is shown.
        match described.and_then(|described| described.named.get_key_value(tag)) {
            Some((tag, element)) => (format!("{field}.{tag}"), element.name.clone(), masked(value, element.show)),
            None => (format!("{field}.?"), name.to_owned(), HIDDEN.to_owned()),
        }
    };
    message.parts().map(row).collect()
}

fn masked(value: &[u8], show: Show) -> String {
    let text = match std::str::from_utf8(value) {
        _ if show == Show::None => return HIDDEN.to_owned(),
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => value.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        }),
    };
    if show == Show::Pan {
        return first_and_last(&text);
    }
    let text = without_numbers(&text);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// First six and last four; nothing of what is too short to hide anything in between.
fn first_and_last(text: &str) -> String {
    let hidden = text.len().saturating_sub(10);
    match (text.get(..6), text.get(text.len().saturating_sub(4)..)) {
        (Some(first), Some(last)) if hidden >= 2 => format!("{first}{}{last}", "*".repeat(hidden)),
        _ => HIDDEN.to_owned(),
    }
}

/// Whatever the dialect says: the middle of each run of digits that can be a card number is hidden, also inside a longer run;
/// and all of a text where one is still found, with spaces or hyphens in it.
fn without_numbers(text: &str) -> String {
    let mut shown: Vec<u8> = text.into();
    for length in 13..=19 {
        for (start, window) in text.as_bytes().windows(length).enumerate() {
            let is_number = window.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(window).is_ok_and(|digits| Pan::parse(digits).is_ok());
            if is_number {
                shown[start + 6..start + length - 4].fill(b'*');
            }
        }
    }
    let shown = String::from_utf8(shown).unwrap_or_default();
    if contains_any_number(&shown) { HIDDEN.to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::GENERIC;
    use super::super::message::Mti;
    use super::*;

    fn message(fields: &[(u8, &str, &str)]) -> Message {
        let mut message = Message::new(Mti::parse(b"0100").unwrap());
        for (field, tag, value) in fields {
            message.set_sub(*field, tag, value.as_bytes());
        }
        message
    }

    #[test]
    fn what_may_not_be_seen_is_hidden() {
        let dialect = Dialect::parse(GENERIC.1).unwrap();
        let message = message(&[
            (2, "", "4000000000001091"),
            (4, "", "000000001000"),
            (14, "", "2812"),
            (35, "", "4000000000001091=28121010000000000"),
            (37, "", "000000000001"),
            (44, "", "CARD 4000000000001091 IS 9"),
            (43, "", "4000 0000 0000 1091"),
            (48, "22", "C101"),
            (48, "92", "123"),
            (48, "77", "what nobody knows"),
            (52, "", "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}"),
            (55, "5A", "\u{40}"),
            (63, "", "private"),
            (96, "", "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}"),
            (65, "", "in no dialect"),
        ]);
        assert_eq!(
            line(&dialect, &message),
            "0100 2=400000******1091 4=000000001000 14=*** 35=*** 37=000000000001 43=*** \
             44=CARD 400000******1091 IS 9 48.22=C101 48.92=*** 48.?=*** 52=*** 55.?=*** 63=*** 65=*** \
             96=0102030405060708"
        );
        let rows = rows(&dialect, &message);
        assert_eq!(rows[7], ("48.22".to_owned(), "Who initiated it, and why".to_owned(), "C101".to_owned()));
        assert_eq!(rows[0].1, "Primary account number");
    }

    #[test]
    fn numbers_are_found_in_longer_runs() {
        assert_eq!(without_numbers("0100400000000000109100"), "0100400000******109100");
        assert_eq!(without_numbers("no number 1111111111111111"), "no number 1111111111111111");
        assert_eq!(without_numbers("4000-0000-0000-1091"), HIDDEN);
        assert_eq!(first_and_last("40000000"), HIDDEN);
        assert_eq!(first_and_last("400000000000"), "400000**0000");
        assert_eq!(masked(&[b'x'; 200], Show::All).len(), SHOWN + 3);
    }

    proptest::proptest! {
        /// No valid card number comes through, wherever it stands.
        #[test]
        fn no_number_comes_through(field in 2_u8..=128, before in "[0-9a-z ]{0,30}", after in "[0-9a-z ]{0,30}") {
            let dialect = Dialect::parse(GENERIC.1).unwrap();
            let text = format!("{before}4000000000001091{after}");
            let line = line(&dialect, &message(&[(field, "", &text)]));
            proptest::prop_assert!(!line.contains("4000000000001091"), "{line}");
        }
    }
}
