//! One seed: processes on one store and one bank, clients, deaths, deploys; then calm, until everything is drained.

use crate::checks;
use crate::client::{Client, pause};
use crate::weather::Dice;
use crate::world::{Stores, World};
use crate::{merchant, renewals, waited};
use fuda::db::{Db, Stmt};
use fuda::id::TransactionId;
use fuda::pay::recover::{self, Verdict};
use fuda::pay::{store, waiting};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How long draining may take in calm weather, simulated milliseconds: longer than any wait between two tries by then.
const DRAIN_MS: i64 = 2 * 60 * 60 * 1000;

/// What a seed did, for the sum of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    pub transactions: u64,
    pub told: u64,
    pub deaths: u64,
    pub resolved_by_hand: u64,
    /// Charges that waited for their cardholder, and those of them that came as far as the bank.
    pub waited: u64,
    pub went_on: u64,
    pub renewals: renewals::Done,
}

/// Runs one seed in a runtime of its own, whose time leaps from timer to timer.
pub fn run(seed: u64, stores: &Stores) -> Result<Done, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(story(seed, stores))
}

async fn story(seed: u64, stores: &Stores) -> Result<Done, String> {
    let dice = Dice::new(seed);
    let world = Arc::new(World::new(&dice, stores).await);
    let two = dice.chance(500);
    let mut done = Done::default();
    let mut running = tokio::task::JoinSet::new();
    for slot in 0..1 + u64::from(two) {
        let (world, dice) = (world.clone(), Dice::new(dice.below(u64::MAX)));
        running.spawn(operate(world, dice, slot, two));
    }
    let mut clients = tokio::task::JoinSet::new();
    for name in 0..2 + dice.below(4) {
        clients.spawn(Client { world: world.clone(), name, dice: Dice::new(dice.below(u64::MAX)) }.run());
    }
    while clients.join_next().await.is_some() {}
    world.wait_for(&world.prompt).await?;
    pause(dice.below(10_000)).await;
    let late_since = *world.late_since.lock().unwrap();
    if let Some(since) = late_since {
        world.leap(since + waiting::LIMIT_MS - 15_000).await;
        world.wait_for(&world.late).await?;
        pause(dice.below(10_000)).await;
    }
    merchant::live_on(&world, &dice).await?;
    world.calm.store(true, Ordering::Relaxed);
    done.resolved_by_hand = drain(&world).await?;
    running.abort_all();
    done.deaths = world.deaths.load(Ordering::Relaxed);
    if let Some(fault) = world.faults.lock().unwrap().first() {
        return Err(fault.clone());
    }
    done.told = world.told.lock().unwrap().len() as u64;
    (done.waited, done.went_on) = waited::check(&world).await?;
    done.renewals = renewals::check(&world).await?;
    done.transactions = checks::all(&world).await?;
    Ok(done)
}

/// Keeps one process alive: starts it, replaces it by a deploy, starts it again when it has died.
async fn operate(world: Arc<World>, dice: Dice, slot: u64, two: bool) {
    let mut died = false;
    loop {
        let steps = (!world.calm.load(Ordering::Relaxed) && dice.chance(600)).then(|| 5 + dice.below(600));
        // Alone on its store, as on SQLite: what the dead one left is nobody else's.
        let alone = !two && died && world.nobody_lives() && dice.chance(700);
        let Some(process) = world.start(&dice, steps, alone).await else { return };
        tracing::debug!(slot, "a process starts");
        let until = if dice.chance(300) { 2_000 + dice.below(20_000) } else { u64::MAX / 4 };
        let mut lived = 0;
        while !process.life.is_dead() && lived < until {
            pause(100).await;
            lived += 100;
        }
        died = process.life.is_dead();
        if died {
            world.deaths.fetch_add(1, Ordering::Relaxed);
        } else {
            // A deploy: no new requests, what is in flight goes on for a while, and then the process is gone.
            process.life.draining.store(true, Ordering::Relaxed);
        }
        world.forget(&process);
        pause(dice.below(1_500)).await;
    }
}

/// Waits in calm weather until nothing is left to do. What the bank cannot be asked about is settled by hand, by someone
/// who looks into the bank's books.
async fn drain(world: &Arc<World>) -> Result<u64, String> {
    let end = world.clock.now() + DRAIN_MS;
    let mut by_hand = 0;
    let db = world.calm_db();
    while world.clock.now() < end {
        pause(1_000).await;
        let now = world.clock.now();
        // A webhook that waits for hours is sent again by an operator.
        let wait = "UPDATE jobs SET due_at = $1, run_at = $1 WHERE kind = 4 AND due_at > $1 + 6000";
        db.write(vec![Stmt::new(wait, vec![now.into()])]).await.map_err(|error| format!("{error:?}"))?;
        let open = store::unresolved(&db, i64::MAX, 1_000).await.map_err(|error| format!("{error:?}"))?;
        // A hold's end, a cardholder's and a next cycle are far away; the cardholder's is waited for.
        let left = "SELECT (SELECT COUNT(*) FROM jobs WHERE kind NOT IN (2, 5, 6) OR due_at <= $1) + (SELECT COUNT(*) \
                    FROM subscriptions WHERE status > 0 AND running IS NOT NULL OR status IN (1, 3) AND due_at <= $1)";
        if open.is_empty() && checks::count(&db, left, vec![now.into()]).await == 0 && world.live().is_some() {
            // By their own time, which begins a little after the charge does; what waits without a job is found afterwards.
            let last = "SELECT CAST(COALESCE(MAX(due_at), 0) AS BIGINT) FROM jobs WHERE kind = 5";
            let over = checks::count(&db, last, vec![]).await;
            if over == 0 {
                return Ok(by_hand);
            }
            world.leap(over.max(now) + 1).await;
        }
        for one in open {
            by_hand += u64::from(settle_by_hand(world, &db, one.id).await?);
        }
    }
    let open = store::unresolved(&db, i64::MAX, 10).await.map_err(|error| format!("{error:?}"))?;
    Err(format!("not drained after {} minutes: {open:?}", DRAIN_MS / 60_000))
}

/// Where no job will ask the bank any more, an operator does.
async fn settle_by_hand(world: &Arc<World>, db: &Db, id: TransactionId) -> Result<bool, String> {
    // Or where the log calls for one: what was approved late and is not found, its card gone.
    let alone = "SELECT COUNT(*) FROM transactions WHERE id = $1 AND state = 2 \
                 AND (NOT EXISTS (SELECT 1 FROM jobs WHERE kind = 1 AND subject = $1) \
                 OR sealed IS NULL AND parent_id IS NULL AND EXISTS (SELECT 1 FROM attempts WHERE transaction_id = $1 \
                 AND operation = 1 AND result = 1) AND EXISTS (SELECT 1 FROM attempts WHERE transaction_id = $1 \
                 AND operation = 2 AND response_code = 25 AND number = (SELECT MAX(number) FROM attempts WHERE transaction_id = $1)))";
    if checks::count(db, alone, vec![id.into()]).await == 0 {
        return Ok(false);
    }
    // Whatever was on its way has arrived by then, or never will.
    pause(60_000).await;
    let stands = world.bank.lock().unwrap().ops.get(&id.to_string()).is_some_and(crate::bank::Op::stands);
    let verdict = if stands { Verdict::Approved } else { Verdict::Reversed };
    let Some(process) = world.live() else { return Ok(false) };
    let settled = recover::resolve(&process.app, id, verdict, "simulation", "looked at the bank").await;
    settled.map_err(|error| format!("settling {id} by hand: {error:?}"))?;
    Ok(true)
}
