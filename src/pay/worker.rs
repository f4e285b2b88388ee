//! The round that every process makes each second: give up intents that are past their time, and take the jobs that are
//! due, each kind up to its limit. A job runs in a task of its own, so a bank that hangs holds up nobody else's.

use super::{holds, recover};
use crate::app::App;
use crate::error::Error;
use crate::jobs::{self, Job, KINDS, Kind};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often, milliseconds.
pub const ROUND_MS: u64 = 1_000;

/// What a job does besides waiting for the bank twice, milliseconds.
const OWN_MS: i64 = 5_000;

#[derive(Clone)]
pub struct Worker {
    app: App,
    slots: [(Kind, Arc<Semaphore>); KINDS.len()],
}

impl Worker {
    pub fn new(app: &App) -> Worker {
        Worker { app: app.clone(), slots: KINDS.map(|kind| (kind, Arc::new(Semaphore::new(kind.limit())))) }
    }

    pub async fn round(&self) -> Result<(), Error> {
        recover::sweep(&self.app).await?;
        for (kind, slots) in &self.slots {
            let now = self.app.database_now();
            let taken = jobs::take(&self.app.db, *kind, now, lease_ms(&self.app), slots.available_permits()).await?;
            for job in taken {
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
    let done = match job.kind {
        Kind::Recover => recover::recover(&app, &job).await,
        Kind::Lapse => holds::lapse(&app, &job).await,
        Kind::Release => holds::release(&app, &job).await,
    };
    if let Err(error) = done {
        let (kind, subject) = (job.kind.name(), job.subject);
        tracing::error!(cause = error.cause(), kind, %subject, "a job failed: it comes again when its lease ends");
    }
}
