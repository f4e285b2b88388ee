//! What the engine alone does with a payment's statements, and what the disk alone does with a commit.

use crate::clock::Stopwatch;
use crate::db::{Stmt, Value};
use crate::error::Error;
use crate::id::TransactionId;
use crate::pay::attempts::{self, Answered, Message, Reply};
use crate::pay::state::{Event, apply};
use crate::pay::transaction::{State, Transaction};
use crate::pay::{books, store};
use crate::random::Random;
use crate::vault::Sealed;
use rusqlite::Connection;
use std::io::Write as _;
use std::path::Path;

pub struct Bare {
    pub payments_per_s: u64,
    pub user_us_per_payment: u64,
}

/// Appends of one page with fdatasync behind each, for a second.
pub fn fsyncs(folder: &Path) -> Result<u64, Error> {
    let mut file = std::fs::File::create(folder.join("fsync")).map_err(Error::internal)?;
    let watch = Stopwatch::start();
    let mut count = 0;
    while watch.elapsed().as_secs() < 1 {
        file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).map_err(Error::internal)?;
        count += 1;
    }
    Ok(count)
}

/// A copy of the store, a template from its last payment, and the statements of two writes and a read for each payment,
/// `clients` payments to a commit.
pub async fn sqlite(store_folder: &Path, folder: &Path, clients: usize, seconds: u64) -> Result<Bare, Error> {
    let copy = folder.join("bare.db");
    std::fs::copy(store_folder.join("fuda.db"), &copy).map_err(Error::internal)?;
    let db = crate::db::Db::open_sqlite(&copy, crate::db::Durability::Full)?;
    let template = store::last_approved(&db).await?.ok_or_else(|| Error::internal("the load made no payment"))?;
    db.close().await;
    let mut connection = Connection::open(&copy).map_err(Error::internal)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; \
             PRAGMA cache_size = -32000; PRAGMA wal_autocheckpoint = 4000;",
        )
        .map_err(Error::internal)?;
    let random = Random::system();
    let watch = Stopwatch::start();
    let before = user_us();
    let mut count = 0_u64;
    while watch.elapsed().as_secs() < seconds {
        let payments: Vec<Transaction> = (0..clients).map(|_| next(&template, &random)).collect();
        batch(&mut connection, payments.iter().map(intent))?;
        batch(&mut connection, payments.iter().map(|payment| outcome(payment, &template)))?;
        count += clients as u64;
    }
    let user_us_per_payment = (user_us() - before) / count.max(1);
    let ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(1).max(1);
    Ok(Bare { payments_per_s: count * 1000 / ms, user_us_per_payment })
}

fn next(template: &Transaction, random: &Random) -> Transaction {
    let mut payment = template.clone();
    payment.id = TransactionId::new(template.created_at, random);
    payment.state = State::Pending;
    payment.settle_after = Some(template.created_at + 5_000);
    payment
}

fn intent(payment: &Transaction) -> Result<Vec<Stmt>, Error> {
    let sealed = Sealed { key_id: 1, wrapped_key: vec![7; 60], ciphertext: vec![7; 52] };
    let mut statements = Vec::new();
    if let Some(token) = payment.token {
        statements.push(crate::pay::tokens::still_there(token, payment.caller));
    }
    statements.push(store::insert(payment, Some(sealed))?);
    statements.push(attempts::first(payment.id, "sandbox", Message::Charge, payment.created_at));
    Ok(statements)
}

fn outcome(payment: &Transaction, template: &Transaction) -> Result<Vec<Stmt>, Error> {
    let approval = crate::acquirer::Approval {
        response_code: 0,
        auth_code: template.auth_code.clone(),
        network_transaction_id: template.network_transaction_id.clone(),
    };
    let after = apply(payment, Event::Approved(approval)).map_err(|_| Error::internal("not pending"))?;
    let reply = Reply { answered: Answered::Approved, response_code: Some(0) };
    let mut statements = vec![store::update(payment, &after)];
    statements.extend(books::entries(&after, None, payment.created_at));
    statements.push(attempts::answered(payment.id, 1, reply, payment.created_at));
    Ok(statements)
}

fn batch(connection: &mut Connection, writes: impl Iterator<Item = Result<Vec<Stmt>, Error>>) -> Result<(), Error> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(Error::internal)?;
    for write in writes {
        for statement in write? {
            let text = statement.sql.replace("{for_share}", "").replace('$', "?");
            let mut prepared = connection.prepare_cached(&text).map_err(Error::internal)?;
            let args: Vec<&Value> = statement.args.iter().collect();
            let mut rows = prepared.query(rusqlite::params_from_iter(args)).map_err(Error::internal)?;
            while rows.next().map_err(Error::internal)?.is_some() {}
        }
    }
    connection.execute_batch("COMMIT").map_err(Error::internal)
}

/// User time of this process so far, microseconds.
fn user_us() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default();
    after.split(' ').nth(11).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 10_000
}
