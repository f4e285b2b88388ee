//! Examples of links to the hosted payment page.

use super::super::super::links::LinkView;
use super::{ENTITY, MADE_AT, MERCHANT, TRANSACTION, address, example};
use crate::directory::Caller;
use crate::id::{EntityId, LinkId, TransactionId};
use crate::money::Currency;
use crate::pay::links::{Link, LinkDetails, Standing};
use crate::pay::transaction::ReturnUrl;
use serde_json::{Value, json};

const LINK: &str = "0193626c-2a44-7b90-a1c2-3d4e5f607182";
const CODE: &str = "q4ZbUm0aT1vXc7Rk2LwJhN";

pub fn requests() -> Vec<(String, Value)> {
    let urls = json!({"webhook_url": "https://shop.example.jp/webhook", "success_url": "https://shop.example.jp/thanks",
        "decline_url": "https://shop.example.jp/declined", "cancel_url": "https://shop.example.jp/cart"});
    let order = json!({"merchant_id": MERCHANT, "currency": "JPY", "amount": "1000", "merchant_txn_ref": "order-1024",
        "billing_address": address(), "return_url": urls});
    let open = json!({"merchant_id": MERCHANT, "currency": "JPY", "return_url": urls, "expires_in": 604_800});
    vec![
        example("link_of_an_order", "An order; its address is known", &order),
        example("link_open_amount", "The customer types the amount and the address; good for a week", &open),
    ]
}

pub fn answers() -> Option<Vec<(String, Value)>> {
    let text = |text: &str| Some(text.to_owned());
    let made = Link {
        id: LinkId::parse(LINK)?,
        caller: Caller { entity: EntityId::parse(ENTITY)?, live: false },
        merchant_id: MERCHANT.to_owned(),
        standing: Standing::Open,
        amount_minor: Some(1000),
        currency: Currency::parse("JPY")?,
        details: LinkDetails {
            merchant_txn_ref: text("order-1024"),
            billing_address: Some(address()),
            return_url: ReturnUrl {
                webhook_url: text("https://shop.example.jp/webhook"),
                success_url: text("https://shop.example.jp/thanks"),
                decline_url: text("https://shop.example.jp/declined"),
                cancel_url: text("https://shop.example.jp/cart"),
            },
            ..LinkDetails::default()
        },
        tries: 0,
        transaction: None,
        created_at: MADE_AT,
        expires_at: MADE_AT + 24 * 60 * 60 * 1000,
    };
    let view = |link: &Link, tries| LinkView::at(MADE_AT, "https://pay.example.jp", CODE, link, tries);
    let paid = Link { standing: Standing::Paid, ..made.clone() };
    let tries = vec![TransactionId::parse(TRANSACTION)?];
    Some(vec![
        example("link_made", "Send the customer to url", &view(&made, None)),
        example("link_paid", "Paid at the first try", &view(&paid, Some(tries))),
    ])
}
