//! What the document shows is what happens: its requests are sent, and its answers compared with the real ones.

use crate::world::{Engine, World, answer};
use serde_json::{Value, json};

pub async fn are_true(engine: Engine) {
    let world = World::new(engine).await;
    let document = answer(world.http.get(format!("{}/openapi.json", world.server.base))).await.1;
    let shown = |name: &str| document["components"]["examples"][name]["value"].clone();
    let ours = |name: &str| {
        let mut body = shown(name);
        body["merchant_id"] = json!(world.keys.merchant);
        body
    };
    for path in ["payment", "authorization", "paymentv2", "authorizationv2"] {
        let noun = path.trim_end_matches("v2");
        let ask = async |status: u16, like: &str, body: &Value| {
            let answered = world.post(path, body).await;
            alike(&answered, status, &shown(&format!("{noun}_{like}")));
            answered.1
        };
        ask(201, "approved", &ours("charge_with_card")).await;
        let stored = world.post(path, &ours("charge_storing_card")).await.1;
        let mut with_token = ours("charge_with_token");
        with_token["payment_method"]["stored_payment_method_id"] =
            stored["transaction_details"]["stored_payment_method_id"].clone();
        let charged = world.post(path, &with_token).await;
        assert_eq!((charged.0, &charged.1["success"]), (201, &json!(true)));
        let mut other = ours("charge_with_card");
        other["card"]["number"] = json!("4000000000009995");
        let declined = ask(201, "declined", &other).await;
        assert_eq!(declined["payment_details"]["response_code"], 51);
        let mut wrong = ours("charge_with_card");
        wrong["billing_address"]["country"] = json!("Japan");
        wrong.as_object_mut().unwrap().remove("currency");
        wrong.as_object_mut().unwrap().remove("merchant_txn_ref");
        let refused = ask(400, "wrong_fields", &wrong).await;
        assert_eq!(refused["errors"], shown(&format!("{noun}_wrong_fields"))["errors"]);
    }
    let mut slow = ours("charge_with_card");
    slow["card"]["number"] = json!("4000000000000259");
    let (payment, authorization) = tokio::join!(world.post("payment", &slow), world.post("authorization", &slow));
    alike(&payment, 504, &shown("payment_timed_out"));
    alike(&authorization, 504, &shown("authorization_timed_out"));
}

pub async fn of_questions_are_true(engine: Engine) {
    let world = World::new(engine).await;
    let document = answer(world.http.get(format!("{}/openapi.json", world.server.base))).await.1;
    let shown = |name: &str| document["components"]["examples"][name]["value"].clone();
    let mut body = shown("charge_with_card");
    body["merchant_id"] = json!(world.keys.merchant);
    let paid = world.post("payment", &body).await.1;
    let id = paid["transaction_details"]["id"].as_str().unwrap();
    alike(&world.get(&format!("transaction/status/{id}")).await, 200, &shown("status"));
    let query = format!("transaction/status?merchant_id={}&merchant_txn_ref=order-1024", world.keys.merchant);
    alike(&world.get(&query).await, 200, &shown("status_list"));
    let mut body = shown("store_card");
    body["merchant_id"] = json!(world.keys.merchant);
    let stored = world.post("tokens", &body).await;
    alike(&stored, 201, &shown("token_stored"));
    let path = format!("tokens/{}", stored.1["token"]["id"].as_str().unwrap());
    alike(&world.get(&path).await, 200, &shown("token"));
    let patch = world.http.patch(world.url(&path)).json(&shown("change_expiry"));
    let changed = answer(world.authed(patch, &world.keys)).await;
    alike(&changed, 200, &shown("token"));
    assert_eq!(changed.1["token"]["card"]["exp_year"], "44");
    alike(&world.get("tokens").await, 200, &shown("token_list"));
    let deleted = answer(world.authed(world.http.delete(world.url(&path)), &world.keys)).await;
    alike(&deleted, 200, &shown("token_deleted"));
}

pub async fn of_what_follows_are_true(engine: Engine) {
    let world = World::new(engine).await;
    let document = answer(world.http.get(format!("{}/openapi.json", world.server.base))).await.1;
    let shown = |name: &str| document["components"]["examples"][name]["value"].clone();
    let charged = async |path: &str| {
        let mut body = shown("charge_with_card");
        body["merchant_id"] = json!(world.keys.merchant);
        world.post(path, &body).await.1["transaction_details"]["id"].clone()
    };
    for (path, request, parent) in [
        ("capture", "capture_a_part", "authorization"),
        ("refund", "refund_a_part", "payment"),
        ("void", "void_a_hold", "authorization"),
    ] {
        let mut body = shown(request);
        body["merchant_id"] = json!(world.keys.merchant);
        body["transactionId"] = charged(parent).await;
        alike(&world.post(path, &body).await, 201, &shown(&format!("{path}_approved")));
        if path == "refund" {
            alike(&world.post(path, &body).await, 412, &shown("refund_refused"));
        }
        body["transactionId"] = charged(parent).await;
        alike(&world.faulty(path, "cut", None, &body).await, 504, &shown(&format!("{path}_unknown")));
    }
    let id = charged("payment").await;
    let story = world.get(&format!("transaction/{}/explain", id.as_str().unwrap())).await;
    alike(&story, 200, &shown("story"));
}

