//! What happens later: one durable table that any number of processes take from. A job is written in the same write as
//! what calls for it, so no crash can separate the two. Taking one leases it: the row's `run_at` moves to the lease's end,
//! so the job of a worker that died comes back by itself. Whoever ends or postpones a job must still be its latest taker:
//! the count of attempts is the fence.

use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::error::Error;
use crate::id::TransactionId;

/// The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transaction without a known result is settled at the bank.
    Recover = 1,
    /// A hold has reached its end.
    Lapse = 2,
    /// What a capture left of its hold is given back.
    Release = 3,
}

pub const KINDS: [Kind; 3] = [Kind::Recover, Kind::Lapse, Kind::Release];

impl Kind {
    /// How many of a kind one process works on at once; more wait in the table. Recovery has the most room: it is what
    /// a bank that hangs leaves behind, each job waiting for the bank's deadline.
    pub fn limit(self) -> usize {
        match self {
            Kind::Recover => 256,
            Kind::Lapse | Kind::Release => 32,
        }
    }

    /// The label of metrics and log lines.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Recover => "recover",
            Kind::Lapse => "lapse",
            Kind::Release => "release",
        }
    }
}

/// A job that this worker holds until its lease ends.
#[derive(Clone, Debug)]
pub struct Job {
    number: i64,
    pub kind: Kind,
    pub subject: TransactionId,
    pub due_at: Millis,
    /// How often it was taken, this time included.
    pub attempts: i64,
}

/// Part of the write that calls for it. A job of the kind for the same subject that exists is brought forward.
pub fn enqueue(kind: Kind, subject: TransactionId, due_at: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO jobs (kind, subject, due_at, run_at, attempts) VALUES ($1, $2, $3, $3, 0) \
         ON CONFLICT (kind, subject) DO UPDATE SET due_at = $3, run_at = $3",
        args![kind as i64, subject, due_at],
    )
}

/// Part of a write after which there is nothing left to do.
pub fn remove(kind: Kind, subject: TransactionId) -> Stmt {
    Stmt::new("DELETE FROM jobs WHERE kind = $1 AND subject = $2", args![kind as i64, subject])
}

impl Job {
    /// Part of the write that ends the job's work; fails when another worker has taken it meanwhile.
    pub fn done(&self) -> Stmt {
        // SQLite gives a deleted row's number away again: the subject belongs to the fence.
        let sql = "DELETE FROM jobs WHERE number = $1 AND attempts = $2 AND kind = $3 AND subject = $4";
        Stmt::new(sql, args![self.number, self.attempts, self.kind as i64, self.subject]).exactly(1)
    }

    /// Again at `due_at`.
    pub fn postpone(&self, due_at: Millis) -> Stmt {
        Stmt::new(
            "UPDATE jobs SET due_at = $5, run_at = $5 WHERE number = $1 AND attempts = $2 AND kind = $3 AND subject = $4",
            args![self.number, self.attempts, self.kind as i64, self.subject, due_at],
        )
        .exactly(1)
    }

    /// A guard for writes that neither end nor postpone it.
    pub fn still_held(&self) -> Stmt {
        let sql = "SELECT 1 FROM jobs WHERE number = $1 AND attempts = $2 AND kind = $3 AND subject = $4 {for_share}";
        Stmt::new(sql, args![self.number, self.attempts, self.kind as i64, self.subject]).exactly(1)
    }
}

/// Leases up to `limit` jobs that are due at `now`, the longest due first; the others stay for other workers.
pub async fn take(db: &Db, kind: Kind, now: Millis, lease_ms: i64, limit: usize) -> Result<Vec<Job>, Error> {
    // The look costs a read; the lease, a write, is for when there is something to lease.
    let due = "SELECT 1 FROM jobs WHERE kind = $1 AND run_at <= $2 LIMIT 1";
    if limit == 0 || db.rows(due, args![kind as i64, now]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let lease = Stmt::new(
        "WITH due AS MATERIALIZED \
         (SELECT number FROM jobs WHERE kind = $1 AND run_at <= $2 ORDER BY run_at LIMIT $4 {skip_locked}) \
         UPDATE jobs SET run_at = $3, attempts = attempts + 1 WHERE number IN (SELECT number FROM due) \
         RETURNING number, subject, due_at, attempts",
        args![kind as i64, now, now + lease_ms, limit],
    );
    match db.write(vec![lease]).await? {
        Written::Applied(rows) => rows.iter().map(|row| job(kind, row)).collect(),
        // Leases that nobody holds run out.
        Written::GuardFailed(_) | Written::Ambiguous => Ok(Vec::new()),
    }
}

fn job(kind: Kind, row: &Row) -> Result<Job, Error> {
    let subject = TransactionId::from_bytes(row.bytes(1)?);
    Ok(Job {
        number: row.int(0)?,
        kind,
        subject: subject.ok_or_else(|| Error::internal("a job's subject is not 16 bytes"))?,
        due_at: row.int(2)?,
        attempts: row.int(3)?,
    })
}

/// How many jobs of a kind are due or being worked on, and since when the oldest is due. `lease_ms`: the longest lease.
pub async fn waiting(db: &Db, kind: Kind, now: Millis, lease_ms: i64) -> Result<(i64, Option<Millis>), Error> {
    let sql = "SELECT COUNT(*), MIN(due_at) FROM jobs WHERE kind = $1 AND run_at <= $2 AND due_at <= $3";
    let rows = db.rows(sql, args![kind as i64, now + lease_ms, now]).await?;
    rows.first().map_or(Ok((0, None)), |row| Ok((row.int(0)?, row.opt_int(1)?)))
}
