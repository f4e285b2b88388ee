//! What must hold after every seed.

use crate::bank::{Kind as BankKind, Op, State as BankState};
use crate::client::Told;
use crate::shop;
use crate::world::World;
use fuda::db::{Db, Value};
use fuda::id::TransactionId;
use fuda::ledger::chain;
use fuda::pay::books::{self, Checked};
use fuda::pay::store;
use fuda::pay::transaction::{Kind, State, Transaction};
use fuda::subscription::Part;
use std::collections::BTreeMap;

/// Before this age an intent is its flow's alone, milliseconds: the bank's deadline and the margin.
const SETTLE_MS: i64 = 5_000;

/// How long a key is remembered at least, milliseconds: a day, but for what a request takes until it claims it.
const KEY_MS: i64 = 86_340_000;

pub async fn count(db: &Db, sql: &'static str, args: Vec<Value>) -> i64 {
    db.rows(sql, args).await.unwrap()[0].int(0).unwrap()
}

/// How many transactions there were, or the first thing that does not hold.
pub async fn all(world: &World) -> Result<u64, String> {
    let db = world.calm_db();
    let all = store::page(&db, 0, i64::MIN, i64::MAX, 100_000).await.map_err(|error| format!("{error:?}"))?;
    let by_id: BTreeMap<String, &Transaction> = all.iter().map(|one| (one.id.to_string(), one)).collect();
    for one in &all {
        ended(one)?;
        balanced(one, &all)?;
    }
    once_for_each_mark(&all)?;
    bank_agrees(world, &all, &by_id)?;
    for told in world.told.lock().unwrap().iter() {
        was_told_the_truth(told, &by_id)?;
    }
    tokens(world, &db, &all).await?;
    shop::check(world, &db, &all).await?;
    keys(&db, &by_id).await?;
    let kept = "SELECT COUNT(*) FROM transactions WHERE state IN (4, 5, 9) AND (sealed IS NOT NULL OR wrapped_key IS NOT NULL)";
    let kept = count(&db, kept, vec![]).await;
    if kept > 0 {
        return Err(format!("{kept} cards are kept of what ended without a charge"));
    }
    let hasty = "SELECT COALESCE(a.stan, 0) FROM attempts a JOIN attempts b ON b.transaction_id = a.transaction_id AND b.number = 2 \
                 JOIN transactions t ON t.id = a.transaction_id WHERE a.number = 1 AND a.result IN (1, 2) \
                 AND b.operation <> 7 AND b.sent_at < $1 + CASE WHEN t.details LIKE '%\"waits\"%' THEN a.sent_at \
                 ELSE t.created_at END";
    let hasty = db.rows(hasty, vec![SETTLE_MS.into()]).await.map_err(|error| format!("{error:?}"))?;
    // Where the answer came unasked the flow had given up by itself: its line was cut, or its time was over.
    let late = world.bank.lock().unwrap().names.late();
    let hasty = hasty.iter().filter(|row| !late.contains(&row.int(0).unwrap())).count();
    if hasty > 0 {
        return Err(format!("{hasty} intents were given up while their flows were alive and in time"));
    }
    let fault = books::verify(&db, &mut Checked::default(), &mut |_| {}).await.map_err(|error| format!("{error:?}"))?;
    if let Some(fault) = fault {
        return Err(format!("the ledger: {fault}"));
    }
    let process = world.live().ok_or("no process lives")?;
    let fault = chain::verify(&db, &process.app.vault, &mut |_| {}).await.map_err(|error| format!("{error:?}"))?;
    match fault {
        Some(fault) => Err(format!("the chain: {fault}")),
        None => Ok(all.len() as u64),
    }
}

