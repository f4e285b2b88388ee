//! The line against a host that nobody here wrote: iso8583sim, a program of its own that answers by rules and keeps no books.

use crate::follow::{code, id_of, wait_for};
use crate::host::{GENERIC, Host, free_address};
use crate::renewals::{begin, cycles};
use crate::world::{Engine, World};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where it is; without it these stories are ignored, and the runner says so.
pub fn iso8583sim() -> Option<String> {
    std::env::var("FUDA_TEST_ISO8583SIM").ok().filter(|path| !path.is_empty())
}

/// How long the host is gone in an ordinary run, seconds; `FUDA_HOST_DOWN_S=60 ./test its_host_is_gone` for a minute.
const DOWN_S: u64 = 5;

fn start(world: &mut World) -> Host {
    let rules = json!({"rules": [
        {"match": {"pan_prefix": "4000000000009995"}, "respond": "51"},
        {"match": {"pan_prefix": "4000000000000002"}, "respond": "05"},
        {"match": {"pan_prefix": "4000000000009987"}, "respond": "41"},
        {"match": {"mti": ["0200"], "fields": {"4": "000000007001"}}, "delay_ms": 5500},
        {"match": {"mti": ["0200"], "fields": {"4": "000000007002"}}, "action": "drop"},
        {"match": {"mti": ["0200"], "fields": {"4": "000000007003"}}, "action": "close"},
        // A capture whose answer comes when the gateway has given up.
        {"match": {"mti": ["0220"], "fields": {"4": "000000007004"}}, "delay_ms": 4000},
        {"match": {"mti": ["0221"]}, "action": "drop"},
        // A charge without an answer, and a host that hears neither its reversal nor the advice.
        {"match": {"mti": ["0200", "0400", "0420"], "fields": {"4": "000000007005"}}, "action": "drop"},
        // One whose reversals are answered when the gateway has given up.
        {"match": {"mti": ["0200"], "fields": {"4": "000000007006"}}, "action": "drop"},
        {"match": {"mti": ["0400"], "fields": {"4": "000000007006"}}, "delay_ms": 3000},
        {"match": {"mti": ["0420", "0421"], "fields": {"4": "000000007006"}}, "action": "drop"},
    ]});
    let (file, address) = (world.folder.join("rules.json"), free_address());
    std::fs::write(&file, rules.to_string()).unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let args =
        ["serve", "--port", port, "--rules", &file.display().to_string(), "--format", "ascii-binary", "--header", "2b"];
    let again = [&[iso8583sim().unwrap().as_str()], args.as_slice()].concat().into_iter().map(str::to_owned).collect();
    let host = Host::run(again, address.clone(), world.folder.with_extension("host.log"));
    world.speaks(GENERIC);
    world.acquirers(&[("sim", address.as_str())], "dialect = \"dialect.toml\"");
    world.route("sim", &[]);
    host
}

fn priced(world: &World, amount: &str) -> Value {
    let mut body = world.card_charge("4000000000001091");
    body["amount"] = json!(amount);
    body
}

pub async fn all_that_can_be_asked(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = start(&mut world);
    // Each scheme has fields of its own there.
    for number in ["4000000000001091", "5200000000001005", "378282246310005", "3530111333300000"] {
        let paid = world.post("payment", &world.card_charge(number)).await;
        assert_eq!(code(&paid), (201, "INFO0000"), "{number}: {}", paid.1);
        let auth_code = paid.1["payment_details"]["auth_code"].as_str().unwrap();
        assert!(auth_code.starts_with('A') && auth_code.len() == 6, "{auth_code}");
    }
    let paid = world.post("payment", &world.token_charge(&world.token)).await;
    assert_eq!(code(&paid), (201, "INFO0000"), "{}", paid.1);
    assert_eq!(code(&world.follow("refund", &id_of(&paid.1), Some("300")).await), (201, "INFO0002"));
    let held = id_of(&world.post("authorization", &priced(&world, "900")).await.1);
    assert_eq!(code(&world.follow("capture", &held, Some("500")).await), (201, "INFO0001"));
    let held = id_of(&world.post("authorization", &priced(&world, "900")).await.1);
    assert_eq!(code(&world.follow("void", &held, None).await), (201, "INFO0003"));
    for (number, response_code) in [("4000000000009995", 51), ("4000000000000002", 5), ("4000000000009987", 41)] {
        let declined = world.post("payment", &world.card_charge(number)).await;
        assert_eq!(code(&declined), (201, "ERR1000"), "{}", declined.1);
        assert_eq!(declined.1["payment_details"]["response_code"], json!(response_code));
    }
    // It gives no network transaction id; the renewal goes all the same.
    let begun = begin(&world, "4000000000001091", cycles(2)).await;
    world.advance("P2D").await;
    let stands = begun.stands(&world).await;
    assert!(stands.starts_with("EXPIRED 2, ") && stands.ends_with("CAPTURED 2d"), "{stands}");
}

