//! Capture, refund and void: what follows a charge.

use crate::world::{Engine, World, answer, stable};
use serde_json::{Value, json};
use std::time::Duration;

impl World {
    pub async fn charged(&self, path: &str, amount: &str) -> String {
        let mut body = self.token_charge(&self.token);
        body["amount"] = json!(amount);
        body["merchant_txn_ref"] = json!("注文-7");
        let (status, paid) = self.post(path, &body).await;
        assert_eq!((status, &paid["success"]), (201, &json!(true)), "{paid}");
        id_of(&paid)
    }

    pub async fn follow(&self, path: &str, id: &str, amount: Option<&str>) -> (u16, Value) {
        self.post(path, &self.following(id, amount)).await
    }

    pub fn following(&self, id: &str, amount: Option<&str>) -> Value {
        let mut body = json!({"transactionId": id, "merchant_id": self.keys.merchant});
        if let Some(amount) = amount {
            body["amount"] = json!(amount);
        }
        body
    }

    /// State, captured amount, refunded amount.
    pub async fn balance(&self, id: &str) -> (String, Value, Value) {
        let (status, found) = self.get(&format!("transaction/status/{id}")).await;
        assert_eq!(status, 200, "{found}");
        let details = &found["transaction_details"];
        let state = details["state"].as_str().unwrap().to_owned();
        (state, details["captured_amount"].clone(), details["refunded_amount"].clone())
    }

    pub async fn faulty(&self, path: &str, fault: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
        let mut request = self.authed(self.http.post(self.url(path)), &self.keys).header("fuda-sandbox-fault", fault);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(request.json(body)).await
    }

    /// Both sides agree, and the ledger is whole.
    pub fn books_are_clean(&self) {
        let compared: Value = serde_json::from_str(&self.run(&["reconcile", "--json"])).unwrap();
        for list in ["missing_here", "missing_there", "different"] {
            assert_eq!(compared[list], json!([]), "{compared}");
        }
        let verified: Value = serde_json::from_str(&self.run(&["ledger", "verify", "--json"])).unwrap();
        assert_eq!(verified["fault"], Value::Null);
    }
}

pub fn id_of(answer: &Value) -> String {
    answer["transaction_details"]["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}")).to_owned()
}

pub fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["gateway_response"]["code"].as_str().unwrap())
}

