//! Why a try did not go through, in plain words for the person who pays: a class of codes each, never a code alone. What a
//! merchant's rule refused says nothing of the rule, and a lost or stolen card is only "unusable".

use super::texts::{DeclinedTexts, Texts};
use crate::codes::Code;
use crate::pay::transaction::{State, Transaction};

/// `None` for a try that is not declined.
pub fn of(transaction: &Transaction, texts: &'static Texts) -> Option<String> {
    match transaction.scheme.wallet() {
        Some(_) => of_account(transaction, texts),
        None => of_card(transaction, &texts.declined).map(str::to_owned),
    }
}

/// Of a wallet's account: nobody there has another card or a security code.
fn of_account(transaction: &Transaction, texts: &'static Texts) -> Option<String> {
    let t = &texts.account;
    let why = match transaction.state {
        State::Reversed => t.reversed,
        State::NotSent => t.not_sent,
        State::Declined => match (transaction.code, transaction.response_code) {
            (Some(Code::Err1009), _) => t.not_confirmed,
            (Some(Code::Err3006 | Code::Err3016), _) => return Some(texts.declined.amount_range.to_owned()),
            (Some(code), _) if code.name().starts_with("ERR3") => t.shop,
            (_, Some(51 | 61 | 65 | 583 | 584 | 832 | 1047)) => t.funds,
            _ => t.declined,
        },
        _ => return None,
    };
    Some(why(transaction.scheme.label()))
}

fn of_card(transaction: &Transaction, t: &'static DeclinedTexts) -> Option<&'static str> {
    match transaction.state {
        State::Reversed => Some(t.reversed),
        State::NotSent => Some(t.not_sent),
        State::Declined => Some(match transaction.code {
            Some(Code::Err1009) => t.authentication,
            Some(Code::Err3006 | Code::Err3016) => t.amount_range,
            Some(code) if code.name().starts_with("ERR3") => t.shop,
            _ => by_response_code(transaction.response_code.unwrap_or(5), t),
        }),
        _ => None,
    }
}

fn by_response_code(code: i64, t: &'static DeclinedTexts) -> &'static str {
    match code {
        51 | 583 | 584 => t.funds,
        61 | 65 | 832 | 1047 => t.limit,
        33 | 54 | 605 => t.expired,
        82 | 580 | 581 | 662 | 835 => t.cvc,
        14 | 15 | 56 | 76..=78 | 586 | 588 | 589 | 636 => t.number,
        4 | 7 | 34 | 41 | 43 | 59 | 577 | 587 | 608 | 972 | 973 | 975 => t.unusable,
        3 | 57 | 58 | 62 | 93 | 398 | 397 | 606 => t.not_permitted,
        6 | 19 | 28 | 80 | 91 | 92 | 96 | 98 | 99 | 443..=450 | 453..=457 | 459 | 460 | 675 | 678 | 681 | 703 | 705 => {
            t.unavailable
        }
        937 => t.authentication,
        _ => t.bank,
    }
}

#[cfg(test)]
mod tests {
    use super::super::texts::{EN, JA};
    use super::*;

    /// The sandbox's declines (contract section 12), and codes of every class.
    #[test]
    fn people_read_words() {
        let of = |code| by_response_code(code, &EN.declined);
        for (code, wanted) in [
            (5, EN.declined.bank),
            (51, EN.declined.funds),
            (41, EN.declined.unusable),
            (43, EN.declined.unusable),
            (54, EN.declined.expired),
            (580, EN.declined.cvc),
            (96, EN.declined.unavailable),
            (123_456, EN.declined.bank),
        ] {
            assert_eq!(of(code), wanted, "{code}");
        }
        assert_eq!(by_response_code(51, &JA.declined), JA.declined.funds);
    }
}
