//! The buttons of Google Pay and Apple Pay on a card's page: only where the merchant has set the wallet up. What our script tells
//! the wallet stands in the page; nothing of it is secret.

use super::visit::Shown;
use crate::app::App;
use crate::pay::links::Link;
use crate::wallet::Wallet;
use serde_json::{Value, json};

/// Google's names of the schemes that are taken (Google Pay API, `allowedCardNetworks`).
const GOOGLE_NETWORKS: [&str; 5] = ["AMEX", "DISCOVER", "JCB", "MASTERCARD", "VISA"];

/// Apple's (Apple Pay JS, `supportedNetworks`).
const APPLE_NETWORKS: [&str; 6] = ["amex", "chinaUnionPay", "discover", "jcb", "masterCard", "visa"];

/// The wallets of a page, each with what its script is told.
#[derive(Default)]
pub struct Buttons {
    pub wallets: Vec<Wallet>,
    pub google: Option<String>,
    pub apple: Option<String>,
}

impl Buttons {
    pub fn of(app: &App, shown: &Shown) -> Buttons {
        // What is paid in a wallet's own page takes no card.
        if shown.link.account().is_some() {
            return Buttons::default();
        }
        let google = google(app, shown);
        let apple = apple(app, shown);
        let wallets = [google.as_ref().map(|_| Wallet::GooglePay), apple.as_ref().map(|_| Wallet::ApplePay)];
        Buttons {
            wallets: wallets.into_iter().flatten().collect(),
            google: google.map(|value| value.to_string()),
            apple: apple.map(|value| value.to_string()),
        }
    }
}

/// The amount as both wallets write it, with all decimals of its currency; empty: the customer types it.
fn amount(link: &Link) -> String {
    let Some(money) = link.amount() else { return String::new() };
    let decimals = money.currency.decimals() as usize;
    let digits = format!("{:0>width$}", money.minor, width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// Google Pay API, `PaymentDataRequest` without its price.
fn google(app: &App, shown: &Shown) -> Option<Value> {
    let (link, merchant) = (&shown.link, &shown.merchant);
    let button = app.wallets.google_button(link.caller, &merchant.id)?;
    let mut info = json!({"merchantName": merchant.legal_name});
    if let Some(id) = button.merchant_id {
        info["merchantId"] = id.into();
    }
    Some(json!({
        "environment": if link.caller.live { "PRODUCTION" } else { "TEST" },
        "request": {
            "apiVersion": 2,
            "apiVersionMinor": 0,
            "merchantInfo": info,
            "allowedPaymentMethods": [{
                "type": "CARD",
                "parameters": {
                    "allowedAuthMethods": ["PAN_ONLY", "CRYPTOGRAM_3DS"],
                    "allowedCardNetworks": GOOGLE_NETWORKS,
                },
                "tokenizationSpecification": button.specification,
            }],
            "transactionInfo": {
                "totalPriceStatus": "FINAL",
                "totalPrice": amount(link),
                "currencyCode": link.currency.code(),
                "countryCode": merchant.country,
            },
        },
    }))
}

/// Apple Pay JS, `ApplePayPaymentRequest`.
fn apple(app: &App, shown: &Shown) -> Option<Value> {
    let (link, merchant) = (&shown.link, &shown.merchant);
    app.wallets.apple_identity(link.caller, &merchant.id)?;
    Some(json!({
        "countryCode": merchant.country,
        "currencyCode": link.currency.code(),
        "merchantCapabilities": ["supports3DS"],
        "supportedNetworks": APPLE_NETWORKS,
        "total": {"label": merchant.legal_name, "amount": amount(link)},
    }))
}
