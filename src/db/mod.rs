//! The store: the only code that knows which engine is running. A write is a value, a list of guarded statements that
//! apply all or nothing; there are no interactive transactions, so many writes share one commit. The same SQL text runs
//! on SQLite and PostgreSQL, with `$1` parameters and a few dialect words ([`Dialect::translate`]).

mod migrate;
mod postgres;
mod sqlite;
mod value;

#[cfg(test)]
mod tests;

pub use crate::args;
pub use migrate::{Migration, SchemaState};
pub use value::{Row, Value};

use crate::clock::Clock;
use crate::error::Error;
use std::path::Path;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// `$1` becomes `?1` on SQLite, whose driver would take `$1` for a *named* parameter and number it by first use.
    fn translate(self, sql: &str) -> String {
        let words: [(&str, &str, &str); 7] = [
            ("{int}", "INTEGER", "BIGINT"),
            ("{bytes}", "BLOB", "BYTEA"),
            ("{text}", "TEXT", "TEXT COLLATE \"C\""),
            ("{strict}", "STRICT", ""),
            ("{serial}", "INTEGER PRIMARY KEY", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("{skip_locked}", "", "FOR UPDATE SKIP LOCKED"),
            ("{for_share}", "", "FOR SHARE"),
        ];
        let mut text = sql.to_owned();
        for (word, sqlite, postgres) in words {
            text = text.replace(word, if self == Dialect::Sqlite { sqlite } else { postgres });
        }
        if self == Dialect::Sqlite { text.replace('$', "?") } else { text }
    }
}

#[derive(Clone)]
pub enum Db {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
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

    pub async fn rows(&self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, Error> {
        match self {
            Db::Sqlite(engine) => engine.rows(sql, &args),
            Db::Postgres(engine) => engine.rows(sql, &args).await,
        }
    }

    pub async fn write(&self, statements: Vec<Stmt>) -> Result<Written, Error> {
        match self {
            Db::Sqlite(engine) => engine.write(statements).await,
            Db::Postgres(engine) => engine.write(statements).await,
        }
    }

    /// The database's own clock, epoch milliseconds: the one that all processes share.
    pub async fn now(&self) -> Result<i64, Error> {
        let rows = match self {
            Db::Sqlite(engine) => engine.rows("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)", &[])?,
            Db::Postgres(engine) => {
                engine.rows("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)", &[]).await?
            }
        };
        rows.first().map_or(Ok(0), |row| row.int(0))
    }

    /// Applies what is missing; how many were.
    pub async fn migrate(&self, migrations: &'static [Migration]) -> Result<usize, Error> {
        match self {
            Db::Sqlite(engine) => engine.migrate(migrations).await,
            Db::Postgres(engine) => engine.migrate(migrations).await,
        }
    }

    pub async fn schema_state(&self, migrations: &'static [Migration]) -> Result<SchemaState, Error> {
        let exists = match self {
            Db::Sqlite(engine) => engine.rows("SELECT 1 FROM sqlite_schema WHERE name = 'fuda_schema'", &[])?,
            Db::Postgres(engine) => {
                engine.rows("SELECT CAST(1 AS BIGINT) WHERE to_regclass('fuda_schema') IS NOT NULL", &[]).await?
            }
        };
        if exists.is_empty() {
            return Ok(SchemaState::Empty);
        }
        migrate::state(migrations, &self.rows(migrate::APPLIED, vec![]).await?)
    }

    /// What stands between this database and live money, in words.
    pub async fn durability_problem(&self) -> Result<Option<String>, Error> {
        match self {
            Db::Sqlite(_) => Ok(None),
            Db::Postgres(engine) => engine.durability_problem().await,
        }
    }

    /// Finishes the writes that are queued and closes.
    pub async fn close(&self) {
        match self {
            Db::Sqlite(engine) => engine.close().await,
            Db::Postgres(engine) => engine.close().await,
        }
    }
}
