//! What the tests of this folder share.

use super::codec::Codec;
use super::dialect::{Dialect, GENERIC};
use super::message::Message;
use super::operation::Home;
use super::speech::Speech;
use super::values::Scratch;
use crate::acceptor::Acceptor;
use crate::acquirer::{Named, Operation, Trace};
use crate::clock::Millis;
use crate::money::{Currency, Money};
use jiff::tz::TimeZone;
use std::sync::Arc;

pub const ODD: &str = include_str!("../../../tests/iso8583/odd-1993.toml");
/// 2026-01-02T03:04:05.678Z
pub const THEN: Millis = 1_767_323_045_678;

/// With another text in the place of one of the file's.
pub fn with(text: &str, from: &str, to: &str) -> Result<Speech, String> {
    assert!(text.contains(from), "{from}");
    let dialect = Dialect::parse(&text.replacen(from, to, 1))?;
    Speech::new(&dialect, Arc::new(Codec::new(&dialect)?))
}

pub fn generic() -> Speech {
    with(GENERIC.1, "", "").unwrap()
}

pub fn odd() -> Speech {
    with(ODD, "", "").unwrap()
}

pub fn home() -> Home {
    Home { institution: Some("12345678".into()), time_zone: TimeZone::get("Asia/Tokyo").unwrap() }
}

pub fn money(minor: i64, currency: &str) -> Money {
    Money { minor, currency: Currency::parse(currency).unwrap() }
}

pub fn trace(stan: i64) -> Trace {
    Trace { stan, rrn: format!("{:012}", 600_000 + stan), sent_at: THEN + stan * 1_000 }
}

pub fn acceptor() -> Acceptor {
    Acceptor::parse("TERM0001", "SHOP00000000001", Some("5732"), Some("FUDA SHOP              TOKYO          JP"))
        .unwrap()
}

pub fn named<'a>(trace: &'a Trace, acceptor: &'a Acceptor, tries: u32) -> Option<Named<'a>> {
    Some(Named { trace, acceptor, tries })
}

/// The message of an operation, over the wire and back.
pub fn said(speech: &Speech, text: &str, operation: &Operation<'_>) -> Message {
    let (mut scratch, home) = (Scratch::default(), home());
    let spoken = speech.spoken(operation, &home, &mut scratch).unwrap();
    through(text, &speech.say(spoken.kind, spoken.tries, &spoken.values).unwrap())
}

pub fn through(text: &str, message: &Message) -> Message {
    let codec = Codec::new(&Dialect::parse(text).unwrap()).unwrap();
    let mut wire = Vec::new();
    codec.encode(message, &mut wire).unwrap();
    codec.decode(&wire).unwrap()
}

/// Type, fields and sub-elements, a line for each.
pub fn shown(message: &Message) -> String {
    let mut text = format!("{}", message.mti());
    for (field, tag, value) in message.parts() {
        let dot = if tag.is_empty() { "" } else { "." };
        text += &format!("\n{field}{dot}{tag} {}", String::from_utf8_lossy(value));
    }
    text
}
