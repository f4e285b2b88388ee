//! Numbers that name messages, never given twice: a counter in the store, taken from in blocks, so that a payment waits for no
//! write of it.

use crate::acquirer::Trace;
use crate::clock::Millis;
use crate::db::{Db, Stmt, Written, args};
use crate::error::Error;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// How many numbers a process takes at once. What it has not used at its end is lost: there are enough.
const BLOCK: i64 = 10_000;

/// When so few are left, the next block is taken: five seconds of the fastest line.
const LOW: i64 = BLOCK / 2;

/// How long a block is used, milliseconds: an idle process must not come with a number that a busy one has come to again, a million
/// later.
const FRESH_MS: Millis = 60_000;

/// From here on the counter is never below 100 for each second, epoch seconds (2020-01-01): so a database that is restored from a
/// backup gives no number again, unless a hundred a second were used since.
const SINCE_S: i64 = 1_577_836_800;

/// Systems trace audit numbers (field 11) go from 1 to 999,999 and begin again.
const STANS: i64 = 999_999;

/// Twelve digits (field 37).
const RRNS: i64 = 1_000_000_000_000;

#[derive(Clone)]
pub struct Traces(Arc<Inner>);

struct Inner {
    db: Db,
    acquirer: String,
    /// Two at most: the one in use and the next; with when each was taken.
    blocks: Mutex<VecDeque<(Range<i64>, Millis)>>,
    /// Held by whoever takes the next block: one at a time.
    filling: tokio::sync::Mutex<()>,
}

impl Traces {
    pub fn new(db: &Db, acquirer: &str) -> Traces {
        let inner = Inner {
            db: db.clone(),
            acquirer: acquirer.to_owned(),
            blocks: Mutex::default(),
            filling: tokio::sync::Mutex::default(),
        };
        Traces(Arc::new(inner))
    }

    /// What names the next message.
    ///
    /// # Errors
    /// There is none left and the store gives no more.
    pub async fn next(&self, now: Millis) -> Result<Trace, Error> {
        loop {
            let Some((number, low)) = self.0.take(now) else {
                self.0.fill(now).await?;
                continue;
            };
            if low {
                let inner = self.0.clone();
                tokio::spawn(async move {
                    // Whoever finds none left tries again and hears why.
                    if let Err(error) = inner.fill(now).await {
                        tracing::warn!(
                            cause = error.cause(),
                            acquirer = inner.acquirer,
                            "no trace numbers could be taken"
                        );
                    }
                });
            }
            return Ok(Trace { stan: 1 + number % STANS, rrn: format!("{:012}", (1 + number) % RRNS), sent_at: now });
        }
    }
}

impl Inner {
    fn blocks(&self) -> std::sync::MutexGuard<'_, VecDeque<(Range<i64>, Millis)>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number, and whether it is the one at which the next block is to be taken.
    fn take(&self, now: Millis) -> Option<(i64, bool)> {
        let mut blocks = self.blocks();
        while blocks.front().is_some_and(|(_, taken_at)| now - taken_at > FRESH_MS) {
            blocks.pop_front();
        }
        let (block, _) = blocks.front_mut()?;
        let number = block.next()?;
        let left = block.end - block.start;
        if left == 0 {
            blocks.pop_front();
        }
        Some((number, left == LOW))
    }

    /// Takes a block, unless another has just done so.
    async fn fill(&self, now: Millis) -> Result<(), Error> {
        let _one_at_a_time = self.filling.lock().await;
        let left: i64 = self.blocks().iter().map(|(block, _)| block.end - block.start).sum();
        if left > LOW {
            return Ok(());
        }
        let lease = Stmt::new(
            "INSERT INTO traces (acquirer, next) VALUES ($1, CAST($3 AS BIGINT) + $2) ON CONFLICT (acquirer) DO UPDATE SET \
             next = CASE WHEN traces.next < $3 THEN CAST($3 AS BIGINT) ELSE traces.next END + $2 RETURNING next",
            args![self.acquirer.as_str(), BLOCK, (now / 1_000 - SINCE_S).max(0) * 100],
        );
        let Written::Applied(rows) = self.db.write(vec![lease.exactly(1)]).await? else {
            return Err(Error::internal("the store did not say which trace numbers were taken"));
        };
        let end = rows.first().ok_or_else(|| Error::internal("the store gave no trace numbers"))?.int(0)?;
        self.blocks().push_back((end - BLOCK..end, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, MIGRATIONS};
    use std::collections::HashSet;

    fn store(name: &str) -> Db {
        let path = std::env::temp_dir().join(format!("fuda_{name}_{}.db", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Db::open_sqlite(&path, Durability::Off).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_number_is_given_twice() {
        let db = store("traces");
        db.migrate(MIGRATIONS).await.unwrap();
        // Two processes, and one of them started again.
        let processes = [Traces::new(&db, "bank"), Traces::new(&db, "bank"), Traces::new(&db, "bank")];
        let taking: Vec<_> = (0..12)
            .map(|task| {
                let traces = processes[task % 3].clone();
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    for _ in 0..2_500 {
                        taken.push(traces.next(7).await.unwrap());
                    }
                    taken
                })
            })
            .collect();
        let mut rrns = HashSet::new();
        for task in taking {
            for trace in task.await.unwrap() {
                assert!((1..=STANS).contains(&trace.stan));
                assert_eq!((trace.rrn.len(), trace.sent_at), (12, 7));
                assert!(rrns.insert(trace.rrn));
            }
        }
        assert_eq!(rrns.len(), 30_000);
        // Another acquirer has numbers of its own.
        assert_eq!(Traces::new(&db, "other").next(7).await.unwrap().stan, 1);
    }

    #[tokio::test]
    async fn numbers_begin_again() {
        let db = store("traces_wrap");
        db.migrate(MIGRATIONS).await.unwrap();
        let write = "INSERT INTO traces (acquirer, next) VALUES ($1, $2)";
        db.write(vec![Stmt::new(write, args!["bank", STANS - 1])]).await.unwrap();
        let traces = Traces::new(&db, "bank");
        let first = traces.next(0).await.unwrap();
        let second = traces.next(0).await.unwrap();
        assert_eq!((first.stan, first.rrn.as_str()), (999_999, "000000999999"));
        assert_eq!((second.stan, second.rrn.as_str()), (1, "000001000000"));
    }

    #[tokio::test]
    async fn without_a_store_there_is_none() {
        let traces = Traces::new(&store("traces_none"), "bank");
        assert!(traces.next(0).await.is_err());
    }
}
