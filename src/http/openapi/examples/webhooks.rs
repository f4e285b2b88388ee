//! Examples of what the merchant was told.

use super::{MADE_AT, TRANSACTION, example, merchant};
use crate::clock::timestamp;
use crate::id::{EventId, TransactionId};
use crate::pay::envelope;
use crate::pay::told::{Feed, FeedEvent, FeedHeaders, Try, Webhook, WebhookAnswer, WebhookList};
use crate::pay::transaction::{ReturnUrl, Transaction};
use crate::webhook::sign::{self, Secret};
use serde_json::Value;

const EVENT: &str = "evt_0193626c29c57b118a1b2c3d4e5f6071";

fn webhook() -> Option<Webhook> {
    Some(Webhook {
        id: EventId::parse(EVENT)?,
        transaction_id: TransactionId::parse(TRANSACTION)?,
        created: timestamp(MADE_AT + 37),
        state: "DELIVERED",
        webhook_url: Some("https://shop.example.jp/webhook".to_owned()),
        next_try: None,
        tries: vec![Try {
            at: timestamp(MADE_AT + 40),
            ms: 112,
            status: Some(200),
            answer: Some("ok".to_owned()),
            problem: None,
        }],
    })
}

pub fn of(purchase: &Transaction) -> Option<Vec<(String, Value)>> {
    let id = EventId::parse(EVENT)?;
    let list = WebhookList { success: true, status_code: 200, is_live: false, webhooks: vec![webhook()?] };
    let again = Webhook { state: "WAITING", next_try: Some(timestamp(MADE_AT + 60_000)), ..webhook()? };
    let again = WebhookAnswer { success: true, status_code: 200, is_live: false, webhook: again };
    let mut purchase = purchase.clone();
    let url = Some("https://shop.example.jp/webhook".to_owned());
    purchase.details.return_url = ReturnUrl { webhook_url: url, ..ReturnUrl::default() };
    let body = envelope::told(&purchase, &merchant(purchase.caller), None);
    let seconds = MADE_AT / 1_000;
    // The secret of the public examples of Standard Webhooks.
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    let headers = FeedHeaders {
        id: EVENT.to_owned(),
        timestamp: seconds.to_string(),
        signature: sign::header(&[secret], EVENT, seconds, &body),
    };
    let event = FeedEvent { id, created: timestamp(MADE_AT + 37), headers, body };
    let feed = Feed { success: true, status_code: 200, is_live: false, events: vec![event], next_after: Some(id) };
    Some(vec![
        example("webhook_list", "Heard at the first try", &list),
        example("webhook_again", "One more try, at once", &again),
        example("event_feed", "One event, as its webhook would be sent", &feed),
    ])
}
