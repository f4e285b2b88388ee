//! Both engines give the same rows, the same order and the same refusals for the same statements.

use super::*;
use crate::clock::Clock;
use std::sync::atomic::{AtomicU32, Ordering};

const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "test",
    sql: "CREATE TABLE things (number {serial}, name {text} NOT NULL UNIQUE, count {int} NOT NULL, data {bytes}) {strict};",
}];

const CHANGED: &[Migration] = &[Migration { version: 1, name: "test", sql: "CREATE TABLE other (n {int}) {strict};" }];

const INSERT: &str = "INSERT INTO things (name, count, data) VALUES ($1, $2, $3)";

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("fuda_db_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// SQLite, and PostgreSQL where a cluster is given.
async fn engines() -> Vec<Db> {
    let path = std::env::temp_dir().join(name() + ".db");
    let mut engines = vec![Db::open_sqlite(&path, Durability::Full).unwrap()];
    match std::env::var("FUDA_TEST_POSTGRES") {
        Ok(admin) => {
            let database = name();
            let (client, connection) = tokio_postgres::connect(&admin, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
            let url = format!("{}/{database}", admin.rsplit_once('/').unwrap().0);
            engines.push(Db::connect_postgres(&url, Clock::system()).await.unwrap());
        }
        Err(_) => eprintln!("skipped on PostgreSQL: FUDA_TEST_POSTGRES is not set"),
    }
    for db in &engines {
        assert_eq!(db.schema_state(SCHEMA).await.unwrap(), SchemaState::Empty);
        assert_eq!(db.migrate(SCHEMA).await.unwrap(), 1);
        assert_eq!(db.migrate(SCHEMA).await.unwrap(), 0);
        assert_eq!(db.schema_state(SCHEMA).await.unwrap(), SchemaState::Current);
        assert!(matches!(db.schema_state(&[]).await.unwrap(), SchemaState::Newer { have: 1, want: 0 }));
        assert!(db.schema_state(CHANGED).await.unwrap_err().cause().contains("another text"));
    }
    engines
}

fn insert(name: &str, count: i64) -> Stmt {
    Stmt::new(INSERT, args![name, count, vec![0_u8, 255]])
}

#[tokio::test]
async fn the_same_rows_in_the_same_order() {
    let mut seen = Vec::new();
    for db in engines().await {
        for name in ["b", "B", "a", "Z", "東京", "大阪", "", "é"] {
            let sql = "INSERT INTO things (name, count, data) VALUES ($1, $2, $3) RETURNING number, name";
            let written = db.write(vec![Stmt::new(sql, args![name, 1, None::<Vec<u8>>]).exactly(1)]).await.unwrap();
            let Written::Applied(rows) = written else { panic!("{written:?}") };
            assert_eq!(rows[0].text(1).unwrap(), name);
        }
        // The trap: `$2` stands before `$1`, and one of them twice.
        let sql = "SELECT number, name, data FROM things WHERE count < $2 AND name >= $1 AND count < $2 ORDER BY name";
        seen.push(db.rows(sql, args!["", 5]).await.unwrap());
        assert!(db.rows(sql, args!["~", 5]).await.unwrap().iter().all(|row| row.text(1).unwrap() > "~"));
        assert!(db.now().await.unwrap() > 1_700_000_000_000);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test]
async fn a_failed_guard_undoes_its_own_write_only() {
    for db in engines().await {
        assert_eq!(db.write(vec![insert("seat", 0)]).await.unwrap(), Written::Applied(vec![]));
        let take = "UPDATE things SET count = count + 1 WHERE name = 'seat' AND count < 50";
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..200 {
            let db = db.clone();
            tasks.spawn(async move {
                let row = insert(&format!("guest {number}"), 0);
                // Some writes are broken outright: they fail alone too.
                let third = if number % 20 == 0 {
                    insert("seat", 0)
                } else {
                    Stmt::new("DELETE FROM things WHERE count < 0", vec![])
                };
                db.write(vec![row, Stmt::new(take, vec![]).exactly(1), third]).await
            });
        }
        let (mut applied, mut guarded, mut failed) = (0, 0, 0);
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(Written::Applied(_)) => applied += 1,
                Ok(Written::GuardFailed(position)) => {
                    assert_eq!(position, 1);
                    guarded += 1;
                }
                Ok(Written::Ambiguous) => panic!("no connection was lost"),
                Err(_) => failed += 1,
            }
        }
        assert_eq!(applied, 50, "guarded {guarded} failed {failed}");
        assert!(failed <= 10);
        let rows = db.rows("SELECT COUNT(*) FROM things WHERE name LIKE 'guest%'", vec![]).await.unwrap();
        assert_eq!(rows[0].int(0).unwrap(), 50);
    }
}

#[tokio::test]
async fn the_same_refusals() {
    for db in engines().await {
        assert!(db.write(vec![insert("nul\0", 0)]).await.is_err());
        assert!(db.write(vec![Stmt::new("INSERT INTO nowhere (n) VALUES (1)", vec![])]).await.is_err());
        assert!(db.rows("SELECT count FROM things WHERE name = $1", args!["nul\0"]).await.is_err());
        let upsert = "INSERT INTO things (name, count) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        let once = || Stmt::new(upsert, args!["one", 1]).exactly(1);
        assert_eq!(db.write(vec![once()]).await.unwrap(), Written::Applied(vec![]));
        assert_eq!(db.write(vec![insert("two", 2), once()]).await.unwrap(), Written::GuardFailed(1));
        let guard = Stmt::new("SELECT 1 FROM things WHERE name = $1 {for_share}", args!["two"]).exactly(1);
        assert_eq!(db.write(vec![guard]).await.unwrap(), Written::GuardFailed(0));
        db.close().await;
        assert!(db.write(vec![insert("late", 0)]).await.is_err());
    }
}

#[tokio::test]
async fn one_broken_write_of_a_crowd_fails_alone() {
    for db in engines().await {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let db = db.clone();
            tasks.spawn(async move {
                let broken = number == 17;
                let second =
                    if broken { "INSERT INTO nowhere (n) VALUES (1)" } else { "DELETE FROM things WHERE count < 0" };
                let written = db.write(vec![insert(&format!("{number}"), 1), Stmt::new(second, vec![])]).await;
                assert_eq!(written.is_err(), broken, "{number}: {written:?}");
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
        assert_eq!(db.rows("SELECT COUNT(*) FROM things", vec![]).await.unwrap()[0].int(0).unwrap(), 39);
        assert!(db.rows("SELECT 1 FROM things WHERE name = $1", args!["17"]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn rows_come_back_in_the_order_of_the_statements() {
    for db in engines().await {
        let returning = "INSERT INTO things (name, count, data) VALUES ($1, $2, $3) RETURNING count, name, data";
        let write = vec![
            Stmt::new(returning, args!["a", 1, b"\x00\xff"]).exactly(1),
            Stmt::new("UPDATE things SET count = count + $1", args![10]).exactly(1),
            Stmt::new("SELECT count, name, data FROM things WHERE count > $2 AND name = $1", args!["a", 5]).exactly(1),
            Stmt::new(returning, args!["b", 2, None::<&[u8]>]),
        ];
        let Written::Applied(rows) = db.write(write).await.unwrap() else { panic!("not applied") };
        let counts: Vec<i64> = rows.iter().map(|row| row.int(0).unwrap()).collect();
        assert_eq!(counts, [1, 11, 2]);
        assert_eq!(rows[1].bytes(2).unwrap(), [0, 255]);
        assert_eq!(rows[2].opt_bytes(2).unwrap(), None);
        // The wrong kind, NULL and a column that is not there are errors, and tell no content.
        assert_eq!(rows[0].int(1).unwrap_err().cause(), "column 1 is text of 1, not a number");
        assert!(rows[2].bytes(2).is_err());
        assert!(rows[0].text(9).is_err());
    }
}

#[tokio::test]
async fn what_one_engine_refuses_the_other_refuses_too() {
    for db in engines().await {
        let two = "SELECT count FROM things WHERE name = $1 AND count = $2";
        assert!(db.rows(two, args!["a"]).await.is_err(), "a parameter too few");
        assert!(db.write(vec![Stmt::new(INSERT, args!["a", 1])]).await.is_err(), "a parameter too few");
        assert!(db.rows(INSERT, args!["a", 1, None::<i64>]).await.is_err(), "a write sent as a read");
        let secret = db.write(vec![insert("4111111111111111", 1), insert("4111111111111111", 1)]).await.unwrap_err();
        assert!(!secret.cause().contains("4111"), "{secret:?}");
        let kind = db.write(vec![Stmt::new(INSERT, args!["a", "x4111111111111111", vec![1_u8]])]).await.unwrap_err();
        assert!(!kind.cause().contains("4111"), "{kind:?}");
        assert!(db.rows("SELECT name FROM things", vec![]).await.unwrap().is_empty());
        assert_eq!(db.write(vec![]).await.unwrap(), Written::Applied(vec![]));
    }
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing() {
    let broken = Migration {
        version: 2,
        name: "broken",
        sql: "CREATE TABLE half (n {int}) {strict}; CREATE TABLE half (n {int});",
    };
    let second = Migration {
        version: 2,
        name: "second",
        sql: "CREATE TABLE half (n {int}) {strict}; CREATE INDEX x ON half (n);",
    };
    for db in engines().await {
        assert!(db.migrate(&[SCHEMA[0], broken]).await.is_err());
        let both = [SCHEMA[0], second];
        assert_eq!(db.schema_state(&both).await.unwrap(), SchemaState::Older { have: 1, want: 2 });
        // Two at once: one applies it, the other finds it applied.
        let (one, other) = tokio::join!(db.migrate(&both), db.migrate(&both));
        assert_eq!(one.unwrap() + other.unwrap(), 1);
        assert_eq!(db.schema_state(SCHEMA).await.unwrap(), SchemaState::Newer { have: 2, want: 1 });
        assert!(db.migrate(CHANGED).await.unwrap_err().cause().contains("another text"));
        let at = db.rows("SELECT applied_at FROM fuda_schema", vec![]).await.unwrap();
        assert!(at.iter().all(|row| row.int(0).unwrap() > 1_700_000_000_000));
    }
}

#[tokio::test]
async fn sqlite_is_found_again_with_its_rows() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(name() + ".db");
    let db = Db::open_sqlite(&path, Durability::Full).unwrap();
    db.migrate(SCHEMA).await.unwrap();
    db.write(vec![insert("kept", 7)]).await.unwrap();
    db.close().await;
    assert_eq!(std::fs::metadata(path.with_extension("db-wal")).map_or(0, |file| file.len()), 0);
    drop(db);
    let (one, other) =
        (Db::open_sqlite(&path, Durability::Full).unwrap(), Db::open_sqlite(&path, Durability::Off).unwrap());
    assert_eq!(one.migrate(SCHEMA).await.unwrap(), 0);
    // Another process on the same file is one more writer.
    let (first, second) = tokio::join!(one.write(vec![insert("x", 1)]), other.write(vec![insert("y", 1)]));
    assert!(first.is_ok() && second.is_ok());
    let rows = other.rows("SELECT name FROM things ORDER BY number", vec![]).await.unwrap();
    assert_eq!((rows.len(), rows[0].text(0).unwrap()), (3, "kept"));
    for file in ["db", "db-wal", "db-shm"] {
        let mode = std::fs::metadata(path.with_extension(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

/// A full disk ends SQLite's whole transaction: what ran after it in the batch must not commit by itself.
#[tokio::test]
async fn a_batch_that_sqlite_rolled_back_applied_nothing() {
    let path = std::env::temp_dir().join(name() + ".db");
    let db = Db::open_sqlite(&path, Durability::Off).unwrap();
    db.migrate(SCHEMA).await.unwrap();
    let rolls_back = "INSERT OR ROLLBACK INTO things (name, count) VALUES ('seat', 0)";
    db.write(vec![Stmt::new(rolls_back, vec![])]).await.unwrap();
    let writes: Vec<_> = (0..20)
        .map(|number| {
            let row = if number == 10 { Stmt::new(rolls_back, vec![]) } else { insert(&format!("{number}"), 0) };
            let db = db.clone();
            tokio::spawn(async move { db.write(vec![row]).await })
        })
        .collect();
    let mut applied = 1;
    for write in writes {
        match write.await.unwrap() {
            Ok(written) => {
                assert_eq!(written, Written::Applied(vec![]));
                applied += 1;
            }
            Err(_) => continue,
        }
    }
    let count = db.rows("SELECT COUNT(*) FROM things", vec![]).await.unwrap()[0].int(0).unwrap();
    assert_eq!(count, applied);
}

#[tokio::test]
async fn an_unreachable_postgres_is_named_without_its_password() {
    let url = "postgres://fuda:hunter2@127.0.0.1:1/fuda";
    let Err(error) = Db::connect_postgres(url, Clock::system()).await else { panic!("connected to port 1") };
    assert!(error.cause().contains("127.0.0.1:1") && error.cause().contains("refused"), "{error:?}");
    assert!(!error.cause().contains("hunter2"));
    let Err(error) = Db::connect_postgres("postgres://u:p?hunter2@h", Clock::system()).await else { panic!("parsed") };
    assert!(!error.cause().contains("hunter2"), "{error:?}");
}

/// A server that goes away is an error for reads and writes, and the next ones find it again.
#[tokio::test]
async fn a_lost_postgres_connection_is_replaced() {
    let Some(db) = engines().await.into_iter().find(|db| !db.is_sqlite()) else { return };
    db.write(vec![insert("kept", 1)]).await.unwrap();
    let admin = std::env::var("FUDA_TEST_POSTGRES").unwrap();
    let (client, connection) = tokio_postgres::connect(&admin, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let here = db.rows("SELECT CAST(current_database() AS TEXT)", vec![]).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
    assert!(!client.query(kill, &[&here[0].text(0).unwrap()]).await.unwrap().is_empty());
    assert_eq!(db.rows("SELECT name FROM things", vec![]).await.unwrap().len(), 1);
    let mut tries = 0;
    while db.write(vec![insert("again", 1)]).await.is_err() {
        tries += 1;
        assert!(tries < 4, "the writers did not come back");
    }
    assert_eq!(db.durability_problem().await.unwrap().is_some(), fsync_is_off(&client).await);
}

/// The server goes away while it commits: nobody knows, and the next write goes through.
#[tokio::test]
async fn a_commit_without_an_answer_is_ambiguous() {
    const DIES_AT_COMMIT: &[Migration] = &[
        SCHEMA[0],
        Migration {
            version: 2,
            name: "dies",
            sql: "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM \
                  pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
                  CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
                  WHEN (NEW.name = 'dies') EXECUTE FUNCTION die();",
        },
    ];
    let Some(db) = engines().await.into_iter().find(|db| !db.is_sqlite()) else { return };
    db.migrate(DIES_AT_COMMIT).await.unwrap();
    let together = tokio::join!(db.write(vec![insert("dies", 1)]), db.write(vec![insert("beside", 1)]));
    assert_eq!(together.0.unwrap(), Written::Ambiguous);
    assert!(matches!(together.1.unwrap(), Written::Applied(_) | Written::Ambiguous));
    assert_eq!(db.write(vec![insert("after", 1)]).await.unwrap(), Written::Applied(vec![]));
}

#[tokio::test]
async fn a_failed_commit_of_sqlite_is_ambiguous_and_the_next_goes_through() {
    const LATE: &[Migration] = &[Migration {
        version: 1,
        name: "late",
        sql: "CREATE TABLE a (n INTEGER PRIMARY KEY) STRICT;
              CREATE TABLE b (n INTEGER REFERENCES a (n) DEFERRABLE INITIALLY DEFERRED) STRICT;",
    }];
    let db = Db::open_sqlite(&std::env::temp_dir().join(name() + ".db"), Durability::Full).unwrap();
    db.migrate(LATE).await.unwrap();
    assert_eq!(db.write(vec![Stmt::new("INSERT INTO b VALUES (1)", vec![])]).await.unwrap(), Written::Ambiguous);
    let good = vec![Stmt::new("INSERT INTO a VALUES (1)", vec![]), Stmt::new("INSERT INTO b VALUES (1)", vec![])];
    assert_eq!(db.write(good).await.unwrap(), Written::Applied(vec![]));
    assert_eq!(db.rows("SELECT n FROM b", vec![]).await.unwrap().len(), 1);
}

/// Writes that take two rows in opposite orders: every one is applied, whoever had to go again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crossing_writes_all_go_through() {
    for db in engines().await {
        db.write(vec![insert("a", 0), insert("b", 0)]).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..300 {
            let db = db.clone();
            tasks.spawn(async move {
                let add =
                    |name| Stmt::new("UPDATE things SET count = count + 1 WHERE name = $1", args![name]).exactly(1);
                let (one, other) = if number % 2 == 0 { ("a", "b") } else { ("b", "a") };
                db.write(vec![add(one), add(other)]).await.unwrap()
            });
        }
        while let Some(written) = tasks.join_next().await {
            assert_eq!(written.unwrap(), Written::Applied(vec![]));
        }
        let rows = db.rows("SELECT count FROM things", vec![]).await.unwrap();
        assert!(rows.iter().all(|row| row.int(0).unwrap() == 300));
    }
}

async fn fsync_is_off(client: &tokio_postgres::Client) -> bool {
    let row = client.query_one("SELECT current_setting('fsync') = 'off'", &[]).await.unwrap();
    row.get(0)
}

#[test]
fn words_of_the_dialects() {
    let sql = "SELECT '$.a', $2, $1 {for_share}{skip_locked} -- {int} {bytes} {text} {strict}";
    assert_eq!(Dialect::Sqlite.translate(sql), "SELECT '$.a', ?2, ?1  -- INTEGER BLOB TEXT STRICT");
    assert_eq!(
        Dialect::Postgres.translate(sql),
        "SELECT '$.a', $2, $1 FOR SHAREFOR UPDATE SKIP LOCKED -- BIGINT BYTEA TEXT COLLATE \"C\" "
    );
}

#[test]
fn values_do_not_show() {
    assert_eq!(
        format!("{:?}", args!["4111111111111111", vec![1_u8], 5, None::<i64>]),
        "[text of 16, 1 bytes, int, null]"
    );
}
