//! What the engine alone does with a payment's statements, and what the disk alone does with a commit.

use crate::acceptor::SANDBOX;
use crate::clock::{Clock, Stopwatch};
use crate::db::{BarePostgres, BareSqlite, Db, Durability, POSTGRES_CONNECTIONS, Stmt};
use crate::error::Error;
use crate::id::TransactionId;
use crate::pay::attempts::{self, Answered, Message, Reply, Tag};
use crate::pay::state::{Event, apply};
use crate::pay::transaction::{State, Transaction};
use crate::pay::{books, store};
use crate::random::Random;
use crate::vault::Sealed;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

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

/// The statements of two writes for each payment, `clients` payments to a commit, on a copy of the store.
pub async fn sqlite(store_folder: &Path, folder: &Path, clients: usize, seconds: u64) -> Result<Bare, Error> {
    let copy = folder.join("bare.db");
    std::fs::copy(store_folder.join("fuda.db"), &copy).map_err(Error::internal)?;
    let template = template(Db::open_sqlite(&copy, Durability::Full)?).await?;
    let mut connection = BareSqlite::open(&copy)?;
    let random = Random::system();
    let meter = Meter::start(seconds);
    let mut count = 0;
    while meter.running() {
        let payments = some(&template, &random, clients);
        connection.commit(&intents(&payments)?)?;
        connection.commit(&outcomes(&payments, &template)?)?;
        count += clients as u64;
    }
    Ok(meter.stop(count))
}

/// The same on the database that the gateway has left, on as many connections as it had; they share the payments.
pub async fn postgres(url: &str, clients: usize, seconds: u64) -> Result<Bare, Error> {
    let template = Arc::new(template(Db::connect_postgres(url, Clock::system()).await?).await?);
    let count = POSTGRES_CONNECTIONS.min(clients).max(1);
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(BarePostgres::connect(url).await?);
    }
    let mut running = tokio::task::JoinSet::new();
    let meter = Meter::start(seconds);
    for (number, connection) in connections.into_iter().enumerate() {
        let share = clients / count + usize::from(number < clients % count);
        running.spawn(postgres_connection(connection, template.clone(), share, meter));
    }
    let mut count = 0;
    while let Some(done) = running.join_next().await {
        count += done.map_err(Error::internal)??;
    }
    Ok(meter.stop(count))
}

async fn postgres_connection(
    mut connection: BarePostgres,
    template: Arc<Transaction>,
    share: usize,
    meter: Meter,
) -> Result<u64, Error> {
    let random = Random::system();
    let mut count = 0;
    while meter.running() {
        let payments = some(&template, &random, share);
        connection.commit(&intents(&payments)?).await?;
        connection.commit(&outcomes(&payments, &template)?).await?;
        count += share as u64;
    }
    Ok(count)
}

/// Time and this process's user time from one moment on.
#[derive(Clone, Copy)]
struct Meter {
    watch: Stopwatch,
    user_us: u64,
    seconds: u64,
}

impl Meter {
    fn start(seconds: u64) -> Meter {
        Meter { watch: Stopwatch::start(), user_us: user_us(), seconds }
    }

    fn running(&self) -> bool {
        self.watch.elapsed().as_secs() < self.seconds
    }

    fn stop(&self, count: u64) -> Bare {
        let ms = u64::try_from(self.watch.elapsed().as_millis()).unwrap_or(1).max(1);
        let user_us_per_payment = (user_us() - self.user_us) / count.max(1);
        Bare { payments_per_s: count * 1000 / ms, user_us_per_payment }
    }
}

/// What the payments are made after: the gateway's last one.
async fn template(db: Db) -> Result<Transaction, Error> {
    let found = store::last_approved(&db).await;
    db.close().await;
    found?.ok_or_else(|| Error::internal("the load made no payment"))
}

fn some(template: &Transaction, random: &Random, count: usize) -> Vec<Transaction> {
    (0..count).map(|_| next(template, random)).collect()
}

fn next(template: &Transaction, random: &Random) -> Transaction {
    let mut payment = template.clone();
    payment.id = TransactionId::new(template.created_at, random);
    payment.state = State::Pending;
    payment.settle_after = Some(template.created_at + 5_000);
    payment
}

fn intents(payments: &[Transaction]) -> Result<Vec<Stmt>, Error> {
    let mut statements = Vec::with_capacity(payments.len() * 3);
    for payment in payments {
        let sealed = Sealed { key_id: 1, wrapped_key: vec![7; 60], ciphertext: vec![7; 52] };
        if let Some(token) = payment.token {
            statements.push(crate::pay::stored::still_there(token, payment.caller));
        }
        statements.push(store::insert(payment, Some(sealed))?);
        let tag = Tag { acquirer: SANDBOX, route_id: None, sent_at: payment.created_at, trace: None };
        statements.push(attempts::first(payment.id, tag, Message::Charge));
    }
    Ok(statements)
}

fn outcomes(payments: &[Transaction], template: &Transaction) -> Result<Vec<Stmt>, Error> {
    let approval = crate::acquirer::Approval {
        response_code: 0,
        auth_code: template.auth_code.clone(),
        network_transaction_id: template.network_transaction_id.clone(),
    };
    let mut statements = Vec::with_capacity(payments.len() * 3);
    for payment in payments {
        let approved = Event::Approved(approval.clone());
        let after = apply(payment, approved).map_err(|_| Error::internal("not pending"))?;
        let reply = Reply { answered: Answered::Approved, response_code: Some(0) };
        statements.push(store::update(payment, &after));
        statements.extend(books::entries(&after, None, payment.created_at));
        statements.push(attempts::answered(payment.id, 1, reply, payment.created_at));
    }
    Ok(statements)
}

/// User time of this process so far, microseconds.
fn user_us() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default();
    after.split(' ').nth(11).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 10_000
}
