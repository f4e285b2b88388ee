//! What an operator does: keys while the gateway runs, live keys, logs for machines, a database of a newer version.

use crate::world::{Engine, Keys, Server, World, answer, fuda};
use serde_json::{Value, json};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub const ADD_LIVE: [&str; 10] =
    ["merchant", "add", "--legal-name", "Live K.K.", "--country", "JP", "--currency", "JPY", "--live", "--json"];

/// Runs it to its end, which must be exit 1 with one line. What serves instead is ended.
pub fn refused(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Of one that has ended it does nothing.
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// A program that does not know the schema touches nothing and says which one it needs.
pub async fn a_newer_schema_is_refused(engine: Engine) {
    let mut world = World::new(engine).await;
    assert_eq!(world.server.stop(), Some(0));
    let insert = "INSERT INTO fuda_schema (version, name, checksum, applied_at) VALUES (999, 'later', '', 0)";
    world.sql(insert).await;
    for args in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"], &["key", "list"]] {
        let text = refused(fuda(&world.folder, world.database_url.as_deref()).args(args));
        assert!(text.contains("the database has schema 999, this version knows"), "{text}");
    }
}

/// As version 1 of the schema left it.
const OLDER: &str = "DROP INDEX transactions_by_parent; DROP INDEX transactions_unknown; \
     ALTER TABLE transactions DROP COLUMN parent_id; ALTER TABLE transactions DROP COLUMN captured_minor; \
     ALTER TABLE transactions DROP COLUMN refund_reserved_minor; ALTER TABLE transactions DROP COLUMN refunded_minor; \
     ALTER TABLE transactions DROP COLUMN unresolved; ALTER TABLE merchants DROP COLUMN hold_ms; DROP TABLE jobs; DROP TABLE test_clocks; \
     DROP TABLE ledger_entries; DROP TABLE ledger_seals; DROP TABLE audit_log; DROP TABLE sweeps; \
     DROP TABLE risk_lists; DROP TABLE risk_rules; DROP TABLE risk_version; DROP TABLE risk_windows; \
     DROP TABLE risk_volumes; DROP TABLE events; DROP TABLE webhook_tries; ALTER TABLE webhook_secrets DROP COLUMN before_key_id; \
     ALTER TABLE webhook_secrets DROP COLUMN before_wrapped_key; ALTER TABLE webhook_secrets DROP COLUMN before_sealed; \
     ALTER TABLE webhook_secrets DROP COLUMN before_until; \
     DROP TABLE bin_table; DROP TABLE bin_ranges; ALTER TABLE api_keys DROP COLUMN per_second; \
     ALTER TABLE api_keys DROP COLUMN burst; \
     ALTER TABLE merchants DROP COLUMN three_ds; ALTER TABLE merchants DROP COLUMN three_ds_unavailable; \
     ALTER TABLE tokens DROP COLUMN authenticated; \
     DROP TABLE links; DROP TABLE link_tries; DROP TABLE merchant_logos; ALTER TABLE merchants DROP COLUMN page_accent; \
     ALTER TABLE merchants DROP COLUMN page_logo; ALTER TABLE merchants DROP COLUMN page_frames; \
     DROP TABLE wallets; DROP TABLE wallet_version; DROP TABLE wallet_tokens; ALTER TABLE tokens DROP COLUMN device; \
     DROP TABLE subscriptions; DROP TABLE subscription_charges; DROP INDEX tokens_by_owner; \
     ALTER TABLE tokens DROP COLUMN owner; ALTER TABLE merchants DROP COLUMN retry_days; \
     DROP TABLE routes; DROP TABLE traces; DROP INDEX attempts_by_rrn; ALTER TABLE attempts DROP COLUMN route_id; \
     ALTER TABLE attempts DROP COLUMN stan; ALTER TABLE attempts DROP COLUMN rrn; \
     DELETE FROM fuda_schema WHERE version > 1";

