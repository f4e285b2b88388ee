//! When a merchant's charges are authenticated (3-D Secure): its own choice, within what the card schemes allow.

use crate::money::{Currency, Money};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreeDs {
    pub when: When,
    /// What becomes of a charge whose cardholder could not be authenticated for technical reasons (transStatus U, or no
    /// answer from the directory).
    pub unavailable: Unavailable,
}

/// Which customer-initiated v2 charges are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Off,
    /// Those whose card range asks for it.
    WhenAsked,
    Always,
    /// Those whose card range asks for it, and those above the amount of their currency, one for each; in a currency that has
    /// none, all.
    Above(Vec<Money>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    Decline,
    /// It goes on without authentication: no liability shift.
    Continue,
}

impl Default for ThreeDs {
    fn default() -> ThreeDs {
        ThreeDs { when: When::WhenAsked, unavailable: Unavailable::Decline }
    }
}

impl ThreeDs {
    /// As the two columns hold them, and as the command line takes them.
    pub fn from_texts(when: &str, unavailable: &str) -> Option<ThreeDs> {
        Some(ThreeDs { when: When::parse(when)?, unavailable: Unavailable::parse(unavailable)? })
    }

    pub fn texts(&self) -> (String, &'static str) {
        (self.when.text(), self.unavailable.word())
    }
}

impl Unavailable {
    pub fn parse(word: &str) -> Option<Unavailable> {
        [Unavailable::Decline, Unavailable::Continue].into_iter().find(|one| one.word() == word)
    }

    pub fn word(self) -> &'static str {
        match self {
            Unavailable::Decline => "decline",
            Unavailable::Continue => "continue",
        }
    }
}

impl When {
    /// `off`, `when-asked`, `always`, `above:JPY=10000,USD=100`.
    pub fn parse(text: &str) -> Option<When> {
        let limits = match text {
            "off" => return Some(When::Off),
            "when-asked" => return Some(When::WhenAsked),
            "always" => return Some(When::Always),
            text => text.strip_prefix("above:")?,
        };
        let limit = |part: &str| {
            let (currency, amount) = part.split_once('=')?;
            Money::parse(amount, Currency::parse(currency)?).ok()
        };
        let limits: Vec<Money> = limits.split(',').map(limit).collect::<Option<_>>()?;
        let twice = |one: &Money| limits.iter().filter(|other| other.currency == one.currency).count() > 1;
        (!limits.iter().any(twice)).then_some(When::Above(limits))
    }

    pub fn text(&self) -> String {
        match self {
            When::Off => "off".to_owned(),
            When::WhenAsked => "when-asked".to_owned(),
            When::Always => "always".to_owned(),
            When::Above(limits) => {
                let limits: Vec<String> =
                    limits.iter().map(|limit| format!("{}={}", limit.currency.code(), limit.major())).collect();
                format!("above:{}", limits.join(","))
            }
        }
    }

    /// Whether a charge of this amount is authenticated; `asked`: its card range asks for it.
    pub fn applies(&self, money: Money, asked: bool) -> bool {
        match self {
            When::Off => false,
            When::WhenAsked => asked,
            When::Always => true,
            // The issuer that asks would decline what is not authenticated.
            When::Above(limits) => {
                let limit = limits.iter().find(|limit| limit.currency == money.currency);
                asked || limit.is_none_or(|limit| money.minor > limit.minor)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_as_it_was_written() {
        for text in ["off", "when-asked", "always", "above:JPY=10000,USD=100.5"] {
            assert_eq!(When::parse(text).map(|when| when.text()).as_deref(), Some(text));
        }
        for text in
            ["", "on", "above:", "above:JPY", "above:JPY=1.5", "above:JPY=1,JPY=2", "above:XXX=1", "above:jpy=1"]
        {
            assert_eq!(When::parse(text), None, "{text}");
        }
    }

    #[test]
    fn above_an_amount_means_above() {
        let money = |text: &str, currency: &str| Money::parse(text, Currency::parse(currency).unwrap()).unwrap();
        let when = When::parse("above:JPY=10000").unwrap();
        assert!(!when.applies(money("10000", "JPY"), false));
        assert!(when.applies(money("1", "JPY"), true), "the issuer asks");
        assert!(when.applies(money("10001", "JPY"), false));
        assert!(when.applies(money("1", "USD"), false), "no limit is named for it");
        assert!(!When::Off.applies(money("1", "USD"), true));
        assert!(When::WhenAsked.applies(money("1", "USD"), true) && !When::WhenAsked.applies(money("1", "USD"), false));
    }
}
