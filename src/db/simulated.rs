//! The store of a simulation: SQLite in memory, the same statements and guards, no thread and no disk. Around each call its
//! weather decides what a real store can do to a caller: be slow, fail, lose the answer to a COMMIT, or, for a process that
//! has died, never answer. Several processes may share one.

use super::migrate::{APPLIED, Migration};
use super::sqlite::{Engine, STATEMENTS, cause};
use super::{Row, Stmt, Texts, Value, Written};
use crate::clock::Clock;
use crate::error::Error;
use rusqlite::Connection;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// Nothing is applied, and the caller is told so.
    Failed,
    /// A write is applied, and its caller is told that nobody knows.
    LostAnswer,
    /// A write is not applied, and its caller is told that nobody knows.
    LostWrite,
}

/// What one process of a simulation meets.
pub trait Weather: Send + Sync {
    /// Before a call is applied. What does not return leaves the call unapplied: the unsynced tail of a store that died.
    fn before(&self, write: bool) -> Wait<'_, Fate>;
    /// After it is applied, before its caller hears.
    fn after(&self) -> Wait<'_, ()>;
}

/// The rows, which outlive the processes.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Engine>>);

impl Memory {
    /// The schema, with the rows that it begins with.
    pub fn new(migrations: &[Migration]) -> Result<Memory, Error> {
        let mut engine = Engine::in_memory()?;
        engine.migrate(migrations)?;
        engine.keep_first_rows()?;
        Ok(Memory(Arc::new(Mutex::new(engine))))
    }

    /// As new, but with its statements prepared already.
    pub fn clear(&self) -> Result<(), Error> {
        self.engine().restore_first_rows()
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process's way to the rows.
#[derive(Clone)]
pub struct Simulated {
    memory: Memory,
    weather: Arc<dyn Weather>,
    clock: Clock,
}

impl Simulated {
    pub fn new(memory: &Memory, weather: Arc<dyn Weather>, clock: &Clock) -> Simulated {
        Simulated { memory: memory.clone(), weather, clock: clock.clone() }
    }

    pub async fn rows(&self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, Error> {
        if self.weather.before(false).await != Fate::Done {
            return Err(Error::internal("the simulated store failed"));
        }
        let read = self.memory.engine().execute(sql, args).map(|(rows, _)| rows);
        self.weather.after().await;
        read
    }

    pub async fn write(&self, statements: Vec<Stmt>) -> Result<Written, Error> {
        let fate = self.weather.before(true).await;
        let written = match fate {
            Fate::Failed => return Err(Error::internal("the simulated store failed")),
            Fate::LostWrite => Ok(Written::Ambiguous),
            Fate::Done | Fate::LostAnswer => self.memory.engine().transaction(&statements),
        };
        self.weather.after().await;
        match (fate, written?) {
            (Fate::LostAnswer, Written::Applied(_)) => Ok(Written::Ambiguous),
            (_, written) => Ok(written),
        }
    }

    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    pub async fn migrate(&self, migrations: &[Migration]) -> Result<usize, Error> {
        self.memory.engine().migrate(migrations)
    }

    /// Always there: a simulation begins with the schema.
    pub fn applied(&self) -> Result<Vec<Row>, Error> {
        self.memory.engine().execute(APPLIED, &[]).map(|(rows, _)| rows)
    }
}

/// What only a simulation needs of the engine.
impl Engine {
    pub fn in_memory() -> Result<Engine, Error> {
        let connection = Connection::open_in_memory().map_err(cause)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;").map_err(cause)?;
        Ok(Engine { connection, texts: Texts::default() })
    }

    /// Copies every table aside: what [`Engine::restore_first_rows`] goes back to.
    pub fn keep_first_rows(&self) -> Result<(), Error> {
        let copy =
            |table: &str| self.batch(&format!("CREATE TABLE temp.\"first_{table}\" AS SELECT * FROM main.\"{table}\""));
        self.tables()?.iter().try_for_each(|table| copy(table))
    }

    pub fn restore_first_rows(&self) -> Result<(), Error> {
        self.batch("PRAGMA foreign_keys = OFF; BEGIN")?;
        for table in self.tables()? {
            let (now, first) = (format!("main.\"{table}\""), format!("temp.\"first_{table}\""));
            self.batch(&format!("DELETE FROM {now}; INSERT INTO {now} SELECT * FROM {first}"))?;
        }
        self.batch("COMMIT; PRAGMA foreign_keys = ON")
    }

    fn tables(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut statement = self.connection.prepare_cached(sql).map_err(cause)?;
        let names = statement.query_map([], |row| row.get(0)).map_err(cause)?;
        names.collect::<Result<_, _>>().map_err(cause)
    }

    /// One write in a transaction of its own.
    pub fn transaction(&mut self, statements: &[Stmt]) -> Result<Written, Error> {
        self.step("BEGIN")?;
        let result = self.run_all(statements);
        self.step(if matches!(result, Ok(Written::Applied(_))) { "COMMIT" } else { "ROLLBACK" })?;
        result
    }
}
