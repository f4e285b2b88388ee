//! The engines without this module's queue, batching, guards and repeats: what `fuda bench` measures the rest against.

use super::postgres::{Step, in_order};
use super::wire::{self, cause};
use super::{Dialect, Stmt, Texts, Value, sqlite};
use crate::error::Error;
use std::collections::HashMap;
use std::path::Path;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

/// As many as the gateway has, so that both meet the same contention.
pub const POSTGRES_CONNECTIONS: usize = super::postgres::WRITERS;

pub struct BareSqlite {
    connection: rusqlite::Connection,
    texts: Texts,
}

impl BareSqlite {
    pub fn open(path: &Path) -> Result<BareSqlite, Error> {
        let connection = sqlite::connect(path, super::Durability::Full, true)?;
        Ok(BareSqlite { connection, texts: Texts::default() })
    }

    /// All statements in one transaction.
    pub fn commit(&mut self, statements: &[Stmt]) -> Result<(), Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(Error::internal)?;
        for statement in statements {
            let text = self.texts.get(statement.sql, Dialect::Sqlite);
            let mut prepared = self.connection.prepare_cached(&text).map_err(Error::internal)?;
            let args: Vec<&Value> = statement.args.iter().collect();
            let mut rows = prepared.query(rusqlite::params_from_iter(args)).map_err(Error::internal)?;
            while rows.next().map_err(Error::internal)?.is_some() {}
        }
        self.connection.execute_batch("COMMIT").map_err(Error::internal)
    }
}

pub struct BarePostgres {
    client: Client,
    prepared: HashMap<(usize, usize), Statement>,
}

impl BarePostgres {
    pub async fn connect(url: &str) -> Result<BarePostgres, Error> {
        let (client, connection) = wire::config(url)?.connect(wire::tls()?).await.map_err(cause)?;
        // Ends when the client is dropped; what goes wrong before is told to the client's own calls.
        tokio::spawn(connection);
        Ok(BarePostgres { client, prepared: HashMap::new() })
    }

    /// BEGIN, all statements and COMMIT in one pipeline: nobody waits to judge them first.
    pub async fn commit(&mut self, statements: &[Stmt]) -> Result<(), Error> {
        for statement in statements {
            let key = Texts::key(statement.sql);
            if !self.prepared.contains_key(&key) {
                let text = Dialect::Postgres.translate(statement.sql);
                self.prepared.insert(key, self.client.prepare(&text).await.map_err(cause)?);
            }
        }
        let mut pipeline: Vec<Step<'_, Result<(), tokio_postgres::Error>>> = Vec::with_capacity(statements.len() + 2);
        pipeline.push(Box::pin(self.client.batch_execute("BEGIN")));
        for statement in statements {
            let Some(prepared) = self.prepared.get(&Texts::key(statement.sql)) else { continue };
            pipeline.push(Box::pin(async {
                let args: Vec<&(dyn ToSql + Sync)> = statement.args.iter().map(|value| value as _).collect();
                self.client.query(prepared, &args).await.map(|_| ())
            }));
        }
        pipeline.push(Box::pin(self.client.batch_execute("COMMIT")));
        for done in in_order(pipeline).await {
            done.map_err(cause)?;
        }
        Ok(())
    }
}