/// The same keys with the same types all the way down, and the same words where the contract fixes them.
fn alike(answered: &(u16, Value), status: u16, example: &Value) {
    assert_eq!(answered.0, status, "{}", answered.1);
    assert_eq!(outline(&answered.1), outline(example));
    for fixed in ["/success", "/status_code", "/is_live", "/transaction_type", "/gateway_response", "/token/status"] {
        assert_eq!(answered.1.pointer(fixed), example.pointer(fixed), "{fixed}");
    }
    let length = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::len);
    for sized in
        ["/token/id", "/token/fingerprint", "/token/last_used", "/transaction_details/timestamp", "/request_id"]
    {
        assert_eq!(length(&answered.1, sized), length(example, sized), "{sized}");
    }
}

/// Each value's type in its place; of a list its first entry stands for all.
fn outline(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), outline(value))).collect(),
        Value::Array(entries) => entries.iter().take(1).map(outline).collect(),
        Value::String(_) => json!("a text"),
        Value::Number(_) => json!("a number"),
        Value::Bool(_) => json!("true or false"),
        Value::Null => Value::Null,
    }
}

pub async fn of_links_are_true(engine: Engine) {
    let world = World::new(engine).await;
    let document = answer(world.http.get(format!("{}/openapi.json", world.server.base))).await.1;
    let shown = |name: &str| document["components"]["examples"][name]["value"].clone();
    let made = async |name: &str| {
        let mut body = shown(name);
        body["merchant_id"] = json!(world.keys.merchant);
        world.post("hpp/generate/link", &body).await
    };
    assert_eq!(made("link_open_amount").await.0, 201);
    let made = made("link_of_an_order").await;
    alike(&made, 201, &shown("link_made"));
    let card = [("number", "4111111111111111"), ("expiry", "12/40"), ("cvc", "123"), ("name", "YAMADA HANAKO")];
    let paid = crate::hosted::send(made.1["url"].as_str().unwrap(), &[&card]).await;
    assert!(paid.leads_to().starts_with("https://shop.example.jp/thanks?transaction_id="));
    let found = world.get(&format!("hpp/link/{}", made.1["id"].as_str().unwrap())).await;
    alike(&found, 200, &shown("link_paid"));
    assert_eq!(found.1["status"], "PAID");
}

pub async fn of_rules_are_true(engine: Engine) {
    let world = World::new(engine).await;
    let document = answer(world.http.get(format!("{}/openapi.json", world.server.base))).await.1;
    let shown = |name: &str| document["components"]["examples"][name]["value"].clone();
    let mut velocity = shown("rule_of_velocity");
    velocity["merchant_id"] = json!(world.keys.merchant);
    let added = world.post("risk/rules", &velocity).await;
    alike(&added, 201, &shown("rule_added"));
    alike(&world.get("risk/rules").await, 200, &shown("rule_list"));
    let id = added.1["rule"]["id"].as_str().unwrap();
    let removed = world.authed(world.http.delete(world.url(&format!("risk/rules/{id}"))), &world.keys);
    alike(&answer(removed).await, 200, &shown("rule_removed"));
    for name in ["rule_of_addresses", "rule_that_watches"] {
        let mut rule = shown(name);
        if rule["merchant_id"].is_string() {
            rule["merchant_id"] = json!(world.keys.merchant);
        }
        let (status, added) = world.post("risk/rules", &rule).await;
        assert_eq!(status, 201, "{added}");
    }
}

pub async fn of_cardholders_are_true(engine: Engine) {
    let world = World::new(engine).await;
    let document = answer(world.http.get(format!("{}/openapi.json", world.server.base))).await.1;
    let shown = |name: &str| document["components"]["examples"][name]["value"].clone();
    let browser = crate::browser::Browser::new();
    for (name, key) in [("charge_with_3d_secure", "k1"), ("charge_of_a_wallet", "k2")] {
        let mut body = shown(name);
        body["merchant_id"] = json!(world.keys.merchant);
        body["merchant_txn_ref"] = json!("order-1024");
        let ask = async || {
            let request = world.authed(world.http.post(world.url("paymentv2")), &world.keys);
            answer(request.header("idempotency-key", key).json(&body)).await
        };
        let redirect = ask().await;
        alike(&redirect, 200, &shown("redirect"));
        if name == "charge_with_3d_secure" {
            let issuer = browser.press(&browser.open(redirect.1["url"].as_str().unwrap()).await.form(), &[]).await;
            let back = browser.press(&issuer.form(), &[("code", "123456")]).await;
            browser.press(&back.form(), &[]).await;
            // The key has the last answer now; the example's customer has an address.
            let mut last = ask().await;
            last.1["merchant_details"]["device_details"]["customer_ip"] = json!("203.0.113.7");
            alike(&last, 201, &shown("payment_authenticated"));
        }
    }
}

pub async fn of_clocks_are_true(engine: Engine) {
    let world = World::new(engine).await;
    let document = answer(world.http.get(format!("{}/openapi.json", world.server.base))).await.1;
    let shown = |name: &str| document["components"]["examples"][name]["value"].clone();
    for name in ["clock_by_a_month", "clock_by_hours"] {
        alike(&world.post("test/clock", &shown(name)).await, 200, &shown("clock_moved"));
    }
    alike(&world.get("test/clock").await, 200, &shown("clock_shown"));
}
