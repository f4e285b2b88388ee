//! What a dialect says: our operations as messages, and the host's answers as outcomes. [`super::hear`] is the way back.

use super::Wrong;
use super::codec::Codec;
use super::codes::Codes;
use super::compile::{self, At};
use super::dialect::Dialect;
use super::kind::Kind;
use super::message::Message;
use super::template::Template;
use super::values::Values;
use crate::acquirer::{Approval, Outcome, Settling};
use crate::response_codes::{self, OutcomeClass};
use serde::Deserialize;
use std::sync::Arc;

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
    /// How long the host answers a repeat with its first answer, seconds: later it may take it for a new message.
    #[serde(default = "a_day")]
    pub remembers_s: u32,
    pub capture: Again,
    pub refund: Again,
    pub void: Again,
    #[serde(default)]
    pub releases_remainder: bool,
}

impl Habits {
    fn check(self) -> Result<(), &'static str> {
        match self.greatest_lateness_s {
            0 => Err("greatest_lateness_s: not 0: a \"not found\" would be believed while the message is on its way"),
            late if self.remembers_s < late => Err(
                "remembers_s: not below greatest_lateness_s: what is late would be forgotten before \"not found\" counts",
            ),
            _ => Ok(()),
        }
    }
}

fn ten_minutes() -> u32 {
    600
}

