//! What goes into and comes out of a statement.

use crate::error::Error;
use crate::id::{EntityId, EventId, LinkId, SubscriptionId, TokenId, TransactionId};
use std::fmt;

#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The kind and size only: a value may be anything, also what no log may hold.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Int(_) => f.write_str("int"),
            Value::Text(text) => write!(f, "text of {}", text.len()),
            Value::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// PostgreSQL cannot store NUL in a text; SQLite would, so both refuse it.
pub(super) fn refuse_nul(args: &[Value]) -> Result<(), Error> {
    // Searched as bytes: this runs for every argument of every statement.
    match args.iter().position(|value| matches!(value, Value::Text(text) if text.as_bytes().contains(&0))) {
        Some(position) => Err(Error::internal(format!("argument {} holds NUL, which no text may", position + 1))),
        None => Ok(()),
    }
}

/// The arguments of a statement: `args![id, now, true]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Int(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Value {
        Value::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Bytes(value.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Value {
        Value::Bytes(value.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Value {
        Value::Bytes(value.to_vec())
    }
}

impl From<EntityId> for Value {
    fn from(id: EntityId) -> Value {
        Value::Bytes(id.as_bytes().to_vec())
    }
}

impl From<LinkId> for Value {
    fn from(id: LinkId) -> Value {
        Value::Bytes(id.as_bytes().to_vec())
    }
}

impl From<SubscriptionId> for Value {
    fn from(id: SubscriptionId) -> Value {
        Value::Bytes(id.as_bytes().to_vec())
    }
}

impl From<TokenId> for Value {
    fn from(id: TokenId) -> Value {
        Value::Bytes(id.as_bytes().to_vec())
    }
}

impl From<TransactionId> for Value {
    fn from(id: TransactionId) -> Value {
        Value::Bytes(id.as_bytes().to_vec())
    }
}

impl From<EventId> for Value {
    fn from(id: EventId) -> Value {
        Value::Bytes(id.as_bytes().to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// One row of an answer; columns by their position in the SELECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub(super) Vec<Value>);

impl Row {
    fn at(&self, column: usize) -> &Value {
        self.0.get(column).unwrap_or(&Value::Null)
    }

    fn wrong(&self, column: usize, wanted: &str) -> Error {
        Error::internal(format!("column {column} is {:?}, not {wanted}", self.at(column)))
    }

    pub fn int(&self, column: usize) -> Result<i64, Error> {
        self.opt_int(column)?.ok_or_else(|| self.wrong(column, "a number"))
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, Error> {
        match self.at(column) {
            Value::Int(value) => Ok(Some(*value)),
            Value::Null => Ok(None),
            _ => Err(self.wrong(column, "a number")),
        }
    }

    pub fn bool(&self, column: usize) -> Result<bool, Error> {
        self.int(column).map(|value| value != 0)
    }

    pub fn text(&self, column: usize) -> Result<&str, Error> {
        self.opt_text(column)?.ok_or_else(|| self.wrong(column, "a text"))
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, Error> {
        match self.at(column) {
            Value::Text(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            _ => Err(self.wrong(column, "a text")),
        }
    }

    pub fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        self.opt_bytes(column)?.ok_or_else(|| self.wrong(column, "bytes"))
    }

    pub fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, Error> {
        match self.at(column) {
            Value::Bytes(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            _ => Err(self.wrong(column, "bytes")),
        }
    }
}
