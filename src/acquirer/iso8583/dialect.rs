//! A dialect: one host's fields, encodings and messages, as a TOML file says them (docs/ISO8583.md).

use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;

/// Built in, under its name.
pub const GENERIC: (&str, &str) = ("generic-1987", include_str!("dialects/generic-1987.toml"));

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    pub version: Version,
    #[serde(default)]
    pub header: Header,
    #[serde(default)]
    pub encoding: Encoding,
    /// By number, 2 to 128 without 65.
    #[serde(deserialize_with = "numbered")]
    pub fields: BTreeMap<u8, Field>,
    /// How our operations become messages; `speech.rs` reads them.
    #[serde(default)]
    pub messages: toml::Table,
    #[serde(default)]
    pub common: toml::Table,
    #[serde(default)]
    pub answers: toml::Table,
    #[serde(default)]
    pub response_codes: toml::Table,
    #[serde(default)]
    pub abilities: toml::Table,
}

impl Dialect {
    /// # Errors
    /// What is wrong with the file, with the key; for the operator.
    pub fn parse(text: &str) -> Result<Dialect, String> {
        super::read_toml(text)
    }
}

/// Which edition of ISO 8583: the first digit of every message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub enum Version {
    V1987,
    V1993,
}

impl TryFrom<u16> for Version {
    type Error = &'static str;

    fn try_from(year: u16) -> Result<Version, &'static str> {
        match year {
            1987 => Ok(Version::V1987),
            1993 => Ok(Version::V1993),
            _ => Err("the version is 1987 or 1993"),
        }
    }
}

impl Version {
    /// The ASCII digit in front of a message type.
    pub fn digit(self) -> u8 {
        match self {
            Version::V1987 => b'0',
            Version::V1993 => b'1',
        }
    }
}

/// What stands in front of a message in the stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Header {
    pub length: HeaderLength,
    /// Whether the length counts its own bytes too.
    pub counts_itself: bool,
    /// The TPDU of our requests, ten hexadecimal digits; none for hosts without.
    pub tpdu: Option<String>,
    /// The longest frame, bytes behind the length; 9,999 when it is not said.
    pub limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderLength {
    /// Two bytes, the higher first.
    #[default]
    Binary,
    /// Four ASCII digits.
    Ascii,
}

/// How values stand on the wire, where a field does not say otherwise.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Encoding {
    pub mti: Digits,
    pub bitmap: Bytes,
    /// Of types n and z.
    pub digits: Digits,
    /// Of types a, an and ans, and of hexadecimal digits.
    pub text: Charset,
    /// Of type b.
    pub bytes: Bytes,
    /// Of the lengths in front of variable values.
    pub length: Lengths,
    /// Where the spare half byte of an odd number of BCD digits is, in values of variable length.
    pub odd: Odd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digits {
    #[default]
    Ascii,
    /// Two digits in a byte.
    Bcd,
    Ebcdic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Charset {
    #[default]
    Ascii,
    /// Code page 037.
    Ebcdic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lengths {
    #[default]
    Ascii,
    Bcd,
    /// One byte for one or two dots of the format, two bytes for three or four.
    Binary,
    Ebcdic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bytes {
    /// As they are.
    #[default]
    Binary,
    /// Two hexadecimal digits for each.
    Hex,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Odd {
    /// In front of the digits, 0.
    #[default]
    Left,
    /// Behind them, F.
    Right,
}

/// One field of the table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub format: Format,
    pub name: String,
    pub show: Option<Show>,
    /// Instead of the dialect's: `ascii`, `bcd` or `ebcdic` for n and z, `ascii` or `ebcdic` for text, `binary` or `hex` for b.
    pub encoding: Option<String>,
    pub length: Option<Lengths>,
    pub odd: Option<Odd>,
    pub elements: Option<Elements>,
    /// What its sub-elements are, by tag.
    #[serde(default)]
    pub named: BTreeMap<String, Element>,
}

impl Field {
    /// What the dialect says, or what is safe: nothing of private fields, whose contents nobody knows.
    pub fn shown(&self, number: u8) -> Show {
        self.show.unwrap_or(match number {
            2 | 34 | 102 | 103 => Show::Pan,
            14 | 35 | 36 | 45 | 52 | 46..=48 | 54..=63 | 104..=127 => Show::None,
            _ => Show::All,
        })
    }
}

/// A sub-element, for people. What is not listed here is never shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    pub name: String,
    #[serde(default = "hidden")]
    pub show: Show,
}

fn hidden() -> Show {
    Show::None
}

/// How much of a value people and logs may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Show {
    None,
    /// First six and last four, as of a card number (PCI DSS 3.4.1).
    Pan,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Digits.
    N,
    /// Letters and spaces.
    A,
    /// Letters, digits and spaces.
    An,
    /// Any printable character.
    Ans,
    /// Tracks 2 and 3: digits and `:;<=>?` (ISO/IEC 7813), of which BCD makes the half bytes A to F.
    Z,
    /// Bytes.
    B,
}

/// A type and a length in the standard's own notation: `n 6`, `n..19`, `ans...999`, `b 8`. Each dot is a digit of the length
/// that stands in front of the value. Lengths are digits of n and z, characters of text, bytes of b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Format {
    pub kind: Type,
    /// 0 for a fixed length.
    pub dots: u8,
    /// 1 to 9,999: the length, or the greatest.
    pub length: usize,
}

