//! SQLite: one writer thread drains a bounded queue and commits many writes with one fsync (WAL, `synchronous=FULL`). Each
//! write has a savepoint, so a failed guard undoes only its own. Reads run on the caller's thread on read-only
//! connections: each is bounded and indexed, and cheaper than a thread switch.

use super::migrate::{self, Migration};
use super::value::refuse_nul;
use super::{Dialect, Durability, Row, Stmt, Texts, Value, Written};
use crate::error::Error;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use tokio::sync::{mpsc, oneshot};

/// Writes that wait for the writer. When it is full, callers wait in turn: the disk sets the pace.
const QUEUE: usize = 1_024;

/// Writes that share one commit; more wait for the next, so that none waits long.
const BATCH: usize = 256;

const READERS: usize = 4;

/// Statement texts are constants of the program: this holds all of them.
pub(super) const STATEMENTS: usize = 256;

pub const NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";

enum Job {
    Write(Vec<Stmt>, oneshot::Sender<Result<Written, Error>>),
    Migrate(Vec<Migration>, oneshot::Sender<Result<usize, Error>>),
    Close(oneshot::Sender<()>),
}

#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

pub struct Inner {
    queue: mpsc::Sender<Job>,
    readers: Vec<Mutex<Engine>>,
    next: AtomicUsize,
}

/// A connection with its translated statement texts.
pub struct Engine {
    pub(super) connection: Connection,
    pub(super) texts: Texts,
}

