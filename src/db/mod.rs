//! The store: the only code that knows which engine is running. A write is a value, a list of guarded statements that
//! apply all or nothing; there are no interactive transactions, so many writes share one commit. The same SQL text runs
//! on SQLite and PostgreSQL, with `$1` parameters and a few dialect words ([`Dialect::translate`]).

mod bare;
mod migrate;
mod postgres;
mod simulated;
mod sqlite;
mod value;
mod wire;

#[cfg(test)]
mod tests;

pub use crate::args;
pub use bare::{BarePostgres, BareSqlite, POSTGRES_CONNECTIONS};
pub use migrate::{MIGRATIONS, Migration, SchemaState};
pub use simulated::{Fate, Memory, Simulated, Wait, Weather};
pub use value::{Row, Value};

use crate::clock::Clock;
use crate::error::Error;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// One statement of a write.
#[derive(Clone, Debug)]
pub struct Stmt {
    pub sql: &'static str,
    pub args: Vec<Value>,
    /// The guard: how many rows it must touch (or return, when it returns rows). `None`: any number.
    pub rows: Option<u64>,
}

impl Stmt {
    pub fn new(sql: &'static str, args: Vec<Value>) -> Stmt {
        Stmt { sql, args, rows: None }
    }

    #[must_use]
    pub fn exactly(self, rows: u64) -> Stmt {
        Stmt { rows: Some(rows), ..self }
    }
}

/// What became of a write: all of it or nothing.
#[derive(Debug, PartialEq)]
pub enum Written {
    /// Durable. The rows that its statements returned, in order.
    Applied(Vec<Row>),
    /// Nothing was changed: the guard of this statement (by position) did not hold.
    GuardFailed(usize),
    /// The connection was lost during COMMIT: read before doing anything else.
    Ambiguous,
}

/// Whether COMMIT waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Full,
    /// Survives the process, not a power cut: for the sandbox bank.
    Off,
}

/// Which writes were running at a moment, by the database's own numbers for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Every write below has ended.
    oldest_running: i64,
    /// No write of this number or above has begun.
    next: i64,
}

