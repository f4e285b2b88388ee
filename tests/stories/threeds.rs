//! 3-D Secure (contract section 5), through a browser without scripts: the way to the issuer and back, its ends, what is
//! kept, and what happens when somebody does not come back, comes twice, or after a crash.

use crate::browser::{Browser, Page};
use crate::world::{Engine, World, answer, stable};
use serde_json::{Value, json};
use std::time::Duration;

pub const CHALLENGED: &str = "4000002500003155";
const PASSES_THEN_DECLINED: &str = "4000008400001629";
const FRICTIONLESS: &str = "4000000000003220";

/// A v2 charge with what 3-D Secure needs.
pub fn charge(world: &World, number: &str) -> Value {
    let mut body = world.card_charge(number);
    with_urls(&mut body);
    body
}

fn with_urls(body: &mut Value) {
    body["return_url"] = json!({"success_url": "https://shop.example/paid?order=7&x=%E6%9C%AD#top",
        "decline_url": "https://shop.example/failed?order=7"});
    body["browser_info"] = json!({"acceptHeader": "text/html", "screenColorDepth": 24, "javaEnabled": false,
        "language": "en-US", "screenHeight": "844", "screenWidth": 390, "challengeWindow": "02", "userAgent": "Mozilla/5.0"});
}

/// Begins a charge that waits; the redirect's URL and the transaction's id.
async fn begun(world: &World, path: &str, body: &Value) -> (String, String) {
    let (status, redirect) = world.post(path, body).await;
    assert_eq!((status, &redirect["success"]), (200, &json!(true)), "{redirect}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&redirect["redirect_url"]), text(&redirect["transaction_details"]["id"]))
}

/// From the redirect's URL through the issuer with this code, up to the form that leads back.
async fn answered(browser: &Browser, url: &str, filled: &[(&str, &str)]) -> crate::browser::Form {
    let issuer = browser.press(&browser.open(url).await.form(), &[]).await;
    assert_eq!(issuer.status, 200, "{}", issuer.text);
    let back = browser.press(&issuer.form(), filled).await;
    assert!(back.text.contains("name=\"cres\""), "{}", back.text);
    back.form()
}

pub async fn through(browser: &Browser, url: &str, code: &str) -> Page {
    let form = answered(browser, url, &[("code", code)]).await;
    browser.press(&form, &[]).await
}

async fn state(world: &World, id: &str) -> (String, Value) {
    let found = world.get(&format!("transaction/status/{id}")).await.1;
    let code = found["gateway_response"]["code"].clone();
    (found["transaction_details"]["state"].as_str().unwrap().to_owned(), code)
}

fn to_shop(page: &Page) -> &str {
    assert_eq!(page.status, 303, "{}", page.text);
    page.location.as_deref().unwrap()
}

async fn events(world: &World, id: &str) -> Vec<String> {
    let feed = world.get("events").await.1;
    let bodies = feed["events"].as_array().unwrap().iter().map(|event| event["body"].as_str().unwrap());
    let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).unwrap());
    let ours = bodies.filter(|body| body["transaction_details"]["id"] == id);
    ours.map(|body| body["gateway_response"]["code"].as_str().unwrap().to_owned()).collect()
}

