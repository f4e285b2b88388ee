//! Renewals on several processes, through crashes, and while their subscriptions are being changed: each cycle once.

use crate::receiver::now;
use crate::renewals::{Begun, DAY_MS, GOOD, HARD, SOFT, begin, begin_by, cycles, plan, since};
use crate::world::{Engine, Keys, Server, World};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

async fn many(world: &World, count: usize, changes: &Value) -> Vec<Begun> {
    let mut begun = Vec::with_capacity(count);
    while begun.len() < count {
        let group = (0..25.min(count - begun.len())).map(|_| begin(world, GOOD, changes.clone()));
        begun.extend(join_all(group).await);
    }
    begun
}

/// As if all of it had happened so much earlier.
async fn move_back(world: &World, ms: i64) {
    world
        .sql(&format!(
            "UPDATE subscriptions SET due_at = due_at - {ms}, anchor_at = anchor_at - {ms} WHERE status = 1; \
             UPDATE jobs SET due_at = due_at - {ms}, run_at = run_at - {ms} WHERE kind = 6;"
        ))
        .await;
}

async fn count(world: &World, from: &str) -> usize {
    world.texts(&format!("SELECT COUNT(*) FROM {from}")).await[0].parse().unwrap()
}

async fn until(world: &World, seconds: u64, from: &str, wanted: impl Fn(usize) -> bool) -> usize {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let found = count(world, from).await;
        if wanted(found) {
            return found;
        }
        assert!(Instant::now() < end, "{found} {from}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The captured cycles in their order: each once, none left out, as many as are counted.
fn each_once(details: &Value) {
    let charges = details["subscription_transaction_details"].as_array().unwrap();
    let paid: Vec<i64> =
        charges.iter().filter(|one| one["event"] == "CAPTURED").map(|one| one["cycle"].as_i64().unwrap()).collect();
    let completed = details["completed_payment_cycle"].as_i64().unwrap();
    assert_eq!(paid, (1..=completed).collect::<Vec<_>>(), "{details}");
    let numbers: Vec<i64> = charges.iter().map(|one| one["ref"].as_i64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{details}");
}

/// What stands at the bank is what its subscriptions show.
async fn the_bank_agrees(world: &World, begun: &[Begun]) {
    let mut shown = 0;
    for one in begun {
        shown += one.details(world).await["completed_payment_cycle"].as_u64().unwrap();
    }
    let standing = world.bank(GOOD).iter().filter(|line| !line.contains("in state")).count();
    assert_eq!(u64::try_from(standing).unwrap(), shown);
    world.books_are_clean();
}

/// The gateway was down for days: what was missed is made up for in order.
pub async fn missed(engine: Engine) {
    let mut world = World::new(engine).await;
    let mut begun = many(&world, 5, &json!({"cycle_interval": 1})).await;
    begun.push(
        begin(&world, GOOD, json!({"cycle_interval": 1, "subscription_end_type": "CYCLE", "max_cycle_count": 3})).await,
    );
    world.server.kill();
    move_back(&world, DAY_MS * 7 / 2).await;
    world.restart();
    until(&world, 20, "subscriptions WHERE status = 1 AND completed = 4", |done| done == 5).await;
    until(&world, 20, "subscriptions WHERE status = 5 AND completed = 3", |done| done == 1).await;
    for one in &begun {
        let found = one.details(&world).await;
        each_once(&found);
        if found["status"] == "ACTIVE" {
            let next = crate::renewals::millis(&found["next_payment_date"]);
            assert_eq!(next, one.start + DAY_MS / 2, "the dates stand");
        }
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    the_bank_agrees(&world, &begun).await;
}

/// All are due at the same moment, and one process dies in the middle.
pub async fn two_processes(engine: Engine) {
    let mut world = World::new(engine).await;
    let begun = many(&world, 200, &json!({})).await;
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    let before = [Some(&world.server), second.as_ref()].map(|server| server.map_or(0, Server::worked_ms));
    move_back(&world, DAY_MS * 5 / 2).await;
    // In the middle, and with some on their way.
    let middle =
        "subscriptions WHERE running IS NOT NULL AND (SELECT COUNT(*) FROM subscriptions WHERE completed = 2) >= 20";
    until(&world, 20, middle, |running| running >= 6).await;
    match second {
        // The one that has more of them.
        Some(second) => {
            let idle = second.worked_ms() - before[1] < world.server.worked_ms() - before[0];
            let mut busy = if idle { std::mem::replace(&mut world.server, second) } else { second };
            busy.kill();
        }
        None => {
            world.server.kill();
            world.restart();
        }
    }
    let at_death = count(&world, "subscriptions WHERE completed = 2").await;
    assert!(at_death < 200, "it came too late");
    until(&world, 40, "subscriptions WHERE running IS NOT NULL", |running| running == 0).await;
    let due = format!("jobs WHERE kind = 6 AND due_at < {}", now() + 60_000);
    until(&world, 40, &due, |due| due == 0).await;
    // What was on its way then has been reversed, and is due in an hour.
    let reversed = count(&world, "transactions WHERE state = 5").await;
    eprintln!("{engine:?}: {at_death} at the kill, {reversed} reversed");
    assert_eq!(count(&world, "subscriptions WHERE completed = 2").await, 200 - reversed);
    world.advance("PT90M").await;
    for one in &begun {
        let found = one.details(&world).await;
        each_once(&found);
        assert_eq!((&found["status"], &found["completed_payment_cycle"]), (&json!("ACTIVE"), &json!(2)), "{found}");
    }
    assert_eq!(count(&world, "transactions WHERE state = 4").await, 0);
    the_bank_agrees(&world, &begun).await;
}

/// Five cycles of each are due while everything is done to it at once.
pub async fn changed_at_once(engine: Engine) {
    let world = World::new(engine).await;
    let begun = many(&world, 50, &json!({"cycle_interval": 1})).await;
    let token = json!({"payment_method": {"type": "scheme", "stored_payment_method_id": world.token}});
    move_back(&world, DAY_MS * 11 / 2).await;
    let ends = join_all(begun.iter().enumerate().map(async |(place, one)| {
        for _ in 0..3 {
            let (paused, resumed, changed) =
                tokio::join!(one.act(&world, "pause"), one.act(&world, "resume"), one.new_card(&world, token.clone()));
            assert_eq!(changed.0, 200, "{}", changed.1);
            assert!([200, 412].contains(&paused.0) && [200, 412].contains(&resumed.0), "{} {}", paused.1, resumed.1);
        }
        if place % 2 == 0 {
            let (cancelled, _, _) =
                tokio::join!(one.act(&world, "cancel"), one.act(&world, "pause"), one.act(&world, "resume"));
            assert_eq!(cancelled.0, 200, "{}", cancelled.1);
            return Some(now());
        }
        one.act(&world, if place % 4 == 1 { "pause" } else { "resume" }).await;
        None
    }))
    .await;
    // What was missed is being made up for.
    until(&world, 20, "subscriptions WHERE running IS NOT NULL", |running| running == 0).await;
    until(&world, 20, &format!("jobs WHERE kind = 6 AND due_at < {}", now()), |due| due == 0).await;
    until(&world, 20, "subscriptions WHERE running IS NOT NULL", |running| running == 0).await;
    for (place, (one, end)) in begun.iter().zip(&ends).enumerate() {
        let found = one.details(&world).await;
        each_once(&found);
        let status = if end.is_some() {
            "CANCELLED"
        } else if place % 4 == 1 {
            "PAUSED"
        } else {
            "ACTIVE"
        };
        assert_eq!(found["status"], status, "{found}");
        assert_eq!(found["next_payment_date"].is_null(), end.is_some(), "{found}");
        if let Some(end) = end {
            let charges = found["subscription_transaction_details"].as_array().unwrap();
            assert!(
                charges.iter().all(|one| crate::renewals::millis(&one["transaction_date"]) <= *end),
                "{end} {found}"
            );
        }
    }
    let before: Vec<Value> = join_all(begun.iter().map(|one| one.details(&world))).await;
    world.advance("P1D").await;
    for (one, before) in begun.iter().zip(&before) {
        let found = one.details(&world).await;
        each_once(&found);
        let more = i64::from(before["status"] == "ACTIVE");
        let completed = |of: &Value| of["completed_payment_cycle"].as_i64().unwrap();
        assert_eq!(completed(&found), completed(before) + more, "{before} {found}");
    }
    let used: BTreeSet<String> =
        world.texts("SELECT COUNT(DISTINCT token_id) FROM subscriptions").await.into_iter().collect();
    assert_eq!(used, BTreeSet::from(["1".to_owned()]));
    world.books_are_clean();
}

/// Five by a stored card.
async fn five(world: &World) -> Vec<Begun> {
    let mut body = plan(world, GOOD, json!({}));
    body.as_object_mut().unwrap().remove("card");
    body["payment_method"] = json!({"type": "scheme", "stored_payment_method_id": world.token});
    join_all((0..5).map(|_| begin_by(world, &world.keys, body.clone()))).await
}

/// The changes in the midst of their renewals.
async fn change(world: &World, begun: &[Begun]) {
    begun[0].done(world, "cancel").await;
    begun[1].done(world, "pause").await;
    begun[2].done(world, "pause").await;
    begun[2].done(world, "resume").await;
}

async fn another(world: &World) -> String {
    let card = json!({"card": world.card_charge("4000000000001091")["card"], "merchant_id": world.keys.merchant});
    let (status, stored) = world.post("tokens", &card).await;
    assert_eq!(status, 201, "{stored}");
    stored["token"]["id"].as_str().unwrap().to_owned()
}

/// Once nothing is due: the cancelled one, the paused one, and the others, which stand alike.
async fn afterwards(world: &World, begun: &[Begun]) -> [String; 3] {
    let due = format!("jobs WHERE kind = 6 AND due_at < {}", now() + 30_000);
    until(world, 20, &due, |due| due == 0).await;
    let mut stand = Vec::new();
    for one in begun {
        stand.push(one.stands(world).await);
    }
    assert!(stand[3] == stand[2] && stand[4] == stand[2], "{stand:#?}");
    stand[..3].to_vec().try_into().unwrap()
}

/// What changes a subscription between the look at it and the intent of its charge is heeded.
pub async fn changed_before_the_charge(engine: Engine) {
    // Only there can one process be held up in between while the other goes on.
    if engine == Engine::Sqlite {
        return;
    }
    let mut world = World::new(engine).await;
    let begun = five(&world).await;
    let second = world.second_process();
    let signal = |word: &str, server: &Server| {
        assert!(std::process::Command::new("kill").args([word, &server.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP", &second);
    let url = world.database_url.as_ref().unwrap();
    let (held, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    held.batch_execute("BEGIN; SELECT 1 FROM tokens FOR UPDATE").await.unwrap();
    move_back(&world, DAY_MS * 5 / 2).await;
    let blocked = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until(&world, 10, blocked, |blocked| blocked > 0).await;
    // All were taken at once; the others come to the same point.
    tokio::time::sleep(Duration::from_millis(100)).await;
    signal("-CONT", &second);
    let first = std::mem::replace(&mut world.server, second);
    change(&world, &begun).await;
    let token = json!({"payment_method": {"type": "scheme", "stored_payment_method_id": another(&world).await}});
    let (status, changed) = begun[3].new_card(&world, token).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(world.texts("SELECT COUNT(*) FROM subscriptions WHERE running IS NOT NULL").await, ["0"]);
    held.batch_execute("COMMIT").await.unwrap();
    let paid = "last SUCCESSFUL: 1 1000 CAPTURED 0d";
    assert_eq!(
        afterwards(&world, &begun).await,
        [
            format!("CANCELLED 1, next null at never, {paid}"),
            format!("PAUSED 1, next 2 at 0d-12h, {paid}"),
            format!("ACTIVE 2, next 3 at 1d12h, {paid}, 2 1000 CAPTURED ~0d"),
        ]
    );
    assert_eq!(world.bank("4000000000001091"), ["1000"], "the new card is charged");
    drop(first);
    world.books_are_clean();
}

/// What changes it while the bank is being asked stands, and so does the charge.
pub async fn changed_before_its_end(engine: Engine) {
    let world = World::new(engine).await;
    let begun = five(&world).await;
    let bank = rusqlite::Connection::open(world.folder.join("sandbox-bank.db")).unwrap();
    bank.execute_batch("BEGIN IMMEDIATE").unwrap();
    move_back(&world, DAY_MS * 5 / 2).await;
    until(&world, 10, "subscriptions WHERE running IS NOT NULL", |running| running == 5).await;
    change(&world, &begun).await;
    assert_eq!(world.texts("SELECT COUNT(*) FROM subscriptions WHERE running IS NOT NULL").await, ["5"]);
    bank.execute_batch("COMMIT").unwrap();
    let paid = "last SUCCESSFUL: 1 1000 CAPTURED 0d, 2 1000 CAPTURED ~0d";
    assert_eq!(
        afterwards(&world, &begun).await,
        [
            format!("CANCELLED 2, next null at never, {paid}"),
            format!("PAUSED 2, next 3 at 1d12h, {paid}"),
            format!("ACTIVE 2, next 3 at 1d12h, {paid}"),
        ]
    );
    world.books_are_clean();
}

/// The crash comes in the middle of two months; what was on its way is reversed, and charged an hour later.
pub async fn killed_in_mid_advance(engine: Engine) {
    let mut world = World::new(engine).await;
    world.advance("PT1S").await;
    let begun = many(&world, 20, &json!({})).await;
    let body = json!({"advance": "P61D"});
    let running = tokio::spawn(world.authed(world.http.post(world.url("test/clock")), &world.keys).json(&body).send());
    until(&world, 20, "subscriptions WHERE completed >= 5", |some| some >= 5).await;
    world.server.kill();
    assert!(running.await.unwrap().is_err(), "the advance was over before the crash");
    assert!(count(&world, "subscriptions WHERE completed < 31").await > 0, "the crash came too late");
    world.restart();
    until(&world, 60, "subscriptions WHERE completed = 31 AND status = 1 AND running IS NULL", |done| done == 20).await;
    for one in &begun {
        let found = one.details(&world).await;
        each_once(&found);
        let charges = found["subscription_transaction_details"].as_array().unwrap();
        for charge in charges {
            let (cycle, at) = (charge["cycle"].as_i64().unwrap(), since(one.start, &charge["transaction_date"]));
            let undone = charges.iter().any(|one| one["cycle"] == charge["cycle"] && one["event"] == "DECLINED");
            let hour = undone && charge["event"] == "CAPTURED";
            assert_eq!(at, format!("{}d{}", 2 * (cycle - 1), if hour { "1h" } else { "" }), "{found}");
        }
        assert_eq!(since(one.start, &found["next_payment_date"]), "62d");
    }
    the_bank_agrees(&world, &begun).await;
}

/// A hundred plans of many kinds, the same for each entity.
async fn a_hundred(world: &World, keys: &Keys) -> Vec<Begun> {
    let month = |mut changes: Value| {
        changes["cycle_type"] = json!("MONTHLY");
        changes["cycle_interval"] = json!(1);
        changes
    };
    let trial = json!({"has_trial_period": true, "trial_period_duration_type": "WEEKLY", "trial_period_duration": 3});
    let discount = json!({"has_discount": true, "discount_percentage": 15, "discount_duration": 3});
    let gift = json!({"has_discount": true, "discount_percentage": 100, "discount_duration": 1});
    let mut bodies = Vec::new();
    for place in 0..100 {
        let (card, changes) = match place % 20 {
            0 => (SOFT, json!({})),
            1 => (HARD, json!({})),
            2 => (SOFT, trial.clone()),
            3 => (GOOD, trial.clone()),
            4 => (GOOD, discount.clone()),
            5 => (GOOD, cycles(5)),
            6 => (GOOD, gift.clone()),
            _ => (GOOD, json!({})),
        };
        bodies.push(plan(world, card, month(changes)));
    }
    let mut begun = Vec::new();
    for group in bodies.chunks(25) {
        begun.extend(join_all(group.iter().map(|body| begin_by(world, keys, body.clone()))).await);
    }
    begun
}

async fn ended(world: &World, keys: &Keys, begun: &[Begun]) -> Vec<String> {
    join_all(begun.iter().map(async |one| one.outline(&one.details_by(world, keys).await))).await
}

/// A year of billing at once, within seconds, ends as the same year day by day.
pub async fn a_year(engine: Engine) {
    let world = World::new(engine).await;
    let other = crate::clock::other(&world).await;
    // Its workers take what falls due as well.
    let second = (engine == Engine::Postgres).then(|| world.second_process());
    let mut ends = Vec::new();
    for (keys, steps) in [(&world.keys, 1), (&other, 366)] {
        world.advance_to(keys, "01-10T12:00:00Z").await;
        let begun = a_hundred(&world, keys).await;
        let (clock, worked) = (Instant::now(), world.server.worked_ms());
        for _ in 0..steps {
            world.advance_as(keys, if steps == 1 { "P366D" } else { "P1D" }).await;
        }
        let took = (clock.elapsed(), world.server.worked_ms() - worked);
        eprintln!("{engine:?}: a year in {steps} steps took {:?}, of the process's own {} ms", took.0, took.1);
        // Others may be at work beside it: it is held to its own time, and to what anyone would wait for.
        assert!(steps > 1 || (took.1 < 5_000 && took.0 < Duration::from_secs(30)), "{took:?}");
        ends.push(ended(&world, keys, &begun).await);
    }
    drop(second);
    assert_eq!(ends[0], ends[1]);
    let with = |word: &str| ends[0].iter().filter(|end| end.starts_with(word)).count();
    assert_eq!(
        (with("ACTIVE 13"), with("ACTIVE 12"), with("EXPIRED 5"), with("CANCELLED 1"), with("CANCELLED 0")),
        (75, 5, 5, 10, 5)
    );
    world.books_are_clean();
}
