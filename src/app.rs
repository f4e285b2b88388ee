//! Everything that a flow needs, passed in: no globals.

use crate::acquirer::updater::Updater;
use crate::acquirer::{Acquirer, Acquirers};
use crate::bins::Bins;
use crate::clock::{Clock, Millis};
use crate::consent::{self, Connector};
use crate::db::{Db, Stmt};
use crate::directory::{Caller, Directory};
use crate::error::Error;
use crate::jobs::{self, Job};
use crate::proxies::Proxies;
use crate::random::Random;
use crate::risk::Risk;
use crate::threeds::{self, Authenticator};
use crate::vault::Vault;
use crate::wallet::setup::Wallets;
use crate::webhook::courier::Courier;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub vault: Vault,
    pub directory: Directory,
    pub risk: Risk,
    pub bins: Bins,
    pub wallets: Wallets,
    pub proxies: Proxies,
    pub sandbox: Arc<dyn Acquirer>,
    /// The others, which routes lead to.
    pub acquirers: Acquirers,
    /// The same bank, asked for newer cards.
    pub sandbox_updater: Arc<dyn Updater>,
    /// The sandbox's 3DS server, and the issuer whose page it shows.
    pub issuer: threeds::sandbox::Sandbox,
    /// The sandbox's wallets, and the page they show.
    pub wallet_page: consent::sandbox::Sandbox,
    /// Where cardholders' browsers reach this gateway; no slash at the end.
    pub checkout: Arc<str>,
    /// Somebody has said so: then browsers know the gateway by no other name.
    pub checkout_named: bool,
    /// Room for answers that are held back until there is one.
    pub held: Arc<Semaphore>,
    pub courier: Courier,
    /// There may be something to tell: wakes this process's teller.
    pub nudge: Arc<Notify>,
    pub clock: Clock,
    pub random: Random,
    /// Money work that outlives its connection; a stop waits for it.
    pub tasks: TaskTracker,
    /// How far the database's clock is ahead of ours, milliseconds: `settle_after` is the database's time, so that
    /// two gateways with clocks apart do not take each other's payments.
    pub database_ahead_ms: Arc<AtomicI64>,
}

impl App {
    /// Who knows of newer cards in this mode.
    pub fn updater(&self, live: bool) -> Option<&dyn Updater> {
        (!live).then_some(self.sandbox_updater.as_ref())
    }

    /// Who authenticates the cardholders of this mode.
    pub fn authenticator(&self, live: bool) -> Option<&dyn Authenticator> {
        (!live).then_some(&self.issuer as &dyn Authenticator)
    }

    /// Who asks the holders of wallets' accounts.
    pub fn connector(&self, live: bool) -> Option<&dyn Connector> {
        (!live).then_some(&self.wallet_page as &dyn Connector)
    }

    /// How far this caller's time is ahead of real time, milliseconds: what its test clock was moved (contract section 7).
    /// Nothing is read where there is no clock.
    pub async fn ahead(&self, caller: Caller) -> Result<Millis, Error> {
        if self.directory.has_clock(caller) { self.directory.ahead(caller.entity).await } else { Ok(0) }
    }

    /// The caller's time: the database's, and what its test clock is ahead. In it stands what its holds, links, 3-D Secure
    /// time-outs, renewals and retention go by, and what callers see as a time.
    pub async fn time(&self, caller: Caller) -> Result<Millis, Error> {
        Ok(self.database_now() + self.ahead(caller).await?)
    }

    /// A job that the caller's test clock moves; `due` by the caller's time. Part of the write that calls for it.
    pub fn later(&self, kind: jobs::Kind, subject: impl Into<[u8; 16]>, caller: Caller, due: Millis) -> Stmt {
        if self.directory.has_clock(caller) {
            jobs::enqueue_by_clock(kind, subject, caller.entity, due)
        } else {
            jobs::enqueue_moved(kind, subject, (!caller.live).then_some(caller.entity), due)
        }
    }

    /// The same, in `ms` from now: no clock need be read for it.
    pub fn after(&self, kind: jobs::Kind, subject: impl Into<[u8; 16]>, caller: Caller, ms: Millis) -> Stmt {
        jobs::enqueue_moved(kind, subject, (!caller.live).then_some(caller.entity), self.database_now() + ms)
    }

    /// The job again, at `due` by the caller's time; guarded like [`Job::postpone`].
    pub fn again(&self, job: &Job, caller: Caller, due: Millis) -> Stmt {
        if self.directory.has_clock(caller) { job.postpone_by_clock(caller.entity, due) } else { job.postpone(due) }
    }

    /// When the caller's time says that the job was due: with a test clock it acts as of then, whenever it happens to run, so a
    /// year at once ends as the same year day by day. `None` without a clock: it acts now.
    pub async fn due(&self, job: &Job, caller: Caller) -> Result<Option<Millis>, Error> {
        if self.directory.has_clock(caller) { job.due_by_clock(&self.db).await } else { Ok(None) }
    }

    /// The database's time by our clock and the last measured distance.
    pub fn database_now(&self) -> i64 {
        self.clock.now() + self.database_ahead_ms.load(Ordering::Relaxed)
    }

    /// Measures the distance again.
    pub async fn read_database_clock(&self) -> Result<(), Error> {
        let theirs = self.db.now().await?;
        self.database_ahead_ms.store(theirs - self.clock.now(), Ordering::Relaxed);
        Ok(())
    }
}