impl TryFrom<String> for Format {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Format, &'static str> {
        let kind: String = text.chars().take_while(char::is_ascii_lowercase).collect();
        let rest = &text[kind.len()..];
        let digits = rest.trim_start_matches(['.', ' ']);
        let between = &rest[..rest.len() - digits.len()];
        let dots = match between {
            " " => 0,
            "." | ".." | "..." | "...." => between.len() as u8,
            _ => return Err("a format is a type, one to four dots or a space, and a length: n 6, n..19, ans...999"),
        };
        let kind = match kind.as_str() {
            "n" => Type::N,
            "a" => Type::A,
            "an" => Type::An,
            "ans" => Type::Ans,
            "z" => Type::Z,
            "b" => Type::B,
            _ => return Err("a format's type is n, a, an, ans, z or b"),
        };
        let fits = digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let length = digits.parse().ok().filter(|length| fits && *length > 0);
        Ok(Format { kind, dots, length: length.ok_or("a format's length is 1 to 9999")? })
    }
}

/// How a field's sub-elements follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Elements {
    /// Of `tag` characters and a length of `length` digits, which counts characters: `2+2`.
    Text { tag: usize, length: usize },
    /// BER-TLV, as chips have it (EMV book 3, annex B): `ber`.
    Ber,
}

impl TryFrom<String> for Elements {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Elements, &'static str> {
        const FORM: &str = "elements are ber, or the characters of a tag and the digits of a length, 1 to 4 each: 2+2";
        let one = |text: &str| text.parse().ok().filter(|count| text.len() == 1 && (1..=4).contains(count)).ok_or(FORM);
        match text.split_once('+') {
            None if text == "ber" => Ok(Elements::Ber),
            None => Err(FORM),
            Some((tag, length)) => Ok(Elements::Text { tag: one(tag)?, length: one(length)? }),
        }
    }
}

/// The key that shows what no dialect may show: card number, expiry, tracks and PIN (PCI DSS 3.3.1, 3.4.1), and a chip's data as
/// a whole, which has them.
fn shows_too_much(number: u8, field: &Field) -> Option<String> {
    let most = match number {
        2 => Show::Pan,
        14 | 35 | 36 | 45 | 52 | 55 => Show::None,
        _ => Show::All,
    };
    if field.show.is_some_and(|show| show > most) {
        return Some(format!("fields.{number}.show"));
    }
    let chips = field.named.iter().filter(|_| field.elements == Some(Elements::Ber));
    let mut wrong = chips.filter(|(tag, element)| element.show > most_of_chips(tag));
    wrong.next().map(|(tag, _)| format!("fields.{number}.named.{tag}.show"))
}

