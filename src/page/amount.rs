//! Amounts as people write them, and as they type them.

use super::texts::Language;
use crate::money::Money;

/// `¥1,000` and `￥1,000`, `$49.90`, `KWD 1.234`: all decimals of the currency, thousands apart (CLDR's forms).
pub fn written(money: Money, language: Language) -> String {
    let decimals = money.currency.decimals() as usize;
    let digits = format!("{:0>width$}", money.minor.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let mut number = String::with_capacity(24);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            number.push(',');
        }
        number.push(digit);
    }
    if !fraction.is_empty() {
        number.push('.');
        number.push_str(fraction);
    }
    match (money.currency.code(), language) {
        ("JPY", Language::Japanese) => format!("￥{number}"),
        ("JPY", Language::English) => format!("¥{number}"),
        ("USD", _) => format!("${number}"),
        ("EUR", _) => format!("€{number}"),
        ("GBP", _) => format!("£{number}"),
        ("KRW", _) => format!("₩{number}"),
        (code, _) => format!("{code}\u{a0}{number}"),
    }
}

/// What people type as the contract's amount: full-width digits, a currency sign in front, thousands in their places.
/// Anything else stays as it is, and is refused as no amount.
pub fn typed(text: &str) -> String {
    let narrow: String = text.trim().chars().map(narrow).collect();
    let bare = narrow.trim_start_matches(['¥', '$', '€', '£', '₩']).trim_end_matches('円').trim();
    let (whole, fraction) = bare.split_once('.').map_or((bare, None), |(whole, fraction)| (whole, Some(fraction)));
    let groups: Vec<&str> = whole.split(',').collect();
    let grouped = groups.len() > 1
        && (1..=3).contains(&groups[0].len())
        && groups[1..].iter().all(|group| group.len() == 3)
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    let whole = if grouped { groups.concat() } else { whole.to_owned() };
    fraction.map_or(whole.clone(), |fraction| format!("{whole}.{fraction}"))
}

/// Japanese keyboards write digits and signs in full width.
pub fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        '\u{ffe5}' => '¥',
        'ー' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff70}' => '-',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn amounts_are_written_for_people() {
        let of = |minor: i64, code: &str, language| {
            written(Money { minor, currency: Currency::parse(code).unwrap() }, language)
        };
        assert_eq!(of(1000, "JPY", Language::Japanese), "￥1,000");
        assert_eq!(of(9_999_999_999, "JPY", Language::English), "¥9,999,999,999");
        assert_eq!(of(1, "JPY", Language::English), "¥1");
        assert_eq!(of(999, "JPY", Language::English), "¥999");
        assert_eq!(of(4990, "USD", Language::English), "$49.90");
        assert_eq!(of(5, "USD", Language::Japanese), "$0.05");
        assert_eq!(of(1_234_567, "EUR", Language::English), "€12,345.67");
        assert_eq!(of(1234, "KWD", Language::English), "KWD\u{a0}1.234");
    }

    #[test]
    fn amounts_are_read_as_people_type_them() {
        for (text, wanted) in [
            ("1000", "1000"),
            (" 1,000 ", "1000"),
            ("￥１，０００", "1000"),
            ("1,234,567.89", "1234567.89"),
            ("$49.99", "49.99"),
            ("1000円", "1000"),
            ("10,50", "10,50"),
            ("1,00", "1,00"),
            (",100", ",100"),
            ("1,0000", "1,0000"),
            ("-5", "-5"),
            ("1e3", "1e3"),
            ("", ""),
            (".", "."),
        ] {
            assert_eq!(typed(text), wanted, "{text}");
        }
    }
}