pub async fn its_delays_drops_and_closes(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = start(&mut world);
    let mut ids = Vec::new();
    for amount in ["7001", "7002", "7003"] {
        let lost = world.post("payment", &priced(&world, amount)).await;
        assert_eq!(code(&lost), (504, "ERR1010"), "{amount}: {}", lost.1);
        ids.push(id_of(&lost.1));
    }
    for id in &ids {
        assert!(wait_for(&world, id, "REVERSED").await, "{id}");
    }
    // Each operation waits as long as is set for it: 4 and 2 seconds.
    let started = Instant::now();
    let lost = world.post("payment", &priced(&world, "7006")).await;
    assert_eq!(code(&lost), (504, "ERR1010"), "{}", lost.1);
    assert!(started.elapsed() >= Duration::from_secs(4), "{:?}", started.elapsed());
    // The late answer to its reversal ends it: the host hears no other.
    assert!(wait_for(&world, &id_of(&lost.1), "REVERSED").await);
    // The late answer to a capture comes while its repeat waits, under the same name, and is the answer: the host drops all repeats.
    let held = id_of(&world.post("authorization", &priced(&world, "7004")).await.1);
    let started = Instant::now();
    let lost = world.follow("capture", &held, Some("7004")).await;
    assert!(started.elapsed() < Duration::from_millis(3_900), "{:?}", started.elapsed());
    assert_eq!(code(&lost), (504, "ERR1016"), "{}", lost.1);
    assert!(wait_for(&world, &id_of(&lost.1), "APPROVED").await);
    // The log's line comes behind the write.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    assert_eq!(log.matches("settled by a late answer").count(), 1, "the late answer was not used");
    assert!(!log.contains("4000000000001091"), "a card number in the log");
}

/// A reversal goes until the host hears it: as a request, as an advice, as its repeat; also through a death of ours.
pub async fn reversed_until_it_is_heard(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = start(&mut world);
    let lost = world.post("payment", &priced(&world, "7005")).await;
    assert_eq!(code(&lost), (504, "ERR1010"), "{}", lost.1);
    let id = id_of(&lost.1);
    let sent = "SELECT * FROM (SELECT operation || ' ' || COALESCE(result, 0) || ' ' || stan FROM attempts \
                WHERE acquirer = 'sim' ORDER BY number) AS sent";
    while world.texts(sent).await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let list: Value = serde_json::from_str(&world.run(&["transactions", "--unresolved", "--json"])).unwrap();
    let named = "SELECT stan || ' ' || rrn FROM attempts WHERE operation = 1 AND acquirer = 'sim'";
    let one = &list["transactions"][0];
    let name = format!("{} {}", one["stan"], one["rrn"].as_str().unwrap());
    assert_eq!((&one["id"], &one["acquirer"], world.texts(named).await), (&json!(id), &json!("sim"), vec![name]));
    world.server.kill();
    world.restart();
    // On PostgreSQL the dead process's lease has to end first.
    let mut reversed = false;
    for _ in 0..4 {
        reversed = reversed || wait_for(&world, &id, "REVERSED").await;
    }
    assert!(reversed);
    let sent = world.texts(sent).await;
    let (charge, reversals) = sent.split_first().unwrap();
    assert!(charge.starts_with("1 3 ") && reversals.len() >= 3, "{sent:?}");
    assert!(
        reversals.iter().all(|one| one.starts_with("2 ")) && reversals.last().unwrap().starts_with("2 1 "),
        "{sent:?}"
    );
    // All of them by one trace number, which is not the charge's.
    let stan = |line: &str| line.rsplit_once(' ').unwrap().1.to_owned();
    assert!(
        reversals.iter().all(|one| stan(one) == stan(&reversals[0])) && stan(charge) != stan(&reversals[0]),
        "{sent:?}"
    );
}

/// Under load the host is gone for a while: payments fail at once, and in the end nothing is without a result.
pub async fn its_host_is_gone(engine: Engine) {
    let mut world = World::new(engine).await;
    let mut host = start(&mut world);
    let down = std::env::var("FUDA_HOST_DOWN_S").ok().map_or(DOWN_S, |text| text.parse().unwrap());
    let world = Arc::new(world);
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (world, stop) = (world.clone(), stop.clone());
        clients.spawn(async move {
            let (mut told, mut slowest) = (Vec::new(), Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                let answer = world.post("payment", &priced(&world, "500")).await;
                let word = code(&answer).1.to_owned();
                if word == "ERR1011" {
                    slowest = slowest.max(started.elapsed());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                told.push(word);
            }
            (told, slowest)
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::task::block_in_place(|| host.kill());
    tokio::time::sleep(Duration::from_secs(down)).await;
    tokio::task::block_in_place(|| host.back());
    let mut back = false;
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        back = world.post("payment", &priced(&world, "501")).await.0 == 201;
        if back {
            break;
        }
    }
    assert!(back, "the line does not come back");
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let told = clients.join_all().await;
    let slowest = told.iter().map(|one| one.1).max().unwrap();
    assert!(slowest < Duration::from_secs(2), "a refusal took {slowest:?}");
    let count = |wanted: &str| told.iter().flat_map(|one| &one.0).filter(|word| *word == wanted).count();
    let (paid, refused, lost) = (count("INFO0000"), count("ERR1011"), count("ERR1010"));
    assert_eq!(paid + refused + lost, told.iter().map(|one| one.0.len()).sum::<usize>());
    assert!(paid > 20 && refused > 20, "{paid} paid, {refused} refused, {lost} lost");
    for _ in 0..240 {
        let list: Value = serde_json::from_str(&world.run(&["transactions", "--unresolved", "--json"])).unwrap();
        if list["transactions"] == json!([]) {
            eprintln!("{down} s without a host: {paid} paid, {refused} refused, {lost} reversed");
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("some have no result after a minute");
}
