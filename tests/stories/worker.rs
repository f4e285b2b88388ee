//! What many jobs that are due at once cost.

use crate::world::{Engine, World};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const HOLDS: usize = 300;

/// A process works on 32 lapses at a time, and goes on as soon as it has room: not 32 a second.
pub async fn many_jobs_due_at_once(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    for _ in 0..HOLDS / 20 {
        let mut running = JoinSet::new();
        for _ in 0..20 {
            let world = world.clone();
            running.spawn(async move { world.charged("authorization", "1000").await });
        }
        running.join_all().await;
    }
    world.sql("UPDATE jobs SET due_at = 1, run_at = 1 WHERE kind = 2").await;
    let begin = Instant::now();
    // Holds that have lapsed.
    let lapsed = "SELECT COUNT(*) FROM transactions WHERE kind = 1 AND state = 8";
    while world.texts(lapsed).await != [HOLDS.to_string()] {
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?} have lapsed", world.texts(lapsed).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = begin.elapsed();
    println!("{HOLDS} holds lapsed in {} ms", took.as_millis());
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Each by one void, which the bank has too.
    let (voids, messages) =
        ("SELECT COUNT(*) FROM transactions WHERE kind = 4", "SELECT COUNT(*) FROM attempts WHERE operation = 5");
    for query in [voids, messages] {
        assert_eq!(world.texts(query).await, [HOLDS.to_string()], "{query}");
    }
    assert_eq!(world.texts("SELECT COUNT(*) FROM jobs WHERE kind = 2").await, ["0"]);
    world.books_are_clean();
}
