//! A request's body as a tree: one strict parse in which numbers keep their digits, no key stands twice, and nothing
//! nests deeper than [`MAX_DEPTH`]. Texts are zeroed when dropped, since one of them may be a card number.

use crate::codes::Code;
use crate::error::{Error, FieldError};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;
use zeroize::Zeroizing;

/// Deeper nesting is refused as VAL0001: no field of the contract stands deeper than three.
const MAX_DEPTH: usize = 16;

/// The name under which serde_json hands over a number with all its digits (its `arbitrary_precision` feature).
const NUMBER_KEY: &str = "$serde_json::private::Number";

#[derive(Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    /// All its digits; an exponent stays one: `1e+3` and `1000` are different texts.
    Number(String),
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The error says line and column and never quotes the input.
    pub fn parse(body: &[u8]) -> Result<Node, Error> {
        let node: Node = serde_json::from_slice(body).map_err(|error| {
            Error::new(Code::Val0001).with_detail(format!(
                "Request body is not valid JSON: line {}, column {}.",
                error.line(),
                error.column()
            ))
        })?;
        if node.depth() > MAX_DEPTH {
            let detail = format!("Request body is not valid JSON: it nests deeper than {MAX_DEPTH} levels.");
            return Err(Error::new(Code::Val0001).with_detail(detail));
        }
        Ok(node)
    }

    fn depth(&self) -> usize {
        match self {
            Node::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Node::Object(members) => 1 + members.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// A member of an object; `None` when this is no object or has no such member. JSON null counts as missing.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match self {
            Node::Object(members) => {
                members.iter().find(|(key, node)| key == name && *node != Node::Null).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// A text, or a number as it was written.
    pub fn text_or_number(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text.as_str()),
            Node::Number(number) => Some(number.as_str()),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Calls `visit` with the dotted path of each text and number for which it is asked, the whole tree over.
    pub fn each_text(&self, path: &str, visit: &mut impl FnMut(&str, &str)) {
        match self {
            Node::Text(text) => visit(path, text),
            Node::Number(number) => visit(path, number),
            Node::List(items) => items.iter().for_each(|item| item.each_text(path, visit)),
            Node::Object(members) => {
                for (key, node) in members {
                    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    node.each_text(&below, visit);
                }
            }
            Node::Null | Node::Bool(_) => {}
        }
    }

    /// The tree in one spelling, members sorted, for the digest of a request (contract section 11): `replace` may give
    /// another text for a path, or leave the member out.
    pub fn canonical(&self, replace: &impl Fn(&str, &Node) -> Canonical) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(1024));
        self.write_canonical("", replace, &mut out);
        out
    }

    fn write_canonical(&self, path: &str, replace: &impl Fn(&str, &Node) -> Canonical, out: &mut String) {
        match self {
            Node::Null => out.push_str("null"),
            Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Node::Number(number) => out.push_str(number),
            Node::Text(text) => push_quoted(text, out),
            Node::List(items) => {
                out.push('[');
                for item in items {
                    item.write_canonical(path, replace, out);
                    out.push(',');
                }
                out.push(']');
            }
            Node::Object(members) => {
                let mut sorted: Vec<&(String, Node)> = members.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                out.push('{');
                for (key, node) in sorted {
                    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    match replace(&below, node) {
                        Canonical::Omit => continue,
                        Canonical::Text(text) => {
                            push_quoted(key, out);
                            push_quoted(&text, out);
                        }
                        Canonical::Same => {
                            push_quoted(key, out);
                            node.write_canonical(&below, replace, out);
                        }
                    }
                    out.push(',');
                }
                out.push('}');
            }
        }
    }
}

/// What stands in the canonical text for one member.
pub enum Canonical {
    Same,
    Omit,
    Text(String),
}

/// Length first, so that no text can pass for structure.
fn push_quoted(text: &str, out: &mut String) {
    out.push_str(&text.len().to_string());
    out.push(':');
    out.push_str(text);
}

/// A control character in a text is refused by every field: PostgreSQL cannot store NUL and no address holds one.
pub fn control_character(text: &str) -> bool {
    text.chars().any(char::is_control)
}

pub fn wrong_body() -> FieldError {
    FieldError::new("", "type", "The body must be a JSON object.")
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut object: Vec<(String, Node)> = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            if key == NUMBER_KEY && object.is_empty() {
                // A client that spells this key out itself gets an ordinary number, checked like any other.
                let digits: String = members.next_value()?;
                return match members.next_key::<String>()? {
                    None => Ok(Node::Number(digits)),
                    Some(_) => Err(A::Error::custom("not a number")),
                };
            }
            if object.iter().any(|(other, _)| *other == key) {
                return Err(A::Error::custom("the same key stands twice"));
            }
            object.push((key, members.next_value()?));
            if object.len() > 256 {
                return Err(A::Error::custom("more than 256 members"));
            }
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(body: &str) -> String {
        Node::parse(body.as_bytes()).err().and_then(|error| error.detail).unwrap_or_default()
    }

    #[test]
    fn numbers_keep_their_digits() {
        let node = Node::parse(br#"{"a":0.10,"b":1e3,"c":-0,"d":99999999999999999999}"#).unwrap();
        let digits: Vec<_> =
            ["a", "b", "c", "d"].iter().map(|key| node.get(key).unwrap().text_or_number().unwrap()).collect();
        assert_eq!(digits, ["0.10", "1e+3", "-0", "99999999999999999999"]);
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        assert_eq!(detail("{\"a\":\n 1,}"), "Request body is not valid JSON: line 2, column 4.");
        assert!(detail(r#"{"a":"\ud800"}"#).contains("column"));
        assert!(detail(r#"{"a":1,"a":2}"#).contains("column"));
        assert!(detail(&format!("{}1{}", "[".repeat(17), "]".repeat(17))).contains("deeper than 16"));
        assert!(detail(&"[".repeat(60_000)).contains("column"));
    }

    #[test]
    fn canonical_text_ignores_order_and_white_space() {
        let same = |_: &str, _: &Node| Canonical::Same;
        let one = Node::parse(br#"{"b":{"y":1,"x":"2"},"a":[true,null]}"#).unwrap();
        let two = Node::parse(br#" { "a":[true, null], "b":{"x":"2","y":1} } "#).unwrap();
        assert_eq!(one.canonical(&same), two.canonical(&same));
        let other = Node::parse(br#"{"b":{"y":1,"x":2},"a":[true,null]}"#).unwrap();
        assert_ne!(one.canonical(&same), other.canonical(&same));
    }
}
