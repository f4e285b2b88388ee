//! A wallet's token becomes a card (contract section 8): opened once for one charge, its amount held against the request's, and
//! remembered in the intent's write.

use super::request::ChargeRequest;
use crate::app::App;
use crate::card::{Card, Cryptogram};
use crate::codes::Code;
use crate::error::{Error, FieldError};
use crate::json::Node;
use crate::money::Money;
use crate::wallet::once::Once;
use crate::wallet::{Kind, Opened, Refusal, Wallet};

/// What came with the card.
pub struct FromWallet {
    pub wallet: Wallet,
    /// Of a device's number: for one message to the bank, never in a row.
    pub device: Option<Device>,
    pub once: Once,
}

pub struct Device {
    pub cryptogram: Cryptogram,
    pub eci: Option<String>,
}

/// # Errors
/// ERR1015 where the merchant takes no such tokens or the token is another's; ERR1001 where it does not open; ERR1002 where its
/// card is past; VAL0002 where the cardholder agreed to other money. The reason itself is in the log.
pub async fn open(
    app: &App,
    request: &ChargeRequest,
    wallet: Wallet,
    token: Node,
) -> Result<(Card, FromWallet), Error> {
    let place = (request.caller, request.merchant.id.as_str(), wallet);
    let now = app.clock.now();
    let opened = match app.wallets.open(place, token, now).await? {
        Some(Ok(opened)) => opened,
        Some(Err(refusal)) => {
            refused(request, wallet, refusal.word(), &refusal.to_string());
            let other = matches!(refusal, Refusal::WrongRecipient(_));
            return Err(Error::new(if other { Code::Err1015 } else { Code::Err1001 }));
        }
        None => {
            refused(request, wallet, "not_set_up", "the merchant has no such wallet: fuda wallet add");
            return Err(Error::new(Code::Err1015));
        }
    };
    // The token's own time is real time, its card's is the entity's.
    if opened.expiry.is_past(now + app.ahead(request.caller).await?) {
        refused(request, wallet, "card_expired", "the card in it has expired");
        return Err(Error::new(Code::Err1002));
    }
    if let Some(agreed) = opened.money {
        same_money(agreed, request.money).inspect_err(|_| {
            refused(request, wallet, "other_money", "the cardholder agreed to another amount or currency");
        })?;
    }
    let once = Once::of(&app.vault, request.caller.live, wallet, &opened);
    let Opened { pan, expiry, name, kind, .. } = opened;
    let device = match kind {
        Kind::Device { cryptogram, eci } => Some(Device { cryptogram, eci }),
        Kind::PanOnly => None,
    };
    Ok((Card { pan, expiry, name }, FromWallet { wallet, device, once }))
}

/// The token was charged before.
pub fn replayed(request: &ChargeRequest, wallet: Wallet) -> Error {
    refused(request, wallet, "replayed", "it was charged before");
    Error::new(Code::Err1001)
}

fn refused(request: &ChargeRequest, wallet: Wallet, reason: &'static str, why: &str) {
    let (request, wallet) = (&request.request_id, wallet.name());
    tracing::warn!(request, wallet, reason, why, "a wallet's token was refused");
    metrics::counter!("fuda_wallet_tokens_refused_total", "wallet" => wallet, "reason" => reason).increment(1);
}

fn same_money(agreed: Money, asked: Money) -> Result<(), Error> {
    let mut wrong = Vec::new();
    if agreed.currency != asked.currency {
        let message = "The cardholder agreed to another currency in the wallet.";
        wrong.push(FieldError::new("currency", "wallet_currency", message));
    } else if agreed.minor != asked.minor {
        let message = "The cardholder agreed to another amount in the wallet.";
        wrong.push(FieldError::new("amount", "wallet_amount", message));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::fields(wrong)) }
}
