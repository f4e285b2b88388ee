//! Lines that break, hosts that die, and the second acquirer.

use crate::crash;
use crate::follow::{code, id_of, wait_for};
use crate::host::{GENERIC, Host, free_address};
use crate::operator::{ADD_LIVE, take_key_out, until_known};
use crate::world::{Engine, Keys, Server, World, fuda};
use serde_json::json;
use std::time::{Duration, Instant};

/// Payments fail at once, and go on as soon as the host is back. What had no answer waits, also through a restart of ours.
pub async fn host_down_and_back(engine: Engine) {
    let mut world = World::new(engine).await;
    let mut host = world.with_host(GENERIC, "");
    let card = world.card_charge("4000000000001091");
    assert_eq!(world.post("payment", &card).await.0, 201);
    // One that the host has and does not answer, when it dies.
    let silent = world.card_charge("4000000000000259");
    let (silent, ()) = tokio::join!(world.post("payment", &silent), async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        host.kill();
    });
    assert_eq!(code(&silent), (504, "ERR1010"), "{}", silent.1);
    let started = Instant::now();
    let refused = world.post("payment", &card).await;
    assert_eq!(code(&refused), (502, "ERR1011"), "{}", refused.1);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let id = id_of(&silent.1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.server.kill();
    world.restart();
    assert_eq!(world.balance(&id).await.0, "UNKNOWN");
    host.back();
    assert!(wait_for(&world, &id, "REVERSED").await);
    let mut paid = world.post("payment", &card).await;
    for _ in 0..50 {
        if paid.0 == 201 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        paid = world.post("payment", &card).await;
    }
    assert_eq!(paid.0, 201, "{}", paid.1);
    world.books_agree("acme");
}

/// No more than was agreed with the host are in flight: one more is refused at once.
pub async fn a_full_window(engine: Engine) {
    let mut world = World::new(engine).await;
    let _host = world.with_host(GENERIC, "window = 1");
    let silent = world.card_charge("4000000000000259");
    let card = world.card_charge("4000000000001091");
    let (silent, refused) = tokio::join!(world.post("payment", &silent), async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let started = Instant::now();
        let refused = world.post("payment", &card).await;
        assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
        refused
    });
    assert_eq!((code(&silent), code(&refused)), ((504, "ERR1010"), (502, "ERR1011")));
    assert!(wait_for(&world, &id_of(&silent.1), "REVERSED").await);
    assert_eq!(world.post("payment", &card).await.0, 201);
    let log = std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    assert!(
        log.contains("not sent") && log.contains("as many requests as the acquirer may have are in flight"),
        "{log}"
    );
}

