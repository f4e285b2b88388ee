//! The one error type: a gateway code with its public text, the wrong fields, and a private cause for the log.
//!
//! `Error` has no `Display` on purpose: its cause may name tables, hosts or paths and goes to the log only, by
//! [`Error::cause`]; what a caller sees is made of the code and the fields. No part of it ever holds input text.

use crate::codes::Code;
use crate::id::TransactionId;
use std::fmt;

/// One wrong field of a request (contract section 10, VAL0002).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Dotted path, `card.number`; empty for the body as a whole.
    pub field: String,
    /// A stable word for machines: `missing`, `type`, `luhn`, ...
    pub code: &'static str,
    /// For people: what is wrong and what to do. Never quotes the input.
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> FieldError {
        FieldError { field: field.into(), code, message: message.into() }
    }
}

pub struct Error {
    pub code: Code,
    /// All the wrong fields at once; VAL0002 only.
    pub fields: Vec<FieldError>,
    /// The transaction that the caller should ask about (ERR1008).
    pub transaction: Option<TransactionId>,
    /// A clearer public text than the code's own, made of our words only (VAL0001: line and column).
    pub detail: Option<String>,
    /// When the same request may be sent again, seconds from now: `Retry-After`.
    pub retry_after: Option<u64>,
    cause: Option<String>,
}

impl Error {
    pub fn new(code: Code) -> Error {
        // What runs with this key now may have ended by the next try (contract section 11).
        let retry_after = (code == Code::Err1008).then_some(1);
        Error { code, fields: Vec::new(), transaction: None, detail: None, retry_after, cause: None }
    }

    /// A fault of ours (ERR0500). The cause reaches the log, never the caller.
    pub fn internal(cause: impl fmt::Display) -> Error {
        Error::because(Code::Err0500, cause)
    }

    /// A refusal with a cause that the operator has to know of.
    pub fn because(code: Code, cause: impl fmt::Display) -> Error {
        Error { cause: Some(cause.to_string()), ..Error::new(code) }
    }

    /// One or more wrong fields (VAL0002).
    pub fn fields(fields: Vec<FieldError>) -> Error {
        Error { fields, ..Error::new(Code::Val0002) }
    }

    pub fn field(field: &str, code: &'static str, message: &str) -> Error {
        Error::fields(vec![FieldError::new(field, code, message)])
    }

    #[must_use]
    pub fn with_transaction(self, id: TransactionId) -> Error {
        Error { transaction: Some(id), ..self }
    }

    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Error {
        Error { detail: Some(detail.into()), ..self }
    }

    /// `seconds` is at least 1: a client that may come back at once needs no such word.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Error {
        Error { retry_after: Some(seconds.max(1)), ..self }
    }

    /// Says what was being done when the fault happened; the cause keeps its own words behind it.
    #[must_use]
    pub fn context(self, doing: &str) -> Error {
        let cause = self.cause.as_deref().unwrap_or(self.code.meaning().message);
        Error { cause: Some(format!("{doing}: {cause}")), ..self }
    }

    /// For the log and for the operator at the command line, never for a caller of the API.
    pub fn cause(&self) -> &str {
        self.cause.as_deref().unwrap_or(self.code.meaning().message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code.name(), self.cause())
    }
}