impl Sqlite {
    pub fn open(path: &Path, durability: Durability) -> Result<Sqlite, Error> {
        // SQLite would make the file with the umask's mode; WAL and shared memory take the mode of the file.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| Error::internal(format!("cannot open {}: {error}", path.display())))?;
        let writer = Engine::open(path, durability, true)?;
        let readers = (0..READERS).map(|_| Engine::open(path, durability, false).map(Mutex::new));
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || run(writer, jobs))
            .map_err(Error::internal)?;
        Ok(Sqlite(Arc::new(Inner { queue, readers, next: AtomicUsize::new(0) })))
    }

    pub fn rows(&self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, Error> {
        let (rows, _) = self.reader().execute(sql, args)?;
        Ok(rows)
    }

    /// A free reader if there is one, else the next in turn. The turn moves on, so that callers spread out.
    fn reader(&self) -> MutexGuard<'_, Engine> {
        let first = self.0.next.fetch_add(1, Ordering::Relaxed);
        for offset in 0..READERS {
            match self.0.readers[first.wrapping_add(offset) % READERS].try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.0.readers[first % READERS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn write(&self, statements: Vec<Stmt>) -> Result<Written, Error> {
        self.ask(|answer| Job::Write(statements, answer)).await?
    }

    pub async fn migrate(&self, migrations: &[Migration]) -> Result<usize, Error> {
        self.ask(|answer| Job::Migrate(migrations.to_vec(), answer)).await?
    }

    pub async fn close(&self) {
        if self.ask(Job::Close).await.is_err() {
            tracing::debug!("the database was closed already");
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Error> {
        let (sender, answer) = oneshot::channel();
        let gone = || Error::internal("the database writer has stopped");
        self.0.queue.send(job(sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// The writer thread: a batch is what has gathered while the last one was being committed.
fn run(mut engine: Engine, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(job) = jobs.blocking_recv() {
        let mut next = Some(job);
        let mut last = None;
        while let Some(job) = next.take() {
            match job {
                Job::Write(statements, answer) => batch.push((statements, answer)),
                other => {
                    last = Some(other);
                    break;
                }
            }
            if batch.len() < BATCH {
                next = jobs.try_recv().ok();
            }
        }
        if !batch.is_empty() {
            engine.commit(&mut batch);
        }
        match last {
            Some(Job::Migrate(migrations, answer)) => {
                // A caller that is gone does not need the answer.
                answer.send(engine.migrate(&migrations)).ok();
            }
            Some(Job::Close(answer)) => {
                // Later jobs are refused from here on; their senders are told that the writer has stopped.
                drop(jobs);
                engine.finish();
                drop(engine);
                answer.send(()).ok();
                return;
            }
            _ => {}
        }
    }
    engine.finish();
}

type Pending = (Vec<Stmt>, oneshot::Sender<Result<Written, Error>>);

/// A connection with the settings that every one of ours has.
pub fn connect(path: &Path, durability: Durability, writes: bool) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(cause)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Another process (the command line) may write for a moment. WAL first: the readers must find it set.
    let synchronous = if durability == Durability::Full { "FULL" } else { "OFF" };
    let pragmas = format!(
        "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
         PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; \
         PRAGMA cache_size = -32000; PRAGMA wal_autocheckpoint = 4000; PRAGMA query_only = {};",
        if writes { "OFF" } else { "ON" }
    );
    connection.execute_batch(&pragmas).map_err(cause)?;
    // Else a join with a column = 0 or 1 outside an index (`live`) is parsed anew at each use: the planner wants to see
    // whether the value has changed. Plans here do not depend on values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(cause)?;
    Ok(connection)
}

impl Engine {
    fn open(path: &Path, durability: Durability, writes: bool) -> Result<Engine, Error> {
        Ok(Engine { connection: connect(path, durability, writes)?, texts: Texts::default() })
    }

    /// The rows it returned, and how many rows it touched or returned.
    pub fn execute(&mut self, sql: &'static str, args: &[Value]) -> Result<(Vec<Row>, u64), Error> {
        refuse_nul(args)?;
        let text = self.texts.get(sql, Dialect::Sqlite);
        let mut statement = self.connection.prepare_cached(&text).map_err(cause)?;
        let wanted = statement.parameter_count();
        if wanted != args.len() {
            // SQLite would take a missing one for NULL.
            return Err(Error::internal(format!("expected {wanted} parameters but got {}", args.len())));
        }
        for (position, value) in args.iter().enumerate() {
            statement.raw_bind_parameter(position + 1, value).map_err(cause)?;
        }
        let columns = statement.column_count();
        if columns == 0 {
            return statement.raw_execute().map(|count| (Vec::new(), count as u64)).map_err(cause);
        }
        let mut found = statement.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(cause)? {
            let values = (0..columns).map(|column| row.get_ref(column).map_err(cause).and_then(owned));
            rows.push(Row(values.collect::<Result<_, _>>()?));
        }
        let count = rows.len() as u64;
        Ok((rows, count))
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(cause)
    }

    /// BEGIN, COMMIT and the savepoints run for every write: not parsed each time.
    pub(super) fn step(&self, sql: &str) -> Result<(), Error> {
        let mut statement = self.connection.prepare_cached(sql).map_err(cause)?;
        statement.raw_execute().map(|_| ()).map_err(cause)
    }

    /// One transaction for the batch; each write is told its own result after the commit.
    fn commit(&mut self, batch: &mut Vec<Pending>) {
        let committed = self.step("BEGIN IMMEDIATE").and_then(|()| {
            let alone = batch.len() == 1;
            let mut results = Vec::with_capacity(batch.len());
            for (statements, _) in batch.iter() {
                results.push(self.one(statements, alone)?);
            }
            Ok((self.end(&results), results))
        });
        let (ended, results) = match committed {
            Ok(committed) => committed,
            Err(error) => {
                // Before COMMIT: nothing of the batch was applied.
                self.abandon();
                for (_, answer) in batch.drain(..) {
                    answer.send(Err(Error::internal(error.cause()))).ok();
                }
                return;
            }
        };
        if let Err(error) = &ended {
            tracing::error!(cause = error.cause(), "COMMIT failed");
            self.abandon();
        }
        for ((_, answer), result) in batch.drain(..).zip(results) {
            let result = match (&ended, result) {
                // A failed COMMIT may have reached the disk: nobody can say.
                (Err(_), Ok(Written::Applied(_))) => Ok(Written::Ambiguous),
                (_, result) => result,
            };
            answer.send(result).ok();
        }
    }

    /// A write that is alone has no savepoint of its own: the transaction is it.
    fn end(&self, results: &[Result<Written, Error>]) -> Result<(), Error> {
        let undo = matches!(results, [only] if !matches!(only, Ok(Written::Applied(_))));
        self.step(if undo { "ROLLBACK" } else { "COMMIT" })
    }

    fn abandon(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.batch("ROLLBACK")
        {
            tracing::error!(cause = error.cause(), "ROLLBACK failed");
        }
    }

    /// The outer error is the batch's: its transaction can no longer be trusted.
    fn one(&mut self, statements: &[Stmt], alone: bool) -> Result<Result<Written, Error>, Error> {
        if !alone {
            self.step("SAVEPOINT w")?;
        }
        let result = self.run_all(statements);
        // Some errors (disk full, I/O, memory) end the whole transaction. What came after would commit by itself.
        if self.connection.is_autocommit() {
            let error = result.err().unwrap_or_else(|| Error::internal("SQLite ended the transaction"));
            return Err(error.context("the batch was rolled back"));
        }
        if !alone {
            if !matches!(result, Ok(Written::Applied(_))) {
                self.step("ROLLBACK TO w")?;
            }
            self.step("RELEASE w")?;
        }
        Ok(result)
    }

    pub(super) fn run_all(&mut self, statements: &[Stmt]) -> Result<Written, Error> {
        let mut returned = Vec::new();
        for (position, statement) in statements.iter().enumerate() {
            let (mut rows, count) = self.execute(statement.sql, &statement.args)?;
            if statement.rows.is_some_and(|rows| rows != count) {
                return Ok(Written::GuardFailed(position));
            }
            returned.append(&mut rows);
        }
        Ok(Written::Applied(returned))
    }

    pub fn migrate(&mut self, migrations: &[Migration]) -> Result<usize, Error> {
        // The write lock is taken before the look, so two processes do not both apply.
        self.batch("BEGIN IMMEDIATE")?;
        let result = self.migrate_locked(migrations).and_then(|count| self.batch("COMMIT").map(|()| count));
        if result.is_err() {
            self.abandon();
        }
        result
    }

    fn migrate_locked(&mut self, migrations: &[Migration]) -> Result<usize, Error> {
        self.batch(&Dialect::Sqlite.translate(migrate::TABLE))?;
        let (applied, _) = self.execute(migrate::APPLIED, &[])?;
        let missing = migrate::missing(migrations, &applied)?;
        let (now, _) = self.execute(NOW, &[])?;
        let now = now.first().map_or(Ok(0), |row| row.int(0))?;
        for migration in &missing {
            self.batch(&migration.text(Dialect::Sqlite))?;
            let args = crate::args![migration.version, migration.name, migration.checksum(), now];
            self.execute(migrate::RECORD, &args)?;
        }
        Ok(missing.len())
    }

    /// The log goes into the file, so that a copy of the file alone is whole.
    fn finish(&self) {
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!(cause = %error, "no checkpoint at close");
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

fn owned(value: ValueRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(value) => {
            Value::Text(String::from_utf8(value.to_vec()).map_err(|_| Error::internal("not UTF-8"))?)
        }
        ValueRef::Blob(value) => Value::Bytes(value.to_vec()),
        ValueRef::Real(_) => return Err(Error::internal("a column holds a float: money is never one")),
    })
}

/// SQLite's messages name tables and columns, never values.
pub(super) fn cause(error: rusqlite::Error) -> Error {
    Error::internal(format!("SQLite: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn a_statement_is_parsed_once() {
        let name = u64::from_le_bytes(crate::random::Random::system().bytes());
        let path = std::env::temp_dir().join(format!("fuda_parsed_{name}.db"));
        std::fs::File::create_new(&path).unwrap();
        let connection = connect(&path, Durability::Off, true).unwrap();
        let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, live INTEGER) STRICT; \
             CREATE TABLE s (t_id INTEGER PRIMARY KEY, name TEXT) STRICT;";
        connection.execute_batch(tables).unwrap();
        let sql = "SELECT s.name FROM t LEFT JOIN s ON s.t_id = t.id WHERE t.id = ?1 AND t.live = ?2";
        for live in [0, 1, 0, 0] {
            let mut statement = connection.prepare_cached(sql).unwrap();
            assert!(!statement.exists([7, live]).unwrap());
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
        drop(connection);
        std::fs::remove_file(path).unwrap();
    }
}
