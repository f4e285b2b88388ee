//! What must hold of the charges that waited for their cardholder: the issuer's and the wallets' books, what browsers were
//! shown, and the bank agree about them.

use crate::bank::Bank;
use crate::world::World;
use fuda::codes::Code;
use fuda::db::{Row, Value};
use fuda::pay::store;
use fuda::pay::transaction::{State, Step, Transaction, Waits};
use fuda::threeds::messages::{RReq, TransStatus};
use std::collections::BTreeMap;

/// How long the issuer's or a wallet's answer is waited for, milliseconds.
const ASKED_MS: i64 = 3_000;

/// How many waited, and how many of them were sent to the bank.
pub async fn check(world: &World) -> Result<(u64, u64), String> {
    let db = world.calm_db();
    let all = store::page(&db, 0, i64::MIN, i64::MAX, 100_000).await.map_err(|error| format!("{error:?}"))?;
    let books = Books::read(world).await?;
    let sent = rows(&db, "SELECT transaction_id, sent_at FROM attempts WHERE number = 1").await?;
    let sent: BTreeMap<Vec<u8>, i64> =
        sent.iter().map(|row| (row.bytes(0).unwrap().to_vec(), row.int(1).unwrap())).collect();
    let (mut waited, mut went_on) = (0, 0);
    for one in &all {
        let Some(waits) = &one.details.waits else { continue };
        let sent_at = sent.get(one.id.as_bytes().as_slice()).copied();
        let yes = books.yes(one, waits);
        let bank = world.bank.lock().unwrap();
        ended(world, &bank, one, yes, sent_at).map_err(|what| format!("{what}: {one:?}, a yes: {yes}, {sent_at:?}"))?;
        waited += 1;
        went_on += u64::from(sent_at.is_some());
    }
    for seen in world.seen.lock().unwrap().iter() {
        let one = all.iter().find(|one| one.id.to_string() == seen.id);
        if !one.is_some_and(|one| one.state.succeeded() == seen.success && one.details.waits.is_some()) {
            return Err(format!("a browser saw {seen:?} of {one:?}"));
        }
    }
    Ok((waited, went_on))
}

async fn rows(db: &fuda::db::Db, sql: &'static str) -> Result<Vec<Row>, String> {
    db.rows(sql, Vec::<Value>::new()).await.map_err(|error| format!("{error:?}"))
}

fn ended(world: &World, bank: &Bank, one: &Transaction, yes: bool, sent_at: Option<i64>) -> Result<(), &'static str> {
    let reference = one.id.to_string();
    if one.state == State::Waiting {
        return Err("it still waits");
    }
    let Some(sent_at) = sent_at else {
        if bank.ops.contains_key(&reference) || bank.sent.contains_key(&reference) {
            return Err("the bank was asked without an attempt");
        }
        let deleted = one.code == Some(Code::Err1003)
            && one.token.is_some_and(|token| world.deletes.lock().unwrap().contains(&token.to_string()));
        let fits = one.state == State::Declined && (one.code == Some(Code::Err1009) || deleted && yes);
        return if fits { Ok(()) } else { Err("it ended otherwise than unpaid") };
    };
    if !yes {
        return Err("it was charged without the cardholder's yes");
    }
    let answered = one.details.waits.as_ref().and_then(|waits| {
        let key = match &waits.step {
            Step::Challenge { server_id, .. } => server_id,
            Step::Consent { url } => url.rsplit('/').next()?,
        };
        Some(*world.answers.lock().unwrap().get(key)? - waits.until)
    });
    // The time is looked at before the issuer or the wallet is asked, and that may take so long.
    if answered.is_none_or(|late| late > ASKED_MS) {
        return Err("it was charged for a yes that came too late");
    }
    if one.code == Some(Code::Err1009) {
        return Err("it was sent to the bank and has failed before it");
    }
    let deleted = |told: &crate::client::Told| {
        told.path == "tokens"
            && told.status == 200
            && told.at < sent_at
            && told.token.as_deref() == one.token.map(|token| token.to_string()).as_deref()
    };
    if one.token.is_some() && world.told.lock().unwrap().iter().any(deleted) {
        return Err("a token that was deleted meanwhile was charged");
    }
    Ok(())
}

/// What the cardholders said.
struct Books {
    /// By the 3DS server's id.
    issuer: BTreeMap<String, RReq>,
    /// By our reference.
    wallets: BTreeMap<String, bool>,
}

impl Books {
    async fn read(world: &World) -> Result<Books, String> {
        let db = world.calm_books();
        let issuer = rows(&db, "SELECT server_id, rreq FROM authentications WHERE rreq IS NOT NULL").await?;
        let wallets = rows(&db, "SELECT reference, approved FROM consents WHERE approved IS NOT NULL").await?;
        let text = |row: &Row, at| row.text(at).unwrap().to_owned();
        Ok(Books {
            issuer: issuer.iter().map(|row| (text(row, 0), serde_json::from_str(&text(row, 1)).unwrap())).collect(),
            wallets: wallets.iter().map(|row| (text(row, 0), row.int(1).unwrap() == 1)).collect(),
        })
    }

    fn yes(&self, one: &Transaction, waits: &Waits) -> bool {
        match &waits.step {
            Step::Challenge { server_id, .. } => {
                self.issuer.get(server_id).is_some_and(|result| result.status == TransStatus::Y)
            }
            Step::Consent { .. } => self.wallets.get(&one.id.to_string()) == Some(&true),
        }
    }
}