/// What an earlier version left goes on: its unknown payment is reversed, its hold can be captured, its money is in the
/// ledger. On PostgreSQL the operator migrates, on SQLite a start does.
pub async fn an_older_schema_goes_on(engine: Engine) {
    let mut world = World::new(engine).await;
    let (paid, hold) = (world.charged("payment", "1000").await, world.charged("authorization", "500").await);
    let lost = world.charged("payment", "700").await;
    assert_eq!(world.server.stop(), Some(0));
    let unknown = "UPDATE transactions SET state = 2, code = 'ERR1010', settle_after = 5 WHERE amount_minor = 700";
    world.sql(unknown).await;
    world.sql(OLDER).await;
    if engine == Engine::Postgres {
        let text =
            refused(fuda(&world.folder, world.database_url.as_deref()).args(["serve", "--listen", "127.0.0.1:0"]));
        assert!(text.contains("the database has schema 1, this version needs"), "{text}");
        let said: Value = serde_json::from_str(&world.run(&["migrate", "--json"])).unwrap();
        let newest = fuda::db::MIGRATIONS.last().unwrap().version;
        let later = fuda::db::MIGRATIONS.len() - 1;
        assert_eq!(said, json!({"applied": later, "version": newest}));
    }
    world.restart();
    let mut state = String::new();
    for _ in 0..50 {
        state = world.balance(&lost).await.0;
        if state == "REVERSED" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(state, "REVERSED");
    assert_eq!(world.follow("refund", &paid, Some("1000")).await.0, 201);
    let story = world.get(&format!("transaction/{hold}/explain")).await.1;
    assert_eq!(story["lines"].as_array().unwrap().last().unwrap()["step"], "planned", "the hold has an end: {story}");
    assert_eq!(world.follow("capture", &hold, Some("500")).await.0, 201);
    world.books_are_clean();
    assert!(world.run(&["migrate"]).contains(" already"));
}

/// A payment's own sealed card goes after 400 days, a hold's when it is let go.
pub async fn old_cards_are_erased(engine: Engine) {
    let mut world = World::new(engine).await;
    let (old, new) = (world.charged("payment", "1000").await, world.charged("payment", "1000").await);
    let hold = world.charged("authorization", "1000").await;
    assert_eq!(world.follow("void", &hold, None).await.0, 201);
    for _ in 0..3 {
        world.link(json!({})).await;
    }
    world.server.stop();
    let age: i64 = 400 * 24 * 60 * 60 * 1000;
    // The sandbox's own verification and the first payment.
    world.sql(&format!("UPDATE transactions SET created_at = created_at - {age} WHERE ref <= 2")).await;
    // One link is over for as long, one has a try without a known result, one is young.
    let past = age + 2 * 24 * 60 * 60 * 1000;
    world.sql(&format!("UPDATE links SET expires_at = expires_at - {past} WHERE number <= 2")).await;
    world.sql("UPDATE links SET state = 2 WHERE number = 2").await;
    world.restart();
    let erased = async |id: &str| {
        let story = world.get(&format!("transaction/{id}/explain")).await.1;
        let lines = story["lines"].as_array().unwrap().clone();
        let sealed = |line: &&Value| line["en"].as_str().unwrap().starts_with("The card was sealed");
        lines.iter().find(sealed).unwrap()["en"].as_str().unwrap().contains("erased")
    };
    for _ in 0..50 {
        if erased(&old).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((erased(&old).await, erased(&new).await, erased(&hold).await), (true, false, true));
    assert_eq!(world.texts("SELECT number FROM links ORDER BY number").await, ["2", "3"]);
    // The token has a card of its own.
    assert_eq!(world.follow("refund", &old, Some("1000")).await.0, 201);
    world.charged("payment", "1").await;
}

/// The world's vault key as `FUDA_VAULT_KEY` takes it, and the file gone from beside the data.
pub fn take_key_out(world: &World) -> String {
    let file = world.folder.join("vault.key");
    let key = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    std::fs::remove_file(&file).unwrap();
    key
}

/// Most tests' PostgreSQL runs with fsync off, which live money must not.
fn no_live_keys_where_payments_may_be_lost(world: &World) {
    let key = take_key_out(world);
    let mut command = fuda(&world.folder, world.database_url.as_deref());
    let text = refused(command.args(ADD_LIVE).env("FUDA_VAULT_KEY", &key));
    assert!(text.contains("must not lose payments: PostgreSQL runs with fsync = off"), "{text}");
    let keys = fuda(&world.folder, world.database_url.as_deref())
        .args(["key", "list", "--json"])
        .env("FUDA_VAULT_KEY", &key)
        .output()
        .unwrap();
    let keys: Value = serde_json::from_slice(&keys.stdout).unwrap();
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["is_live"] == false), "{keys}");
}

