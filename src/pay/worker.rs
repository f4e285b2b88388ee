//! The round that every process makes each second: give up intents that are past their time, and take the jobs that are
//! due, each kind up to its limit. A job runs in a task of its own, so a bank that hangs holds up nobody else's.

use super::{holds, recover, waiting};
use crate::app::App;
use crate::error::Error;
use crate::jobs::{self, Job, Kind};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often, milliseconds.
pub const ROUND_MS: u64 = 1_000;

/// What a job does besides waiting for the bank twice, milliseconds.
const OWN_MS: i64 = 5_000;

/// Which jobs, and how many of a kind one process works on at once; more wait in the table. Recovery has the most room: it is
/// what a bank that hangs leaves behind, each job waiting for the bank's deadline.
const TAKEN: [(Kind, usize); 4] = [(Kind::Recover, 256), (Kind::Lapse, 32), (Kind::Release, 32), (Kind::Abandon, 32)];

#[derive(Clone)]
pub struct Worker {
    app: App,
    slots: [(Kind, Arc<Semaphore>); TAKEN.len()],
}

impl Worker {
    pub fn new(app: &App) -> Worker {
        Worker { app: app.clone(), slots: TAKEN.map(|(kind, limit)| (kind, Arc::new(Semaphore::new(limit)))) }
    }

    pub async fn round(&self) -> Result<(), Error> {
        recover::sweep(&self.app).await?;
        for (kind, slots) in &self.slots {
            let now = self.app.database_now();
            // The look costs a read; the lease, a write, is for when there is something to lease.
            if !jobs::any_due(&self.app.db, *kind, now).await? {
                continue;
            }
            let room = [(String::new(), slots.available_permits())];
            for job in jobs::take(&self.app.db, *kind, now, lease_ms(&self.app), &room).await? {
                // Always there: only this round takes permits.
                if let Ok(permit) = slots.clone().try_acquire_owned() {
                    self.app.tasks.spawn(work(self.app.clone(), job, permit));
                }
            }
        }
        Ok(())
    }
}

/// Longer than any job may take: a recovery may ask the bank twice.
pub fn lease_ms(app: &App) -> i64 {
    let deadlines = [false, true].into_iter().filter_map(|live| app.acquirer(live)).map(|one| one.abilities());
    let longest = deadlines.map(|abilities| abilities.deadline_ms).max().unwrap_or(0);
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
        Kind::Deliver => Err(Error::internal("deliveries are the teller's")),
    };
    if let Err(error) = &done {
        let kind = job.kind.name();
        tracing::error!(cause = error.cause(), kind, transaction = %job.transaction(), "a job failed: it comes again when its lease ends");
    }
    done.is_ok()
}
