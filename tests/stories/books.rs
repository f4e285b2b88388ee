//! The ledger, reconciliation, the list of what is unresolved, and the story of a transaction.

use crate::follow::id_of;
use crate::world::{Engine, World, fuda};
use serde_json::{Value, json};
use std::time::Duration;

fn refused(world: &World, args: &[&str]) -> (String, String) {
    let output = fuda(&world.folder, world.database_url.as_deref()).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// How a book is spoiled, how that is mended, and what `ledger verify` says in between; ENTRY is the first entry.
const SPOILED: [(&str, &str, &str); 8] = [
    (
        "UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE number = ENTRY",
        "UPDATE ledger_entries SET amount_minor = amount_minor - 1 WHERE number = ENTRY",
        "ledger entry 1:",
    ),
    (
        "UPDATE ledger_entries SET credit = 5 WHERE number = ENTRY",
        "UPDATE ledger_entries SET credit = 4 WHERE number = ENTRY",
        "ledger entry 1:",
    ),
    (
        "UPDATE ledger_entries SET created_at = created_at + 1 WHERE number = ENTRY",
        "UPDATE ledger_entries SET created_at = created_at - 1 WHERE number = ENTRY",
        "changed after they were sealed",
    ),
    (
        "UPDATE ledger_entries SET merchant_id = 'XX' WHERE number = ENTRY",
        "UPDATE ledger_entries SET merchant_id = (SELECT MIN(id) FROM merchants) WHERE number = ENTRY",
        "ledger entry 1:",
    ),
    (
        "UPDATE transactions SET amount_minor = amount_minor + 1 WHERE kind = 2 AND ref = (SELECT MIN(ref) FROM transactions WHERE kind = 2)",
        "UPDATE transactions SET amount_minor = amount_minor - 1 WHERE kind = 2 AND ref = (SELECT MIN(ref) FROM transactions WHERE kind = 2)",
        "ledger entry 1:",
    ),
    (
        "UPDATE ledger_seals SET entries = entries + 1 WHERE number = 1",
        "UPDATE ledger_seals SET entries = entries - 1 WHERE number = 1",
        "were sealed",
    ),
    (
        "UPDATE transactions SET refunded_minor = 5 WHERE kind = 2",
        "UPDATE transactions SET refunded_minor = 0 WHERE kind = 2",
        "balances do not hold",
    ),
    (
        "UPDATE transactions SET refund_reserved_minor = 5 WHERE kind = 2",
        "UPDATE transactions SET refund_reserved_minor = 0 WHERE kind = 2",
        "not what followed it",
    ),
];

/// Every way to spoil a book, each found, each undone again.
pub async fn spoiled_books_are_found(engine: Engine) {
    let world = World::new(engine).await;
    for path in ["payment", "authorization", "payment"] {
        world.charged(path, "1000").await;
    }
    let hold = world.charged("authorization", "900").await;
    assert_eq!(world.follow("capture", &hold, Some("900")).await.0, 201);
    // Until everything is behind a seal.
    for _ in 0..200 {
        let verified: Value = serde_json::from_str(&world.run(&["ledger", "verify", "--json"])).unwrap();
        if verified["sealed"] == verified["entries"] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.books_are_clean();
    let entry = "(SELECT MIN(number) FROM ledger_entries)";
    for (spoil, mend, found) in SPOILED {
        world.sql(&spoil.replace("ENTRY", entry)).await;
        let (_, text) = refused(&world, &["ledger", "verify"]);
        assert!(text.contains(found), "{spoil}: {text}");
        if spoil.contains("SET amount_minor") {
            let (out, _) = refused(&world, &["reconcile", "--json"]);
            let compared: Value = serde_json::from_str(&out).unwrap();
            assert_eq!(compared["different"].as_array().unwrap().len(), 1, "{compared}");
        }
        world.sql(&mend.replace("ENTRY", entry)).await;
        world.books_are_clean();
    }
    world.sql(&format!("DELETE FROM ledger_entries WHERE number = {entry}")).await;
    let (_, text) = refused(&world, &["ledger", "verify", "--json"]);
    assert!(text.contains("0 of its 1 ledger entries"), "{text}");
}

/// An older database beside a newer bank: both commands find it.
pub async fn an_older_database_is_found(engine: Engine) {
    let mut world = World::new(engine).await;
    if engine == Engine::Postgres {
        // A backup of PostgreSQL is the same rows taken away again.
        world.charged("payment", "1000").await;
        world
            .sql(
                "DELETE FROM ledger_entries WHERE number = (SELECT MAX(number) FROM ledger_entries); \
            DELETE FROM transactions WHERE ref = (SELECT MAX(ref) FROM transactions)",
            )
            .await;
    } else {
        world.charged("payment", "1000").await;
        world.server.stop();
        let (file, copy) = (world.folder.join("fuda.db"), world.folder.join("older.db"));
        std::fs::copy(&file, &copy).unwrap();
        world.restart();
        world.charged("payment", "1000").await;
        world.server.stop();
        std::fs::rename(&copy, &file).unwrap();
    }
    let (out, text) = refused(&world, &["reconcile", "--json"]);
    let compared: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(compared["missing_here"].as_array().unwrap().len(), 1, "{compared}");
    assert_eq!((&compared["missing_there"], &compared["different"]), (&json!([]), &json!([])));
    assert!(text.contains("the books differ"));
    let (_, text) = refused(&world, &["ledger", "verify"]);
    assert!(text.contains("missing here and stands in the acquirer's record"), "{text}");
}

pub async fn an_acquirers_file(engine: Engine) {
    let world = World::new(engine).await;
    let paid = world.charged("payment", "1000").await;
    let refunded = id_of(&world.follow("refund", &paid, Some("300")).await.1);
    let found = world.get(&format!("transaction/{paid}/explain")).await.1;
    let since = found["lines"][0]["at"].as_str().unwrap().to_owned();
    let file = world.folder.join("record.csv");
    let path = file.to_str().unwrap();
    let args = ["reconcile", "--file", path, "--from", &since, "--json"];
    std::fs::write(
        &file,
        format!("kind,reference,amount,currency,extra\nPURCHASE,{paid},1000,JPY,x\nREFUND, {refunded} ,300,JPY,y\n"),
    )
    .unwrap();
    let compared: Value = serde_json::from_str(&world.run(&args)).unwrap();
    assert_eq!(compared, json!({"matched": 2, "missing_here": [], "missing_there": [], "different": []}));
    std::fs::write(
        &file,
        format!("kind,reference,amount,currency\nPURCHASE,{paid},1001,JPY\nVERIFICATION,nobody,0.00,USD\n"),
    )
    .unwrap();
    let compared: Value = serde_json::from_str(&refused(&world, &args).0).unwrap();
    assert_eq!(compared["matched"], 0);
    assert_eq!(
        compared["different"],
        json!([{"id": paid,
        "here": {"kind": "PURCHASE", "amount_minor": 1000, "currency": "JPY"},
        "there": {"kind": "PURCHASE", "amount_minor": 1001, "currency": "JPY"}}])
    );
    assert_eq!(compared["missing_here"][0]["id"], "nobody");
    assert_eq!(compared["missing_there"][0]["id"], refunded);
    for (text, wrong) in [
        ("reference,amount\nx,1\n", "columns"),
        ("kind,reference,amount,currency\nPURCHASE,x,1.5,JPY\n", "line 2"),
        ("kind,reference,amount,currency\nVOID,x,1,JPY\nVOID,x,1,JPY\n", "line 3"),
        ("kind,reference,amount,currency\nLOAN,x,1,JPY\n", "kind"),
        ("kind,reference,amount,currency\nVOID,x,1,YEN\n", "ISO 4217"),
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(refused(&world, &args).1.contains(wrong), "{text}");
    }
    assert!(refused(&world, &["reconcile", "--from", "yesterday"]).1.contains("2026-11-01"));
    for args in [&["reconcile"][..], &["ledger", "verify"], &["transactions", "--unresolved"]] {
        let nowhere = fuda(&world.folder.join("nowhere"), None).args(args).output().unwrap();
        assert_eq!(nowhere.status.code(), Some(1), "{args:?}");
        assert!(String::from_utf8_lossy(&nowhere.stderr).contains("there is no database in"), "{args:?}");
    }
}

/// What the bank does not answer is listed, and settled by hand where need be.
pub async fn unresolved_money_is_listed(engine: Engine) {
    let mut world = World::new(engine).await;
    let none: Value = serde_json::from_str(&world.run(&["transactions", "--unresolved", "--json"])).unwrap();
    assert_eq!(none, json!({"transactions": []}));
    let paid = world.charged("payment", "1000").await;
    let (status, refund) = world.faulty("refund", "cut", Some("k"), &world.following(&paid, Some("300"))).await;
    assert_eq!(status, 504);
    world.server.kill();
    let refund = id_of(&refund);
    // As if the bank had never answered since.
    world
        .sql(
            "UPDATE transactions SET state = 2, code = 'ERR1016' WHERE kind = 3; \
        UPDATE transactions SET unresolved = 1, refunded_minor = 0 WHERE kind = 2; DELETE FROM jobs; \
        DELETE FROM ledger_entries WHERE debit = 5; \
        UPDATE idempotency SET settled = 0, status = NULL, answer = NULL",
        )
        .await;
    let list: Value = serde_json::from_str(&world.run(&["transactions", "--unresolved", "--json"])).unwrap();
    let one = &list["transactions"][0];
    assert_eq!((&one["id"], &one["state"], &one["amount"]), (&json!(refund), &json!("UNKNOWN"), &json!(300)));
    assert_eq!((&one["parent_id"], &one["transaction_type"]), (&json!(paid), &json!("REFUND")));
    let resolve = |id: &str, verdict: &str, reason: &str| {
        refused(&world, &["transactions", "resolve", id, "--as", verdict, "--reason", reason]).1
    };
    assert!(resolve(&paid, "reversed", "x").contains("only UNKNOWN ones"));
    assert!(resolve("x", "reversed", "x").contains("transaction's id"));
    assert!(resolve(&refund, "approved", "card 4111111111111111").contains("no card number"));
    let said = world.run(&["transactions", "resolve", &refund, "--as", "approved", "--reason", "銀行の明細"]);
    assert!(said.contains("APPROVED"), "{said}");
    world.restart();
    assert_eq!(world.balance(&paid).await, ("APPROVED".to_owned(), json!(1000), json!(300)));
    let (status, replay) = world.faulty("refund", "cut", Some("k"), &world.following(&paid, Some("300"))).await;
    assert_eq!((status, &replay["gateway_response"]["code"]), (201, &json!("INFO0002")));
    world.books_are_clean();
    // A charge was promised never to become approved.
    let (_, lost) = world.faulty("payment", "cut", None, &world.token_charge(&world.token)).await;
    world.server.kill();
    let lost = id_of(&lost);
    world.sql("UPDATE transactions SET state = 2 WHERE ref = (SELECT MAX(ref) FROM transactions)").await;
    let resolve =
        |verdict: &str| ["transactions", "resolve", &lost, "--as", verdict, "--reason", "x"].map(str::to_owned);
    let args = resolve("approved");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert!(refused(&world, &args).1.contains("ERR1010"));
    let args = resolve("reversed");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert!(world.run(&args).contains("REVERSED"));
}

pub async fn a_transaction_is_explained(engine: Engine) {
    let world = World::new(engine).await;
    let (_, declined) = world.post("payment", &world.card_charge("4000000000009995")).await;
    let id = id_of(&declined);
    let (status, story) = world.get(&format!("transaction/{id}/explain")).await;
    assert_eq!((status, &story["success"], &story["state"]), (200, &json!(true), &json!("DECLINED")));
    let event =
        world.get(&format!("webhooks?transaction_id={id}")).await.1["webhooks"][0]["id"].as_str().unwrap().to_owned();
    let text = |language: &str| {
        let lines = story["lines"].as_array().unwrap().iter();
        lines
            .map(|line| format!("{}: {}", line["step"].as_str().unwrap(), line[language].as_str().unwrap()))
            .collect::<Vec<_>>()
            .join("\n")
            .replace(&id, "<id>")
            .replace(&event, "<event>")
    };
    insta::allow_duplicates! {
        insta::assert_snapshot!(text("en"), @"
        asked: A payment of 1000 JPY with card 400000******9995 was asked, initiated by the customer; all fields passed the checks.
        vault: The card was sealed for this payment alone with vault key 1. It is erased by now.
        sent: The charge went to acquirer sandbox under reference <id>.
        answered: The bank answered 51: Insufficient funds OR Insufficient funds/over credit limit. It may be tried again later.
        result: The end: DECLINED, told as ERR1000.
        webhook: Event <event>: no webhook_url was given, so it is in the feed only.
        ");
        insta::assert_snapshot!(text("ja"), @"
        asked: カード 400000******9995 での 1000 JPY の支払いの依頼（顧客起点）。すべての項目が検査を通過。
        vault: この取引専用にカードを保管庫の鍵 1 で暗号化。現在は消去済み。
        sent: 請求をアクワイアラ sandbox へ送信（参照番号 <id>）。
        answered: 銀行の応答 51：残高不足または利用限度額超過です。後で再試行できる。
        result: 結果：DECLINED、応答コード ERR1000。
        webhook: イベント <event>：webhook_url の指定なし。フィードのみ。
        ");
    }
    let paid = world.charged("authorization", "1000").await;
    let story = world.get(&format!("transaction/{paid}/explain")).await.1;
    let steps: Vec<_> = story["lines"].as_array().unwrap().iter().map(|line| line["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["asked", "vault", "vault", "sent", "answered", "ledger", "result", "webhook", "planned"]);
    let other = world.other_entity();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let url = world.url(&format!("transaction/{paid}/explain"));
    let theirs = crate::world::answer(world.authed(world.http.get(url), &other)).await;
    assert_eq!((theirs.0, &theirs.1["gateway_response"]["code"]), (404, &json!("ERR1004")));
}
