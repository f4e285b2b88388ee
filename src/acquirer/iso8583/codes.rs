//! What the host's answers are called (field 39) and which of our response codes each means.

use crate::response_codes::{self, OutcomeClass};

/// What a host says that does not say why.
const DO_NOT_HONOUR: i64 = 5;

/// A dialect's `[response_codes]`.
#[derive(Debug)]
pub struct Codes {
    /// By the host's text.
    named: Vec<(String, i64)>,
    /// What of two digits is not named stands for itself.
    plain: bool,
}

impl Codes {
    /// # Errors
    /// What is wrong, with the key, for the operator.
    pub fn compile(table: &toml::Table, plain: bool) -> Result<Codes, String> {
        let mut named = Vec::with_capacity(table.len());
        for (text, code) in table {
            let known =
                |code: &i64| response_codes::find(*code).is_some_and(|row| row.outcome != OutcomeClass::Refused);
            let code = code.as_integer().filter(known);
            let code =
                code.ok_or_else(|| format!("response_codes.{text}: not a number of the table of response codes"))?;
            named.push((text.clone(), code));
        }
        named.sort();
        if named.is_empty() && !plain {
            return Err("response_codes: without any, no answer would mean anything".into());
        }
        let codes = Codes { named, plain };
        let mut meant = codes.named.iter().map(|row| row.1).chain(codes.read("00"));
        let approves = |code| response_codes::find(code).is_some_and(|row| row.outcome == OutcomeClass::Approved);
        if !meant.any(approves) {
            return Err("response_codes: none of them is an approval".into());
        }
        Ok(codes)
    }

    /// All that are named.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|row| row.0.as_str())
    }

    /// `None` for what nobody knows.
    pub fn read(&self, text: &str) -> Option<i64> {
        if let Ok(at) = self.named.binary_search_by(|row| row.0.as_str().cmp(text)) {
            return Some(self.named[at].1);
        }
        let digits = self.plain && text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|code| response_codes::find(*code).is_some())
    }

    /// What a host says for a code, and for a decline without a name of its own: do not honour. `None` where there is no way
    /// to say it.
    pub fn say(&self, code: i64) -> Option<String> {
        let declined = response_codes::find(code).is_some_and(|row| row.outcome == OutcomeClass::Declined);
        self.name(code).or_else(|| declined.then(|| self.name(DO_NOT_HONOUR)).flatten())
    }

    /// Itself, or else the first name by its letters.
    fn name(&self, code: i64) -> Option<String> {
        let plain = format!("{code:02}");
        if self.read(&plain) == Some(code) {
            return Some(plain);
        }
        self.named.iter().find(|row| row.1 == code).map(|row| row.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str, plain: bool) -> Result<Codes, String> {
        Codes::compile(&text.parse().unwrap(), plain)
    }

    #[test]
    fn codes_go_both_ways() {
        let codes = codes("N7 = 835\n1A = 65\n\"05\" = 57", true).unwrap();
        assert_eq!(codes.read("00"), Some(0));
        assert_eq!(codes.read("51"), Some(51));
        assert_eq!(codes.read("05"), Some(57));
        assert_eq!((codes.read("1A"), codes.read("N7")), (Some(65), Some(835)));
        for unknown in ["", "0", "000", "9", "09", "N8", "n7", "-1", "+1", "５１"] {
            assert_eq!(codes.read(unknown), None, "{unknown}");
        }
        assert_eq!(
            (codes.say(0), codes.say(835), codes.say(65)),
            (Some("00".into()), Some("N7".into()), Some("65".into()))
        );
        assert_eq!((codes.say(57), codes.say(5), codes.say(580)), (Some("57".into()), None, None));
    }

    #[test]
    fn three_digits_are_no_codes_of_ours() {
        let codes = codes("\"000\" = 0\n\"400\" = 0\n\"116\" = 51", false).unwrap();
        assert_eq!((codes.read("116"), codes.read("442"), codes.read("00")), (Some(51), None, None));
        assert_eq!(codes.say(0), Some("000".into()));
    }

    #[test]
    fn mistakes_have_their_key() {
        for (text, plain, wrong) in [
            ("N7 = 9999", true, "response_codes.N7: not a number of the table of response codes"),
            ("N7 = -1", true, "response_codes.N7: not a number of the table of response codes"),
            ("N7 = \"835\"", true, "response_codes.N7: not a number of the table of response codes"),
            ("", false, "response_codes: without any, no answer would mean anything"),
            ("\"116\" = 51", false, "response_codes: none of them is an approval"),
            ("\"00\" = 5", true, "response_codes: none of them is an approval"),
        ] {
            assert_eq!(codes(text, plain).map(|_| ()), Err(wrong.to_owned()));
        }
    }
}
