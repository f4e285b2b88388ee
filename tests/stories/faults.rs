//! Crashes, races, lost answers.

use crate::world::{Engine, World, answer, fuda};
use serde_json::{Value, json};
use std::time::Duration;

pub async fn killed_after_the_answer(engine: Engine) {
    let mut world = World::new(engine).await;
    let mut request = world.card_charge("4000000000001091");
    request["payment_method"] = json!({"store_payment_method": true});
    let (_, paid) = world.post("payment", &request).await;
    world.server.kill();
    world.restart();
    let id = paid["transaction_details"]["id"].as_str().unwrap();
    let token = paid["transaction_details"]["stored_payment_method_id"].as_str().unwrap();
    let (status, found) = world.get(&format!("transaction/status/{id}")).await;
    assert_eq!((status, &found["transaction_details"]["state"]), (200, &json!("APPROVED")));
    let (status, charged) = world.post("payment", &world.token_charge(token)).await;
    assert_eq!((status, &charged["success"]), (201, &json!(true)));
    assert_eq!(world.server.stop(), Some(0));
}

/// Sends the same request `count` times at once, in turn to each base, and gives the texts of all answers.
async fn storm(world: &World, bases: &[&str], key: &str, body: &Value, count: usize) -> Vec<(u16, String)> {
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        let url = format!("{}/api/v1/server-to-server-interface/payment", bases[number % bases.len()]);
        let request = world.authed(world.http.post(url), &world.keys).header("idempotency-key", key).json(body);
        running.spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        });
    }
    running.join_all().await
}

async fn one_charge(world: &World, bases: &[&str]) {
    let mut body = world.token_charge(&world.token);
    body["merchant_txn_ref"] = json!("storm");
    let answers = storm(world, bases, "鍵-1", &body, 200).await;
    let mut approved: Vec<&String> = answers.iter().filter(|one| one.0 == 201).map(|one| &one.1).collect();
    assert!(!approved.is_empty());
    approved.dedup();
    assert_eq!(approved.len(), 1, "all answers are equal byte for byte");
    for (status, text) in answers.iter().filter(|one| one.0 != 201) {
        assert_eq!(*status, 412);
        let refused: Value = serde_json::from_str(text).unwrap();
        assert_eq!(refused["gateway_response"]["code"], "ERR1008");
        assert!(refused["transaction_details"]["id"].is_string());
    }
    let query = format!("transaction/status?merchant_id={}&merchant_txn_ref=storm", world.keys.merchant);
    let list = world.get(&query).await.1;
    assert_eq!(list["transactions"].as_array().unwrap().len(), 1);
}

pub async fn one_key_two_hundred_clients(engine: Engine) {
    let world = World::new(engine).await;
    one_charge(&world, &[&world.server.base]).await;
}

/// On SQLite a second process is refused; on PostgreSQL both charge once between them.
pub async fn two_processes_one_key(engine: Engine) {
    let world = World::new(engine).await;
    if engine == Engine::Sqlite {
        let output = fuda(&world.folder, None).args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("another fuda serves"));
        return;
    }
    let second = world.second_process();
    one_charge(&world, &[&world.server.base, &second.base]).await;
}

pub async fn a_timeout_is_settled(engine: Engine) {
    let world = World::new(engine).await;
    let body = world.card_charge("4000000000000259");
    let ask = async || {
        let request = world.authed(world.http.post(world.url("payment")), &world.keys);
        answer(request.header("idempotency-key", "slow").json(&body)).await
    };
    let (first, running) = tokio::join!(ask(), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        ask().await
    });
    assert_eq!((running.0, &running.1["gateway_response"]["code"]), (412, &json!("ERR1008")));
    assert_eq!((first.0, &first.1["gateway_response"]["code"]), (504, &json!("ERR1010")));
    assert_eq!(first.1["payment_details"]["response_code"], 68);
    let id = first.1["transaction_details"]["id"].as_str().unwrap();
    assert_eq!(running.1["transaction_details"]["id"], id);
    for _ in 0..50 {
        let (status, replay) = ask().await;
        if status == 504 {
            assert_eq!(replay, first.1);
            let found = world.get(&format!("transaction/status/{id}")).await.1;
            assert_eq!(
                (&found["success"], &found["transaction_details"]["state"]),
                (&json!(false), &json!("REVERSED"))
            );
            return;
        }
        assert_eq!((status, &replay["gateway_response"]["code"]), (412, &json!("ERR1008")));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a time-out was not settled within five seconds");
}

