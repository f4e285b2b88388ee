//! What happens later: one durable table that any number of processes take from. A job is written in the same write as
//! what calls for it, so no crash can separate the two. Taking one leases it: the row's `run_at` moves to the lease's end,
//! so the job of a worker that died comes back by itself. Whoever ends or postpones a job must still be its latest taker:
//! the count of attempts is the fence.
//!
//! Renewals with their retries, the end of holds, of 3-D Secure time-outs and of a capture's remainder, recovery and webhooks are
//! jobs: each happens to one subject at a moment of its own, once. What is no job: a link's end, since nothing happens then, and
//! every look at the link judges it; what is forgotten after so long (cards, events, links, keys of requests, wallets' tokens, the
//! rules' counts), since a sweep over old rows needs no row for each; the ledger's seals, which follow the rows themselves. Data
//! keys of the vault are not swept: nothing is sealed anew yet.
//!
//! Jobs stand in the database's real time. Those that an entity's test clock moves carry its id (`clock`): an advance draws them
//! nearer, in the write that moves the clock.

use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::error::Error;
use crate::id::{EntityId, EventId, TransactionId};
use std::collections::BTreeMap;

/// The values stand in the database: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A transaction without a known result is settled at the bank.
    Recover = 1,
    /// A hold has reached its end.
    Lapse = 2,
    /// What a capture left of its hold is given back.
    Release = 3,
    /// A merchant is told of an event. The lane is the receiver's host.
    Deliver = 4,
    /// A cardholder's time to authenticate is over.
    Abandon = 5,
    /// A subscription's cycle, or its next try, is due.
    Renew = 6,
}

pub const KINDS: [Kind; 6] = [Kind::Recover, Kind::Lapse, Kind::Release, Kind::Deliver, Kind::Abandon, Kind::Renew];

impl Kind {
    /// The label of metrics and log lines.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Recover => "recover",
            Kind::Lapse => "lapse",
            Kind::Release => "release",
            Kind::Deliver => "deliver",
            Kind::Abandon => "abandon",
            Kind::Renew => "renew",
        }
    }
}

/// The lanes of all kinds but deliveries: what a test clock can move has one of its own, so that nothing real waits behind a
/// sandbox's years.
pub const REAL: &str = "";
pub const TEST: &str = "test";

/// A job that this worker holds until its lease ends.
#[derive(Clone, Debug)]
pub struct Job {
    number: i64,
    pub kind: Kind,
    /// The id of what it is about: a transaction's, an event's for [`Kind::Deliver`].
    subject: [u8; 16],
    pub lane: String,
    pub due_at: Millis,
    /// How often it was taken, this time included.
    pub attempts: i64,
}

/// Part of the write that calls for it, on real time. A job of the kind for the same subject that exists is brought forward.
pub fn enqueue(kind: Kind, subject: impl Into<[u8; 16]>, due_at: Millis) -> Stmt {
    enqueue_moved(kind, subject, None, due_at)
}

/// The same, of a job that a test clock moves: its entity's. `due_at` is real time.
pub fn enqueue_moved(kind: Kind, subject: impl Into<[u8; 16]>, clock: Option<EntityId>, due_at: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO jobs (kind, subject, clock, due_at, run_at, attempts, lane) VALUES ($1, $2, $3, $4, $4, 0, $5) \
         ON CONFLICT (kind, subject) DO UPDATE SET due_at = $4, run_at = $4",
        args![kind as i64, subject.into(), clock, due_at, if clock.is_some() { TEST } else { REAL }],
    )
}

/// The same, due when the entity's test clock shows `due`. A clock that is being moved is waited for, and read after that.
pub fn enqueue_by_clock(kind: Kind, subject: impl Into<[u8; 16]>, clock: EntityId, due: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO jobs (kind, subject, clock, due_at, run_at, attempts, lane) \
         SELECT CAST($1 AS BIGINT), CAST($2 AS {bytes}), c.entity_id, $4 - c.ahead_ms, $4 - c.ahead_ms, 0, 'test' \
         FROM test_clocks AS c WHERE c.entity_id = $3 {for_share} \
         ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at, run_at = excluded.run_at",
        args![kind as i64, subject.into(), clock, due],
    )
    .exactly(1)
}

/// An event's delivery, in the lane of its receiver. One that is on its way just now is fenced off, so that it cannot end what
/// was asked for meanwhile.
pub fn enqueue_delivery(event: EventId, lane: &str, due_at: Millis) -> Stmt {
    Stmt::new(
        "INSERT INTO jobs (kind, subject, lane, due_at, run_at, attempts) VALUES ($1, $2, $3, $4, $4, 0) \
         ON CONFLICT (kind, subject) DO UPDATE SET lane = $3, due_at = $4, run_at = $4, attempts = jobs.attempts + 1",
        args![Kind::Deliver as i64, event, lane, due_at],
    )
}

