//! What a dialect says: our operations as messages, and the host's answers as outcomes. [`super::hear`] is the way back.

use super::Wrong;
use super::codec::Codec;
use super::codes::Codes;
use super::compile::{self, At};
use super::dialect::Dialect;
use super::message::Message;
use super::template::Template;
use super::values::Values;
use crate::acquirer::{Approval, Outcome, Settling};
use serde::Deserialize;
use std::sync::Arc;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SignOn,
    SignOff,
    Echo,
    Authorize,
    Purchase,
    Verify,
    Capture,
    Refund,
    Void,
    Release,
    Reverse,
}

/// In the order of [`Kind`], with the names of the dialect's tables.
pub const KINDS: [(Kind, &str); 11] = [
    (Kind::SignOn, "sign_on"),
    (Kind::SignOff, "sign_off"),
    (Kind::Echo, "echo"),
    (Kind::Authorize, "authorize"),
    (Kind::Purchase, "purchase"),
    (Kind::Verify, "verify"),
    (Kind::Capture, "capture"),
    (Kind::Refund, "refund"),
    (Kind::Void, "void"),
    (Kind::Release, "release"),
    (Kind::Reverse, "reverse"),
];

impl Kind {
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// Network management: not about a payment.
    pub fn manages(self) -> bool {
        matches!(self, Kind::SignOn | Kind::SignOff | Kind::Echo)
    }

    /// About an earlier message.
    pub fn follows(self) -> bool {
        matches!(self, Kind::Capture | Kind::Refund | Kind::Void | Kind::Release | Kind::Reverse)
    }

    /// A host may do without sign-ons and echoes, and may release by itself what a capture leaves.
    pub fn may_be_missing(self) -> bool {
        self.manages() || self == Kind::Release
    }
}

/// The dialect's `[answers]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    /// What a host gives back of a request, by field.
    echo: Vec<u8>,
    /// Where the network's id of the payment stands, if anywhere.
    network_transaction_id: Option<String>,
    /// Codes of two digits that `[response_codes]` does not name stand for themselves.
    plain_codes: bool,
}

/// The dialect's `[abilities]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Habits {
    /// How late the host may still act on a message, seconds.
    #[serde(default = "ten_minutes")]
    pub greatest_lateness_s: u32,
    pub capture: Again,
    pub refund: Again,
    pub void: Again,
    #[serde(default)]
    pub releases_remainder: bool,
}

fn ten_minutes() -> u32 {
    600
}

/// What is done with a message without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Again {
    /// It is sent again: the host answers a repeat as it answered the first.
    Repeat,
    /// It is left to an operator.
    Operator,
}

impl From<Again> for Settling {
    fn from(again: Again) -> Settling {
        match again {
            Again::Repeat => Settling::Repeat,
            Again::Operator => Settling::Operator,
        }
    }
}

/// A dialect's messages, made ready for work.
pub struct Speech {
    codec: Arc<Codec>,
    /// By [`Kind`].
    templates: Vec<Option<Template>>,
    codes: Codes,
    echo: Vec<u8>,
    network_transaction_id: Option<At>,
    pub habits: Habits,
}

/// Fields of answers that ISO 8583 gives one meaning in all its versions.
const AUTH_CODE: u8 = 38;
const RESPONSE_CODE: u8 = 39;

