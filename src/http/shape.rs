//! What a request may hold, as data: the same table checks a body, with all its wrong fields at once, and describes it in
//! the OpenAPI document.

use crate::error::FieldError;
use crate::json::{Node, control_character};
use crate::money::{self, Currency};
use crate::webhook::guard::HOST;
use std::net::IpAddr;

pub struct Field {
    pub name: &'static str,
    /// A second spelling that stands in the public samples.
    pub alias: Option<&'static str>,
    pub required: bool,
    pub kind: Kind,
    pub doc: &'static str,
}

pub enum Kind {
    /// Characters, not bytes.
    Text {
        min: usize,
        max: usize,
    },
    TextOrNumber {
        max: usize,
    },
    Country,
    /// Major units, a number or a text; the currency's decimals are judged later.
    Amount,
    /// As `Amount`; an empty text is none.
    OpenAmount,
    Currency,
    Bool,
    Uuid,
    /// Only its presence and type: whether the number is good is a question of its own (ERR1001).
    CardNumber,
    /// A number or a text of so many digits.
    Digits {
        min: usize,
        max: usize,
    },
    Ip,
    TimeZone,
    Url,
    OneOf(&'static [&'static str]),
    Scalar,
    /// A list of texts or numbers, bounded by the body's own size.
    Texts,
    Object(&'static [Field]),
    /// An object of a wallet's, or its JSON text: its members are the wallet's own.
    WalletToken,
}

pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, alias: None, required: true, kind, doc }
}

pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, alias: None, required: false, kind, doc }
}

impl Field {
    pub const fn or(self, alias: &'static str) -> Field {
        Field { alias: Some(alias), ..self }
    }

    /// The member under its name or its alias.
    pub fn of<'a>(&self, object: &'a Node) -> Option<&'a Node> {
        object.get(self.name).or_else(|| self.alias.and_then(|alias| object.get(alias)))
    }
}

/// Adds every wrong field of `object` to `errors`. Unknown members are ignored: real clients send extra ones.
pub fn check(fields: &[Field], object: &Node, path: &str, errors: &mut Vec<FieldError>) {
    for field in fields {
        let place = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        match field.of(object) {
            None if field.required => errors.push(FieldError::new(place, "missing", "This field is required.")),
            None => {}
            Some(Node::Object(_)) if matches!(field.kind, Kind::Object(_)) => {
                if let (Kind::Object(below), Some(node)) = (&field.kind, field.of(object)) {
                    check(below, node, &place, errors);
                }
            }
            // An empty text is how many clients say "none".
            Some(Node::Text(text)) if text.is_empty() && !field.required && field.kind.empty_is_missing() => {}
            Some(node) => {
                if let Err((code, message)) = field.kind.check(node) {
                    errors.push(FieldError::new(place, code, message));
                }
            }
        }
    }
}

