//! Payments that go as they should.

use crate::world::{Engine, World, address};
use serde_json::{Value, json};

/// The request of the public token page, byte for byte but for token, merchant ID and webhook URL.
pub fn seed_request(world: &World, spelling: &str) -> String {
    format!(
        r#"{{
"amount": "1000",
"currency": "JPY",
"payment_method": {{
"type": "scheme",
"store_payment_method": true,
"{spelling}": "{}"
}},
"merchant_txn_ref": "qwe",
"customer_ip": "127.0.0.1",
"merchant_id": "{}",
"return_url": {{
"webhook_url": "http://127.0.0.1:9/webhook",
"success_url": "http://www.successurl.com/",
"decline_url": "http://www.declineurl.com/"
}},
"billing_address": {{
"country": "JP",
"email": "billing@testemail.com",
"phone_number": "8112345678",
"address1": "1-2-3 Shinjuku",
"city": "Shinjuku-ku",
"state": "Tokyo",
"postal_code": "1600022"
}},
"shipping_address": {{
"country": "JP",
"email": "shipping@testemail.com",
"phone_number": "8112345678",
"address1": "1-2-3 Shinjuku",
"city": "Shinjuku-ku",
"state": "Tokyo",
"postal_code": "1600022"
}},
"time_zone": "Asia/Kuala_Lumpur"
}}"#,
        world.token, world.keys.merchant
    )
}

pub async fn the_seed_page(engine: Engine) {
    let world = World::new(engine).await;
    for prefix in ["/api/v1", "/api/v1/api/v1"] {
        for spelling in ["store_payment_method_id", "stored_payment_method_id"] {
            let url = format!("{}{prefix}/server-to-server-interface/payment", world.server.base);
            let request = world.authed(world.http.post(url), &world.keys);
            let response = request
                .header("content-type", "application/json")
                .body(seed_request(&world, spelling))
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 201);
            let text = response.text().await.unwrap();
            let shape = redact(&text);
            assert_eq!(shape, SEED_ANSWER.replace("MID", &world.keys.merchant).replace("TOKEN", &world.token));
        }
    }
}

/// The page's answer on one line: same keys, same order; what differs each time is a letter for each of its characters.
const SEED_ANSWER: &str = r#"{"success":true,"status_code":201,"is_live":false,"transaction_type":"CAPTURE","gateway_response":{"version":"1","type":"INFO","message":"Payment Successful.","code":"INFO0000"},"merchant_details":{"legal_name":"札の店 (Fuda sandbox)","mid":"MID","merchant_txn_ref":"qwe","billing_details":{"billing_address":{"country":"JP","email":"billing@testemail.com","phone_number":"8112345678","address1":"1-2-3 Shinjuku","city":"Shinjuku-ku","state":"Tokyo","postal_code":"1600022"}},"device_details":{"visited_ip":"127.0.0.1","customer_ip":"127.0.0.1"}},"payment_details":{"amount":1000,"response_code":0,"auth_code":"dddddd","currency":"JPY","payment_method":"ECMC-SSL","scheme":"MASTERCARD","card":{"name":"YAMADA HANAKO","number":"520000******1005","exp_month":"12","exp_year":"40"},"additional_data":{"payment_data_source":{"type":"card"}}},"transaction_details":{"id":"<uuid>","ref":<ref>,"timestamp":"dddd-dd-ddTdd:dd:dd.dddZ","merchant_txn_ref":"qwe","stored_payment_method_id":"TOKEN"},"risk-details":{"risk_score":null}}"#;

/// Works on the text itself, so that order and types are seen as they came.
fn redact(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to, word) in
        [("\"auth_code\":\"", "\"", None), ("\"timestamp\":\"", "\"", None), ("\"ref\":", ",", Some("<ref>"))]
    {
        let start = text.find(from).unwrap() + from.len();
        let end = start + text[start..].find(to).unwrap();
        let found = &text[start..end];
        let shape: String = found.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
        if word.is_some() {
            assert!(shape.chars().all(|c| c == 'd'), "ref is an integer");
        }
        text.replace_range(start..end, word.unwrap_or(&shape));
    }
    let start = text.find("\"transaction_details\":{\"id\":\"").unwrap() + 29;
    assert!(uuid_like(&text[start - 1..start + 36]) || uuid_like(&text[start..start + 36]));
    let start = text.find("{\"id\":\"").unwrap() + 7;
    text.replace_range(start..start + 36, "<uuid>");
    text
}

