//! What is said of what happens later to a subscription, and to whom: webhooks, the feed, a card that was made anew.

use crate::receiver::{Does, Heard, Receiver};
use crate::renewals::{Begun, GOOD, HARD, SOFT, begin, begin_by, plan, since};
use crate::webhooks::{secret, to};
use crate::world::{Engine, Keys, World, answer};
use serde_json::{Value, json};

/// What differs each time taken out.
fn shown(body: &Value) -> String {
    let mut body = body.clone();
    let details = body.pointer_mut("/subscription_details").unwrap();
    details["id"] = json!("<id>");
    if details["next_payment_date"].is_string() {
        details["next_payment_date"] = json!("<date>");
    }
    for charge in details["subscription_transaction_details"].as_array_mut().unwrap() {
        for (name, word) in [("id", "<id>"), ("ref", "<ref>"), ("transaction_date", "<date>")] {
            charge[name] = json!(word);
        }
    }
    if let Some(url) = body.pointer_mut("/return_url_details/webhook_url") {
        *url = json!("<url>");
    }
    serde_json::to_string_pretty(&body).unwrap()
}

/// Of a pause, resume or end that no charge brought.
fn is_a_change(body: &Value) -> bool {
    body.get("transaction_details").is_none()
}

fn status(body: &Value) -> &str {
    body["subscription_details"]["status"].as_str().unwrap_or("-")
}

async fn subscribed(world: &World, shop: &Receiver, card: &str) -> Begun {
    begin_by(world, &world.keys, to(&shop.url, plan(world, card, json!({})))).await
}

pub async fn told_and_signed(engine: Engine) {
    let world = World::new(engine).await;
    let shop = Receiver::new(&[Does::status(200)]).await;
    let begun = subscribed(&world, &shop, GOOD).await;
    assert_eq!(status(&shop.hears(1, 5).await[0].json()), "ACTIVE");
    world.advance("P2D").await;
    let renewed = shop.hears(2, 5).await.remove(1);
    renewed.verify(&secret(&world)).unwrap();
    is_the_renewal(&begun, &renewed);
    begun.done(&world, "pause").await;
    let paused = shop.hears(3, 5).await.remove(2);
    paused.verify(&secret(&world)).unwrap();
    is_the_pause(&paused);
    // The charge's own log has what became of its subscription; a renewal's has the renewal.
    begun.done(&world, "resume").await;
    begun.done(&world, "cancel").await;
    shop.hears(5, 5).await;
    let log = async |id: &str| world.get(&format!("webhooks?transaction_id={id}")).await.1["webhooks"].clone();
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let heard: Vec<String> = shop.heard().iter().map(Heard::id).collect();
    let listed = log(&begun.first).await;
    assert_eq!(ids(&listed), [&heard[..1], &heard[2..]].concat(), "{listed}");
    let renewal = renewed.json()["transaction_details"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&log(&renewal).await), heard[1..2]);
    the_feed(&world, &heard).await;
}

/// As it was then, though it is cancelled now.
async fn the_feed(world: &World, heard: &[String]) {
    let feed = world.get("events").await.1;
    let feed = feed["events"].as_array().unwrap();
    let mut said = Vec::new();
    for event in feed.iter().filter(|event| heard.iter().any(|id| event["id"] == json!(id))) {
        let head = event["headers"].as_object().unwrap().iter();
        let head: String = head.map(|(name, value)| format!("{name}: {}\n", value.as_str().unwrap())).collect();
        let heard = Heard { head, body: event["body"].as_str().unwrap().to_owned(), at: 0 };
        heard.verify(&secret(world)).unwrap();
        let body = heard.json();
        let completed = &body["subscription_details"]["completed_payment_cycle"];
        said.push(format!("{} {} {completed}", if is_a_change(&body) { "change" } else { "charge" }, status(&body)));
    }
    assert_eq!(
        said,
        ["charge ACTIVE 1", "charge ACTIVE 2", "change PAUSED 2", "change ACTIVE 2", "change CANCELLED 2"]
    );
}

