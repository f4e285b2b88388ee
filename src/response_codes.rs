//! The acquirer's response codes, with what each means for the money and its text in English and Japanese. The table is
//! `response_codes.tsv` beside this file.

use std::sync::LazyLock;

/// What a code says about the money: not everything but 0 is a decline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeClass {
    Approved,
    /// An approval of a verification, a decline of anything that moves money.
    ApprovedVerifyOnly,
    Declined,
    /// The gateway's own.
    Refused,
    /// The bank may or may not have acted.
    Unknown,
    /// Approved for less than was asked: to be undone.
    Reverse,
    /// The host has seen the message before: ask it.
    Inquire,
}

/// Whether the same charge may be tried again later (contract section 7, renewals).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Later,
    Never,
    /// Not a decline, or the gateway's own refusal.
    Unsaid,
}

/// One row of the table.
pub struct ResponseCode {
    pub code: i64,
    pub outcome: OutcomeClass,
    pub retry: Retry,
    pub en: &'static str,
    pub ja: &'static str,
}

static TABLE: LazyLock<Vec<ResponseCode>> = LazyLock::new(|| {
    let lines = include_str!("response_codes.tsv").lines().skip(1);
    let mut rows: Vec<ResponseCode> = lines.filter_map(parse).collect();
    rows.sort_by_key(|row| row.code);
    rows
});

/// The tests hold that no line is lost here.
fn parse(line: &'static str) -> Option<ResponseCode> {
    let mut columns = line.split('\t');
    let code = columns.next()?.parse().ok()?;
    let outcome = match columns.next()? {
        "approved" => OutcomeClass::Approved,
        "approved_verify_only" => OutcomeClass::ApprovedVerifyOnly,
        "declined" => OutcomeClass::Declined,
        "refused" => OutcomeClass::Refused,
        "unknown" => OutcomeClass::Unknown,
        "reverse" => OutcomeClass::Reverse,
        "inquire" => OutcomeClass::Inquire,
        _ => return None,
    };
    let retry = match columns.next()? {
        "later" => Retry::Later,
        "never" => Retry::Never,
        "" => Retry::Unsaid,
        _ => return None,
    };
    Some(ResponseCode { code, outcome, retry, en: columns.next()?, ja: columns.next()? })
}

/// `None` for a code that the table does not have.
pub fn find(code: i64) -> Option<&'static ResponseCode> {
    let table = &*TABLE;
    table.binary_search_by_key(&code, |row| row.code).ok().map(|position| &table[position])
}

/// The text for people (`responseDescription`, contract section 4.3). A code that the table does not have gets a text too.
pub fn text(code: i64, japanese: bool) -> &'static str {
    match (find(code), japanese) {
        (Some(row), true) => row.ja,
        (Some(row), false) => row.en,
        (None, true) => "不明な応答コード",
        (None, false) => "Unknown response code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_row_with_both_texts() {
        let lines = include_str!("response_codes.tsv").lines().count() - 1;
        assert_eq!((TABLE.len(), lines), (223, 223));
        for (row, next) in TABLE.iter().zip(TABLE.iter().skip(1)) {
            assert!(row.code < next.code, "{} stands twice", next.code);
        }
        for row in TABLE.iter() {
            assert!(!row.en.is_empty());
            let japanese = |c: char| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}');
            assert!(row.ja.chars().any(japanese), "{}: {}", row.code, row.ja);
        }
    }

    #[test]
    fn the_gateways_codes_have_texts() {
        for row in crate::codes::MEANINGS {
            assert!(row.response_code.is_none_or(|code| find(code).is_some()), "{}", row.name);
        }
    }

    #[test]
    fn not_everything_but_zero_is_a_decline() {
        let class = |code| find(code).map(|row| row.outcome);
        assert_eq!(class(0), Some(OutcomeClass::Approved));
        assert_eq!(class(8), Some(OutcomeClass::Approved));
        assert_eq!(class(10), Some(OutcomeClass::Reverse));
        assert_eq!(class(85), Some(OutcomeClass::ApprovedVerifyOnly));
        assert_eq!(class(94), Some(OutcomeClass::Inquire));
        assert_eq!(class(676), Some(OutcomeClass::Unknown));
        assert_eq!(find(41).map(|row| row.retry), Some(Retry::Never));
    }

    #[test]
    fn texts_are_in_the_language_asked_for() {
        assert_eq!(text(51, false), "Insufficient funds OR Insufficient funds/over credit limit");
        assert_eq!(text(51, true), "残高不足または利用限度額超過です");
        assert_eq!(text(9, false), "Unknown response code");
        assert_eq!(text(9, true), "不明な応答コード");
    }
}
