//! Wallets that are paid in their own page (contract section 8): GCash and PayPay, through a browser without scripts.

use crate::browser::{Browser, Page};
use crate::world::{Engine, World, address, stable};
use serde_json::{Value, json};

fn charge(world: &World, wallet: &str) -> Value {
    json!({
        "amount": "1000", "currency": "JPY", "merchant_id": world.keys.merchant,
        "payment_method": {"type": wallet}, "browser_info": {"language": "en"},
        "billing_address": address("billing@testemail.com"),
        "return_url": {"success_url": "https://shop.example/paid?order=7", "decline_url": "https://shop.example/failed"},
    })
}

async fn begun(world: &World, path: &str, body: &Value) -> (String, String) {
    let (status, redirect) = world.post(path, body).await;
    assert_eq!((status, &redirect["success"]), (200, &json!(true)), "{redirect}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&redirect["redirect_url"]), text(&redirect["transaction_details"]["id"]))
}

/// Opens the payment's page, and what it leads to by itself.
async fn at_the_wallet(browser: &Browser, url: &str) -> Page {
    let there = browser.open(url).await;
    assert_eq!(there.status, 303, "{}", there.text);
    browser.open(&there.location.unwrap()).await
}

/// Presses a button of the wallet's page; where the browser is after the payment's own page.
async fn decided(browser: &Browser, url: &str, decision: &str) -> String {
    let page = at_the_wallet(browser, url).await;
    let back = browser.press(&page.form(), &[("decision", decision)]).await;
    assert_eq!(back.status, 303, "{}", back.text);
    let shop = browser.open(&back.location.unwrap()).await;
    assert_eq!(shop.status, 303, "{}", shop.text);
    shop.location.unwrap()
}

async fn code(world: &World, id: &str) -> (Value, Value) {
    let found = world.get(&format!("transaction/status/{id}")).await.1;
    (found["transaction_details"]["state"].clone(), found["gateway_response"]["code"].clone())
}

pub async fn approved_in_the_wallet(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let (url, id) = begun(&world, "paymentv2", &charge(&world, "gcash")).await;
    let page = at_the_wallet(&browser, &url).await;
    assert!(page.text.contains("GCash") && page.text.contains("¥1,000"), "{}", page.text);
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("https://shop.example"));
    // Back without a word: nothing has happened, and the way is still open.
    let back = browser.open(&format!("{url}?back")).await;
    assert!(back.status == 200 && back.text.contains("GCash does not know yet"), "{}", back.text);
    assert_eq!(code(&world, &id).await.0, "PENDING");
    assert_eq!(
        decided(&browser, &url, "approve").await,
        format!("https://shop.example/paid?order=7&transaction_id={id}")
    );
    let found = world.get(&format!("transaction/status/{id}")).await.1;
    insta::assert_snapshot!(serde_json::to_string_pretty(&found["payment_details"]).unwrap().replace(found["payment_details"]["auth_code"].as_str().unwrap(), "<auth code>"), @r#"
    {
      "additional_data": {
        "payment_data_source": {
          "type": "gcash"
        }
      },
      "amount": 1000,
      "auth_code": "<auth code>",
      "card": null,
      "currency": "JPY",
      "payment_method": "GCASH-SSL",
      "responseDescription": "Payment Successful",
      "response_code": 0,
      "scheme": "GCASH"
    }
    "#);
    // What follows goes by the payment's own reference.
    assert_eq!(world.follow("refund", &id, Some("400")).await.0, 201);
    assert_eq!(world.balance(&id).await.2, json!(400));
    // PayPay holds as well.
    let (url, id) = begun(&world, "authorizationv2", &charge(&world, "paypay")).await;
    assert!(decided(&browser, &url, "approve").await.ends_with(&id));
    let (status, captured) = world.follow("capture", &id, Some("1000")).await;
    assert_eq!((status, &captured["payment_details"]["payment_method"]), (201, &json!("PAYPAY-SSL")));
    let report: Value = serde_json::from_str(&world.run(&["ledger", "verify", "--json"])).unwrap();
    assert_eq!(report["fault"], Value::Null, "{report}");
}

pub async fn not_approved(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let ended = |id: &str| format!("https://shop.example/failed?transaction_id={id}");
    let (url, id) = begun(&world, "paymentv2", &charge(&world, "paypay")).await;
    assert_eq!(decided(&browser, &url, "decline").await, ended(&id));
    assert_eq!(code(&world, &id).await, (json!("DECLINED"), json!("ERR1009")));
    // The first word counts.
    let (url, id) = begun(&world, "paymentv2", &charge(&world, "gcash")).await;
    let form = at_the_wallet(&browser, &url).await.form();
    for decision in ["decline", "approve"] {
        assert_eq!(browser.press(&form, &[("decision", decision)]).await.status, 303);
    }
    assert_eq!(browser.open(&url).await.location.unwrap(), ended(&id));
    // Neither yes nor no: given up on our own page, or when the time is over.
    let (url, id) = begun(&world, "paymentv2", &charge(&world, "gcash")).await;
    let back = browser.open(&format!("{url}?back")).await;
    assert_eq!(browser.press(&back.form(), &[]).await.location.unwrap(), ended(&id));
    assert_eq!(code(&world, &id).await.1, "ERR1009");
    let form = at_the_wallet_late(&browser, &back).await;
    assert_eq!(browser.press(&form, &[("decision", "approve")]).await.status, 303);
    assert_eq!(browser.open(&url).await.location.unwrap(), ended(&id), "too late");
    for decision in ["", "maybe", "承認"] {
        assert_eq!(browser.press(&form, &[("decision", decision)]).await.status, 404);
    }
    let (url, id) = begun(&world, "paymentv2", &charge(&world, "gcash")).await;
    world.sql("UPDATE jobs SET run_at = 1 WHERE kind = 5").await;
    for _ in 0..80 {
        if code(&world, &id).await.0 == "DECLINED" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(browser.open(&url).await.location.unwrap(), ended(&id));
}

/// The wallet's form by the link of our own page, which leads there again.
async fn at_the_wallet_late(browser: &Browser, back: &Page) -> crate::browser::Form {
    let link = back.text.split("id=\"continue\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    browser.open(link).await.form()
}

pub async fn a_stored_account(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let mut body = charge(&world, "gcash");
    body["payment_method"]["store_payment_method"] = json!(true);
    let (url, id) = begun(&world, "paymentv2", &body).await;
    assert!(at_the_wallet(&browser, &url).await.text.contains("may charge this account again"));
    decided(&browser, &url, "approve").await;
    let paid = world.get(&format!("transaction/status/{id}")).await.1;
    let token = paid["transaction_details"]["stored_payment_method_id"].as_str().unwrap().to_owned();
    let stored = world.get(&format!("tokens/{token}")).await.1;
    assert_eq!((&stored["token"]["scheme"], &stored["token"]["card"]), (&json!("GCASH"), &Value::Null), "{stored}");
    // Nobody is asked again, on any endpoint and by anyone.
    let mut again = world.token_charge(&token);
    for (path, initiator) in [("payment", "customer"), ("paymentv2", "customer"), ("payment", "merchant")] {
        again["payment_method"]["initiator"] = json!(initiator);
        let (status, answer) = world.post(path, &again).await;
        assert_eq!((status, &answer["success"]), (201, &json!(true)), "{answer}");
        assert_eq!(answer["payment_details"]["payment_method"], json!("GCASH-SSL"));
        assert_eq!(answer["transaction_details"]["stored_payment_method_id"], json!(token));
    }
    // Without the word there is no token.
    let (url, id) = begun(&world, "paymentv2", &charge(&world, "gcash")).await;
    decided(&browser, &url, "approve").await;
    let paid = world.get(&format!("transaction/status/{id}")).await.1;
    assert!(paid["transaction_details"].get("stored_payment_method_id").is_none());
    let delete = world.authed(world.http.delete(world.url(&format!("tokens/{token}"))), &world.keys);
    assert_eq!(delete.send().await.unwrap().status(), 200);
    again["payment_method"]["initiator"] = json!("customer");
    assert_eq!(world.post("payment", &again).await.1["gateway_response"]["code"], json!("ERR1003"));
}

pub async fn where_no_wallet_can_be(engine: Engine) {
    let world = World::new(engine).await;
    // On v1 the browser cannot be sent anywhere.
    let (status, refused) = world.post("payment", &charge(&world, "gcash")).await;
    insta::assert_snapshot!(format!("{status} {}", stable(&refused)), @r#"
    412 {
      "gateway_response": {
        "code": "ERR1015",
        "message": "This wallet is paid in its own page: send the payment to paymentv2 or authorizationv2.",
        "type": "ERROR",
        "version": "1"
      },
      "is_live": false,
      "request_id": "<request id>",
      "status_code": 412,
      "success": false,
      "transaction_details": {
        "id": null,
        "merchant_txn_ref": null,
        "ref": null,
        "timestamp": null
      },
      "transaction_type": "CAPTURE"
    }
    "#);
    let fields = async |change: &dyn Fn(&mut Value)| {
        let mut body = charge(&world, "gcash");
        change(&mut body);
        let (status, answer) = world.post("paymentv2", &body).await;
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        let named = |error: &Value| format!("{} {}", error["field"].as_str().unwrap(), error["code"].as_str().unwrap());
        (status, errors.iter().map(named).collect::<Vec<_>>())
    };
    let card = world.card_charge("4000000000001091")["card"].clone();
    assert_eq!(fields(&|body| body["card"] = card.clone()).await, (400, vec!["card two_sources".to_owned()]));
    let by_merchant = |body: &mut Value| body["payment_method"]["initiator"] = json!("merchant");
    assert_eq!(fields(&by_merchant).await, (400, vec!["payment_method.initiator needs_token".to_owned()]));
    let nowhere = |body: &mut Value| body["return_url"] = json!({});
    let missing = ["success_url", "decline_url"].map(|name| format!("return_url.{name} missing"));
    assert_eq!(fields(&nowhere).await, (400, missing.to_vec()));
    let browser = Browser::new();
    let nobodys = format!("{}/sandbox/wallet/00000000-0000-4000-8000-000000000000", world.server.base);
    for page in [browser.open(&nobodys).await, browser.send(&nobodys, &[("decision", "approve")]).await] {
        assert_eq!(page.status, 404);
    }
}