pub async fn a_challenge_passes(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let mut body = charge(&world, CHALLENGED);
    body["merchant_txn_ref"] = json!("注文-8");
    let ask = async || {
        let request = world.authed(world.http.post(world.url("paymentv2")), &world.keys).header("idempotency-key", "k");
        let response = request.json(&body).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotent-replayed");
        (response.status().as_u16(), replayed, response.text().await.unwrap())
    };
    let (status, replayed, text) = ask().await;
    let redirect: Value = serde_json::from_str(&text).unwrap();
    let url = redirect["redirect_url"].as_str().unwrap().to_owned();
    let details = &redirect["transaction_details"];
    let id = details["id"].as_str().unwrap().to_owned();
    assert_eq!((status, replayed), (200, false));
    assert_eq!(
        text,
        format!(
            "{{\"url\":\"{url}\",\"statusCode\":200,\"success\":true,\"redirect_url\":\"{url}\",\"transaction_details\":{{\
             \"id\":\"{id}\",\"ref\":{},\"timestamp\":{},\"merchant_txn_ref\":\"注文-8\"}}}}",
            details["ref"], details["timestamp"]
        )
    );
    assert!(url.starts_with(&format!("{}/checkout/", world.server.base)), "{url}");
    assert_eq!(ask().await, (200, true, text), "given again while it is pending");

    let found = world.get(&format!("transaction/status/{id}")).await.1;
    let pending = |path: &str| found.pointer(path).unwrap().clone();
    assert_eq!(
        [pending("/success"), pending("/payment_details/response_code"), pending("/transaction_details/state")],
        [json!(false), json!(578), json!("PENDING")]
    );
    assert_eq!(pending("/gateway_response/code"), "INFO1000");
    assert!(events(&world, &id).await.is_empty());

    let page = browser.open_in(&url, "ja").await;
    assert!(page.text.contains("Confirming that it is you"), "as the shop said of the browser: {}", page.text);
    let issuer = browser.press(&page.form(), &[]).await;
    assert!(issuer.text.contains("¥1,000") && issuer.text.contains("400000******3155"), "{}", issuer.text);
    for code in ["", "12345", "1234567", "12345a", "１２３４５６", "<b>"] {
        let again = browser.press(&issuer.form(), &[("code", code)]).await;
        assert!(again.text.contains("Enter the six digits"), "{code}: {}", again.text);
    }
    assert_eq!(state(&world, &id).await.0, "PENDING");
    let shop = through(&browser, &url, "123456").await;
    let wanted = format!("https://shop.example/paid?order=7&x=%E6%9C%AD&transaction_id={id}#top");
    assert_eq!(to_shop(&shop), wanted);
    assert_eq!(events(&world, &id).await, ["INFO0000"], "it stands before the browser leaves");

    // Opening it again goes straight to the result, and so does coming back again.
    assert_eq!(to_shop(&browser.open(&url).await), wanted);
    assert_eq!(to_shop(&browser.send(&url, &[("cres", "x")]).await), wanted);
    let (status, replayed, text) = ask().await;
    assert_eq!((status, replayed), (201, true));
    let last: Value = serde_json::from_str(&text).unwrap();
    is_as_documented(&last);
    assert!(last.get("redirect_url").is_none());
    assert_eq!(events(&world, &id).await, ["INFO0000"]);
    assert_eq!(attempts(&world, &id).await, "1");
}