/// The second acquirer is asked when the first was certainly not reached, in an attempt of its own; what follows goes there too.
pub async fn the_second_acquirer(engine: Engine) {
    let mut world = World::new(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    let (nobody, address) = (free_address(), host.address.clone());
    world.acquirers(&[("acme", nobody.as_str()), ("second", address.as_str())], "dialect = \"dialect.toml\"");
    world.route("acme", &[]);
    let card = world.card_charge("4000000000001091");
    let refused = world.post("payment", &card).await;
    assert_eq!(code(&refused), (502, "ERR1011"), "{}", refused.1);
    world.route("second", &["--second"]);
    let paid = world.post("payment", &card).await;
    assert_eq!(code(&paid), (201, "INFO0000"), "{}", paid.1);
    let id = id_of(&paid.1);
    let refunded = world.follow("refund", &id, Some("300")).await;
    assert_eq!(code(&refunded), (201, "INFO0002"), "{}", refunded.1);
    let sent = "SELECT * FROM (SELECT acquirer || ' ' || number || ' ' || operation || ' ' || COALESCE(result, 0) FROM attempts \
                WHERE acquirer <> 'sandbox' ORDER BY sent_at, number) AS sent";
    let story = world.get(&format!("transaction/{id}/explain")).await.1.to_string();
    assert!(story.contains("acquirer acme") && story.contains("acquirer second"), "{story}");
    assert_eq!(world.texts(sent).await, ["acme 1 1 4", "acme 1 1 4", "second 2 1 1", "second 1 4 1"]);
    world.books_agree("second");
}

/// An answer that does not come is no reason to ask another, who would answer.
pub async fn no_second_acquirer_after_silence(engine: Engine) {
    let mut world = World::new(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    let address = host.address.clone();
    world.acquirers(&[("acme", address.as_str()), ("second", address.as_str())], "dialect = \"dialect.toml\"");
    world.route("acme", &[]);
    world.route("second", &["--second"]);
    let silent = world.post("payment", &world.card_charge("4000000000000259")).await;
    assert_eq!(code(&silent), (504, "ERR1010"), "{}", silent.1);
    assert!(wait_for(&world, &id_of(&silent.1), "REVERSED").await);
    let asked = "SELECT DISTINCT acquirer FROM attempts WHERE acquirer <> 'sandbox'";
    assert_eq!(world.texts(asked).await, ["acme"]);
}

/// What follows a charge goes where the charge went: along a route that has ended, or was replaced.
pub async fn along_an_ended_route(engine: Engine) {
    let mut world = World::new(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    let address = host.address.clone();
    let nobody = free_address();
    world.acquirers(&[("acme", address.as_str()), ("second", nobody.as_str())], "dialect = \"dialect.toml\"");
    world.route("acme", &[]);
    let card = world.card_charge("4000000000001091");
    let paid = world.post("payment", &card).await;
    let (held, let_go) = (world.post("authorization", &card).await, world.post("authorization", &card).await);
    assert_eq!([&paid, &held, &let_go].map(code), [(201, "INFO0000"); 3], "{}", paid.1);
    world.run(&["route", "end", "1"]);
    world.route("second", &[]);
    let refused = world.post("payment", &card).await;
    assert_eq!(code(&refused), (502, "ERR1011"), "{}", refused.1);
    assert_eq!(code(&world.follow("refund", &id_of(&paid.1), Some("300")).await), (201, "INFO0002"));
    assert_eq!(code(&world.follow("capture", &id_of(&held.1), Some("600")).await), (201, "INFO0001"));
    world.route("acme", &["--replace"]);
    assert_eq!(code(&world.follow("void", &id_of(&let_go.1), None).await), (201, "INFO0003"));
    let asked = "SELECT * FROM (SELECT DISTINCT acquirer || ' ' || route_id || ' ' || COALESCE(result, 0) FROM attempts \
                 WHERE acquirer <> 'sandbox' AND operation <> 7) AS asked ORDER BY 1";
    assert_eq!(world.texts(asked).await, ["acme 1 1", "second 2 4"]);
    world.books_agree("acme");
}

/// A host that hears and says nothing, not even that it is gone: an echo finds it out, and payments are refused at once from then on.
pub async fn a_host_that_hangs(engine: Engine) {
    let mut world = World::new(engine).await;
    let mut host = world.with_host(GENERIC, "echo_s = 1");
    let card = world.card_charge("4000000000001091");
    assert_eq!(code(&world.post("payment", &card).await), (201, "INFO0000"));
    host.hang();
    let started = Instant::now();
    let log = || std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    while !log().contains("echo: ") {
        assert!(started.elapsed() < Duration::from_secs(30), "{}", log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let asked = Instant::now();
    let refused = world.post("payment", &card).await;
    assert_eq!(code(&refused), (502, "ERR1011"), "{}", refused.1);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    host.goes_on();
    let mut paid = world.post("payment", &card).await;
    for _ in 0..100 {
        if code(&paid).0 == 201 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        paid = world.post("payment", &card).await;
    }
    assert_eq!(code(&paid), (201, "INFO0000"), "{}", paid.1);
    world.books_agree("acme");
}

/// A route to what this gateway does not know is no way.
pub async fn routes_that_lead_nowhere(engine: Engine) {
    let world = World::new(engine).await;
    world.route("nobody", &[]);
    let refused = world.post("payment", &world.card_charge("4000000000001091")).await;
    assert_eq!(code(&refused), (412, "ERR1015"), "{}", refused.1);
    let log = std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    assert!(log.contains("a route leads nowhere") && log.contains("no test acquirer nobody is set up here"), "{log}");
}

/// Each currency by its own acquirer, and live keys by a live one: neither mode's payments ever go the other's way.
pub async fn by_currency_and_mode(engine: Engine) {
    let mut world = World::durable(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    let one = |name: &str, mode: &str| {
        let (protocol, address) = ("protocol = \"iso8583\"\ndialect = \"dialect.toml\"", &host.address);
        format!("[acquirers.{name}]\n{protocol}\nmode = \"{mode}\"\naddress = \"{address}\"\n")
    };
    let all = [one("yen", "test"), one("dollar", "test"), one("real", "live")].concat();
    std::fs::write(world.folder.join("acquirers.toml"), all).unwrap();
    let key = take_key_out(&world);
    world.server.stop();
    world.server = Server::start_with(&world.folder, world.database_url.as_deref(), |command| {
        command.env("FUDA_VAULT_KEY", &key);
    });
    let run = |world: &World, args: &[&str]| {
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        let output = command.args(args).env("FUDA_VAULT_KEY", &key).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let route = |world: &World, merchant: &str, acquirer: &str, more: &[&str]| {
        let terminal = format!("T{acquirer}");
        let args = [
            "route",
            "add",
            "--merchant",
            merchant,
            "--acquirer",
            acquirer,
            "--terminal",
            &terminal,
            "--acceptor",
            "SHOP",
        ];
        run(world, &[args.as_slice(), more].concat());
    };
    route(&world, &world.keys.merchant, "yen", &[]);
    route(&world, &world.keys.merchant, "dollar", &["--currency", "USD"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut dollars = world.card_charge("4000000000001091");
    dollars["currency"] = json!("USD");
    for body in [world.card_charge("4000000000001091"), dollars.clone()] {
        let paid = world.post("payment", &body).await;
        assert_eq!(code(&paid), (201, "INFO0000"), "{}", paid.1);
    }
    let sent = "SELECT * FROM (SELECT acquirer || ' ' || t.currency || ' ' || t.live FROM attempts JOIN transactions AS t \
                ON t.id = transaction_id WHERE acquirer <> 'sandbox' ORDER BY sent_at) AS sent";
    assert_eq!(world.texts(sent).await, ["yen JPY 0", "dollar USD 0"]);
    let live = Keys::of(&serde_json::from_slice(&run(&world, &ADD_LIVE)).unwrap());
    let mut body = world.card_charge("4000000000001091");
    body["merchant_id"] = json!(live.merchant);
    let refused = until_known(&world, &live, &body).await;
    assert_eq!(code(&refused), (412, "ERR1015"), "{}", refused.1);
    route(&world, &live.merchant, "real", &[]);
    // Of the wrong mode: written all the same, since the file may be another gateway's, and of no use.
    route(&world, &live.merchant, "yen", &["--currency", "JPY"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let refused = world.post_as(&live, "payment", &body).await;
    assert_eq!(code(&refused), (412, "ERR1015"), "{}", refused.1);
    run(&world, &["route", "end", "4"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let paid = world.post_as(&live, "payment", &body).await;
    assert_eq!(code(&paid), (201, "INFO0000"), "{}", paid.1);
    assert_eq!(paid.1["is_live"], json!(true));
    assert_eq!(world.texts(sent).await, ["yen JPY 0", "dollar USD 0", "real JPY 1"]);
}

/// Gateway and host die at random moments under load: in the end each charge stands on both sides or on neither.
pub async fn both_killed_many_times(engine: Engine) {
    let mut world = World::new(engine).await;
    let host = world.with_host(GENERIC, "");
    crash::killed_with_host(world, host).await;
}
