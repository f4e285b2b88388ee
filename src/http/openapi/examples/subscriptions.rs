//! Examples of subscriptions.

use super::{MADE_AT, MERCHANT, REQUEST, TOKEN, address, approved, charge, example, merchant};
use crate::id::SubscriptionId;
use crate::money::{Currency, Money};
use crate::pay::envelope;
use crate::pay::plan::{Charged, SubscriptionDetails, details};
use crate::pay::subscribed::{self, Known, SubscriptionAnswer, SubscriptionList};
use crate::pay::transaction::{Kind, Transaction};
use crate::subscription::calendar::Unit;
use crate::subscription::{Discount, End, Status, Subscription, Terms};
use serde_json::{Value, json};

const SUBSCRIPTION: &str = "0193626c-2999-7f10-8c5d-6e7f8091a2b3";

pub fn of_request(body: &str) -> &'static [&'static str] {
    match body {
        "SubscribeRequest" => &["subscribe_monthly", "subscribe_with_trial"],
        "NewMethodRequest" => &["another_card", "another_stored_card"],
        _ => &[],
    }
}

pub fn of_answer(method: &str, noun: &str, status: u16) -> &'static [&'static str] {
    match (method, noun, status) {
        ("post", "subscription/payment", 201) => &["subscription_begun"],
        ("post", "subscription/payment", 200) => &["redirect"],
        ("get", "subscription/list", 200) => &["subscription_list"],
        ("get", "subscription/{id}", 200) => &["subscription"],
        ("post", "subscription/{id}/pause", 200) => &["subscription_paused"],
        ("post", "subscription/{id}/resume" | "subscription/{id}/payment-method", 200) => &["subscription_resumed"],
        ("post", "subscription/{id}/cancel", 200) => &["subscription_cancelled"],
        _ => &[],
    }
}

pub fn requests() -> Vec<(String, Value)> {
    let card = json!({"number": "4111111111111111", "expiry_month": "12", "expiry_year": "2040", "cvc": "123",
        "name": "YAMADA HANAKO"});
    let urls = json!({"webhook_url": "https://shop.example.jp/webhook", "success_url": "https://shop.example.jp/thanks",
        "decline_url": "https://shop.example.jp/declined"});
    let mut monthly = json!({"amount": "1000", "currency": "JPY", "merchant_id": MERCHANT, "billing_address": address(),
        "card": card, "time_zone": "Asia/Tokyo", "return_url": urls, "subscription": {
            "plan_name": "スタンダード", "plan_desc": "月額プラン", "cycle_type": "MONTHLY", "cycle_interval": 1,
            "subscription_end_type": "CYCLE", "max_cycle_count": 12, "has_trial_period": false,
            "has_discount": true, "discount_percentage": 10, "discount_duration": 2}});
    let first = example("subscribe_monthly", "A year by months, 10 % less for the first two", &monthly);
    monthly["subscription"] = json!({"plan_name": "スタンダード", "cycle_type": "MONTHLY", "cycle_interval": 1,
        "subscription_end_type": "FOREVER", "has_trial_period": true, "trial_period_duration_type": "DAYS",
        "trial_period_duration": 14, "has_discount": false});
    let stored = json!({"payment_method": {"type": "scheme", "stored_payment_method_id": TOKEN}});
    vec![
        first,
        example(
            "subscribe_with_trial",
            "Two weeks for nothing: the card is verified, and charged at their end",
            &monthly,
        ),
        example("another_card", "Verified, and stored for this subscription alone", &json!({ "card": card })),
        example("another_stored_card", "One that is stored already", &stored),
    ]
}

fn begun(charge: &Transaction) -> Option<Subscription> {
    let money = Money { minor: 1_000, currency: Currency::parse("JPY")? };
    let terms = Terms {
        plan_name: "スタンダード".to_owned(),
        plan_desc: Some("月額プラン".to_owned()),
        unit: Unit::Months,
        interval: 1,
        end: End::Cycles(12),
        trial: None,
        discount: Some(Discount { percentage: 10, cycles: 2 }),
        time_zone: Some("Asia/Tokyo".to_owned()),
        merchant_txn_ref: charge.merchant_txn_ref.clone(),
    };
    let mut one = Subscription::new(SubscriptionId::parse(SUBSCRIPTION)?, charge.caller, MERCHANT, money, terms);
    let share = one.begin(MADE_AT)?;
    Some(one.begun(&share))
}

pub fn answers() -> Option<Vec<(String, Value)>> {
    let mut first = approved(&charge(Kind::Capture)?)?;
    first.money.minor = 900;
    let one = begun(&first)?;
    let charges = [Charged::of(&first, 1)];
    let merchant = merchant(first.caller);
    let begun = envelope::answer_with(&first, &merchant, REQUEST, Some(details(&one, &charges)));
    let begun: Value = serde_json::from_str(&begun.body).ok()?;
    let changed = |status| {
        let due_at = one.due_at.filter(|_| status != Status::Cancelled);
        let after = Subscription { status, due_at, ..one.clone() };
        let answer = subscribed::updated(&Known { subscription: after, charges: charges.to_vec() }, None).ok()?;
        serde_json::from_str::<Value>(&answer.body).ok()
    };
    let details = details(&one, &charges);
    let listed = SubscriptionDetails { last_payment_status: None, ..details.clone() };
    let list = SubscriptionList { success: true, status_code: 200, is_live: false, subscription_details: vec![listed] };
    let shown = SubscriptionAnswer {
        success: true,
        status_code: 200,
        is_live: false,
        gateway_response: None,
        return_url_details: None,
        transaction_details: None,
        subscription_details: details,
    };
    Some(vec![
        example("subscription_begun", "The first cycle is paid", &begun),
        example("subscription_list", "One subscription", &list),
        example("subscription", "As it stands", &shown),
        example("subscription_paused", "Nothing is charged", &changed(Status::Paused)?),
        example("subscription_resumed", "It goes on", &changed(Status::Active)?),
        example("subscription_cancelled", "It has ended", &changed(Status::Cancelled)?),
    ])
}
