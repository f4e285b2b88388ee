//! What a charge is paid with: exactly one of a card, a stored card, and a wallet's token (contract 4.1).

use super::flow::body_text;
use crate::card::Scheme;
use crate::error::FieldError;
use crate::id::TokenId;
use crate::json::Node;
use crate::pay::request::Purpose;
use crate::wallet::Wallet;

/// A source that is no card in the request.
pub enum Named {
    Stored(TokenId),
    /// Its token is `payment_method.token`.
    Wallet(Wallet),
    /// Of a wallet whose holder is asked there: GCash, PayPay.
    Account(Scheme),
}

/// Adds what is wrong with the sources, also a merchant-initiated charge of anything but a stored card (contract 6).
pub fn check(body: &Node, purpose: Purpose, errors: &mut Vec<FieldError>) -> Option<Named> {
    if purpose == Purpose::StoreCard {
        return None;
    }
    let method = body.get("payment_method");
    let stored = stored(method, errors);
    let word = method.map(|method| body_text(method, "type")).unwrap_or_default();
    let wallet = Wallet::parse(word);
    let token = method.and_then(|method| method.get("token")).filter(|node| node.text() != Some(""));
    let has_card = body.get("card").is_some();
    let named = method.is_some_and(|method| {
        ["stored_payment_method_id", "store_payment_method_id"]
            .iter()
            .any(|name| method.get(name).is_some_and(|node| node.text() != Some("")))
    });
    let mut wrong = |field: &str, code, message: &str| errors.push(FieldError::new(field, code, message));
    match (has_card, named, token.is_some()) {
        (true, true, _) => wrong("card", "two_sources", "Send a card or a stored one, not both."),
        (true, _, true) | (_, true, true) => {
            wrong("payment_method.token", "two_sources", "Send a wallet's token or a card, not both.");
        }
        (false, false, true) if matches!(word, "" | "scheme") => {
            wrong("payment_method.type", "needs_wallet", "Say whose token this is: googlepay or applepay.");
        }
        (false, false, false) if wallet.is_some() => {
            wrong("payment_method.token", "missing", "Send the token that the wallet's button gave.");
        }
        (false, false, false) if matches!(word, "" | "scheme") => {
            wrong("card", "missing", "Send a card, or payment_method.stored_payment_method_id for a stored one.");
        }
        _ => {}
    }
    let by_merchant = method.is_some_and(|method| body_text(method, "initiator") == "merchant");
    let account = Scheme::of_wallet(word).is_some() && !named;
    if account && has_card {
        wrong("card", "two_sources", "Send a card or name a wallet, not both.");
    }
    if by_merchant && (has_card || token.is_some() || account) {
        let message = "A merchant-initiated charge needs a stored card.";
        wrong("payment_method.initiator", "needs_token", message);
    }
    match (stored, token, wallet) {
        (Some(id), _, _) => Some(Named::Stored(id)),
        (None, Some(_), Some(wallet)) => Some(Named::Wallet(wallet)),
        (None, None, None) if !has_card => Scheme::of_wallet(word).map(Named::Account),
        _ => None,
    }
}

/// Under either spelling.
fn stored(method: Option<&Node>, errors: &mut Vec<FieldError>) -> Option<TokenId> {
    let spelled = |name| method.map(|method| body_text(method, name)).filter(|text| !text.is_empty());
    let (ours, theirs) = (spelled("stored_payment_method_id"), spelled("store_payment_method_id"));
    if let (Some(one), Some(other)) = (ours, theirs)
        && one != other
    {
        let message = "Both spellings are given and differ: send one.";
        errors.push(FieldError::new("payment_method.stored_payment_method_id", "conflict", message));
    }
    ours.or(theirs).and_then(TokenId::parse)
}