/// Part of a write after which there is nothing left to do.
pub fn remove(kind: Kind, subject: impl Into<[u8; 16]>) -> Stmt {
    Stmt::new("DELETE FROM jobs WHERE kind = $1 AND subject = $2", args![kind as i64, subject.into()])
}

impl Job {
    pub fn subject(&self) -> [u8; 16] {
        self.subject
    }

    pub fn transaction(&self) -> TransactionId {
        TransactionId::from_array(self.subject)
    }

    pub fn event(&self) -> EventId {
        EventId::from_array(self.subject)
    }

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

    /// Again when the entity's test clock shows `due`; a clock that is being moved is waited for.
    pub fn postpone_by_clock(&self, clock: EntityId, due: Millis) -> Stmt {
        Stmt::new(
            "UPDATE jobs SET due_at = $5 - c.ahead_ms, run_at = $5 - c.ahead_ms \
             FROM (SELECT ahead_ms FROM test_clocks WHERE entity_id = $6 {for_share}) AS c \
             WHERE number = $1 AND attempts = $2 AND kind = $3 AND subject = $4",
            args![self.number, self.attempts, self.kind as i64, self.subject, due, clock],
        )
        .exactly(1)
    }

    /// When its entity's test clock shows or showed that it was due, also while an advance moves both: the write that moves
    /// them is one. `None` for a job that no test clock has moved, or that is no longer this worker's.
    pub async fn due_by_clock(&self, db: &Db) -> Result<Option<Millis>, Error> {
        let sql = "SELECT j.due_at + c.ahead_ms FROM jobs AS j JOIN test_clocks AS c ON c.entity_id = j.clock \
                   WHERE j.number = $1 AND j.attempts = $2 AND j.kind = $3 AND j.subject = $4";
        let rows = db.rows(sql, args![self.number, self.attempts, self.kind as i64, self.subject]).await?;
        rows.first().map(|row| row.int(0)).transpose()
    }

    /// A guard for writes that neither end nor postpone it.
    pub fn still_held(&self) -> Stmt {
        let sql = "SELECT 1 FROM jobs WHERE number = $1 AND attempts = $2 AND kind = $3 AND subject = $4 {for_share}";
        Stmt::new(sql, args![self.number, self.attempts, self.kind as i64, self.subject]).exactly(1)
    }
}

/// Whether a job of the kind and lane is due at `now`.
pub async fn any_due(db: &Db, kind: Kind, lane: &str, now: Millis) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM jobs WHERE kind = $1 AND lane = $2 AND run_at <= $3 LIMIT 1";
    Ok(!db.rows(sql, args![kind as i64, lane, now]).await?.is_empty())
}

/// How many due jobs, and how many lanes, one look goes through.
const LOOK: usize = 256;

/// Lanes with jobs that are due at `now`, and how many of each were seen. The longest due come first; where so many are due
/// that one look does not see all, lanes behind `after` are looked at one by one, each for any. Then the last of those is
/// told, to go on behind it: so a lane with a long queue hides no other.
pub async fn due_lanes(
    db: &Db,
    kind: Kind,
    now: Millis,
    after: &str,
) -> Result<(BTreeMap<String, usize>, Option<String>), Error> {
    let sql = "SELECT lane FROM jobs WHERE kind = $1 AND run_at <= $2 ORDER BY run_at LIMIT $3";
    let look = i64::try_from(LOOK).unwrap_or(i64::MAX);
    let rows = db.rows(sql, args![kind as i64, now, look]).await?;
    let mut due: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        *due.entry(row.text(0)?.to_owned()).or_default() += 1;
    }
    if rows.len() < LOOK {
        return Ok((due, None));
    }
    let walk = "WITH RECURSIVE lanes (lane, walked) AS ( \
                SELECT (SELECT MIN(lane) FROM jobs WHERE kind = $1 AND lane > $3), CAST(1 AS BIGINT) UNION ALL \
                SELECT (SELECT MIN(jobs.lane) FROM jobs WHERE jobs.kind = $1 AND jobs.lane > lanes.lane), walked + 1 \
                FROM lanes WHERE lanes.lane IS NOT NULL AND walked < $4) \
                SELECT lane, CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE jobs.kind = $1 AND jobs.lane = lanes.lane \
                AND jobs.run_at <= $2) THEN 1 ELSE 0 END FROM lanes WHERE lane IS NOT NULL";
    let mut last = String::new();
    let rows = db.rows(walk, args![kind as i64, now, after, look]).await?;
    for row in &rows {
        row.text(0)?.clone_into(&mut last);
        if row.int(1)? != 0 {
            due.insert(last.clone(), LOOK);
        }
    }
    // At the end of the list it begins anew.
    Ok((due, Some(if rows.len() < LOOK { String::new() } else { last })))
}