impl Horizon {
    /// Whether every write that was running at `then` has ended by now.
    pub fn is_past(&self, then: &Horizon) -> bool {
        self.oldest_running >= then.next
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// `$1` becomes `?1` on SQLite, whose driver would take `$1` for a *named* parameter and number it by first use.
    fn translate(self, sql: &str) -> String {
        let words: [(&str, &str, &str); 8] = [
            ("{int}", "INTEGER", "BIGINT"),
            ("{bytes}", "BLOB", "BYTEA"),
            ("{text}", "TEXT", "TEXT COLLATE \"C\""),
            ("{strict}", "STRICT", ""),
            // Rows stand in the primary key's own tree: for narrow tables that are only found by it.
            ("{clustered}", "STRICT, WITHOUT ROWID", ""),
            ("{serial}", "INTEGER PRIMARY KEY", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("{skip_locked}", "", "FOR UPDATE SKIP LOCKED"),
            ("{for_share}", "", "FOR SHARE"),
        ];
        let mut text = sql.to_owned();
        for (word, sqlite, postgres) in words {
            text = text.replace(word, if self == Dialect::Sqlite { sqlite } else { postgres });
        }
        if self == Dialect::Sqlite { question_marks(&text) } else { text }
    }
}

/// Only a `$` before a digit: `'$.path'` in a JSON function stays.
fn question_marks(text: &str) -> String {
    let mut rest = text.chars().peekable();
    let mut out = String::with_capacity(text.len());
    while let Some(letter) = rest.next() {
        let parameter = letter == '$' && rest.peek().is_some_and(char::is_ascii_digit);
        out.push(if parameter { '?' } else { letter });
    }
    out
}

/// Translated texts. The sources are constants, so address and length tell them apart without reading them.
#[derive(Default)]
struct Texts(HashMap<(usize, usize), Arc<str>>);

impl Texts {
    fn key(sql: &'static str) -> (usize, usize) {
        (sql.as_ptr().addr(), sql.len())
    }

    fn known(&self, sql: &'static str) -> Option<Arc<str>> {
        self.0.get(&Texts::key(sql)).cloned()
    }

    fn get(&mut self, sql: &'static str, dialect: Dialect) -> Arc<str> {
        self.0.entry(Texts::key(sql)).or_insert_with(|| dialect.translate(sql).into()).clone()
    }
}

#[derive(Clone)]
pub enum Db {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
    /// In memory, for simulations alone.
    Simulated(Simulated),
}

impl Db {
    /// Opens or makes the file (mode 0600).
    pub fn open_sqlite(path: &Path, durability: Durability) -> Result<Db, Error> {
        sqlite::Sqlite::open(path, durability).map(Db::Sqlite)
    }

    /// `postgres://user:password@host:port/database?sslmode=require`. The error never shows the password.
    pub async fn connect_postgres(url: &str, clock: Clock) -> Result<Db, Error> {
        postgres::Postgres::connect(url, clock).await.map(Db::Postgres)
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self, Db::Sqlite(_))
    }

    /// Reads; a statement that writes is refused. Nothing bounds the answer but its own LIMIT.
    pub async fn rows(&self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, Error> {
        match self {
            Db::Sqlite(engine) => engine.rows(sql, &args),
            Db::Postgres(engine) => engine.rows(sql, &args).await,
            Db::Simulated(engine) => engine.rows(sql, &args).await,
        }
    }

    /// An error means that nothing was applied.
    pub async fn write(&self, statements: Vec<Stmt>) -> Result<Written, Error> {
        match self {
            Db::Sqlite(engine) => engine.write(statements).await,
            Db::Postgres(engine) => engine.write(statements).await,
            Db::Simulated(engine) => engine.write(statements).await,
        }
    }

    /// The database's own clock, epoch milliseconds: the one that all processes share.
    pub async fn now(&self) -> Result<i64, Error> {
        let rows = match self {
            Db::Sqlite(engine) => engine.rows(sqlite::NOW, &[])?,
            Db::Postgres(engine) => engine.rows(postgres::NOW, &[]).await?,
            Db::Simulated(engine) => return Ok(engine.now()),
        };
        rows.first().ok_or_else(|| Error::internal("the database told no time"))?.int(0)
    }

    /// On SQLite writes go one after the other: none is running beside a read.
    pub async fn horizon(&self) -> Result<Horizon, Error> {
        match self {
            Db::Sqlite(_) | Db::Simulated(_) => Ok(Horizon { oldest_running: 0, next: 0 }),
            Db::Postgres(engine) => {
                let rows = engine.rows(postgres::HORIZON, &[]).await?;
                let row = rows.first().ok_or_else(|| Error::internal("PostgreSQL told no snapshot"))?;
                Ok(Horizon { oldest_running: row.int(0)?, next: row.int(1)? })
            }
        }
    }

    /// Applies what is missing; how many were.
    pub async fn migrate(&self, migrations: &[Migration]) -> Result<usize, Error> {
        match self {
            Db::Sqlite(engine) => engine.migrate(migrations).await,
            Db::Postgres(engine) => engine.migrate(migrations).await,
            Db::Simulated(engine) => engine.migrate(migrations).await,
        }
    }

    pub async fn schema_state(&self, migrations: &[Migration]) -> Result<SchemaState, Error> {
        let exists = match self {
            Db::Sqlite(engine) => engine.rows("SELECT 1 FROM sqlite_schema WHERE name = 'fuda_schema'", &[])?,
            Db::Postgres(engine) => {
                engine.rows("SELECT CAST(1 AS BIGINT) WHERE to_regclass('fuda_schema') IS NOT NULL", &[]).await?
            }
            Db::Simulated(engine) => engine.applied()?,
        };
        if exists.is_empty() {
            return Ok(SchemaState::Empty);
        }
        migrate::state(migrations, &self.rows(migrate::APPLIED, vec![]).await?)
    }

    /// What stands between this database and live money, in words.
    pub async fn durability_problem(&self) -> Result<Option<String>, Error> {
        match self {
            Db::Sqlite(_) | Db::Simulated(_) => Ok(None),
            Db::Postgres(engine) => engine.durability_problem().await,
        }
    }

    /// Finishes the writes that are queued and closes.
    pub async fn close(&self) {
        match self {
            Db::Sqlite(engine) => engine.close().await,
            Db::Postgres(engine) => engine.close().await,
            Db::Simulated(_) => {}
        }
    }
}
