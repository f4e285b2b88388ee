//! The look that every process takes each second at each kind of job: intents that are past their time are given up, and
//! what is due is taken, each kind up to its limit. Where the limit was reached more may be due, and the next look comes as
//! soon as there is room. A job runs in a task of its own, so a bank that hangs holds up nobody else's.

use super::{holds, recover, renew, waiting};
use crate::app::App;
use crate::error::Error;
use crate::jobs::{self, Job, Kind, REAL, TEST};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How often, milliseconds.
pub const ROUND_MS: u64 = 1_000;

/// What a job does besides waiting for the bank twice, milliseconds.
const OWN_MS: i64 = 5_000;

/// Which jobs, of which lane, and how many of them one process works on at once; more wait in the table. Recovery has the most
/// room: it is what a bank that hangs leaves behind, each job waiting for the bank's deadline. Renewals come by the ten thousand in
/// one minute: with more of them at once, payments through the API wait noticeably longer (`tests/renewals.py`).
pub const TAKEN: [(Kind, &str, u32); 8] = [
    (Kind::Recover, REAL, 256),
    (Kind::Release, REAL, 32),
    (Kind::Lapse, REAL, 32),
    (Kind::Lapse, TEST, 32),
    (Kind::Abandon, REAL, 32),
    (Kind::Abandon, TEST, 32),
    (Kind::Renew, REAL, 16),
    (Kind::Renew, TEST, 16),
];

/// The part of a kind's slots that must be free before it is looked at again within the second: leases are taken in groups.
const GROUPS: u32 = 4;

#[derive(Clone)]
pub struct Worker {
    app: App,
    slots: [Arc<Slots>; TAKEN.len()],
}

/// The jobs of one kind and lane that a process works on.
struct Slots {
    kind: Kind,
    lane: &'static str,
    limit: u32,
    free: Arc<Semaphore>,
}

impl Worker {
    pub fn new(app: &App) -> Worker {
        let slots = |(kind, lane, limit)| {
            let free = Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS)));
            Arc::new(Slots { kind, lane, limit, free })
        };
        Worker { app: app.clone(), slots: TAKEN.map(slots) }
    }

    /// One look at each kind.
    pub async fn round(&self) -> Result<(), Error> {
        for slots in &self.slots {
            self.look(slots).await?;
        }
        Ok(())
    }

    /// Looks at one row of [`TAKEN`] until less is due than there is room for, or the stop.
    pub async fn drain(&self, row: usize, stop: &CancellationToken) -> Result<(), Error> {
        let slots = self.slots.get(row).ok_or_else(|| Error::internal("not a worker's kind of job"))?;
        while self.look(slots).await? {
            // Slots that banks hold for longer do not keep the others waiting for more than the second.
            let room = slots.free.acquire_many(slots.limit / GROUPS);
            if stop.run_until_cancelled(self.app.clock.within(ROUND_MS, room)).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Takes what is due and begins it. Whether all slots are taken now: then more may be due.
    async fn look(&self, slots: &Slots) -> Result<bool, Error> {
        if slots.kind == Kind::Recover {
            recover::sweep(&self.app).await?;
        }
        let now = self.app.database_now();
        // The look costs a read; the lease, a write, is for when there is something to lease.
        if !jobs::any_due(&self.app.db, slots.kind, slots.lane, now).await? {
            return Ok(false);
        }
        let room = slots.free.available_permits();
        let lane = [(slots.lane.to_owned(), room)];
        let taken = jobs::take(&self.app.db, slots.kind, now, lease_ms(&self.app), &lane).await?;
        let full = taken.len() >= room;
        for job in taken {
            // Always there: only a look takes permits, and one kind's looks follow each other.
            if let Ok(permit) = slots.free.clone().try_acquire_owned() {
                self.app.tasks.spawn(work(self.app.clone(), job, permit));
            }
        }
        Ok(full)
    }
}

/// Longer than any job may take: a recovery may ask the bank twice.
pub fn lease_ms(app: &App) -> i64 {
    let acquirers = app.acquirers.values().chain([&app.sandbox]);
    let longest = acquirers.map(|one| one.abilities().longest_ms()).max().unwrap_or(0);
    2 * i64::try_from(longest).unwrap_or(i64::MAX / 8) + OWN_MS
}

async fn work(app: App, job: Job, _slot: OwnedSemaphorePermit) {
    run(&app, &job).await;
}

/// `false` when it failed: it comes again.
pub async fn run(app: &App, job: &Job) -> bool {
    let done = match job.kind {
        Kind::Recover => recover::recover(app, job).await,
        Kind::Lapse => holds::lapse(app, job).await,
        Kind::Release => holds::release(app, job).await,
        Kind::Abandon => waiting::lapse(app, job).await,
        Kind::Renew => renew::renew(app, job).await,
        Kind::Deliver => Err(Error::internal("deliveries are the teller's")),
    };
    if let Err(error) = &done {
        let kind = job.kind.name();
        tracing::error!(cause = error.cause(), kind, transaction = %job.transaction(), "a job failed: it comes again when its lease ends");
    }
    done.is_ok()
}
