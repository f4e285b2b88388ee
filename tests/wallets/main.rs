//! Wallets' tokens: good ones open, and each way to be wrong is refused for its own reason.

#![allow(clippy::disallowed_methods)] // one of them must be refused in time

mod apple;
mod google;
mod maker;
mod others;

use fuda::json::Node;
use serde_json::Value;

/// 2027-01-15T08:00:00Z.
const NOW: i64 = 1_800_000_000_000;

fn node(token: &Value) -> Node {
    Node::parse(token.to_string().as_bytes()).unwrap()
}

/// The same text with one byte of it changed to another printable one.
fn bent(text: &str, at: usize, by: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] = bytes[at].wrapping_add(by);
    String::from_utf8(bytes).ok()
}