/// How much of a chip's element may be seen (EMV book 3, annex A).
fn most_of_chips(tag: &str) -> Show {
    // Bit 6 of a tag: others are inside, whatever they may be.
    let constructed =
        tag.get(..2).and_then(|first| u8::from_str_radix(first, 16).ok()).is_none_or(|first| first & 0x20 != 0);
    match tag {
        "5A" => Show::Pan,
        // Tracks and what the issuer has in them, the holder's name, expiry, PIN.
        "56" | "57" | "99" | "5F20" | "5F24" | "9F0B" | "9F1F" | "9F20" | "9F6B" => Show::None,
        _ if constructed => Show::None,
        _ => Show::All,
    }
}

/// TOML's keys are texts.
fn numbered<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u8, Field>, D::Error> {
    let named = BTreeMap::<String, Field>::deserialize(deserializer)?;
    let number = |(key, field): (String, Field)| match key.parse::<u8>() {
        // 1 and 65 say that there is another bitmap.
        Ok(number) if (2..=128).contains(&number) && number != 65 && key == number.to_string() => {
            match shows_too_much(number, &field) {
                Some(wrong) => Err(de::Error::custom(format!("{wrong}: nobody may see it"))),
                None => Ok((number, field)),
            }
        }
        _ => Err(de::Error::custom(format!("fields.{key}: a field is 2 to 128, and not 65"))),
    };
    named.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::super::codec::Codec;
    use super::super::frame::Frame;
    use super::*;

    #[test]
    fn the_built_in_one_is_whole() {
        let dialect = Dialect::parse(GENERIC.1).unwrap();
        assert!(Codec::new(&dialect).is_ok() && Frame::new(&dialect).is_ok());
        assert_eq!(dialect.fields.len(), 126);
    }

    #[test]
    fn formats_are_the_standards_own() {
        let format = |text: &str| Format::try_from(text.to_owned());
        assert_eq!(format("n 6"), Ok(Format { kind: Type::N, dots: 0, length: 6 }));
        assert_eq!(format("ans...999"), Ok(Format { kind: Type::Ans, dots: 3, length: 999 }));
        assert_eq!(format("b....9999"), Ok(Format { kind: Type::B, dots: 4, length: 9999 }));
        for wrong in
            ["", "n", "6", "n6", "n  6", "n 0", "n 10000", "n.....1", "n. 6", "x 6", "n ..6", "n..+6", "N 6", "n -6"]
        {
            assert!(format(wrong).is_err(), "{wrong}");
        }
        let elements = |text: &str| Elements::try_from(text.to_owned());
        assert_eq!(elements("2+3"), Ok(Elements::Text { tag: 2, length: 3 }));
        for wrong in ["", "bar", "2", "2+", "0+2", "2+5", "02+2", "2+2+2", "+"] {
            assert!(elements(wrong).is_err(), "{wrong}");
        }
    }

    /// Whether it is found by the parser or by the codec: all that is wrong with a file names the key or the line.
    #[test]
    fn mistakes_are_told_with_the_key() {
        let told = |text: &str| Dialect::parse(text).and_then(|dialect| Codec::new(&dialect).map(drop)).unwrap_err();
        for (text, word) in [
            ("[fields]", "version"),
            ("version = 2003\n[fields]", "1987 or 1993"),
            ("version = 1987", "fields"),
            ("version = 1987\nfield = 1\n[fields]", "unknown field `field`"),
            ("version = 1987\n[header]\nsize = 1\n[fields]", "unknown field `size`"),
            ("version = 1987\n[encoding]\ntext = 'bcd'\n[fields]", "unknown variant `bcd`"),
        ] {
            assert!(told(text).contains(word), "{}", told(text));
        }
        for (field, word) in [
            ("1 = { format = 'b 8', name = '' }", "fields.1:"),
            ("65 = { format = 'b 8', name = '' }", "fields.65:"),
            ("129 = { format = 'b 8', name = '' }", "fields.129:"),
            ("02 = { format = 'n 8', name = '' }", "fields.02:"),
            ("two = { format = 'n 8', name = '' }", "fields.two:"),
            ("2 = { format = 'n 8' }", "missing field `name`"),
            ("2 = { format = 'n8', name = '' }", "a format is"),
            ("2 = { format = 'n 8', name = '', mask = true }", "unknown field `mask`"),
            ("2 = { format = 'n 8', name = '', show = 'all' }", "fields.2.show: nobody"),
            ("35 = { format = 'z..37', name = '', show = 'pan' }", "fields.35.show: nobody"),
            ("55 = { format = 'b..37', name = '', show = 'all' }", "fields.55.show: nobody"),
            ("3 = { format = 'n 8', name = '', encoding = 'hex' }", "fields.3.encoding:"),
            ("3 = { format = 'an 8', name = '', encoding = 'bcd' }", "fields.3.encoding:"),
            ("3 = { format = 'b 8', name = '', encoding = 'ascii' }", "fields.3.encoding:"),
            ("3 = { format = 'n 8', name = '', length = 'bcd' }", "fields.3.length:"),
            ("3 = { format = 'n 8', name = '', odd = 'left' }", "fields.3.odd:"),
            ("3 = { format = 'n..100', name = '' }", "fields.3.format:"),
            ("3 = { format = 'n..256', name = '', length = 'binary' }", "fields.3.format:"),
            ("3 = { format = 'b..50', name = '', encoding = 'hex' }", "fields.3.format:"),
            ("3 = { format = 'n..50', name = '', elements = '2+2' }", "fields.3.elements:"),
            ("3 = { format = 'ans 50', name = '', elements = '2+2' }", "fields.3.elements:"),
            ("3 = { format = 'ans..50', name = '', elements = 'ber' }", "fields.3.elements:"),
            ("3 = { format = 'ans..50', name = '', named = { 1 = { name = '' } } }", "fields.3.elements:"),
            (
                "3 = { format = 'ans..50', name = '', elements = '2+2', named = { 1 = { show = 'all' } } }",
                "missing field `name`",
            ),
        ] {
            let error = told(&format!("version = 1987\n[fields]\n{field}"));
            assert!(error.contains(word), "{field}: {error}");
        }
    }

    #[test]
    fn a_chips_data_show_no_card() {
        let parse = |number: u8, elements: &str, tag: &str, show: &str| {
            let named = format!("named = {{ {tag} = {{ name = '', show = '{show}' }} }}");
            let kind = if elements == "ber" { "b" } else { "ans" };
            let field =
                format!("{number} = {{ format = '{kind}...999', name = '', elements = '{elements}', {named} }}");
            Dialect::parse(&format!("version = 1987\n[fields]\n{field}")).map(drop)
        };
        for tag in ["57", "56", "5F20", "5F24", "9F6B", "9F1F", "9F20", "9F0B", "99", "70", "BF0C"] {
            for (number, show) in [(55, "all"), (55, "pan"), (62, "all")] {
                let error = parse(number, "ber", tag, show).unwrap_err();
                assert!(
                    error.contains(&format!("fields.{number}.named.{tag}.show: nobody may see it")),
                    "{tag}: {error}"
                );
            }
            assert_eq!(parse(55, "ber", tag, "none"), Ok(()));
        }
        assert!(parse(55, "ber", "5A", "all").is_err());
        for (elements, tag, show) in [
            ("ber", "5A", "pan"),
            ("ber", "9F26", "all"),
            ("ber", "95", "all"),
            ("ber", "5F34", "all"),
            ("2+2", "57", "all"),
        ] {
            assert_eq!(parse(55, elements, tag, show), Ok(()), "{tag}");
        }
    }
}
