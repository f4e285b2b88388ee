//! What people type, as it is meant.

use super::amount;
use zeroize::Zeroizing;

/// A telephone number with its country's code. Germany's mobile ones have 13 digits and begin with 49, as old Visa numbers do,
/// and one in ten of them passes Luhn. Visa has issued none of 13 digits for long; from 14 on it is taken for a card's.
pub fn is_international(text: &str) -> bool {
    let text = narrowed(text);
    let rest = text.strip_prefix('+').or_else(|| text.strip_prefix("00"));
    rest.is_some_and(|rest| rest.bytes().filter(u8::is_ascii_digit).count() <= 13)
}

pub fn narrowed(text: &str) -> Zeroizing<String> {
    kept(text, |_| true)
}

/// These of its letters, narrowed.
pub fn kept(text: &str, keeps: impl Fn(char) -> bool) -> Zeroizing<String> {
    // A full-width letter has three bytes, a narrow one at most two: this never grows.
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    out.extend(text.chars().map(amount::narrow).filter(|c| keeps(*c)));
    out
}

/// One sign between two texts without spaces, the second with a point: enough to catch a slip.
pub fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    !text.contains(char::is_whitespace)
        && parts.is_some_and(|(local, domain)| {
            !local.is_empty()
                && !domain.contains('@')
                && domain.split('.').all(|part| !part.is_empty())
                && domain.contains('.')
        })
}
