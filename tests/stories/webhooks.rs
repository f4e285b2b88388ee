//! The merchant is told of every final result (contract section 9).

use crate::receiver::{Does, Heard, Receiver};
use crate::world::{Engine, Keys, World, answer, fuda, stable};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A charge that is to be told to `url`.
pub fn to(url: &str, mut body: Value) -> Value {
    body["return_url"] = json!({"webhook_url": url, "success_url": "https://shop.example.jp/ok",
        "decline_url": "https://shop.example.jp/no"});
    body
}

pub fn id_of(answer: &Value) -> String {
    answer["transaction_details"]["id"].as_str().unwrap().to_owned()
}

pub fn secret(world: &World) -> String {
    let line = world.server.greeting.lines().find(|line| line.trim_start().starts_with("webhook secret")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

/// Waits until the log of the transaction's only webhook is as wanted.
async fn until(world: &World, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, log) = world.get(&format!("webhooks?transaction_id={id}")).await;
        assert_eq!(status, 200, "{log}");
        if log["webhooks"].get(0).is_some_and(&wanted) {
            return log["webhooks"][0].clone();
        }
        assert!(Instant::now() < end, "{log:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn told_and_signed(engine: Engine) {
    let world = World::new(engine).await;
    let shop = Receiver::new(&[Does::status(200)]).await;
    let paid = world.post("payment", &to(&shop.url, world.token_charge(&world.token))).await.1;
    let heard = shop.hears(1, 5).await.remove(0);
    heard.verify(&secret(&world)).unwrap();
    assert!(heard.verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_err());
    assert!(heard.head.starts_with("POST /hook?shop=%E6%9C%AD HTTP/1.1\r\n"), "{}", heard.head);
    assert_eq!(heard.header("content-type"), "application/json");
    says(&heard, &paid);
    let id = id_of(&paid);
    let log = until(&world, &id, |one| one["state"] == "DELIVERED").await;
    assert_eq!(log["id"], json!(heard.id()));
    assert_eq!((&log["transaction_id"], &log["webhook_url"]), (&json!(id), &json!(shop.url)));
    let one = &log["tries"][0];
    assert_eq!((&one["status"], &one["answer"], &one["problem"]), (&json!(200), &json!("ok"), &Value::Null));
}

/// The whole body, and the order of its keys.
fn says(heard: &Heard, paid: &Value) {
    let places = ["gateway_response", "return_url_details", "merchant_details", "device_details", "payment_details"]
        .map(|key| heard.body.find(&format!("\"{key}\":")).unwrap());
    assert!(places.is_sorted(), "{}", heard.body);
    let mut body = heard.json();
    // As in the answer, which has its own snapshot.
    for (part, from) in [("payment_details", paid), ("transaction_details", paid)] {
        assert_eq!(body[part], from[part]);
        body[part] = json!("as in the answer");
    }
    body["return_url_details"]["webhook_url"] = json!("<url>");
    body["merchant_details"]["mid"] = json!("<mid>");
    insta::assert_snapshot!(stable(&body), @r#"
    {
      "device_details": {
        "customer_ip": null,
        "visited_ip": "127.0.0.1"
      },
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
        "legal_name": "札の店 (Fuda sandbox)",
        "mid": "<mid>"
      },
      "payment_details": "as in the answer",
      "return_url_details": {
        "decline_url": "https://shop.example.jp/no",
        "success_url": "https://shop.example.jp/ok",
        "webhook_url": "<url>"
      },
      "risk-details": {
        "risk_score": null
      },
      "status_code": 201,
      "success": true,
      "transaction_details": "as in the answer",
      "transaction_type": "CAPTURE"
    }
    "#);
}

/// Of one charge in order, each once; without a URL the feed alone has them.
pub async fn every_result_is_told(engine: Engine) {
    let world = World::new(engine).await;
    let shop = Receiver::new(&[Does::status(204)]).await;
    let paid = world.post("payment", &to(&shop.url, world.card_charge("4111111111111111"))).await.1;
    let id = id_of(&paid);
    assert_eq!(world.follow("refund", &id, Some("300")).await.0, 201);
    assert_eq!(world.follow("refund", &id, Some("701")).await.1["gateway_response"]["code"], "ERR3019");
    let held = id_of(&world.post("authorization", &to(&shop.url, world.card_charge("4111111111111111"))).await.1);
    let captured = id_of(&world.follow("capture", &held, Some("600")).await.1);
    assert_eq!(world.follow("refund", &captured, Some("600")).await.0, 201);
    let held = id_of(&world.post("authorization", &to(&shop.url, world.card_charge("4111111111111111"))).await.1);
    assert_eq!(world.follow("void", &held, None).await.0, 201);
    world.post("payment", &to(&shop.url, world.card_charge("4000000000009995"))).await;
    world.post("payment", &world.card_charge("4111111111111111")).await;
    let heard = shop.hears(9, 10).await;
    let said: Vec<String> = heard.iter().map(outline).collect();
    let family =
        |parts: &[&str]| said.iter().filter(|line| parts.iter().any(|part| line == part)).cloned().collect::<Vec<_>>();
    insta::assert_snapshot!(family(&["CAPTURE 1000 INFO0000", "REFUND 300 INFO0002", "REFUND 701 ERR3019"]).join(", "),
        @"CAPTURE 1000 INFO0000, REFUND 300 INFO0002, REFUND 701 ERR3019");
    let mut sorted = said.clone();
    sorted.sort();
    insta::assert_snapshot!(sorted.join("\n"), @r"
    CAPTURE 1000 ERR1000
    CAPTURE 1000 INFO0000
    CAPTURE 600 INFO0001
    PRE_AUTH 1000 INFO0000
    PRE_AUTH 1000 INFO0000
    REFUND 300 INFO0002
    REFUND 600 INFO0002
    REFUND 701 ERR3019
    VOID 1000 INFO0003
    ");
    // The sandbox's own verification, and the payment without a URL.
    let feed = world.get("events").await.1;
    let events = feed["events"].as_array().unwrap();
    assert_eq!(events.len(), 11, "{feed:#}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(shop.heard().len(), 9, "each was told once");
}

fn outline(heard: &Heard) -> String {
    let body = heard.json();
    let word = |path: &str| body.pointer(path).unwrap().to_string().replace('"', "");
    let (kind, amount) = (word("/transaction_type"), word("/payment_details/amount"));
    format!("{kind} {amount} {}", word("/gateway_response/code"))
}

/// SIGKILL between the outcome and the delivery: it arrives all the same, under the same id.
pub async fn killed_before_it_is_told(engine: Engine) {
    let mut world = World::new(engine).await;
    let shop = Receiver::new(&[Does::Hangs]).await;
    let paid = world.post("payment", &to(&shop.url, world.card_charge("4111111111111111"))).await.1;
    let (first, secret) = (shop.hears(1, 5).await.remove(0), secret(&world));
    world.server.kill();
    shop.turns_to(Does::status(200));
    world.restart();
    // On PostgreSQL the lease of the dead process has to run out first.
    let again = shop.hears(2, 45).await.remove(1);
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    again.verify(&secret).unwrap();
    let log = until(&world, &id_of(&paid), |one| one["state"] == "DELIVERED").await;
    assert_eq!(log["id"], json!(first.id()));
}

pub async fn tried_again(engine: Engine) {
    let world = World::new(engine).await;
    let other = Receiver::new(&[Does::status(200)]).await;
    let shop = Receiver::new(&[Does::status(500), Does::redirects(&other.url), Does::status(200)]).await;
    let gone = Receiver::new(&[Does::status(410)]).await;
    let wish = "HTTP/1.1 503 -\r\nretry-after: 120\r\ncontent-length: 9\r\n\r\nサーバ";
    let busy = Receiver::new(&[Does::Says(wish.to_owned())]).await;
    let charge = async |url: &str| {
        let body = to(url, world.card_charge("4111111111111111"));
        id_of(&world.post("payment", &body).await.1)
    };
    let (id, gone_id, busy_id) = (charge(&shop.url).await, charge(&gone.url).await, charge(&busy.url).await);
    let heard = shop.hears(2, 10).await;
    assert_eq!(heard[0].id(), heard[1].id());
    assert!((4_900..8_000).contains(&(heard[1].at - heard[0].at)), "{}", heard[1].at - heard[0].at);
    let log = until(&world, &id, |one| one["tries"].as_array().unwrap().len() == 2).await;
    assert_eq!((&log["state"], &log["tries"][1]["status"]), (&json!("WAITING"), &json!(307)));
    let next: jiff::Timestamp = log["next_try"].as_str().unwrap().parse().unwrap();
    let wait = next.as_millisecond() - heard[1].at;
    assert!((299_000..361_000).contains(&wait), "{wait}");
    assert!(other.heard().is_empty(), "no redirect is followed");
    let log = until(&world, &gone_id, |one| one["state"] == "GONE").await;
    assert_eq!(log["next_try"], Value::Null);
    let log = until(&world, &busy_id, |one| one["tries"].get(0).is_some()).await;
    assert_eq!(log["tries"][0]["answer"], "サーバ");
    let next: jiff::Timestamp = log["next_try"].as_str().unwrap().parse().unwrap();
    assert!((119_000..122_000).contains(&(next.as_millisecond() - busy.heard()[0].at)), "{log}");
    // By hand: at once, and the schedule begins anew.
    let event = heard[0].id();
    let retry = async |event: &str, keys: &Keys| {
        answer(world.authed(world.http.post(world.url(&format!("webhooks/{event}/retry"))), keys)).await
    };
    let (status, said) = retry(&event, &world.keys).await;
    // It may be heard before we are answered.
    assert!(status == 200 && ["WAITING", "DELIVERED"].contains(&said["webhook"]["state"].as_str().unwrap()), "{said}");
    assert_eq!(shop.hears(3, 5).await[2].id(), event);
    until(&world, &id, |one| one["state"] == "DELIVERED").await;
    let other_entity = world.other_entity();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (id, keys) in [(event.as_str(), &other_entity), ("evt_0", &world.keys), ("札", &world.keys), (&id, &world.keys)]
    {
        let (status, said) = retry(id, keys).await;
        assert_eq!((status, &said["gateway_response"]["code"]), (404, &json!("ERR1004")), "{id}");
    }
    for query in [format!("webhooks?transaction_id={}", world.keys.entity), "webhooks?transaction_id=1".to_owned()] {
        assert_eq!(world.get(&query).await.0, 404, "{query}");
    }
    assert_eq!(world.get("webhooks").await.0, 400);
    let theirs = world.http.get(world.url(&format!("webhooks?transaction_id={id}")));
    assert_eq!(answer(world.authed(theirs, &other_entity)).await.0, 404);
    replayed(&world, &gone, &busy).await;
}

async fn replayed(world: &World, gone: &Receiver, busy: &Receiver) {
    gone.turns_to(Does::status(200));
    busy.turns_to(Does::status(200));
    let listed = world.run(&["webhooks", "list", "--undelivered"]);
    assert!(listed.contains("GONE") && listed.contains("WAITING") && !listed.contains("DELIVERED"), "{listed}");
    let said: Value = serde_json::from_str(&world.run(&["webhooks", "replay", "--since", "1h", "--json"])).unwrap();
    assert_eq!(said, json!({"seen": 4, "sent_again": 2}));
    gone.hears(2, 5).await;
    busy.hears(2, 5).await;
    let event = gone.heard()[0].id();
    world.run(&["webhooks", "retry", &event]);
    assert_eq!(gone.hears(3, 5).await[2].id(), event);
    let none =
        fuda(&world.folder, world.database_url.as_deref()).args(["webhooks", "retry", "evt_1"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
}

/// Two signatures while the secret is changed, one afterwards.
pub async fn secrets_change(engine: Engine) {
    let world = World::new(engine).await;
    let shop = Receiver::new(&[Does::status(200)]).await;
    let old = secret(&world);
    let rotate = |overlap: &str| {
        let args = ["webhooks", "rotate-secret", "--entity", &world.keys.entity, "--overlap", overlap, "--json"];
        let said: Value = serde_json::from_str(&world.run(&args)).unwrap();
        said["webhook_secret"].as_str().unwrap().to_owned()
    };
    let charge = async || {
        let before = shop.heard().len();
        world.post("payment", &to(&shop.url, world.card_charge("4111111111111111"))).await;
        shop.hears(before + 1, 5).await.pop().unwrap()
    };
    let second = rotate("1h");
    let heard = charge().await;
    assert_eq!(heard.header("webhook-signature").split(' ').count(), 2);
    heard.verify(&old).unwrap();
    heard.verify(&second).unwrap();
    let third = rotate("0s");
    let heard = charge().await;
    assert_eq!(heard.header("webhook-signature").split(' ').count(), 1);
    heard.verify(&third).unwrap();
    assert!(heard.verify(&old).is_err() && heard.verify(&second).is_err());
    let log = std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    assert!(![&old, &second, &third].iter().any(|secret| log.contains(secret.trim_start_matches("whsec_"))));
}

/// A later event of a charge waits for the first two tries of an earlier one, and no longer.
pub async fn in_order(engine: Engine) {
    let world = World::new(engine).await;
    let shop = Receiver::new(&[Does::status(500), Does::Cuts, Does::status(200)]).await;
    let id = id_of(&world.post("payment", &to(&shop.url, world.card_charge("4111111111111111"))).await.1);
    shop.hears(1, 5).await;
    assert_eq!(world.follow("refund", &id, Some("100")).await.0, 201);
    let heard = shop.hears(3, 15).await;
    let said: Vec<String> = heard.iter().take(3).map(outline).collect();
    assert_eq!(said, ["CAPTURE 1000 INFO0000", "CAPTURE 1000 INFO0000", "REFUND 100 INFO0002"]);
    assert!(heard[2].at - heard[1].at < 2_000, "it went when the second try was over");
}

pub async fn the_feed(engine: Engine) {
    let world = World::new(engine).await;
    for number in 0..7 {
        let mut body = world.card_charge("4111111111111111");
        body["merchant_txn_ref"] = json!(format!("注文-{number}"));
        world.post("payment", &body).await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = world.get(&format!("events?limit=3&after={after}")).await.1;
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 3);
        for event in events {
            let head = event["headers"].as_object().unwrap().iter();
            let head: String = head.map(|(name, value)| format!("{name}: {}\n", value.as_str().unwrap())).collect();
            let heard = Heard { head, body: event["body"].as_str().unwrap().to_owned(), at: 0 };
            heard.verify(&secret(&world)).unwrap();
            assert_eq!(event["id"], json!(heard.id()));
            seen.push(heard.json()["merchant_details"]["merchant_txn_ref"].as_str().unwrap_or("none").to_owned());
        }
        page["next_after"].as_str().unwrap().clone_into(&mut after);
        if events.is_empty() {
            break;
        }
    }
    // The first is the sandbox's own verification.
    let wanted: Vec<String> = (0..7).map(|number| format!("注文-{number}")).collect();
    assert_eq!(seen[1..], wanted);
    for query in ["events?after=evt_0", "events?limit=0", "events?limit=101", "events?limit=x", "events?after=札"] {
        assert_eq!(world.get(query).await.1["gateway_response"]["code"], "VAL0002", "{query}");
    }
    let other = world.other_entity();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let theirs = answer(world.authed(world.http.get(world.url("events")), &other)).await.1;
    assert_eq!((&theirs["events"], &theirs["next_after"]), (&json!([]), &Value::Null));
    let theirs = answer(world.authed(world.http.get(world.url(&format!("events?after={after}"))), &other)).await;
    assert_eq!(theirs.0, 400);
}