/// Every key answers with the end of its transaction from now on.
async fn keys(db: &Db, by_id: &BTreeMap<String, &Transaction>) -> Result<(), String> {
    let sql = "SELECT transaction_id, settled, COALESCE(answer, '') FROM idempotency";
    for row in db.rows(sql, vec![]).await.map_err(|error| format!("{error:?}"))? {
        let id = TransactionId::from_bytes(row.bytes(0).unwrap()).ok_or("a key's transaction has no id")?.to_string();
        let (settled, answer) = (row.int(1).unwrap(), row.text(2).unwrap());
        if settled != 1 {
            return Err(format!("a key has no final answer: {id}"));
        }
        let answer: serde_json::Value =
            serde_json::from_str(answer).map_err(|_| format!("a key's answer is broken: {answer}"))?;
        let code = answer["gateway_response"]["code"].as_str().unwrap_or_default();
        let Some(one) = by_id.get(&id).filter(|one| !(changes(one) && one.state.succeeded())) else {
            // A change of a subscription that no charge brought, or that a verification has let through.
            let changed = code == "INFO3000" && answer["success"] == true && answer["subscription_details"].is_object();
            // What became of it while its new card was verified left no room for that card.
            let late = code == "ERR1005" && answer["transaction_details"]["id"] == id.as_str();
            if !changed && !late {
                return Err(format!("a key names {id}, which does not exist: {answer}"));
            }
            continue;
        };
        let holds = one.code.is_some_and(|known| known.name() == code)
            && answer["success"] == one.state.succeeded()
            && answer["transaction_details"]["id"] == id.as_str();
        if !holds || answer.get("redirect_url").is_some() {
            return Err(format!("a key answers {answer} of {one:?}"));
        }
    }
    Ok(())
}

/// The verification of another card.
fn changes(one: &Transaction) -> bool {
    one.details.subscription.as_ref().is_some_and(|share| matches!(share.part, Part::Changes { .. }))
}

fn fail(one: &Transaction, what: &str) -> String {
    format!("{what}: {one:?}")
}

fn ended(one: &Transaction) -> Result<(), String> {
    let open = matches!(one.state, State::Pending | State::Unknown | State::Waiting) || one.settle_after.is_some();
    if open { Err(fail(one, "an intent has not ended")) } else { Ok(()) }
}

/// Captured at most what was held, refunded at most what was captured, and both sums are the children's.
fn balanced(one: &Transaction, all: &[Transaction]) -> Result<(), String> {
    let sum = |kind: Kind| -> i64 {
        let children = all.iter().filter(|child| child.parent == Some(one.id) && child.kind == kind);
        children.filter(|child| child.state == State::Approved).map(|child| child.money.minor).sum()
    };
    let (captured, refunded) = (sum(Kind::Capture), sum(Kind::Refund));
    if captured != one.captured_minor || captured > one.money.minor {
        return Err(fail(one, "captured is not the sum of its captures"));
    }
    if refunded != one.refunded_minor || one.refund_reserved_minor != refunded || refunded > one.money.minor {
        return Err(fail(one, "refunded is not the sum of its refunds"));
    }
    if one.unresolved != 0 {
        return Err(fail(one, "it still waits for what follows it"));
    }
    let voids = all.iter().filter(|child| child.parent == Some(one.id) && child.kind == Kind::Void);
    let voided = voids.filter(|child| child.state == State::Approved).count();
    let fits = match one.state {
        State::Captured => captured > 0 && voided == 0,
        State::Voided | State::Lapsed => captured == 0 && voided == 1,
        _ => captured == 0 && voided == 0,
    };
    if fits { Ok(()) } else { Err(fail(one, "its state is not what followed it")) }
}

/// No request, however often it was sent, moves money twice.
fn once_for_each_mark(all: &[Transaction]) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    // What a subscription brings has its mark; it is looked at by itself.
    let first = |one: &Transaction| {
        one.details.subscription.as_ref().is_none_or(|share| matches!(share.part, Part::Begins { .. }))
    };
    for one in all.iter().filter(|one| one.state.succeeded() && !one.details.lapse && first(one)) {
        let mark = if one.is_charge() { &one.merchant_txn_ref } else { &one.details.notes };
        // A request that slept for longer than a key is remembered is a new one.
        let before = seen.insert(mark.clone(), one.created_at);
        if before.is_some_and(|before| one.created_at - before < KEY_MS) {
            return Err(fail(one, "a request was carried out twice"));
        }
    }
    Ok(())
}

