//! Payments that go over a line to a bank's host: the sandbox's own, behind ISO 8583.

use crate::browser::Browser;
use crate::charge::seed_request;
use crate::follow::{code, id_of, wait_for};
use crate::host::{GENERIC, ODD};
use crate::renewals::{begin, cycles};
use crate::threeds::{self, CHALLENGED, through};
use crate::world::{Engine, World, answer};
use serde_json::{Value, json};

/// What became of a charge, in a word or two.
fn said(answer: &(u16, Value)) -> String {
    let (status, code) = code(answer);
    format!("{status} {code} {}", answer.1["payment_details"]["response_code"])
}

impl World {
    /// One of each, and what both sides say of it afterwards.
    async fn tour(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut tell = |what: &str, answer: &(u16, Value)| told.push(format!("{what}: {}", said(answer)));
        let (status, paid) = answer(
            self.authed(self.http.post(self.url("payment")), &self.keys)
                .header("content-type", "application/json")
                .body(seed_request(self, "stored_payment_method_id")),
        )
        .await;
        tell("the seed page's token", &(status, paid.clone()));
        tell("a refund of a part", &self.follow("refund", &id_of(&paid), Some("400")).await);
        tell("more than the rest", &self.follow("refund", &id_of(&paid), Some("601")).await);
        let card = self.card_charge("4000000000001091");
        tell("a card", &self.post("payment", &card).await);
        let held = self.post("authorization", &card).await;
        tell("a hold", &held);
        tell("a capture of a part", &self.follow("capture", &id_of(&held.1), Some("600")).await);
        let held = self.post("authorization", &card).await;
        tell("its void", &self.follow("void", &id_of(&held.1), None).await);
        for number in
            ["4000000000000002", "4000000000009995", "4000000000009987", "4000000000000127", "4000000000000119"]
        {
            tell(number, &self.post("payment", &self.card_charge(number)).await);
        }
        let begun = begin(self, "4000000000001091", cycles(2)).await;
        self.advance("P2D").await;
        told.push(format!("a renewal: {}", begun.stands(self).await));
        told
    }
}

const TOUR: [&str; 13] = [
    "the seed page's token: 201 INFO0000 0",
    "a refund of a part: 201 INFO0002 0",
    "more than the rest: 412 ERR3019 -8019",
    "a card: 201 INFO0000 0",
    "a hold: 201 INFO0000 0",
    "a capture of a part: 201 INFO0001 0",
    "its void: 201 INFO0003 0",
    "4000000000000002: 201 ERR1000 5",
    "4000000000009995: 201 ERR1000 51",
    "4000000000009987: 201 ERR1000 41",
    "4000000000000127: 201 ERR1000 580",
    "4000000000000119: 201 ERR1000 96",
    "a renewal: EXPIRED 2, ",
];

