//! Subscriptions: how one begins, what is shown of it, and what changes it. What happens later is in `renewals`.

use crate::browser::Browser;
use crate::threeds::through;
use crate::world::{Engine, Keys, World, answer};
use serde_json::{Value, json};

/// A subscription's request: a good card, a plan by the month for ever; `plan` overrides.
pub fn request(world: &World, number: &str, plan: &Value) -> Value {
    let mut body = world.card_charge(number);
    body["subscription"] = json!({"plan_name": "月額プラン", "plan_desc": "毎月お届け", "cycle_type": "MONTHLY",
        "cycle_interval": 1, "subscription_end_type": "FOREVER", "has_trial_period": false, "has_discount": false});
    for (name, value) in plan.as_object().unwrap() {
        body["subscription"][name] = value.clone();
    }
    body
}

async fn begun(world: &World, number: &str, plan: &Value) -> Value {
    let (status, begun) = world.post("subscription/payment", &request(world, number, plan)).await;
    assert_eq!(status, 201, "{begun}");
    assert_eq!(begun["success"], true, "{begun}");
    begun["subscription_details"].clone()
}

fn id(subscription: &Value) -> String {
    subscription["id"].as_str().unwrap().to_owned()
}

async fn post(world: &World, path: &str) -> (u16, Value) {
    answer(world.authed(world.http.post(world.url(path)), &world.keys)).await
}

async fn shown(world: &World, id: &str) -> Value {
    let (status, shown) = world.get(&format!("subscription/{id}")).await;
    assert_eq!(status, 200, "{shown}");
    shown["subscription_details"].clone()
}

/// An answer's text as it came, one member a line, with what differs each time taken out.
fn steady(text: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for letter in text.chars() {
        out.push(letter);
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth <= 1 => out.push('\n'),
            _ => {}
        }
    }
    let masks = ["id", "ref", "timestamp", "auth_code", "transaction_date", "next_payment_date"];
    masks.iter().fold(out, |text, name| masked(&text, name))
}

/// Each `"name":value` with the value taken out, unless it is null.
fn masked(text: &str, name: &str) -> String {
    let key = format!("\"{name}\":");
    let mut parts = text.split(key.as_str());
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}']).unwrap_or(part.len());
        let value = if &part[..end] == "null" { "null".to_owned() } else { format!("<{name}>") };
        out.push_str(&format!("{key}{value}{}", &part[end..]));
    }
    out
}

