//! PostgreSQL: a few connection tasks take batches from one queue. A batch is sent as one pipeline; if every guard holds
//! it is committed as one transaction, otherwise it is rolled back and each write goes by itself, so that only the one
//! at fault fails. Serialization failures, deadlocks and long waits for a row are tried again, so the distributed
//! engines that speak this protocol serve too.

use super::migrate::{self, Migration};
use super::value::refuse_nul;
use super::wire::{self, cause, owned};
use super::{Dialect, Row, Stmt, Texts, Value, Written};
use crate::clock::Clock;
use crate::error::Error;
use deadpool_postgres::{Object, Pool, PoolError};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::Statement;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;

/// Writes that wait for a connection. When it is full, callers wait in turn.
const QUEUE: usize = 1_024;

/// Connections that write, apart from the readers' so that no crowd of reads holds a write up. More would only contend:
/// each commit is shared by a batch.
pub const WRITERS: usize = 4;

/// Writes that share one commit; few enough that one bad guard does not repeat many.
const BATCH: usize = 64;

/// Connections that read. A read that finds none free waits, and fails after five seconds.
const READERS: usize = 8;

/// Tries of a write that the database asked to repeat; then the caller gets the error.
const TRIES: u32 = 8;

/// Two batches may take the same rows in another order. The first to wait so long gives up, sooner than the server looks
/// for deadlocks (1 s), and goes again while no other writes. One message, so that it costs no round trip.
const BEGIN_SHARED: &str = "BEGIN; SET LOCAL lock_timeout = '50ms'";

/// With no other writer of this process a wait is for another process: long enough for its commit, but not for ever.
const BEGIN_ALONE: &str = "BEGIN; SET LOCAL lock_timeout = '2s'";

/// Any number that is ours: two processes that migrate at once wait for each other.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(7203961)";

pub const NOW: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// The oldest write that is running, and a number above all that are: this read takes one of its own, since a snapshot's
/// upper end tells only the latest that has ended.
pub const HORIZON: &str = "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT), \
     CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)";

type Pending = (Vec<Stmt>, oneshot::Sender<Result<Written, Error>>);

#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

pub struct Inner {
    core: Arc<Core>,
    /// `None` once closed. Only here, not with the tasks: they end when it is gone.
    queue: RwLock<Option<mpsc::Sender<Pending>>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// What the connection tasks share.
struct Core {
    readers: Pool,
    writers: Pool,
    texts: RwLock<Texts>,
    clock: Clock,
    /// Read by each attempt; written by one that met another, so that the two do not meet again.
    turn: tokio::sync::RwLock<()>,
}

impl Postgres {
    pub async fn connect(url: &str, clock: Clock) -> Result<Postgres, Error> {
        let config = wire::config(url)?;
        let at = wire::place(&config);
        let tls = wire::tls()?;
        let readers = wire::pool(&config, &tls, READERS, false)?;
        let writers = wire::pool(&config, &tls, WRITERS, true)?;
        let core = Arc::new(Core { readers, writers, texts: RwLock::default(), clock, turn: Default::default() });
        let version = core.rows("SELECT CAST(current_setting('server_version_num') AS BIGINT)", &[]).await;
        let version = version.map_err(|error| error.context(&format!("cannot reach PostgreSQL at {at}")))?;
        if version.first().map_or(Ok(0), |row| row.int(0))? < 130_000 {
            return Err(Error::internal(format!("PostgreSQL at {at} is older than 13")));
        }
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let tasks = (0..WRITERS).map(|_| tokio::spawn(core.clone().serve(jobs.clone()))).collect();
        Ok(Postgres(Arc::new(Inner { core, queue: RwLock::new(Some(queue)), tasks: Mutex::new(tasks) })))
    }

