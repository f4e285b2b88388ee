//! Which deliveries one process makes at once. Each receiver's host is a lane: a host that answers may have many on the way,
//! one that fails only a few, and those come from a pool of their own, so that receivers that hang take nothing from those
//! that listen.

use super::tell::{Told, tell};
use crate::app::App;
use crate::error::Error;
use crate::jobs::{self, Job, Kind};
use crate::webhook::courier::DELIVERY_MS;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Longer than a try and its writes may take, milliseconds.
pub const LEASE_MS: i64 = DELIVERY_MS + 13_000;

/// How many deliveries one host may have on the way, and all hosts together: those whose last try was heard, and the others.
const HEALTHY: Limits = Limits { host: 32, all: 512 };
const FAILING: Limits = Limits { host: 8, all: 256 };

/// How many hosts are remembered as failing; above it all are given a fresh start.
const REMEMBERED: usize = 10_000;

/// How many lanes one write leases from.
const LANES: usize = 64;

struct Limits {
    host: usize,
    all: usize,
}

#[derive(Default)]
struct Lane {
    on_the_way: usize,
    failing: bool,
}

#[derive(Default)]
struct Lanes {
    by_host: HashMap<String, Lane>,
    /// The lane that was served last: the next round begins behind it, so that none is always the last.
    last: String,
}

#[derive(Clone)]
pub struct Teller {
    app: App,
    lanes: Arc<Mutex<Lanes>>,
}

impl Teller {
    pub fn new(app: &App) -> Teller {
        Teller { app: app.clone(), lanes: Arc::default() }
    }

    /// Takes what is due and there is room for; each delivery is a task of its own.
    pub async fn round(&self) -> Result<(), Error> {
        let due = jobs::due_lanes(&self.app.db, Kind::Deliver, self.app.database_now()).await?;
        let room = self.lanes().room(due);
        for room in room.chunks(LANES) {
            let now = self.app.database_now();
            for job in jobs::take(&self.app.db, Kind::Deliver, now, LEASE_MS, room).await? {
                self.lanes().begin(&job.lane);
                self.app.tasks.spawn(self.clone().work(job));
            }
        }
        Ok(())
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(self, job: Job) {
        // In a task of its own, so that the lane is left even by one that panics.
        let (app, lane) = (self.app.clone(), job.lane.clone());
        let told = match tokio::spawn(async move { tell(&app, &job).await }).await {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => {
                tracing::error!(cause = error.cause(), "a delivery failed: it comes again when its lease ends");
                Told::Nothing
            }
            Err(_) => {
                tracing::error!("a delivery panicked: it comes again when its lease ends");
                Told::Nothing
            }
        };
        self.lanes().end(&lane, told);
        // There is room again, and perhaps a later event of the same charge may go.
        self.app.nudge.notify_one();
    }
}

impl Lanes {
    /// How many may be taken of each of these lanes.
    fn room(&mut self, mut due: Vec<String>) -> Vec<(String, usize)> {
        let behind = due.partition_point(|lane| *lane <= self.last);
        due.rotate_left(behind);
        let on_the_way = |failing: bool| -> usize {
            self.by_host.values().filter(|lane| lane.failing == failing).map(|lane| lane.on_the_way).sum()
        };
        let mut healthy = HEALTHY.all.saturating_sub(on_the_way(false));
        let mut failing = FAILING.all.saturating_sub(on_the_way(true));
        let mut room = Vec::new();
        for host in due {
            let lane = self.by_host.get(&host);
            let is_failing = lane.is_some_and(|lane| lane.failing);
            let (limits, left) = if is_failing { (FAILING, &mut failing) } else { (HEALTHY, &mut healthy) };
            let free = limits.host.saturating_sub(lane.map_or(0, |lane| lane.on_the_way)).min(*left);
            if free > 0 {
                *left -= free;
                self.last.clone_from(&host);
                room.push((host, free));
            }
        }
        room
    }

    fn begin(&mut self, host: &str) {
        self.by_host.entry(host.to_owned()).or_default().on_the_way += 1;
    }

    fn end(&mut self, host: &str, told: Told) {
        let Some(lane) = self.by_host.get_mut(host) else { return };
        lane.on_the_way -= 1;
        match told {
            Told::Heard => lane.failing = false,
            Told::Failed => lane.failing = true,
            Told::Nothing => {}
        }
        // A lane that is empty and well is as good as one that was never seen.
        if lane.on_the_way == 0 && !lane.failing {
            self.by_host.remove(host);
        }
        if self.by_host.len() > REMEMBERED {
            self.by_host.retain(|_, lane| lane.on_the_way > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|number| format!("host{number:04}:443")).collect()
    }

    #[test]
    fn a_failing_host_takes_nothing_from_the_others() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.room(hosts(0..2)), [("host0000:443".to_owned(), 32), ("host0001:443".to_owned(), 32)]);
        for host in hosts(0..100) {
            for _ in 0..9 {
                lanes.begin(&host);
            }
            lanes.end(&host, Told::Failed);
        }
        // 800 failing on the way: none of them has room, and a healthy one has all of its.
        assert_eq!(lanes.room(hosts(0..101)), [("host0100:443".to_owned(), 32)]);
        for host in hosts(0..100) {
            for _ in 0..8 {
                lanes.end(&host, Told::Nothing);
            }
        }
        let room = lanes.room(hosts(0..100));
        assert_eq!(room.len(), 32, "256 failing in all, 8 of each");
        // Those that were not served come first.
        assert_eq!(lanes.room(hosts(0..100))[0].0, "host0032:443");
    }

    #[test]
    fn a_host_that_listens_again_is_forgotten() {
        let mut lanes = Lanes::default();
        lanes.begin("a:1");
        lanes.end("a:1", Told::Failed);
        assert_eq!(lanes.room(vec!["a:1".to_owned()])[0].1, 8);
        lanes.begin("a:1");
        lanes.end("a:1", Told::Heard);
        assert!(lanes.by_host.is_empty());
    }
}
