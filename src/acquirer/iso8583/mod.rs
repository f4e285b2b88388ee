//! A line to a bank's host that speaks ISO 8583. What differs between hosts is data: the dialect.

pub mod bank;
pub mod check;
pub mod codec;
mod codes;
mod compile;
pub mod config;
mod connection;
pub mod dial;
pub mod dialect;
mod ebcdic;
mod field;
pub mod frame;
pub mod hear;
pub mod host;
pub mod kind;
pub mod link;
pub mod mask;
pub mod message;
pub mod operation;
pub mod pending;
#[cfg(test)]
mod sample;
pub mod speech;
mod template;
mod tlv;
mod traces;
pub mod values;

use serde::de::DeserializeOwned;
use std::fmt;

/// Reads a file of an acquirer's, none of whose values is a secret.
///
/// # Errors
/// What is wrong, in one line, with the line of the file: `line 3, mode = "prod": unknown variant ...`.
fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let why = error.message().replace('\n', ", ");
        let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return why };
        let number = before.matches('\n').count();
        format!("line {}, {}: {why}", number + 1, text.lines().nth(number).unwrap_or_default().trim())
    })
}

/// What is wrong with a message, for the log: the field and our own words, never a value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// 2 to 128; `None` for what is no field: the length in front, the message type, the bitmap.
    pub field: Option<u8>,
    pub why: String,
}

impl Wrong {
    pub fn new(field: impl Into<Option<u8>>, why: impl Into<String>) -> Wrong {
        Wrong { field: field.into(), why: why.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "field {field}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}
