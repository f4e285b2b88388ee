//! The test clock (contract section 7): an entity's sandbox time is moved forward, and what falls due by that is done before
//! the answer.

use crate::browser::Browser;
use crate::follow::{code, id_of};
use crate::hosted::visit;
use crate::receiver::now;
use crate::threeds::{self, CHALLENGED};
use crate::world::{Engine, Keys, Server, World, answer};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl World {
    pub async fn advance(&self, by: &str) -> Value {
        self.advance_as(&self.keys, by).await
    }

    pub async fn advance_as(&self, keys: &Keys, by: &str) -> Value {
        let (status, moved) = self.post_as(keys, "test/clock", &json!({"advance": by})).await;
        assert_eq!(status, 200, "{moved}");
        assert_eq!(moved["clock"]["still_due"], 0, "{moved}");
        moved
    }

    async fn holds(&self, count: usize) -> Vec<String> {
        let mut holds = Vec::new();
        for _ in 0..count {
            holds.push(self.charged("authorization", "500").await);
        }
        holds
    }

    async fn in_state(&self, state: i64) -> String {
        self.texts(&format!(
            "SELECT COUNT(*) FROM transactions WHERE kind = 1 AND amount_minor > 0 AND state = {state}"
        ))
        .await
        .remove(0)
    }
}