/// Leases jobs that are due at `now`, the longest due first, of each lane as many as there is room for; the others stay for
/// other workers.
pub async fn take(
    db: &Db,
    kind: Kind,
    now: Millis,
    lease_ms: i64,
    room: &[(String, usize)],
) -> Result<Vec<Job>, Error> {
    let lease = |(lane, limit): &(String, usize)| {
        Stmt::new(
            "WITH due AS MATERIALIZED (SELECT number FROM jobs WHERE kind = $1 AND lane = $2 AND run_at <= $3 \
             ORDER BY run_at LIMIT $5 {skip_locked}) \
             UPDATE jobs SET run_at = $4, attempts = attempts + 1 WHERE number IN (SELECT number FROM due) \
             RETURNING number, subject, due_at, attempts, lane",
            args![kind as i64, lane.as_str(), now, now + lease_ms, i64::try_from(*limit).unwrap_or(i64::MAX)],
        )
    };
    let leases: Vec<Stmt> = room.iter().filter(|(_, limit)| *limit > 0).map(lease).collect();
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    match db.write(leases).await? {
        Written::Applied(rows) => rows.iter().map(|row| job(kind, row)).collect(),
        // Leases that nobody holds run out.
        Written::GuardFailed(_) | Written::Ambiguous => Ok(Vec::new()),
    }
}

fn job(kind: Kind, row: &Row) -> Result<Job, Error> {
    let subject = row.bytes(1)?.try_into();
    Ok(Job {
        number: row.int(0)?,
        kind,
        subject: subject.map_err(|_| Error::internal("a job's subject is not 16 bytes"))?,
        lane: row.text(4)?.to_owned(),
        due_at: row.int(2)?,
        attempts: row.int(3)?,
    })
}

/// Leases up to `limit` jobs that the entity's test clock has made due at `now`, of any kind, the longest due first.
pub async fn take_by_clock(
    db: &Db,
    clock: EntityId,
    now: Millis,
    lease_ms: i64,
    limit: i64,
) -> Result<Vec<Job>, Error> {
    let lease = Stmt::new(
        "WITH due AS MATERIALIZED (SELECT number FROM jobs WHERE clock = $1 AND due_at <= $2 AND run_at <= $2 \
         ORDER BY due_at LIMIT $4 {skip_locked}) \
         UPDATE jobs SET run_at = $3, attempts = attempts + 1 WHERE number IN (SELECT number FROM due) \
         RETURNING number, subject, due_at, attempts, lane, kind",
        args![clock, now, now + lease_ms, limit],
    );
    let Written::Applied(rows) = db.write(vec![lease]).await? else { return Ok(Vec::new()) };
    let read = |row: &Row| {
        let id = row.int(5)?;
        let kind = KINDS.into_iter().find(|one| *one as i64 == id);
        job(kind.ok_or_else(|| Error::internal("a job is of a kind that this version does not know"))?, row)
    };
    rows.iter().map(read).collect()
}

/// How many jobs of the entity's test clock are due at `now`, those that are being worked on among them.
pub async fn due_by_clock(db: &Db, clock: EntityId, now: Millis) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM jobs WHERE clock = $1 AND due_at <= $2";
    db.rows(sql, args![clock, now]).await?.first().map_or(Ok(0), |row| row.int(0))
}

/// Draws the jobs of an entity's test clock nearer by `ms`: part of the write that moves it. One that is being worked on stays
/// leased.
pub fn draw_nearer(clock: EntityId, ms: Millis) -> Stmt {
    let sql = "UPDATE jobs SET run_at = CASE WHEN run_at = due_at THEN run_at - $2 ELSE run_at END, due_at = due_at - $2 \
               WHERE clock = $1";
    Stmt::new(sql, args![clock, ms])
}

/// How many jobs of a kind there are, due or not.
pub async fn planned(db: &Db, kind: Kind) -> Result<i64, Error> {
    let rows = db.rows("SELECT COUNT(*) FROM jobs WHERE kind = $1", args![kind as i64]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// How many jobs of a kind are due or being worked on, at most 10,001, and since when the oldest of them is due. `lease_ms`:
/// the longest lease.
pub async fn waiting(db: &Db, kind: Kind, now: Millis, lease_ms: i64) -> Result<(i64, Option<Millis>), Error> {
    let sql = "SELECT COUNT(*), MIN(due_at) FROM (SELECT due_at FROM jobs WHERE kind = $1 AND run_at <= $2 \
               AND due_at <= $3 ORDER BY run_at LIMIT 10001) AS due";
    let rows = db.rows(sql, args![kind as i64, now + lease_ms, now]).await?;
    rows.first().map_or(Ok((0, None)), |row| Ok((row.int(0)?, row.opt_int(1)?)))
}
