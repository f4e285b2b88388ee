//! Lines that break, hosts that die, and the second acquirer.

use crate::crash;
use crate::follow::{code, id_of, wait_for};
use crate::host::{GENERIC, Host, free_address};
use crate::world::{Engine, World};
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
    // An answer that does not come is no reason to ask another.
    let silent = world.post("payment", &world.card_charge("4000000000000259")).await;
    assert_eq!(code(&silent), (504, "ERR1010"), "{}", silent.1);
    assert!(wait_for(&world, &id_of(&silent.1), "REVERSED").await);
    world.books_agree("second");
}

/// A route to what this gateway does not know, or of the other mode, is no way; nor is one of a live acquirer for test keys.
pub async fn routes_that_lead_nowhere(engine: Engine) {
    let world = World::new(engine).await;
    world.route("nobody", &[]);
    let refused = world.post("payment", &world.card_charge("4000000000001091")).await;
    assert_eq!(code(&refused), (412, "ERR1015"), "{}", refused.1);
    let log = std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    assert!(log.contains("a route leads nowhere") && log.contains("no test acquirer nobody is set up here"), "{log}");
    let merchant = json!({"merchant_id": world.keys.merchant});
    assert_eq!(world.post("refund", &merchant).await.0, 400);
}

/// Gateway and host die at random moments under load: in the end each charge stands on both sides or on neither.
pub async fn both_killed_many_times(engine: Engine) {
    let mut world = World::new(engine).await;
    let host = world.with_host(GENERIC, "");
    crash::killed_with_host(world, host).await;
}
