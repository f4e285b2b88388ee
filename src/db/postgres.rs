//! PostgreSQL: a few connection tasks take batches from one queue. A batch is sent as one pipeline; if every guard holds
//! it is committed as one transaction, otherwise it is rolled back and each write goes by itself, so that only the one
//! at fault fails. Serialization failures and deadlocks are tried again, so the distributed engines that speak this
//! protocol serve too.

use super::migrate::{self, Migration};
use super::{Dialect, Row, Stmt, Value, Written};
use crate::clock::Clock;
use crate::error::Error;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use tokio_postgres::{Config, Statement};

/// Writes that wait for a connection. When it is full, callers wait in turn.
const QUEUE: usize = 1_024;

/// Connections that write. More would only contend: each commit is shared by a batch.
const WRITERS: usize = 4;

/// Writes that share one commit; few enough that one bad guard does not repeat many.
const BATCH: usize = 64;

/// Connections in all, readers included. A reader that finds none waits, at most [`WAIT_S`].
const CONNECTIONS: usize = 12;
const WAIT_S: u64 = 5;

/// Tries of a write that the database asked to repeat; then the caller gets the error.
const TRIES: u32 = 8;

/// Any number that is ours: two processes that migrate at once wait for each other.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(7203961)";

type Pending = (Vec<Stmt>, oneshot::Sender<Result<Written, Error>>);

#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

pub struct Inner {
    pool: Pool,
    queue: RwLock<Option<mpsc::Sender<Pending>>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    texts: RwLock<HashMap<&'static str, Arc<str>>>,
    clock: Clock,
}