    pub async fn rows(&self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, Error> {
        self.0.core.rows(sql, args).await
    }

    pub async fn write(&self, statements: Vec<Stmt>) -> Result<Written, Error> {
        let gone = || Error::internal("the database writers have stopped");
        let queue = self.0.queue.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(gone)?;
        let (sender, answer) = oneshot::channel();
        queue.send((statements, sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    pub async fn migrate(&self, migrations: &[Migration]) -> Result<usize, Error> {
        let mut client = connection(&self.0.core.writers).await?;
        let transaction = client.transaction().await.map_err(cause)?;
        transaction.batch_execute(MIGRATION_LOCK).await.map_err(cause)?;
        transaction.batch_execute(&Dialect::Postgres.translate(migrate::TABLE)).await.map_err(cause)?;
        let applied = transaction.query(migrate::APPLIED, &[]).await.map_err(cause)?;
        let applied = applied.iter().map(owned).collect::<Result<Vec<_>, _>>()?;
        let missing = migrate::missing(migrations, &applied)?;
        let now: i64 = transaction.query_one(NOW, &[]).await.and_then(|row| row.try_get(0)).map_err(cause)?;
        for migration in &missing {
            transaction.batch_execute(&migration.text(Dialect::Postgres)).await.map_err(cause)?;
            let row: [&(dyn ToSql + Sync); 4] = [&migration.version, &migration.name, &migration.checksum(), &now];
            transaction.execute(migrate::RECORD, &row).await.map_err(cause)?;
        }
        transaction.commit().await.map_err(cause)?;
        Ok(missing.len())
    }

    pub async fn durability_problem(&self) -> Result<Option<String>, Error> {
        let sql = "SELECT current_setting('fsync'), current_setting('synchronous_commit')";
        let rows = self.rows(sql, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::internal("PostgreSQL told no settings"))?;
        Ok(if row.text(0)? != "on" {
            Some("PostgreSQL runs with fsync = off".to_owned())
        } else if row.text(1)? == "off" {
            Some("PostgreSQL runs with synchronous_commit = off".to_owned())
        } else {
            None
        })
    }

    pub async fn close(&self) {
        self.0.queue.write().unwrap_or_else(PoisonError::into_inner).take();
        for task in self.0.tasks.lock().await.drain(..) {
            if task.await.is_err() {
                tracing::error!("a database writer ended by a panic");
            }
        }
        self.0.core.readers.close();
        self.0.core.writers.close();
    }
}

async fn connection(pool: &Pool) -> Result<Object, Error> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => cause(error).context("no connection"),
        other => Error::internal(format!("no connection to PostgreSQL: {other}")),
    })
}

impl Core {
    fn text(&self, sql: &'static str) -> Arc<str> {
        if let Some(text) = self.texts.read().unwrap_or_else(PoisonError::into_inner).known(sql) {
            return text;
        }
        self.texts.write().unwrap_or_else(PoisonError::into_inner).get(sql, Dialect::Postgres)
    }

    async fn rows(&self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, Error> {
        refuse_nul(args)?;
        let args: Vec<&(dyn ToSql + Sync)> = args.iter().map(|value| value as _).collect();
        let mut again = true;
        loop {
            let client = connection(&self.readers).await?;
            let found = match client.prepare_cached(&self.text(sql)).await {
                Ok(statement) => client.query(&statement, &args).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(rows) => return rows.iter().map(owned).collect(),
                // A pooled connection may have died while nobody looked; a read changes nothing, so it may go again.
                Err(_) if again && client.is_closed() => again = false,
                Err(error) => return Err(cause(error)),
            }
        }
    }

    /// One connection task: takes what has gathered, and is done when the queue is closed and empty.
    async fn serve(self: Arc<Core>, jobs: Arc<Mutex<mpsc::Receiver<Pending>>>) {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            if jobs.lock().await.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            self.commit(batch).await;
        }
    }

    async fn commit(&self, batch: Vec<Pending>) {
        let mut together = Ok(Attempt::Repeat);
        if batch.len() > 1 {
            let writes: Vec<&[Stmt]> = batch.iter().map(|(statements, _)| statements.as_slice()).collect();
            together = self.attempt(&writes, false).await;
            if let Ok(Attempt::Repeat) = together {
                together = self.attempt(&writes, true).await;
            }
        }
        match together {
            Ok(Attempt::Committed(results)) => {
                for ((_, answer), rows) in batch.into_iter().zip(results) {
                    answer.send(Ok(Written::Applied(rows))).ok();
                }
            }
            Ok(Attempt::Lost) => {
                for (_, answer) in batch {
                    answer.send(Ok(Written::Ambiguous)).ok();
                }
            }
            // Something in the batch is at fault, or must be repeated: one by one tells which.
            Ok(Attempt::GuardFailed(_) | Attempt::Repeat) | Err(_) => {
                for (statements, answer) in batch {
                    answer.send(self.alone(&statements).await).ok();
                }
            }
        }
    }

    async fn alone(&self, statements: &[Stmt]) -> Result<Written, Error> {
        for attempt in 0..TRIES {
            match self.attempt(&[statements], attempt > 0).await? {
                Attempt::Committed(mut results) => return Ok(Written::Applied(results.pop().unwrap_or_default())),
                Attempt::GuardFailed(position) => return Ok(Written::GuardFailed(position)),
                Attempt::Lost => return Ok(Written::Ambiguous),
                Attempt::Repeat => self.clock.sleep(u64::from(attempt * attempt) * 2).await,
            }
        }
        Err(Error::internal("PostgreSQL kept asking to repeat a write, or its rows stayed locked"))
    }

    async fn attempt(&self, writes: &[&[Stmt]], exclusive: bool) -> Result<Attempt, Error> {
        if exclusive {
            let _turn = self.turn.write().await;
            self.transaction(writes, BEGIN_ALONE).await
        } else {
            let _turn = self.turn.read().await;
            self.transaction(writes, BEGIN_SHARED).await
        }
    }

