//! Requests that are refused, and how.

use crate::world::{Engine, World, answer, stable};
use base64::Engine as _;
use serde_json::{Value, json};

pub async fn keys_in_all_their_forms(engine: Engine) {
    let world = World::new(engine).await;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (key, secret) = (&world.keys.api_key, &world.keys.secret);
    let ask = async |api_key: Option<&str>, authorization: Option<String>| {
        let mut request = world.http.get(world.url("tokens"));
        if let Some(api_key) = api_key {
            request = request.header("x-api-key", api_key);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        answer(request).await
    };
    for value in [
        format!("Basic {}", base64(secret)),
        format!("Basic {}", base64(&format!("{secret}:"))),
        format!("Basic {secret}"),
        format!("BASIC {secret}"),
        format!("basic {}", base64(secret)),
        secret.clone(),
        base64(secret),
    ] {
        for api_key in [key, secret] {
            assert_eq!(ask(Some(api_key), Some(value.clone())).await.0, 200, "{value}");
        }
    }
    let forbidden = (403, json!({"message": "Forbidden"}));
    assert_eq!(ask(None, Some(secret.clone())).await, forbidden);
    assert_eq!(ask(Some("wrong"), None).await, forbidden);
    let unauthorized = (401, json!({"message": "Unauthorized"}));
    assert_eq!(ask(Some(key), None).await, unauthorized);
    assert_eq!(ask(Some(key), Some(format!("Basic {key}"))).await, unauthorized);
    assert_eq!(ask(Some(key), Some("Basic !!!".to_owned())).await, unauthorized);
    let other = world.other_entity();
    for _ in 0..20 {
        let (status, _) = ask(Some(&other.api_key), Some(other.secret.clone())).await;
        if status == 200 {
            assert_eq!(ask(Some(key), Some(other.secret.clone())).await, unauthorized);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("a new key was not in force within two seconds");
}

pub async fn all_wrong_fields_at_once(engine: Engine) {
    let world = World::new(engine).await;
    let body = json!({
        "amount": "1000.5", "currency": "JPY", "merchant_id": world.keys.merchant, "customer_ip": "1.2.3",
        "time_zone": "Tokyo", "merchant_txn_ref": "x".repeat(46),
        "card": {"number": "4111111111111112", "expiry_month": "13", "expiry_year": "30", "cvc": "12"},
        "billing_address": {"country": "Japan", "email": "a@example.jp", "phone_number": 81, "city": ""},
        "payment_method": {"store_payment_method": "yes"}, "unknown": {"ignored": true},
    });
    let (status, refused) = world.post("payment", &body).await;
    assert_eq!(status, 400);
    let errors: Vec<_> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| format!("{} {}", error["field"], error["code"]))
        .collect();
    insta::allow_duplicates! { insta::assert_snapshot!(errors.join("\n").replace('"', ""), @r"
    billing_address.country format
    billing_address.phone_number type
    billing_address.address1 missing
    billing_address.city too_short
    card.cvc format
    payment_method.store_payment_method type
    merchant_txn_ref too_long
    customer_ip format
    time_zone format
    amount decimals
    card.expiry_month range
    card.number luhn
    "); }
}

pub async fn a_card_fault_alone(engine: Engine) {
    let world = World::new(engine).await;
    let (status, refused) = world.post("payment", &world.card_charge("4111111111111112")).await;
    assert_eq!((status, refused["gateway_response"]["code"].as_str()), (406, Some("ERR1001")));
    insta::allow_duplicates! { insta::assert_snapshot!(stable(&refused), @r#"
    {
      "gateway_response": {
        "code": "ERR1001",
        "message": "Card number is not valid.",
        "type": "ERROR",
        "version": "1"
      },
      "is_live": false,
      "request_id": "<request id>",
      "status_code": 406,
      "success": false,
      "transaction_details": {
        "id": null,
        "merchant_txn_ref": null,
        "ref": null,
        "timestamp": null
      },
      "transaction_type": "CAPTURE"
    }
    "#); }
    let mut expired = world.card_charge("4111111111111111");
    expired["card"]["expiry_year"] = json!("20");
    let (status, refused) = world.post("payment", &expired).await;
    assert_eq!((status, refused["gateway_response"]["code"].as_str()), (406, Some("ERR1002")));
    let mut both = expired.clone();
    both["card"]["number"] = json!("4111111111111112");
    let (status, refused) = world.post("payment", &both).await;
    assert_eq!((status, refused["errors"].as_array().unwrap().len()), (400, 2));
}

pub async fn broken_bodies(engine: Engine) {
    let world = World::new(engine).await;
    let good = world.card_charge("4111111111111111").to_string();
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let mut cases = vec![
        (good[..good.len() / 2].to_owned(), 400),
        (String::new(), 400),
        ("null".to_owned(), 400),
        ("[]".to_owned(), 400),
        ("\"text\"".to_owned(), 400),
        (deep, 400),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(70_000)), 413),
        (" ".repeat(10_000_000), 413),
        (with("\"1000\"", "\"1000\",\"amount\":\"1\""), 400),
        (with("John Doe", "John\\u0000Doe"), 400),
        (with("John Doe", "\\ud800"), 400),
        (with("John Doe", &"名".repeat(256)), 400),
    ];
    for amount in [
        "1e3",
        "-0",
        "0",
        "-1",
        "0.1",
        "\"0.1\"",
        "99999999999",
        "1e999",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\" 1\"",
        "\"１０\"",
    ] {
        cases.push((with("\"1000\"", amount), 400));
    }
    for (body, expected) in cases {
        let request = world.authed(world.http.post(world.url("payment")), &world.keys);
        let (status, refused) = answer(
            request
                .header("content-type", "application/json")
                .body(body.clone())
                .timeout(std::time::Duration::from_secs(10)),
        )
        .await;
        let start: String = body.chars().take(300).collect();
        assert_eq!(status, expected, "{start} {refused}");
        assert_eq!(refused["success"], false);
        assert_eq!(refused["transaction_details"]["id"], Value::Null);
        assert!(refused["request_id"].is_string());
    }
    let request = world.authed(world.http.post(world.url("payment")), &world.keys);
    assert_eq!(answer(request.header("content-type", "text/plain").body(good.clone())).await.0, 415);
    let mut name = world.card_charge("4111111111111111");
    name["card"]["name"] = json!("名".repeat(255));
    assert_eq!(world.post("payment", &name).await.0, 201);
    // One at the start, the one just now: the others recorded nothing.
    let (_, last) = world.post("payment", &world.token_charge(&world.token)).await;
    assert_eq!(last["transaction_details"]["ref"], 3);
}

pub async fn answers_for_every_status(engine: Engine) {
    let world = World::new(engine).await;
    let base = &world.server.base;
    for (path, method, status, code) in [
        ("/nowhere", "GET", 404, "VAL0005"),
        ("/api/v1/server-to-server-interface/payment/", "POST", 404, "VAL0005"),
        ("/api/v1/server-to-server-interface/payment", "GET", 405, "VAL0006"),
        ("/api/v1/server-to-server-interface/tokens", "DELETE", 405, "VAL0006"),
    ] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let (found, refused) = answer(world.http.request(method, format!("{base}{path}"))).await;
        assert_eq!((found, refused["gateway_response"]["code"].as_str()), (status, Some(code)), "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(answer(world.http.get(format!("{base}{path}"))).await.0, 200);
    }
    let metrics = world.http.get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("fuda_transactions_total{kind=\"PRE_AUTH\",state=\"APPROVED\"} 1"), "{metrics}");
}

/// Another entity's token, transaction or merchant ID looks like one that does not exist.
pub async fn the_other_entity(engine: Engine) {
    let world = World::new(engine).await;
    let other = world.other_entity();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let (_, paid) = world.post("payment", &world.token_charge(&world.token)).await;
    let theirs = paid["transaction_details"]["id"].as_str().unwrap();
    let nobodys = "00000000-0000-4000-8000-000000000000";
    let ask = async |method: reqwest::Method, path: String, body: Option<Value>| {
        let mut request = world.authed(world.http.request(method, world.url(&path)), &other);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let (status, body) = answer(request).await;
        (status, stable(&body))
    };
    let get = || reqwest::Method::GET;
    let same = async |method: reqwest::Method, path: &str, body: Option<Value>, real: &str| {
        let one = ask(method.clone(), path.replace("ID", real), body.clone()).await;
        let two = ask(method, path.replace("ID", nobodys), body).await;
        assert_eq!(one, two, "{path}");
        one.0
    };
    assert_eq!(same(get(), "transaction/status/ID", None, theirs).await, 404);
    assert_eq!(same(get(), "tokens/ID", None, &world.token).await, 404);
    assert_eq!(same(reqwest::Method::DELETE, "tokens/ID", None, &world.token).await, 404);
    let change = json!({"card": {"name": "X"}});
    assert_eq!(same(reqwest::Method::PATCH, "tokens/ID", Some(change), &world.token).await, 404);
    let charge = |token: &str, merchant: &str| {
        let mut body = world.token_charge(token);
        body["merchant_id"] = json!(merchant);
        body
    };
    let one = world.post_as(&other, "payment", &charge(&world.token, &other.merchant)).await;
    let two = world.post_as(&other, "payment", &charge(nobodys, &other.merchant)).await;
    assert_eq!((one.0, stable(&one.1)), (404, stable(&two.1)));
    for merchant in [world.keys.merchant.as_str(), "JP99999999"] {
        let refused = world.post_as(&other, "payment", &charge(nobodys, merchant)).await;
        assert_eq!(refused, (403, json!({"message": "Forbidden"})));
    }
    let list = answer(world.authed(world.http.get(world.url("tokens")), &other)).await.1;
    assert_eq!(list["tokens"], json!([]));
}

/// Whatever stands in whichever field, the answer has one shape and is never a fault of ours.
pub async fn any_body_is_answered(engine: Engine) {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let world = World::new(engine).await;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,60}".prop_map(Value::from),
        "[0-9 -]{0,24}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_]{1,12}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    });
    let places = [
        "/amount",
        "/currency",
        "/merchant_id",
        "/card",
        "/card/number",
        "/card/expiry_month",
        "/card/expiry_year",
        "/card/cvc",
        "/card/name",
        "/billing_address",
        "/billing_address/country",
        "/billing_address/city",
        "/payment_method",
        "/customer_ip",
        "/time_zone",
        "/merchant_txn_ref",
        "/return_url",
        "/browser_info",
    ];
    // A fixed seed: a failure repeats.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for round in 0..300 {
        let place = places[round % places.len()];
        let wild = value.new_tree(&mut runner).unwrap().current();
        let mut body = world.card_charge("4111111111111111");
        for name in ["payment_method", "customer_ip", "time_zone", "merchant_txn_ref", "return_url", "browser_info"] {
            body[name] = Value::Null;
        }
        *body.pointer_mut(place).unwrap() = wild;
        let (status, refused) = world.post("payment", &body).await;
        assert!(status < 500, "{place}: {body} -> {refused}");
        if status != 403 {
            assert!(refused["success"].is_boolean() && refused["gateway_response"]["code"].is_string(), "{refused}");
        }
    }
}