pub async fn live_keys(engine: Engine) {
    if engine == Engine::Postgres {
        let lossy = World::new(engine).await;
        if lossy.texts("SELECT current_setting('fsync')").await == ["off"] {
            no_live_keys_where_payments_may_be_lost(&lossy);
        }
    }
    let mut world = World::durable(engine).await;
    let key = take_key_out(&world);
    assert_eq!(world.server.stop(), Some(0));
    let database_url = world.database_url.clone();
    let with_key = |folder: &std::path::Path| {
        Server::start_with(folder, database_url.as_deref(), |command| {
            command.env("FUDA_VAULT_KEY", &key);
        })
    };
    world.server = with_key(&world.folder);
    let mut add = fuda(&world.folder, world.database_url.as_deref());
    let output = add.args(ADD_LIVE).env("FUDA_VAULT_KEY", &key).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let live = Keys::of(&serde_json::from_slice(&output.stdout).unwrap());
    let charge = world.token_charge(&world.token);
    assert_eq!(world.post("payment", &charge).await.0, 201);
    for _ in 0..2 {
        // No live acquirer yet: nothing is sent anywhere, the sandbox least of all.
        let mut body = world.card_charge("4111111111111111");
        body["merchant_id"] = json!(live.merchant);
        let (status, answered) = until_known(&world, &live, &body).await;
        assert_eq!((status, &answered["gateway_response"]["code"]), (412, &json!("ERR1015")));
        assert_eq!((&answered["success"], &answered["is_live"]), (&json!(false), &json!(true)));
        assert_eq!(answered["transaction_details"]["id"], Value::Null);
        assert_eq!(world.server.stop(), Some(0));
        world.server = with_key(&world.folder);
        assert_eq!(world.post("payment", &charge).await.0, 201, "a restart finds the tokens again");
    }
    assert_eq!(world.server.stop(), Some(0));
    let serve = || {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command
    };
    let inward = refused(serve().env("FUDA_VAULT_KEY", &key).args(["--allow-private-webhooks", "true"]));
    assert!(inward.contains("this gateway has live keys"), "{inward}");
    let missing = refused(&mut serve());
    assert!(missing.contains("is missing, but the database holds data"), "{missing}");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(world.folder.join("vault.key")).unwrap();
    std::io::Write::write_all(&mut file, key.as_bytes()).unwrap();
    let beside = refused(&mut serve());
    assert!(beside.contains("PCI DSS 3.6.1.2"), "{beside}");
    assert!(!beside.contains(&key) && !missing.contains(&key));
}

/// A key that was just made is in force within a second.
pub async fn until_known(world: &World, keys: &Keys, body: &Value) -> (u16, Value) {
    let made = Instant::now();
    loop {
        let answered = world.post_as(keys, "payment", body).await;
        if answered.0 != 403 || made.elapsed() > Duration::from_secs(1) {
            return answered;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Contract section 1: in force in every process within a second.
pub async fn keys_come_and_go(engine: Engine) {
    let world = World::new(engine).await;
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    let bases: Vec<&str> =
        std::iter::once(world.server.base.as_str()).chain(second.iter().map(|server| server.base.as_str())).collect();
    let made = world.run(&["key", "new", "--entity", &world.keys.entity, "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["is_live"], false);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let key = Keys { api_key: text("api_key"), secret: text("secret_key"), ..world.keys.clone() };
    everywhere(&world, &bases, &key, 200).await;
    world.run(&["key", "revoke", &text("id")]);
    everywhere(&world, &bases, &key, 403).await;
    // The pair that was there before is untouched.
    everywhere(&world, &bases, &world.keys, 200).await;
    let listed: Value = serde_json::from_str(&world.run(&["key", "list", "--json"])).unwrap();
    let states: Vec<bool> = listed["keys"].as_array().unwrap().iter().map(|key| key["revoked"].is_string()).collect();
    assert_eq!(states, [false, true]);
    let twice = refused(fuda(&world.folder, world.database_url.as_deref()).args(["key", "revoke", &text("id")]));
    assert!(twice.contains("no such key in force"), "{twice}");
}

/// What is printed to a pipe that is closed ends the command, without a panic.
pub async fn nobody_reads_on(engine: Engine) {
    let world = World::new(engine).await;
    for words in [&["key", "list"][..], &["rule", "list", "--json"], &["transactions", "--unresolved"]] {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        let mut child = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(141), ""),
            "{words:?}"
        );
    }
}

async fn everywhere(world: &World, bases: &[&str], keys: &Keys, wanted: u16) {
    let changed = Instant::now();
    for base in bases {
        let url = format!("{base}/api/v1/server-to-server-interface/tokens");
        while answer(world.authed(world.http.get(&url), keys)).await.0 != wanted {
            assert!(changed.elapsed() < Duration::from_secs(1), "{wanted} was not in force at {base} within a second");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// `--log-format json`: each line by itself is an object, and a support case finds its line by the id that the answer has.
pub async fn logs_for_machines(engine: Engine) {
    let mut world = World::new(engine).await;
    assert_eq!(world.server.stop(), Some(0));
    let log = world.folder.with_extension("log");
    std::fs::remove_file(&log).unwrap();
    world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
        command.args(["--log-format", "json"]).env("FUDA_LOG", "info");
    });
    let mut ids = Vec::new();
    for (number, status) in [("4111111111111111", 201), ("4000000000000002", 201), ("4111111111111112", 406)] {
        let request = world.authed(world.http.post(world.url("payment")), &world.keys);
        let response = request.json(&world.card_charge(number)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        ids.push(response.headers()["x-request-id"].to_str().unwrap().to_owned());
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        if body["success"] == false {
            assert_eq!(&body["request_id"], ids.last().unwrap());
        }
    }
    assert_eq!(world.server.stop(), Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    let lines: Vec<Value> = text.lines().map(parse).collect();
    assert!(lines.iter().all(|line| line.is_object() && line["level"].is_string() && line["timestamp"].is_string()));
    for id in ids {
        assert!(lines.iter().any(|line| line["request"] == id.as_str()), "no line has {id}:\n{text}");
    }
    assert!(lines.iter().any(|line| line["message"] == "stopped"));
}