fn is_the_renewal(begun: &Begun, renewed: &Heard) {
    let body = renewed.json();
    assert_eq!(body["subscription_details"]["id"], json!(begun.id));
    let charges = body["subscription_details"]["subscription_transaction_details"].as_array().unwrap();
    assert_eq!((&charges[0]["id"], &charges[1]["id"]), (&json!(begun.first), &body["transaction_details"]["id"]));
    let order =
        ["transaction_type", "return_url_details", "device_details", "transaction_details", "subscription_details"]
            .map(|key| renewed.body.find(&format!("\"{key}\":")).unwrap());
    assert!(order.is_sorted(), "{}", renewed.body);
    assert_eq!(body["merchant_details"]["billing_details"]["billing_address"]["city"], "Shinjuku-ku");
    assert_eq!((&body["success"], &body["payment_details"]["amount"]), (&json!(true), &json!(1000)));
    insta::allow_duplicates! { insta::assert_snapshot!(shown(&json!({"subscription_details": body["subscription_details"]})), @r#"
    {
      "subscription_details": {
        "completed_payment_cycle": 2,
        "id": "<id>",
        "last_payment_status": "SUCCESSFUL",
        "max_cycle_count": null,
        "next_payment_cycle": 3,
        "next_payment_date": "<date>",
        "status": "ACTIVE",
        "subscription_plan_details": {
          "amount": 1000,
          "billing_cycle_interval": 2,
          "billing_cycle_type": "DAYS",
          "ccy": "JPY",
          "desc": "Two days",
          "name": "読み放題",
          "plan_discount_duration": null,
          "plan_discount_percentage": null,
          "trial_period_duration": "",
          "trial_period_duration_type": "NONE"
        },
        "subscription_transaction_details": [
          {
            "amount": 1000,
            "ccy": "JPY",
            "cycle": 1,
            "event": "CAPTURED",
            "id": "<id>",
            "ref": "<ref>",
            "status": "SUCCESSFUL",
            "transaction_date": "<date>"
          },
          {
            "amount": 1000,
            "ccy": "JPY",
            "cycle": 2,
            "event": "CAPTURED",
            "id": "<id>",
            "ref": "<ref>",
            "status": "SUCCESSFUL",
            "transaction_date": "<date>"
          }
        ],
        "type": "FOREVER"
      }
    }
    "#); }
}

fn is_the_pause(paused: &Heard) {
    let order = ["success", "status_code", "is_live", "gateway_response", "return_url_details", "subscription_details"]
        .map(|key| paused.body.find(&format!("\"{key}\":")).unwrap());
    assert!(order.is_sorted(), "{}", paused.body);
    insta::allow_duplicates! { insta::assert_snapshot!(shown(&paused.json()), @r#"
    {
      "gateway_response": {
        "code": "INFO3000",
        "message": "Subscription Updated.",
        "type": "INFO",
        "version": "1"
      },
      "is_live": false,
      "return_url_details": {
        "decline_url": "https://shop.example.jp/no",
        "success_url": "https://shop.example.jp/ok",
        "webhook_url": "<url>"
      },
      "status_code": 200,
      "subscription_details": {
        "completed_payment_cycle": 2,
        "id": "<id>",
        "last_payment_status": "SUCCESSFUL",
        "max_cycle_count": null,
        "next_payment_cycle": 3,
        "next_payment_date": "<date>",
        "status": "PAUSED",
        "subscription_plan_details": {
          "amount": 1000,
          "billing_cycle_interval": 2,
          "billing_cycle_type": "DAYS",
          "ccy": "JPY",
          "desc": "Two days",
          "name": "読み放題",
          "plan_discount_duration": null,
          "plan_discount_percentage": null,
          "trial_period_duration": "",
          "trial_period_duration_type": "NONE"
        },
        "subscription_transaction_details": [
          {
            "amount": 1000,
            "ccy": "JPY",
            "cycle": 1,
            "event": "CAPTURED",
            "id": "<id>",
            "ref": "<ref>",
            "status": "SUCCESSFUL",
            "transaction_date": "<date>"
          },
          {
            "amount": 1000,
            "ccy": "JPY",
            "cycle": 2,
            "event": "CAPTURED",
            "id": "<id>",
            "ref": "<ref>",
            "status": "SUCCESSFUL",
            "transaction_date": "<date>"
          }
        ],
        "type": "FOREVER"
      },
      "success": true
    }
    "#); }
}

/// Each try that was declined is told, and so is the end, by the try that brings it or by itself.
pub async fn declines_are_told(engine: Engine) {
    let world = World::new(engine).await;
    let (soft, hard) = (Receiver::new(&[Does::status(200)]).await, Receiver::new(&[Does::status(200)]).await);
    let begun = [subscribed(&world, &soft, SOFT).await, subscribed(&world, &hard, HARD).await];
    for (by, heard) in [("PT49H", [1, 1]), ("P1D", [2, 2]), ("P2D", [3, 2]), ("P2D", [4, 2])] {
        soft.hears(heard[0], 5).await;
        hard.hears(heard[1], 5).await;
        world.advance(by).await;
    }
    let said = |heard: Vec<Heard>| -> Vec<String> {
        let line = |heard: &Heard| {
            let body = heard.json();
            let kind = body["transaction_type"].as_str().unwrap_or("alone").to_owned();
            format!("{kind} {} {}", body["gateway_response"]["code"].as_str().unwrap(), status(&body))
        };
        heard.iter().map(line).collect()
    };
    assert_eq!(
        said(soft.hears(5, 5).await),
        [
            "CAPTURE INFO0000 ACTIVE",
            "CAPTURE ERR1000 PAST_DUE",
            "CAPTURE ERR1000 PAST_DUE",
            "CAPTURE ERR1000 PAST_DUE",
            "CAPTURE ERR1000 CANCELLED"
        ]
    );
    assert_eq!(
        said(hard.hears(3, 5).await),
        ["CAPTURE INFO0000 ACTIVE", "CAPTURE ERR1000 PAST_DUE", "alone INFO3000 CANCELLED"]
    );
    for one in &begun {
        assert_eq!(one.details(&world).await["status"], "CANCELLED");
    }
}

/// More payments than are shown: what is counted goes on.
pub async fn a_long_life(engine: Engine) {
    let world = World::new(engine).await;
    let shop = Receiver::new(&[Does::status(200)]).await;
    let begun = subscribed(&world, &shop, GOOD).await;
    world
        .sql(
            "INSERT INTO subscription_charges (subscription_id, cycle, transaction_id) WITH RECURSIVE cycles (cycle) AS \
             (SELECT 2 UNION ALL SELECT cycle + 1 FROM cycles WHERE cycle < 1200) \
             SELECT subscription_id, cycles.cycle, transaction_id FROM subscription_charges CROSS JOIN cycles; \
             UPDATE subscriptions SET completed = 1200, period = 1200",
        )
        .await;
    world.advance("P2D").await;
    let renewed = shop.hears(2, 5).await.remove(1).json()["subscription_details"].clone();
    let (_, listed) = world.get("subscription/list").await;
    for (found, shown) in
        [(&begun.details(&world).await, 1_000), (&renewed, 1_000), (&listed["subscription_details"][0], 20)]
    {
        assert_eq!((&found["completed_payment_cycle"], &found["status"]), (&json!(1201), &json!("ACTIVE")));
        let charges = found["subscription_transaction_details"].as_array().unwrap();
        let ends =
            (charges.len(), charges[0]["cycle"].as_i64().unwrap(), charges[shown - 1]["cycle"].as_i64().unwrap());
        assert_eq!(ends, (shown, 1202 - i64::try_from(shown).unwrap(), 1201));
    }
    assert_eq!(since(begun.start, &renewed["next_payment_date"]), "2402d");
}

/// The stored card has expired when its cycle is due: the issuer's newer one is asked for.
pub async fn a_card_made_anew(engine: Engine) {
    let world = World::new(engine).await;
    let now = world.get("test/clock").await.1["clock"]["now"].as_str().unwrap().to_owned();
    let (year, month) = (now[..4].parse::<i64>().unwrap(), now[5..7].to_owned());
    let short = |number: &str| {
        let mut body = plan(&world, number, json!({"cycle_interval": 40}));
        body["card"]["expiry_month"] = json!(month);
        body["card"]["expiry_year"] = json!(year.to_string());
        body["payment_method"] = json!({"type": "scheme", "store_payment_method": true});
        body
    };
    let (status, made) = world.post("subscription/payment", &short("5200000000055555")).await;
    assert_eq!(status, 201, "{made}");
    let token = made["transaction_details"]["stored_payment_method_id"].as_str().unwrap().to_owned();
    let id = made["subscription_details"]["id"].as_str().unwrap().to_owned();
    let owned = begin_by(&world, &world.keys, {
        let mut body = short("4000000000005555");
        body.as_object_mut().unwrap().remove("payment_method");
        body
    })
    .await;
    // Without a newer card its issuer judges.
    let old = begin_by(&world, &world.keys, short(GOOD)).await;
    world.advance("P41D").await;
    let (status, kept) = world.get(&format!("tokens/{token}")).await;
    assert_eq!((status, &kept["token"]["id"]), (200, &json!(token)), "{kept}");
    let wanted = (json!(month), json!(((year + 5) % 100).to_string()));
    let expiry = |card: &Value| (card["exp_month"].clone(), card["exp_year"].clone());
    assert_eq!(expiry(&kept["token"]["card"]), wanted);
    let last = async |id: &str| {
        let found = world.get(&format!("subscription/{id}")).await.1["subscription_details"].clone();
        assert_eq!((&found["status"], &found["completed_payment_cycle"]), (&json!("ACTIVE"), &json!(2)), "{found}");
        let charge = found["subscription_transaction_details"][1]["id"].as_str().unwrap().to_owned();
        let paid = world.get(&format!("transaction/status/{charge}")).await.1;
        assert_eq!(paid["success"], json!(true), "{paid}");
        expiry(&paid["payment_details"]["card"])
    };
    assert_eq!(last(&id).await, wanted);
    assert_eq!(last(&owned.id).await, wanted);
    assert_eq!(last(&old.id).await.1, json!((year % 100).to_string()));
    world.books_are_clean();
}

/// To anyone else, and to the other mode, it does not exist.
pub async fn not_anothers(engine: Engine) {
    let world = World::new(engine).await;
    let other = crate::clock::other(&world).await;
    let (begun, due) = (begin(&world, GOOD, json!({})).await, begin(&world, SOFT, json!({})).await);
    world.advance("PT60H").await;
    let before = (begun.stands(&world).await, due.stands(&world).await);
    let theirs = begin_by(&world, &other, plan(&world, GOOD, json!({}))).await;
    asked_for(&world, &other, &[&begun, &due]).await;
    // Another's token, or one of another's subscription, changes nothing either.
    let token = json!({"payment_method": {"type": "scheme", "stored_payment_method_id": world.token}});
    let request = world.http.post(world.url(&format!("subscription/{}/payment-method", theirs.id)));
    let (status, refused) = answer(world.authed(request, &other).json(&token)).await;
    assert_eq!((status, &refused["gateway_response"]["code"]), (404, &json!("ERR1003")), "{refused}");
    let (status, refused) = theirs.new_card(&world, token).await;
    assert_eq!((status, &refused["gateway_response"]["code"]), (404, &json!("ERR1012")), "{refused}");
    assert_eq!((begun.stands(&world).await, due.stands(&world).await), before);
    // Their clock has not moved, ours moves nothing of theirs.
    world.advance("P10D").await;
    assert_eq!(theirs.details_by(&world, &other).await["completed_payment_cycle"], 1);
    // The same entity's live keys.
    world.sql("UPDATE api_keys SET live = 1; UPDATE directory_version SET version = version + 1").await;
    while world.get("test/clock").await.0 == 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    asked_for(&world, &world.keys, &[&begun, &due, &theirs]).await;
    let (_, listed) = world.get("subscription/list").await;
    assert_eq!((&listed["is_live"], &listed["subscription_details"]), (&json!(true), &json!([])), "{listed}");
}

async fn asked_for(world: &World, keys: &Keys, begun: &[&Begun]) {
    let card = json!({"card": world.card_charge(GOOD)["card"]});
    let is_1012 = |(status, refused): (u16, Value)| {
        assert_eq!((status, &refused["gateway_response"]["code"]), (404, &json!("ERR1012")), "{refused}");
        assert!(!refused.to_string().contains("PAST_DUE"), "{refused}");
    };
    for one in begun {
        let url = world.url(&format!("subscription/{}", one.id));
        is_1012(answer(world.authed(world.http.get(&url), keys)).await);
        for word in ["pause", "resume", "cancel"] {
            is_1012(answer(world.authed(world.http.post(format!("{url}/{word}")), keys)).await);
        }
        let request = world.authed(world.http.post(format!("{url}/payment-method")), keys);
        is_1012(answer(request.json(&card)).await);
        let listed = answer(world.authed(world.http.get(world.url("subscription/list")), keys)).await.1;
        assert!(!listed.to_string().contains(&one.id), "{listed}");
        let cursor = world.http.get(world.url(&format!("subscription/list?cursor={}", one.id)));
        assert_eq!(answer(world.authed(cursor, keys)).await.0, 400);
    }
}