/// Every hold, capture, refund and void on both sides, and nothing else on either.
fn bank_agrees(world: &World, all: &[Transaction], by_id: &BTreeMap<String, &Transaction>) -> Result<(), String> {
    let bank = world.bank.lock().unwrap();
    if let Some(odd) = bank.odd.iter().chain(&bank.names.odd).next() {
        return Err(odd.clone());
    }
    // A cycle that costs nothing is none of the bank's.
    let free = |one: &Transaction| one.kind == Kind::Capture && one.money.minor == 0;
    for one in all.iter().filter(|one| one.state.succeeded() && !free(one)) {
        let op = bank.ops.get(&one.id.to_string()).filter(|op| op.stands());
        let Some(op) = op else { return Err(fail(one, "the bank does not have it")) };
        agrees(one, op, bank.releases()).map_err(|what| format!("{what}: {one:?} {op:?}"))?;
    }
    if let Some((reference, times)) = bank.sent.iter().find(|(_, times)| **times > 1) {
        return Err(format!("the charge {reference} was sent {times} times"));
    }
    for (reference, op) in bank.ops.iter().filter(|(_, op)| op.stands()) {
        if !by_id.get(reference).is_some_and(|one| one.state.succeeded() && !free(one)) {
            let here = by_id.get(reference).map_or("nothing", |one| one.state.name());
            return Err(format!("the bank has {op:?} under {reference}, we have {here}"));
        }
    }
    Ok(())
}

fn agrees(one: &Transaction, op: &Op, releases: bool) -> Result<(), &'static str> {
    let kind = match (one.kind, one.is_charge()) {
        (Kind::PreAuth, _) if one.money.minor == 0 => BankKind::Verification,
        (Kind::PreAuth, _) => BankKind::Hold,
        (Kind::Capture, true) => BankKind::Purchase,
        (Kind::Capture, false) => BankKind::Capture,
        (Kind::Refund, _) => BankKind::Refund,
        (Kind::Void, _) => BankKind::Void,
    };
    if op.kind != kind || op.amount != one.money.minor {
        return Err("the bank has another amount or kind");
    }
    if op.captured != one.captured_minor || op.refunded != one.refunded_minor {
        return Err("the bank has another balance");
    }
    let let_go = matches!(one.state, State::Voided | State::Lapsed);
    if let_go != (op.state == BankState::Voided) {
        return Err("a hold stands on one side only");
    }
    let remainder = if one.state == State::Captured && !releases { one.money.minor - one.captured_minor } else { 0 };
    if op.released != remainder {
        return Err("a captured hold's remainder was not released");
    }
    Ok(())
}

/// What a caller may conclude (contract section 10).
fn was_told_the_truth(told: &Told, by_id: &BTreeMap<String, &Transaction>) -> Result<(), String> {
    if told.path == "tokens" {
        return Ok(());
    }
    let Some(id) = &told.id else { return Ok(()) };
    let Some(one) = by_id.get(id) else { return Err(format!("{told:?} names what does not exist")) };
    let holds = match told.code.as_str() {
        "INFO0000" | "INFO0001" | "INFO0002" | "INFO0003" => told.success && one.state.succeeded(),
        "ERR1010" => one.state == State::Reversed,
        "ERR1000" | "ERR3019" | "ERR1003" | "ERR1009" | "ERR1011" => one.state == State::Declined,
        "" => told.redirect.is_some() && one.details.waits.is_some(),
        "ERR1016" => matches!(one.state, State::Approved | State::Declined),
        _ => true,
    };
    if holds { Ok(()) } else { Err(format!("{told:?} was told of {one:?}")) }
}

/// A token that was told stands until it is deleted, and is not charged after that.
async fn tokens(world: &World, db: &Db, all: &[Transaction]) -> Result<(), String> {
    let told = world.told.lock().unwrap().clone();
    let deleted: BTreeMap<&String, i64> = told
        .iter()
        .filter(|one| one.path == "tokens" && one.status == 200)
        .filter_map(|one| Some((one.token.as_ref()?, one.at)))
        .collect();
    for one in all {
        let Some(token) = one.token else { continue };
        if deleted.get(&token.to_string()).is_some_and(|at| one.created_at > *at) {
            return Err(fail(one, "a deleted token was charged"));
        }
    }
    for token in told.iter().filter(|one| one.success && one.path != "tokens").filter_map(|one| one.token.as_ref()) {
        let id = fuda::id::TokenId::parse(token).ok_or("a token that is no id")?;
        let there = count(db, "SELECT COUNT(*) FROM tokens WHERE id = $1", vec![id.into()]).await;
        // A delete without an answer may have taken place.
        if there == 0 && !world.deletes.lock().unwrap().contains(token) {
            return Err(format!("token {token} was promised and is not there"));
        }
    }
    Ok(())
}
