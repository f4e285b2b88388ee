//! What was between the cardholder and the bank: the issuer's answer, a challenge, a wallet's page.

use super::Lines;
use crate::pay::transaction::{Step, Transaction, Unpaid, Waits};
use crate::threeds::messages::TransStatus;

pub fn asked(lines: &mut Lines, found: &Transaction) {
    match found.details.waits.as_ref().map(|waits| &waits.step) {
        Some(Step::Challenge { .. }) => lines.add(
            found.created_at,
            "authentication",
            "The issuer wanted to ask the cardholder (3-D Secure): the browser was sent there.".to_owned(),
            "イシュアが本人認証（3-D セキュア）を要求。ブラウザをイシュアの画面へ誘導。".to_owned(),
        ),
        Some(Step::Consent { .. }) => {
            let wallet = found.scheme.label();
            lines.add(
                found.created_at,
                "wallet",
                format!("The browser was sent to {wallet}, where the account's holder is asked."),
                format!("ブラウザを {wallet} の画面へ誘導し、口座の持ち主に確認。"),
            );
        }
        None => {}
    }
    if let Some(result) = &found.details.three_d_secure {
        let (status, eci) = (result.status.name(), result.eci.as_deref().unwrap_or("-"));
        let (en, ja) = meaning(result.status);
        lines.add(
            found.created_at,
            "authentication",
            format!("3-D Secure {}: {status}, ECI {eci}: {en}.", result.version),
            format!("3-D セキュア {}：{status}、ECI {eci}（{ja}）。", result.version),
        );
    }
    if let Some(unpaid) = found.details.unpaid {
        let (en, ja) = why(unpaid);
        lines.add(
            found.created_at,
            "not_sent",
            format!("{en}; no bank was asked."),
            format!("{ja}。銀行への依頼なし。"),
        );
    }
}

/// What a charge that waits is waiting for.
pub fn waits(waits: Option<&Waits>) -> (String, String) {
    let (en, ja) = match waits.map(|waits| &waits.step) {
        Some(Step::Consent { .. }) => ("It waits for the account's holder in the wallet.", "ウォレットでの承認待ち。"),
        _ => ("It waits for the cardholder at the issuer's page.", "カード会員の本人認証待ち。"),
    };
    (en.to_owned(), ja.to_owned())
}

fn meaning(status: TransStatus) -> (&'static str, &'static str) {
    match status {
        TransStatus::Y => ("the cardholder is authenticated", "本人認証済み"),
        TransStatus::A => ("an attempt is proven", "認証の試行を証明"),
        TransStatus::N => ("the issuer does not confirm the cardholder", "本人と確認できず"),
        TransStatus::R => ("the issuer rejects it", "イシュアが拒否"),
        TransStatus::C | TransStatus::U | TransStatus::Other => ("it could not be performed", "認証を実施できず"),
    }
}

fn why(unpaid: Unpaid) -> (&'static str, &'static str) {
    match unpaid {
        Unpaid::NotAuthenticated => ("The cardholder was not authenticated", "本人認証が成立せず終了"),
        Unpaid::Refused => ("The account's holder refused in the wallet", "ウォレットで口座の持ち主が拒否"),
        Unpaid::Left => ("The cardholder chose not to pay this way", "カード会員がこの支払い方法を中止"),
        Unpaid::TooLate => ("Nobody came back within 30 minutes", "30 分以内に戻らず終了"),
        Unpaid::TokenGone => ("The stored card was deleted meanwhile", "待機中に保存カードが削除された"),
    }
}