impl Postgres {
    pub async fn connect(url: &str, clock: Clock) -> Result<Postgres, Error> {
        let mut config: Config = url
            .parse()
            .map_err(|_| Error::internal("--database-url is not a PostgreSQL URL: postgres://user@host/database"))?;
        config.connect_timeout(Duration::from_secs(WAIT_S)).application_name("fuda");
        let at = place(&config);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, tls()?, recycling);
        let wait = Some(Duration::from_secs(WAIT_S));
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .timeouts(Timeouts { wait, create: wait, recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(Error::internal)?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let inner = Inner {
            pool,
            queue: RwLock::new(Some(queue)),
            tasks: Mutex::new(Vec::new()),
            texts: RwLock::new(HashMap::new()),
            clock,
        };
        let engine = Postgres(Arc::new(inner));
        let version = engine.rows("SELECT CAST(current_setting('server_version_num') AS BIGINT)", &[]).await;
        let version = version.map_err(|error| error.context(&format!("cannot reach PostgreSQL at {at}")))?;
        if version.first().map_or(Ok(0), |row| row.int(0))? < 130_000 {
            return Err(Error::internal(format!("PostgreSQL at {at} is older than 13")));
        }
        let jobs = Arc::new(Mutex::new(jobs));
        let tasks = (0..WRITERS).map(|_| tokio::spawn(engine.clone().serve(jobs.clone()))).collect();
        *engine.0.tasks.lock().await = tasks;
        Ok(engine)
    }

    fn text(&self, sql: &'static str) -> Arc<str> {
        if let Some(text) = self.0.texts.read().unwrap_or_else(PoisonError::into_inner).get(sql) {
            return text.clone();
        }
        let text: Arc<str> = Dialect::Postgres.translate(sql).into();
        self.0.texts.write().unwrap_or_else(PoisonError::into_inner).insert(sql, text.clone());
        text
    }

    async fn client(&self) -> Result<Object, Error> {
        self.0.pool.get().await.map_err(|error| Error::internal(format!("no connection to PostgreSQL: {error}")))
    }

    pub async fn rows(&self, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, Error> {
        let client = self.client().await?;
        let statement = client.prepare_cached(&self.text(sql)).await.map_err(cause)?;
        let args: Vec<&(dyn ToSql + Sync)> = args.iter().map(|value| value as _).collect();
        let rows = client.query(&statement, &args).await.map_err(cause)?;
        rows.iter().map(owned).collect()
    }

    pub async fn write(&self, statements: Vec<Stmt>) -> Result<Written, Error> {
        let gone = || Error::internal("the database writers have stopped");
        let queue = self.0.queue.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(gone)?;
        let (sender, answer) = oneshot::channel();
        queue.send((statements, sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// One connection task: takes what has gathered, and is done when the queue is closed and empty.
    async fn serve(self, jobs: Arc<Mutex<mpsc::Receiver<Pending>>>) {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            if jobs.lock().await.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            self.commit(batch).await;
        }
    }

    async fn commit(&self, batch: Vec<Pending>) {
        if batch.len() > 1 {
            let writes: Vec<&[Stmt]> = batch.iter().map(|(statements, _)| statements.as_slice()).collect();
            match self.attempt(&writes).await {
                Ok(Attempt::Committed(results)) => {
                    for ((_, answer), rows) in batch.into_iter().zip(results) {
                        answer.send(Ok(Written::Applied(rows))).ok();
                    }
                    return;
                }
                Ok(Attempt::Lost) => {
                    for (_, answer) in batch {
                        answer.send(Ok(Written::Ambiguous)).ok();
                    }
                    return;
                }
                // Something in the batch is at fault, or must be repeated: one by one tells which.
                Ok(Attempt::GuardFailed(_) | Attempt::Repeat) | Err(_) => {}
            }
        }
        for (statements, answer) in batch {
            answer.send(self.alone(&statements).await).ok();
        }
    }

    async fn alone(&self, statements: &[Stmt]) -> Result<Written, Error> {
        for attempt in 0..TRIES {
            match self.attempt(&[statements]).await? {
                Attempt::Committed(mut results) => return Ok(Written::Applied(results.pop().unwrap_or_default())),
                Attempt::GuardFailed(position) => return Ok(Written::GuardFailed(position)),
                Attempt::Lost => return Ok(Written::Ambiguous),
                Attempt::Repeat => self.0.clock.sleep(u64::from(attempt * attempt) * 2).await,
            }
        }
        Err(Error::internal("PostgreSQL kept asking to repeat a write"))
    }

    /// BEGIN and all statements in one pipeline, then COMMIT if all is well.
    async fn attempt(&self, writes: &[&[Stmt]]) -> Result<Attempt, Error> {
        let client = self.client().await?;
        let mut prepared: Vec<(Statement, &Stmt)> = Vec::new();
        for statement in writes.iter().flat_map(|write| write.iter()) {
            if statement.args.iter().any(|value| matches!(value, Value::Text(text) if text.contains('\0'))) {
                return Err(Error::internal("a text holds NUL, which PostgreSQL cannot store"));
            }
            prepared.push((client.prepare_cached(&self.text(statement.sql)).await.map_err(cause)?, statement));
        }
        let mut pipeline: Vec<Step<'_>> =
            vec![Box::pin(async { client.batch_execute("BEGIN").await.map(|()| (vec![], 0)) })];
        for (statement, source) in &prepared {
            let client = &client;
            pipeline.push(Box::pin(async move { run(client, statement, source).await }));
        }
        let mut outcome = in_order(pipeline).await.into_iter();
        let begun = outcome.next();
        if let Some(Err(error)) = begun {
            return Err(cause(error));
        }
        let judged = judge(writes, outcome.collect());
        let Ok(Attempt::Committed(_)) = judged else {
            if client.batch_execute("ROLLBACK").await.is_err() {
                // The connection is gone, and with it the transaction.
                tracing::debug!("ROLLBACK on a lost connection");
            }
            return judged;
        };
        match client.batch_execute("COMMIT").await {
            Ok(()) => judged,
            Err(error) if repeatable(&error) => Ok(Attempt::Repeat),
            Err(error) if error.code().is_some() => Err(cause(error)),
            Err(_) => Ok(Attempt::Lost),
        }
    }

    pub async fn migrate(&self, migrations: &'static [Migration]) -> Result<usize, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(cause)?;
        transaction.batch_execute(MIGRATION_LOCK).await.map_err(cause)?;
        transaction.batch_execute(&Dialect::Postgres.translate(migrate::TABLE)).await.map_err(cause)?;
        let applied = transaction.query(migrate::APPLIED, &[]).await.map_err(cause)?;
        let applied = applied.iter().map(owned).collect::<Result<Vec<_>, _>>()?;
        let missing = migrate::missing(migrations, &applied)?;
        for migration in &missing {
            transaction.batch_execute(&migration.text(Dialect::Postgres)).await.map_err(cause)?;
            let row: [&(dyn ToSql + Sync); 3] = [&migration.version, &migration.name, &migration.checksum()];
            transaction.execute(migrate::RECORD, &row).await.map_err(cause)?;
        }
        transaction.commit().await.map_err(cause)?;
        Ok(missing.len())
    }

    pub async fn durability_problem(&self) -> Result<Option<String>, Error> {
        let sql = "SELECT current_setting('fsync'), current_setting('synchronous_commit')";
        let rows = self.rows(sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
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
            task.await.ok();
        }
        self.0.pool.close();
    }
}

enum Attempt {
    /// The rows of each write.
    Committed(Vec<Vec<Row>>),
    GuardFailed(usize),
    Repeat,
    Lost,
}

type Done = Result<(Vec<Row>, u64), tokio_postgres::Error>;
type Step<'a> = Pin<Box<dyn Future<Output = Done> + Send + 'a>>;

async fn run(client: &Object, statement: &Statement, source: &Stmt) -> Done {
    let args: Vec<&(dyn ToSql + Sync)> = source.args.iter().map(|value| value as _).collect();
    if statement.columns().is_empty() {
        return client.execute(statement, &args).await.map(|count| (Vec::new(), count));
    }
    let rows = client.query(statement, &args).await?;
    let count = rows.len() as u64;
    // A column of an unknown type fails where it is read, as a wrong column does.
    Ok((rows.iter().map(|row| owned(row).unwrap_or(Row(Vec::new()))).collect(), count))
}

/// What the results of a pipeline mean, write by write. The position of a failed guard counts within its write.
fn judge(writes: &[&[Stmt]], outcome: Vec<Done>) -> Result<Attempt, Error> {
    let mut outcome = outcome.into_iter();
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        let mut returned = Vec::new();
        for (position, statement) in write.iter().enumerate() {
            match outcome.next() {
                Some(Ok((rows, count))) => {
                    if statement.rows.is_some_and(|rows| rows != count) {
                        return Ok(Attempt::GuardFailed(position));
                    }
                    returned.extend(rows);
                }
                Some(Err(error)) if repeatable(&error) => return Ok(Attempt::Repeat),
                Some(Err(error)) => return Err(cause(error)),
                None => return Err(Error::internal("a pipeline answered short")),
            }
        }
        results.push(returned);
    }
    Ok(Attempt::Committed(results))
}

/// Polls all steps, each for the first time in its place, since a request is sent when it is first polled.
async fn in_order(mut steps: Vec<Step<'_>>) -> Vec<Done> {
    let mut results: Vec<Option<Done>> = steps.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (step, result) in steps.iter_mut().zip(&mut results) {
            if result.is_none() {
                match step.as_mut().poll(context) {
                    Poll::Ready(done) => *result = Some(done),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    results.into_iter().flatten().collect()
}

fn repeatable(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}

/// Code and message only: the detail of a PostgreSQL error quotes values.
fn cause(error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(db) => Error::internal(format!("PostgreSQL: {} ({})", db.message(), db.code().code())),
        None => Error::internal(format!("PostgreSQL: {error}")),
    }
}

fn place(config: &Config) -> String {
    use tokio_postgres::config::Host;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    format!("{host}:{}", config.get_ports().first().copied().unwrap_or(5432))
}

/// Certificates are judged by the machine's own roots; whether TLS is used at all is the URL's `sslmode`.
fn tls() -> Result<tokio_postgres_rustls::MakeRustlsConnect, Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(config))
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(value) if *ty == Type::INT8 => value.to_sql(ty, out),
            Value::Text(value) if *ty == Type::TEXT => value.to_sql(ty, out),
            Value::Bytes(value) if *ty == Type::BYTEA => value.to_sql(ty, out),
            _ => Err(format!("{self:?} for a parameter of type {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn owned(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let mut values = Vec::with_capacity(row.len());
    for (position, column) in row.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(position).map(Value::from),
            Type::INT4 => row.try_get::<_, Option<i32>>(position).map(|value| Value::from(value.map(i64::from))),
            Type::TEXT | Type::NAME | Type::VARCHAR => row.try_get::<_, Option<String>>(position).map(Value::from),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(position).map(Value::from),
            ref other => return Err(Error::internal(format!("column {position} has type {other}"))),
        };
        values.push(value.map_err(cause)?);
    }
    Ok(Row(values))
}
