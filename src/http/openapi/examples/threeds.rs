//! Examples of charges that are sent to the cardholder's browser first.

use super::{MERCHANT, address, approved, charge, example, merchant};
use crate::pay::envelope;
use crate::pay::transaction::Kind;
use crate::pay::waiting;
use crate::threeds::Authenticated;
use crate::threeds::messages::{TransStatus, VERSION};
use serde_json::{Value, json};

const ENTRANCE: &str = "https://pay.example.jp/checkout/AZNibCmgfD6LGl8OLUxrejJ5Hhq9mF4s8Kx0b2dVw1E";

pub fn requests() -> Vec<(String, Value)> {
    let urls = json!({"webhook_url": "https://shop.example.jp/webhook", "success_url": "https://shop.example.jp/thanks",
        "decline_url": "https://shop.example.jp/declined"});
    let browser = json!({"acceptHeader": "text/html", "screenColorDepth": "24", "javaEnabled": false, "language": "ja-JP",
        "screenHeight": "844", "screenWidth": "390", "challengeWindow": "05", "userAgent": "Mozilla/5.0"});
    let asked = json!({"amount": "1000", "currency": "JPY", "merchant_id": MERCHANT, "billing_address": address(),
        "card": {"number": "4000002500003155", "expiry_month": "12", "expiry_year": "2040", "cvc": "123",
            "name": "YAMADA HANAKO"},
        "return_url": urls, "browser_info": browser});
    let wallet = json!({"amount": "1000", "currency": "JPY", "merchant_id": MERCHANT, "billing_address": address(),
        "payment_method": {"type": "paypay"}, "return_url": urls});
    vec![
        example("charge_with_3d_secure", "A card whose issuer asks; on a v2 endpoint", &asked),
        example("charge_of_a_wallet", "A wallet that is paid in its own page; on a v2 endpoint", &wallet),
    ]
}

pub fn answers() -> Option<Vec<(String, Value)>> {
    let waiting = charge(Kind::Capture)?;
    let redirect = waiting::redirect(&waiting, ENTRANCE.to_owned());
    let mut paid = approved(&waiting)?;
    let text = |text: &str| Some(text.to_owned());
    paid.details.three_d_secure = Some(Authenticated {
        status: TransStatus::Y,
        eci: text("05"),
        cavv: text("AAABBJg0VhI0VniQEjRWAAAAAAA="),
        version: VERSION.to_owned(),
        directory_id: text("f38e6948-5388-41a6-bca4-b49723c19437"),
    });
    let answer = envelope::answer(&paid, &merchant(paid.caller), super::REQUEST);
    let paid: Value = serde_json::from_str(&answer.body).ok()?;
    Some(vec![
        example("redirect", "Send the cardholder's browser to redirect_url", &redirect),
        example("payment_authenticated", "Paid by an authenticated cardholder", &paid),
    ])
}