/// Hosts forget trace numbers at their cut-over, once a day.
fn a_day() -> u32 {
    86_400
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
        compile::hides(dialect, &templates)?;
        let answers: Answers =
            dialect.answers.clone().try_into().map_err(|error| format!("answers: {}", toml_words(&error)))?;
        let habits: Habits =
            dialect.abilities.clone().try_into().map_err(|error| format!("abilities: {}", toml_words(&error)))?;
        let fits = |key: &str, field: u8, tag: &str, value: &str| {
            codec.fits(field, tag, value.as_bytes()).map_err(|wrong| format!("{key}: {}", wrong.why))
        };
        habits.check().map_err(|wrong| format!("abilities.{wrong}"))?;
        let codes = Codes::compile(&dialect.response_codes, answers.plain_codes)?;
        for name in codes.names() {
            fits(&format!("response_codes.{name}"), RESPONSE_CODE, "", name)?;
        }
        for field in [AUTH_CODE, RESPONSE_CODE] {
            fits(&format!("fields.{field}"), field, "", "00")?;
        }
        if !answers.echo.contains(&compile::STAN) {
            return Err("answers.echo: must have 11, by which answers find their requests".into());
        }
        for field in &answers.echo {
            fits(&format!("answers.echo: {field}"), *field, "", "0")?;
        }
        let network_transaction_id = match &answers.network_transaction_id {
            None => None,
            Some(key) => {
                let place =
                    compile::at(key).ok_or("answers.network_transaction_id: not a field, like 62 or \"48.63\"")?;
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

    /// Whether a host gives back this field as it was.
    pub fn echoes(&self, field: u8) -> bool {
        self.echo.contains(&field)
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
        let approval =
            Approval { response_code, auth_code: said(answer.text(AUTH_CODE)), network_transaction_id: said(network) };
        match Outcome::from_response(kind == Kind::Verify, approval) {
            // That is an answer, and a repeat would get it again; what it says ends nothing.
            Outcome::Unknown { .. } if kind == Kind::Reverse => Outcome::Declined { response_code },
            outcome => outcome,
        }
    }

    /// The same of an answer that came too late: a charge that was approved for a part stands, and has to be undone like a whole one.
    pub fn late_outcome(&self, kind: Kind, answer: &Message) -> Outcome {
        let code = answer.text(RESPONSE_CODE).and_then(|text| self.codes.read(text));
        let part = |code: &i64| response_codes::find(*code).is_some_and(|row| row.outcome == OutcomeClass::Reverse);
        match code.filter(part) {
            Some(response_code) if kind.charges() => {
                Outcome::Approved(Approval { response_code, auth_code: None, network_transaction_id: None })
            }
            _ => self.outcome(kind, answer),
        }
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
        let Some(text) = self.codes.say(code) else {
            tracing::warn!(code, "the dialect cannot say this response code: the request stays without an answer");
            return None;
        };
        answer.set(RESPONSE_CODE, text.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::super::dialect::GENERIC;
    use super::super::kind::KINDS;
    use super::super::message::Mti;
    use super::super::sample::{ODD, generic, odd, shown, through, with};
    use super::*;

    fn message(mti: &str, fields: &[(u8, &str)]) -> Message {
        let mut message = Message::new(Mti::parse(mti.as_bytes()).unwrap());
        fields.iter().for_each(|(field, value)| message.set(*field, value.as_bytes()));
        message
    }

    #[test]
    fn kinds_know_their_place() {
        for (position, (kind, name)) in KINDS.iter().enumerate() {
            assert_eq!((*kind as usize, kind.name()), (position, *name));
        }
    }

    #[test]
    fn answers_are_outcomes() {
        let speech = generic();
        let outcome = |kind, code: &str| speech.outcome(kind, &message("0210", &[(39, code)]));
        let mut answer = message("0210", &[(38, "A00001"), (39, "00")]);
        answer.set_sub(48, "63", b"123456789012345");
        assert_eq!(
            speech.outcome(Kind::Purchase, &answer),
            Outcome::Approved(Approval {
                response_code: 0,
                auth_code: Some("A00001".into()),
                network_transaction_id: Some("123456789012345".into()),
            })
        );
        let bare = Approval { response_code: 8, auth_code: None, network_transaction_id: None };
        assert_eq!(outcome(Kind::Purchase, "08"), Outcome::Approved(bare));
        assert_eq!(outcome(Kind::Purchase, "51"), Outcome::Declined { response_code: 51 });
        assert_eq!(outcome(Kind::Purchase, "N7"), Outcome::Declined { response_code: 835 });
        assert_eq!(outcome(Kind::Purchase, "1A"), Outcome::Declined { response_code: 65 });
        assert_eq!(outcome(Kind::Purchase, "85"), Outcome::Declined { response_code: 85 });
        assert!(matches!(outcome(Kind::Verify, "85"), Outcome::Approved(_)));
        assert_eq!(outcome(Kind::Reverse, "25"), Outcome::Declined { response_code: 25 });
        // What is no clear answer is none.
        for code in ["10", "68", "94", "09", "ZY", "0", "", "n7", "5 "] {
            assert!(matches!(outcome(Kind::Purchase, code), Outcome::Unknown { .. }), "{code}");
        }
        let why = "the host's answer has no code";
        assert_eq!(speech.outcome(Kind::Purchase, &message("0210", &[])), Outcome::Unknown { why });
        let odd = odd();
        let outcome = |code: &str| odd.outcome(Kind::Purchase, &message("1210", &[(39, code)]));
        assert_eq!(outcome("116"), Outcome::Declined { response_code: 51 });
        assert!(matches!(outcome("051"), Outcome::Unknown { .. }));
    }

    #[test]
    fn a_host_gives_back_what_names_the_request() {
        let speech = generic();
        let approved = |id: &str| {
            let (auth_code, network_transaction_id) = (Some("A00001".to_owned()), Some(id.to_owned()));
            Outcome::Approved(Approval { response_code: 0, auth_code, network_transaction_id })
        };
        let mut request =
            message("0201", &[(2, "4000000000001091"), (4, "1000"), (11, "000001"), (14, "3103"), (41, "T1")]);
        request.set_sub(48, "92", b"123");
        let answer = through(GENERIC.1, &speech.answer(&request, &approved("123")).unwrap());
        insta::assert_snapshot!(shown(&answer), @r"
        0210
        2 4000000000001091
        4 000000001000
        11 000001
        38 A00001
        39 00
        41 T1
        48.63 123
        ");
        assert_eq!(speech.outcome(Kind::Purchase, &answer), approved("123"));
        let declined = Outcome::Declined { response_code: 580 };
        let answer = speech.answer(&request, &declined).unwrap();
        assert_eq!((answer.text(39), answer.get(38)), (Some("G4"), None));
        assert_eq!(speech.outcome(Kind::Purchase, &answer), declined);
        // What does not fit is left out; what cannot be said is not said.
        let answer = speech.answer(&request, &approved(&"1".repeat(100))).unwrap();
        assert_eq!((answer.text(39), answer.sub(48, "63")), (Some("00"), None));
        for silent in
            [Outcome::Unknown { why: "" }, Outcome::NotSent { why: "" }, Outcome::Declined { response_code: 700 }]
        {
            assert!(speech.answer(&request, &silent).is_none());
        }
        assert!(speech.answer(&message("0210", &[]), &declined).is_none());
        // Network management.
        let request = message("0800", &[(7, "0102030405"), (11, "000001"), (70, "301")]);
        let done = Outcome::Approved(Approval { response_code: 0, auth_code: None, network_transaction_id: None });
        assert_eq!(shown(&speech.answer(&request, &done).unwrap()), "0810\n7 0102030405\n11 000001\n39 00\n70 301");
    }

    /// All that the sandbox's cards may be answered with, in both dialects.
    #[test]
    fn every_code_of_the_sandbox_can_be_said() {
        for (speech, mti) in [(generic(), "0100"), (odd(), "1100")] {
            for response_code in [5, 12, 25, 41, 43, 51, 54, 65, 79, 96, 580] {
                let declined = Outcome::Declined { response_code };
                let answer = speech.answer(&message(mti, &[]), &declined).unwrap();
                assert_eq!(speech.outcome(Kind::Authorize, &answer), declined);
            }
        }
    }

    #[test]
    fn nobody_may_see_secrets_wherever_they_stand() {
        let cvc = "Card verification code\", show = \"";
        for (from, to, told) in [
            (
                format!("{cvc}none"),
                format!("{cvc}all"),
                "fields.48.named.92.show: must be \"none\", since messages have $cvc",
            ),
            (format!("{cvc}none"), format!("{cvc}pan"), "fields.48.named.92.show: must be \"none\""),
            // One arm of a choice is enough.
            (
                "cryptogram\", show = \"none".into(),
                "cryptogram\", show = \"all".into(),
                "fields.48.named.43.show: must be \"none\", since messages have $cryptogram",
            ),
            (
                "14 = \"$expiry\"".into(),
                "15 = \"$expiry\"".into(),
                "fields.15.show: must be \"none\", since messages have $expiry",
            ),
            (
                "[messages.void]".into(),
                "[messages.void]\n44 = \"X$cryptogram\"".into(),
                "fields.44.show: must be \"none\"",
            ),
            (
                "[messages.void]".into(),
                "[messages.void]\n44 = \"$pan\"".into(),
                "fields.44.show: must be \"pan\", since messages have $pan",
            ),
            (
                "[messages.void]".into(),
                "[messages.void]\n34 = \"$pan=$expiry\"".into(),
                "fields.34.show: must be \"none\"",
            ),
            (
                "[messages.void]".into(),
                "[messages.void]\n\"48.42\" = \"$pan\"".into(),
                "fields.48.named.42.show: must be \"pan\"",
            ),
        ] {
            let error = with(GENERIC.1, &from, &to).map(|_| ()).unwrap_err();
            assert!(error.contains(told), "{to}: {error}");
        }
        // Hidden by themselves.
        for to in ["34 = \"$pan\"", "62 = \"$pan$expiry$cvc\"", "\"48.01\" = \"$cryptogram\"", "35 = \"$pan=$expiry\""]
        {
            let own = format!("[messages.void]\n{to}");
            assert_eq!(with(GENERIC.1, "[messages.void]", &own).map(|_| ()), Ok(()), "{to}");
        }
    }

    #[test]
    fn a_host_remembers_for_a_day_or_as_it_says() {
        let remembers = |to: &str| with(GENERIC.1, "remembers_s = 86400", to).map(|speech| speech.habits.remembers_s);
        assert_eq!(remembers(""), Ok(86_400));
        assert_eq!(remembers("remembers_s = 600"), Ok(600));
        assert_eq!((generic().habits.remembers_s, odd().habits.remembers_s), (86_400, 86_400));
    }

    /// Before the first payment, not by it.
    #[test]
    fn what_no_payment_could_work_by_is_refused() {
        let stan = "\n11 = \"$stan\"\n32 = \"$institution\"\n70 = \"301\"";
        for (from, to, told) in [
            ("11 = \"$stan\"", "11 = \"000001\"", "messages.authorize.11: must be \"$stan\""),
            ("11 = \"$stan\"", "62 = \"$stan\"", "messages.authorize.11: must be \"$stan\""),
            (stan, "\n70 = \"301\"", "messages.echo.11: must be \"$stan\""),
            ("[messages.verify]", "[messages.verify]\n11 = \"\"", "messages.verify.11: must be \"$stan\""),
            ("[messages.verify]", "[messages.verify]\n2 = \"\"", "messages.verify: must say $pan"),
            ("[messages.purchase]", "[messages.purchase]\n4 = \"000000000100\"", "messages.purchase: must say $amount"),
            ("49 = \"$currency\"", "49 = \"392\"", "messages.authorize: must say $currency"),
            // Left out without the other variable, and by other words.
            ("\n2 = \"$pan\"", "\n2 = \"$pan$cvc\"", "messages.authorize: must say $pan"),
            ("\n2 = \"$pan\"", "\n2 = { by = \"entry\", stored = \"$pan\" }", "messages.authorize: must say $pan"),
            ("[messages.capture]", "[messages.capture]\n4 = \"\"", "messages.capture: must say $amount"),
            ("[messages.refund]", "[messages.refund]\n4 = \"\"", "messages.refund: must say $amount"),
            (
                "90 = \"$original\"",
                "90 = \"\"",
                "messages.capture: must name its original: $original, or $original_rrn, or $original_stan with one",
            ),
            ("90 = \"$original\"", "62 = \"$original_stan\"", "messages.capture: must name its original"),
            ("90 = \"$original\"", "62 = \"$original_time\"", "messages.capture: must name its original"),
            ("90 = \"$original\"", "62 = \"$original_rrn$auth_code\"", "messages.capture: must name its original"),
        ] {
            let error = with(GENERIC.1, from, to).map(|_| ()).unwrap_err();
            assert!(error.contains(told), "{to}: {error}");
        }
        for to in [
            "62 = \"$original_rrn\"",
            "62 = \"$original_stan$original_time\"",
            "61 = \"$original_stan\"\n62 = \"$original_local_date$original_local_time$local_year\"",
        ] {
            assert_eq!(with(GENERIC.1, "90 = \"$original\"", to).map(|_| ()), Ok(()), "{to}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_key() {
        let wrong = |text: &str, from: &str, to: &str| with(text, from, to).map(|_| ()).unwrap_err();
        for (from, to, told) in [
            ("[messages.void]", "[messages.voids]", "messages.voids: there is no such message"),
            ("[messages.void]\nmti", "[abc.void]\nmti", "unknown field `abc`"),
            ("4 = \"$amount\"", "4 = \"$amounts\"", "common.4: there is no variable $amounts"),
            ("4 = \"$amount\"", "4 = \"$\"", "common.4: there is no variable $"),
            ("4 = \"$amount\"", "4 = \"${amount\"", "common.4: a brace is not closed"),
            ("4 = \"$amount\"", "4 = \"$entry\"", "common.4: $entry is a word to choose by, not to send"),
            ("4 = \"$amount\"", "4 = 1", "common.4: a text, or a choice"),
            ("4 = \"$amount\"", "04 = \"$amount\"", "common.04: not a field"),
            ("4 = \"$amount\"", "129 = \"$amount\"", "common.129: not a field"),
            ("4 = \"$amount\"", "65 = \"$amount\"", "common.65: not in the dialect"),
            ("4 = \"$amount\"", "11 = \"$amount\"", "duplicate key"),
            ("11 = \"$stan\"", "11 = \"$amount\"", "common.11: longer than 6 digits"),
            ("3 = \"000000\"", "3 = \"00000A\"", "common.3: not digits alone"),
            ("3 = \"200000\"", "3 = \"2000000\"", "messages.refund.3: longer than 6 digits"),
            ("\"48.92\" = \"$cvc\"", "\"48.921\" = \"$cvc\"", "common.48.921: sub-element 921"),
            ("\"48.92\" = \"$cvc\"", "48 = \"$cvc\"", "common.48: is made of sub-elements"),
            ("\"48.92\" = \"$cvc\"", "\"4.1\" = \"$cvc\"", "common.4.1: has no sub-elements"),
            (
                "ecommerce = \"812\"",
                "commerce = \"812\"",
                "common.22: commerce is no word of entry: ecommerce, stored, device",
            ),
            ("by = \"entry\"", "by = \"amount\"", "common.22: nothing can be chosen by that"),
            ("25 = \"51\"", "90 = \"$original\"", "messages.verify.90: this message has no original"),
            ("95 = \"$replacement\"", "", "messages.release: must say how much is let go"),
            ("3 = \"020000\"", "3 = \"200000\"", "messages.void: a host could not tell it from messages.refund"),
            ("[\"0220\", \"0221\"]", "[]", "messages.capture.mti: a list of one to three"),
            ("[\"0220\", \"0221\"]", "[\"0230\"]", "messages.capture.mti: a list of one to three"),
            ("[\"0220\", \"0221\"]", "[\"0220\", \"0220\"]", "messages.capture.mti: a list of one to three"),
            ("[\"0220\", \"0221\"]", "[\"1220\"]", "messages.capture.mti: the message type is of another version"),
            ("N7 = 835", "N7 = 834", "response_codes.N7: not a number of the table"),
            ("N7 = 835", "N77 = 835", "response_codes.N77: longer than 2 characters"),
            ("plain_codes = true", "plain = true", "answers: unknown field `plain`"),
            ("echo = [2,", "echo = [1,", "answers.echo: 1: not in the dialect"),
            ("= \"48.63\"", "= \"48\"", "answers.network_transaction_id: is made of sub-elements"),
            ("refund = \"repeat\"", "refund = \"inquire\"", "abilities: unknown variant `inquire`"),
            ("refund = \"repeat\"", "", "abilities: missing field `refund`"),
            ("greatest_lateness_s = 600", "greatest_lateness_s = 0", "abilities.greatest_lateness_s: not 0"),
            ("remembers_s = 86400", "remembers_s = 599", "abilities.remembers_s: not below greatest_lateness_s"),
            ("remembers_s = 86400", "remembers_s = -1", "abilities: invalid value"),
            ("echo = [2, 3, 4, 7, 11,", "echo = [2, 3, 4, 7,", "answers.echo: must have 11"),
        ] {
            let error = wrong(GENERIC.1, from, to);
            assert!(error.contains(told), "{to}: {error}");
        }
        assert!(wrong(ODD, "[messages.release]", "[messages.reverse]").contains("duplicate key"));
        let releases = with(GENERIC.1, "releases_remainder = false", "releases_remainder = true");
        assert!(releases.is_ok_and(|speech| speech.habits.releases_remainder && speech.speaks(Kind::Release)));
    }
}
