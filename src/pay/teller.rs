//! Which deliveries one process makes at once. Each receiver's host is a lane: a host that answers may have many on the way,
//! one that fails only a few, and those come from a pool of their own, so that receivers that hang take nothing from those
//! that listen.

use super::tell::{Told, tell};
use crate::app::App;
use crate::error::Error;
use crate::jobs::{self, Job, Kind};
use crate::webhook::courier::DELIVERY_MS;
use crate::webhook::guard::owner;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Longer than a try and its writes may take, milliseconds.
pub const LEASE_MS: i64 = DELIVERY_MS + 13_000;

/// How many deliveries all lanes together may have on the way: those whose last try was heard in time or that have none yet, and
/// the others.
const HEALTHY: usize = 512;
const FAILING: usize = 256;

/// How many one lane may have while it is known to be heard in time; until then, and while it is not, `CAREFUL`.
const PROVEN: usize = 32;
const CAREFUL: usize = 8;

/// How many of the healthy ones may be one entity's: with ever new hosts that hang it would else take them all.
const OWNERS_SHARE: usize = 128;

/// How many hosts are remembered; above it all that rest are given a fresh start.
const REMEMBERED: usize = 10_000;

/// How many lanes one write leases from.
const LANES: usize = 64;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Health {
    #[default]
    Unknown,
    Heard,
    Failing,
}

#[derive(Default)]
struct Lane {
    on_the_way: usize,
    health: Health,
}

#[derive(Default)]
struct Lanes {
    by_host: HashMap<String, Lane>,
    /// The lane that was served last: the next round begins behind it, so that none is always the last.
    last: String,
    /// How far the look at single lanes has come.
    walked: String,
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
        let walked = self.lanes().walked.clone();
        let (due, walked) = jobs::due_lanes(&self.app.db, Kind::Deliver, self.app.database_now(), &walked).await?;
        let room = {
            let mut lanes = self.lanes();
            lanes.walked = walked.unwrap_or_default();
            lanes.room(due.into_iter().collect())
        };
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
    /// How many may be taken of each of these lanes, of which so many are due.
    fn room(&mut self, mut due: Vec<(String, usize)>) -> Vec<(String, usize)> {
        let behind = due.partition_point(|(lane, _)| *lane <= self.last);
        due.rotate_left(behind);
        let mut owners: HashMap<String, usize> = HashMap::new();
        let (mut healthy, mut failing) = (HEALTHY, FAILING);
        for (name, lane) in &self.by_host {
            if lane.health == Health::Failing {
                failing = failing.saturating_sub(lane.on_the_way);
            } else {
                healthy = healthy.saturating_sub(lane.on_the_way);
                *owners.entry(owner(name).to_owned()).or_default() += lane.on_the_way;
            }
        }
        let mut room = Vec::new();
        for (name, count) in due {
            let (on_the_way, health) =
                self.by_host.get(&name).map_or((0, Health::Unknown), |lane| (lane.on_the_way, lane.health));
            let most = if health == Health::Heard { PROVEN } else { CAREFUL };
            let mut free = most.saturating_sub(on_the_way).min(count);
            if health == Health::Failing {
                free = free.min(failing);
                failing -= free;
            } else {
                let share = owners.entry(owner(&name).to_owned()).or_default();
                free = free.min(healthy).min(OWNERS_SHARE.saturating_sub(*share));
                healthy -= free;
                *share += free;
            }
            if free > 0 {
                self.last.clone_from(&name);
                room.push((name, free));
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
            Told::Heard => lane.health = Health::Heard,
            Told::Failed => lane.health = Health::Failing,
            Told::Nothing => {}
        }
        // Of a lane that is empty and well nothing need be known.
        if lane.on_the_way == 0 && lane.health != Health::Failing {
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

    fn hosts(owner: &str, range: std::ops::Range<u32>) -> Vec<(String, usize)> {
        range.map(|number| (format!("{owner} test host{number:04}:443"), 1_000)).collect()
    }

    #[test]
    fn a_failing_host_takes_nothing_from_the_others() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.room(vec![("a test one:443".to_owned(), 3)]), [("a test one:443".to_owned(), 3)]);
        for (host, _) in hosts("a", 0..100) {
            for _ in 0..9 {
                lanes.begin(&host);
            }
            lanes.end(&host, Told::Failed);
        }
        // 800 failing on the way: none of them has room, and another one has all of its.
        let room = lanes.room(hosts("a", 0..101));
        assert_eq!(room, [("a test host0100:443".to_owned(), CAREFUL)]);
        for (host, _) in hosts("a", 0..100) {
            for _ in 0..8 {
                lanes.end(&host, Told::Nothing);
            }
        }
        assert_eq!(lanes.room(hosts("a", 0..100)).len(), 32, "256 failing in all, 8 of each");
        // Those that were not served come first.
        assert_eq!(lanes.room(hosts("a", 0..100))[0].0, "a test host0032:443");
    }

    #[test]
    fn new_hosts_of_one_entity_leave_room_for_another() {
        let mut lanes = Lanes::default();
        let taken: usize = lanes.room(hosts("a", 0..500)).iter().map(|(_, free)| free).sum();
        assert_eq!(taken, OWNERS_SHARE);
        let both: Vec<_> = hosts("a", 0..500).into_iter().chain(hosts("b", 0..1)).collect();
        assert!(lanes.room(both).iter().any(|(lane, free)| owner(lane) == "b" && *free == CAREFUL));
    }

    #[test]
    fn a_host_earns_its_room() {
        let mut lanes = Lanes::default();
        let room = |lanes: &mut Lanes| lanes.room(vec![("a test one:1".to_owned(), 100)])[0].1;
        lanes.begin("a test one:1");
        lanes.begin("a test one:1");
        lanes.end("a test one:1", Told::Heard);
        assert_eq!(room(&mut lanes), PROVEN - 1);
        lanes.end("a test one:1", Told::Failed);
        assert_eq!(room(&mut lanes), CAREFUL);
        lanes.begin("a test one:1");
        lanes.end("a test one:1", Told::Heard);
        assert!(lanes.by_host.is_empty());
    }
}