async fn toured(engine: Engine, dialect: &str, settings: &str) {
    let mut world = World::new(engine).await;
    let _host = world.with_host(dialect, settings);
    let told = world.tour().await;
    assert_eq!(told.len(), TOUR.len());
    for (told, expected) in told.iter().zip(TOUR) {
        assert!(told.starts_with(expected), "{told}, not {expected}");
    }
    // What the capture left of its hold is let go at the host.
    let books = world.host_books();
    let kinds = |state: i64| -> Vec<(i64, i64)> {
        let books = rusqlite::Connection::open(&books).unwrap();
        let sql = "SELECT kind, COUNT(*) FROM operations WHERE state = ?1 GROUP BY kind ORDER BY kind";
        let mut found = books.prepare(sql).unwrap();
        found.query_map([state], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    for _ in 0..100 {
        if kinds(1).iter().any(|row| row.0 == 7) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // One hold captured, four purchases and renewals, a capture, a refund, a void, a release.
    assert_eq!(kinds(1), [(1, 1), (2, 4), (4, 1), (5, 1), (6, 1), (7, 1)]);
    world.books_agree("acme");
}

pub async fn paid_through_a_host(engine: Engine) {
    toured(engine, GENERIC, "").await;
}

/// Another version, other encodings, other fields: the dialect is data.
pub async fn paid_in_another_dialect(engine: Engine) {
    toured(engine, ODD, "sign_on = false\necho_s = 0").await;
}

/// A card is verified and stored there, and its story names the messages.
pub async fn stored_and_explained(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = world.with_host(GENERIC, "");
    let body = json!({"merchant_id": world.keys.merchant, "payment_method": {"type": "scheme"},
        "card": world.card_charge("4000000000001091")["card"]});
    let (status, stored) = world.post("tokens", &body).await;
    assert_eq!(status, 201, "{stored}");
    let token = stored["token"]["id"].as_str().unwrap().to_owned();
    let (status, paid) = world.post("payment", &world.token_charge(&token)).await;
    assert_eq!((status, &paid["success"]), (201, &json!(true)), "{paid}");
    let story = world.get(&format!("transaction/{}/explain", id_of(&paid))).await.1.to_string();
    assert!(story.contains("went to acquirer acme under reference") && story.contains(", trace number "), "{story}");
    world.books_agree("acme");
    // No card number in either log, nor in the host's books.
    for file in [world.folder.with_extension("log"), world.folder.with_extension("host.log"), world.host_books()] {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(16).any(|window| window == b"4000000000001091");
        assert!(!found, "a card number in {}", file.display());
    }
}

/// The host hears who asked, and how the cardholder was authenticated: its answers to this card depend on both.
pub async fn the_host_hears_who_asked(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = world.with_host(GENERIC, "");
    let plain = world.post("payment", &world.card_charge(CHALLENGED)).await;
    assert!(said(&plain).starts_with("201 ERR1009 65"), "{}", plain.1);
    let (status, redirect) = world.post("paymentv2", &threeds::charge(&world, CHALLENGED)).await;
    assert_eq!(status, 200, "{redirect}");
    let back = through(&Browser::new(), redirect["redirect_url"].as_str().unwrap(), "123456").await.location.unwrap();
    assert!(back.starts_with("https://shop.example/paid"), "{back}");
    let status = world.get(&format!("transaction/status/{}", id_of(&redirect))).await.1;
    assert_eq!((&status["success"], &status["payment_details"]["three_d_secure"]["eci"]), (&json!(true), &json!("05")));
    // The merchant charges what was stored; the cardholder is asked again.
    let card = world.card_charge(CHALLENGED)["card"].clone();
    let (status, stored) = world.post("tokens", &json!({"merchant_id": world.keys.merchant, "card": card})).await;
    assert_eq!(status, 201, "{stored}");
    let mut charge = world.token_charge(stored["token"]["id"].as_str().unwrap());
    let asked = world.post("payment", &charge).await;
    assert!(said(&asked).starts_with("201 ERR1009 65"), "{}", asked.1);
    charge["payment_method"]["initiator"] = json!("merchant");
    charge["payment_method"]["reason"] = json!("recurring");
    let renewed = world.post("payment", &charge).await;
    assert_eq!(code(&renewed), (201, "INFO0000"), "{}", renewed.1);
    world.books_agree("acme");
}

/// No answer: the charge is reversed.
pub async fn without_an_answer(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = world.with_host(GENERIC, "");
    let silent = world.post("payment", &world.card_charge("4000000000000259")).await;
    assert_eq!(code(&silent), (504, "ERR1010"), "{}", silent.1);
    let id = id_of(&silent.1);
    assert!(wait_for(&world, &id, "REVERSED").await);
    world.post("payment", &world.card_charge("4000000000001091")).await;
    world.books_agree("acme");
}

/// Accounts in wallets are no cards: a line to a bank takes none.
pub async fn cards_only(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = world.with_host(GENERIC, "");
    let mut body = world.card_charge("4000000000001091");
    body.as_object_mut().unwrap().remove("card");
    body["payment_method"] = json!({"type": "gcash"});
    body["return_url"] = json!({"success_url": "https://shop.example/yes", "decline_url": "https://shop.example/no"});
    let refused = world.post("paymentv2", &body).await;
    assert_eq!(code(&refused), (412, "ERR1015"), "{}", refused.1);
}