/// The contract's sample of a capture, key by key.
fn is_the_capture(shown: &str) {
    insta::allow_duplicates! { insta::assert_snapshot!(shown, @r#"
    {
      "gateway_response": {
        "code": "INFO0001",
        "message": "Amount successfully captured.",
        "type": "INFO",
        "version": "1"
      },
      "is_live": false,
      "merchant_details": {
        "legal_name": "札の店 (Fuda sandbox)",
        "merchant_txn_ref": "注文-7",
        "mid": "<merchant>"
      },
      "payment_details": {
        "additional_data": {
          "payment_data_source": {
            "type": "card"
          }
        },
        "amount": 700,
        "auth_code": "<auth code>",
        "card": {
          "exp_month": "12",
          "exp_year": "40",
          "name": "YAMADA HANAKO",
          "number": "520000******1005"
        },
        "currency": "JPY",
        "payment_method": "ECMC-SSL",
        "response_code": 0,
        "scheme": "MASTERCARD"
      },
      "status_code": 201,
      "success": true,
      "transaction_details": {
        "id": "<id>",
        "merchant_txn_ref": "注文-7",
        "ref": "<ref>",
        "timestamp": "<timestamp>"
      },
      "transaction_type": "CAPTURE"
    }
    "#); }
}

pub async fn captured_and_refunded(engine: Engine) {
    let world = World::new(engine).await;
    let hold = world.charged("authorization", "1000").await;
    let mut body = world.following(&hold, Some("700"));
    body["notes"] = json!("一部出荷");
    let (status, captured) = world.post("capture", &body).await;
    assert_eq!(status, 201, "{captured}");
    let shown = stable(&captured).replace(&world.keys.merchant, "<merchant>");
    is_the_capture(&shown);
    let capture = id_of(&captured);
    let held = world.get(&format!("transaction/status/{hold}")).await.1;
    assert_eq!(captured["payment_details"]["auth_code"], held["payment_details"]["auth_code"]);
    assert_eq!((&held["success"], &held["gateway_response"]["code"]), (&json!(true), &json!("INFO0000")));
    assert_eq!(world.balance(&hold).await, ("CAPTURED".to_owned(), json!(700), json!(0)));
    let refused = world.follow("capture", &hold, Some("1")).await;
    assert_eq!(code(&refused), (412, "ERR1005"));
    assert_eq!(
        (&refused.1["transaction_type"], &refused.1["transaction_details"]["id"]),
        (&json!("CAPTURE"), &Value::Null)
    );
    assert_eq!(code(&world.follow("void", &hold, None).await), (412, "ERR1005"));
    // Of a hold nothing is refunded; of its capture up to its amount.
    assert_eq!(code(&world.follow("refund", &hold, Some("1")).await), (412, "ERR1005"));
    let refunded = world.follow("refund", &capture, Some("300")).await;
    assert_eq!(code(&refunded), (201, "INFO0002"));
    assert_eq!(refunded.1["transaction_type"], "REFUND");
    let more = world.follow("refund", &capture, Some("400.5")).await;
    assert_eq!((more.0, &more.1["errors"][0]["code"]), (400, &json!("decimals")));
    assert_eq!(code(&world.follow("refund", &capture, Some("401")).await), (412, "ERR3019"));
    assert_eq!(code(&world.follow("refund", &capture, Some("400")).await), (201, "INFO0002"));
    assert_eq!(world.balance(&capture).await, ("APPROVED".to_owned(), json!(700), json!(700)));
    assert_eq!(world.balance(&hold).await, ("CAPTURED".to_owned(), json!(700), json!(700)));
    assert_eq!(world.balance(&id_of(&refunded.1)).await, ("APPROVED".to_owned(), json!(0), json!(0)));
}

pub async fn voids_and_balances(engine: Engine) {
    let world = World::new(engine).await;
    let first = world.charged("authorization", "1000").await;
    let capture = id_of(&world.follow("capture", &first, Some("700")).await.1);
    assert_eq!(code(&world.follow("refund", &capture, Some("700")).await), (201, "INFO0002"));
    let second = world.charged("authorization", "500").await;
    let voided = world.follow("void", &second, None).await;
    assert_eq!(code(&voided), (201, "INFO0003"));
    assert_eq!((&voided.1["transaction_type"], &voided.1["payment_details"]["amount"]), (&json!("VOID"), &json!(500)));
    assert_eq!(world.balance(&second).await.0, "VOIDED");
    assert_eq!(code(&world.follow("void", &second, None).await), (412, "ERR1005"));
    assert_eq!(code(&world.follow("capture", &second, Some("500")).await), (412, "ERR1005"));
    world.books_are_clean();
    let balances = world.run(&["ledger", "balances"]);
    let rows: Vec<Vec<&str>> = balances.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
    for row in [["test", "held", "0", "JPY"], ["test", "receivable", "0", "JPY"], ["test", "captured", "-700", "JPY"]] {
        assert!(rows.contains(&row.to_vec()), "{row:?} in {balances}");
    }
}

/// A card that an authorization stored is told by the status of the hold also when it has been captured or let go.
pub async fn a_holds_token_stays(engine: Engine) {
    let world = World::new(engine).await;
    for (path, amount) in [("capture", Some("1000")), ("void", None)] {
        let mut body = world.card_charge("4111111111111111");
        body["payment_method"] = json!({"store_payment_method": true});
        let (_, held) = world.post("authorization", &body).await;
        let token = held["transaction_details"]["stored_payment_method_id"].clone();
        assert!(token.is_string());
        assert_eq!(world.follow(path, &id_of(&held), amount).await.0, 201);
        let found = world.get(&format!("transaction/status/{}", id_of(&held))).await.1;
        assert_eq!(found["transaction_details"]["stored_payment_method_id"], token, "{path}");
    }
}

pub async fn refusals_of_what_follows(engine: Engine) {
    let world = World::new(engine).await;
    let hold = world.charged("authorization", "1000").await;
    let paid = world.charged("payment", "1000").await;
    assert_eq!(code(&world.follow("capture", &hold, Some("1001")).await), (412, "ERR1006"));
    for path in ["capture", "void"] {
        assert_eq!(code(&world.follow(path, &paid, Some("1")).await), (412, "ERR1005"), "{path}");
    }
    let (_, stored) = world
        .post(
            "tokens",
            &json!({"merchant_id": world.keys.merchant,
            "card": {"number": "4111111111111111", "expiry_month": "1", "expiry_year": "2040", "cvc": "123"}}),
        )
        .await;
    let verification = id_of(&stored);
    for path in ["capture", "void", "refund"] {
        assert_eq!(code(&world.follow(path, &verification, Some("1")).await), (412, "ERR1005"), "{path}");
    }
    let nobody = "0199a5f0-0000-7000-8000-000000000000";
    let other = world.other_entity();
    tokio::time::sleep(Duration::from_millis(900)).await;
    for path in ["capture", "refund", "void"] {
        let unknown = world.follow(path, nobody, Some("1")).await;
        assert_eq!(code(&unknown), (404, "ERR1004"), "{path}");
        let mut body = world.following(&paid, Some("1"));
        body["merchant_id"] = json!(other.merchant);
        let theirs = world.post_as(&other, path, &body).await;
        let strip = |answer: &Value| stable(answer);
        assert_eq!(strip(&theirs.1), strip(&unknown.1), "another entity's is one that does not exist");
        assert_eq!(world.post(path, &body).await, (403, json!({"message": "Forbidden"})), "another entity's merchant");
        let wrong = world.post(path, &json!({"notes": "4111111111111111", "amount": [], "merchant_id": 7})).await;
        assert_eq!(wrong.0, 400);
        let fields: Vec<_> =
            wrong.1["errors"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
        let wanted: &[&str] = if path == "void" {
            &["transactionId", "merchant_id", "notes"]
        } else {
            &["transactionId", "merchant_id", "amount", "notes"]
        };
        assert_eq!(fields, wanted, "{path}");
        let mut body = world.following("x", Some("1e3"));
        body["notes"] = json!("長".repeat(129));
        assert_eq!(world.post(path, &body).await.0, 400);
    }
    // The same entity's other merchant: its transaction is not this one's (contract 4.2).
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
    let made: Value = serde_json::from_str(&made).unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let mut body = world.following(&paid, Some("1"));
    body["merchant_id"] = made["merchant_id"].clone();
    assert_eq!(code(&world.post("refund", &body).await), (404, "ERR1004"));
    // The alias of the public samples' siblings.
    let body = json!({"transaction_id": paid, "merchant_id": world.keys.merchant, "amount": 1});
    assert_eq!(code(&world.post("refund", &body).await), (201, "INFO0002"));
}

/// A refusal by the balance is recorded, and a key replays it byte for byte.
pub async fn a_refused_refund_is_recorded(engine: Engine) {
    let world = World::new(engine).await;
    let paid = world.charged("payment", "1000").await;
    let ask = async || {
        let request = world.authed(world.http.post(world.url("refund")), &world.keys).header("idempotency-key", "r");
        let response = request.json(&world.following(&paid, Some("1001"))).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotent-replayed");
        (response.status().as_u16(), replayed, response.text().await.unwrap())
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.0, first.1, again.0, again.1), (412, false, 412, true));
    assert_eq!(first.2, again.2);
    let refused: Value = serde_json::from_str(&first.2).unwrap();
    assert_eq!(refused["gateway_response"]["code"], "ERR3019");
    assert_eq!(refused["payment_details"]["response_code"], -8019);
    assert!(refused["transaction_details"]["ref"].as_i64().unwrap() > 0);
    assert_eq!(world.balance(&id_of(&refused)).await.0, "DECLINED");
    assert_eq!(world.balance(&paid).await, ("APPROVED".to_owned(), json!(1000), json!(0)));
}

async fn many(world: &World, bases: &[&str], path: &str, bodies: Vec<Value>) -> Vec<(u16, Value)> {
    let mut running = tokio::task::JoinSet::new();
    for (number, body) in bodies.into_iter().enumerate() {
        let url = format!("{}/api/v1/server-to-server-interface/{path}", bases[number % bases.len()]);
        running.spawn(answer(world.authed(world.http.post(url), &world.keys).json(&body)));
    }
    running.join_all().await
}

/// 64 refunds of 100 race for 1,000: exactly ten win, also between two processes.
pub async fn racing_refunds(engine: Engine) {
    let world = World::new(engine).await;
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    let mut bases = vec![world.server.base.as_str()];
    bases.extend(second.as_ref().map(|server| server.base.as_str()));
    let paid = world.charged("payment", "1000").await;
    let bodies = (0..64).map(|_| world.following(&paid, Some("100"))).collect();
    let answers = many(&world, &bases, "refund", bodies).await;
    let count = |status: u16, word: &str| answers.iter().filter(|one| code(one) == (status, word)).count();
    assert_eq!((count(201, "INFO0002"), count(412, "ERR3019")), (10, 54), "{answers:?}");
    assert_eq!(world.balance(&paid).await, ("APPROVED".to_owned(), json!(1000), json!(1000)));
    world.books_are_clean();
}

/// Capture and void of one hold at once, many times: exactly one wins, and the bank agrees.
pub async fn racing_capture_and_void(engine: Engine) {
    let world = World::new(engine).await;
    let rounds = 500;
    let mut won = [0, 0];
    for batch in 0..rounds / 25 {
        let mut running = tokio::task::JoinSet::new();
        for number in 0..25 {
            let hold = world.charged("authorization", "100").await;
            let (first, other) = if (batch + number) % 2 == 0 { ("capture", "void") } else { ("void", "capture") };
            let ask = |path: &str| {
                let body = world.following(&hold, (path == "capture").then_some("100"));
                answer(world.authed(world.http.post(world.url(path)), &world.keys).json(&body))
            };
            let (one, two) = (ask(first), ask(other));
            running.spawn(async move { (first, tokio::join!(one, two)) });
        }
        for (first, (one, two)) in running.join_all().await {
            let approved = [one.0 == 201, two.0 == 201];
            assert_eq!(approved.iter().filter(|won| **won).count(), 1, "{one:?} {two:?}");
            let loser = if approved[0] { &two } else { &one };
            assert_eq!(code(loser), (412, "ERR1005"));
            won[usize::from(approved[0] != (first == "capture"))] += 1;
        }
    }
    assert_eq!(won[0] + won[1], rounds);
    assert!(won[0] > 0 && won[1] > 0, "a race that one side always wins is none: {won:?}");
    world.books_are_clean();
}

pub async fn wait_for(world: &World, id: &str, state: &str) -> bool {
    for _ in 0..100 {
        if world.balance(id).await.0 == state {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

/// A hold that nobody captures lapses at its merchant's term: a void of the gateway's own.
pub async fn a_hold_lapses(engine: Engine) {
    let world = World::new(engine).await;
    let made = world.run(&[
        "merchant",
        "add",
        "--legal-name",
        "短期",
        "--country",
        "JP",
        "--currency",
        "JPY",
        "--hold",
        "2s",
        "--entity",
        &world.keys.entity,
        "--json",
    ]);
    let made: Value = serde_json::from_str(&made).unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let mut body = world.token_charge(&world.token);
    body["merchant_id"] = made["merchant_id"].clone();
    let (_, held) = world.post("authorization", &body).await;
    let (_, taken) = world.post("authorization", &body).await;
    let (hold, taken) = (id_of(&held), id_of(&taken));
    let mut capture = world.following(&taken, Some("1000"));
    capture["merchant_id"] = made["merchant_id"].clone();
    assert_eq!(code(&world.post("capture", &capture).await), (201, "INFO0001"));
    assert!(wait_for(&world, &hold, "LAPSED").await);
    assert_eq!(world.balance(&taken).await.0, "CAPTURED");
    let found = world.get(&format!("transaction/status/{hold}")).await.1;
    assert_eq!((&found["success"], &found["gateway_response"]["code"]), (&json!(true), &json!("INFO0000")));
    capture["transactionId"] = json!(hold);
    assert_eq!(code(&world.post("capture", &capture).await), (412, "ERR1005"));
    let story = world.get(&format!("transaction/{hold}/explain")).await.1;
    let void = story["lines"].as_array().unwrap().iter().find(|line| line["step"] == "followed_by").unwrap();
    let void = void["en"].as_str().unwrap().split(' ').nth(1).unwrap();
    let void = world.get(&format!("transaction/status/{void}")).await.1;
    assert_eq!((&void["transaction_type"], &void["gateway_response"]["code"]), (&json!("VOID"), &json!("INFO0003")));
    world.books_are_clean();
}