type Wrong = (&'static str, String);

impl Kind {
    fn empty_is_missing(&self) -> bool {
        !matches!(
            self,
            Kind::Amount | Kind::Currency | Kind::CardNumber | Kind::Digits { .. } | Kind::Texts | Kind::Object(_)
        )
    }

    fn check(&self, node: &Node) -> Result<(), Wrong> {
        match self {
            Kind::Text { min, max } => text_of(node).and_then(|text| length(text, *min, *max)),
            Kind::TextOrNumber { max } => {
                let text = node.text_or_number().ok_or_else(|| wrong("type", "Send a string or a number."))?;
                length(text, 0, *max)
            }
            Kind::Country => check_text(node, "Send two letters, ISO 3166-1 alpha-2, such as \"JP\".", |text| {
                text.len() == 2 && text.chars().all(|c| c.is_ascii_alphabetic())
            }),
            Kind::OpenAmount if node.text() == Some("") => Ok(()),
            Kind::Amount | Kind::OpenAmount => {
                let text = node.text_or_number().ok_or_else(|| wrong("type", "Send a number or a string."))?;
                money::check_form(text).map_err(|error| wrong(error.code(), error.message()))
            }
            Kind::Currency => check_text(node, "Send an ISO 4217 code in capitals, such as \"JPY\".", |text| {
                Currency::parse(text).is_some()
            }),
            Kind::Bool => node.bool().map(|_| ()).ok_or_else(|| wrong("type", "Send true or false.")),
            Kind::Uuid => check_text(node, "Send a UUID of 36 lower-case characters.", |text| {
                crate::id::TokenId::parse(text).is_some()
            }),
            Kind::CardNumber => text_of(node).and_then(|text| length(text, 1, 64)),
            Kind::Digits { min, max } => {
                let text = node.text_or_number().ok_or_else(|| wrong("type", "Send a string of digits."))?;
                let fits = (*min..=*max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
                if fits { Ok(()) } else { Err(wrong("format", format!("Send {} digits.", span(*min, *max)))) }
            }
            Kind::Ip => check_text(node, "Send an IPv4 or IPv6 address.", |text| {
                text.len() <= 45 && text.parse::<IpAddr>().is_ok()
            }),
            Kind::TimeZone => check_text(node, "Send an IANA time zone name, such as \"Asia/Tokyo\".", |text| {
                text.len() <= 128 && jiff::tz::TimeZone::get(text).is_ok()
            }),
            Kind::Url => check_text(node, "Send an absolute http or https URL of at most 2048 characters.", is_url),
            Kind::OneOf(words) => {
                let text = text_of(node)?;
                let known = words.contains(&text);
                if known { Ok(()) } else { Err(wrong("unknown", format!("Send one of: {}.", words.join(", ")))) }
            }
            Kind::Scalar => match node {
                Node::Text(text) => length(text, 0, 2048),
                Node::Number(_) | Node::Bool(_) => Ok(()),
                _ => Err(wrong("type", "Send a string, a number, true or false.")),
            },
            Kind::Texts => match node {
                Node::List(items) => {
                    let odd = items.iter().position(|item| item.text_or_number().is_none());
                    odd.map_or(Ok(()), |at| Err(wrong("type", format!("Entry {} is no string.", at + 1))))
                }
                _ => Err(wrong("type", "Send a list of strings.")),
            },
            Kind::Object(_) => Err(wrong("type", "Send an object.")),
            Kind::WalletToken => match node {
                Node::Object(_) | Node::Text(_) => Ok(()),
                _ => Err(wrong("type", "Send the wallet's token as an object, or as its JSON text.")),
            },
        }
    }
}

fn wrong(code: &'static str, message: impl Into<String>) -> Wrong {
    (code, message.into())
}

fn text_of(node: &Node) -> Result<&str, Wrong> {
    node.text().ok_or_else(|| wrong("type", "Send a string."))
}

fn check_text(node: &Node, message: &str, good: impl Fn(&str) -> bool) -> Result<(), Wrong> {
    if good(text_of(node)?) { Ok(()) } else { Err(wrong("format", message)) }
}

fn length(text: &str, min: usize, max: usize) -> Result<(), Wrong> {
    // Counting stops early: a text may be 64 KiB long.
    let count = text.chars().take(max + 1).count();
    if count < min {
        Err(wrong("too_short", format!("Send at least {min} characters.")))
    } else if count > max {
        Err(wrong("too_long", format!("Send at most {max} characters.")))
    } else if control_character(text) {
        Err(wrong("control_character", "Remove control characters."))
    } else {
        Ok(())
    }
}

fn span(min: usize, max: usize) -> String {
    if min == max { min.to_string() } else { format!("{min} to {max}") }
}

fn is_url(text: &str) -> bool {
    let parsed = url::Url::parse(text);
    text.chars().count() <= 2048
        && !control_character(text)
        && parsed.is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| host.len() <= HOST)
        })
}
