//! What goes over a PostgreSQL connection: how it is made, how values travel, and what an error may tell.

use super::{Row, Value};
use crate::error::Error;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use std::error::Error as _;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

/// Longest wait for a connection, from the pool or from the server.
const WAIT: Duration = Duration::from_secs(5);

/// A server that acknowledges nothing for so long is gone: otherwise a COMMIT would hang for a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(30);

pub fn config(url: &str) -> Result<Config, Error> {
    // The parser's own words may quote a part of the URL, and with it of a password.
    let wrong = "--database-url is not a PostgreSQL URL: postgres://user:password@host:port/database?sslmode=require \
         (sslmode is disable, prefer or require)";
    let mut config: Config = url.parse().map_err(|_| Error::internal(wrong))?;
    config.connect_timeout(WAIT).keepalives_idle(SILENCE).application_name("fuda");
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    Ok(config)
}

/// Readers are read-only, so that a write that is sent as a read is refused here as on SQLite.
pub fn pool(
    config: &Config,
    tls: &tokio_postgres_rustls::MakeRustlsConnect,
    size: usize,
    writes: bool,
) -> Result<Pool, Error> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
    let mut builder = Pool::builder(manager)
        .max_size(size)
        .timeouts(Timeouts { wait: Some(WAIT), create: Some(WAIT), recycle: Some(WAIT) })
        .runtime(Runtime::Tokio1);
    if !writes {
        builder = builder.post_create(Hook::async_fn(|client, _| {
            Box::pin(async move {
                let sql = "SET default_transaction_read_only = on";
                client.batch_execute(sql).await.map_err(HookError::Backend)
            })
        }));
    }
    builder.build().map_err(Error::internal)
}

pub fn place(config: &Config) -> String {
    use tokio_postgres::config::Host;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    format!("{host}:{}", config.get_ports().first().copied().unwrap_or(5432))
}

/// Whether TLS is used at all is the URL's `sslmode`.
pub fn tls() -> Result<tokio_postgres_rustls::MakeRustlsConnect, Error> {
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(crate::tls::client()?))
}

/// The transaction was undone to let another through, or waited too long for a row: it may go again.
pub fn repeatable(error: &tokio_postgres::Error) -> bool {
    let again = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE];
    error.code().is_some_and(|code| again.contains(code))
}

/// After COMMIT was sent: true when nobody can say whether it took place. 40003 is the distributed engines' word for
/// it; classes 08, 57, 58 and XX are a server that goes away or is at fault, and not a refusal.
pub fn unclear(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
        || ["08", "57", "58", "XX"].iter().any(|class| code.code().starts_with(class))
}

/// Code and message only: the detail of a PostgreSQL error quotes values, and so do the messages of class 22.
pub fn cause(error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(db) if db.code().code().starts_with("22") => {
            Error::internal(format!("PostgreSQL: a value was refused ({})", db.code().code()))
        }
        Some(db) => Error::internal(format!("PostgreSQL: {} ({})", db.message(), db.code().code())),
        None => match error.source() {
            Some(source) => Error::internal(format!("PostgreSQL: {error}: {source}")),
            None => Error::internal(format!("PostgreSQL: {error}")),
        },
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(value) if *ty == Type::INT8 => value.to_sql(ty, out),
            Value::Text(value) if *ty == Type::TEXT || *ty == Type::VARCHAR => value.to_sql(ty, out),
            Value::Bytes(value) if *ty == Type::BYTEA => value.to_sql(ty, out),
            _ => Err(format!("{self:?} for a parameter of type {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub fn owned(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let mut values = Vec::with_capacity(row.len());
    for (position, column) in row.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(position).map(Value::from),
            Type::INT4 => row.try_get::<_, Option<i32>>(position).map(|value| Value::from(value.map(i64::from))),
            Type::BOOL => row.try_get::<_, Option<bool>>(position).map(Value::from),
            Type::TEXT | Type::NAME | Type::VARCHAR => row.try_get::<_, Option<String>>(position).map(Value::from),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(position).map(Value::from),
            ref other => return Err(Error::internal(format!("column {position} has type {other}"))),
        };
        values.push(value.map_err(cause)?);
    }
    Ok(Row(values))
}