fn is_as_documented(last: &Value) {
    insta::assert_snapshot!(without_ids(last), @r#"
    {
      "gateway_response": {
        "code": "INFO0000",
        "message": "Payment Successful.",
        "type": "INFO",
        "version": "1"
      },
      "is_live": false,
      "merchant_details": {
        "billing_details": {
          "billing_address": {
            "address1": "1-2-3 Shinjuku",
            "city": "Shinjuku-ku",
            "country": "JP",
            "email": "billing@testemail.com",
            "phone_number": "8112345678",
            "postal_code": "1600022",
            "state": "Tokyo"
          }
        },
        "device_details": {
          "customer_ip": null,
          "visited_ip": "127.0.0.1"
        },
        "legal_name": "札の店 (Fuda sandbox)",
        "merchant_txn_ref": "注文-8",
        "mid": "JP00000001"
      },
      "payment_details": {
        "additional_data": {
          "payment_data_source": {
            "type": "card"
          }
        },
        "amount": 1000,
        "auth_code": "<auth code>",
        "card": {
          "exp_month": "12",
          "exp_year": "40",
          "name": "John Doe",
          "number": "400000******3155"
        },
        "currency": "JPY",
        "payment_method": "VISA-SSL",
        "response_code": 0,
        "scheme": "VISA",
        "three_d_secure": {
          "ds_transaction_id": "<ds id>",
          "eci": "05",
          "liability_shift": true,
          "status": "Y",
          "version": "2.2.0"
        }
      },
      "risk-details": {
        "risk_score": null
      },
      "status_code": 201,
      "success": true,
      "transaction_details": {
        "id": "<id>",
        "merchant_txn_ref": "注文-8",
        "ref": "<ref>",
        "timestamp": "<timestamp>"
      },
      "transaction_type": "CAPTURE"
    }
    "#);
}

fn without_ids(answer: &Value) -> String {
    let mut answer = answer.clone();
    let id = &mut answer["payment_details"]["three_d_secure"]["ds_transaction_id"];
    if id.is_string() {
        *id = json!("<ds id>");
    }
    stable(&answer)
}

async fn attempts(world: &World, id: &str) -> String {
    let hex: String = id.chars().filter(|c| *c != '-').collect();
    let bytes = if world.database_url.is_some() { format!("'\\x{hex}'") } else { format!("x'{hex}'") };
    world.texts(&format!("SELECT COUNT(*) FROM attempts WHERE transaction_id = {bytes}")).await.remove(0)
}

pub async fn ends_of_a_challenge(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let declined = |id: &str| format!("https://shop.example/failed?order=7&transaction_id={id}");
    // The cardholder fails, or leaves by the issuer's button.
    for filled in [("code", "000000"), ("leave", "yes")] {
        let (url, id) = begun(&world, "paymentv2", &charge(&world, CHALLENGED)).await;
        let form = answered(&browser, &url, &[filled]).await;
        assert_eq!(to_shop(&browser.press(&form, &[]).await), declined(&id));
        assert_eq!(state(&world, &id).await, ("DECLINED".to_owned(), json!("ERR1009")));
        assert_eq!(
            (events(&world, &id).await, attempts(&world, &id).await),
            (vec!["ERR1009".to_owned()], "0".to_owned())
        );
        // What was answered stays answered.
        assert_eq!(to_shop(&browser.open(&url).await), declined(&id));
    }
    // The issuer confirms, the bank declines.
    let (url, id) = begun(&world, "paymentv2", &charge(&world, PASSES_THEN_DECLINED)).await;
    assert_eq!(to_shop(&through(&browser, &url, "123456").await), declined(&id));
    let found = world.get(&format!("transaction/status/{id}")).await.1;
    assert_eq!(found["payment_details"]["response_code"], json!(5));
    assert_eq!(found["payment_details"]["three_d_secure"]["status"], json!("Y"));
    // A hold is captured as any other.
    let (url, id) = begun(&world, "authorizationv2", &charge(&world, CHALLENGED)).await;
    assert!(to_shop(&through(&browser, &url, "123456").await).starts_with("https://shop.example/paid?"));
    assert_eq!(world.follow("capture", &id, Some("1000")).await.0, 201);
}

pub async fn without_a_challenge(engine: Engine) {
    let world = World::new(engine).await;
    let (status, paid) = world.post("paymentv2", &charge(&world, FRICTIONLESS)).await;
    assert_eq!((status, &paid["success"]), (201, &json!(true)), "{paid}");
    let proof = |answer: &Value| {
        let of = &answer["payment_details"]["three_d_secure"];
        (of["status"].clone(), of["eci"].clone(), of["liability_shift"].clone())
    };
    assert_eq!(proof(&paid), (json!("Y"), json!("05"), json!(true)));
    let (status, plain) = world.post("paymentv2", &charge(&world, "4000000000001091")).await;
    assert_eq!((status, plain["payment_details"].get("three_d_secure")), (201, None), "this card asks for nothing");
    // On v1 nobody can be asked.
    for (number, code) in [(CHALLENGED, json!(65)), (PASSES_THEN_DECLINED, json!(65)), (FRICTIONLESS, json!(0))] {
        let (status, answer) = world.post("payment", &charge(&world, number)).await;
        assert_eq!((status, &answer["payment_details"]["response_code"]), (201, &code), "{answer}");
        assert!(answer.get("redirect_url").is_none());
    }
    // Any card, any end, by the sandbox's header.
    let steered = async |word: &str| {
        let request = world.authed(world.http.post(world.url("paymentv2")), &world.keys);
        answer(request.header("fuda-sandbox-authentication", word).json(&charge(&world, "5200000000001005"))).await
    };
    for (word, code, told) in [
        ("frictionless", "INFO0000", (json!("Y"), json!("02"), json!(true))),
        ("attempted", "INFO0000", (json!("A"), json!("01"), json!(true))),
        ("denied", "ERR1009", (json!("N"), json!("00"), json!(false))),
        ("rejected", "ERR1009", (json!("R"), json!("00"), json!(false))),
        ("unavailable", "ERR1009", (json!("U"), json!("00"), json!(false))),
        ("silent", "ERR1009", (json!("U"), json!(null), json!(false))),
    ] {
        let (status, answer) = steered(word).await;
        assert_eq!((status, &answer["gateway_response"]["code"]), (201, &json!(code)), "{word}: {answer}");
        assert_eq!(proof(&answer), told, "{word}");
        let id = answer["transaction_details"]["id"].as_str().unwrap();
        assert_eq!(events(&world, id).await, [code]);
    }
    assert_eq!(steered("challenge").await.0, 200);
    let (status, wrong) = steered("maybe").await;
    assert_eq!((status, &wrong["errors"][0]["field"]), (400, &json!("Fuda-Sandbox-Authentication")));
    // What could not be performed is the merchant's to say.
    let set = |args: &[&str]| world.run(&[&["merchant", "three-ds", &world.keys.merchant], args].concat());
    set(&["--unavailable", "continue"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for word in ["unavailable", "silent"] {
        let (_, answer) = steered(word).await;
        assert_eq!(
            (&answer["gateway_response"]["code"], proof(&answer).2),
            (&json!("INFO0000"), json!(false)),
            "{word}"
        );
    }
}

pub async fn a_merchants_policy(engine: Engine) {
    let world = World::new(engine).await;
    let set = async |when: &str| {
        let said = world.run(&["merchant", "three-ds", &world.keys.merchant, "--when", when, "--json"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let asked = async |number: &str, amount: &str| {
        let mut body = charge(&world, number);
        body["amount"] = json!(amount);
        let (status, answer) = world.post("paymentv2", &body).await;
        (status, answer["payment_details"].get("three_d_secure").is_some())
    };
    assert_eq!(set("off").await, json!({"merchant_id": world.keys.merchant, "when": "off", "unavailable": "decline"}));
    assert_eq!(asked(FRICTIONLESS, "1000").await, (201, false));
    set("always").await;
    assert_eq!((asked("4000000000001091", "1").await, asked(CHALLENGED, "1").await.0), ((201, true), 200));
    set("above:JPY=10000").await;
    assert_eq!(asked("4000000000001091", "10000").await, (201, false));
    assert_eq!(asked("4000000000001091", "10001").await, (201, true));
    assert_eq!(asked(CHALLENGED, "9999").await.0, 200, "its issuer asks");
    let deeds = world.deeds("merchant.three-ds").await;
    assert_eq!(deeds.len(), 3);
    assert!(deeds[2].ends_with("above:JPY=10000; unavailable: decline"), "{deeds:?}");
    // The browser must have somewhere to go.
    set("when-asked").await;
    let (status, wrong) = world.post("paymentv2", &world.card_charge(CHALLENGED)).await;
    let fields: Vec<&str> = wrong["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (400, vec!["return_url.success_url", "return_url.decline_url"]));
}

pub async fn nobody_comes_back(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let (url, id) = begun(&world, "paymentv2", &charge(&world, CHALLENGED)).await;
    let (_, other) = begun(&world, "paymentv2", &charge(&world, CHALLENGED)).await;
    // The cardholder has confirmed, but the browser was closed: abandoned all the same.
    answered(&browser, &url, &[("code", "123456")]).await;
    world.sql("UPDATE jobs SET run_at = 1 WHERE kind = 5").await;
    for _ in 0..80 {
        if state(&world, &id).await.0 == "DECLINED" && state(&world, &other).await.0 == "DECLINED" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for id in [&id, &other] {
        assert_eq!(state(&world, id).await, ("DECLINED".to_owned(), json!("ERR1009")));
        assert_eq!(
            (events(&world, id).await, attempts(&world, id).await),
            (vec!["ERR1009".to_owned()], "0".to_owned())
        );
    }
    let declined = format!("https://shop.example/failed?order=7&transaction_id={id}");
    assert_eq!(to_shop(&browser.open(&url).await), declined);
    assert_eq!(world.texts("SELECT COUNT(*) FROM jobs WHERE kind = 5").await, ["0"]);
    assert_eq!(world.texts("SELECT COUNT(*) FROM transactions WHERE sealed IS NOT NULL AND state = 4").await, ["0"]);
}

pub async fn everybody_comes_back_at_once(engine: Engine) {
    let world = World::new(engine).await;
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    let browser = Browser::new();
    let (url, id) = begun(&world, "paymentv2", &charge(&world, CHALLENGED)).await;
    let form = answered(&browser, &url, &[("code", "123456")]).await;
    let there = second.as_ref().map(|second| url.replace(&world.server.base, &second.base)).unwrap_or(url.clone());
    let mut visits = tokio::task::JoinSet::new();
    for at in 0..40 {
        let (url, cres) = (if at % 2 == 0 { url.clone() } else { there.clone() }, form.fields["cres"].clone());
        visits.spawn(async move { Browser::new().send(&url, &[("cres", &cres)]).await });
    }
    let wanted = format!("https://shop.example/paid?order=7&x=%E6%9C%AD&transaction_id={id}#top");
    while let Some(page) = visits.join_next().await {
        let page = page.unwrap();
        match page.status {
            303 => assert_eq!(page.location.as_deref(), Some(wanted.as_str())),
            // Another one is on it: the page looks again by itself.
            _ => assert!(page.status == 200 && page.text.contains("http-equiv=\"refresh\""), "{}", page.text),
        }
    }
    assert_eq!(to_shop(&browser.open(&url).await), wanted);
    assert_eq!((attempts(&world, &id).await, events(&world, &id).await), ("1".to_owned(), vec!["INFO0000".to_owned()]));
    // An end and a return at once: one of them, whole.
    for _ in 0..10 {
        let (url, id) = begun(&world, "paymentv2", &charge(&world, CHALLENGED)).await;
        let form = answered(&browser, &url, &[("code", "123456")]).await;
        let (page, ()) =
            tokio::join!(browser.press(&form, &[]), world.sql("UPDATE jobs SET run_at = 1 WHERE kind = 5"),);
        assert_eq!(page.status, 303);
        let (state, code) = state(&world, &id).await;
        let fits = match state.as_str() {
            "APPROVED" => page.location.unwrap().contains("/paid?") && code == "INFO0000",
            _ => page.location.unwrap().contains("/failed?") && code == "ERR1009",
        };
        assert!(fits && events(&world, &id).await.len() == 1);
    }
}

pub async fn killed_on_the_way(engine: Engine) {
    let mut world = World::new(engine).await;
    let browser = Browser::new();
    // Before the return: another process goes on.
    let (url, id) = begun(&world, "paymentv2", &charge(&world, CHALLENGED)).await;
    let old = world.server.base.clone();
    world.server.kill();
    world.restart();
    let here = |url: &str| url.replace(&old, &world.server.base);
    let mut form = browser.open(&here(&url)).await.form();
    form.action = here(&form.action);
    let mut form = browser.press(&form, &[]).await.form();
    form.action = here(&form.action);
    let mut form = browser.press(&form, &[("code", "123456")]).await.form();
    form.action = here(&form.action);
    assert!(to_shop(&browser.press(&form, &[]).await).contains(&id));
    assert_eq!(state(&world, &id).await.0, "APPROVED");

    // While the bank is asked: it is reversed, the browser is told that nothing was paid.
    let request = world.authed(world.http.post(world.url("paymentv2")), &world.keys);
    let request = request.header("fuda-sandbox-fault", "timeout-after").header("idempotency-key", "k");
    let (status, redirect) = answer(request.json(&charge(&world, CHALLENGED))).await;
    assert_eq!(status, 200, "{redirect}");
    let (url, id) = (redirect["url"].as_str().unwrap(), redirect["transaction_details"]["id"].as_str().unwrap());
    let shop = through(&browser, url, "123456").await;
    assert_eq!(to_shop(&shop), format!("https://shop.example/failed?order=7&transaction_id={id}"));
    for _ in 0..80 {
        if state(&world, id).await.0 == "REVERSED" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(state(&world, id).await, ("REVERSED".to_owned(), json!("ERR1010")));
    let request = world.authed(world.http.post(world.url("paymentv2")), &world.keys);
    let request = request.header("fuda-sandbox-fault", "timeout-after").header("idempotency-key", "k");
    let (status, last) = answer(request.json(&charge(&world, CHALLENGED))).await;
    assert_eq!((status, &last["gateway_response"]["code"]), (504, &json!("ERR1010")), "{last}");
    // Nothing reached the bank: of what was told before, the end is seen.
    let (_, redirect) = world.faulty("paymentv2", "refused", None, &charge(&world, CHALLENGED)).await;
    let (url, id) = (redirect["url"].as_str().unwrap(), redirect["transaction_details"]["id"].as_str().unwrap());
    assert!(to_shop(&through(&browser, url, "123456").await).contains("/failed?"));
    assert_eq!(state(&world, id).await, ("DECLINED".to_owned(), json!("ERR1000")));
    let found = world.get(&format!("transaction/status/{id}")).await.1;
    assert_eq!(found["payment_details"]["response_code"], json!(91));
    assert_eq!(found["payment_details"]["three_d_secure"]["liability_shift"], json!(false), "nothing was paid");
    assert_eq!(events(&world, id).await, ["ERR1000"]);
}

pub async fn stored_cards(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let mut body = charge(&world, CHALLENGED);
    body["payment_method"] = json!({"type": "scheme", "store_payment_method": true});
    let (url, id) = begun(&world, "paymentv2", &body).await;
    assert!(to_shop(&through(&browser, &url, "123456").await).contains("/paid?"));
    let paid = world.get(&format!("transaction/status/{id}")).await.1;
    let token = paid["transaction_details"]["stored_payment_method_id"].as_str().unwrap().to_owned();
    // Made in an authenticated charge: good on v1, challenged on v2, free for the merchant.
    let mut charge_it = world.token_charge(&token);
    with_urls(&mut charge_it);
    assert_eq!(world.post("payment", &charge_it).await.1["success"], json!(true));
    let (url, again) = begun(&world, "paymentv2", &charge_it).await;
    assert!(to_shop(&through(&browser, &url, "123456").await).contains(&again));
    charge_it["payment_method"]["initiator"] = json!("merchant");
    assert_eq!(world.post("paymentv2", &charge_it).await.0, 201);
    // Stored without one: the issuer asks on v1, where it cannot.
    let mut store = json!({"merchant_id": world.keys.merchant, "card": body["card"]});
    store["card"]["name"] = json!("山田 花子");
    let (status, stored) = world.post("tokens", &store).await;
    assert_eq!(status, 201, "{stored}");
    let plain = stored["token"]["id"].as_str().unwrap().to_owned();
    let mut charge_it = world.token_charge(&plain);
    with_urls(&mut charge_it);
    let refused = world.post("payment", &charge_it).await.1;
    assert_eq!(refused["gateway_response"]["code"], json!("ERR1009"));
    // A delete that comes first wins.
    let (url, id) = begun(&world, "paymentv2", &charge_it).await;
    let form = answered(&browser, &url, &[("code", "123456")]).await;
    let delete = world.authed(world.http.delete(world.url(&format!("tokens/{plain}"))), &world.keys);
    assert_eq!(answer(delete).await.0, 200);
    assert!(to_shop(&browser.press(&form, &[]).await).contains("/failed?"));
    assert_eq!(state(&world, &id).await, ("DECLINED".to_owned(), json!("ERR1009")));
    assert_eq!(attempts(&world, &id).await, "0");
}

pub async fn strange_visitors(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let (url, id) = begun(&world, "paymentv2", &charge(&world, CHALLENGED)).await;
    let (base, token) = url.rsplit_once('/').unwrap();
    let mut forged = token.to_owned();
    forged.replace_range(25..26, if &token[25..26] == "A" { "B" } else { "A" });
    for wrong in ["x", "%00", "札", &forged, &token[..40], &format!("{token}A"), &id] {
        for page in
            [browser.open(&format!("{base}/{wrong}")).await, browser.send(&format!("{base}/{wrong}"), &[]).await]
        {
            assert_eq!(page.status, 404, "{wrong}");
            assert!(page.text.contains("<html lang=\"en\">") && !page.text.contains(&id));
        }
    }
    // The issuer's page knows its own challenges only, and what the cardholder brings back decides nothing.
    let issuer = format!("{}/sandbox/issuer", world.server.base);
    for creq in ["", "x", "e30", "eyJtZXNzYWdlVHlwZSI6IkNSZXEifQ"] {
        assert_eq!(browser.send(&issuer, &[("creq", creq), ("code", "123456")]).await.status, 404, "{creq}");
    }
    let page = browser.send(&url, &[("cres", "eyJ0cmFuc1N0YXR1cyI6IlkifQ")]).await;
    assert!(page.status == 200 && page.text.contains("name=\"creq\""), "still to be answered");
    assert_eq!(state(&world, &id).await.0, "PENDING");
    let headers = |page: &Page| {
        let of = |name: &str| page.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        (of("cache-control"), of("content-security-policy"), of("referrer-policy"), of("x-frame-options"))
    };
    let base = &world.server.base;
    assert_eq!(
        headers(&page),
        (
            "no-store".to_owned(),
            format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self' {base} https:; \
                 frame-ancestors 'none'; base-uri 'none'"
            ),
            "same-origin".to_owned(),
            "DENY".to_owned()
        )
    );
    // Other methods are nobody's.
    assert_eq!(world.http.get(&issuer).send().await.unwrap().status(), 405);
}

pub async fn in_the_cardholders_language(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    // As the shop says of the browser; else by where the bill goes; else as the browser says itself.
    for (language, country, ja) in
        [(Some("ja-JP"), "US", true), (Some("en"), "JP", false), (None, "JP", true), (None, "US", false)]
    {
        let mut body = charge(&world, CHALLENGED);
        body["browser_info"] = json!({"language": language.unwrap_or("")});
        body["billing_address"]["country"] = json!(country);
        let (url, _) = begun(&world, "paymentv2", &body).await;
        let page = browser.open(&url).await;
        let issuer = browser.press(&page.form(), &[]).await;
        let back = browser.press(&issuer.form(), &[("code", "12")]).await;
        let texts =
            [page.text.contains("ご本人確認"), issuer.text.contains("￥1,000"), back.text.contains("入力エラー")];
        assert_eq!(texts, [ja; 3], "{language:?} {country}: {}", back.text);
    }
}

pub async fn what_the_issuer_refuses_counts(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let rule = json!({"kind": "card_testing", "ip_declines": 3, "minutes": 10});
    assert_eq!(world.post("risk/rules", &rule).await.0, 201);
    let from = |number: &str, ip: &str| {
        let mut body = charge(&world, number);
        body["customer_ip"] = json!(ip);
        body
    };
    let steered = async |word: &str, ip: &str| {
        let request = world.authed(world.http.post(world.url("paymentv2")), &world.keys);
        let request = request.header("fuda-sandbox-authentication", word).json(&from("5200000000001005", ip));
        answer(request).await.0
    };
    // Refused without being asked, and after a challenge: each is a number that somebody tried.
    assert_eq!((steered("denied", "8.8.8.8").await, steered("rejected", "8.8.8.8").await), (201, 201));
    let (url, _) = begun(&world, "paymentv2", &from(CHALLENGED, "8.8.8.8")).await;
    assert!(to_shop(&through(&browser, &url, "000000").await).contains("/failed?"));
    assert_eq!(steered("frictionless", "8.8.8.8").await, 429);
    // A directory that cannot say counts against nobody, and who only leaves has tried nothing.
    for word in ["unavailable", "silent", "unavailable", "unavailable"] {
        assert_eq!(steered(word, "8.8.4.4").await, 201, "{word}");
    }
    for _ in 0..4 {
        let (_, id) = begun(&world, "paymentv2", &from(CHALLENGED, "8.8.4.4")).await;
        world.sql("UPDATE jobs SET run_at = 1 WHERE kind = 5").await;
        for _ in 0..80 {
            if state(&world, &id).await.0 == "DECLINED" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(steered("frictionless", "8.8.4.4").await, 201);
}
