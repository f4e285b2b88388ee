//! Risk rules refuse, watch and score; their counts are exact.

use crate::follow::{code, id_of};
use crate::world::{Engine, Keys, Server, World, answer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const IP: &str = "8.8.8.8";
/// Issued in the United States by an issuer in the United Kingdom, as the built-in BIN table has it.
const ABROAD: &str = "4111111111111111";

impl World {
    /// Adds a rule and answers its id.
    pub async fn rule(&self, rule: Value) -> String {
        let (status, added) = self.post("risk/rules", &rule).await;
        assert_eq!(status, 201, "{added}");
        added["rule"]["id"].as_str().unwrap().to_owned()
    }

    pub async fn no_rule(&self, id: &str) {
        let asked = self.http.delete(self.url(&format!("risk/rules/{id}")));
        let (status, removed) = answer(self.authed(asked, &self.keys)).await;
        assert_eq!(status, 200, "{removed}");
    }

    /// A charge of 1000 JPY from a customer's address.
    pub fn charge_from(&self, number: &str, ip: &str) -> Value {
        let mut body = self.card_charge(number);
        body["customer_ip"] = json!(ip);
        body
    }
}

/// Each with the rules that refuse it, and how many charges go before.
fn refusals(world: &World) -> Vec<(&'static str, Value, u32)> {
    let merchant = &world.keys.merchant;
    let of_merchant = |mut rule: Value| {
        rule["merchant_id"] = json!(merchant);
        rule
    };
    let velocity = |kind: &str, unit: &str| of_merchant(json!({"kind": kind, "limit": 1, "window": 2, "unit": unit}));
    let amount = |kind: &str, amount: &str| of_merchant(json!({"kind": kind, "currency": "JPY", "amount": amount}));
    vec![
        ("ERR3001", json!({"kind": "card_country", "countries": ["KP", "us"]}), 0),
        ("ERR3002", json!({"kind": "ip_block", "entries": ["1.1.1.1", "8.8.8.0/24"]}), 0),
        ("ERR3003", json!({"kind": "bin_block", "entries": ["411111", "520000"]}), 0),
        ("ERR3004", json!({"kind": "pan_block", "entries": ["4111 1111 1111 1111"]}), 0),
        ("ERR3005", json!({"kind": "issuing_country", "countries": ["GB"]}), 0),
        ("ERR3006", amount("max_amount", "999"), 0),
        ("ERR3016", amount("min_amount", "1001"), 0),
        ("ERR3007", of_merchant(json!({"kind": "ip_block", "entries": ["8.8.8.8/32"]})), 0),
        ("ERR3017", of_merchant(json!({"kind": "ip_allow", "entries": ["8.8.4.0/24", "2001:4860::/32"]})), 0),
        ("ERR3018", of_merchant(json!({"kind": "bin_block", "entries": ["41111111"]})), 0),
        ("ERR3008", velocity("card_velocity", "minutes"), 1),
        ("ERR3009", velocity("card_velocity", "hours"), 1),
        ("ERR3010", velocity("card_velocity", "days"), 1),
        ("ERR3011", velocity("card_velocity", "months"), 1),
        ("ERR3012", velocity("ip_velocity", "minutes"), 1),
        ("ERR3013", velocity("ip_velocity", "hours"), 1),
        ("ERR3014", velocity("ip_velocity", "days"), 1),
        ("ERR3015", velocity("ip_velocity", "months"), 1),
    ]
}

pub async fn each_code_is_recorded(engine: Engine) {
    let world = World::new(engine).await;
    let table = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/codes.rs")).unwrap();
    for (wanted, rule, before) in refusals(&world) {
        let id = world.rule(rule.clone()).await;
        let body = world.charge_from(ABROAD, IP);
        for _ in 0..before {
            assert_eq!(world.post("payment", &body).await.0, 201, "{wanted}");
        }
        for path in ["payment", "authorization", "paymentv2", "authorizationv2"] {
            let (status, refused) = world.post(path, &body).await;
            assert_eq!((status, refused["gateway_response"]["code"].as_str().unwrap()), (412, wanted), "{refused}");
            is_recorded(&world, wanted, &refused, &table).await;
            let text = refused.to_string();
            for hidden in [ABROAD, id.as_str(), "8.8.8.0", "520000", "8.8.4.0", "rule_"] {
                assert!(!text.contains(hidden), "{wanted} tells {hidden}: {text}");
            }
        }
        world.no_rule(&id).await;
        assert_eq!(world.post("payment", &body).await.0, 201, "{wanted} is gone with its rule");
    }
    world.books_are_clean();
}

/// As a transaction that was declined before the bank was asked.
async fn is_recorded(world: &World, wanted: &str, refused: &Value, table: &str) {
    let row = table.lines().find(|line| line.contains(&format!("\"{wanted}\""))).unwrap();
    let message = refused["gateway_response"]["message"].as_str().unwrap();
    assert!(row.contains(&format!("\"{message}\"")), "{wanted}: {message}");
    let response_code = refused["payment_details"]["response_code"].as_i64().unwrap();
    assert!(row.contains(&format!("Some({response_code})")), "{wanted}: {response_code}");
    assert_eq!(refused["success"], false);
    assert_eq!(refused["payment_details"]["auth_code"], Value::Null);
    assert_eq!(refused["risk-details"], json!({"risk_score": null}));
    let id = id_of(refused);
    assert!(refused["transaction_details"]["ref"].as_i64().unwrap() > 0);
    let (status, found) = world.get(&format!("transaction/status/{id}")).await;
    assert_eq!((status, &found["transaction_details"]["state"]), (200, &json!("DECLINED")), "{found}");
    assert_eq!(found["gateway_response"]["code"], wanted);
    let (_, story) = world.get(&format!("transaction/{id}/explain")).await;
    let steps: Vec<&str> =
        story["lines"].as_array().unwrap().iter().map(|line| line["step"].as_str().unwrap()).collect();
    assert!(steps.contains(&"risk") && !steps.contains(&"sent"), "{story}");
}

/// A stored card is judged as its number is, and so is a card that is to be stored.
pub async fn stored_cards_are_judged(engine: Engine) {
    let world = World::new(engine).await;
    let (_, token) = world.get(&format!("tokens/{}", world.token)).await;
    let fingerprint = token["token"]["fingerprint"].as_str().unwrap();
    let store = json!({"merchant_id": world.keys.merchant,
        "card": {"number": "5200000000001005", "expiry_month": "12", "expiry_year": "2040", "cvc": "123"}});
    for (wanted, rule) in [
        ("ERR3004", json!({"kind": "pan_block", "entries": [fingerprint]})),
        ("ERR3003", json!({"kind": "bin_block", "entries": [520_000]})),
        ("ERR3001", json!({"kind": "card_country", "countries": ["JP"]})),
    ] {
        let id = world.rule(rule).await;
        assert_eq!(code(&world.post("payment", &world.token_charge(&world.token)).await), (412, wanted));
        let stored = world.post("tokens", &store).await;
        assert_eq!(code(&stored), (412, wanted), "{}", stored.1);
        assert_eq!(stored.1["transaction_details"]["stored_payment_method_id"], Value::Null);
        world.no_rule(&id).await;
    }
    let all = json!({"kind": "max_amount", "merchant_id": world.keys.merchant, "currency": "JPY", "amount": 1});
    world.rule(all).await;
    assert_eq!(world.post("tokens", &store).await.0, 201, "a verification has no amount");
}

/// Of 64 at once exactly five pass; on PostgreSQL through two processes.
pub async fn velocity_is_exact(engine: Engine) {
    let world = World::new(engine).await;
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    let rule = |kind: &str| json!({"kind": kind, "merchant_id": world.keys.merchant, "limit": 5, "window": 10, "unit": "minutes"});
    let of_card = world.rule(rule("card_velocity")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        let not_sent = world.faulty("payment", "refused", None, &world.charge_from(ABROAD, IP)).await;
        assert_eq!(code(&not_sent), (502, "ERR1011"), "{}", not_sent.1);
    }
    let same_card = (0..64).map(|at| world.charge_from(ABROAD, &format!("8.8.4.{at}"))).collect();
    assert_eq!(at_once(&world, second.as_ref(), same_card).await, BTreeMap::from([(201, 5), (412, 59)]));
    // The window is over for the five: five more.
    world.sql(&format!("UPDATE risk_windows SET times = '{}'", "0000000000005".repeat(5))).await;
    let same_card = (0..64).map(|_| world.charge_from(ABROAD, "127.0.0.1")).collect();
    assert_eq!(at_once(&world, second.as_ref(), same_card).await, BTreeMap::from([(201, 5), (412, 59)]));
    world.no_rule(&of_card).await;
    world.rule(rule("ip_velocity")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cards = ["4111111111111111", "5200000000001005", "4000000000001091", "6011111111111117"];
    let same_ip = (0..64).map(|at| world.charge_from(cards[at % 4], "2606:4700::1")).collect();
    assert_eq!(at_once(&world, second.as_ref(), same_ip).await, BTreeMap::from([(201, 5), (412, 59)]));
    assert_eq!(code(&world.post("payment", &world.charge_from(ABROAD, "2606:4700::ffff")).await), (412, "ERR3012"));
    assert_eq!(world.post("payment", &world.charge_from(ABROAD, "2606:4700:0:1::1")).await.0, 201, "another network");
    world.books_are_clean();
}

/// How many answers there were of each status.
async fn at_once(world: &World, second: Option<&Server>, bodies: Vec<Value>) -> BTreeMap<u16, u32> {
    let mut running = tokio::task::JoinSet::new();
    for (at, body) in bodies.into_iter().enumerate() {
        let base = second.filter(|_| at % 2 == 1).map_or(&world.server.base, |server| &server.base);
        let url = format!("{base}/api/v1/server-to-server-interface/payment");
        let request = world.authed(world.http.post(url), &world.keys).json(&body);
        running.spawn(async move { answer(request).await.0 });
    }
    let mut counts = BTreeMap::new();
    for status in running.join_all().await {
        *counts.entry(status).or_insert(0) += 1;
    }
    counts
}

pub async fn shadows_and_scores(engine: Engine) {
    let world = World::new(engine).await;
    let merchant = &world.keys.merchant;
    let shadow = world.rule(json!({"kind": "bin_block", "entries": ["411111"], "effect": "shadow"})).await;
    let body = world.charge_from(ABROAD, IP);
    let (status, paid) = world.post("payment", &body).await;
    assert_eq!((status, &paid["risk-details"]["risk_score"]), (201, &Value::Null), "a shadow does not score");
    let explained = |id: String| {
        let world = &world;
        async move {
            let (_, story) = world.get(&format!("transaction/{id}/explain")).await;
            let lines = story["lines"].as_array().unwrap().clone();
            let of_risk = lines.iter().filter(|line| line["step"] == "risk");
            of_risk.map(|line| line["en"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
    };
    let told = explained(id_of(&paid)).await;
    assert_eq!(told, [format!("Rule {shadow} would have refused it (ERR3003), but only watches.")]);
    let score = |rule: Value, score: u32| {
        let mut rule = rule;
        (rule["effect"], rule["score"]) = (json!("score"), json!(score));
        rule
    };
    let country = world.rule(score(json!({"kind": "card_country", "countries": ["US"]}), 60)).await;
    let often = json!({"kind": "ip_velocity", "merchant_id": merchant, "limit": 1, "window": 1, "unit": "hours"});
    world.rule(score(often, 70)).await;
    let (_, first) = world.post("payment", &body).await;
    let (_, second) = world.post("payment", &body).await;
    assert_eq!(first["risk-details"], json!({"risk_score": 60}));
    assert_eq!(second["risk-details"], json!({"risk_score": 100}), "capped");
    let (_, found) = world.get(&format!("transaction/status/{}", id_of(&first))).await;
    assert_eq!(found["risk_details"], json!({"risk_score": 60}));
    let told = explained(id_of(&first)).await;
    assert_eq!(told[0], format!("Rule {country} added to the risk score (ERR3001)."));
    assert_eq!(told[2], "The risk score is 60 of 100.");
    let (_, calm) = world.post("payment", &world.charge_from("5200000000001005", "1.1.1.1")).await;
    assert_eq!(calm["risk-details"], json!({"risk_score": 0}));
    // A refusal has its score too.
    world.rule(json!({"kind": "max_amount", "merchant_id": merchant, "currency": "JPY", "amount": "999"})).await;
    let refused = world.post("payment", &body).await;
    assert_eq!((code(&refused), &refused.1["risk-details"]["risk_score"]), ((412, "ERR3006"), &json!(60)));
}

/// Real shops send 127.0.0.1 for every buyer: no rule counts or judges such an address.
pub async fn private_addresses_do_not_count(engine: Engine) {
    let world = World::new(engine).await;
    let merchant = &world.keys.merchant;
    world.rule(json!({"kind": "ip_block", "entries": ["0.0.0.0/0", "::/0"]})).await;
    world.rule(json!({"kind": "ip_allow", "merchant_id": merchant, "entries": ["1.1.1.1"]})).await;
    let often = json!({"kind": "ip_velocity", "merchant_id": merchant, "limit": 1, "window": 1, "unit": "days"});
    world.rule(often).await;
    for ip in
        ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1"]
    {
        assert_eq!(world.post("payment", &world.charge_from(ABROAD, ip)).await.0, 201, "{ip}");
    }
    assert_eq!(world.post("payment", &world.card_charge(ABROAD)).await.0, 201, "without an address");
    assert_eq!(code(&world.post("payment", &world.charge_from(ABROAD, "::ffff:1.1.1.1")).await), (412, "ERR3002"));
}

pub async fn rules_are_their_entitys(engine: Engine) {
    let world = World::new(engine).await;
    let other = world.other_entity();
    let add =
        ["merchant", "add", "--legal-name", "Second", "--country", "JP", "--currency", "JPY", "--json", "--entity"];
    let second: Value = serde_json::from_str(&world.run(&[&add[..], &[&world.keys.entity]].concat())).unwrap();
    let second = second["merchant_id"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let charge = |keys: &Keys, merchant: &str| {
        let mut body = world.charge_from(ABROAD, IP);
        body["merchant_id"] = json!(merchant);
        let keys = keys.clone();
        let world = &world;
        async move { world.post_as(&keys, "payment", &body).await.0 }
    };
    let rule = json!({"kind": "bin_block", "merchant_id": second, "entries": ["411111"]});
    let id = world.rule(rule.clone()).await;
    assert_eq!(charge(&world.keys, &world.keys.merchant).await, 201, "the rule is another merchant's");
    assert_eq!(charge(&world.keys, &second).await, 412);
    assert_eq!(charge(&other, &other.merchant).await, 201);
    let all = world.rule(json!({"kind": "bin_block", "entries": ["411111"]})).await;
    assert_eq!(charge(&world.keys, &world.keys.merchant).await, 412);
    assert_eq!(charge(&other, &other.merchant).await, 201);
    // The other entity neither sees nor touches them, nor makes rules for a merchant that is not its own.
    let theirs = answer(world.authed(world.http.get(world.url("risk/rules")), &other)).await;
    assert_eq!(theirs.1["rules"], json!([]));
    let delete = world.http.delete(world.url(&format!("risk/rules/{id}")));
    assert_eq!(code(&answer(world.authed(delete, &other)).await), (404, "VAL0005"));
    assert_eq!(world.post_as(&other, "risk/rules", &rule).await, (403, json!({"message": "Forbidden"})));
    assert_eq!(charge(&world.keys, &second).await, 412);
    // Removed by the command line, beside the running gateway: in force within a second.
    world.run(&["rule", "remove", &id]);
    world.run(&["rule", "remove", &all, "--json"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(charge(&world.keys, &second).await, 201);
}

/// The key's first answer is its last, whatever has become of the rule.
pub async fn a_refusal_is_the_keys_answer(engine: Engine) {
    let world = World::new(engine).await;
    let rule = json!({"kind": "bin_block", "entries": ["411111"]});
    let often =
        json!({"kind": "card_velocity", "merchant_id": world.keys.merchant, "limit": 1, "window": 1, "unit": "days"});
    let body = world.charge_from(ABROAD, IP);
    let keyed = async |key: &str, path: &str, body: &Value| {
        let request = world.authed(world.http.post(world.url(path)), &world.keys).header("idempotency-key", key);
        let response = request.json(body).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotent-replayed");
        (response.status().as_u16(), replayed, response.text().await.unwrap())
    };
    let added = keyed("rule", "risk/rules", &rule).await;
    let again = keyed("rule", "risk/rules", &rule).await;
    assert_eq!((added.0, again.0, again.1, &again.2), (201, 201, true, &added.2));
    assert_eq!(world.get("risk/rules").await.1["rules"].as_array().unwrap().len(), 1);
    assert_eq!(keyed("rule", "risk/rules", &often).await.0, 412, "another rule under the same key");
    let refused = keyed("charge", "payment", &body).await;
    assert_eq!(refused.0, 412, "{}", refused.2);
    let id = serde_json::from_str::<Value>(&added.2).unwrap()["rule"]["id"].as_str().unwrap().to_owned();
    world.no_rule(&id).await;
    let again = keyed("charge", "payment", &body).await;
    assert_eq!((again.0, again.1, &again.2), (412, true, &refused.2));
    world.rule(often).await;
    assert_eq!(keyed("second", "payment", &body).await.0, 201);
    let counted = keyed("third", "payment", &body).await;
    let again = keyed("third", "payment", &body).await;
    assert_eq!((counted.0, counted.1, again.0, again.1, &again.2), (412, false, 412, true, &counted.2));
    assert_eq!(keyed("second", "payment", &body).await.0, 201, "a repeat is not counted");
}

pub async fn refund_volumes(engine: Engine) {
    let world = World::new(engine).await;
    let paid = world.charged("payment", "10000").await;
    let volume = json!({"kind": "refund_volume", "merchant_id": world.keys.merchant, "currency": "JPY", "amount": "1000",
        "per": "month", "time_zone": "Asia/Tokyo"});
    let id = world.rule(volume.clone()).await;
    let whole = world.follow("refund", &paid, Some("1001")).await;
    assert_eq!(code(&whole), (412, "ERR3020"), "{}", whole.1);
    // What was not sent, and what the bank declines, is given back.
    let not_sent = world.faulty("refund", "refused", None, &world.following(&paid, Some("900"))).await;
    assert_eq!(code(&not_sent), (502, "ERR1011"));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = world.url("refund");
        let request = world.authed(world.http.post(url), &world.keys).json(&world.following(&paid, Some("300")));
        running.spawn(async move { answer(request).await });
    }
    let answers = running.join_all().await;
    let refused: Vec<&Value> = answers.iter().filter(|one| code(one) == (412, "ERR3020")).map(|one| &one.1).collect();
    assert_eq!((answers.iter().filter(|one| one.0 == 201).count(), refused.len()), (3, 5), "{answers:?}");
    let (_, found) = world.get(&format!("transaction/status/{}", id_of(refused[0]))).await;
    assert_eq!(found["transaction_details"]["state"], "DECLINED");
    assert_eq!(world.balance(&paid).await.2, json!(900));
    assert_eq!(world.follow("refund", &paid, Some("100")).await.0, 201, "the last of it");
    let full = world.follow("refund", &paid, Some("1")).await;
    assert_eq!(code(&full), (412, "ERR3020"), "{}", full.1);
    world.no_rule(&id).await;
    let mut shadow = volume;
    (shadow["effect"], shadow["amount"]) = (json!("shadow"), json!("1"));
    let shadow = world.rule(shadow).await;
    let watched = world.follow("refund", &paid, Some("2")).await;
    assert_eq!(watched.0, 201);
    let (_, story) = world.get(&format!("transaction/{}/explain", id_of(&watched.1))).await;
    assert!(story.to_string().contains(&format!("Rule {shadow} would have refused it (ERR3020)")), "{story}");
    world.books_are_clean();
}