fn millis(text: &Value) -> i64 {
    let text = text.as_str().unwrap_or_else(|| panic!("no time: {text}"));
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn about(found: i64, wanted: i64) -> bool {
    (found - wanted).abs() < 20_000
}

fn made(answer: &Value) -> i64 {
    millis(&answer["transaction_details"]["timestamp"])
}

/// One more entity, as soon as its keys are in force.
pub async fn other(world: &World) -> Keys {
    let keys = world.other_entity();
    let get = || answer(world.authed(world.http.get(world.url("test/clock")), &keys));
    while get().await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    keys
}

pub async fn a_hold_lapses(engine: Engine) {
    let world = World::new(engine).await;
    let keys = other(&world).await;
    let mut theirs = world.card_charge("4111111111111111");
    theirs["merchant_id"] = json!(keys.merchant);
    let theirs = id_of(&world.post_as(&keys, "authorization", &theirs).await.1);
    let (hold, taken) = (world.charged("authorization", "500").await, world.charged("authorization", "500").await);
    assert_eq!(world.follow("capture", &taken, Some("500")).await.0, 201);
    let held = made(&world.get(&format!("transaction/status/{hold}")).await.1);
    assert!(about(held, now()));
    world.advance("P6D").await;
    assert_eq!(world.balance(&hold).await.0, "APPROVED");
    let story = world.get(&format!("transaction/{hold}/explain")).await.1;
    let planned = story["lines"].as_array().unwrap().last().unwrap().clone();
    assert!(planned["step"] == "planned" && about(millis(&planned["at"]), held + 7 * DAY_MS), "{planned}");
    let moved = world.advance("P25D").await;
    assert_eq!(moved["clock"]["ahead_seconds"], 31 * 24 * 60 * 60);
    assert_eq!(
        (world.balance(&hold).await.0, world.balance(&taken).await.0),
        ("LAPSED".to_owned(), "CAPTURED".to_owned())
    );
    // It was let go when it was due, not when somebody looked.
    let void = world.texts("SELECT created_at FROM transactions WHERE details LIKE '%\"lapse\":true%'").await;
    assert!(void.len() == 1 && about(void[0].parse().unwrap(), held + 7 * DAY_MS), "{void:?}");
    let story = world.get(&format!("transaction/{hold}/explain")).await.1;
    let steps: Vec<&str> =
        story["lines"].as_array().unwrap().iter().map(|line| line["step"].as_str().unwrap()).collect();
    assert_eq!(steps.first(), Some(&"asked"), "{story}");
    assert_eq!(steps.iter().filter(|step| **step == "followed_by").count(), 1, "{story}");
    assert!(!steps.contains(&"planned"), "{story}");
    // What comes now has the entity's time; what follows an older one too.
    let paid = world.post("payment", &world.token_charge(&world.token)).await.1;
    assert!(about(made(&paid), now() + 31 * DAY_MS));
    let refund = world.follow("refund", &id_of(&paid), Some("1")).await.1;
    assert!(made(&refund) >= made(&paid) && about(made(&refund), now() + 31 * DAY_MS));
    assert_eq!(code(&world.follow("capture", &hold, Some("500")).await), (412, "ERR1005"));
    world.books_are_clean();
    // Nobody else's clock moves.
    let get = |path: String| answer(world.authed(world.http.get(world.url(&path)), &keys));
    assert_eq!(get(format!("transaction/status/{theirs}")).await.1["transaction_details"]["state"], "APPROVED");
    assert_eq!(get("test/clock".to_owned()).await.1["clock"]["ahead_seconds"], 0);
    assert_eq!(world.get("test/clock").await.1["clock"]["ahead_seconds"], 31 * 24 * 60 * 60);
}

pub async fn the_answer(engine: Engine) {
    let world = World::new(engine).await;
    let before = world.get("test/clock").await;
    assert_eq!((before.0, &before.1["clock"]["ahead_seconds"]), (200, &json!(0)));
    let request = world.authed(world.http.post(world.url("test/clock")), &world.keys);
    let response = request.json(&json!({"advance": "PT36H"})).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let text = response.text().await.unwrap();
    let moved: Value = serde_json::from_str(&text).unwrap();
    let at = &moved["clock"]["now"];
    assert!(about(millis(at), now() + DAY_MS * 3 / 2));
    let stable = text.replace(at.as_str().unwrap(), "<now>");
    insta::allow_duplicates! { insta::assert_snapshot!(stable, @r#"{"success":true,"status_code":200,"is_live":false,"clock":{"now":"<now>","ahead_seconds":129600,"advanced_seconds":129600,"still_due":0}}"#); }
    // The other prefix reaches the same clock; a key answers once.
    let url = format!("{}/api/v1/api/v1/server-to-server-interface/test/clock", world.server.base);
    let keyed = async |by: &str| {
        let request = world.authed(world.http.post(&url), &world.keys).header("idempotency-key", "一か月");
        answer(request.json(&json!({"advance": by}))).await
    };
    let (status, moved) = keyed("P1D").await;
    assert_eq!((status, &moved["clock"]["ahead_seconds"]), (200, &json!(216_000)));
    assert_eq!(keyed("P1D").await, (200, moved));
    let (status, refused) = keyed("P2D").await;
    assert_eq!((status, &refused["gateway_response"]["code"]), (412, &json!("ERR1007")));
    assert_eq!(world.get("test/clock").await.1["clock"]["ahead_seconds"], 216_000);
}

pub async fn mistakes_are_named(engine: Engine) {
    let world = World::new(engine).await;
    let long = "P".repeat(60_000);
    let cases = [
        (json!({}), "missing"),
        (json!({"Advance": "P1D"}), "missing"),
        (json!({"advance": null}), "missing"),
        (json!({"advance": 31}), "type"),
        (json!({"advance": ["P1D"]}), "type"),
        (json!({"advance": {"days": 1}}), "type"),
        (json!({"advance": ""}), "too_short"),
        (json!({ "advance": long }), "too_long"),
        (json!({"advance": "P1D\u{0}"}), "control_character"),
        (json!({"advance": "31 days"}), "format"),
        (json!({"advance": "三十一日"}), "format"),
        (json!({"advance": "P"}), "format"),
        (json!({"advance": "PT0.001S"}), "format"),
        (json!({"advance": "P0D"}), "range"),
        (json!({"advance": "-P1D"}), "range"),
        (json!({"advance": "P10Y1D"}), "range"),
        (json!({"advance": "P9000Y"}), "range"),
    ];
    for (body, wanted) in cases {
        let (status, refused) = world.post("test/clock", &body).await;
        assert_eq!((status, &refused["gateway_response"]["code"]), (400, &json!("VAL0002")), "{refused}");
        let error = &refused["errors"][0];
        let missing = body["advance"].is_null() && wanted == "missing";
        assert!(error["field"] == "advance" && (error["code"] == wanted || missing), "{wanted}: {refused}");
        assert!(!refused.to_string().contains("三十一日"), "nothing is repeated: {refused}");
    }
    assert_eq!(world.texts("SELECT COUNT(*) FROM test_clocks").await, ["0"]);
    // As far as it goes: ten years at once, the year 9000 in all.
    for _ in 0..2 {
        world.advance("P10Y").await;
    }
    world.sql("UPDATE test_clocks SET ahead_ms = 219866400000000").await;
    assert_eq!(world.post("test/clock", &json!({"advance": "P10Y"})).await.0, 400);
    let paid = world.post("payment", &world.token_charge(&world.token)).await;
    assert_eq!(paid.0, 201, "{}", paid.1);
    assert!(made(&paid.1) > now() + 219_866_000_000_000);
    world.link(json!({})).await;
    // A live key has no such endpoint, whatever it sends.
    world.sql("UPDATE api_keys SET live = 1; UPDATE directory_version SET version = version + 1").await;
    let begun = Instant::now();
    while world.get("test/clock").await.0 == 200 {
        assert!(begun.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let unknown = world.get("test/clocks").await;
    for answered in [
        world.get("test/clock").await,
        world.post("test/clock", &json!({"advance": "P1D"})).await,
        world.post("test/clock", &json!([1])).await,
    ] {
        assert_eq!((answered.0, &answered.1["gateway_response"]["code"]), (404, &json!("VAL0005")));
        assert_eq!((&answered.1["is_live"], &answered.1["success"]), (&json!(true), &json!(false)));
        assert_eq!(answered.1["gateway_response"], unknown.1["gateway_response"]);
    }
}

pub async fn links_and_cardholders(engine: Engine) {
    let world = World::new(engine).await;
    let browser = Browser::new();
    let link = world.link(json!({})).await;
    let begun = async || {
        let redirect = world.post("paymentv2", &threeds::charge(&world, CHALLENGED)).await.1;
        (redirect["redirect_url"].as_str().unwrap().to_owned(), id_of(&redirect))
    };
    let (url, id) = begun().await;
    world.advance("PT29M").await;
    let (_, later) = begun().await;
    let state = async |id: &str| world.balance(id).await.0;
    assert_eq!((state(&id).await, state(&later).await), ("PENDING".to_owned(), "PENDING".to_owned()));
    world.advance("PT2M").await;
    assert_eq!((state(&id).await, state(&later).await), ("DECLINED".to_owned(), "PENDING".to_owned()));
    let found = world.get(&format!("transaction/status/{id}")).await.1;
    assert_eq!(found["gateway_response"]["code"], "ERR1009");
    let page = browser.open(&url).await;
    assert_eq!(page.location.unwrap(), format!("https://shop.example/failed?order=7&transaction_id={id}"));
    // The link is open for a day.
    assert_eq!(world.link_now(&link).await["status"], "CREATED");
    world.advance("PT23H").await;
    assert_eq!(world.link_now(&link).await["status"], "CREATED");
    assert!(visit(link["url"].as_str().unwrap()).await.says("id=\"pay\""));
    world.advance("PT30M").await;
    let now = world.link_now(&link).await;
    assert_eq!((&now["status"], &now["isValid"]), (&json!("EXPIRED"), &json!(false)));
    assert_eq!(visit(link["url"].as_str().unwrap()).await.status, 410);
    let card = [("number", "4111111111111111"), ("expiry", "12/90"), ("cvc", "123"), ("name", "A")];
    assert!(crate::hosted::send(link["url"].as_str().unwrap(), &[&card]).await.leads_to().ends_with("/result"));
    // A new one is good for a day of the entity's time, and can be paid.
    let new = world.link(json!({})).await;
    assert!(about(millis(&new["expires_at"]), crate::receiver::now() + 2 * DAY_MS + 60_000));
    let card = [("number", "4111111111111111"), ("expiry", "12/40"), ("cvc", "123"), ("name", "A")];
    let paid = crate::hosted::send(new["url"].as_str().unwrap(), &[&card]).await;
    assert!(paid.leads_to().contains("transaction_id="), "{}", paid.text);
    assert_eq!(world.link_now(&new).await["status"], "PAID");
    assert_eq!(state(&later).await, "DECLINED");
}

pub async fn cards_expire_and_are_erased(engine: Engine) {
    let world = World::new(engine).await;
    let today = jiff::Timestamp::from_millisecond(now()).unwrap().to_string();
    let (year, month) = (today[..4].parse::<i64>().unwrap(), &today[5..7]);
    let mut short = world.card_charge("4111111111111111");
    short["card"]["expiry_month"] = json!(month);
    short["card"]["expiry_year"] = json!((year + 1).to_string());
    let first = id_of(&world.post("payment", &short).await.1);
    let hold = world.charged("authorization", "700").await;
    let link = world.link(json!({})).await;
    let sealed = async || {
        let sql = "SELECT CAST(amount_minor AS TEXT) FROM transactions WHERE sealed IS NOT NULL AND amount_minor > 0 ORDER BY ref";
        world.texts(&format!("SELECT * FROM ({sql}) AS kept")).await
    };
    assert_eq!(sealed().await, ["1000", "700"]);
    world.advance("P399D").await;
    assert_eq!(sealed().await, ["1000"], "a hold's card goes when it is let go");
    assert_eq!(world.balance(&hold).await.0, "LAPSED");
    let (status, refused) = world.post("payment", &short).await;
    assert_eq!((status, &refused["gateway_response"]["code"]), (406, &json!("ERR1002")), "{refused}");
    let patch = world.http.patch(world.url(&format!("tokens/{}", world.token)));
    let patch = patch.json(&json!({"card": {"expiry_month": month, "expiry_year": (year + 1).to_string()}}));
    let (status, refused) = answer(world.authed(patch, &world.keys)).await;
    assert_eq!((status, &refused["gateway_response"]["code"]), (406, &json!("ERR1002")), "{refused}");
    let young = world.charged("payment", "300").await;
    assert_eq!(world.link_now(&link).await["status"], "EXPIRED");
    world.advance("P1DT12H").await;
    assert_eq!(sealed().await, ["300"]);
    let story = world.get(&format!("transaction/{first}/explain")).await.1;
    assert!(story.to_string().contains("erased"), "{story}");
    assert_eq!(world.texts("SELECT COUNT(*) FROM links").await, ["1"], "it was open for a day");
    world.advance("P1D").await;
    assert_eq!(world.texts("SELECT COUNT(*) FROM links").await, ["0"]);
    assert_eq!(world.follow("refund", &first, Some("1000")).await.0, 201);
    // The first mark is behind what was young then.
    world.advance("P400D").await;
    assert!(sealed().await.is_empty());
    assert_eq!(world.follow("refund", &young, Some("300")).await.0, 201);
    world.books_are_clean();
}

/// A year at once ends as the same year day by day.
pub async fn a_year_at_once(engine: Engine) {
    let world = World::new(engine).await;
    let mut ends = Vec::new();
    for steps in [1, 53] {
        let keys = other(&world).await;
        let charge = |number: &str| {
            let mut body = threeds::charge(&world, number);
            body["merchant_id"] = json!(keys.merchant);
            body
        };
        world.advance_as(&keys, "PT1S").await;
        let begin = now();
        let hold = world.post_as(&keys, "authorization", &charge("4111111111111111")).await.1;
        let taken = world.post_as(&keys, "authorization", &charge("4111111111111111")).await.1;
        let capture = json!({"transactionId": id_of(&taken), "merchant_id": keys.merchant, "amount": "400"});
        assert_eq!(world.post_as(&keys, "capture", &capture).await.0, 201);
        let waits = world.post_as(&keys, "paymentv2", &charge(CHALLENGED)).await.1;
        let begun = Instant::now();
        for _ in 0..steps {
            world.advance_as(&keys, if steps == 1 { "P371D" } else { "P7D" }).await;
        }
        assert!(steps > 1 || begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let mut end = Vec::new();
        for one in [&hold, &taken, &waits] {
            let url = world.url(&format!("transaction/status/{}", id_of(one)));
            let found = answer(world.authed(world.http.get(url), &keys)).await.1;
            end.push(found["transaction_details"]["state"].clone());
        }
        let sql = "SELECT CAST(created_at AS TEXT) FROM transactions WHERE details LIKE '%\"lapse\":true%' ORDER BY ref DESC LIMIT 1";
        let void: i64 = world.texts(&format!("SELECT * FROM ({sql}) AS last")).await[0].parse().unwrap();
        end.push(json!((void - begin) / 20_000));
        ends.push(end);
    }
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0][..3], [json!("LAPSED"), json!("CAPTURED"), json!("DECLINED")]);
    world.books_are_clean();
}

pub async fn two_at_once(engine: Engine) {
    let world = World::new(engine).await;
    world.advance("PT1S").await;
    let holds = world.holds(100).await;
    let body = json!({"advance": "P8D"});
    let (one, two) = tokio::join!(world.post("test/clock", &body), world.post("test/clock", &body));
    let (done, refused) = if one.0 == 200 { (one, two) } else { (two, one) };
    assert_eq!((done.0, &done.1["clock"]["still_due"]), (200, &json!(0)));
    assert_eq!((refused.0, &refused.1["gateway_response"]["code"]), (412, &json!("ERR1008")), "{}", refused.1);
    assert!(refused.1["gateway_response"]["message"].is_string() && refused.1["success"] == false);
    assert_eq!(world.get("test/clock").await.1["clock"]["ahead_seconds"], 8 * 24 * 60 * 60 + 1);
    assert_eq!(world.in_state(8).await, holds.len().to_string());
    world.advance("P1D").await;
    world.books_are_clean();
}

/// Each process knows of a clock before it moves, and any of them does what falls due.
pub async fn two_processes(engine: Engine) {
    if engine == Engine::Sqlite {
        return;
    }
    let mut world = World::new(engine).await;
    let second = world.second_process();
    let (link, holds) = (world.link(json!({})).await, world.holds(60).await);
    world.advance("P8D").await;
    assert_eq!(world.in_state(8).await, holds.len().to_string());
    let first = std::mem::replace(&mut world.server, second);
    assert_eq!(world.get("test/clock").await.1["clock"]["ahead_seconds"], 8 * 24 * 60 * 60);
    assert_eq!(world.link_now(&link).await["status"], "EXPIRED");
    let paid = world.post("payment", &world.token_charge(&world.token)).await.1;
    assert!(about(made(&paid), now() + 8 * DAY_MS));
    let hold = world.charged("authorization", "500").await;
    // Both move it at once, again and again: each move is whole or refused.
    let urls = [&first, &world.server]
        .map(|server: &Server| format!("{}/api/v1/server-to-server-interface/test/clock", server.base));
    let mut moved = 0;
    for _ in 0..10 {
        let ask = |url: &str| {
            let request = world.authed(world.http.post(url), &world.keys);
            answer(request.json(&json!({"advance": "P1D"})))
        };
        let both = tokio::join!(ask(&urls[0]), ask(&urls[1]));
        for (status, answered) in [both.0, both.1] {
            assert!(status == 200 || (status, &answered["gateway_response"]["code"]) == (412, &json!("ERR1008")));
            moved += i64::from(status == 200);
        }
    }
    assert!(moved >= 10);
    assert_eq!(world.get("test/clock").await.1["clock"]["ahead_seconds"], (8 + moved) * 24 * 60 * 60);
    assert_eq!(world.balance(&hold).await.0, "LAPSED");
    world.books_are_clean();
}

/// What was moved is due: whoever comes after the crash does it.
pub async fn killed_in_mid_advance(engine: Engine) {
    let mut world = World::new(engine).await;
    world.advance("PT1S").await;
    let holds = world.holds(200).await;
    let ask = |world: &World| {
        let request = world.authed(world.http.post(world.url("test/clock")), &world.keys);
        request.header("idempotency-key", "k").json(&json!({"advance": "P8D"}))
    };
    let running = tokio::spawn(ask(&world).send());
    while world.texts("SELECT ahead_ms FROM test_clocks").await == ["1000"] {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.server.kill();
    assert!(running.await.unwrap().is_err(), "the advance was over before the crash");
    assert_ne!(world.in_state(8).await, holds.len().to_string(), "the crash came too late");
    world.restart();
    let begun = Instant::now();
    while world.in_state(8).await != holds.len().to_string() {
        assert!(begun.elapsed() < Duration::from_secs(100), "{} of {}", world.in_state(8).await, holds.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The key has what was moved, once nobody holds the clock.
    let (mut status, mut answered) = answer(ask(&world)).await;
    while status == 412 && begun.elapsed() < Duration::from_secs(100) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        (status, answered) = answer(ask(&world)).await;
    }
    assert_eq!((status, &answered["clock"]["advanced_seconds"]), (200, &json!(8 * 24 * 60 * 60)), "{answered}");
    assert_eq!(answered["clock"]["still_due"], Value::Null);
    let moved = world.advance("PT1S").await;
    assert_eq!(moved["clock"]["ahead_seconds"], 8 * 24 * 60 * 60 + 2);
    world.books_are_clean();
}

/// A year of a monthly plan for a hundred customers, within five seconds; and as it is lived week by week.
pub async fn a_year_of_renewals(engine: Engine) {
    let world = World::new(engine).await;
    let mut ends = Vec::new();
    for (customers, steps) in [(100, 1), (3, 54)] {
        let keys = other(&world).await;
        world.advance_as(&keys, "PT1S").await;
        for _ in 0..customers {
            let mut body = world.card_charge("4111111111111111");
            body["merchant_id"] = json!(keys.merchant);
            body["subscription"] = json!({"plan_name": "月額", "plan_desc": "", "cycle_type": "MONTHLY", "cycle_interval": 1,
                "subscription_end_type": "FOREVER", "has_trial_period": false, "has_discount": true,
                "discount_percentage": 50, "discount_duration": 3});
            let (status, begun) = world.post_as(&keys, "subscription/payment", &body).await;
            assert_eq!(status, 201, "{begun}");
        }
        let begun = Instant::now();
        for _ in 0..steps {
            world.advance_as(&keys, if steps == 1 { "P378D" } else { "P7D" }).await;
        }
        let took = begun.elapsed();
        eprintln!("{customers} customers, {steps} steps: {took:?}");
        assert!(steps > 1 || took < Duration::from_secs(5), "{took:?}");
        let list = world.authed(world.http.get(world.url("subscription/list?limit=100")), &keys);
        let list = answer(list).await.1;
        let found = list["subscription_details"].as_array().unwrap();
        assert_eq!(found.len(), customers);
        for one in found {
            let charges = one["subscription_transaction_details"].as_array().unwrap().iter();
            let days: Vec<Value> = charges
                .map(|one| {
                    json!([one["cycle"], one["amount"], one["event"], one["transaction_date"].as_str().unwrap()[..10]])
                })
                .collect();
            ends.push((one["status"].clone(), one["completed_payment_cycle"].clone(), days));
        }
    }
    assert_eq!((&ends[0].0, &ends[0].1), (&json!("ACTIVE"), &json!(13)));
    assert!(ends.iter().all(|end| *end == ends[0]), "{:?} {:?}", ends.first(), ends.last());
    assert_eq!(ends[0].2.len(), 13, "{:?}", ends[0]);
    world.books_are_clean();
}

/// What is begun while the clock leaps is due when its own row says so, to the millisecond.
pub async fn begun_during_a_leap(engine: Engine) {
    let world = World::new(engine).await;
    world.advance("PT1S").await;
    let leaps = async {
        for _ in 0..30 {
            world.advance("PT40S").await;
        }
    };
    let begins = async |number: &'static str, path: &'static str| {
        for _ in 0..12 {
            let (status, begun) = world.post(path, &threeds::charge(&world, number)).await;
            assert!(status < 300, "{begun}");
        }
    };
    let waiting = || begins(CHALLENGED, "paymentv2");
    tokio::join!(leaps, waiting(), waiting(), begins("4111111111111111", "authorization"));
    assert_eq!(world.get("test/clock").await.1["clock"]["ahead_seconds"], 1201);
    let jobs = "FROM jobs j JOIN transactions t ON t.id = j.subject JOIN test_clocks c ON c.entity_id = j.clock";
    let rows = world
        .texts(&format!("SELECT CAST(j.due_at + c.ahead_ms AS TEXT) || ' ' || t.details {jobs} WHERE j.kind = 5"))
        .await;
    assert_eq!(rows.len(), 24);
    for row in rows {
        let (due, details) = row.split_once(' ').unwrap();
        let details: Value = serde_json::from_str(details).unwrap();
        assert_eq!(due.parse::<i64>().unwrap(), details["waits"]["until"].as_i64().unwrap());
    }
    world.advance("P8D").await;
    let left = world.texts("SELECT COUNT(*) FROM jobs WHERE clock IS NOT NULL").await;
    assert_eq!((world.in_state(8).await.as_str(), left[0].as_str()), ("12", "0"));
    world.books_are_clean();
}

/// What lies ahead in one entity's time holds up nobody else's sweep, and is swept by no other's time.
pub async fn others_are_swept(engine: Engine) {
    let mut world = World::new(engine).await;
    let keys = other(&world).await;
    world.advance("P390D").await;
    let ahead = world.charged("payment", "300").await;
    let mut theirs = world.card_charge("4111111111111111");
    theirs["merchant_id"] = json!(keys.merchant);
    assert_eq!(world.post_as(&keys, "payment", &theirs).await.0, 201);
    world.server.stop();
    let age = 401 * DAY_MS;
    // It comes behind one whose time is a year ahead.
    world.sql(&format!("UPDATE transactions SET created_at = created_at - {age} WHERE amount_minor = 1000")).await;
    world.restart();
    let sealed = async || {
        world.texts("SELECT amount_minor FROM transactions WHERE sealed IS NOT NULL AND amount_minor > 0").await
    };
    for _ in 0..100 {
        if sealed().await == ["300"] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sealed().await, ["300"]);
    assert_eq!(world.balance(&ahead).await.0, "APPROVED");
}