async fn text(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// So many days from now, in UTC.
fn day(days: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let then = jiff::Timestamp::from_second(i64::try_from(now).unwrap() + days * 86_400).unwrap();
    then.to_string()[..10].to_owned()
}

fn millis(date: &Value) -> i64 {
    date.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The exact answers of create, details and list.
pub async fn shapes(engine: Engine) {
    let world = World::new(engine).await;
    let plan = json!({"subscription_end_type": "CYCLE", "max_cycle_count": "12", "has_discount": true,
        "discount_percentage": 10, "discount_duration": 2, "trial_period_duration_type": "NONE", "trial_period_duration": ""});
    let mut body = request(&world, "4111111111111111", &plan);
    body["merchant_txn_ref"] = json!("order-1");
    let post = world.authed(world.http.post(world.url("subscription/payment")), &world.keys).json(&body);
    let (status, answered) = text(post).await;
    assert_eq!(status, 201);
    insta::assert_snapshot!(steady(&answered), @r#"
    {"success":true,
    "status_code":201,
    "is_live":false,
    "transaction_type":"CAPTURE",
    "gateway_response":{"version":"1","type":"INFO","message":"Payment Successful.","code":"INFO0000"},
    "merchant_details":{"legal_name":"札の店 (Fuda sandbox)","mid":"JP00000001","merchant_txn_ref":"order-1","billing_details":{"billing_address":{"country":"JP","email":"billing@testemail.com","phone_number":"8112345678","address1":"1-2-3 Shinjuku","city":"Shinjuku-ku","state":"Tokyo","postal_code":"1600022"}},"device_details":{"visited_ip":"127.0.0.1","customer_ip":null}},
    "payment_details":{"amount":900,"response_code":0,"auth_code":<auth_code>,"currency":"JPY","payment_method":"VISA-SSL","scheme":"VISA","card":{"name":"John Doe","number":"411111******1111","exp_month":"12","exp_year":"40"},"additional_data":{"payment_data_source":{"type":"card"}}},
    "transaction_details":{"id":<id>,"ref":<ref>,"timestamp":<timestamp>,"merchant_txn_ref":"order-1"},
    "subscription_details":{"id":<id>,"type":"CYCLE","max_cycle_count":12,"status":"ACTIVE","completed_payment_cycle":1,"last_payment_status":"SUCCESSFUL","next_payment_date":<next_payment_date>,"next_payment_cycle":2,"subscription_plan_details":{"name":"月額プラン","desc":"毎月お届け","billing_cycle_type":"MONTHLY","billing_cycle_interval":1,"amount":1000,"ccy":"JPY","trial_period_duration":"","trial_period_duration_type":"NONE","plan_discount_percentage":10,"plan_discount_duration":2},"subscription_transaction_details":[{"id":<id>,"ref":<ref>,"cycle":1,"status":"SUCCESSFUL","transaction_date":<transaction_date>,"amount":900,"ccy":"JPY","event":"CAPTURED"}]},
    "risk-details":{"risk_score":null}}
    "#);
    let begun: Value = serde_json::from_str(&answered).unwrap();
    let first = &begun["subscription_details"]["subscription_transaction_details"][0];
    assert_eq!(
        (&first["id"], &first["ref"]),
        (&begun["transaction_details"]["id"], &begun["transaction_details"]["ref"])
    );
    let id = id(&begun["subscription_details"]);
    let get = |path: &str| text(world.authed(world.http.get(world.url(path)), &world.keys));
    let (status, answered) = get(&format!("subscription/{id}")).await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(steady(&answered), @r#"
    {"success":true,
    "status_code":200,
    "is_live":false,
    "subscription_details":{"id":<id>,"type":"CYCLE","max_cycle_count":12,"status":"ACTIVE","completed_payment_cycle":1,"last_payment_status":"SUCCESSFUL","next_payment_date":<next_payment_date>,"next_payment_cycle":2,"subscription_plan_details":{"name":"月額プラン","desc":"毎月お届け","billing_cycle_type":"MONTHLY","billing_cycle_interval":1,"amount":1000,"ccy":"JPY","trial_period_duration":"","trial_period_duration_type":"NONE","plan_discount_percentage":10,"plan_discount_duration":2},"subscription_transaction_details":[{"id":<id>,"ref":<ref>,"cycle":1,"status":"SUCCESSFUL","transaction_date":<transaction_date>,"amount":900,"ccy":"JPY","event":"CAPTURED"}]}}
    "#);
    assert_eq!(shown(&world, &id).await, begun["subscription_details"]);
    let (status, answered) = get("subscription/list").await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(steady(&answered), @r#"
    {"success":true,
    "status_code":200,
    "is_live":false,
    "subscription_details":[{"id":<id>,"type":"CYCLE","max_cycle_count":12,"status":"ACTIVE","completed_payment_cycle":1,"next_payment_date":<next_payment_date>,"next_payment_cycle":2,"subscription_plan_details":{"name":"月額プラン","desc":"毎月お届け","billing_cycle_type":"MONTHLY","billing_cycle_interval":1,"amount":1000,"ccy":"JPY","trial_period_duration":"","trial_period_duration_type":"NONE","plan_discount_percentage":10,"plan_discount_duration":2},"subscription_transaction_details":[{"id":<id>,"ref":<ref>,"cycle":1,"status":"SUCCESSFUL","transaction_date":<transaction_date>,"amount":900,"ccy":"JPY","event":"CAPTURED"}]}]}
    "#);
    // Days by two: the date is two days on, to the millisecond.
    let begun = self::begun(&world, "4111111111111111", &json!({"cycle_type": "DAYS", "cycle_interval": "2"})).await;
    let charge = &begun["subscription_transaction_details"][0];
    assert_eq!(millis(&begun["next_payment_date"]) - millis(&charge["transaction_date"]), 2 * 86_400_000);
}

/// The exact answers of pause, resume and cancel, and what is refused in which state.
pub async fn changes(engine: Engine) {
    let world = World::new(engine).await;
    let id = id(&begun(&world, "4111111111111111", &json!({})).await);
    let call = |word: &str| world.authed(world.http.post(world.url(&format!("subscription/{id}/{word}"))), &world.keys);
    let (status, paused) = text(call("pause")).await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(steady(&paused), @r#"
    {"success":true,
    "status_code":200,
    "is_live":false,
    "gateway_response":{"version":"1","type":"INFO","message":"Subscription Updated.","code":"INFO3000"},
    "subscription_details":{"id":<id>,"type":"FOREVER","max_cycle_count":null,"status":"PAUSED","completed_payment_cycle":1,"last_payment_status":"SUCCESSFUL","next_payment_date":<next_payment_date>,"next_payment_cycle":2,"subscription_plan_details":{"name":"月額プラン","desc":"毎月お届け","billing_cycle_type":"MONTHLY","billing_cycle_interval":1,"amount":1000,"ccy":"JPY","trial_period_duration":"","trial_period_duration_type":"NONE","plan_discount_percentage":null,"plan_discount_duration":null},"subscription_transaction_details":[{"id":<id>,"ref":<ref>,"cycle":1,"status":"SUCCESSFUL","transaction_date":<transaction_date>,"amount":1000,"ccy":"JPY","event":"CAPTURED"}]}}
    "#);
    let refused = |(status, answer): (u16, Value)| {
        assert_eq!((status, &answer["gateway_response"]["code"]), (412, &json!("ERR1005")), "{answer}");
        assert_eq!(answer["transaction_details"]["id"], Value::Null);
    };
    refused(answer(call("pause")).await);
    let (status, resumed) = text(call("resume")).await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(steady(&resumed), @r#"
    {"success":true,
    "status_code":200,
    "is_live":false,
    "gateway_response":{"version":"1","type":"INFO","message":"Subscription Updated.","code":"INFO3000"},
    "subscription_details":{"id":<id>,"type":"FOREVER","max_cycle_count":null,"status":"ACTIVE","completed_payment_cycle":1,"last_payment_status":"SUCCESSFUL","next_payment_date":<next_payment_date>,"next_payment_cycle":2,"subscription_plan_details":{"name":"月額プラン","desc":"毎月お届け","billing_cycle_type":"MONTHLY","billing_cycle_interval":1,"amount":1000,"ccy":"JPY","trial_period_duration":"","trial_period_duration_type":"NONE","plan_discount_percentage":null,"plan_discount_duration":null},"subscription_transaction_details":[{"id":<id>,"ref":<ref>,"cycle":1,"status":"SUCCESSFUL","transaction_date":<transaction_date>,"amount":1000,"ccy":"JPY","event":"CAPTURED"}]}}
    "#);
    let date = |text: &str| text.split("\"next_payment_date\":").nth(1).unwrap()[..26].to_owned();
    assert_eq!(date(&resumed), date(&paused));
    refused(answer(call("resume")).await);
    // Paused it can be cancelled too.
    assert_eq!(answer(call("pause")).await.0, 200);
    let (status, cancelled) = text(call("cancel")).await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(steady(&cancelled), @r#"
    {"success":true,
    "status_code":200,
    "is_live":false,
    "gateway_response":{"version":"1","type":"INFO","message":"Subscription Updated.","code":"INFO3000"},
    "subscription_details":{"id":<id>,"type":"FOREVER","max_cycle_count":null,"status":"CANCELLED","completed_payment_cycle":1,"last_payment_status":"SUCCESSFUL","next_payment_date":null,"next_payment_cycle":null,"subscription_plan_details":{"name":"月額プラン","desc":"毎月お届け","billing_cycle_type":"MONTHLY","billing_cycle_interval":1,"amount":1000,"ccy":"JPY","trial_period_duration":"","trial_period_duration_type":"NONE","plan_discount_percentage":null,"plan_discount_duration":null},"subscription_transaction_details":[{"id":<id>,"ref":<ref>,"cycle":1,"status":"SUCCESSFUL","transaction_date":<transaction_date>,"amount":1000,"ccy":"JPY","event":"CAPTURED"}]}}
    "#);
    for word in ["pause", "resume", "cancel"] {
        refused(answer(call(word)).await);
    }
    let card = json!({"card": world.card_charge("4111111111111111")["card"]});
    refused(answer(call("payment-method").json(&card)).await);
    let cancelled: Value = serde_json::from_str(&cancelled).unwrap();
    assert_eq!(shown(&world, &id).await, cancelled["subscription_details"]);
    // A body is none of these calls' business.
    let id = self::id(&begun(&world, "4111111111111111", &json!({})).await);
    let (status, _) = world.post(&format!("subscription/{id}/pause"), &json!({"anything": ["at", "all"]})).await;
    assert_eq!(status, 200);
}

/// A key's repeat gets the first answer; the key of another call is another's.
pub async fn keys_of_changes(engine: Engine) {
    let world = World::new(engine).await;
    let body = request(&world, "4111111111111111", &json!({}));
    let keyed = async |path: &str, key: &str, body: Option<&Value>| {
        let request = world.authed(world.http.post(world.url(path)), &world.keys).header("idempotency-key", key);
        answer(if let Some(body) = body { request.json(body) } else { request }).await
    };
    let (status, first) = keyed("subscription/payment", "begin", Some(&body)).await;
    assert_eq!(status, 201);
    assert_eq!(keyed("subscription/payment", "begin", Some(&body)).await, (201, first.clone()));
    let (_, list) = world.get("subscription/list").await;
    assert_eq!(list["subscription_details"].as_array().unwrap().len(), 1);
    let mut other = body.clone();
    other["subscription"]["plan_name"] = json!("another");
    assert_eq!(keyed("subscription/payment", "begin", Some(&other)).await.1["gateway_response"]["code"], "ERR1007");
    let id = id(&first["subscription_details"]);
    let pause = format!("subscription/{id}/pause");
    let (status, paused) = keyed(&pause, "pause", None).await;
    assert_eq!(status, 200);
    assert_eq!(post(&world, &format!("subscription/{id}/resume")).await.0, 200);
    assert_eq!(keyed(&pause, "pause", None).await, (200, paused), "the first answer, though it is active again");
    assert_eq!(shown(&world, &id).await["status"], "ACTIVE");
    let cancel = keyed(&format!("subscription/{id}/cancel"), "pause", None).await;
    assert_eq!(cancel.1["gateway_response"]["code"], "ERR1007");
    // Twenty at once with one key: one pause.
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let request = world.authed(world.http.post(world.url(&pause)), &world.keys).header("idempotency-key", "again");
        running.spawn(answer(request));
    }
    let all = running.join_all().await;
    assert!(
        all.iter().all(|(status, answer)| *status == 200 || answer["gateway_response"]["code"] == "ERR1008"),
        "{all:?}"
    );
    assert!(all.iter().any(|(status, _)| *status == 200), "{all:?}");
    let paused = "SELECT number FROM events WHERE subscription_id IS NOT NULL AND subscription_status = 2";
    assert_eq!(world.texts(paused).await.len(), 2, "once by each key");
    let card = json!({"card": world.card_charge("5200000000001005")["card"]});
    let path = format!("subscription/{id}/payment-method");
    let changed = keyed(&path, "card", Some(&card)).await;
    assert_eq!(changed.0, 200);
    assert_eq!(keyed(&path, "card", Some(&card)).await, changed);
}

fn errors(answer: &Value) -> Vec<String> {
    let line = |error: &Value| format!("{} {}", error["field"].as_str().unwrap(), error["code"].as_str().unwrap());
    answer["errors"].as_array().unwrap_or(&Vec::new()).iter().map(line).collect()
}

/// Each field that is wrong is named, all at once.
pub async fn mistakes(engine: Engine) {
    let world = World::new(engine).await;
    let wrong = async |plan: Value| {
        let (status, answer) = world.post("subscription/payment", &request(&world, "4111111111111111", &plan)).await;
        assert_eq!(status, 400, "{answer}");
        errors(&answer)
    };
    let long = "長".repeat(129);
    let all = wrong(json!({"plan_name": long, "plan_desc": "5200 0000\u{2009}0000\u{200b}1005", "cycle_type": "HOURLY", "cycle_interval": 366,
        "subscription_end_type": "CYCLE", "max_cycle_count": 0, "has_trial_period": true, "trial_period_duration_type": "YEARLY",
        "trial_period_duration": "1.5", "has_discount": true, "discount_percentage": 101, "discount_duration": -1}))
    .await;
    insta::assert_snapshot!(all.join("\n"), @r"
    subscription.plan_name too_long
    subscription.cycle_type unknown
    subscription.cycle_interval range
    subscription.max_cycle_count range
    subscription.trial_period_duration_type unknown
    subscription.trial_period_duration range
    subscription.discount_percentage range
    subscription.discount_duration range
    subscription.plan_desc contains_card_number
    ");
    assert_eq!(wrong(json!({"cycle_interval": "0"})).await, ["subscription.cycle_interval range"]);
    assert_eq!(wrong(json!({"cycle_interval": [1]})).await, ["subscription.cycle_interval type"]);
    assert_eq!(wrong(json!({"subscription_end_type": "CYCLE"})).await, ["subscription.max_cycle_count missing"]);
    assert_eq!(
        wrong(json!({"subscription_end_type": "CYCLE", "max_cycle_count": 10_000})).await,
        ["subscription.max_cycle_count range"]
    );
    assert_eq!(wrong(json!({"subscription_end_type": "DATE"})).await, ["subscription.end_date missing"]);
    assert_eq!(
        wrong(json!({"subscription_end_type": "DATE", "end_date": "2027-02-30"})).await,
        ["subscription.end_date format"]
    );
    assert_eq!(
        wrong(json!({"subscription_end_type": "DATE", "end_date": "明日"})).await,
        ["subscription.end_date format"]
    );
    assert_eq!(wrong(json!({"has_trial_period": "yes"})).await, ["subscription.has_trial_period type"]);
    let over = json!({"subscription_end_type": "DATE", "end_date": day(-1)});
    assert_eq!(wrong(over).await, ["subscription range"], "it has ended before it begins");
    let short = json!({"subscription_end_type": "DATE", "end_date": day(3), "has_trial_period": true,
        "trial_period_duration_type": "WEEKLY", "trial_period_duration": 365});
    assert_eq!(wrong(short).await, ["subscription range"], "it would end before its first cycle");
    let for_ever = json!({"cycle_type": "YEARLY", "cycle_interval": 365, "has_trial_period": true,
        "trial_period_duration_type": "MONTHLY", "trial_period_duration": 365});
    assert_eq!(
        begun(&world, "4111111111111111", &for_ever).await["status"],
        "ACTIVE",
        "its calendar's end is far away"
    );
    let list = world.get("subscription/list").await.1;
    assert_eq!(list["subscription_details"].as_array().unwrap().len(), 1);
}

/// A plan that is none, sources that do not fit, and lists that cannot be.
pub async fn no_plan_and_no_page(engine: Engine) {
    let world = World::new(engine).await;
    for plan in [Value::Null, json!([]), json!("monthly"), json!({})] {
        let mut body = request(&world, "4111111111111111", &json!({}));
        body["subscription"] = plan;
        let (status, answer) = world.post("subscription/payment", &body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(errors(&answer)[0].starts_with("subscription"), "{answer}");
    }
    let mut body = request(&world, "4111111111111111", &json!({}));
    body["payment_method"] = json!({"initiator": "merchant"});
    assert_eq!(errors(&world.post("subscription/payment", &body).await.1), ["payment_method.initiator needs_token"]);
    for (query, line) in [
        ("status=RUNNING", "status unknown"),
        ("limit=0", "limit range"),
        ("limit=101", "limit range"),
        ("cursor=7", "cursor unknown"),
        ("cursor=01936270-b1e8-7d12-9c0a-2b4d6f8a0c1e", "cursor unknown"),
    ] {
        let (status, answer) = world.get(&format!("subscription/list?{query}")).await;
        assert_eq!((status, errors(&answer)), (400, vec![line.to_owned()]), "{query}");
    }
}

/// What is declined, refused or unknown begins nothing.
pub async fn nothing_begins(engine: Engine) {
    let world = World::new(engine).await;
    for (number, status, code) in [
        ("4000000000000002", 201, "ERR1000"),
        ("4000000000000259", 504, "ERR1010"),
        ("4000000000006975", 502, "ERR1011"),
    ] {
        let (got, answer) = world.post("subscription/payment", &request(&world, number, &json!({}))).await;
        assert_eq!((got, &answer["gateway_response"]["code"]), (status, &json!(code)));
        assert!(answer.get("subscription_details").is_none(), "{answer}");
        let trial = json!({"has_trial_period": true, "trial_period_duration_type": "DAYS", "trial_period_duration": 7});
        let (got, answer) = world.post("subscription/payment", &request(&world, number, &trial)).await;
        assert_eq!((got, &answer["success"]), (status, &json!(false)), "{answer}");
    }
    let list = world.get("subscription/list").await.1;
    assert_eq!(list["subscription_details"], json!([]));
    for _ in 0..100 {
        if world.texts("SELECT number FROM subscriptions").await.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(world.texts("SELECT number FROM subscriptions").await.is_empty(), "no row stays");
    assert!(world.texts("SELECT cycle FROM subscription_charges").await.is_empty());
    assert_eq!(world.texts("SELECT number FROM tokens").await.len(), 1, "the greeting's token alone");
}

/// A trial charges nothing and verifies the card; a discount of 100 percent likewise; one cycle is over at once.
pub async fn first_cycles(engine: Engine) {
    let world = World::new(engine).await;
    let plan = json!({"has_trial_period": true, "trial_period_duration_type": "MONTHLY", "trial_period_duration": 1,
        "has_discount": true, "discount_percentage": 50, "discount_duration": 1});
    let (_, trial) = world.post("subscription/payment", &request(&world, "4111111111111111", &plan)).await;
    assert_eq!((&trial["payment_details"]["amount"], &trial["transaction_type"]), (&json!(0), &json!("PRE_AUTH")));
    let details = &trial["subscription_details"];
    assert_eq!((&details["completed_payment_cycle"], &details["next_payment_cycle"]), (&json!(0), &json!(1)));
    assert_eq!(
        (&details["last_payment_status"], &details["subscription_transaction_details"]),
        (&Value::Null, &json!([]))
    );
    let plan = &details["subscription_plan_details"];
    assert_eq!((&plan["trial_period_duration"], &plan["trial_period_duration_type"]), (&json!(1), &json!("MONTHLY")));
    let whole = json!({"has_discount": true, "discount_percentage": 100, "discount_duration": 1});
    let (_, free) = world.post("subscription/payment", &request(&world, "4111111111111111", &whole)).await;
    assert_eq!((&free["payment_details"]["amount"], &free["transaction_type"]), (&json!(0), &json!("PRE_AUTH")));
    assert_eq!(free["subscription_details"]["completed_payment_cycle"], 1);
    let once = json!({"subscription_end_type": "CYCLE", "max_cycle_count": 1});
    let over = begun(&world, "4111111111111111", &once).await;
    assert_eq!(
        (&over["status"], &over["next_payment_date"], &over["next_payment_cycle"]),
        (&json!("EXPIRED"), &Value::Null, &Value::Null)
    );
    let date = json!({"subscription_end_type": "DATE", "end_date": day(3)});
    assert_eq!(begun(&world, "4111111111111111", &date).await["status"], "EXPIRED");
    assert_eq!(
        world.texts("SELECT number FROM tokens WHERE owner IS NOT NULL").await.len(),
        2,
        "what has ended keeps no card"
    );
}

/// A card that was not to be stored belongs to the subscription alone, and goes with it.
pub async fn a_card_of_its_own(engine: Engine) {
    let world = World::new(engine).await;
    let (_, hidden) = world.post("subscription/payment", &request(&world, "4111111111111111", &json!({}))).await;
    assert!(hidden["transaction_details"].get("stored_payment_method_id").is_none(), "{hidden}");
    let mut body = request(&world, "378282246310005", &json!({}));
    body["payment_method"] = json!({"type": "scheme", "store_payment_method": true});
    let (_, open) = world.post("subscription/payment", &body).await;
    let open_token = open["transaction_details"]["stored_payment_method_id"].as_str().unwrap().to_owned();
    let list = world.get("tokens").await.1;
    let listed: Vec<&str> = list["tokens"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [open_token.as_str(), world.token.as_str()]);
    // By its id, which nobody was told, it is nobody's.
    let owned = world.texts(if engine == Engine::Sqlite {
        "SELECT hex(id) FROM tokens WHERE owner IS NOT NULL"
    } else {
        "SELECT encode(id, 'hex') FROM tokens WHERE owner IS NOT NULL"
    });
    let owned = uuid::Uuid::try_parse(&owned.await[0]).unwrap().to_string();
    assert_eq!(world.get(&format!("tokens/{owned}")).await.0, 404);
    assert_eq!(world.post("payment", &world.token_charge(&owned)).await.1["gateway_response"]["code"], "ERR1003");
    let mut body = request(&world, "4111111111111111", &json!({}));
    body.as_object_mut().unwrap().remove("card");
    body["payment_method"] = json!({"stored_payment_method_id": owned});
    assert_eq!(world.post("subscription/payment", &body).await.1["gateway_response"]["code"], "ERR1003");
    let delete = answer(world.authed(world.http.delete(world.url(&format!("tokens/{owned}"))), &world.keys)).await;
    assert_eq!(delete.1["gateway_response"]["code"], "ERR1003");
    let status =
        world.get(&format!("transaction/status/{}", hidden["transaction_details"]["id"].as_str().unwrap())).await.1;
    assert!(status["transaction_details"].get("stored_payment_method_id").is_none(), "{status}");
    // Another card of its own takes its place; a stored one does too; then the end.
    let rows = async || world.texts("SELECT number FROM tokens WHERE owner IS NOT NULL").await.len();
    let path = format!("subscription/{}/payment-method", id(&hidden["subscription_details"]));
    let card = json!({"card": world.card_charge("3530111333300000")["card"]});
    assert_eq!(world.post(&path, &card).await.0, 200);
    assert_eq!(rows().await, 1);
    let declined = json!({"card": world.card_charge("4000000000009995")["card"]});
    let (status, answer) = world.post(&path, &declined).await;
    assert_eq!((status, &answer["gateway_response"]["code"]), (201, &json!("ERR1000")), "the old one stays: {answer}");
    assert_eq!(rows().await, 1);
    assert_eq!(world.post(&path, &json!({"payment_method": {"stored_payment_method_id": open_token}})).await.0, 200);
    assert_eq!(rows().await, 0);
    assert_eq!(world.post(&path, &card).await.0, 200);
    assert_eq!(rows().await, 1);
    post(&world, &format!("subscription/{}/cancel", id(&hidden["subscription_details"]))).await;
    assert_eq!(rows().await, 0);
    assert_eq!(world.get(&format!("tokens/{open_token}")).await.0, 200);
}

/// A stored card in use is not deleted by the way.
pub async fn a_token_in_use(engine: Engine) {
    let world = World::new(engine).await;
    let mut body = request(&world, "4111111111111111", &json!({}));
    body.as_object_mut().unwrap().remove("card");
    body["payment_method"] = json!({"stored_payment_method_id": world.token});
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (_, begun) = world.post("subscription/payment", &body).await;
        assert_eq!(begun["transaction_details"]["stored_payment_method_id"], world.token.as_str());
        ids.push(id(&begun["subscription_details"]));
    }
    let delete = async |query: &str| {
        answer(world.authed(world.http.delete(world.url(&format!("tokens/{}{query}", world.token))), &world.keys)).await
    };
    let (status, refused) = delete("").await;
    assert_eq!((status, &refused["gateway_response"]["code"]), (412, &json!("ERR1005")));
    let message = refused["gateway_response"]["message"].as_str().unwrap();
    assert!(ids.iter().all(|id| message.contains(id.as_str())), "{message}");
    assert_eq!(delete("?cancel_subscriptions=perhaps").await.0, 400);
    assert_eq!(delete("?cancel_subscriptions=false").await.0, 412);
    // One of them is over: the other still holds it.
    post(&world, &format!("subscription/{}/cancel", ids[0])).await;
    let (_, refused) = delete("").await;
    assert!(!refused["gateway_response"]["message"].as_str().unwrap().contains(&ids[0]), "{refused}");
    post(&world, &format!("subscription/{}/pause", ids[1])).await;
    let (status, deleted) = delete("?cancel_subscriptions=true").await;
    assert_eq!((status, &deleted["token"]["status"]), (200, &json!("DELETED")));
    assert_eq!(shown(&world, &ids[1]).await["status"], "CANCELLED");
    assert_eq!(world.post("subscription/payment", &body).await.1["gateway_response"]["code"], "ERR1003");
}

/// Subscriptions that begin race a delete of their card: whoever begins has its card, whoever comes late has none.
pub async fn a_delete_races(engine: Engine) {
    let world = World::new(engine).await;
    for round in 0..10 {
        let (_, stored) = world
            .post(
                "tokens",
                &json!({"merchant_id": world.keys.merchant, "card": world.card_charge("4111111111111111")["card"]}),
            )
            .await;
        let token = stored["token"]["id"].as_str().unwrap().to_owned();
        let mut body = request(&world, "4111111111111111", &json!({}));
        body.as_object_mut().unwrap().remove("card");
        body["payment_method"] = json!({"stored_payment_method_id": token});
        let begin = async || world.post("subscription/payment", &body).await;
        let query = if round % 2 == 0 { "" } else { "?cancel_subscriptions=true" };
        let url = world.url(&format!("tokens/{token}{query}"));
        let delete = async || answer(world.authed(world.http.delete(&url), &world.keys)).await;
        let (one, two, gone, three) = tokio::join!(begin(), begin(), delete(), begin());
        let there = world.get(&format!("tokens/{token}")).await.0 == 200;
        assert_eq!(there, gone.0 != 200, "{gone:?}");
        for (status, begun) in [one, two, three] {
            let code = begun["gateway_response"]["code"].as_str().unwrap();
            assert!(status == 201 && code == "INFO0000" || status == 404 && code == "ERR1003", "{begun}");
            if status == 201 {
                let state = shown(&world, &id(&begun["subscription_details"])).await["status"].clone();
                assert!(there && state == "ACTIVE" || !there && state == "CANCELLED", "{there} {state}");
            }
        }
    }
}

/// A challenge comes first where the card asks for one: the subscription begins with its approval, then.
pub async fn authenticated(engine: Engine) {
    let world = World::new(engine).await;
    let mut body = request(&world, "4000002500003155", &json!({}));
    body["return_url"] =
        json!({"success_url": "https://shop.example.jp/ok?cart=7", "decline_url": "https://shop.example.jp/no"});
    for code in ["123456", "000000"] {
        let (status, redirect) = world.post("subscription/payment", &body).await;
        assert_eq!(status, 200, "{redirect}");
        assert!(redirect.get("subscription_details").is_none());
        let before = world.get("subscription/list").await.1["subscription_details"].as_array().unwrap().len();
        let back = through(&Browser::new(), redirect["redirect_url"].as_str().unwrap(), code).await.location.unwrap();
        let list = world.get("subscription/list").await.1["subscription_details"].as_array().unwrap().clone();
        let charge = redirect["transaction_details"]["id"].as_str().unwrap();
        if code == "123456" {
            assert_eq!(back, format!("https://shop.example.jp/ok?cart=7&transaction_id={charge}"));
            assert_eq!(list.len(), before + 1);
            assert_eq!(list[0]["subscription_transaction_details"][0]["id"], charge);
            let status = world.get(&format!("transaction/status/{charge}")).await.1;
            assert_eq!(status["subscription_details"]["id"], list[0]["id"], "the shop finds it by the charge");
            let story = world.get(&format!("transaction/{charge}/explain")).await.1.to_string();
            assert!(story.contains(&format!("begins subscription {}", list[0]["id"].as_str().unwrap())), "{story}");
            assert!(millis(&list[0]["next_payment_date"]) > millis(&redirect["transaction_details"]["timestamp"]));
        } else {
            assert_eq!(back, format!("https://shop.example.jp/no?transaction_id={charge}"));
            assert_eq!(list.len(), before);
        }
    }
    assert_eq!(world.texts("SELECT number FROM subscriptions").await.len(), 1);
    // The card that asks for its holder is renewed by the merchant without asking (contract section 12).
    let (status, _) = world.post("test/clock", &json!({"advance": "P32D"})).await;
    assert_eq!(status, 200);
    let list = world.get("subscription/list").await.1;
    let renewed = &list["subscription_details"][0];
    assert_eq!((&renewed["status"], &renewed["completed_payment_cycle"]), (&json!("ACTIVE"), &json!(2)), "{renewed}");
}

/// Another merchant of the same entity: a card that it has never charged is verified before it takes it over.
pub async fn two_merchants(engine: Engine) {
    let world = World::new(engine).await;
    let add = [
        "merchant",
        "add",
        "--legal-name",
        "札の店 二号店",
        "--country",
        "JP",
        "--currency",
        "JPY,USD",
        "--json",
        "--entity",
    ];
    let added: Value = serde_json::from_str(&world.run(&[&add[..], &[world.keys.entity.as_str()]].concat())).unwrap();
    let second = added["merchant_id"].as_str().unwrap().to_owned();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let mut body = request(&world, "4111111111111111", &json!({}));
    (body["merchant_id"], body["amount"], body["currency"]) = (json!(second), json!("49.99"), json!("USD"));
    body["subscription"]["has_discount"] = json!(true);
    body["subscription"]["discount_percentage"] = json!(15);
    body["subscription"]["discount_duration"] = json!(1);
    let (status, begun) = world.post("subscription/payment", &body).await;
    assert_eq!((status, &begun["payment_details"]["amount"]), (201, &json!(42.49)), "{begun}");
    assert_eq!(begun["merchant_details"]["mid"], second.as_str());
    let id = id(&begun["subscription_details"]);
    let mut by_merchant = world.token_charge(&world.token);
    by_merchant["merchant_id"] = json!(second);
    by_merchant["payment_method"]["initiator"] = json!("merchant");
    let (status, refused) = world.post("payment", &by_merchant).await;
    assert_eq!(
        (status, errors(&refused)),
        (400, vec!["payment_method.initiator first_charge_must_be_customer".to_owned()])
    );
    let mut stored = json!({"payment_method": {"stored_payment_method_id": world.token}});
    stored["billing_address"] = json!({"country": "JP", "email": "a@example.jp", "phone_number": "1", "city": "Tokyo",
        "address1": "5200 0000 0000 1005"});
    let path = format!("subscription/{id}/payment-method");
    let (status, refused) = world.post(&path, &stored).await;
    assert_eq!((status, errors(&refused)), (400, vec!["billing_address.address1 contains_card_number".to_owned()]));
    stored["billing_address"].take();
    let (status, changed) = world.post(&path, &stored).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(changed["transaction_details"]["stored_payment_method_id"], world.token.as_str());
    assert_eq!(world.post("payment", &by_merchant).await.0, 201, "the verification was its first charge of the card");
    assert_eq!(world.post("test/clock", &json!({"advance": "P32D"})).await.0, 200);
    let renewed = shown(&world, &id).await;
    let charge = &renewed["subscription_transaction_details"][1];
    assert_eq!(
        (&charge["event"], &charge["amount"], &charge["ccy"]),
        (&json!("CAPTURED"), &json!(49.99), &json!("USD"))
    );
    let status = world.get(&format!("transaction/status/{}", charge["id"].as_str().unwrap())).await.1;
    assert_eq!(status["transaction_details"]["stored_payment_method_id"], world.token.as_str());
    assert_eq!(status["payment_details"]["scheme"], "MASTERCARD");
}

/// Newest first, by pages, by status; another entity sees none of it.
pub async fn listed(engine: Engine) {
    let world = World::new(engine).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(id(&begun(&world, "4111111111111111", &json!({"plan_name": format!("プラン {number}")})).await));
    }
    post(&world, &format!("subscription/{}/pause", ids[3])).await;
    ids.reverse();
    let page = async |query: &str| -> Vec<String> {
        let list = world.get(&format!("subscription/list{query}")).await.1;
        list["subscription_details"].as_array().unwrap().iter().map(id).collect()
    };
    assert_eq!(page("").await, ids);
    let first = page("?limit=2").await;
    assert_eq!(first, ids[..2]);
    assert_eq!(page(&format!("?limit=2&cursor={}", first[1])).await, ids[2..4]);
    assert_eq!(page(&format!("?cursor={}", ids[4])).await, Vec::<String>::new());
    assert_eq!(page("?status=PAUSED").await, [ids[1].clone()]);
    assert_eq!(page(&format!("?status=ACTIVE&cursor={}", ids[1])).await, ids[2..]);
    let other = world.other_entity();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    not_theirs(&world, &other, &ids[0]).await;
}

async fn not_theirs(world: &World, other: &Keys, id: &str) {
    let calls = [
        world.authed(world.http.get(world.url(&format!("subscription/{id}"))), other),
        world.authed(world.http.post(world.url(&format!("subscription/{id}/pause"))), other),
        world.authed(world.http.post(world.url(&format!("subscription/{id}/resume"))), other),
        world.authed(world.http.post(world.url(&format!("subscription/{id}/cancel"))), other),
        world
            .authed(world.http.post(world.url(&format!("subscription/{id}/payment-method"))), other)
            .json(&json!({"card": world.card_charge("4111111111111111")["card"]})),
        world.authed(world.http.get(world.url("subscription/not-an-id")), other),
    ];
    for call in calls {
        let (status, answer) = answer(call).await;
        assert_eq!((status, &answer["gateway_response"]["code"]), (404, &json!("ERR1012")), "{answer}");
    }
    let list = answer(world.authed(world.http.get(world.url("subscription/list")), other)).await.1;
    assert_eq!(list["subscription_details"], json!([]));
    let cursor =
        answer(world.authed(world.http.get(world.url(&format!("subscription/list?cursor={id}"))), other)).await;
    assert_eq!(cursor.0, 400, "another's id is no cursor");
}