/// A process that dies between intent and outcome leaves a payment that the sweep reverses: at once where it knows itself
/// alone (SQLite), past its `settle_after` where another process may be making it (PostgreSQL).
pub async fn killed_in_the_middle(engine: Engine) {
    let mut world = World::new(engine).await;
    let mut body = world.card_charge("4000000000000259");
    body["merchant_txn_ref"] = json!("cut");
    let request = world.authed(world.http.post(world.url("payment")), &world.keys);
    let running = tokio::spawn(request.header("idempotency-key", "cut").json(&body).send());
    let state = async |world: &World| {
        let query = format!("transaction/status?merchant_id={}&merchant_txn_ref=cut", world.keys.merchant);
        let list = world.get(&query).await.1;
        assert_eq!(list["transactions"].as_array().unwrap().len(), 1);
        list["transactions"][0]["transaction_details"]["state"].as_str().unwrap().to_owned()
    };
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(state(&world).await, "PENDING");
    if engine == Engine::Postgres {
        // A second process starts and sweeps: it never touches what the first one is making.
        let second = world.second_process();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(state(&world).await, "PENDING");
        drop(second);
    }
    world.server.kill();
    assert!(running.await.unwrap().is_err());
    world.restart();
    for _ in 0..100 {
        if state(&world).await == "REVERSED" {
            let request = world.authed(world.http.post(world.url("payment")), &world.keys);
            let (status, replay) = answer(request.header("idempotency-key", "cut").json(&body)).await;
            assert_eq!((status, &replay["gateway_response"]["code"]), (504, &json!("ERR1010")));
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("an intent without outcome was not reversed within ten seconds");
}

/// SIGTERM: what is in flight gets its answer, then the process ends well.
pub async fn a_stop_finishes_what_is_in_flight(engine: Engine) {
    let mut world = World::new(engine).await;
    let body = world.card_charge("4000000000000259");
    let request = world.authed(world.http.post(world.url("payment")), &world.keys).json(&body);
    let running = tokio::spawn(answer(request));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(tokio::task::block_in_place(|| world.server.stop()), Some(0));
    let (status, answered) = running.await.unwrap();
    assert_eq!((status, &answered["gateway_response"]["code"]), (504, &json!("ERR1010")));
}

/// A client that hangs up changes nothing: each payment that was begun ends.
pub async fn clients_that_hang_up(engine: Engine) {
    let world = World::new(engine).await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..50_u64 {
        let slow = number % 10 == 0;
        let mut body = world.card_charge(if slow { "4000000000000259" } else { "4111111111111111" });
        body["merchant_txn_ref"] = json!(format!("gone-{number}"));
        let request = world.authed(world.http.post(world.url("payment")), &world.keys).json(&body);
        let patience = Duration::from_millis(number % 20);
        running.spawn(async move { request.timeout(patience).send().await.is_ok() });
    }
    running.join_all().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut begun = 0;
    for number in 0..50 {
        let query = format!("transaction/status?merchant_id={}&merchant_txn_ref=gone-{number}", world.keys.merchant);
        let list = world.get(&query).await.1;
        for found in list["transactions"].as_array().unwrap() {
            begun += 1;
            let state = found["transaction_details"]["state"].as_str().unwrap();
            assert!(matches!(state, "APPROVED" | "REVERSED"), "{state}");
        }
    }
    assert!(begun > 0);
}

pub async fn keys_are_scoped(engine: Engine) {
    let world = World::new(engine).await;
    let ask = async |path: &str, key: &str, body: &Value| {
        let request = world.authed(world.http.post(world.url(path)), &world.keys);
        let response = request.header("idempotency-key", key).json(body).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotent-replayed");
        (response.status().as_u16(), replayed, response.text().await.unwrap())
    };
    let body = world.card_charge("4111111111111111");
    let first = ask("payment", "a", &body).await;
    let again = ask("payment", "a", &body).await;
    assert_eq!((first.0, first.1, again.0, again.1), (201, false, 201, true));
    assert_eq!(first.2, again.2);
    // The cvc is not part of what is remembered; everything else is.
    let mut other = body.clone();
    other["card"]["cvc"] = json!("999");
    assert_eq!(ask("payment", "a", &other).await.2, first.2);
    other["amount"] = json!("1001");
    assert!(ask("payment", "a", &other).await.2.contains("ERR1007"));
    assert!(ask("authorization", "a", &body).await.2.contains("ERR1007"));
    // What records nothing keeps no key.
    assert_eq!(ask("payment", "b", &world.card_charge("4000000000006975")).await.0, 502);
    assert_eq!(ask("payment", "b", &world.card_charge("4111111111111112")).await.0, 406);
    assert_eq!(ask("payment", "b", &body).await.0, 201);
    let declined = ask("payment", "c", &world.card_charge("4000000000000002")).await;
    assert_eq!(ask("payment", "c", &world.card_charge("4000000000000002")).await.2, declined.2);
    assert_eq!(ask("payment", &"k".repeat(256), &body).await.0, 400);
}

/// One clear line and exit 1.
pub async fn start_refusals(engine: Engine) {
    let mut world = World::new(engine).await;
    let database = world.database_url.clone();
    let refused = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = fuda(&world.folder, database.as_deref());
        let output = command.args(args).envs(environment.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let port = world.server.base.rsplit(':').next().unwrap().to_owned();
    let taken = refused(&["serve", "--listen", &format!("127.0.0.1:{port}")], &[]);
    assert!(taken.contains("cannot listen on"), "{taken}");
    let live =
        refused(&["merchant", "add", "--legal-name", "L", "--country", "JP", "--currency", "JPY", "--live"], &[]);
    assert!(live.contains("PCI DSS 3.6.1.2"), "{live}");
    let wrong = refused(&["merchant", "list"], &[("FUDA_VAULT_KEY", &"ab".repeat(32))]);
    assert!(wrong.contains("not the one that this database was sealed with"), "{wrong}");
    world.server.kill();
    let file = world.folder.join("a file");
    std::fs::write(&file, "").unwrap();
    let output = fuda(&file, None).arg("serve").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("cannot make the data folder"), "{text}");
    let config = world.folder.join("fuda.toml");
    std::fs::write(&config, "lissen = \"127.0.0.1:0\"\n").unwrap();
    let unknown = refused(&["serve", "--config", config.to_str().unwrap()], &[]);
    assert!(unknown.contains("lissen"), "{unknown}");
    let key = world.folder.join("vault.key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let missing = refused(&["serve", "--listen", "127.0.0.1:0"], &[]);
    assert!(missing.contains("is missing, but the database holds data"), "{missing}");
    assert!(!key.exists(), "no new key is made over existing data");
    std::fs::write(&key, &kept).unwrap();
    let open = refused(&["merchant", "list"], &[]);
    assert!(open.contains("chmod 600"), "{open}");
    std::fs::remove_file(&key).unwrap();
    let unreachable =
        fuda(&world.folder, Some("postgres://nobody:geheim@127.0.0.1:1/x")).arg("migrate").output().unwrap();
    let text = String::from_utf8(unreachable.stderr).unwrap();
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(text.contains("127.0.0.1:1") && !text.contains("geheim"), "{text}");
}