impl Speech {
    /// # Errors
    /// The first mistake in the dialect's tables, with its key, for the operator.
    pub fn new(dialect: &Dialect, codec: Arc<Codec>) -> Result<Speech, String> {
        let templates = compile::messages(&dialect.messages, &dialect.common, &codec)?;
        let answers: Answers =
            dialect.answers.clone().try_into().map_err(|error| format!("answers: {}", toml_words(&error)))?;
        let habits: Habits =
            dialect.abilities.clone().try_into().map_err(|error| format!("abilities: {}", toml_words(&error)))?;
        let fits = |key: &str, field: u8, tag: &str, value: &str| {
            codec.fits(field, tag, value.as_bytes()).map_err(|wrong| format!("{key}: {}", wrong.why))
        };
        let codes = Codes::compile(&dialect.response_codes, answers.plain_codes)?;
        for name in codes.names() {
            fits(&format!("response_codes.{name}"), RESPONSE_CODE, "", name)?;
        }
        for field in [AUTH_CODE, RESPONSE_CODE] {
            fits(&format!("fields.{field}"), field, "", "00")?;
        }
        for field in &answers.echo {
            fits(&format!("answers.echo: {field}"), *field, "", "0")?;
        }
        let network_transaction_id = match &answers.network_transaction_id {
            None => None,
            Some(key) => {
                let place = compile::at(key).ok_or("answers.network_transaction_id: not a field, like 62 or \"48.63\"")?;
                fits("answers.network_transaction_id", place.0, &place.1, "0")?;
                Some(place)
            }
        };
        let speech = Speech { codec, templates, codes, echo: answers.echo, network_transaction_id, habits };
        if !habits.releases_remainder && !speech.speaks(Kind::Release) {
            return Err("messages.release: missing, and abilities.releases_remainder is not true".into());
        }
        Ok(speech)
    }

    /// Whether the dialect has such a message.
    pub fn speaks(&self, kind: Kind) -> bool {
        self.templates[kind as usize].is_some()
    }

    pub(super) fn template(&self, kind: Kind) -> Option<&Template> {
        self.templates[kind as usize].as_ref()
    }

    /// The message of this kind with these values, as the `tries`-th repeat (0 is the first). Values that do not fit their field
    /// and that the payment can do without are left out, and the log says so.
    ///
    /// # Errors
    /// The field of a value that the message cannot do without, and that is not there or does not fit.
    pub fn say(&self, kind: Kind, tries: u32, values: &Values<'_>) -> Result<Message, Wrong> {
        let template = self.template(kind).ok_or_else(|| Wrong::new(None, "the dialect has no such message"))?;
        template.fill(tries, values, &self.codec)
    }

    /// What the host answered. Only a code that the dialect knows is a decline: whatever else there may be is unknown.
    pub fn outcome(&self, kind: Kind, answer: &Message) -> Outcome {
        let Some(text) = answer.text(RESPONSE_CODE) else {
            return Outcome::Unknown { why: "the host's answer has no code" };
        };
        let Some(response_code) = self.codes.read(text) else {
            return Outcome::Unknown { why: "the host's answer has a code that nobody knows" };
        };
        let said = |value: Option<&str>| value.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let network = self.network_transaction_id.as_ref();
        let network = network.and_then(|(field, tag)| std::str::from_utf8(answer.sub(*field, tag)?).ok());
        let approval = Approval {
            response_code,
            auth_code: said(answer.text(AUTH_CODE)),
            network_transaction_id: said(network),
        };
        Outcome::from_response(kind == Kind::Verify, approval)
    }

    /// A host's answer to `request`; `None` where it stays silent: it does not know the result, or has no way to say it.
    pub fn answer(&self, request: &Message, outcome: &Outcome) -> Option<Message> {
        let (code, approval) = match outcome {
            Outcome::Approved(approval) => (approval.response_code, Some(approval)),
            Outcome::Declined { response_code } => (*response_code, None),
            Outcome::Unknown { .. } | Outcome::NotSent { .. } => return None,
        };
        let mut answer = Message::new(request.mti().answer()?);
        for field in &self.echo {
            if let Some(value) = request.get(*field) {
                answer.set(*field, value);
            }
        }
        answer.set(RESPONSE_CODE, self.codes.say(code)?.as_bytes());
        let mut add = |field: u8, tag: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                match self.codec.fits(field, tag, value.as_bytes()) {
                    Ok(()) => answer.set_sub(field, tag, value.as_bytes()),
                    Err(wrong) => tracing::warn!(%wrong, "a value does not fit the answer and was left out"),
                }
            }
        };
        add(AUTH_CODE, "", approval.and_then(|approval| approval.auth_code.as_deref()));
        if let Some((field, tag)) = &self.network_transaction_id {
            add(*field, tag, approval.and_then(|approval| approval.network_transaction_id.as_deref()));
        }
        Some(answer)
    }
}

/// In one line, without the excerpt of a file that there is not.
fn toml_words(error: &toml::de::Error) -> String {
    error.message().to_owned()
}