fn uuid_like(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c))
}

pub async fn a_card_is_stored_and_charged(engine: Engine) {
    let world = World::new(engine).await;
    let mut request = world.card_charge("4000000000001091");
    request["payment_method"] = json!({"type": "scheme", "store_payment_method": true});
    request["shipping_address"] = address("shipping@testemail.com");
    request["amount"] = json!(49.90);
    request["currency"] = json!("USD");
    let (status, answer) = world.post("payment", &request).await;
    assert_eq!(status, 201);
    let mut details = answer["payment_details"].clone();
    details["auth_code"] = json!("AUTH");
    insta::allow_duplicates! { insta::assert_snapshot!(serde_json::to_string_pretty(&details).unwrap(), @r#"
    {
      "additional_data": {
        "payment_data_source": {
          "type": "card"
        }
      },
      "amount": 49.9,
      "auth_code": "AUTH",
      "card": {
        "exp_month": "12",
        "exp_year": "40",
        "name": "John Doe",
        "number": "400000******1091"
      },
      "currency": "USD",
      "payment_method": "VISA-SSL",
      "response_code": 0,
      "scheme": "VISA"
    }
    "#); }
    let shipping = &answer["merchant_details"]["billing_details"]["shipping_address"];
    assert_eq!(shipping["email"], "shipping@testemail.com");
    let token = answer["transaction_details"]["stored_payment_method_id"].as_str().unwrap();
    let (status, charged) = world.post("payment", &world.token_charge(token)).await;
    assert_eq!((status, &charged["success"]), (201, &json!(true)));
    assert_eq!(charged["transaction_details"]["stored_payment_method_id"], token);
    assert!(charged["transaction_details"]["ref"].as_i64() > answer["transaction_details"]["ref"].as_i64());
}

pub async fn authorization_and_v2_answer_like_v1(engine: Engine) {
    let world = World::new(engine).await;
    for (path, kind) in [
        ("payment", "CAPTURE"),
        ("paymentv2", "CAPTURE"),
        ("authorization", "PRE_AUTH"),
        ("authorizationv2", "PRE_AUTH"),
    ] {
        let (status, answer) = world.post(path, &world.token_charge(&world.token)).await;
        assert_eq!((status, answer["transaction_type"].as_str()), (201, Some(kind)), "{path}");
        assert_eq!(answer["gateway_response"]["code"], "INFO0000");
    }
}

pub async fn the_sandbox_cards(engine: Engine) {
    let world = World::new(engine).await;
    for number in [
        "5200000000001005",
        "4000000000001091",
        "4111111111111111",
        "378282246310005",
        "3530111333300000",
        "36227206271667",
        "6011111111111117",
        "6200000000000005",
        "4000000000003220",
    ] {
        let (status, answer) = world.post("payment", &world.card_charge(number)).await;
        assert_eq!((status, &answer["success"]), (201, &json!(true)), "{number}: {answer}");
    }
    for (number, code, response_code) in [
        ("4000002500003155", "ERR1009", 65),
        ("4000008400001629", "ERR1009", 65),
        ("4000000000000002", "ERR1000", 5),
        ("4000000000009995", "ERR1000", 51),
        ("4000000000009987", "ERR1000", 41),
        ("4000000000009979", "ERR1000", 43),
        ("4000000000000069", "ERR1000", 54),
        ("4000000000000127", "ERR1000", 580),
        ("4000000000000119", "ERR1000", 96),
    ] {
        let (status, answer) = world.post("payment", &world.card_charge(number)).await;
        assert_eq!((status, &answer["success"]), (201, &json!(false)), "{number}");
        assert_eq!(answer["gateway_response"]["code"], code, "{number}");
        assert_eq!(answer["payment_details"]["response_code"], response_code, "{number}");
        assert_eq!(answer["payment_details"]["auth_code"], Value::Null);
        assert!(answer["transaction_details"]["id"].is_string());
        assert!(answer["transaction_details"]["stored_payment_method_id"].is_null());
    }
    let (status, answer) = world.post("payment", &world.card_charge("4000000000006975")).await;
    assert_eq!((status, answer["gateway_response"]["code"].as_str()), (502, Some("ERR1011")));
    assert_eq!(answer["transaction_details"]["id"], Value::Null);
    let mut request = world.card_charge("4000000000000341");
    request["payment_method"] = json!({"store_payment_method": true});
    let (_, stored) = world.post("payment", &request).await;
    let token = stored["transaction_details"]["stored_payment_method_id"].as_str().unwrap();
    let (_, charged) = world.post("payment", &world.token_charge(token)).await;
    assert_eq!(charged["payment_details"]["response_code"], 51);
    assert_eq!(charged["transaction_details"]["stored_payment_method_id"], token);
}

pub async fn status_by_id_and_reference(engine: Engine) {
    let world = World::new(engine).await;
    let mut request = world.token_charge(&world.token);
    request["merchant_txn_ref"] = json!("注文-1");
    let (_, first) = world.post("payment", &request).await;
    let mut declined = world.card_charge("4000000000009995");
    declined["merchant_txn_ref"] = json!("注文-1");
    let (_, second) = world.post("authorization", &declined).await;
    let id = first["transaction_details"]["id"].as_str().unwrap();
    let (status, found) = world.get(&format!("transaction/status/{id}")).await;
    assert_eq!((status, &found["success"], &found["status_code"]), (200, &json!(true), &json!(200)));
    assert_eq!(found["transaction_details"]["state"], "APPROVED");
    assert_eq!(found["transaction_details"]["captured_amount"], 1000);
    assert_eq!(found["transaction_details"]["refunded_amount"], 0);
    assert!(found["transaction_details"]["billing_details"]["billing_address"].is_object());
    assert!(found["risk_details"].is_object() && found["risk-details"].is_null());
    assert_eq!(found["payment_details"]["responseDescription"], "Payment Successful");
    let declined = second["transaction_details"]["id"].as_str().unwrap();
    let url = world.url(&format!("transaction/status/{declined}"));
    let request = world.authed(world.http.get(url), &world.keys).header("accept-language", "en;q=0.5, ja-JP");
    let (status, found) = crate::world::answer(request).await;
    assert_eq!((status, &found["success"]), (200, &json!(false)));
    assert_eq!(found["payment_details"]["responseDescription"], "残高不足または利用限度額超過です");
    let query = format!("transaction/status?merchant_id={}&merchant_txn_ref=注文-1", world.keys.merchant);
    let (status, list) = world.get(&query).await;
    let ids: Vec<_> =
        list["transactions"].as_array().unwrap().iter().map(|one| &one["transaction_details"]["id"]).collect();
    assert_eq!((status, ids), (200, vec![&json!(declined), &json!(id)]));
}

pub async fn merchant_initiated(engine: Engine) {
    let world = World::new(engine).await;
    let card = json!({"number": "4000002500003155", "expiry_month": 1, "expiry_year": 40, "cvc": 123});
    let (status, stored) = world.post("tokens", &json!({"merchant_id": world.keys.merchant, "card": card})).await;
    assert_eq!(status, 201, "{stored}");
    let token = stored["token"]["id"].as_str().unwrap();
    let mut charge = world.token_charge(token);
    let (_, asked) = world.post("payment", &charge).await;
    assert_eq!(asked["gateway_response"]["code"], "ERR1009");
    charge["payment_method"]["initiator"] = json!("merchant");
    charge["payment_method"]["reason"] = json!("recurring");
    let (status, charged) = world.post("payment", &charge).await;
    assert_eq!((status, &charged["success"]), (201, &json!(true)));
    let made = world.run(&[
        "merchant",
        "add",
        "--legal-name",
        "二号店",
        "--country",
        "JP",
        "--currency",
        "JPY",
        "--entity",
        &world.keys.entity,
        "--json",
    ]);
    let second: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((&second["api_key"], &second["secret_key"]), (&Value::Null, &Value::Null));
    charge["merchant_id"] = second["merchant_id"].clone();
    for _ in 0..20 {
        let (status, refused) = world.post("payment", &charge).await;
        if status != 403 {
            assert_eq!((status, refused["errors"][0]["code"].as_str()), (400, Some("first_charge_must_be_customer")));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("a new merchant was not known within two seconds");
}
