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

#[test]
fn values_do_not_show() {
    assert_eq!(
        format!("{:?}", args!["4111111111111111", vec![1_u8], 5, None::<i64>]),
        "[text of 16, 1 bytes, int, null]"
    );
}