    /// BEGIN and all statements in one pipeline, then COMMIT if all is well. An error means that nothing was applied.
    async fn transaction(&self, writes: &[&[Stmt]], begin: &str) -> Result<Attempt, Error> {
        let client = connection(&self.writers).await?;
        let mut prepared: Vec<(Statement, &Stmt)> = Vec::with_capacity(writes.iter().map(|write| write.len()).sum());
        for statement in writes.iter().flat_map(|write| write.iter()) {
            refuse_nul(&statement.args)?;
            prepared.push((client.prepare_cached(&self.text(statement.sql)).await.map_err(cause)?, statement));
        }
        let mut pipeline: Vec<Step<'_, Done>> = Vec::with_capacity(prepared.len() + 1);
        pipeline.push(Box::pin(async { Ok(client.batch_execute(begin).await.map(|()| (vec![], 0))?) }));
        for (statement, source) in &prepared {
            pipeline.push(Box::pin(run(&client, statement, source)));
        }
        let mut outcome = in_order(pipeline).await.into_iter();
        if let Some(Err(Fault::Database(error))) = outcome.next() {
            return not_begun(error);
        }
        let judged = judge(writes, outcome);
        let Ok(Attempt::Committed(_)) = judged else {
            if client.batch_execute("ROLLBACK").await.is_err() {
                // The connection is gone or broken, and with it the transaction: nobody may be given it again.
                drop(Object::take(client));
            }
            return judged;
        };
        match client.batch_execute("COMMIT").await {
            Ok(()) => judged,
            Err(error) if wire::repeatable(&error) => Ok(Attempt::Repeat),
            Err(error) if wire::unclear(&error) => {
                tracing::error!(cause = cause(error).cause(), "COMMIT was not answered");
                drop(Object::take(client));
                Ok(Attempt::Lost)
            }
            Err(error) => Err(cause(error)),
        }
    }
}

/// BEGIN failed and the statements were on their way. With the connection gone nothing was applied; on a living one (a
/// cancelled BEGIN) each of them has committed by itself, so nobody may repeat them.
fn not_begun(error: tokio_postgres::Error) -> Result<Attempt, Error> {
    let alive =
        |db: &tokio_postgres::error::DbError| !matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    if error.as_db_error().is_some_and(alive) { Ok(Attempt::Lost) } else { Err(cause(error)) }
}

enum Attempt {
    /// The rows of each write.
    Committed(Vec<Vec<Row>>),
    GuardFailed(usize),
    Repeat,
    /// Whether it was applied is not known.
    Lost,
}

enum Fault {
    Database(tokio_postgres::Error),
    /// The answer could not be read.
    Reading(Error),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        Fault::Database(error)
    }
}

type Done = Result<(Vec<Row>, u64), Fault>;
pub type Step<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

async fn run(client: &Object, statement: &Statement, source: &Stmt) -> Done {
    let args: Vec<&(dyn ToSql + Sync)> = source.args.iter().map(|value| value as _).collect();
    if statement.columns().is_empty() {
        return Ok((Vec::new(), client.execute(statement, &args).await?));
    }
    let rows = client.query(statement, &args).await?;
    let count = rows.len() as u64;
    // A column that cannot be read must fail the write before COMMIT.
    Ok((rows.iter().map(owned).collect::<Result<_, _>>().map_err(Fault::Reading)?, count))
}

/// What the results of a pipeline mean, write by write. The position of a failed guard counts within its write.
fn judge(writes: &[&[Stmt]], mut outcome: impl Iterator<Item = Done>) -> Result<Attempt, Error> {
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        let mut returned = Vec::new();
        for (position, statement) in write.iter().enumerate() {
            match outcome.next() {
                Some(Ok((mut rows, count))) => {
                    if statement.rows.is_some_and(|rows| rows != count) {
                        return Ok(Attempt::GuardFailed(position));
                    }
                    returned.append(&mut rows);
                }
                Some(Err(Fault::Database(error))) if wire::repeatable(&error) => return Ok(Attempt::Repeat),
                Some(Err(Fault::Database(error))) => return Err(cause(error)),
                Some(Err(Fault::Reading(error))) => return Err(error),
                None => return Err(Error::internal("a pipeline answered short")),
            }
        }
        results.push(returned);
    }
    Ok(Attempt::Committed(results))
}

/// Polls each step once in its place, since a request is sent when it is first polled; the answers come in the same
/// order, so they are then awaited one after the other.
pub async fn in_order<T>(mut steps: Vec<Step<'_, T>>) -> Vec<T> {
    let mut early: Vec<Option<T>> = Vec::with_capacity(steps.len());
    std::future::poll_fn(|context| {
        for step in &mut steps {
            early.push(match step.as_mut().poll(context) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            });
        }
        Poll::Ready(())
    })
    .await;
    let mut results = Vec::with_capacity(steps.len());
    for (step, done) in steps.into_iter().zip(early) {
        results.push(match done {
            Some(done) => done,
            None => step.await,
        });
    }
    results
}
